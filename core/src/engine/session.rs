//! The session timer of a call at work (RFC 4028). The rules are [`crate::call::session`].

use core::time::Duration;

use arrayvec::ArrayVec;

use super::answer::Incoming;
use super::records::Role;
use super::{Engine, Turn};
use crate::call::CallRef;
use crate::call::session::{self, Agreed, Decision, Limits, Session, Terms};
use crate::message::Message;
use crate::routing::Provider;

impl Engine {
    /// What becomes of an INVITE that opens a call.
    #[inline]
    pub(crate) fn session_terms(&self, provider: &Provider<'_>, message: &Message<'_>) -> Decision {
        if session::concerns(message) {
            session::on_request(self.session_limits(provider), message)
        } else {
            Decision::Take(Terms::default())
        }
    }

    /// The provider's limits, or the node's. No interval longer than `default_timeout` is asked for: a call whose ends have gone is to be
    /// held no longer than that. A peer's Min-SE or 2xx may make it longer all the same, and then it counts.
    fn session_limits(&self, provider: &Provider<'_>) -> Limits {
        let timers = &self.settings.timers;
        let default_timeout_s = provider.default_timeout_s.unwrap_or_else(|| seconds(timers.default_timeout));
        let session_expires_s = provider.session_expires_s.unwrap_or_else(|| seconds(timers.session_expires));
        Limits {
            min_se_s: provider.min_se_s.unwrap_or_else(|| seconds(timers.min_se)),
            session_expires_s: session_expires_s.min(default_timeout_s),
        }
    }

    /// 422 (RFC 4028 §6).
    #[cold]
    pub(crate) fn refuse_interval(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>, min_se_s: u32) {
        let mut line = ArrayVec::<u8, 24>::new();
        line.extend(*b"Min-SE: ");
        session::digits(min_se_s, &mut line);
        line.extend(*b"\r\n");
        self.answer_stateless(turn, incoming, 422, &line);
    }

    /// A 2xx to an INVITE or UPDATE of the confirmed dialog: the session stands from now on for the interval that it agrees on, or
    /// without a session timer.
    #[inline]
    pub(crate) fn keep_session(&mut self, turn: &Turn<'_>, at: CallRef, role: &Role, answer: &Message<'_>) {
        let agreed = session::on_answer(role.asked, role.sender, answer);
        let Some(call) = self.calls.find_mut(at) else { return };
        call.session = Session::NONE;
        if let Some(agreed) = agreed {
            self.start_session(turn, at, agreed);
        }
    }

    fn start_session(&mut self, turn: &Turn<'_>, at: CallRef, agreed: Agreed) {
        let Some(call) = self.calls.find_mut(at) else { return };
        let provider = turn.image.provider(call.provider);
        let min_se = provider.and_then(|provider| provider.min_se_s).map(u64::from).map(Duration::from_secs);
        let interval = Duration::from_secs(agreed.interval_s.into());
        let span = interval.max(min_se.unwrap_or(self.settings.timers.min_se));
        // RFC 4028 §8.3 has a proxy forget the call and send nothing. Switched off, default_timeout bounds it.
        let expires_at = match self.settings.policy.bye_on_expiry {
            true => turn.now.monotonic.after(span),
            false => Session::NONE.expires_at,
        };
        call.session = Session { expires_at, interval_s: agreed.interval_s, refresher: agreed.refresher };
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
