//! The media nodes of a world: which of them are up, the sessions that they have, and what the control core owes them.
//!
//! ```text
//!   offer of a new session ─► each node in turn until one is up: noted as owed, then asked ─┬► a session there
//!   anything of a session ──► its own node ─────────────────────────────────────────────────┴► that, or failed
//!   the call's record ──────► each node that is owed: deleted now, or when it is back              all down: no node
//! ```
//!
//! A node hangs or crashes. One that hangs keeps its sessions, and opens in the end those that it was asked for meanwhile. One that
//! crashed has none when it is back, and is told to delete them all the same: nobody knows. So at the end of a world no node has a
//! session, and each was told once for each call that it was ever offered (I9).
//!
//! This is the bookkeeping of a control core without its haste and its sockets, which `mediactl` tests for itself. What is under test
//! here is what the engine says to it.

use std::collections::HashSet;

use corelane_core::bus::{MediaCall, MediaOutcome, MediaRequest, Verb};

use super::network::{Event, SECOND};
use super::random::Random;
use super::world::World;

/// Nodes of a relay. Their ids count from 1.
const NODES: usize = 3;

/// What one node that is down costs until another is asked, while nobody knows.
const SILENCE: u64 = SECOND / 2;

/// After so long everybody knows.
const KNOWN_AFTER: u64 = SECOND;

/// One of them.
#[derive(Default)]
struct Node {
    down_since: Option<u64>,
    sessions: HashSet<MediaCall>,
    /// Calls that it was offered and that have not ended.
    owed: HashSet<MediaCall>,
    /// Calls that have ended while it was down.
    due: Vec<MediaCall>,
    /// Calls of which it was told the end.
    told: HashSet<MediaCall>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Nodes([Node; NODES]);

/// What came of a wish, before anybody lies about it.
pub(super) struct Outcome {
    pub(super) outcome: MediaOutcome,
    /// The id of the node that has the session; 0 for none.
    pub(super) node: u32,
    /// What was spent on nodes that are down.
    pub(super) after_us: u64,
}

impl Outcome {
    /// Nobody was asked.
    pub(super) fn none(node: u32) -> Outcome {
        Outcome::of(MediaOutcome::NoNode, node, 0)
    }

    fn of(outcome: MediaOutcome, node: u32, after_us: u64) -> Outcome {
        Outcome { outcome, node, after_us }
    }
}

impl Nodes {
    /// Some node.
    pub(super) fn draw(random: &mut Random) -> u32 {
        random.between(1, NODES as u64) as u32
    }

    /// Does what the engine wishes, as far as nodes are up.
    pub(super) fn serve(&mut self, request: &MediaRequest<'_>, now: u64, random: &mut Random) -> Outcome {
        // Only an offer that no answer came on yet may go elsewhere.
        let movable = request.verb == Verb::Offer && (request.to_tag.is_empty() || request.node == 0);
        let first = if request.node == 0 { Nodes::draw(random) } else { request.node };
        let mut after_us = 0;
        for step in 0..if movable { NODES as u32 } else { 1 } {
            let id = (first - 1 + step) % NODES as u32 + 1;
            let node = &mut self.0[id as usize - 1];
            let silent_for = node.down_since.map(|since| now - since);
            if silent_for.is_some_and(|span| span > KNOWN_AFTER) {
                continue;
            }
            if request.verb == Verb::Offer {
                node.owed.insert(request.call);
                node.sessions.insert(request.call);
            }
            match silent_for {
                Some(_) => after_us += SILENCE,
                None if node.sessions.contains(&request.call) => return Outcome::of(MediaOutcome::Done, id, after_us),
                // It crashed meanwhile and knows nothing of an offer.
                None => return Outcome::of(MediaOutcome::Failed, request.node, after_us),
            }
        }
        let none = if movable { MediaOutcome::NoNode } else { MediaOutcome::Failed };
        Outcome::of(none, request.node, after_us)
    }

    /// A node has taken a session over, whoever had it. Its id.
    pub(super) fn take_over(&mut self, call: MediaCall, random: &mut Random) -> u32 {
        let id = Nodes::draw(random);
        let node = &mut self.0[id as usize - 1];
        node.owed.insert(call);
        node.sessions.insert(call);
        id
    }

    /// A call has ended that offered something: each node that was offered it is told, when it is up. The id of one that had been told
    /// before.
    pub(super) fn end(&mut self, call: MediaCall) -> Option<usize> {
        let mut twice = None;
        for (id, node) in (1..).zip(&mut self.0) {
            if !node.owed.remove(&call) {
                continue;
            }
            if node.down_since.is_some() {
                node.due.push(call);
            } else if !node.delete(call) {
                twice = Some(id);
            }
        }
        twice
    }

