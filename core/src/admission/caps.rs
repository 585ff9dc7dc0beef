//! The table of capped peers, shared by all shards of a node.
//!
//! ```text
//!   Caps ─┬ providers  ▭▭▭▭▭▭▭▭…   by ProviderSlot      one row (a cache line) for each slot, made at the start with room for
//!         ├ carriers   ▭▭▭▭…       by CarrierSlot       slots to come; a shard touches a row when a call is admitted and when
//!         ├ gateways   ▭▭▭▭▭▭…     by GatewaySlot       it ends, and only that of a peer which has a limit
//!         └ addresses  ▭▭…         by AddressCap        rows of provider_address with a cap: of each its rate alone
//! ```
//!
//! Slots stay with their ids over image swaps, and so do the counts. A slot that an image gives to another id keeps the holds of
//! the calls that are still running on it; its day is to be forgotten by whoever swaps ([`Caps::set_day`]).

use alloc::boxed::Box;
use core::time::Duration;

use super::daily::{Day, DayCount};
use super::row::{Look, Row, Taken, Wanted};
use super::{Limit, Limits, Peer, ProviderLimits, Rate, Refusal};
use crate::limits::{CAPS_ROWS_MIN, LOOKS_MAX};
use crate::routing::layout::SLOTS_MAX;
use crate::routing::{AddressCap, Candidate, Image, NO_SLOT, ProviderSlot};
use crate::time::{Instant, WallTime};

/// Rows of each kind.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CapsSize {
    /// Slots of providers.
    pub providers: usize,
    /// Slots of carriers.
    pub carriers: usize,
    /// Slots of gateways.
    pub gateways: usize,
    /// Slots of rows of `provider_address` with a cap.
    pub addresses: usize,
}

impl CapsSize {
    /// Rows for the slots of an image and as many again, for the images that follow it without a restart.
    #[must_use]
    pub fn for_image(image: &Image<'_>) -> CapsSize {
        let tables = image.tables();
        let rows = |slots: usize| slots.saturating_mul(2).clamp(CAPS_ROWS_MIN, SLOTS_MAX);
        CapsSize {
            providers: rows(tables.providers.len()),
            carriers: rows(tables.carriers.len()),
            gateways: rows(tables.gateways.len()),
            addresses: rows(tables.address_caps.len()),
        }
    }

    /// Whether every slot of an image has a row. An image that does not fit is not to be swapped in: a restart makes a larger table.
    #[must_use]
    pub fn holds(&self, image: &Image<'_>) -> bool {
        let tables = image.tables();
        tables.providers.len() <= self.providers
            && tables.carriers.len() <= self.carriers
            && tables.gateways.len() <= self.gateways
            && tables.address_caps.len() <= self.addresses
    }

    /// Bytes that the table takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        (self.providers + self.carriers + self.gateways + self.addresses) * size_of::<Row>()
    }
}

/// What a call holds of its provider. It goes back by [`Caps::release_provider`], once.
#[must_use = "a hold that is dropped is never given back"]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ProviderHold {
    slot: u16,
    /// It holds one of `max_calls`.
    call: bool,
    /// Its seconds are counted.
    minutes: bool,
}

impl ProviderHold {
    /// Holds nothing.
    pub const NONE: ProviderHold = ProviderHold { slot: NO_SLOT, call: false, minutes: false };

    /// Calls that it counts as at its provider.
    pub(crate) fn count(self) -> u64 {
        self.call.into()
    }
}

/// What a branch holds of its carrier and gateway. It goes back by [`Caps::release_gateway`], once.
#[must_use = "a hold that is dropped is never given back"]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct GatewayHold {
    /// [`NO_SLOT`]: nothing.
    carrier: u16,
    /// Likewise.
    gateway: u16,
}

impl GatewayHold {
    /// Holds nothing.
    pub const NONE: GatewayHold = GatewayHold { carrier: NO_SLOT, gateway: NO_SLOT };

    /// Whether a place of its carrier is among it.
    pub(crate) const fn has_carrier(self) -> bool {
        self.carrier != NO_SLOT
    }

    /// Whether a place of its gateway is among it.
    pub(crate) const fn has_gateway(self) -> bool {
        self.gateway != NO_SLOT
    }

    /// The carrier's part, which is taken out.
    pub(crate) fn take_carrier(&mut self) -> GatewayHold {
        GatewayHold { carrier: core::mem::replace(&mut self.carrier, NO_SLOT), gateway: NO_SLOT }
    }

    /// The gateway's part, which is taken out.
    pub(crate) fn take_gateway(&mut self) -> GatewayHold {
        GatewayHold { carrier: NO_SLOT, gateway: core::mem::replace(&mut self.gateway, NO_SLOT) }
    }

