//! Nodes that die or hang, a Corelane that is killed: calls that another node can carry are carried, debts are paid.

use std::time::Duration;

use super::Stage;
use super::rtpengine::Rtpengine;
use crate::corelane::Corelane;
use crate::peer::{Dialog, Message, Request};
use crate::process::wait_until;
use crate::serial;

/// Calls of a test that wants some on each node: with two nodes of one weight, all on one would be one draw in 2^23.
const CALLS: usize = 24;

/// Corelane is back at work well within this on a busy machine.
const RECOVERY: Duration = Duration::from_secs(20);

impl Stage {
    /// Calls that stand, with sessions on every node.
    pub(super) fn calls(&self) -> Vec<Dialog> {
        let dialogs = (0..CALLS).map(|_| self.call().0).collect();
        assert_eq!(self.sessions(), CALLS);
        for node in &self.nodes {
            assert!(!node.sessions().is_empty(), "{} got none of {CALLS} calls", node.address());
        }
        dialogs
    }

    /// A call that must not be set up: its refusal.
    fn refused(&self) -> Message {
        let refusal = self.caller.ask(&self.offer());
        assert_eq!(refusal.code(), Some(503), "{}", refusal.text());
        refusal
    }

    /// A call that may be refused; `None` then, else its INVITE as it was sent and as the gateway got it.
    fn try_call(&self) -> Option<(Request, Message)> {
        let invite = self.offer();
        self.caller.send(invite.text());
        wait_until("an INVITE that was passed on, or its refusal", RECOVERY, || {
            let refusals = self.caller.all_waiting().into_iter();
            let own = |message: &Message| message.call_id() == invite.call_id();
            if let Some(refusal) = refusals.into_iter().find(|message| own(message) && message.code() == Some(503)) {
                self.caller.send(invite.ack(&refusal).text());
                return Some(None);
            }
            let mut passed = self.gateway.all_waiting().into_iter();
            let passed = passed.find(|message| own(message) && message.text().starts_with("INVITE"));
            passed.map(|passed| Some((invite.clone(), passed)))
        })
    }
}

#[test]
fn calls_go_to_the_other_node_when_one_is_killed() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let standing = stage.calls();
    stage.nodes.remove(0).kill();
    // Each of these is set up, whichever node its Call-ID would have chosen: `call` checks the SDP on both sides.
    let (dialog, told) = stage.call();
    stage.audio(told);
    let more: Vec<Dialog> = (0..CALLS).map(|_| stage.call().0).collect();
    for dialog in standing.iter().chain(&more).chain([&dialog]) {
        stage.hang_up(dialog);
    }
    stage.nodes[0].await_sessions(0);
    // What is owed to a node that is gone for good stays owed: Corelane itself must be empty all the same.
    stage.end();
}

#[test]
fn calls_go_to_the_other_node_while_one_hangs_and_its_debts_are_paid_when_it_is_back() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let standing = stage.calls();
    stage.nodes[0].freeze();
    let more: Vec<Dialog> = (0..CALLS).map(|_| stage.call().0).collect();
    for dialog in standing.iter().chain(&more) {
        stage.hang_up(dialog);
    }
    stage.nodes[1].await_sessions(0);
    stage.nodes[0].thaw();
    stage.end();
}

/// No node usable: 503 with Retry-After for new calls, and calls in progress end as ever.
#[test]
fn without_any_node_new_calls_get_503_and_retry_after() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let (dialog, _) = stage.call();
    let places: Vec<_> = stage.nodes.drain(..).map(Rtpengine::kill).collect();
    let refusals = [(); 3].map(|()| stage.refused());
    for refusal in &refusals {
        assert!(refusal.header("Retry-After").is_some_and(|wait| wait.parse::<u32>().is_ok()), "{}", refusal.text());
    }
    let of_refused = |message: &Message| refusals.iter().any(|refusal| refusal.call_id() == message.call_id());
    let came = stage.gateway.all_waiting();
    assert!(!came.iter().any(of_refused), "I2: no INVITE went out without a relay");
    stage.hang_up(&dialog);

    stage.nodes = places.into_iter().map(|place| Rtpengine::start_at(&stage.site, place)).collect();
    let (invite, passed) = wait_until("calls are taken again", RECOVERY, || stage.try_call());
    stage.of_relay(&passed);
    stage.answer(&passed, "200 OK", &[], "sendrecv");
    let dialog = stage.caller.answered(invite);
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    stage.hang_up(&dialog);
    stage.end();
}

/// SPEC §1 I9: what a killed Corelane owed to the nodes is paid by the next one.
#[test]
fn the_sessions_of_a_killed_corelane_are_deleted_by_the_next_one() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    drop(stage.calls());
    // Nobody but this test owns these two: they are no debt of Corelane's.
    for node in &stage.nodes {
        node.exchange("offer", "somebody-else", &stage.ends[0].sdp("sendrecv"));
    }
    stage.crash();
    assert_eq!(stage.sessions(), CALLS + 2, "nobody has paid yet");
    stage.restart();
    for node in &stage.nodes {
        node.await_sessions(1);
        assert_eq!(node.sessions(), ["somebody-else"]);
    }
    let nodes: Vec<_> = stage.nodes.drain(..).map(Rtpengine::kill).collect();
    assert_eq!(nodes.len(), 2);
    stage.end();
}

/// A call that ends just before Corelane does: its delete is paid, and nobody has to start again for it. A call that stands is left to the next start.
#[test]
fn deletes_that_are_due_are_paid_before_a_clean_end() {
    let _serial = serial();
    let mut stage = Stage::new(2);
    let standing = stage.call();
    let ended: Vec<Dialog> = (0..CALLS).map(|_| stage.call().0).collect();
    for dialog in &ended {
        stage.hang_up(dialog);
    }
    stage.corelane.take().expect("it runs").stop();
    assert_eq!(stage.sessions(), 1, "that of the call that stands");
    stage.corelane = Some(Corelane::start(&stage.site, &stage.tables, &stage.options));
    stage.nodes.iter().for_each(|node| node.await_sessions(0));
    drop(standing);
    stage.end();
}

/// A call that is given up while its INVITE waits for a node that hangs ends as any other, and no session stays.
#[test]
fn a_cancel_while_the_offer_is_pending_ends_the_call() {
    let _serial = serial();
    let mut stage = Stage::new(1);
    stage.nodes[0].freeze();
    let invite = stage.offer();
    stage.caller.send(invite.text());
    stage.caller.receive_status(100);
    stage.caller.send(invite.cancel().text());
    let answer = stage.caller.receive_final(&invite);
    assert_eq!(answer.code(), Some(487), "{}", answer.text());
    stage.caller.send(invite.ack(&answer).text());
    assert!(stage.gateway.nothing_came(), "I2: the INVITE waited for its relay");
    stage.nodes[0].thaw();
    stage.corelane().await_counters("the call has ended", |now| now.node("calls_ended") == 1);
    stage.end();
}
