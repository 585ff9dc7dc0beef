//! Slots over generations: a known id keeps its slot, a deleted one leaves a vacant place, a new one gets a place that nobody had lately.
//!
//! A call that began before a reload still counts against its provider's and gateway's slot. Were a freed slot given to
//! another id at once, the new owner would pay for the old owner's calls. So a new id takes a slot that never had an owner, as long as the
//! table stays within twice its live rows (and at least 64); after that the place that has been vacant for the most
//! generations. Rows of `provider_address` have no id; those with a cap are known by what tells them apart. Tables of counters indexed by slot therefore stay within the same bound.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use corelane_core::routing::layout::{Place, SLOTS_MAX};

/// Tables smaller than this grow before they reuse.
const SLOTS_MIN: usize = 64;

/// Owners by slot in the image before: id (or what stands for one), or the generation that vacated the place.
pub(super) type Before<K> = Vec<Result<K, u64>>;

/// The slot of every id. `generation` is the one being compiled.
pub(super) struct Assigned<K> {
    /// Slot by id.
    pub(super) slots: HashMap<K, u16>,
    vacated: Vec<Option<u64>>,
}

pub(super) fn assign<K: Copy + Eq + Hash>(before: &Before<K>, ids: &[K], generation: u64) -> Assigned<K> {
    let wanted: HashSet<K> = ids.iter().copied().collect();
    let mut slots = HashMap::with_capacity(ids.len());
    let mut vacated: Vec<Option<u64>> = Vec::with_capacity(before.len());
    for (slot, owner) in before.iter().enumerate().take(SLOTS_MAX) {
        vacated.push(match owner {
            Ok(id) if wanted.contains(id) => {
                slots.insert(*id, slot as u16);
                None
            }
            Ok(_) => Some(generation),
            Err(since) => Some(*since),
        });
    }
    let bound = (2 * ids.len()).clamp(SLOTS_MIN, SLOTS_MAX);
    // Longest vacant last, so that it is popped first.
    let mut vacant: Vec<(u64, usize)> =
        vacated.iter().enumerate().filter_map(|(slot, since)| since.map(|since| (since, slot))).collect();
    vacant.sort_unstable_by(|left, right| right.cmp(left));
    for id in ids {
        if slots.contains_key(id) {
            continue;
        }
        let slot = if vacated.len() < bound { None } else { vacant.pop() };
        let slot = match slot {
            Some((_, slot)) => slot,
            None => {
                vacated.push(None);
                vacated.len() - 1
            }
        };
        vacated[slot] = None;
        slots.insert(*id, slot as u16);
    }
    Assigned { slots, vacated }
}

impl<K: Eq + Hash> Assigned<K> {
    /// The table by slot.
    pub(super) fn place<T>(&self, records: impl IntoIterator<Item = (K, T)>) -> Vec<Place<T>> {
        let vacant = |since: &Option<u64>| Place::Vacant(since.unwrap_or(0));
        let mut table: Vec<Place<T>> = self.vacated.iter().map(vacant).collect();
        for (id, record) in records {
            table[usize::from(self.slots[&id])] = Place::Taken(record);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::assign;

    #[test]
    fn known_ids_keep_their_slots_and_freed_ones_rest() {
        let first = assign(&Vec::new(), &[10, 20, 30], 1);
        assert_eq!([first.slots[&10], first.slots[&20], first.slots[&30]], [0, 1, 2]);
        let second = assign(&vec![Ok(10), Ok(20), Ok(30)], &[30, 40, 10], 2);
        assert_eq!([second.slots[&10], second.slots[&30], second.slots[&40]], [0, 2, 3], "20's slot rests");
        let third = assign(&vec![Ok(10), Err(2), Ok(30), Ok(40)], &[20], 3);
        assert_eq!(third.slots[&20], 4, "an id that comes back is a new one");
    }

    #[test]
    fn a_full_table_reuses_what_was_vacated_first() {
        let mut before: Vec<_> = (0..64).map(Ok).collect();
        before[5] = Err(9);
        before[7] = Err(3);
        let ids: Vec<u32> = (0..32).filter(|id| *id != 5 && *id != 7).chain([100, 101]).collect();
        let assigned = assign(&before, &ids, 10);
        assert_eq!([assigned.slots[&100], assigned.slots[&101]], [7, 5]);
        assert_eq!(assigned.place::<()>([]).len(), 64);
    }
}
