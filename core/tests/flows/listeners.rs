//! Legs that are bound to a listener (SPEC §3 *Listeners*, RFC 5658): requests leave from the leg's listener, responses from the socket
//! where the request came in.

use std::time::Duration;

use corelane_core::routing::build::{Builder, ImageBytes};

use super::world::{Answered, CALLER, FAR_GATEWAY, GATEWAY, Sent, World, invite, ladder, response, settings};

/// Faces of the two listeners.
const FIRST: &str = "<sip:10.0.0.1:5060;lr;";
const SECOND: &str = "<sip:10.0.1.1:5070;lr;";
/// Another of the provider's hosts.
const MOVED: &str = "192.0.2.11:5060";

/// A provider that is bound to the listener in this slot; one gateway without a listener (49), one that is bound to the second (43).
fn image(bound: u16) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let far = builder.listener("10.0.1.1:5070");
    // One that the process of the tests does not have.
    builder.listener("10.0.2.1:5080");
    let provider = builder.provider("acme", 1);
    builder.edit_provider(provider, |provider| provider.listener = Some(bound));
    builder.address(provider, "192.0.2.0/24");
    let (near_gateway, far_gateway) = (builder.gateway("near", GATEWAY), builder.gateway("far", FAR_GATEWAY));
    builder.edit_gateway(far_gateway, |gateway| gateway.listener = Some(far.0));
    let carriers = [builder.carrier("near", &[near_gateway]), builder.carrier("far", &[far_gateway])];
    builder.route(1, "49", carriers[0]);
    builder.route(1, "43", carriers[1]);
    builder.finish()
}

/// The one message among what was sent, and the listener that it leaves from.
fn the_only(sent: &[Sent]) -> &Sent {
    assert_eq!(sent.len(), 1, "{:?}", ladder(sent));
    &sent[0]
}

/// INVITE to the first listener, 200, ACK to the second, which the caller was told to use.
fn answered(world: &mut World, call: &str) -> Answered {
    let invite = invite("4930123456", call);
    let sent = world.deliver(CALLER, &invite.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    assert_eq!([sent[0].listener, sent[1].listener], [0, 0], "a response, and a gateway that is not bound");
    let forwarded = sent[1].clone();
    let ok = response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
    let ok = the_only(&world.deliver(GATEWAY, &ok)).clone();
    assert_eq!((ok.to.as_str(), ok.listener), (CALLER, 0), "the socket where the INVITE came in");
    let call = Answered { invite, forwarded, ok };
    let ack = world.deliver_to(1, CALLER, call.caller_sends("ACK", "ack", 1).text().as_bytes());
    assert_eq!((the_only(&ack).to.as_str(), ack[0].listener), (GATEWAY, 0));
    assert!(ack[0].headers("Route").is_empty(), "both faces are popped");
    call
}

/// "Requests leave from the leg's listener": the provider's, also where his INVITE came in elsewhere; the Record-Route that he learns names it.
#[test]
fn requests_to_a_bound_provider_leave_from_his_listener() {
    let mut world = World::routed_by(image(1));
    let call = answered(&mut world, "bound");
    let faces = call.forwarded.headers("Record-Route");
    assert_eq!(faces.len(), 2, "{faces:?}");
    assert!(faces[0].starts_with(FIRST) && faces[1].starts_with(SECOND), "{faces:?}");
    assert_eq!(call.ok.headers("Record-Route"), faces);
    for (cseq, method) in [(1, "INVITE"), (2, "UPDATE"), (3, "INFO")] {
        let sent = world.deliver(GATEWAY, &call.callee_sends(method, &format!("bound-{method}"), cseq).text());
        let request = sent.iter().find(|sent| sent.to == CALLER).expect("it goes on").clone();
        assert_eq!(request.listener, 1, "{method}");
        assert!(request.header("Via").starts_with("SIP/2.0/UDP 10.0.1.1:5070;"), "{}", request.header("Via"));
        assert!(request.headers("Route").is_empty(), "both faces are popped");
        let sent = world.deliver_to(1, CALLER, response(&request, 200, "", &[]).as_bytes());
        assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (GATEWAY, 0), "the answer to {method}");
    }
    world.deliver(GATEWAY, &call.callee_sends("ACK", "bound-ack", 1).text());
    let sent = world.deliver_to(1, CALLER, call.caller_sends("BYE", "bound-bye", 2).text().as_bytes());
    assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (GATEWAY, 0));
    let sent = world.deliver(GATEWAY, &response(&sent[0], 200, "", &[]));
    assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (CALLER, 1), "where the BYE came in");
    world.settle();
}

