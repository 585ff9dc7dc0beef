//! The media nodes of the running task: rows of table `media_node`, the addresses that they mean, and who follows names and lists.
//!
//! ```text
//!   start, SIGHUP ─► rows ─► a row that is new, or means another host ─► its name is followed anew
//!                            a row that changed in another column     ─► goes on where it is
//!   row, or what its name says now ─► address ─► a place with that address and a number of its own, for good
//!   a place that no row means any more ─► leaves: calls that it has go on there, and it is forgotten when nothing is held or owed there
//! ```
//!
//! **Debts are owed to an address.** So a row that moves, by its name or by the operator, gets another place, under another number, and the one of before
//! leaves: what it has is never asked of the new machine. What an earlier start left at an address that no row means is such a place, too
//! ([`Nodes::adopt`]).

use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use super::lists::{self, Listed};
use super::machine::MediaNode;
use super::names::{self, Found};
use super::teller::Teller;
use crate::rtpengine::node::{Admin, NodeConfig};

/// From one line about a node to the next: whoever should read them may have gone, and nothing here may wait for him.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// The same of sessions of another Corelane with this node's id.
const FOREIGN_INTERVAL: Duration = Duration::from_secs(600);

/// A row, and where it is now.
struct Row {
    row: MediaNode,
    /// Number of its place; `None` while its name does not resolve.
    place: Option<u32>,
    /// Who looks its name up, if it is one.
    looking: Option<Follower>,
}

/// A place where nodes are asked.
struct Place {
    id: u32,
    address: SocketAddr,
    /// The row that means it, or meant it last; `None`: only an earlier start knew it.
    row: Option<MediaNode>,
    /// Who asks it for its list.
    _listing: Follower,
    /// What was told last, and when: whether it answers.
    told: (bool, Instant),
}

/// A task that follows something until this is dropped.
struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The nodes, and where those who follow them tell what they found.
pub(super) struct Nodes {
    rows: Vec<Row>,
    places: Vec<Place>,
    /// The number of the next place. None is ever given twice: a shard may remember it.
    next: u32,
    /// When sessions of another are told again.
    tell_foreign_at: Instant,
    reconcile_interval: Duration,
    teller: Teller,
    found: mpsc::Sender<Found>,
    listed: mpsc::Sender<Listed>,
}

impl Nodes {
    /// No nodes yet.
    pub(super) fn new(
        reconcile_interval: Duration,
        teller: Teller,
        found: mpsc::Sender<Found>,
        listed: mpsc::Sender<Listed>,
    ) -> Nodes {
        let (rows, places, tell_foreign_at) = (Vec::new(), Vec::new(), Instant::ZERO);
        Nodes { rows, places, next: 1, tell_foreign_at, reconcile_interval, teller, found, listed }
    }

    /// Takes the table's rows in place of those that it had. Must run on the control core's runtime.
    pub(super) fn take(&mut self, rows: Vec<MediaNode>) {
        let mut before = std::mem::take(&mut self.rows);
        for row in rows {
            let same = |known: &Row| (known.row.id, &known.row.host, known.row.port) == (row.id, &row.host, row.port);
            self.rows.push(match before.iter().position(same) {
                Some(at) => Row { row, ..before.swap_remove(at) },
                None => Row { row, place: None, looking: None },
            });
        }
        // After those that stay where they are: a row that comes to the address of another one must not take its place.
        for at in 0..self.rows.len() {
            let MediaNode { id, host, port, .. } = &self.rows[at].row;
            if self.rows[at].place.is_some() || self.rows[at].looking.is_some() {
                continue;
            }
            if let Some(address) = names::literal(host, *port) {
                self.rows[at].place = Some(self.place_for(address));
            } else {
                let looking = names::follow(*id, host.clone(), *port, self.found.clone(), self.teller.clone());
                self.rows[at].looking = Some(Follower(spawn_local(looking).abort_handle()));
            }
        }
        self.name_places();
    }

