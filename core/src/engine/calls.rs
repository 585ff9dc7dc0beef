//! Drives the figure of a call: its state, its timer, and what follows.

use super::{Engine, Turn};
use crate::call::state::{Act, Event, Timer, step};
use crate::call::{CallRef, EndReason, State};
use crate::time::Instant;

impl Engine {
    /// Runs one event through a call. `reason` is why it ends, where the event ends it.
    pub(crate) fn drive_call(&mut self, turn: &mut Turn<'_>, at: CallRef, event: Event, reason: EndReason) {
        let now = turn.now.monotonic;
        let timers = &self.settings.timers;
        let Some(call) = self.calls.find_mut(at) else { return };
        let before = call.state;
        let Some((state, action)) = step(before, event) else { return };
        call.state = state;
        let deadline = match action.timer {
            Timer::Keep => None,
            Timer::Stop => Some(Instant::NEVER),
            Timer::Early => Some(now.after(timers.early_timeout)),
            Timer::NoAck => Some(now.after(timers.noack_timeout)),
            Timer::Default => Some(now.after(call.default_timeout).min(call.session.expires_at)),
            Timer::Crossing => Some(now.after(timers.linger())),
        };
        if let Some(deadline) = deadline {
            call.timeout_at = deadline;
            self.arm_call(at);
        }
        match action.act {
            Act::Nothing => {}
            Act::Cancel => {
                if let Some(call) = self.calls.find_mut(at) {
                    call.given_up = reason;
                }
                self.stop_hunt(turn, at);
            }
            Act::HangUp => self.hang_up(turn, at, reason, before == State::Confirmed),
            Act::End => self.end_call(turn, at, reason),
            Act::Forget => self.forget_call(at),
        }
    }

    /// Makes sure that the wheel looks at a call when its timer fires, or before.
    pub(crate) fn arm_call(&mut self, at: CallRef) {
        let Some(call) = self.calls.find_mut(at) else { return };
        if call.timeout_at < call.armed_at {
            call.armed_at = call.timeout_at;
            self.wheel.set(self.places.call(at), call.timeout_at);
        }
    }

    /// The wheel looked at a call.
    pub(crate) fn on_call_timer(&mut self, turn: &mut Turn<'_>, at: CallRef) {
        let Some(call) = self.calls.find_mut(at) else { return };
        call.armed_at = Instant::NEVER;
        if call.timeout_at > turn.now.monotonic {
            return self.arm_call(at);
        }
        let reason = match call.state {
            State::Unacknowledged => EndReason::Unacknowledged,
            State::Confirmed if call.session.expires_at <= turn.now.monotonic => EndReason::SessionExpired,
            State::Confirmed => EndReason::Expired,
            _ => EndReason::Unanswered,
        };
        self.drive_call(turn, at, Event::Timeout, reason);
    }
}