/// A BYE of Corelane's own as well; the route set in it has neither face.
#[test]
fn a_bye_of_ours_to_a_bound_provider_leaves_from_his_listener() {
    let mut world = World::routed_by(image(1));
    answered(&mut world, "expired");
    let sent = world.advance(Duration::from_secs(1801));
    let byes: Vec<_> = ["198.51.100.20:5060", CALLER]
        .map(|peer| sent.iter().find(|sent| sent.to == peer).expect("a BYE"))
        .into_iter()
        .map(|bye| (bye.start_line().split(' ').next().expect("a method"), bye.listener, bye.headers("Route").len()))
        .collect();
    assert_eq!(byes, [("BYE", 0, 0), ("BYE", 1, 0)]);
    world.settle();
}

/// Both legs on the listener where the INVITE did not come in: one face.
#[test]
fn a_gateway_on_the_providers_listener_needs_one_face() {
    let mut world = World::routed_by(image(1));
    let sent = world.deliver(CALLER, &invite("431234567", "one").text());
    let forwarded = sent[1].clone();
    assert_eq!((forwarded.to.as_str(), forwarded.listener), (FAR_GATEWAY, 1));
    let faces = forwarded.headers("Record-Route");
    assert!(faces.len() == 1 && faces[0].starts_with(SECOND), "{faces:?}");
    let sent = world.deliver_to(1, FAR_GATEWAY, response(&forwarded, 200, "callee", &[]).as_bytes());
    assert_eq!(the_only(&sent).listener, 0, "a response");
    let call = Answered { invite: invite("431234567", "one"), forwarded, ok: sent[0].clone() };
    let sent = world.deliver_to(1, CALLER, call.caller_sends("ACK", "one-ack", 1).text().as_bytes());
    assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (FAR_GATEWAY, 1));
    let bye = call.callee_sends("BYE", "one-bye", 1).text().replace(GATEWAY, FAR_GATEWAY);
    let sent = world.deliver_to(1, FAR_GATEWAY, bye.as_bytes());
    assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (CALLER, 1));
    world.deliver_to(1, CALLER, response(&sent[0], 200, "", &[]).as_bytes());
    world.settle();
}

/// Who refreshes from another host is asked there, and from the listener that he is bound to all the same.
#[test]
fn a_bound_leg_that_moves_keeps_its_listener() {
    let mut world = World::routed_by(image(1));
    let call = answered(&mut world, "moved");
    let update = call.caller_sends("UPDATE", "moved-up", 2).text().replace(CALLER, MOVED);
    let sent = world.deliver(MOVED, &update);
    let sent = world.deliver(GATEWAY, &response(the_only(&sent), 200, "", &[]));
    assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (MOVED, 0), "where the UPDATE came in");
    let sent = world.deliver(GATEWAY, &call.callee_sends("BYE", "moved-bye", 1).text());
    assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (MOVED, 1));
    world.deliver_to(1, MOVED, response(&sent[0], 200, "", &[]).as_bytes());
    world.settle();
}

/// A listener that this process does not have, or of the other IP version, reaches nobody: the socket where the INVITE came in does.
#[test]
fn a_listener_that_cannot_reach_the_provider_is_not_used() {
    let mut of_ipv6 = settings();
    of_ipv6.listeners[1].bound = super::world::endpoint("[2001:db8::1]:5070");
    for (settings, bound) in [(settings(), 2), (of_ipv6, 1)] {
        let mut world = World::with(settings).with_routing(image(bound));
        let forwarded = world.deliver(CALLER, &invite("4930123456", "none").text())[1].clone();
        let faces = forwarded.headers("Record-Route");
        assert!(faces.len() == 1 && faces[0].starts_with(FIRST), "{faces:?}");
        let ok = the_only(&world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &[]))).clone();
        let call = Answered { invite: invite("4930123456", "none"), forwarded, ok };
        world.deliver(CALLER, &call.caller_sends("ACK", "none-ack", 1).text());
        let sent = world.deliver(GATEWAY, &call.callee_sends("BYE", "none-bye", 1).text());
        assert_eq!((the_only(&sent).to.as_str(), sent[0].listener), (CALLER, 0));
        world.deliver(CALLER, &response(&sent[0], 200, "", &[]));
        world.settle();
    }
}
