//! `default_timeout` of a provider with `timeout_mode` `media`: the call goes on while its node hears RTP (SPEC §2).
//!
//! ```text
//!   Confirmed ── default_timeout ──► asked ─┬ RTP within media_idle ──► Confirmed, default_timeout anew
//!                    media_idle ──►   ▲     ├ silent, unknown call ───► HungUp: Expired
//!                                     └─────┴ no answer, no node, no room: four times in all ──► HungUp: Expired
//! ```
//!
//! The call's own timer runs on meanwhile, as the next question's, and never beyond the session's expiry, which asks nobody. So a node or a
//! control core that says nothing needs no place of its own here. A refresh starts `default_timeout` anew and makes the question nobody's. No
//! message is held.

use super::super::{Engine, Turn};
use super::Ask;
use super::exchange::{Exchange, Result, Subject};
use crate::bus::{MediaOutcome, Verb};
use crate::call::state::Event;
use crate::call::{CallRef, EndReason, State};
use crate::counter::Counter;
use crate::limits::MEDIA_QUERIES_MAX;
use crate::routing::TimeoutMode;

impl Engine {
    /// `default_timeout` of a call is over; true: its node is asked first, and the timer runs again. A call that no node has a session of is not
    /// asked about, whatever its provider's mode.
    #[inline(never)]
    pub(crate) fn asks_for_rtp(&mut self, turn: &mut Turn<'_>, at: CallRef) -> bool {
        let Some(call) = self.calls.find_mut(at) else { return false };
        let mode = turn.image.provider(call.provider).map(|provider| provider.timeout_mode);
        let Some(media) = call.media.as_mut().filter(|media| media.node != 0) else { return false };
        if mode != Some(TimeoutMode::Media) || media.count >= MEDIA_QUERIES_MAX {
            return false;
        }
        media.count += 1;
        let (number, attempt, flow) = (media.count, media.attempt, call.caller.flow);
        call.timeout_at = turn.now.monotonic.after(self.settings.timers.media_idle).min(call.session.expires_at);
        self.arm_call(at);
        self.counters.count(Counter::MediaQueries);
        let exchange = Exchange {
            call: at,
            subject: Subject::Query(number),
            verb: Verb::Query,
            asked: true,
            flow,
            held: None,
            whole: 0,
            next: None,
            timeout_at: self.media_deadline(turn),
        };
        // What is kept back is for messages; without room it is as if the node had not answered.
        if let Ok(exchange) = self.open_exchange(exchange, true) {
            let ask = Ask { verb: Verb::Query, attempt, candidate: None, from_tag: b"", to_tag: b"", sdp: b"" };
            if self.ask(turn, at, Engine::exchange_id(exchange), &ask).is_err() {
                self.close_exchange(exchange);
            }
        }
        true
    }

    /// A node has said whether it hears RTP, or nobody has.
    pub(super) fn on_query_back(&mut self, turn: &mut Turn<'_>, at: CallRef, number: u8, result: Result<'_>) {
        let Some(call) = self.calls.find(at).filter(|call| call.state == State::Confirmed) else { return };
        // Refreshed meanwhile, or asked again.
        if call.media.as_ref().is_none_or(|media| media.count != number) {
            return;
        }
        match result {
            Ok(_) => self.drive_call(turn, at, Event::Refresh, EndReason::Expired),
            Err(MediaOutcome::Silent) => self.drive_call(turn, at, Event::Timeout, EndReason::Expired),
            // The timer asks again.
            Err(_) => {}
        }
    }
}
