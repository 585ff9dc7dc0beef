//! A call is set up and torn down; what Corelane writes into the messages.

use std::time::Duration;

use corelane_core::Counter;

use super::world::{CALLER, FAR_GATEWAY, GATEWAY, World, answered, invite, ladder, response};

/// RFC 3665 §3.2, through one proxy.
#[test]
fn a_call_from_invite_to_bye() {
    let mut world = World::new();
    let call = answered(&mut world, "a");
    assert_eq!(world.count(Counter::CallsLive), 1);
    let bye = call.caller_sends("BYE", "a-bye", 2);
    let sent = world.deliver(CALLER, &bye.text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE")]);
    let sent = world.deliver(GATEWAY, &response(&sent[0], 200, "", &[]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    assert_eq!(world.count(Counter::CallsLive), 0, "the call ends with the answer to its BYE");
    assert_eq!(world.count(Counter::CallsAnswered), 1);
    world.settle();
}

/// RFC 3261 §16.6 steps 1 to 8, RFC 3581 §4.
#[test]
fn the_forwarded_invite_is_edited_as_the_rfc_says() {
    let mut world = World::new();
    let mut request = invite("+49-30-123456", "edit");
    request.via = "SIP/2.0/UDP caller.example:5070;rport;branch=z9hG4bK-edit".into();
    request.extra.push("X-Unknown: kept ,  byte for byte".into());
    let sent = world.deliver(CALLER, &request.text());
    let forwarded = &sent[1];
    assert_eq!(forwarded.start_line(), "INVITE sip:+4930123456@198.51.100.20:5060 SIP/2.0");
    let vias = forwarded.headers("Via");
    assert_eq!(vias.len(), 2);
    assert!(vias[0].starts_with("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK"), "{}", vias[0]);
    assert!(vias[1].contains("rport=5060") && vias[1].contains("received=192.0.2.10"), "{}", vias[1]);
    assert_eq!(forwarded.header("Max-Forwards"), "69");
    assert_eq!(forwarded.headers("Record-Route").len(), 1);
    assert!(forwarded.header("Record-Route").starts_with("<sip:10.0.0.1:5060;lr;cl=1"));
    assert_eq!(forwarded.header("X-Unknown"), "kept ,  byte for byte");
    assert!(forwarded.text.ends_with("\r\n\r\nv=0\r\n"));
}

/// RFC 3261 §18.2.2: without rport the answer goes to the sent-by port; the source address is what counts.
#[test]
fn answers_go_where_the_via_and_the_source_say() {
    let mut world = World::new();
    let mut request = invite("4930123456", "via");
    request.via = "SIP/2.0/UDP caller.example:5070;branch=z9hG4bK-via".into();
    assert_eq!(world.deliver("192.0.2.10:32000", &request.text())[0].to, "192.0.2.10:5070");
    let mut request = invite("4930123456", "via2");
    request.via = "SIP/2.0/UDP caller.example;branch=z9hG4bK-via2".into();
    assert_eq!(world.deliver("192.0.2.10:32000", &request.text())[0].to, "192.0.2.10:5060");
    let mut request = invite("4930123456", "via3");
    request.via = "SIP/2.0/UDP caller.example:5070;rport;branch=z9hG4bK-via3".into();
    assert_eq!(world.deliver("192.0.2.10:32000", &request.text())[0].to, "192.0.2.10:32000");
}

/// RFC 5658: two networks, two Record-Routes, each popped on its side.
#[test]
fn two_listeners_record_route_twice() {
    let mut world = World::new();
    let sent = world.deliver(CALLER, &invite("431234567", "rr").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{FAR_GATEWAY} INVITE")]);
    let forwarded = sent[1].clone();
    assert_eq!(forwarded.listener, 1, "the gateway is bound to the second listener");
    let faces = forwarded.headers("Record-Route");
    assert_eq!(faces.len(), 2);
    assert!(faces[0].starts_with("<sip:10.0.1.1:5070;lr;"), "outgoing face on top: {}", faces[0]);
    assert!(faces[1].starts_with("<sip:10.0.0.1:5060;lr;"), "{}", faces[1]);
    let sent = world.deliver_to(1, FAR_GATEWAY, response(&forwarded, 200, "callee", &[]).as_bytes());
    assert_eq!((sent[0].listener, sent[0].status()), (0, 200), "back through the first listener");
    let call = super::world::Answered { invite: invite("431234567", "rr"), forwarded, ok: sent[0].clone() };
    let ack = world.deliver(CALLER, &call.caller_sends("ACK", "rr-ack", 1).text());
    assert_eq!(ladder(&ack), [format!("{FAR_GATEWAY} ACK")]);
    assert_eq!(ack[0].listener, 1);
    assert!(ack[0].headers("Route").is_empty(), "both faces are popped");
    let mut bye = call.callee_sends("BYE", "rr-bye", 7);
    bye.via = format!("SIP/2.0/UDP {FAR_GATEWAY};branch=z9hG4bK-rr-bye");
    let bye = world.deliver_to(1, FAR_GATEWAY, bye.text().as_bytes());
    assert_eq!(ladder(&bye), [format!("{CALLER} BYE")]);
    assert_eq!(bye[0].listener, 0);
    assert!(bye[0].headers("Route").is_empty());
    assert_eq!(world.deliver(CALLER, &response(&bye[0], 200, "", &[]))[0].listener, 1);
    world.settle();
}

/// RFC 3261 §16.7 step 5: 100 stays on its hop; every other provisional goes up.
#[test]
fn provisionals_go_up_but_not_the_hundred() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "prov").text())[1].clone();
    assert!(world.deliver(GATEWAY, &response(&forwarded, 100, "", &[])).is_empty());
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&forwarded, 183, "t1", &[]))), [format!("{CALLER} 183")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&forwarded, 180, "t2", &[]))), [format!("{CALLER} 180")]);
    world.deliver(GATEWAY, &response(&forwarded, 486, "t1", &[]));
    world.settle();
}

