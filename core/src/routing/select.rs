//! From a number to the gateways to try.
//!
//! Longest prefix → its routes → by ascending priority, equals in a weighted shuffle → each route's carrier → its gateways, ordered
//! alike. No gateway twice, at most [`CANDIDATES_MAX`]. Routes outside their time (`window`) take no part; when no route of a prefix is left,
//! the next shorter prefix is asked. Gateways that are down or capped do not shorten.
//!
//! **Weighted shuffle.** Drawing without replacement: each time one of those left, with a chance of its weight over the sum of the
//! weights left. Weight 0 is "only after the others": drawn when all others of the same priority are gone. Priority and weight mean what
//! they mean in an SRV record (RFC 2782): lower priority first.
//!
//! **Draws.** One 64-bit number seeds a generator (SplitMix64) for the whole selection, so that the same draw gives the same order.
//!
//! **Bound.** A prefix has at most 64 routes, a carrier at most 64 gateways, and the hunt eight candidates. A draw walks over its equals
//! twice. Whoever is drawn and not usable takes all others of his equals that are not either with him, in one walk: this changes nothing in
//! the order of those that are left, since each is drawn by its share of what is left in any case. So a carrier costs at most one fruitless
//! draw for each of its priorities, all of them together four walks over its gateways, however many are full; a whole selection at most
//! 64 such carriers, the draws of 64 routes, and eight draws that hit. No gateway is looked at more than twice.

use arrayvec::ArrayVec;
use rkyv::Archived;

use crate::limits::CANDIDATES_MAX;
use crate::routing::layout::{CarrierGateway, GATEWAYS_PER_CARRIER_MAX, ROUTES_PER_PREFIX_MAX, RouteEntry, Schedule};
use crate::routing::{Candidate, Candidates, CarrierSlot, Digits, GatewaySlot, Image, NoCandidate, trie};
use crate::time::WallTime;

/// A route as selection sees it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Whose gateways are tried.
    pub carrier: CarrierSlot,
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
    /// When it is there.
    pub schedule: Schedule,
}

/// A routed prefix, by its number in the image. Good for this image only.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PrefixNumber(pub u32);

/// SplitMix64: small, and a full period from any seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        // Multiply and shift: off by less than one in 2^40 for the sums of weights that occur.
        ((u128::from(bits) * u128::from(bound)) >> 64) as u64
    }
}

/// What entries are ordered by.
trait Rank {
    /// Lower comes first.
    fn priority(&self) -> u16;
    /// Share among equals.
    fn weight(&self) -> u64;
}

impl Rank for Archived<RouteEntry> {
    fn priority(&self) -> u16 {
        self.priority.to_native()
    }
    fn weight(&self) -> u64 {
        self.weight.to_native().into()
    }
}

impl Rank for Archived<CarrierGateway> {
    fn priority(&self) -> u16 {
        self.priority.to_native()
    }
    fn weight(&self) -> u64 {
        self.weight.to_native().into()
    }
}

/// Hands out entries by ascending priority, equals in a weighted shuffle. `entries` are sorted by priority.
struct Order<'a, T> {
    entries: &'a [T],
    /// Places of lower priority than those being drawn, as bits.
    later: u64,
    /// Places of equal priority that are being drawn.
    equals: u64,
}

/// The places of a set of bits, ascending.
fn places(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        let left = bits & bits.checked_sub(1)?;
        bits = left;
        Some(place)
    })
}

impl<'a, T: Rank> Order<'a, T> {
    /// All but those whose bit is set in `absent`. At most 64 entries are looked at; the compiler refuses more.
    fn new(entries: &'a [T], absent: u64) -> Order<'a, T> {
        let all = u64::MAX.checked_shr(64u32.saturating_sub(entries.len() as u32)).unwrap_or(0);
        Order { entries, later: all & !absent, equals: 0 }
    }

    fn next(&mut self, draws: &mut Draws) -> Option<&'a T> {
        if self.equals == 0 {
            self.equals = self.most_urgent();
            self.later &= !self.equals;
        }
        let place = match self.equals.count_ones() {
            0 => return None,
            1 => self.equals.trailing_zeros() as usize,
            _ => self.draw(draws)?,
        };
        self.equals &= !(1 << place);
        self.entries.get(place)
    }

