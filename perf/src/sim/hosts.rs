//! The hosts of a world: which there are, over which link, and whether they are up.

use super::leg::Call;
use super::network::{Event, Party, SECOND};
use super::world::World;

/// One host.
#[derive(Copy, Clone, Debug)]
pub(super) struct Host {
    /// Counts its restarts; legs of an earlier life are forgotten.
    pub(super) life: u16,
    /// Down, and whether the network says so (ICMP).
    pub(super) down: Option<bool>,
}

impl World<'_> {
    /// A host goes down with everything that it knows.
    pub(super) fn crash(&mut self) {
        let callers = self.plan.callers;
        let chosen = self.random.below(u64::from(callers) + u64::from(self.plan.gateways)) as u8;
        let party = if chosen < callers { Party::Caller(chosen) } else { Party::Gateway(chosen - callers) };
        let reported = self.random.chance(500);
        let lasts = self.random.pick(&[100_000, SECOND, 20 * SECOND, 100 * SECOND]);
        let host = self.host_mut(party);
        if host.down.is_none() {
            host.down = Some(reported);
            self.tally.crashes += 1;
            self.network.schedule(self.now_us + lasts, Event::Restart(party));
            let hit = |call: &&mut Call| call.legs.iter().any(|leg| leg.party == party);
            self.calls.iter_mut().filter(hit).for_each(|call| call.closing = true);
        }
    }

    pub(super) fn link(&self, party: Party) -> usize {
        let at = self.place(party).unwrap_or_default();
        at.min(self.plan.links.len() - 1)
    }

    fn place(&self, party: Party) -> Option<usize> {
        match party {
            Party::Caller(number) => Some(usize::from(number)),
            Party::Gateway(number) => Some(usize::from(self.plan.callers) + usize::from(number)),
            Party::Stranger(_) => None,
        }
    }

    pub(super) fn host(&self, party: Party) -> Host {
        self.place(party).map_or(Host { life: 0, down: None }, |place| self.hosts[place])
    }

    pub(super) fn host_mut(&mut self, party: Party) -> &mut Host {
        let place = self.place(party).expect("only known hosts crash");
        &mut self.hosts[place]
    }

    /// Whether a party is one of this run.
    pub(super) fn exists(&self, party: Party) -> bool {
        match party {
            Party::Caller(number) => number < self.plan.callers,
            Party::Gateway(number) => number <= self.plan.gateways,
            Party::Stranger(_) => true,
        }
    }
}
