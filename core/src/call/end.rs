//! The one terminal step of a call. Nothing else removes a call record.

use super::CallRef;
use crate::counter::Counter;
use crate::engine::{Engine, ServerRef};

/// Why a call ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// A non-2xx final response went upstream, the answer to a CANCEL included.
    Refused,
    /// A BYE was answered, whatever the answer, or timed out.
    Bye,
    /// No ACK within `noack_timeout`.
    Unacknowledged,
    /// No refresh within `default_timeout`.
    Expired,
}

impl Engine {
    /// Ends a call and gives back all that it holds. False for the second caller: it ended before.
    pub(crate) fn end_call(&mut self, at: CallRef, reason: EndReason) -> bool {
        let Some(call) = self.calls.remove(at) else { return false };
        self.call_index.remove(super::Call::key(call.call_hash, call.pass));
        self.wheel.clear(self.places.call(at));
        self.counters.count(Counter::CallsEnded);
        if matches!(reason, EndReason::Unacknowledged | EndReason::Expired) {
            self.counters.count(Counter::CallsTimedOut);
        }
        true
    }

    /// Ends the call that a server transaction belongs to, if it still has one.
    pub(crate) fn end_call_of(&mut self, at: ServerRef, reason: EndReason) {
        if let Some(call) = self.servers.find(at).and_then(|transaction| transaction.call) {
            self.end_call(call, reason);
        }
    }
}