/// RFC 3261 §17.1.1.3 and §17.2.1: a refusal is acknowledged hop by hop on both sides.
#[test]
fn a_refusal_is_acknowledged_on_each_hop() {
    let mut world = World::new();
    let request = invite("4930123456", "busy");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    let sent = world.deliver(GATEWAY, &response(&forwarded, 486, "busy", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 486")]);
    let ack = &sent[0];
    assert_eq!(ack.header("Via"), forwarded.header("Via"), "same branch as the INVITE");
    assert_eq!(ack.header("CSeq"), "1 ACK");
    assert!(ack.header("To").contains("tag=busy"));
    assert_eq!(world.count(Counter::CallsLive), 0);
    // The gateway missed the ACK.
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&forwarded, 486, "busy", &[]))), [format!("{GATEWAY} ACK")]);
    // The caller's ACK ends the retransmissions.
    assert!(world.deliver(CALLER, &request.hop("ACK").text()).is_empty());
    assert!(world.advance(Duration::from_secs(40)).is_empty());
    world.settle();
}

/// SPEC §3: a downstream 503 becomes 500, a downstream Contact never leaks.
#[test]
fn overload_and_redirection_downstream_become_500() {
    for status in [503, 302] {
        let mut world = World::new();
        let forwarded = world.deliver(CALLER, &invite("4930123456", "sub").text())[1].clone();
        let sent =
            world.deliver(GATEWAY, &response(&forwarded, status, "x", &["Contact: <sip:elsewhere@203.0.113.1>"]));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 500")]);
        assert!(sent[1].headers("Contact").is_empty());
        world.settle();
    }
}

/// A buffer may be in the ring long after its transaction is gone.
#[test]
fn late_releases_do_no_harm() {
    let mut world = World::new();
    world.slow_ring = true;
    let call = answered(&mut world, "slow");
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "slow-bye", 2).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    world.settle();
}

#[test]
fn an_empty_datagram_is_a_keep_alive() {
    let mut world = World::new();
    for bytes in [&b""[..], b"\r\n", b"\r\n\r\n"] {
        assert!(world.deliver_to(0, CALLER, bytes).is_empty());
    }
    assert_eq!(world.count(Counter::Keepalives), 3);
}
