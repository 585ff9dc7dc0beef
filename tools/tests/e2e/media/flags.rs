//! `media_flags` of the tables as a real node takes them (docs/data-model.md): what it makes of an SDP shows that they came there.

use super::rtp::{Codec, flows, media_address};
use super::{NUMBER, ends};
use crate::corelane::{Corelane, Options, listener};
use crate::media::rtpengine::Rtpengine;
use crate::peer::{Message, Peer};
use crate::serial;
use crate::site::{Site, Tables};

/// The transport of the audio, and whether ICE is offered for it.
fn transport(message: &Message) -> (&str, bool) {
    let audio = message.body().lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap_or_default();
    (audio.split(' ').nth(1).unwrap_or_default(), message.body().contains("a=candidate:"))
}

/// The provider's flags go for the first gateway; of the second one's own, the key that both have goes before.
#[test]
fn flags_of_provider_and_gateway_reach_the_node() {
    let _serial = serial();
    let site = Site::new();
    let node = Rtpengine::start(&site, 41);
    let (address, first, second) = (listener(&site), site.address(21), site.address(22));
    let tables = Tables::new(address, site.caller())
        .provider("media_flags", "ICE=remove")
        .media_node(node.address())
        .gateway("49", first)
        .then(second)
        .for_gateway("media_flags", "ICE=force transport-protocol=RTP/AVPF");
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let caller = Peer::new(site.caller(), address);
    let gateways = [first, second].map(|place| Peer::at(place, address));
    let ends = ends(&site, Codec::Pcma);
    let (own, port) = (ends[0].address().ip(), ends[0].address().port());
    let ice = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    let offer = format!("{}{ice}a=candidate:1 1 UDP 2130706431 {own} {port} typ host\r\n", ends[0].sdp("sendrecv"));
    let invite = caller.request("INVITE", NUMBER).content("application/sdp", &offer);
    caller.send(invite.text());

    let received = gateways[0].receive_request(invite.call_id(), "INVITE", 1);
    assert_eq!(transport(&received), ("RTP/AVP", false), "{}", received.text());
    gateways[0].send(received.answer("503 Service Unavailable", first));

    let received = gateways[1].receive_request(invite.call_id(), "INVITE", 1);
    assert_eq!(transport(&received), ("RTP/AVPF", true), "{}", received.text());
    let answer = ends[1].sdp("sendrecv").replace("RTP/AVP ", "RTP/AVPF ");
    gateways[1].send(received.answer_with("200 OK", second, &[], &answer));
    let dialog = caller.answered(invite);
    assert_eq!(transport(dialog.answer()).0, "RTP/AVP", "{}", dialog.answer().text());
    gateways[1].receive_request(dialog.call_id(), "ACK", 1);
    flows(&ends[0], media_address(dialog.answer()), &ends[1], media_address(&received));

    let bye = caller.say_bye(&dialog);
    gateways[1].send(gateways[1].receive_request(dialog.call_id(), "BYE", 2).answer("200 OK", second));
    assert_eq!(caller.receive_final(&bye).code(), Some(200));
    node.await_sessions(0);
    assert_eq!(corelane.stop_empty().node("media_failed"), 0);
}
