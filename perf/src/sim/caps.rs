//! Caps, as the world sees them: how many calls of a provider, a carrier, a gateway there are at the same time, against what the image
//! allows.
//!
//! ```text
//!   provider   from a call's first INVITE to a gateway to its record           never more than max_calls
//!   carrier    the same, of the last gateway asked                             likewise
//!   gateway    from its INVITE to its refusal, or to the call's record         likewise
//!   refused    for a provider's cap, who has no other limit                    only where as many of its calls are open
//! ```
//!
//! What is counted here is never more than the engine holds: of a call that is hunted only the gateway that was asked last, of a number
//! with two carriers neither. The limits are the same in all generations of a world's image, so that a reload changes none.
//!
//! Mutants of the engine that these rules were seen to find: a cap of N that admits N + 1, one that admits N − 1.

use corelane_core::Counter;

use super::conduct::carriers_of;
use super::network::Party;
use super::routes::{Limit, Limits};
use super::world::World;

/// Where a call has a place.
#[derive(Copy, Clone, Default, Debug)]
struct Place {
    provider: Option<u8>,
    carrier: Option<u16>,
    gateway: Option<u8>,
}

/// The places of all calls.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    /// By call.
    taken: Vec<Place>,
    providers: Vec<u32>,
    carriers: Vec<u32>,
    gateways: Vec<u32>,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Places {
        let none = |of: &[Limit]| vec![0; of.len()];
        let (providers, carriers, gateways) = (none(&limits.providers), none(&limits.carriers), none(&limits.gateways));
        Places { limits, taken: Vec::new(), providers, carriers, gateways }
    }

    /// Puts a call somewhere else. Says where it is one too many.
    fn put(&mut self, call: u32, place: Place) -> Option<&'static str> {
        let at = call as usize;
        if self.taken.len() <= at {
            self.taken.resize(at + 1, Place::default());
        }
        let before = std::mem::replace(&mut self.taken[at], place);
        let rows = [
            ("provider", before.provider.map(u16::from), place.provider.map(u16::from)),
            ("carrier", before.carrier, place.carrier),
            ("gateway", before.gateway.map(u16::from), place.gateway.map(u16::from)),
        ];
        let counts = [&mut self.providers, &mut self.carriers, &mut self.gateways];
        let limits = [&self.limits.providers, &self.limits.carriers, &self.limits.gateways];
        let mut full = None;
        for (((name, old, new), counts), limits) in rows.into_iter().zip(counts).zip(limits) {
            if old == new {
                continue;
            }
            if let Some(old) = old {
                counts[usize::from(old)] -= 1;
            }
            if let Some(new) = new.map(usize::from) {
                counts[new] += 1;
                full = full.or(limits[new].calls.is_some_and(|most| counts[new] > most).then_some(name));
            }
        }
        full
    }
}

impl World<'_> {
    /// A gateway has answered a call; its 2xx may be one that comes again when that is over.
    pub(super) fn move_place(&mut self, call: u32, gateway: u8) {
        if self.places.taken.get(call as usize).is_some_and(|place| place.provider.is_some()) {
            self.take_places(call, gateway);
        }
    }

    /// A gateway is asked for a call.
    pub(super) fn take_places(&mut self, call: u32, gateway: u8) {
        let script = &self.calls[call as usize].script;
        let Party::Caller(provider) = script.party else { return };
        let carrier = match carriers_of(&script.number) {
            [one] => Some(*one),
            _ => None,
        };
        let place = Place { provider: Some(provider), carrier, gateway: Some(gateway) };
        if let Some(whose) = self.places.put(call, place) {
            self.break_promise(&format!("a {whose} has one call more than its max_calls"), call);
        }
    }

    /// A gateway has refused a call, or could not be reached with it: then its carrier may have lost it too.
    pub(super) fn leave_gateway(&mut self, call: u32, unreachable: bool) {
        let before = self.places.taken.get(call as usize).copied().unwrap_or_default();
        self.places.put(call, Place { gateway: None, carrier: before.carrier.filter(|_| !unreachable), ..before });
    }

    /// A call's record is out.
    pub(super) fn leave_places(&mut self, call: u32) {
        self.places.put(call, Place::default());
        self.calls[call as usize].open = false;
    }

    /// How often a provider's limit refused a call so far; not counted where somebody else may have placed one.
    pub(super) fn refused_by_provider(&mut self) -> u64 {
        let others = self.plan.mischief_permille > 0 || self.plan.noise_every.is_some();
        if others || self.plan.capped_permille == 0 { 0 } else { self.count(Counter::ProviderCapped) }
    }

    /// A datagram has been handled: who was refused for max_calls has as many calls.
    pub(super) fn watch_refused_by_provider(&mut self, before: u64) {
        if self.refused_by_provider() == before {
            return;
        }
        let Some(Party::Caller(provider)) = self.calls.get(self.last_call as usize).map(|call| call.script.party)
        else {
            return;
        };
        let limit = self.places.limits.providers[usize::from(provider)];
        let Limit { calls: Some(most), cps: None } = limit else { return };
        let open = self.calls.iter().filter(|call| call.open && call.script.party == Party::Caller(provider)).count();
        if (open as u64) < u64::from(most) {
            let what = format!("a call was refused for max_calls {most}, and its provider had {open}");
            self.break_promise(&what, self.last_call);
        }
    }
}