    /// The next one that is usable.
    fn next_usable(&mut self, draws: &mut Draws, mut usable: impl FnMut(&T) -> bool) -> Option<&'a T> {
        loop {
            let entry = self.next(draws)?;
            if usable(entry) {
                return Some(entry);
            }
            self.sift(&mut usable);
        }
    }

    /// Leaves only the usable ones among the equals that are being drawn.
    #[cold]
    fn sift(&mut self, mut usable: impl FnMut(&T) -> bool) {
        for place in places(self.equals) {
            if !usable(&self.entries[place]) {
                self.equals &= !(1 << place);
            }
        }
    }

    /// Those with the priority of the first that is left.
    fn most_urgent(&self) -> u64 {
        let mut left = places(self.later).map(|place| (place, self.entries[place].priority()));
        let Some((first, priority)) = left.next() else { return 0 };
        let same = left.take_while(|(_, other)| *other == priority);
        same.fold(1 << first, |equals, (place, _)| equals | 1 << place)
    }

    /// One of several equals.
    fn draw(&self, draws: &mut Draws) -> Option<usize> {
        let sum: u64 = places(self.equals).map(|place| self.entries[place].weight()).sum();
        if sum == 0 {
            // Only weights of zero are left: each is as likely.
            return places(self.equals).nth(draws.below(self.equals.count_ones().into()) as usize);
        }
        let mut draw = draws.below(sum);
        // The shares add up to the bound of the draw, so one of them is hit.
        places(self.equals).find(|place| {
            let share = self.entries[*place].weight();
            let hit = draw < share;
            draw = draw.saturating_sub(share);
            hit
        })
    }
}

impl Image<'_> {
    /// The longest routed prefix of a number.
    #[inline]
    #[must_use]
    pub fn longest_prefix(&self, routing_group: u32, number: Digits) -> Option<PrefixNumber> {
        trie::find(self.trie, routing_group, number).map(PrefixNumber)
    }

    /// The next shorter routed prefix.
    #[inline]
    #[must_use]
    pub fn shorter_prefix(&self, prefix: PrefixNumber) -> Option<PrefixNumber> {
        trie::shorter(self.trie, prefix.0).map(PrefixNumber)
    }

    /// How many symbols a prefix has: so many of the number looked up are the prefix.
    #[must_use]
    pub fn prefix_len(&self, prefix: PrefixNumber) -> u8 {
        trie::length(self.trie, prefix.0).unwrap_or(0)
    }

    /// The routes of a prefix by ascending priority, with `route.id` and `route.cost` (millionths) of each.
    pub fn routes(&self, prefix: PrefixNumber) -> impl Iterator<Item = (Route, u32, Option<u32>)> {
        let first = (prefix.0 as usize)
            .checked_sub(1)
            .and_then(|place| self.origins.first.as_slice().get(place))
            .map_or(usize::MAX, |first| first.to_native() as usize);
        self.entries(prefix).iter().enumerate().map(move |(place, entry)| {
            let origin = first.saturating_add(place);
            let id = self.origins.ids.as_slice().get(origin).map_or(0, |id| id.to_native());
            let cost = self.origins.costs.as_slice().get(origin).map_or(u32::MAX, |cost| cost.to_native());
            (self.route(entry), id, Some(cost).filter(|cost| *cost != u32::MAX))
        })
    }

    #[inline]
    fn entries(&self, prefix: PrefixNumber) -> &[Archived<RouteEntry>] {
        let entries = || {
            let set = trie::set(self.trie, prefix.0)?;
            let first = self.routes.first.as_slice();
            let (start, end) = (first.get(set)?.to_native(), first.get(set + 1)?.to_native());
            self.routes.entries.as_slice().get(start as usize..end as usize)
        };
        entries().unwrap_or(&[])
    }

    fn route(&self, entry: &Archived<RouteEntry>) -> Route {
        Route {
            carrier: CarrierSlot(entry.carrier.to_native()),
            priority: entry.priority.to_native(),
            weight: entry.weight.to_native(),
            schedule: self.schedule(entry),
        }
    }

    /// Candidates for a normalised number in a routing group at a time: longest prefix with a route that is there, its routes by priority and
    /// weighted shuffle, then each carrier's gateways alike, at most [`CANDIDATES_MAX`], no gateway twice. `draw` is 64 random bits.
    ///
    /// # Errors
    /// [`NoCandidate`] says which answer to give.
    pub fn select(
        &self,
        routing_group: u32,
        number: &[u8],
        wall: WallTime,
        draw: u64,
    ) -> Result<Candidates, NoCandidate> {
        self.select_where(routing_group, number, wall, draw, |_, _| true)
    }

    /// [`Image::select`] among the gateways that are up and below their caps. Where none is, that is the answer: no shorter
    /// prefix is asked.
    ///
    /// # Errors
    /// [`NoCandidate`] says which answer to give.
    pub fn select_where(
        &self,
        routing_group: u32,
        number: &[u8],
        wall: WallTime,
        draw: u64,
        mut gateway_usable: impl FnMut(CarrierSlot, GatewaySlot) -> bool,
    ) -> Result<Candidates, NoCandidate> {
        let mut prefix = self.longest_prefix(routing_group, Digits::leading(number)).ok_or(NoCandidate::NoRoute)?;
        let (entries, absent) = loop {
            let entries = self.entries(prefix);
            let absent = self.absent(entries, wall);
            if (absent.count_ones() as usize) < entries.len() {
                break (entries, absent);
            }
            prefix = self.shorter_prefix(prefix).ok_or(NoCandidate::NoRoute)?;
        };
        let mut draws = Draws(draw);
        let mut candidates: Candidates = ArrayVec::new();
        let mut routes = Order::new(entries, absent);
        while let Some(entry) = routes.next(&mut draws) {
            let carrier = CarrierSlot(entry.carrier.to_native());
            let Some(record) = self.carrier_record(carrier).filter(|record| record.enabled) else { continue };
            let mut gateways = Order::new(record.gateways.as_slice(), 0);
            let slot = |entry: &Archived<CarrierGateway>| GatewaySlot(entry.gateway.to_native());
            while let Some(entry) = gateways.next_usable(&mut draws, |entry| {
                let gateway = slot(entry);
                !candidates.iter().any(|candidate| candidate.gateway == gateway) && gateway_usable(carrier, gateway)
            }) {
                candidates.push(Candidate { gateway: slot(entry), carrier });
                if candidates.is_full() {
                    return Ok(candidates);
                }
            }
        }
        if candidates.is_empty() { Err(NoCandidate::NoneUsable) } else { Ok(candidates) }
    }
}