    /// Something of these nodes that is not as it must be when all is over, and of which call.
    pub(super) fn audit_end(&self) -> Option<(String, MediaCall)> {
        (1..).zip(&self.0).find_map(|(id, node)| {
            let left = |calls: &HashSet<MediaCall>, what: &str| {
                calls.iter().min().map(|call| (format!("node {id} {what}, of {} calls", calls.len()), *call))
            };
            let unpaid = node.due.first().map(|call| (format!("node {id} was never told of the end of a call"), *call));
            let owed = left(&node.owed, "is owed a delete when all is over");
            owed.or(unpaid).or_else(|| left(&node.sessions, "has a session left when all is over"))
        })
    }
}

impl Node {
    /// Takes a session out; false where it has been told so before.
    fn delete(&mut self, call: MediaCall) -> bool {
        self.sessions.remove(&call);
        self.told.insert(call)
    }
}

impl World<'_> {
    /// One node goes down, or all of them at once; each comes back by itself.
    pub(super) fn lose_node(&mut self) {
        let random = &mut self.relay.random;
        let all = random.chance(300);
        let chosen = Nodes::draw(random);
        let lasts = random.pick(&[SECOND / 2, 5 * SECOND, 60 * SECOND]);
        let crashes = random.chance(500);
        for (id, node) in (1..).zip(&mut self.relay.nodes.0) {
            if node.down_since.is_some() || !(all || id == chosen) {
                continue;
            }
            node.down_since = Some(self.now_us);
            self.tally.nodes_lost += 1;
            if crashes {
                node.sessions.clear();
            }
            self.network.schedule(self.now_us + lasts, Event::NodeBack(id as u8));
        }
    }

    /// A node is back, and is told what it missed.
    pub(super) fn regain_node(&mut self, id: u8) {
        let node = &mut self.relay.nodes.0[usize::from(id) - 1];
        node.down_since = None;
        let told_twice = std::mem::take(&mut node.due).into_iter().find(|call| !node.delete(*call));
        if let Some(call) = told_twice {
            self.break_promise("a node was told twice of the end of a call", self.number_of(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::ExchangeId;

    use super::*;

    const CALL: MediaCall = MediaCall { call_hash: 7, pass: 1 };

    fn wish(verb: Verb, node: u32, to_tag: &'static [u8]) -> MediaRequest<'static> {
        MediaRequest {
            exchange: ExchangeId { index: 0, generation: 1 },
            call: CALL,
            started_us: 0,
            since_us: 0,
            set: 1,
            node,
            verb,
            attempt: 1,
            from_tag: b"a",
            to_tag,
            flags: b"",
            sdp: b"v=0\r\n",
        }
    }

    fn serve(nodes: &mut Nodes, verb: Verb, node: u32, to_tag: &'static [u8]) -> (MediaOutcome, u32) {
        let done = nodes.serve(&wish(verb, node, to_tag), 10 * SECOND, &mut Random::new(1));
        (done.outcome, done.node)
    }

    #[test]
    fn a_session_stays_where_it_is_and_an_offer_finds_another_node() {
        let mut nodes = Nodes::default();
        assert_eq!(serve(&mut nodes, Verb::Offer, 2, b""), (MediaOutcome::Done, 2));
        assert_eq!(serve(&mut nodes, Verb::Answer, 2, b"b"), (MediaOutcome::Done, 2));
        nodes.0[1].down_since = Some(9 * SECOND + 1);
        assert_eq!(serve(&mut nodes, Verb::Answer, 2, b"b"), (MediaOutcome::Failed, 2));
        assert_eq!(serve(&mut nodes, Verb::Offer, 2, b""), (MediaOutcome::Done, 3));
        nodes.0.iter_mut().for_each(|node| node.down_since = Some(0));
        assert_eq!(serve(&mut nodes, Verb::Offer, 0, b""), (MediaOutcome::NoNode, 0));
    }

    #[test]
    fn each_node_that_was_offered_is_told_once() {
        let mut nodes = Nodes::default();
        serve(&mut nodes, Verb::Offer, 1, b"");
        serve(&mut nodes, Verb::Offer, 3, b"");
        assert!(nodes.audit_end().is_some_and(|(what, _)| what.contains("node 1 is owed")));
        nodes.0[2].down_since = Some(0);
        assert_eq!(nodes.end(CALL), None);
        assert!(nodes.audit_end().is_some_and(|(what, _)| what.contains("node 3 was never told")));
        let mut due = std::mem::take(&mut nodes.0[2].due);
        assert!(due.drain(..).all(|call| nodes.0[2].delete(call)));
        assert_eq!(nodes.audit_end(), None);
        serve(&mut nodes, Verb::Offer, 1, b"");
        assert_eq!(nodes.end(CALL), Some(1), "it ended twice");
    }
}
