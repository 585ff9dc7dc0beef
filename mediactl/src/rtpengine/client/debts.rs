//! Deletes that are owed: each waits for its time, then for its node, and is asked until the node acknowledges it.
//!
//! ```text
//!   owe ──► debts, by time ──► ready, by node ──► asked, a window per node ──► acknowledged: the table forgets it
//!             ▲                                        │ no answer
//!             └───────────── a longer pause ◄──────────┘
//! ```

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use corelane_core::Instant;
use corelane_core::bus::MediaCall;

use super::super::command::Command;
use super::super::counter::Counter;
use super::super::id::{Origin, SessionId};
use super::super::node::Node;
use super::super::sessions::Records;
use super::questions::{Purpose, Question};
use super::{Client, DELETE_PAUSE, Outputs};

/// A delete that waits: until when, how often it was tried, the node, and the session in words that have an order.
pub(super) type Owing = (Instant, u8, u32, [u64; 4]);

impl<R: Records> Client<R> {
    /// A session that nobody knows is to go: noted as owed first.
    pub fn delete_orphan(&mut self, now: Instant, node: u32, session: SessionId) {
        if self.sessions.owe(node, session) {
            self.counters.count(Counter::OrphansFound);
            self.owe(now, 0, node, session);
        }
    }

    /// Whether a delete is on its way, or is sent until then, to a node that answers.
    #[must_use]
    pub fn pays(&self, until: Instant) -> bool {
        let answers = |id: u32| self.nodes.iter().any(|node| node.config.id == id && node.is_reachable());
        let asked = |question: &Question| matches!(question.purpose, Purpose::Delete(..)) && answers(question.node);
        self.ready.iter().any(|(id, sessions)| !sessions.is_empty() && answers(*id))
            || self.debts.iter().any(|Reverse((at, _, id, _))| *at <= until && answers(*id))
            || self.questions.values().any(asked)
    }

    /// Queues a delete.
    pub(super) fn owe(&mut self, at: Instant, tries: u8, node: u32, session: SessionId) {
        if self.queued.insert((node, session)) {
            let SessionId { origin, call } = session;
            let words = [u64::from(origin.node), origin.boot, call.call_hash, u64::from(call.pass)];
            self.debts.push(Reverse((at, tries, node, words)));
        }
    }

    /// Sends the deletes that are due to nodes that answer, as many as their windows allow. Those of a node that is silent, or no longer
    /// configured, wait here.
    pub(super) fn pay(&mut self, now: Instant, out: &mut impl Outputs) {
        while let Some(Reverse((at, tries, id, [node, boot, call_hash, pass]))) = self.debts.peek().copied() {
            if at > now {
                break;
            }
            self.debts.pop();
            let origin = Origin { node: node as u32, boot };
            let session = SessionId { origin, call: MediaCall { call_hash, pass: pass as u32 } };
            self.ready.entry(id).or_default().push_back((tries, session));
        }
        for place in 0..self.nodes.len() {
            let id = self.nodes[place].config.id;
            let window = Node::deletes_window(self.ready.get(&id).map_or(0, VecDeque::len));
            while self.nodes[place].is_reachable() && self.nodes[place].deletes < window {
                let Some((tries, session)) = self.ready.get_mut(&id).and_then(VecDeque::pop_front) else { break };
                self.queued.remove(&(id, session));
                let to = (place, self.socket_of(session.call));
                self.send_command(now, Purpose::Delete(session, tries), to, &Command::Delete(session), out);
            }
        }
    }
}

/// The pause before a delete is tried again: doubled each time, up to the longest.
pub(super) fn pause(tries: u8) -> Duration {
    DELETE_PAUSE.1.min(DELETE_PAUSE.0 * (1 << tries.min(5)))
}
