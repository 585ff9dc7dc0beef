//! The one terminal step of a call. Nothing else ends one, and nothing else removes a call record.
//!
//! [`Engine::end_call`] gives back all that the call held and hands out its [`CallRecord`]. After a hang-up by Corelane the record
//! itself stays for 64·T1, holding nothing: its tags answer the BYEs that cross ours.

use core::time::Duration;

use super::{Call, CallRecord, CallRef, EndReason, State};
use crate::admission::{GatewayHold, ProviderHold};
use crate::counter::Counter;
use crate::engine::{Effect, Engine, Turn};

impl Engine {
    /// Ends a call, which has taken the step into [`State::HungUp`] or [`State::Terminated`].
    pub(crate) fn end_call(&mut self, turn: &mut Turn<'_>, at: CallRef, reason: EndReason) {
        #[cfg(feature = "canary")]
        self.leak_hold(at);
        let Some(call) = self.calls.find_mut(at) else { return };
        assert!(matches!(call.state, State::HungUp | State::Terminated), "a call ends where its figure says so");
        let best = call.hunt.best.take().and_then(|best| best.response);
        for buffer in best.into_iter().chain(call.text.take()) {
            self.pool.release(buffer);
        }
        let (answered, server) = (call.answered.is_some(), call.server);
        let talked = call.answered.map_or(Duration::ZERO, |(_, at)| turn.now.monotonic.since(at));
        let hold = core::mem::replace(&mut call.hold, ProviderHold::NONE);
        let gateway_hold = core::mem::replace(&mut call.gateway_hold, GatewayHold::NONE);
        let record = CallRecord {
            call_hash: call.call_hash,
            pass: call.pass,
            provider: call.provider,
            gateway: call.candidate.map(|candidate| candidate.gateway),
            carrier: call.candidate.map(|candidate| candidate.carrier),
            attempts: call.hunt.attempts,
            status: call.status,
            started: call.started,
            answered: call.answered.map(|(wall, _)| wall),
            ended: turn.now.wall,
            duration: talked,
            reason,
            media: call.media.as_ref().is_some_and(|media| media.owed),
        };
        let (terminated, through_media) = (call.state == State::Terminated, call.media.is_some());
        self.settings.caps.release_provider(hold, talked, turn.now.wall);
        self.admission.released += hold.count();
        self.give_back(gateway_hold);
        self.debts.released += u64::from(record.media);
        if through_media {
            self.forget_media(at);
        }
        if !answered {
            self.release_carriers(server, None);
        }
        self.counters.count(Counter::CallsEnded);
        self.counters.count(reason.counter());
        #[cfg(feature = "canary")]
        if self.leaks_record() {
            if terminated {
                self.forget_call(at);
            }
            return;
        }
        turn.effects.push(Effect::Ended(record));
        if terminated {
            self.forget_call(at);
        }
    }

    /// Takes out the record of a call that has ended.
    pub(crate) fn forget_call(&mut self, at: CallRef) {
        let Some(call) = self.calls.remove(at) else { return };
        self.call_index.remove(Call::key(call.call_hash, call.pass));
        self.wheel.clear(self.places.call(at));
    }
}
