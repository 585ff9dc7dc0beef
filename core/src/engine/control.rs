//! What the control core wants of a shard: drain, and the end of calls.

use core::time::Duration;

use super::{Engine, Turn};
use crate::call::state::Event;
use crate::call::{Call, EndReason};
use crate::limits::EFFECTS_PER_CALL_MAX;

/// A wish of the control core.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Takes no new calls (503 with Retry-After, to OPTIONS too), or takes them again. Calls in progress are untouched.
    Drain(bool),
    /// Ends one call with BYE both ways, or with a CANCEL where it still rings. One that is not there has ended.
    HangUp {
        /// Keyed hash of its Call-ID.
        call_hash: u64,
        /// Which passage.
        pass: u32,
    },
    /// Takes no new calls (503 with Retry-After), or takes them again: the journal has no room for the ends of more. Apart from
    /// [`Command::Drain`], so that neither undoes the other.
    HoldNewCalls(bool),
    /// Ends all calls so, as many in each step as the effects can hold.
    HangUpAll,
}

impl Engine {
    pub(crate) fn on_command(&mut self, turn: &mut Turn<'_>, command: Command) {
        match command {
            Command::Drain(on) => self.draining = on,
            Command::HoldNewCalls(on) => self.holding = on,
            Command::HangUp { call_hash, pass } => {
                let place = self.call_index.find(Call::key(call_hash, pass));
                if let Some(at) = place.and_then(|place| self.calls.at(place)) {
                    self.drive_call(turn, at, Event::HangUp, EndReason::HungUp);
                }
            }
            Command::HangUpAll => self.sweep = Some((0, turn.now.monotonic)),
        }
    }

    /// Goes on with [`Command::HangUpAll`]; part of each time-out. It goes in steps, and waits while there is little room: the BYEs of all
    /// calls at once would take the records of the requests that the calls themselves send.
    pub(crate) fn sweep_calls(&mut self, turn: &mut Turn<'_>) {
        /// Empty places that one step may pass, so that none takes long.
        const PLACES_PER_STEP: u32 = 4096;
        /// Between two steps of a few calls: all calls of a full node take seconds.
        const PAUSE: Duration = Duration::from_millis(1);
        /// While there is little room, for the BYEs to be answered.
        const WAIT: Duration = Duration::from_millis(100);
        let now = turn.now.monotonic;
        let Some((start, _)) = self.sweep.filter(|(_, at)| *at <= now) else { return };
        let end = self.calls.capacity().min(start.saturating_add(PLACES_PER_STEP));
        for place in start..end {
            let Some(at) = self.calls.at(place) else { continue };
            if turn.effects.remaining_capacity() < EFFECTS_PER_CALL_MAX {
                self.sweep = Some((place, now.after(PAUSE)));
                return;
            }
            if !self.has_room_in_a_call() {
                self.sweep = Some((place, now.after(WAIT)));
                return;
            }
            self.drive_call(turn, at, Event::HangUp, EndReason::HungUp);
        }
        self.sweep = (end < self.calls.capacity()).then_some((end, now.after(PAUSE)));
    }
}