const _: () = assert!(CANDIDATES_MAX <= ROUTES_PER_PREFIX_MAX * GATEWAYS_PER_CARRIER_MAX);

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use std::vec::Vec;

    use super::*;

    /// An entry that counts how often it is read.
    struct Counted<'c> {
        priority: u16,
        reads: &'c Cell<u32>,
    }

    impl Rank for Counted<'_> {
        fn priority(&self) -> u16 {
            self.reads.set(self.reads.get() + 1);
            self.priority
        }
        fn weight(&self) -> u64 {
            self.reads.set(self.reads.get() + 1);
            1
        }
    }

    /// Where nobody is usable each is read a few times and looked at once; where one is, it is looked at once more and found.
    #[test]
    fn what_is_full_is_passed_over_in_one_walk() {
        let reads = Cell::new(0);
        for equals in [1, 2, 3, 8, 64] {
            let entries: Vec<_> = (0..64).map(|place| Counted { priority: place / equals, reads: &reads }).collect();
            for usable in [None, Some(0), Some(40), Some(63)] {
                reads.set(0);
                let mut looks = 0;
                let mut order = Order::new(&entries, 0);
                let mut is_usable = |entry: &Counted<'_>| {
                    looks += 1;
                    usable.is_some_and(|place| core::ptr::eq(entry, &raw const entries[place]))
                };
                let mut draws = Draws(7);
                let found = order.next_usable(&mut draws, &mut is_usable);
                assert!(found.map(core::ptr::from_ref) == usable.map(|place| &raw const entries[place]));
                assert!(order.next_usable(&mut draws, &mut is_usable).is_none());
                assert!(looks <= 64 + u32::from(usable.is_some()), "{looks} looks at 64 entries");
                assert!(reads.get() <= 6 * 64, "{} reads of 64 entries, {equals} equal", reads.get());
            }
        }
    }
}
