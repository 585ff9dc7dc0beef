//! The media nodes of the running task: rows of table `media_node`, where each is, and who follows its name and its list.
//!
//! ```text
//!   start, SIGHUP ─► rows ─► a row that is new, or is somewhere else ─► its name and list are followed anew
//!                            a row that changed in another column   ─► goes on where it is
//!                            a row that is gone                     ─► drains, and is forgotten when nothing is held or owed there
//! ```
//!
//! Debts belong to the id of a row: they are paid where the row says the node is now. So another machine is another row with another id.

use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_local};

use super::lists::{self, Listed};
use super::machine::MediaNode;
use super::names::{self, Found};
use crate::rtpengine::node::{Admin, NodeConfig};

/// From one line about a node to the next: whoever should read them may have gone, and nothing here may wait for him.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// A node as it is known now. Nobody follows its name and list any more when it is dropped.
struct Known {
    row: MediaNode,
    address: Option<SocketAddr>,
    /// The same, for who asks it for its list.
    shown: watch::Sender<Option<SocketAddr>>,
    /// Its row is gone.
    leaving: bool,
    followers: Vec<AbortHandle>,
    /// What was told last, and when: whether it answers.
    told: (bool, Instant),
}

impl Drop for Known {
    fn drop(&mut self) {
        self.followers.iter().for_each(AbortHandle::abort);
    }
}

/// The nodes, and where those who follow them tell what they found.
pub(super) struct Nodes {
    known: Vec<Known>,
    reconcile_interval: Duration,
    found: mpsc::Sender<Found>,
    listed: mpsc::Sender<Listed>,
}

impl Nodes {
    /// No nodes yet.
    pub(super) fn new(reconcile_interval: Duration, found: mpsc::Sender<Found>, listed: mpsc::Sender<Listed>) -> Nodes {
        Nodes { known: Vec::new(), reconcile_interval, found, listed }
    }

    /// Takes the table's rows in place of those that it had. Must run on the control core's runtime.
    pub(super) fn take(&mut self, rows: Vec<MediaNode>) {
        let mut before = std::mem::take(&mut self.known);
        for row in rows {
            let place = before.iter().position(|known| known.row.id == row.id);
            let mut known = match place.map(|place| before.swap_remove(place)) {
                Some(known) if (&known.row.host, known.row.port) == (&row.host, row.port) => known,
                Some(_) | None => self.follow(row.clone()),
            };
            (known.row, known.leaving) = (row, false);
            self.known.push(known);
        }
        for known in &mut before {
            known.leaving = true;
        }
        self.known.append(&mut before);
    }

    fn follow(&self, row: MediaNode) -> Known {
        let address = names::literal(&row.host, row.port);
        let shown = watch::Sender::new(address);
        let lists = spawn_local(lists::follow(row.id, self.reconcile_interval, shown.subscribe(), self.listed.clone()));
        let mut followers = vec![lists.abort_handle()];
        if address.is_none() {
            let looking = spawn_local(names::follow(row.id, row.host.clone(), row.port, self.found.clone()));
            followers.push(looking.abort_handle());
        }
        Known { row, address, shown, leaving: false, followers, told: (true, Instant::ZERO) }
    }

    /// A name was looked up: whether a node is somewhere else now. What was found for a row of before says nothing.
    pub(super) fn on_found(&mut self, Found { id, host, address }: Found) -> bool {
        let of_row =
            |known: &&mut Known| known.row.id == id && known.row.host == host && known.row.port == address.port();
        let Some(known) = self.known.iter_mut().find(of_row) else { return false };
        known.address.replace(address) != Some(address)
    }

    /// Whether a row is gone whose node is not forgotten yet.
    pub(super) fn any_leaves(&self) -> bool {
        self.known.iter().any(|known| known.leaving)
    }

    /// Forgets nodes whose rows are gone and that hold nothing any more; their ids.
    pub(super) fn forget(&mut self, holds: impl Fn(u32) -> bool) -> Vec<u32> {
        let goes = |known: &Known| known.leaving && !holds(known.row.id);
        let gone = self.known.iter().filter(|known| goes(known)).map(|known| known.row.id).collect();
        self.known.retain(|known| !goes(known));
        gone
    }

    /// The nodes as the machine is told of them.
    pub(super) fn configs(&self) -> Vec<NodeConfig> {
        let configs = self.known.iter().map(|Known { row, address, leaving, .. }| NodeConfig {
            id: row.id,
            set: row.set,
            address: *address,
            weight: row.weight,
            max_sessions: row.max_sessions,
            admin: if row.enabled && !leaving { Admin::Enabled } else { Admin::Draining },
        });
        configs.collect()
    }

