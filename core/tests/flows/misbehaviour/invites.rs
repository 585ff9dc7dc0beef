//! INVITEs that come again with something else in them.

use corelane_core::Counter;

use crate::world::{Answered, CALLER, GATEWAY, World, invite, ladder, response};

/// RFC 3261 §17.2.3: the branch says that it is the same request; what else changed is not looked at.
#[test]
fn a_changed_invite_on_the_same_branch_is_a_retransmission() {
    let mut world = World::new();
    let request = invite("4930123456", "again");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    let mut changed = request.clone();
    changed.body = "v=0\r\ns=another\r\n".into();
    changed.uri = "sip:4940999999@10.0.0.1".into();
    changed.cseq = 2;
    assert_eq!(ladder(&world.deliver(CALLER, &changed.text())), [format!("{CALLER} 100")]);
    assert_eq!(world.count(Counter::CallsStarted), 1);
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    world.settle();
}

/// RFC 3261 §8.2.2.2 has a user agent answer 482; a proxy routes each, since they were forked upstream: two calls, each with its answer.
#[test]
fn a_merged_request_is_a_call_of_its_own() {
    let mut world = World::new();
    let request = invite("4930123456", "merge");
    let mut merged = request.clone();
    merged.via = format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-merge-other");
    let first = world.deliver(CALLER, &request.text())[1].clone();
    let second = world.deliver(CALLER, &merged.text());
    assert_eq!(ladder(&second), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    assert_ne!(first.header("Record-Route"), second[1].header("Record-Route"));
    // The gateway is a user agent and says so.
    let sent = world.deliver(GATEWAY, &response(&second[1], 482, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 482")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&first, 200, "t", &[]))), [format!("{CALLER} 200")]);
    world.settle();
}

/// RFC 3261 §12: another From tag is another dialog, and here another call. Each token leads to its own.
#[test]
fn the_same_call_id_with_another_from_tag_is_another_call() {
    let mut world = World::new();
    let mut calls = Vec::new();
    for (tag, branch) in [("caller", "one"), ("caller-2", "two")] {
        let mut request = invite("4930123456", "twin");
        request.from_tag = tag.into();
        request.via = format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-{branch}");
        let forwarded = world.deliver(CALLER, &request.text())[1].clone();
        let ok = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &[]))[0].clone();
        calls.push(Answered { invite: request, forwarded, ok });
    }
    assert_eq!(world.count(Counter::CallsLive), 2);
    let mut mixed = calls[0].caller_sends("BYE", "mixed", 2);
    mixed.from_tag = "caller-2".into();
    assert_eq!(ladder(&world.deliver(CALLER, &mixed.text())), [format!("{CALLER} 481")], "the tags of the other one");
    for (place, call) in calls.iter().enumerate() {
        let bye = world.deliver(CALLER, &call.caller_sends("BYE", &format!("bye-{place}"), 2).text());
        assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
        world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    }
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// RFC 3261 §8.1.1.5: the method of CSeq is that of the request.
#[test]
fn a_cseq_of_another_method_is_malformed() {
    let mut world = World::new();
    let text = invite("4930123456", "cseq").text().replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
    assert_eq!(ladder(&world.deliver(CALLER, &text)), [format!("{CALLER} 400")]);
    assert_eq!(world.count(Counter::CallsStarted), 0);
    world.settle();
}

/// A gateway may be asked, not ask: unless it is a provider too, its calls are refused.
#[test]
fn a_gateway_that_calls_is_refused() {
    let mut world = World::new();
    let mut request = invite("4930123456", "outward");
    request.via = format!("SIP/2.0/UDP {GATEWAY};branch=z9hG4bK-outward");
    assert_eq!(ladder(&world.deliver(GATEWAY, &request.text())), [format!("{GATEWAY} 403")]);
    assert_eq!(world.count(Counter::CallsStarted), 0);
    world.settle();
}