    /// Has a place for each of these addresses, at which something is held or owed. Must run on the control core's runtime.
    pub(super) fn adopt(&mut self, addresses: &[SocketAddr]) {
        for address in addresses {
            if !self.places.iter().any(|place| place.address == *address) {
                self.place_for(*address);
            }
        }
    }

    /// The place of an address that no row has yet: one that leaves comes back with what it has.
    fn place_for(&mut self, address: SocketAddr) -> u32 {
        let free = |place: &&Place| place.address == address && self.is_leaving(place);
        if let Some(place) = self.places.iter().find(free) {
            return place.id;
        }
        let id = self.next;
        self.next += 1;
        let lists = lists::follow(id, address, self.reconcile_interval, self.listed.clone(), self.teller.clone());
        let _listing = Follower(spawn_local(lists).abort_handle());
        self.places.push(Place { id, address, row: None, _listing, told: (true, Instant::ZERO) });
        id
    }

    /// Each place knows its row, also after that has gone.
    fn name_places(&mut self) {
        for Row { row, place, .. } in &self.rows {
            let of_row = |known: &&mut Place| Some(known.id) == *place;
            if let Some(place) = self.places.iter_mut().find(of_row) {
                place.row = Some(row.clone());
            }
        }
    }

    fn is_leaving(&self, place: &Place) -> bool {
        !self.rows.iter().any(|row| row.place == Some(place.id))
    }

    /// A name was looked up: whether a node is somewhere else now. What was found for a row of before says nothing.
    pub(super) fn on_found(&mut self, Found { id, host, address }: Found) -> bool {
        let of_row = |known: &Row| known.row.id == id && known.row.host == host && known.row.port == address.port();
        let Some(at) = self.rows.iter().position(of_row) else { return false };
        let place = self.rows[at].place;
        if self.places.iter().any(|known| Some(known.id) == place && known.address == address) {
            return false;
        }
        self.rows[at].place = Some(self.place_for(address));
        self.name_places();
        true
    }

    /// Whether there is a place that leaves.
    pub(super) fn any_leaves(&self) -> bool {
        self.places.iter().any(|place| self.is_leaving(place))
    }

    /// Forgets places that leave, unless something is held or owed at their addresses; their numbers.
    pub(super) fn forget(&mut self, held: &[SocketAddr]) -> Vec<u32> {
        let goes = |place: &&Place| self.is_leaving(place) && !held.contains(&place.address);
        let gone: Vec<u32> = self.places.iter().filter(goes).map(|place| place.id).collect();
        self.places.retain(|place| !gone.contains(&place.id));
        gone
    }

    /// The nodes as the machine is told of them.
    pub(super) fn configs(&self) -> Vec<NodeConfig> {
        let config = |place: &Place| {
            let admin = match &place.row {
                Some(row) if !self.is_leaving(place) && row.enabled => Admin::Enabled,
                Some(_) if !self.is_leaving(place) => Admin::Draining,
                _ => Admin::Leaving,
            };
            let row = place.row.as_ref();
            NodeConfig {
                id: place.id,
                set: row.map_or(0, |row| row.set),
                address: place.address,
                weight: row.map_or(0, |row| row.weight),
                max_sessions: row.map_or(0, |row| row.max_sessions),
                admin,
            }
        };
        self.places.iter().map(config).collect()
    }

    /// Tells the operator which nodes have fallen silent, and which answer again: one line for each, and no more than one in [`TELL_INTERVAL`].
    pub(super) fn tell(&mut self, now: Instant, answers: impl Fn(u32) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        let rows = &self.rows;
        for Place { id, address, row, told, .. } in &mut self.places {
            let answers = answers(*id);
            let again = told.1 == Instant::ZERO || now.since(told.1) >= TELL_INTERVAL;
            if answers == told.0 || !again {
                continue;
            }
            *told = (answers, now);
            let leaves = !rows.iter().any(|row| row.place == Some(*id));
            let node = match row {
                Some(row) if leaves => format!("media node {} at {address}, where it is no more,", row.id),
                Some(row) => format!("media node {} at {address}", row.id),
                None => format!("a former media node at {address}"),
            };
            lines.push(if answers {
                format!("{node} answers again")
            } else if leaves {
                format!("{node} does not answer: what it is owed waits until it does, or is given up after media_debt_age_s")
            } else {
                format!(
                    "{node} does not answer: no new call is given to it until it does (look whether rtpengine runs there with \
                     this `listen-ng`, and at firewalls)"
                )
            });
        }
        lines
    }

