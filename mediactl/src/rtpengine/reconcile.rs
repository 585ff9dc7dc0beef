//! The reconciler: which sessions on a media node belong to this node and to no record.
//!
//! A node's `list` names every session it has. An orphan carries this node's id, is in the table of sessions for no node at all (one machine may be two
//! rows), and was in two lists at least a bound apart. Sessions of other Corelanes, and whatever else has a name that is not ours, are never touched.

use std::collections::HashMap;
use std::time::Duration;

use corelane_core::Instant;

use super::id::SessionId;
use super::sessions::{Records, Sessions};

/// What was seen on the nodes.
#[derive(Debug)]
pub struct Reconciler {
    /// How long a session is seen without a record before it is an orphan.
    age: Duration,
    /// When a session without a record was seen first, by node.
    seen: HashMap<u32, HashMap<SessionId, Instant>>,
}

impl Reconciler {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(age: Duration) -> Reconciler {
        Reconciler { age, seen: HashMap::new() }
    }

    /// Takes a node's complete list and names the orphans in it; `own` is this node's id. They are named again until they are gone
    /// from the list or in the table.
    pub fn on_list<'b, R: Records>(
        &mut self,
        now: Instant,
        own: u32,
        node: u32,
        ids: impl Iterator<Item = &'b [u8]>,
        sessions: &Sessions<R>,
    ) -> Vec<SessionId> {
        let before = self.seen.remove(&node).unwrap_or_default();
        let ours = ids.filter_map(SessionId::parse).filter(|id| id.origin.node == own && !sessions.knows(*id));
        let seen: HashMap<SessionId, Instant> = ours.map(|id| (id, before.get(&id).copied().unwrap_or(now))).collect();
        let mut orphans: Vec<SessionId> =
            seen.iter().filter(|(_, first)| now.since(**first) >= self.age).map(|(id, _)| *id).collect();
        orphans.sort_unstable_by_key(|id| (id.origin.boot, id.call));
        self.seen.insert(node, seen);
        orphans
    }
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::MediaCall;

    use super::super::id::Origin;
    use super::super::sessions::RECORD;
    use super::*;

    fn id(node: u32, call_hash: u64) -> SessionId {
        SessionId { origin: Origin { node, boot: 3 }, call: MediaCall { call_hash, pass: 1 } }
    }

    #[test]
    fn two_on_one_fleet_touch_only_their_own_orphans() {
        let mut sevens = Sessions::open(vec![0; 4 * RECORD], id(7, 0).origin);
        let eights = Sessions::open(vec![0; 4 * RECORD], id(8, 0).origin);
        sevens.put(1, id(7, 1)).unwrap();
        let names: Vec<String> = [id(7, 1), id(7, 2), id(8, 1), id(8, 2)].iter().map(SessionId::to_string).collect();
        let list = || names.iter().map(|name| name.as_bytes()).chain([&b"someone@example.com"[..]]);
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let [mut seven, mut eight] = [(); 2].map(|()| Reconciler::new(Duration::from_secs(60)));
        assert_eq!(seven.on_list(at(10), 7, 1, list(), &sevens), []);
        assert_eq!(seven.on_list(at(69), 7, 1, list(), &sevens), [], "too young");
        assert_eq!(seven.on_list(at(70), 7, 1, list(), &sevens), [id(7, 2)]);
        assert_eq!(seven.on_list(at(71), 7, 2, list(), &sevens), [], "another node is another list");
        assert_eq!(seven.on_list(at(75), 7, 1, std::iter::empty(), &sevens), []);
        assert_eq!(seven.on_list(at(140), 7, 1, list(), &sevens), [], "gone in between: it starts anew");
        assert_eq!(eight.on_list(at(10), 8, 1, list(), &eights), []);
        assert_eq!(eight.on_list(at(70), 8, 1, list(), &eights), [id(8, 1), id(8, 2)]);
    }
}
