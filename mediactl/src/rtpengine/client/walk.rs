//! Nodes that give no list: each is asked, one by one, for the sessions that the table says it holds.
//!
//! ```text
//!   no list ──► so many places of the table from where the last walk ended ──► query ──► the node has it: it stays
//!                                                                                  └──► it does not: the record goes
//! ```
//!
//! What the node has and no call owns is in the table as owed, and asked for until it is acknowledged ([`super::debts`]); so the walk deletes
//! nothing. What it cannot see are sessions that the table has lost: `media_nodes_unlisted` says of how many nodes that is so.
//!
//! A walk has one number of state for each node, and asks at most [`QUERIES`] questions.

use std::net::SocketAddr;

use corelane_core::Instant;

use super::super::command::Command;
use super::super::counter::Counter;
use super::super::id::SessionId;
use super::super::reply::Meaning;
use super::super::sessions::Records;
use super::questions::Purpose;
use super::{Client, Outputs};

/// Sessions that one node is asked for in one interval.
pub const QUERIES: usize = 64;
/// Places of the table that are looked at for it.
const PLACES: u32 = 16_384;

impl<R: Records> Client<R> {
    /// A node gave no list: the next part of its sessions is looked at.
    pub(super) fn walk(&mut self, now: Instant, node: u32, out: &mut impl Outputs) {
        let Some(place) = self.place(node) else { return };
        self.nodes[place].unlisted = true;
        if !self.nodes[place].is_reachable() {
            return;
        }
        let (address, capacity) = (self.nodes[place].config.address, self.sessions.capacity());
        let mut asked = 0;
        for _ in 0..capacity.min(PLACES) {
            let known = &mut self.nodes[place];
            let at = known.walked;
            known.walked = if at + 1 < capacity { at + 1 } else { 0 };
            let Some(session) = self.sessions.held_at(at, address).filter(|session| self.is_quiet(*session)) else {
                continue;
            };
            self.counters.count(Counter::Queries);
            let socket = self.socket_of(session.call);
            self.send_command(now, Purpose::Query(session), (place, socket), &Command::Query(session), out);
            asked += 1;
            if asked == QUERIES {
                return;
            }
        }
    }

    /// What a node said when it was asked for a session, by question `number`.
    pub(super) fn on_query(&mut self, number: u64, address: SocketAddr, session: SessionId, meaning: Meaning<'_>) {
        // An offer that was asked since may have made it.
        let same = self.calls.get(&session.call).is_none_or(|call| call.asked < number);
        if meaning == Meaning::Unknown && same && self.is_quiet(session) && self.sessions.is_held(address, session) {
            self.sessions.take(address, session);
            self.counters.count(Counter::RecordsGone);
        }
    }

    /// Whether nothing is being asked for its call.
    fn is_quiet(&self, session: SessionId) -> bool {
        self.calls.get(&session.call).is_none_or(|call| call.waiting.is_none())
    }
}