    /// Both as one; of each part at most one of them has it.
    pub(crate) fn and(self, other: GatewayHold) -> GatewayHold {
        let one = |this, other| {
            assert!(this == NO_SLOT || other == NO_SLOT, "a call holds its carrier, and a branch its gateway, once");
            if this == NO_SLOT { other } else { this }
        };
        GatewayHold { carrier: one(self.carrier, other.carrier), gateway: one(self.gateway, other.gateway) }
    }

    /// Calls that it counts as at its carrier and at its gateway.
    pub(crate) fn counts(self) -> [u64; 2] {
        [self.carrier, self.gateway].map(|slot| (slot != NO_SLOT).into())
    }
}

/// The shared table.
#[derive(Debug)]
pub struct Caps {
    providers: Box<[Row]>,
    carriers: Box<[Row]>,
    gateways: Box<[Row]>,
    addresses: Box<[Row]>,
}

impl Default for Caps {
    /// A table without rows: every peer with a limit is refused.
    fn default() -> Caps {
        Caps::new(CapsSize { providers: 0, carriers: 0, gateways: 0, addresses: 0 })
    }
}

impl Caps {
    /// Takes all memory that the table will ever use.
    #[must_use]
    pub fn new(size: CapsSize) -> Caps {
        let rows = |count| (0..count).map(|_| Row::default()).collect();
        Caps {
            providers: rows(size.providers),
            carriers: rows(size.carriers),
            gateways: rows(size.gateways),
            addresses: rows(size.addresses),
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn size(&self) -> CapsSize {
        CapsSize {
            providers: self.providers.len(),
            carriers: self.carriers.len(),
            gateways: self.gateways.len(),
            addresses: self.addresses.len(),
        }
    }

    /// Admits a provider's new call: takes one of `max_calls`, one of the day, one of the rate, and one of that of the row of
    /// `provider_address` that it came from; all or nothing. `today` is asked for only when there is a daily limit.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is taken then.
    #[inline]
    pub fn admit_provider(
        &self,
        slot: ProviderSlot,
        limits: &ProviderLimits,
        address: Option<AddressCap>,
        now: Instant,
        today: impl FnOnce() -> Day,
    ) -> Result<ProviderHold, Refusal> {
        let daily = limits.max_calls_day.is_some() || limits.max_minutes_day.is_some();
        let own = daily || limits.now != Limits::NONE;
        match (address, own) {
            (None, false) => return Ok(ProviderHold::NONE),
            (Some(cap), false) => {
                take_all(&[self.of_address(cap, now)?])?;
                return Ok(ProviderHold::NONE);
            }
            (_, true) => {}
        }
        let row = find(&self.providers, slot.0, Peer::Provider)?;
        let wanted = Wanted {
            limits: limits.now,
            max_calls_day: limits.max_calls_day,
            max_minutes_day: limits.max_minutes_day,
            today: daily.then(today),
            now,
        };
        let provider = Want { row, wanted, peer: Peer::Provider };
        match address {
            None => take_all(&[provider])?,
            Some(cap) => take_all(&[self.of_address(cap, now)?, provider])?,
        }
        if let Some(day) = wanted.today {
            row.open_day(day);
        }
        Ok(ProviderHold {
            slot: slot.0,
            call: limits.now.max_calls.is_some(),
            minutes: limits.max_minutes_day.is_some(),
        })
    }

    fn of_address(&self, cap: AddressCap, now: Instant) -> Result<Want<'_>, Refusal> {
        let limits = Limits { max_calls: None, rate: Some(Rate::new(cap.max_cps, None)) };
        want(&self.addresses, cap.slot, Peer::Address, &limits, now)
    }

    /// Takes a candidate's place: one of `max_calls` and one of the rate, with its carrier and with itself, all or nothing.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is taken then, and the next candidate may be tried.
    pub fn take_gateway(
        &self,
        candidate: Candidate,
        carrier: &Limits,
        gateway: &Limits,
        now: Instant,
    ) -> Result<GatewayHold, Refusal> {
        let (carrier_slot, gateway_slot) = (candidate.carrier.0, candidate.gateway.0);
        match (*carrier != Limits::NONE, *gateway != Limits::NONE) {
            (false, false) => return Ok(GatewayHold::NONE),
            (true, false) => take_all(&[want(&self.carriers, carrier_slot, Peer::Carrier, carrier, now)?])?,
            (false, true) => take_all(&[want(&self.gateways, gateway_slot, Peer::Gateway, gateway, now)?])?,
            (true, true) => take_all(&[
                want(&self.carriers, carrier_slot, Peer::Carrier, carrier, now)?,
                want(&self.gateways, gateway_slot, Peer::Gateway, gateway, now)?,
            ])?,
        }
        let held = |limits: &Limits, slot| if limits.max_calls.is_some() { slot } else { NO_SLOT };
        Ok(GatewayHold { carrier: held(carrier, carrier_slot), gateway: held(gateway, gateway_slot) })
    }

    /// Whether a candidate has room, by reading alone: the filter before the hunt. [`Caps::take_gateway`] has the last word.
    #[must_use]
    pub fn has_room(&self, candidate: Candidate, carrier: &Limits, gateway: &Limits, now: Instant) -> bool {
        let room = |rows, slot, peer, limits: &Limits| {
            *limits == Limits::NONE
                || want(rows, slot, peer, limits, now)
                    .is_ok_and(|want| !matches!(want.row.look(&want.wanted), Look::Full(_)))
        };
        room(&self.carriers, candidate.carrier.0, Peer::Carrier, carrier)
            && room(&self.gateways, candidate.gateway.0, Peer::Gateway, gateway)
    }

    /// Gives back what a call held of its provider. `talked` is from its 2xx to now, and is counted whole in the day in which the
    /// call ends; zero for a call that was never answered.
    pub fn release_provider(&self, hold: ProviderHold, talked: Duration, now: WallTime) {
        let Some(row) = self.providers.get(usize::from(hold.slot)) else { return };
        if hold.call {
            row.release_call();
        }
        if hold.minutes {
            // Rounded up: a second that was begun was used.
            row.charge(talked.as_micros().div_ceil(1_000_000) as u64, now);
        }
    }

    /// Gives back what a branch held of its carrier and gateway.
    pub fn release_gateway(&self, hold: GatewayHold) {
        for (rows, slot) in [(&self.carriers, hold.carrier), (&self.gateways, hold.gateway)] {
            if let Some(row) = rows.get(usize::from(slot)) {
                row.release_call();
            }
        }
    }

    /// What a provider has used of its day; `None` when it never had a daily limit.
    #[must_use]
    pub fn day(&self, slot: ProviderSlot) -> Option<DayCount> {
        self.providers.get(usize::from(slot.0)).and_then(Row::day)
    }

    /// Sets what a provider has used of its day: at the start, before a shard runs, from what was kept; and to the default where an
    /// image gives the slot to another provider. A slot beyond the table has no limits to keep.
    pub fn set_day(&self, slot: ProviderSlot, day: DayCount) {
        if let Some(row) = self.providers.get(usize::from(slot.0)) {
            row.set_day(day);
        }
    }

    /// Holds of all providers, carriers and gateways, for an audit: the work grows with the table.
    #[must_use]
    pub fn held(&self) -> [u64; 3] {
        [&self.providers, &self.carriers, &self.gateways]
            .map(|rows| rows.iter().map(|row| u64::from(row.calls())).sum())
    }
}

/// One row of an admission.
struct Want<'r> {
    row: &'r Row,
    wanted: Wanted,
    peer: Peer,
}

