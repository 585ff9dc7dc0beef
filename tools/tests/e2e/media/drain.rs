//! An operator takes media nodes out of new calls and back in while calls go on: table `media_node`, and SIGHUP.

use std::fs;
use std::net::SocketAddr;

use super::Stage;
use super::rtpengine::Rtpengine;
use crate::peer::Dialog;
use crate::serial;

/// Calls of a test that wants some on each of two nodes: all on one would be one draw in 2^23.
const CALLS: usize = 24;

impl Stage {
    /// Calls that stand, each with what caller and gateway were told.
    fn told_calls(&self) -> Vec<(Dialog, [SocketAddr; 2])> {
        (0..CALLS).map(|_| self.call()).collect()
    }

    /// Sessions of each node.
    fn of_nodes(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.sessions().len()).collect()
    }

    /// Writes the tables as they are now and has them read.
    fn reload(&mut self) -> String {
        self.tables.write(&self.site);
        self.corelane().reload()
    }
}

#[test]
fn a_node_is_drained_and_taken_back_while_its_calls_go_on() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let standing = stage.told_calls();
    let before = stage.of_nodes();
    assert!(before.iter().all(|sessions| *sessions > 0), "{before:?}");

    stage.tables.enable_node(1, false);
    assert_eq!(stage.reload(), "reload: media nodes: 1 drains");
    stage.corelane().await_control("media_nodes_usable", 1);
    let more = stage.told_calls();
    assert_eq!(stage.of_nodes(), [before[0], before[1] + CALLS], "all new calls are the other node's");

    // A call on the drained node: audio flows, and its delete goes there, as do those of all others.
    let drained = stage.nodes[0].address().ip();
    let (_, told) = standing.iter().find(|(_, told)| told[0].ip() == drained).expect("it has calls");
    stage.audio(*told);
    for (dialog, _) in standing.iter().chain(&more) {
        stage.hang_up(dialog);
    }
    stage.nodes.iter().for_each(|node| node.await_sessions(0));

    stage.tables.enable_node(1, true);
    assert_eq!(stage.reload(), "reload: media nodes: 1 takes calls again");
    stage.corelane().await_control("media_nodes_usable", 2);
    let both = stage.told_calls();
    assert!(stage.of_nodes().iter().all(|sessions| *sessions > 0), "{:?}", stage.of_nodes());
    for (dialog, _) in &both {
        stage.hang_up(dialog);
    }
    stage.end();
}

/// The row of a node may go while it has calls: they end well, and what they owe is paid.
#[test]
fn a_node_that_is_taken_out_of_the_table_is_paid_all_the_same() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let standing = stage.told_calls();
    let before = stage.of_nodes();

    // A file that cannot stand changes nothing.
    let table = stage.site.path().join("routes/media_node.csv");
    fs::write(&table, "id,host,port\n2,127.0.0.1,many\n").expect("a file of this test");
    assert_eq!(stage.corelane().reload(), "reload: refused, media nodes stay as they were");
    let log = stage.corelane().log();
    assert!(log.contains("media_node.csv:2: port `many`: must be a whole number"), "{log}");
    stage.corelane().await_control("media_nodes_usable", 2);

    stage.tables.remove_node(1);
    assert_eq!(stage.reload(), "reload: media nodes: 1 removed, drains");
    stage.corelane().await_control("media_nodes_usable", 1);
    let more = stage.told_calls();
    assert_eq!(stage.of_nodes(), [before[0], before[1] + CALLS]);
    for (dialog, _) in standing.iter().chain(&more) {
        stage.hang_up(dialog);
    }
    stage.end();
}

/// The row of a node may mean another machine while it has calls, and once more at the next start: what each machine has is asked of it alone.
#[test]
fn a_row_that_means_another_machine_leaves_no_session_on_the_one_before() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let standing = stage.told_calls();
    let before = stage.of_nodes();
    let moves = |stage: &mut Stage, last: u8| {
        let node = Rtpengine::start(&stage.site, last);
        stage.tables.move_node(1, node.address());
        stage.relays.push(node.address());
        stage.nodes.push(node);
    };
    moves(&mut stage, 43);
    let [first, _, third] = [0, 1, 2].map(|node| stage.nodes[node].address());
    assert_eq!(stage.reload(), format!("reload: media nodes: 1 at {third} (was {first})"));
    stage.corelane().await_control("media_nodes_usable", 2);
    let more = stage.told_calls();
    let now = stage.of_nodes();
    assert_eq!((now[0], now[2] > 0), (before[0], true), "new calls go to the new machine");
    let (_, told) = standing.iter().find(|(_, told)| told[0].ip() == first.ip()).expect("a call on the old one");
    stage.audio(*told);
    standing.iter().for_each(|(dialog, _)| stage.hang_up(dialog));
    stage.nodes[0].await_sessions(0);
    assert_eq!(stage.corelane().counters().control("media_deletes_unknown"), 0);

    // The calls on the third node are of a process that is killed, and the row means a fourth one when it is back.
    assert_eq!(more.len(), CALLS);
    stage.crash();
    moves(&mut stage, 44);
    stage.restart();
    stage.nodes.iter().for_each(|node| node.await_sessions(0));
    let counters = stage.end();
    assert_eq!(counters.control("media_deletes_paid"), CALLS as u64);
}
