//! The reconciler: which sessions on a media node belong to this node and to no record.
//!
//! A node's `list` names every session it has. An orphan carries this node's id and a start that was this node's, is in the table of sessions for no
//! address at all (one machine may have two), and was in two lists at least a bound apart. Sessions of other Corelanes, and whatever else has a name that is
//! not ours, are never touched.
//!
//! **Two Corelanes with one id** must not take each other's calls for orphans. So a session is *foreign*, and never touched either, when its start is none
//! of those that this state directory remembers; and when its start is remembered but makes sessions still, which is how a copied state directory looks:
//! one that was in no list of its node before, and in no record. A state directory that was lost makes all earlier sessions foreign: they are the media
//! nodes' own time-outs to end.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;

use super::id::{Origin, SessionId};
use super::sessions::{Records, Sessions};

/// What was seen on the nodes.
#[derive(Debug)]
pub struct Reconciler {
    origin: Origin,
    /// How long a session is seen without a record before it is an orphan.
    age: Duration,
    /// Earlier starts of this node.
    earlier: HashSet<u64>,
    /// Those of them that somebody else goes on with.
    taken: HashSet<u64>,
    seen: HashMap<SocketAddr, Seen>,
}

/// What one node has, by its last list.
#[derive(Default, Debug)]
struct Seen {
    /// When a session without a record was seen first.
    unknown: HashMap<SessionId, Instant>,
    /// Sessions of earlier starts, with a record or without.
    older: HashSet<SessionId>,
    /// How many carry this node's id and are another's.
    foreign: u64,
}

impl Reconciler {
    /// One that has seen nothing yet, and knows of no earlier start.
    #[must_use]
    pub fn new(origin: Origin, age: Duration) -> Reconciler {
        Reconciler { origin, age, earlier: HashSet::new(), taken: HashSet::new(), seen: HashMap::new() }
    }

    /// These starts were this node's, too.
    pub fn remember(&mut self, boots: impl IntoIterator<Item = u64>) {
        self.earlier.extend(boots);
    }