fn find(rows: &[Row], slot: u16, peer: Peer) -> Result<&Row, Refusal> {
    rows.get(usize::from(slot)).ok_or(Refusal { peer, limit: Limit::NoRow })
}

fn want<'r>(rows: &'r [Row], slot: u16, peer: Peer, limits: &Limits, now: Instant) -> Result<Want<'r>, Refusal> {
    let row = find(rows, slot, peer)?;
    let wanted = Wanted { limits: *limits, max_calls_day: None, max_minutes_day: None, today: None, now };
    Ok(Want { row, wanted, peer })
}

/// Takes of all rows or of none: the figure of `row`.
fn take_all<const N: usize>(wants: &[Want<'_>; N]) -> Result<(), Refusal> {
    let mut unsettled = None;
    for _ in 0..LOOKS_MAX {
        match look_at_all(wants) {
            Ok(()) if try_all(wants) => return Ok(()),
            // Somebody was faster; whether there is still room the next look says.
            Ok(()) => {}
            Err((refusal, true)) => return Err(refusal),
            Err((refusal, false)) => unsettled = Some(refusal),
        }
        core::hint::spin_loop();
    }
    Err(unsettled.unwrap_or(Refusal { peer: wants[0].peer, limit: Limit::Calls }))
}

/// A row without room, one for which that is settled before others; and whether it is.
fn look_at_all<const N: usize>(wants: &[Want<'_>; N]) -> Result<(), (Refusal, bool)> {
    let mut unsettled = Ok(());
    for Want { row, wanted, peer } in wants {
        match row.look(wanted) {
            Look::Room => {}
            Look::Full(limit) => return Err((Refusal { peer: *peer, limit }, true)),
            Look::Unsettled(limit) => unsettled = Err((Refusal { peer: *peer, limit }, false)),
        }
    }
    unsettled
}

/// A trial; `false` when it took nothing.
fn try_all<const N: usize>(wants: &[Want<'_>; N]) -> bool {
    wants.iter().for_each(|want| want.row.begin());
    let mut taken = [Taken::default(); N];
    let mut count = 0;
    let all = wants.iter().zip(&mut taken).all(|(want, taken)| {
        let got = want.row.take(&want.wanted);
        *taken = got.unwrap_or_default();
        count += usize::from(got.is_some());
        got.is_some()
    });
    if !all {
        wants.iter().zip(&taken).take(count).for_each(|(want, taken)| want.row.give_back(taken));
    }
    wants.iter().for_each(|want| want.row.end());
    all
}