    /// Tells the operator of so many sessions of another Corelane that has this node's id: once in [`FOREIGN_INTERVAL`].
    pub(super) fn tell_foreign(&mut self, now: Instant, sessions: u64) -> Option<String> {
        if sessions == 0 || now < self.tell_foreign_at {
            return None;
        }
        self.tell_foreign_at = now.after(FOREIGN_INTERVAL);
        Some(format!(
            "{sessions} sessions on media nodes carry the id of this node and are of a start that it never had; they are left alone: another Corelane \
             has the same id (give each its own, see `node_id`; never copy a state directory), or this node's state directory was lost (they end by the \
             media nodes' own time-outs)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    fn nobody() -> Teller {
        Teller::new(std::sync::mpsc::channel().0).0
    }

    fn row(id: u32, host: &str, port: u16) -> MediaNode {
        MediaNode { id, set: 1, host: host.to_owned(), port, weight: 1, max_sessions: 10, enabled: true }
    }

    fn none() -> (Nodes, mpsc::Receiver<Found>) {
        let (found_in, found) = mpsc::channel(8);
        let (listed_in, _) = mpsc::channel(1);
        (Nodes::new(Duration::from_secs(30), nobody(), found_in, listed_in), found)
    }

    fn told(nodes: &Nodes) -> Vec<(u32, u16, Admin)> {
        nodes.configs().iter().map(|node| (node.id, node.address.port(), node.admin)).collect()
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn a_silent_node_is_told_once() {
        let told = async {
            let (mut nodes, _found) = none();
            nodes.take(vec![row(1, "127.0.0.1", 1000), row(2, "127.0.0.1", 2000), row(3, "no.such.name.invalid", 1)]);
            let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
            let lines = [(1, false), (2, false), (3, true), (12, true), (13, true), (14, false), (30, false)]
                .map(|(second, answers)| nodes.tell(at(second), |id| id == 2 || answers));
            assert_eq!(lines.each_ref().map(Vec::len), [1, 0, 0, 1, 0, 0, 1], "{lines:?}");
            assert!(
                lines[0][0].starts_with("media node 1 at 127.0.0.1:1000 does not answer: no new call"),
                "{lines:?}"
            );
            assert_eq!(lines[3], ["media node 1 at 127.0.0.1:1000 answers again"]);
            nodes.take(vec![row(1, "127.0.0.1", 1001), row(2, "127.0.0.1", 2000)]);
            let line = "media node 1 at 127.0.0.1:1000, where it is no more, answers again";
            assert_eq!(nodes.tell(at(40), |_| true), [line]);
            assert!(nodes.tell(at(50), |id| id != 1)[0].contains("or is given up after media_debt_age_s"));
        };
        LocalSet::new().run_until(told).await;
    }

    #[test]
    fn sessions_of_another_with_the_same_id_are_told_at_a_bounded_rate() {
        let (mut nodes, _found) = none();
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let told = (0..1_300).filter(|second| nodes.tell_foreign(at(*second), u64::from(*second >= 10)).is_some());
        assert_eq!(told.collect::<Vec<_>>(), [10, 610, 1_210]);
    }

    #[tokio::test]
    async fn rows_come_change_and_go() {
        let tasks = LocalSet::new();
        tasks.run_until(rows()).await;
    }

    async fn rows() {
        use Admin::{Draining, Enabled, Leaving};
        let (mut nodes, mut found) = none();
        nodes.take(vec![row(1, "127.0.0.1", 1000), row(2, "localhost", 2000), row(3, "127.0.0.1", 3000)]);
        assert_eq!(told(&nodes), [(1, 1000, Enabled), (2, 3000, Enabled)], "a name is nowhere yet");
        let name = found.recv().await.expect("every machine has this name");
        let late = Found { host: name.host.clone(), ..name };
        assert!(nodes.on_found(name), "it is somewhere now");

        // 1 is drained, 2 keeps what was found of it, 3 is gone, 4 is new.
        let drained = MediaNode { enabled: false, ..row(1, "127.0.0.1", 1000) };
        nodes.take(vec![drained, MediaNode { weight: 7, ..row(2, "localhost", 2000) }, row(4, "127.0.0.1", 4000)]);
        assert_eq!(told(&nodes), [(1, 1000, Draining), (2, 3000, Leaving), (3, 2000, Enabled), (4, 4000, Enabled)]);
        assert!(nodes.any_leaves());
        assert!(nodes.forget(&[at(3000)]).is_empty(), "it still holds something");
        assert_eq!(nodes.forget(&[at(1000)]), [2]);
        assert!(!nodes.any_leaves());

        // 1 comes back elsewhere, 2 gets another port; what was found for its old one comes too late.
        nodes.take(vec![row(1, "127.0.0.1", 1001), row(2, "localhost", 2001)]);
        let left = [(1, 1000, Leaving), (3, 2000, Leaving), (4, 4000, Leaving), (5, 1001, Enabled)];
        assert_eq!(told(&nodes), left);
        assert!(!nodes.on_found(late));
        nodes.take(vec![row(1, "127.0.0.1", 1001), row(2, "localhost", 2001), row(5, "127.0.0.1", 4000)]);
        assert_eq!(
            told(&nodes)[2],
            (4, 4000, Enabled),
            "an address that came back before it was forgotten is what it was"
        );
    }

    /// A name that means another address now, and rows that change places: each address keeps its number, and with it what it has.
    #[tokio::test]
    async fn an_address_keeps_its_place_whoever_means_it() {
        use Admin::{Draining, Enabled, Leaving};
        let tasks = LocalSet::new();
        let moves = async {
            let (mut nodes, mut found) = none();
            nodes.take(vec![row(1, "localhost", 1000)]);
            let Found { id, host, .. } = found.recv().await.expect("every machine has this name");
            let said =
                |last: u8| Found { id, host: host.clone(), address: SocketAddr::from(([192, 0, 2, last], 1000)) };
            let last = |nodes: &Nodes| -> Vec<(u32, String, Admin)> {
                nodes.configs().iter().map(|node| (node.id, node.address.ip().to_string(), node.admin)).collect()
            };
            assert_eq!([said(1), said(1), said(2)].map(|found| nodes.on_found(found)), [true, false, true]);
            let moved = [(1, "192.0.2.1".to_owned(), Leaving), (2, "192.0.2.2".to_owned(), Enabled)];
            assert_eq!(last(&nodes), moved);
            assert!(nodes.on_found(said(1)), "and back");
            assert_eq!(nodes.configs().iter().map(|node| node.admin).collect::<Vec<_>>(), [Enabled, Leaving]);

            let (mut nodes, _found) = none();
            nodes.take(vec![row(1, "127.0.0.1", 1000), row(2, "127.0.0.1", 2000), row(3, "127.0.0.1", 3000)]);
            let drained = MediaNode { enabled: false, ..row(3, "127.0.0.1", 3000) };
            nodes.take(vec![row(1, "127.0.0.1", 2000), row(2, "127.0.0.1", 1000), drained, row(4, "127.0.0.1", 3000)]);
            assert_eq!(told(&nodes), [(1, 1000, Enabled), (2, 2000, Enabled), (3, 3000, Draining), (4, 3000, Enabled)]);

            // What an earlier start left at an address that no row means.
            nodes.adopt(&[at(1000), at(7000)]);
            assert_eq!(told(&nodes)[4..], [(5, 7000, Leaving)]);
            assert_eq!(nodes.forget(&[]), [5]);
        };
        tasks.run_until(moves).await;
    }
}
