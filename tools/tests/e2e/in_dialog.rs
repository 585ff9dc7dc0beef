//! Requests inside a dialog: each kind, from either side, and BYEs that cross. Re-INVITE and BYE from either side are in `calls.rs` too.

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::media::rtpengine::Rtpengine;
use crate::peer::{Dialog, Message, Peer, Request};
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls of each test.
const CALLS: u32 = 30;

/// Calls between a pair of scenarios, over two shards, from many ports; media through so many nodes.
fn calls(caller: &str, gateway: &str, nodes: u8) -> Counters {
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let nodes: Vec<_> = (0..nodes).map(|node| Rtpengine::start(&site, 41 + node)).collect();
    let tables = nodes.iter().fold(tables, |tables, node| tables.media_node(node.address()));
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, gateway, place).start();
    Sipp::uac(&site, caller, site.caller(), address).dial(&["4912345"]).calls(CALLS, 100).many_sockets().run();
    assert_eq!(gateway.stop().successful, u64::from(CALLS));
    nodes.iter().for_each(|node| node.await_sessions(0));
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("calls_answered"), u64::from(CALLS));
    assert_eq!(counters.node("rejected_481"), 0);
    counters
}

/// A reliable 183 with its PRACK, INFO and UPDATE from the caller, INFO and re-INVITE from the callee.
#[test]
fn every_kind_of_request_goes_either_way() {
    let _serial = serial();
    let counters = calls("uac_requests", "uas_requests", 0);
    assert_eq!(counters.node("ended_by_caller"), u64::from(CALLS));
}

/// Hold, another codec and UPDATE, each offered by the callee: every offer and every answer went through its node.
#[test]
fn the_callee_changes_the_session() {
    let _serial = serial();
    let counters = calls("uac_reoffered", "uas_reoffers", 2);
    assert!(counters.node("media_done") >= 8 * u64::from(CALLS), "{} exchanges", counters.node("media_done"));
    assert_eq!(counters.node("unrelayed"), 0);
}

#[test]
fn both_sides_hang_up_at_once() {
    let _serial = serial();
    let counters = calls("uac_both_hang_up", "uas_both_hang_up", 0);
    let ended = counters.node("ended_by_caller") + counters.node("ended_by_callee");
    assert_eq!(ended, u64::from(CALLS), "one of the two BYEs ended each call");
}

/// A call between raw peers, over the first provider or, with this in front of the number, over the second.
struct Standing<'a> {
    peers: [&'a Peer; 2],
    dialog: Dialog,
    invite: Message,
}

impl<'a> Standing<'a> {
    fn new(caller: &'a Peer, gateway: &'a Peer, tech_prefix: &str) -> Standing<'a> {
        let invite = caller.request("INVITE", &format!("{tech_prefix}4912345"));
        caller.send(invite.text());
        let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
        gateway.send(received.answer("200 OK", gateway.address()));
        let dialog = caller.answered(invite);
        gateway.receive_request(dialog.call_id(), "ACK", 1);
        Standing { peers: [caller, gateway], dialog, invite: received }
    }

    /// A request of the caller (0) or the gateway (1).
    fn request(&self, side: usize, method: &str, cseq: u32) -> Request {
        match side {
            0 => self.dialog.request(method, cseq),
            _ => self.peers[1].request_within(&self.invite, method, cseq),
        }
    }

    /// A request that passes, and so does its answer.
    fn passes(&self, side: usize, request: &Request, method: &str, cseq: u32, status: &str) -> Message {
        let (asker, other) = (self.peers[side], self.peers[1 - side]);
        asker.send(request.text());
        let received = other.receive_request(self.dialog.call_id(), method, cseq);
        other.send(received.answer(status, other.address()));
        let answer = asker.receive_final(request);
        assert!(answer.text().starts_with(&format!("SIP/2.0 {status}")), "{}", answer.text());
        received
    }
}

