//! Sessions that nobody knows any more: the reconciler finds them on the nodes, and touches nobody else's.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::Stage;
use super::rtpengine::Rtpengine;
use crate::corelane::{Counters, Options, state};
use crate::process::wait_until;
use crate::serial;
use crate::site::Site;

/// Calls on each of two Corelanes that share a fleet, at least.
const CALLS: u64 = 40;
/// And at most, should lists be slow in coming.
const CALLS_MAX: u64 = 4_000;
/// Lists that each of them has seen by then: several of each node.
const LISTS: u64 = 8;
/// A node is asked for its list, and an orphan grows old, well within this on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// A start that none of these Corelanes ever had.
const FOREIGN: u64 = 0xaa;
/// A session that is no Corelane's.
const STRANGER: &str = "somebody-else";

/// The fastest reconciler that the settings allow.
fn fastest(node_id: u32) -> Options {
    let options = Options::default();
    Options { node_id: Some(node_id), media_reconcile_interval_s: 1, media_orphan_age_s: 1, ..options }
}

/// Two nodes of one fleet.
fn fleet(site: &Site) -> Vec<Rtpengine> {
    [41, 42].map(|last| Rtpengine::start(site, last)).into()
}

/// The name of a session as a Corelane of this id gives it, but none that is here.
fn name(node_id: u32, call: u64) -> String {
    name_of(node_id, FOREIGN, call)
}

/// The same of a start.
fn name_of(node_id: u32, start: u64, call: u64) -> String {
    format!("{node_id}-{start:016x}-{call:016x}-00000001")
}

impl Stage {
    /// What its control core has counted.
    fn control(&mut self, name: &str) -> u64 {
        self.corelane().counters().control(name)
    }

    fn await_control(&mut self, what: &str, name: &str, wanted: u64) {
        let enough = |now: &Counters| now.control(name) >= wanted;
        self.corelane().await_counters(what, enough);
    }

    /// The number of its start.
    fn started(&self) -> u64 {
        let node = fs::read_to_string(state(&self.site).join("node")).expect("it has started");
        let start = node.split_ascii_whitespace().nth(1).and_then(|start| start.parse().ok());
        start.expect("id and start")
    }

    /// A session on a node that no Corelane asked for, under this name.
    fn place(&self, node: usize, name: &str) {
        self.nodes[node].exchange("offer", name, &self.ends[0].sdp("sendrecv"));
    }
}

/// `kill -9`, and the table of debts is lost as well: the nodes' own lists tell the next start what an earlier one left, and nothing else goes.
#[test]
fn sessions_of_a_lost_table_are_found_by_list_and_those_of_others_stay() {
    let _serial = serial();
    let site = Site::new();
    let nodes = fleet(&site);
    let mut stage = Stage::on(site, nodes, &fastest(71));
    let calls = stage.calls().len() as u64;
    // Also of its own id, and of starts that it never had, before this one and after.
    let others = [STRANGER.to_owned(), name(72, 1), name(711, 1), name(71, 1), name_of(71, u64::MAX, 1)];
    for node in 0..2 {
        others.iter().for_each(|name| stage.place(node, name));
    }
    stage.crash();
    fs::remove_file(state(&stage.site).join("media.sessions")).expect("the debts are lost");
    stage.restart();
    for node in &stage.nodes {
        node.await_sessions(others.len());
        assert_eq!(node.sessions().into_iter().collect::<BTreeSet<_>>(), others.iter().cloned().collect());
    }
    stage.await_control("each was found once", "media_deletes_paid", calls);
    assert_eq!(stage.control("media_orphans_found"), calls);
    assert_eq!(stage.control("media_records_owed"), 0, "nothing was known of them");
    assert_eq!(stage.control("media_sessions_foreign"), 4, "two on each node");
    assert_eq!(
        stage.corelane().log().matches("carry the id of this node and are of a start that it never had").count(),
        1
    );
    for node in &stage.nodes {
        others.iter().for_each(|name| node.delete(name));
    }
    stage.end();
}