    /// Tells the operator which nodes have fallen silent, and which answer again: one line for each, and no more than one in [`TELL_INTERVAL`].
    pub(super) fn tell(&mut self, now: Instant, answers: impl Fn(u32) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        for Known { row: MediaNode { id, .. }, address, told, .. } in &mut self.known {
            // Of a name that does not resolve is told where names are looked up.
            let Some(address) = address else { continue };
            let answers = answers(*id);
            let again = told.1 == Instant::ZERO || now.since(told.1) >= TELL_INTERVAL;
            if answers == told.0 || !again {
                continue;
            }
            *told = (answers, now);
            lines.push(if answers {
                format!("media node {id} at {address} answers again")
            } else {
                format!(
                    "media node {id} at {address} does not answer: no new call is given to it until it does (look whether rtpengine runs there with \
                     this `listen-ng`, and at firewalls)"
                )
            });
        }
        lines
    }

    /// Tells those who ask nodes for their lists where they are now.
    pub(super) fn show(&self) {
        for Known { address, shown, .. } in &self.known {
            shown.send_replace(*address);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    fn row(id: u32, host: &str, port: u16) -> MediaNode {
        MediaNode { id, set: 1, host: host.to_owned(), port, weight: 1, max_sessions: 10, enabled: true }
    }

    fn told(nodes: &Nodes) -> Vec<(u32, Option<u16>, Admin)> {
        let configs = nodes.configs().into_iter();
        configs.map(|node| (node.id, node.address.map(|address| address.port()), node.admin)).collect()
    }

    #[tokio::test]
    async fn a_silent_node_is_told_once() {
        let told = async {
            let (found_in, _found) = mpsc::channel(8);
            let (listed_in, _listed) = mpsc::channel(1);
            let mut nodes = Nodes::new(Duration::from_secs(30), found_in, listed_in);
            nodes.take(vec![row(1, "127.0.0.1", 1000), row(2, "127.0.0.1", 2000), row(3, "no.such.name.invalid", 1)]);
            let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
            let lines = [(1, false), (2, false), (3, true), (12, true), (13, true), (14, false), (30, false)]
                .map(|(second, answers)| nodes.tell(at(second), |id| id == 2 || answers));
            assert_eq!(lines.each_ref().map(Vec::len), [1, 0, 0, 1, 0, 0, 1], "{lines:?}");
            assert!(lines[0][0].starts_with("media node 1 at 127.0.0.1:1000 does not answer"), "{lines:?}");
            assert_eq!(lines[3], ["media node 1 at 127.0.0.1:1000 answers again"]);
        };
        LocalSet::new().run_until(told).await;
    }

    #[tokio::test]
    async fn rows_come_change_and_go() {
        let tasks = LocalSet::new();
        tasks.run_until(rows()).await;
    }

    async fn rows() {
        let (found_in, mut found) = mpsc::channel(8);
        let (listed_in, _listed) = mpsc::channel(1);
        let mut nodes = Nodes::new(Duration::from_secs(30), found_in, listed_in);
        nodes.take(vec![row(1, "127.0.0.1", 1000), row(2, "localhost", 2000), row(3, "127.0.0.1", 3000)]);
        assert_eq!(told(&nodes)[..2], [(1, Some(1000), Admin::Enabled), (2, None, Admin::Enabled)]);
        let name = found.recv().await.expect("every machine has this name");
        let late = Found { host: name.host.clone(), ..name };
        assert!(nodes.on_found(name), "it is somewhere now");

        // 1 is drained, 2 keeps what was found of it, 3 is gone, 4 is new.
        let drained = MediaNode { enabled: false, ..row(1, "127.0.0.1", 1000) };
        nodes.take(vec![drained, MediaNode { weight: 7, ..row(2, "localhost", 2000) }, row(4, "127.0.0.1", 4000)]);
        let expected = [
            (1, Some(1000), Admin::Draining),
            (2, Some(2000), Admin::Enabled),
            (4, Some(4000), Admin::Enabled),
            (3, Some(3000), Admin::Draining),
        ];
        assert_eq!(told(&nodes), expected);
        assert!(nodes.any_leaves());
        assert!(nodes.forget(|id| id == 3).is_empty(), "it still holds something");
        assert_eq!(nodes.forget(|id| id != 3), [3]);
        assert!(!nodes.any_leaves());

        // 1 comes back elsewhere, 2 gets another port; what was found for its old one comes too late.
        nodes.take(vec![row(1, "127.0.0.1", 1001), row(2, "localhost", 2001)]);
        assert_eq!(told(&nodes)[..2], [(1, Some(1001), Admin::Enabled), (2, None, Admin::Enabled)]);
        assert!(!nodes.on_found(late));
        nodes.take(vec![row(1, "127.0.0.1", 1001), row(2, "localhost", 2001), row(4, "127.0.0.1", 4000)]);
        assert!(!nodes.any_leaves(), "it came back before it was forgotten");
    }
}