/// REFER as each provider's `refer` has it; NOTIFY and MESSAGE pass, with their bodies; a re-INVITE whose receiver no longer knows the call. Each from
/// both sides.
#[test]
fn refer_notify_message_and_a_lost_dialog() {
    const PASSES: &str = "77";
    const REFER_TO: &str = "Refer-To: <sip:4998765@example.org>";
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller())
        .another_provider()
        .source(site.caller(), None)
        .for_source("tech_prefix", PASSES)
        .provider("refer", "pass")
        .gateway("49", place);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let (caller, gateway) = (Peer::new(site.caller(), address), Peer::at(place, address));

    let call = Standing::new(&caller, &gateway, "");
    for side in [0, 1] {
        let answer = call.peers[side].ask(&call.request(side, "REFER", 2).add(REFER_TO));
        assert_eq!(answer.code(), Some(403), "{}", answer.text());
        let came = call.peers[1 - side].all_waiting();
        assert!(came.iter().all(|message| !message.text().starts_with("REFER")), "it went no further");
    }
    call.passes(0, &call.request(0, "BYE", 3), "BYE", 3, "200 OK");

    let call = Standing::new(&caller, &gateway, PASSES);
    for side in [0, 1] {
        let refer = call.request(side, "REFER", 2).add(REFER_TO);
        let received = call.passes(side, &refer, "REFER", 2, "202 Accepted");
        assert_eq!(received.header("Refer-To"), REFER_TO.strip_prefix("Refer-To: "), "{}", received.text());
        let notify = call.request(side, "NOTIFY", 3).add("Event: refer").add("Subscription-State: active");
        let notify = notify.content("message/sipfrag", "SIP/2.0 100 Trying\r\n");
        let received = call.passes(side, &notify, "NOTIFY", 3, "200 OK");
        assert_eq!(received.body(), "SIP/2.0 100 Trying\r\n", "{}", received.text());
        let message = call.request(side, "MESSAGE", 4).content("text/plain", "hello");
        assert_eq!(call.passes(side, &message, "MESSAGE", 4, "200 OK").body(), "hello");
    }
    call.passes(1, &call.request(1, "BYE", 5), "BYE", 5, "200 OK");

    a_481_to_a_reinvite_ends_the_call(&caller, &gateway);

    let counters = corelane.stop_empty();
    let expected = [("ended_by_caller", 1), ("ended_by_callee", 1), ("ended_lost", 2), ("byes_sent", 4)];
    for (name, value) in expected {
        assert_eq!(counters.node(name), value, "{name}");
    }
}

/// RFC 3261 §12.2.1.2: the other side knows nothing of the call any more. Whoever asked is told so, and gets BYE like the other one.
fn a_481_to_a_reinvite_ends_the_call(caller: &Peer, gateway: &Peer) {
    for side in [0, 1] {
        let call = Standing::new(caller, gateway, "");
        let (asker, other) = (call.peers[side], call.peers[1 - side]);
        let reinvite = call.request(side, "INVITE", 2);
        asker.send(reinvite.text());
        let received = other.receive_request(call.dialog.call_id(), "INVITE", 2);
        other.send(received.answer("481 Call/Transaction Does Not Exist", other.address()));
        let refusal = asker.receive_final(&reinvite);
        assert_eq!(refusal.code(), Some(481), "{}", refusal.text());
        asker.send(reinvite.ack(&refusal).text());
        for (peer, answer) in [(asker, "200 OK"), (other, "481 Call/Transaction Does Not Exist")] {
            let bye = peer.receive_starting("BYE ");
            assert_eq!(bye.call_id(), call.dialog.call_id());
            let reason = bye.header("Reason").unwrap_or_default();
            assert!(reason.starts_with("Q.850;cause=38"), "{}", bye.text());
            peer.send(bye.answer(answer, peer.address()));
        }
        // What was repeated on a busy machine belongs to the call that is over.
        drop((caller.all_waiting(), gateway.all_waiting()));
    }
}
