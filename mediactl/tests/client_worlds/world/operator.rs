//! Rows and places of media nodes, as the media task has them, and the troubles that come.

use super::super::machine::{MOODS, Mood, State};
use super::super::plan::Trouble;
use super::*;

impl World {
    pub(super) fn place_for(&mut self, machine: usize) -> u32 {
        let leaving = |place: &&u32| self.all[**place as usize - 1] == machine && !self.is_meant(**place);
        if let Some(place) = self.places.iter().find(leaving) {
            return *place;
        }
        self.all.push(machine);
        let place = self.all.len() as u32;
        self.places.push(place);
        self.after(LIST_INTERVAL, Event::List(place, machine));
        place
    }

    pub(super) fn is_meant(&self, place: u32) -> bool {
        self.rows.iter().any(|row| row.place == place)
    }

    pub(super) fn configure(&mut self) -> Checked {
        let config = |place: &u32| {
            let row = self.rows.iter().find(|row| row.place == *place);
            let admin = row.map_or(Admin::Leaving, |row| if row.enabled { Admin::Enabled } else { Admin::Draining });
            NodeConfig {
                id: *place,
                set: row.map_or(0, |row| row.set),
                address: address(self.all[*place as usize - 1]),
                weight: row.map_or(0, |row| row.weight),
                max_sessions: row.map_or(0, |row| row.max),
                admin,
            }
        };
        let configs: Vec<NodeConfig> = self.places.iter().map(config).collect();
        self.client(|client, now, _| client.configure(now, configs))
    }

    /// Places that no row means, and that nothing is held or owed at, go.
    pub(super) fn forget(&mut self) -> Checked {
        self.after(SECOND, Event::Forget);
        let Some(client) = &self.client else { return Ok(()) };
        let held: Vec<usize> = client.sessions().counts().map(|(address, _)| machine_at(address)).collect();
        let before = self.places.len();
        let (all, rows) = (&self.all, &self.rows);
        let meant = |place: u32| rows.iter().any(|row| row.place == place);
        self.places.retain(|place| meant(*place) || held.contains(&all[*place as usize - 1]));
        if self.places.len() < before { self.configure() } else { Ok(()) }
    }

    pub(super) fn trouble(&mut self) -> Checked {
        if self.healed {
            return Ok(());
        }
        let pause = self.draw.below(2 * self.plan.trouble_pause);
        self.after(pause, Event::Trouble);
        let trouble = self.draw.pick(&self.plan.troubles);
        let machine = self.draw.below(MACHINES as u64) as usize;
        let row = self.draw.below(self.rows.len() as u64) as usize;
        let lasts = self.draw.pick(&[50 * MS, 500 * MS, 3 * SECOND, 20 * SECOND]);
        let lasts = 1 + self.draw.below(lasts);
        log!(self, "trouble {trouble:?}: machine {machine}, row {row}, for {lasts} µs");
        let free = !self.rows.iter().any(|row| self.all[row.place as usize - 1] == machine);
        match trouble {
            Trouble::Freeze if self.machines[machine].state == State::Up => {
                self.machines[machine].state = State::Frozen;
            }
            Trouble::Crash => self.machines[machine].crash(),
            Trouble::Mood => self.machines[machine].mood = self.draw.pick(&MOODS),
            Trouble::Cut => self.machines[machine].cut = (self.draw.chance(500), self.draw.chance(500)),
            Trouble::Drain => self.rows[row].enabled ^= true,
            Trouble::Move if free => self.rows[row].place = self.place_for(machine),
            Trouble::Remove if self.rows.len() > 1 => drop(self.rows.remove(row)),
            Trouble::Add if free && self.rows.len() < 4 => {
                let place = self.place_for(machine);
                self.rows.push(Row { place, set: 1, weight: 1, max: 1_000, enabled: true });
            }
            Trouble::Kill if self.client.is_some() => {
                self.kill();
                return Ok(());
            }
            Trouble::Panic => self.fuse = Some(self.draw.below(6)),
            Trouble::Icmp => {
                let node = self.draw.pick(&self.places);
                self.after(0, Event::Unreachable(node));
            }
            _ => return Ok(()),
        }
        match trouble {
            Trouble::Freeze | Trouble::Crash | Trouble::Mood | Trouble::Cut => self.after(lasts, Event::Mend(machine)),
            Trouble::Drain | Trouble::Move | Trouble::Remove | Trouble::Add => return self.configure(),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn mend(&mut self, name: usize) {
        log!(self, "machine {name} mends");
        let machine = &mut self.machines[name];
        (machine.state, machine.mood, machine.cut) = (State::Up, Mood::Sound, (false, false));
        for (socket, bytes) in std::mem::take(&mut machine.waiting) {
            self.serve(name, socket, &bytes);
        }
    }
}