    /// Takes the complete list of the node at an address and names the orphans in it. They are named again until they are gone from the list or in the
    /// table.
    pub fn on_list<'b, R: Records>(
        &mut self,
        now: Instant,
        address: SocketAddr,
        ids: impl Iterator<Item = &'b [u8]>,
        sessions: &Sessions<R>,
    ) -> Vec<SessionId> {
        let before = self.seen.remove(&address);
        let mut seen = Seen::default();
        for id in ids.filter_map(SessionId::parse).filter(|id| id.origin.node == self.origin.node) {
            let boot = id.origin.boot;
            let known = sessions.knows(id);
            if boot != self.origin.boot {
                if !self.earlier.contains(&boot) {
                    seen.foreign += u64::from(!known);
                    continue;
                }
                // A start that is over makes no sessions: the first list has all that it ever had.
                if !known && before.as_ref().is_some_and(|before| !before.older.contains(&id)) {
                    self.taken.insert(boot);
                }
                seen.older.insert(id);
            }
            if !known {
                let first = before.as_ref().and_then(|before| before.unknown.get(&id)).copied();
                seen.unknown.insert(id, first.unwrap_or(now));
            }
        }
        let taken = |id: &SessionId| self.taken.contains(&id.origin.boot);
        seen.foreign += seen.unknown.keys().filter(|id| taken(id)).count() as u64;
        let old = |(id, first): &(&SessionId, &Instant)| now.since(**first) >= self.age && !taken(id);
        let mut orphans: Vec<SessionId> = seen.unknown.iter().filter(old).map(|(id, _)| *id).collect();
        orphans.sort_unstable_by_key(|id| (id.origin.boot, id.call));
        self.seen.insert(address, seen);
        orphans
    }

    /// Forgets what was seen at other addresses than these.
    pub fn retain(&mut self, asked: impl Fn(SocketAddr) -> bool) {
        self.seen.retain(|address, _| asked(*address));
    }

    /// Sessions that carry this node's id and are another's, by the last list of each node.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.seen.values().map(|seen| seen.foreign).sum()
    }
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::MediaCall;

    use super::super::sessions::RECORD;
    use super::*;

    fn id(node: u32, boot: u64, call_hash: u64) -> SessionId {
        SessionId { origin: Origin { node, boot }, call: MediaCall { call_hash, pass: 1 } }
    }

    fn place(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 2223))
    }

    /// One that is asked at a second for a list of these.
    fn look<R: Records>(
        one: &mut Reconciler,
        second: u64,
        host: u8,
        ids: &[SessionId],
        table: &Sessions<R>,
    ) -> Vec<SessionId> {
        let names: Vec<String> = ids.iter().map(SessionId::to_string).collect();
        let list = names.iter().map(|name| name.as_bytes()).chain([&b"someone@example.com"[..]]);
        one.on_list(Instant::from_micros(second * 1_000_000), place(host), list, table)
    }

    fn empty(origin: Origin) -> Sessions<Vec<u8>> {
        Sessions::open(vec![0; 4 * RECORD], origin, 0)
    }

    const AGE: Duration = Duration::from_secs(60);

    #[test]
    fn two_on_one_fleet_touch_only_their_own_orphans() {
        let [seven, eight] = [7, 8].map(|node| Origin { node, boot: 3 });
        let (mut sevens, eights) = (empty(seven), empty(eight));
        sevens.put(place(1), id(7, 3, 1)).unwrap();
        let list = [id(7, 3, 1), id(7, 3, 2), id(8, 3, 1), id(8, 3, 2)];
        let [mut seven, mut eight] = [seven, eight].map(|origin| Reconciler::new(origin, AGE));
        assert_eq!(look(&mut seven, 10, 1, &list, &sevens), []);
        assert_eq!(look(&mut seven, 69, 1, &list, &sevens), [], "too young");
        assert_eq!(look(&mut seven, 70, 1, &list, &sevens), [id(7, 3, 2)]);
        assert_eq!(look(&mut seven, 71, 2, &list, &sevens), [], "another node is another list");
        assert_eq!(look(&mut seven, 75, 1, &[], &sevens), []);
        assert_eq!(look(&mut seven, 140, 1, &list, &sevens), [], "gone in between: it starts anew");
        assert_eq!(look(&mut eight, 10, 1, &list, &eights), []);
        assert_eq!(look(&mut eight, 70, 1, &list, &eights), [id(8, 3, 1), id(8, 3, 2)]);
        assert_eq!((seven.foreign(), eight.foreign()), (0, 0), "other ids are nobody's concern");
    }

    #[test]
    fn sessions_of_this_id_and_a_start_that_nobody_remembers_are_anothers() {
        let origin = Origin { node: 7, boot: 30 };
        let (mut one, table) = (Reconciler::new(origin, AGE), empty(origin));
        one.remember([10, 20]);
        let list = [id(7, 20, 1), id(7, 19, 1), id(7, 31, 1), id(7, 30, 1)];
        assert_eq!(look(&mut one, 0, 1, &list, &table), []);
        assert_eq!(
            look(&mut one, 60, 1, &list, &table),
            [id(7, 20, 1), id(7, 30, 1)],
            "its own, and no newer or older one"
        );
        assert_eq!(look(&mut one, 60, 2, &list[2..3], &table), []);
        assert_eq!(one.foreign(), 3);
        one.retain(|address| address == place(1));
        assert_eq!(one.foreign(), 2);
        assert_eq!(look(&mut one, 90, 1, &[], &table), []);
        assert_eq!(one.foreign(), 0);
    }

    #[test]
    fn a_start_that_makes_sessions_still_is_anothers() {
        let origin = Origin { node: 7, boot: 30 };
        let (mut one, mut table) = (Reconciler::new(origin, AGE), empty(origin));
        one.remember([10, 20]);
        table.owe(place(1), id(7, 20, 3), 0);
        assert_eq!(look(&mut one, 0, 1, &[id(7, 20, 1), id(7, 10, 1)], &table), []);
        // What a record knows may come late: its offer was on the way when its start ended.
        let list = [id(7, 20, 1), id(7, 10, 1), id(7, 20, 3)];
        assert_eq!(look(&mut one, 30, 1, &list, &table), []);
        table.take(place(1), id(7, 20, 3));
        assert_eq!(look(&mut one, 40, 1, &list, &table), [], "a list that the delete overtook");
        assert_eq!(one.foreign(), 0);
        let list = [id(7, 20, 1), id(7, 10, 1), id(7, 20, 2)];
        assert_eq!(look(&mut one, 60, 1, &list, &table), [id(7, 10, 1)], "20 goes on elsewhere");
        assert_eq!(one.foreign(), 2);
        assert_eq!(look(&mut one, 600, 1, &list, &table), [id(7, 10, 1)]);
        assert_eq!(look(&mut one, 600, 2, &[id(7, 20, 9)], &table), []);
        assert_eq!(look(&mut one, 700, 2, &[id(7, 20, 9)], &table), [], "on every node");
    }
}