/// Issue 4: two Corelanes on one fleet, reconcilers at their fastest, 0 foreign sessions lost. A session that the wrong one had deleted
/// would be unknown to its node when its owner deletes it.
#[test]
fn two_corelanes_on_one_fleet_touch_only_their_own_sessions() {
    let _serial = serial();
    let site = Site::new();
    let nodes = fleet(&site);
    let one = Stage::on(site, nodes, &fastest(71));
    let two = Stage::beside(Site::new(), one.relays.clone(), &fastest(72));
    let mut stages = [one, two];
    let standing = stages.each_ref().map(|stage| stage.call());
    // Each has an orphan, so that it is seen that both look; a third has nobody who looks.
    let orphans = [(71, 0), (72, 1)].map(|(id, stage)| name_of(id, stages[stage].started(), 1));
    for (node, name) in [(0, &orphans[0]), (1, &orphans[1]), (0, &name(73, 1))] {
        stages[0].place(node, name);
    }
    stages[0].place(1, STRANGER);

    let mut calls = 0;
    let mut listed = 0;
    while calls < CALLS || listed < LISTS {
        for stage in &stages {
            let (dialog, _) = stage.call();
            stage.hang_up(&dialog);
        }
        calls += 1;
        assert!(calls < CALLS_MAX, "{listed} lists have come after {calls} calls");
        listed = stages.each_mut().map(|stage| stage.control("media_lists")).into_iter().min().unwrap_or(0);
    }
    for stage in &mut stages {
        // Its own calls and its own orphan, and each was there when it was deleted.
        stage.await_control("its calls and its orphan are paid", "media_deletes_paid", calls + 1);
        for (counter, wanted) in [("media_orphans_found", 1), ("media_deletes_unknown", 0), ("media_lists_missed", 0)] {
            assert_eq!(stage.control(counter), wanted, "{counter}");
        }
    }
    // The two calls that stand, the session of an id that nobody has, and the stranger's.
    let left = || stages[0].nodes.iter().flat_map(Rtpengine::sessions).collect::<Vec<String>>();
    let of = |start: &str| left().iter().filter(|name| name.starts_with(start)).count();
    assert_eq!(["71-", "72-", "73-", STRANGER].map(of), [1, 1, 1, 1], "{:?}", left());

    for (stage, (dialog, told)) in stages.iter().zip(&standing) {
        stage.audio(*told);
        stage.hang_up(dialog);
    }
    wait_until("the sessions of both calls went with their BYE", SOON, || (left().len() == 2).then_some(()));
    stages[0].nodes[0].delete(&name(73, 1));
    stages[0].nodes[1].delete(STRANGER);
    let [one, two] = stages;
    two.end();
    one.end();
}

/// Two Corelanes that were given one id by mistake: each sees the other's sessions with its own id, touches none of them, and says so.
#[test]
fn two_corelanes_of_one_id_are_told_and_lose_no_session() {
    let _serial = serial();
    let site = Site::new();
    let nodes = fleet(&site);
    let one = Stage::on(site, nodes, &fastest(71));
    let two = Stage::beside(Site::new(), one.relays.clone(), &fastest(71));
    let mut stages = [one, two];
    let standing = stages.each_ref().map(|stage| stage.call());
    for stage in &mut stages {
        stage.await_control("the other one is seen", "media_sessions_foreign", 1);
        let lists = stage.control("media_lists");
        stage.await_control("it looks for longer than an orphan lives", "media_lists", lists + LISTS);
        assert_eq!(stage.control("media_orphans_found"), 0);
        let told = stage.corelane().log().matches("another Corelane has the same id").count();
        assert_eq!(told, 1, "once in ten minutes");
    }
    for (stage, (dialog, told)) in stages.iter().zip(&standing) {
        stage.audio(*told);
        stage.hang_up(dialog);
    }
    for stage in &mut stages {
        stage.await_control("its own call is paid", "media_deletes_paid", 1);
        assert_eq!(stage.control("media_deletes_unknown"), 0, "its session was there");
    }
    let [one, two] = stages;
    two.end();
    one.end();
}

/// Without `listen-tcp-ng`: what the node has lost is found session by session, what the table has lost is not, and that is said once.
#[test]
fn a_node_without_a_list_is_asked_for_what_the_table_has() {
    let _serial = serial();
    let site = Site::new();
    let node = Rtpengine::unlisted_at(&site, site.address(41));
    let mut stage = Stage::on(site, vec![node], &fastest(71));
    let (lost, _) = stage.call();
    let place = stage.nodes.remove(0).kill();
    stage.nodes.push(Rtpengine::unlisted_at(&stage.site, place));
    stage.await_control("the node has lost it", "media_records_gone", 1);

    let (dialog, told) = stage.call();
    stage.place(0, &name(71, 1));
    let asked = stage.control("media_queries");
    stage.await_control("what it has is asked for again and again", "media_queries", asked + 2);
    assert_eq!(["media_records_gone", "media_nodes_unlisted"].map(|name| stage.control(name)), [1, 1]);
    assert_eq!(stage.corelane().log().matches("what the table has lost is not seen").count(), 1);
    stage.audio(told);
    stage.hang_up(&lost);
    stage.hang_up(&dialog);
    stage.await_control("the one that the node had is paid", "media_deletes_paid", 1);
    stage.nodes[0].await_sessions(1);
    assert_eq!(stage.nodes[0].sessions(), [name(71, 1)], "the table knows nothing of it");
    assert_eq!(stage.control("media_deletes_unknown"), 0);
    stage.nodes[0].delete(&name(71, 1));
    stage.end();
}
