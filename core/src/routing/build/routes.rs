//! Rows of `route` to trie, route sets and origins.
//!
//! One sort by (group, prefix, priority, id), then one pass: equal prefixes become one prefix with one set. Sets are shared: a million
//! prefixes over a few hundred carrier combinations keep a few kilobytes hot instead of tens of megabytes. So are schedules, so that a
//! route without one says so in one field.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::routing::build::{BuildError, RouteRow, trie};
use crate::routing::layout::{ALWAYS, Origins, ROUTES_PER_PREFIX_MAX, RouteEntry, Routes, Schedule, Trie};

/// What rows are sorted by. Symbols before length: a prefix comes before what extends it.
fn key(row: &RouteRow) -> impl Ord + use<> {
    let place = (row.routing_group, row.prefix.symbols(), row.prefix.len());
    (place, (row.priority, row.carrier, row.weight, row.schedule), row.id)
}

pub(super) fn build(mut rows: Vec<RouteRow>) -> Result<(Trie, Routes, Origins), BuildError> {
    // Stable, because tables usually come sorted and then cost one pass.
    rows.sort_by_key(key);
    let mut out = Trie { sets: Vec::with_capacity(rows.len()), ..Trie::default() };
    let mut sets = Sets::new();
    let mut origins = Origins::with_capacity(rows.len());
    let mut keys: Vec<trie::Key> = Vec::with_capacity(rows.len());
    let mut open: Vec<trie::Key> = Vec::new();

    for group in rows.chunk_by(|left, right| left.routing_group == right.routing_group) {
        keys.clear();
        open.clear();
        for same in group.chunk_by(|left, right| left.prefix == right.prefix) {
            let RouteRow { routing_group, prefix, .. } = same[0];
            if same.len() > ROUTES_PER_PREFIX_MAX {
                return Err(BuildError::TooManyRoutes { routing_group, prefix });
            }
            while open.last().is_some_and(|outer| !outer.prefix.starts(prefix)) {
                open.pop();
            }
            let set = sets.place(same)?;
            let parent = open.last().map_or(0, |outer| outer.number);
            out.sets.push(set);
            out.parents.push(parent);
            out.lengths.push(prefix.len());
            let number = u32::try_from(out.sets.len()).map_err(|_| BuildError::TooLarge)?;
            let key = trie::Key { prefix, number };
            keys.push(key);
            open.push(key);
            origins.ids.extend(same.iter().map(|row| row.id));
            origins.costs.extend(same.iter().map(|row| row.cost));
            origins.first.push(u32::try_from(origins.ids.len()).map_err(|_| BuildError::TooLarge)?);
        }
        let root = trie::build(group[0].routing_group, &mut out.blocks, &mut out.lines, &keys)?;
        out.groups.push(root);
    }
    Ok((out, sets.routes, origins))
}

/// The distinct sets so far, and the distinct schedules of their routes.
struct Sets {
    routes: Routes,
    places: BTreeMap<Vec<RouteEntry>, u32>,
    schedules: BTreeMap<Schedule, u32>,
    /// Neighbouring prefixes mostly share a set.
    last: Option<u32>,
    /// The set being placed.
    entries: Vec<RouteEntry>,
}

impl Sets {
    fn new() -> Sets {
        Sets {
            routes: Routes::empty(),
            places: BTreeMap::new(),
            schedules: BTreeMap::new(),
            last: None,
            entries: Vec::new(),
        }
    }

    fn place(&mut self, rows: &[RouteRow]) -> Result<u32, BuildError> {
        self.entries.clear();
        for row in rows {
            let RouteRow { priority, carrier, weight, .. } = *row;
            let schedule = self.schedule(row.schedule)?;
            self.entries.push(RouteEntry { priority, carrier, weight, schedule });
        }
        if let Some(last) = self.last
            && self.placed(last) == self.entries
        {
            return Ok(last);
        }
        let place = match self.places.get(&self.entries) {
            Some(place) => *place,
            None => {
                let place = self.routes.first.len() as u32 - 1;
                self.routes.entries.extend_from_slice(&self.entries);
                let end = u32::try_from(self.routes.entries.len()).map_err(|_| BuildError::TooLarge)?;
                self.routes.first.push(end);
                self.places.insert(self.entries.clone(), place);
                place
            }
        };
        self.last = Some(place);
        Ok(place)
    }

    fn placed(&self, place: u32) -> &[RouteEntry] {
        let first = &self.routes.first;
        &self.routes.entries[first[place as usize] as usize..first[place as usize + 1] as usize]
    }

    fn schedule(&mut self, schedule: Schedule) -> Result<u32, BuildError> {
        if schedule == Schedule::ALWAYS {
            return Ok(ALWAYS);
        }
        let next = u32::try_from(self.routes.schedules.len()).ok().filter(|place| *place != ALWAYS);
        let next = next.ok_or(BuildError::TooLarge)?;
        Ok(*self.schedules.entry(schedule).or_insert_with(|| {
            self.routes.schedules.push(schedule);
            next
        }))
    }
}
