//! Drives the figure of a call: its state, its timer, and what follows.

use super::{Engine, Turn};
use crate::call::state::{Act, Event, Timer, step};
use crate::call::{CallRef, EndReason, Leaving, State};
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
            Timer::Acknowledge => {
                call.answered.map(|(_, answered)| answered.after(timers.linger()).max(now).min(call.timeout_at))
            }
            Timer::Default => {
                if let Some(media) = &mut call.media {
                    media.count = 0;
                }
                Some(now.after(call.default_timeout.max(call.session.keeps_for())).min(call.session.expires_at))
            }
            Timer::Crossing => Some(now.after(timers.linger())),
        };
        if let Some(deadline) = deadline {
            call.timeout_at = deadline;
            self.arm_call(at);
        }
        match action.act {
            // It was to end as soon as it was acknowledged.
            Act::Nothing if event == Event::Ack && before == State::Unacknowledged => {
                if let Some(reason) =
                    self.calls.find(at).map(|call| call.given_up).filter(|why| *why != EndReason::Refused)
                {
                    self.drive_call(turn, at, Event::HangUp, reason);
                }
            }
            Act::Nothing => {}
            Act::HangUpLater => {
                if let Some(call) = self.calls.find_mut(at) {
                    match state {
                        // What it was given up for before is what its caller hears.
                        State::Cancelling => call.leaving = Leaving::HungUp,
                        _ => call.given_up = reason,
                    }
                }
            }
            Act::Cancel => {
                if let Some(call) = self.calls.find_mut(at)
                    && core::mem::replace(&mut call.given_up, reason) == EndReason::HungUp
                {
                    call.leaving = Leaving::HungUp;
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
        let (state, given_up, session_over) =
            (call.state, call.given_up, call.session.expires_at <= turn.now.monotonic);
        let reason = match state {
            State::Unacknowledged if given_up != EndReason::Refused => given_up,
            State::Unacknowledged => EndReason::Unacknowledged,
            State::Confirmed if session_over => EndReason::SessionExpired,
            State::Confirmed if self.asks_for_rtp(turn, at) => return,
            State::Confirmed => EndReason::Expired,
            _ => EndReason::Unanswered,
        };
        self.drive_call(turn, at, Event::Timeout, reason);
    }
}
