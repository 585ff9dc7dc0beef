//! Deletes that are owed: each waits for its time, then for its node, and is asked until the node acknowledges it.
//!
//! ```text
//!   owe ──► debts, by time ──► ready, by address ──► asked, a window per node ──► acknowledged: the table forgets it
//!             ▲                                           │ no answer
//!             └───────────── a longer pause ◄─────────────┘              too old: likewise, and counted
//! ```
//!
//! A debt does not wait for ever: what nobody has acknowledged for [`super::ClientSettings::debt_age`] is given up, since the node's own time-outs have ended such a
//! session by then. The table is walked for that, a part at a time.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::SocketAddr;
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

/// A delete that waits: until when, how often it was tried, the address, and the session in words that have an order.
pub(super) type Owing = (Instant, u8, SocketAddr, [u64; 4]);

/// How often a part of the table is looked at for debts that are too old.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The part, in places: a million of them in less than five minutes.
const SWEEP_PLACES: u32 = 4_096;
/// A new client asks for this long before it gives a debt up, whatever its age: the clock of day may just have been set.
const GRACE: Duration = Duration::from_secs(60);

impl<R: Records> Client<R> {
    /// A session that nobody knows is to go: noted as owed first.
    pub fn delete_orphan(&mut self, now: Instant, address: SocketAddr, session: SessionId) {
        if self.sessions.owe(address, session, self.wall_s(now)) {
            self.counters.count(Counter::OrphansFound);
            self.owe(now, 0, address, session);
        }
    }

    /// Whether a delete is on its way, or is sent until then, to a node that answers.
    #[must_use]
    pub fn pays(&self, until: Instant) -> bool {
        let answers = |at: SocketAddr| self.nodes.iter().any(|node| node.config.address == at && node.is_reachable());
        let asked = |question: &Question| matches!(question.purpose, Purpose::Delete(..)) && answers(question.address);
        self.ready.iter().any(|(address, sessions)| !sessions.is_empty() && answers(*address))
            || self.debts.iter().any(|Reverse((at, _, address, _))| *at <= until && answers(*address))
            || self.questions.values().any(asked)
    }

    /// Queues a delete.
    pub(super) fn owe(&mut self, at: Instant, tries: u8, address: SocketAddr, session: SessionId) {
        if self.queued.insert((address, session)) {
            let SessionId { origin, call } = session;
            let words = [u64::from(origin.node), origin.boot, call.call_hash, u64::from(call.pass)];
            self.debts.push(Reverse((at, tries, address, words)));
        }
    }

    /// Queues one that was not acknowledged, unless it was given up meanwhile.
    pub(super) fn owe_again(&mut self, at: Instant, tries: u8, address: SocketAddr, session: SessionId) {
        self.counters.count(Counter::DeletesRetried);
        if self.sessions.has(address, session) {
            self.owe(at, tries.saturating_add(1), address, session);
        }
    }

    /// Gives up what is too old of the next part of the table.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.sweep_at = now.after(SWEEP_INTERVAL);
        if now.since(self.began) < GRACE {
            return;
        }
        let (wall_s, capacity) = (self.wall_s(now), self.sessions.capacity());
        let mut any = false;
        for _ in 0..capacity.min(SWEEP_PLACES) {
            let place = self.swept;
            self.swept = if place + 1 < capacity { place + 1 } else { 0 };
            let Some(((address, session), since_s)) = self.sessions.due_at(place) else { continue };
            if u64::from(wall_s.saturating_sub(since_s)) >= self.settings.debt_age.as_secs() {
                self.sessions.take(address, session);
                self.queued.remove(&(address, session));
                self.counters.count(Counter::DeletesAbandoned);
                any = true;
            }
        }
        if any {
            // What waits for its time goes when that has come.
            let queued = &self.queued;
            self.ready.retain(|address, sessions| {
                sessions.retain(|(_, session)| queued.contains(&(*address, *session)));
                !sessions.is_empty()
            });
        }
    }

    /// Sends the deletes that are due to nodes that answer, as many as their windows allow. Those of an address that is silent, or no longer
    /// configured, wait here.
    pub(super) fn pay(&mut self, now: Instant, out: &mut impl Outputs) {
        while let Some(Reverse((at, tries, address, [node, boot, call_hash, pass]))) = self.debts.peek().copied() {
            if at > now {
                break;
            }
            self.debts.pop();
            let origin = Origin { node: node as u32, boot };
            let session = SessionId { origin, call: MediaCall { call_hash, pass: pass as u32 } };
            if self.queued.contains(&(address, session)) {
                self.ready.entry(address).or_default().push_back((tries, session));
            }
        }
        for place in 0..self.nodes.len() {
            let address = self.nodes[place].config.address;
            let window = Node::deletes_window(self.ready.get(&address).map_or(0, VecDeque::len));
            while self.nodes[place].is_reachable() && self.nodes[place].deletes < window {
                let Some((tries, session)) = self.ready.get_mut(&address).and_then(VecDeque::pop_front) else { break };
                if !self.queued.remove(&(address, session)) {
                    continue;
                }
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
