//! What the tests of this folder share: a world whose image has media nodes, messages with SDP, and the look at what left.

use corelane_core::routing::build::{Builder, ImageBytes};

use super::node::{ENDPOINT, sdp};
use crate::world::{Answered, CALLER, GATEWAY, Request, Sent, World, invite, response, settings};

/// The second gateway of the route.
pub(super) const SECOND: &str = "198.51.100.21:5060";

/// One provider, two gateways for 49 in this order, media nodes.
pub(super) fn image(edit: impl FnOnce(&mut Builder)) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let provider = builder.provider("acme", 1);
    builder.address(provider, "192.0.2.10");
    let gateways = [GATEWAY, SECOND].map(|address| builder.gateway(address, address));
    let carrier = builder.carrier_weighted("both", &[(gateways[0], 1, 0), (gateways[1], 2, 0)]);
    builder.route(1, "49", carrier);
    builder.media_node(1);
    edit(&mut builder);
    builder.finish()
}

/// Calls go through media nodes, and the control core answers at once.
pub(super) fn world() -> World {
    World::with(settings()).with_routing(image(|_| {})).with_node()
}

/// Another body, with its type.
pub(super) fn with_sdp(request: &Request, name: &str) -> Request {
    let mut request = request.clone();
    request.extra.push("Content-Type: application/sdp".into());
    Request { body: sdp(name), ..request }
}

/// An INVITE with an offer.
pub(super) fn offer(call: &str) -> Request {
    with_sdp(&bare(call), "offer")
}

/// An INVITE without one.
pub(super) fn bare(call: &str) -> Request {
    Request { body: String::new(), ..invite("4930123456", call) }
}

/// A peer's response with SDP.
pub(super) fn answer(request: &Sent, status: u16, tag: &str, name: &str, extra: &[&str]) -> String {
    let body = sdp(name);
    let mut lines = vec!["Content-Type: application/sdp"];
    lines.extend(extra);
    let text = response(request, status, tag, &lines);
    text.replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// The one message among what was sent whose start line begins so.
pub(super) fn the(sent: &[Sent], start: &str) -> Sent {
    let found: Vec<&Sent> = sent.iter().filter(|sent| sent.start_line().starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{start} in {:?}", crate::world::ladder(sent));
    assert!(!found[0].text.contains(ENDPOINT), "I2:\n{}", found[0].text);
    found[0].clone()
}

/// INVITE with an offer, at the gateway.
pub(super) fn called(world: &mut World, call: &str) -> (Request, Sent) {
    let invite = offer(call);
    let sent = world.deliver(CALLER, &invite.text());
    (invite, the(&sent, "INVITE"))
}

/// INVITE, 200, ACK.
pub(super) fn talking(world: &mut World, call: &str) -> Answered {
    let (invite, forwarded) = called(world, call);
    let contact = ["Contact: <sip:bob@198.51.100.20>"];
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "answer", &contact));
    let call_of = Answered { invite, forwarded, ok: the(&sent, "SIP/2.0 200") };
    let ack = world.deliver(CALLER, &call_of.caller_sends("ACK", &format!("{call}-ack"), 1).text());
    the(&ack, "ACK");
    world.asked();
    call_of
}
