//! Bad input: whatever a socket may bring, Corelane counts it, answers where an RFC says so, and goes on.

use std::net::SocketAddr;

use crate::corelane::{Corelane, Options, listener};
use crate::peer::Peer;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// The largest payload of an IPv4 UDP datagram.
const DATAGRAM_MAX: usize = 65_507;

/// A Corelane with a gateway that answers, and a raw peer that it takes for a provider.
struct Stage {
    site: Site,
    corelane: Corelane,
    address: SocketAddr,
    gateway: SocketAddr,
    peer: Peer,
}

impl Stage {
    fn new() -> Stage {
        let site = Site::new();
        let (address, gateway) = (listener(&site), site.address(21));
        let tables = Tables::new(address, site.caller()).gateway("49", gateway);
        let corelane = Corelane::start(&site, &tables, &Options::default());
        let peer = Peer::new(site.caller(), address);
        Stage { site, corelane, address, gateway, peer }
    }

    /// Sends `bytes` and waits until each counter of `expected` has grown by that much; nothing may have come back.
    fn swallowed(&mut self, what: &str, bytes: impl AsRef<[u8]>, expected: &[(&str, u64)]) {
        self.sent(what, bytes, expected);
        assert!(self.peer.nothing_came(), "{what}: an answer came");
    }

    /// Same; an answer may wait.
    fn sent(&mut self, what: &str, bytes: impl AsRef<[u8]>, expected: &[(&str, u64)]) {
        let before = self.corelane.counters();
        self.peer.send(bytes);
        self.corelane
            .await_counters(what, |now| expected.iter().all(|(name, more)| now.node(name) == before.node(name) + more));
    }

    /// After all that: a good call goes as ever, and nothing is left of the bad ones.
    fn still_works(self) {
        let gateway = Sipp::uas(&self.site, "uas_basic", self.gateway).start();
        Sipp::uac(&self.site, "uac_basic", self.site.caller(), self.address).dial(&["4912345"]).calls(20, 100).run();
        assert_eq!(gateway.stop().successful, 20);
        assert_eq!(self.corelane.stop_empty().node("calls_answered"), 20);
    }
}

#[test]
fn what_is_no_sip_is_counted_and_not_answered() {
    let _serial = serial();
    let mut stage = Stage::new();
    stage.swallowed("empty datagram", "", &[("keepalives", 1), ("parse_errors", 0)]);
    stage.swallowed("CR LF", "\r\n", &[("keepalives", 1), ("parse_errors", 0)]);
    stage.swallowed("CR LF twice (RFC 5626 §4.4.1)", "\r\n\r\n", &[("keepalives", 1), ("parse_errors", 0)]);
    let garbage: Vec<u8> = (0u32..700).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    stage.swallowed("garbage", garbage, &[("parse_errors", 1)]);
    stage.swallowed("zeroes", [0; 64], &[("parse_errors", 1)]);
    stage.swallowed("half a request line", "INVITE sip:4912345@exa", &[("parse_errors", 1)]);
    stage.swallowed("another protocol", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", &[("parse_errors", 1)]);
    stage.swallowed("largest datagram, no SIP", vec![b'A'; DATAGRAM_MAX], &[("oversized", 1)]);
    stage.still_works();
}

#[test]
fn what_is_malformed_is_answered_when_its_top_can_be_read() {
    let _serial = serial();
    let mut stage = Stage::new();
    let peer = Peer::new(stage.site.caller(), stage.address);

    let whole = peer.request("INVITE", "4912345").text();
    let cut = &whole[..whole.find("Call-ID").expect("a Call-ID")];
    stage.swallowed("cut before the Call-ID", cut, &[("calls_started", 0), ("datagrams_in", 1)]);

    let big = peer.request("OPTIONS", "").set("Content-Length", "60000").body(&"x".repeat(60_000));
    assert_eq!(peer.ask(&big).code(), Some(513), "SPEC §3, sizes");

    let many = (0..1000).fold(peer.request("OPTIONS", ""), |request, n| request.add(&format!("X: {n}")));
    let answer = peer.ask(&many).code();
    assert!(matches!(answer, Some(400 | 513)), "1,000 headers: {answer:?}");

    let long = peer.request("INVITE", "4912345").set("Content-Length", "500").body("short");
    assert_eq!(peer.ask(&long).code(), Some(400), "RFC 3261 §18.3: Content-Length beyond the datagram");
    let odd = peer.request("INVITE", "4912345").set("Content-Length", "-1");
    assert_eq!(peer.ask(&odd).code(), Some(400), "Content-Length that is no number");
    let trailing = peer.request("OPTIONS", "").body("more than Content-Length says");
    assert_eq!(peer.ask(&trailing).code(), Some(200), "RFC 3261 §18.3: bytes beyond the body are ignored");

    let twice = peer.request("INVITE", "4912345").add("CSeq: 2 INVITE");
    assert_eq!(peer.ask(&twice).code(), Some(400), "two CSeq");
    let other = peer.request("INVITE", "4912345").set("CSeq", "1 BYE");
    stage.peer.send(other.text());
    stage.corelane.await_counters("CSeq of another method", |now| now.node("rejected_400") >= 4);

    let counters = stage.corelane.counters();
    assert_eq!(counters.node("calls_started"), 0);
    assert_eq!(counters.node("rejected_513") + counters.node("rejected_400"), 6, "each answered once: {counters:?}");
    stage.still_works();
}

#[test]
fn responses_that_nobody_asked_for_are_dropped() {
    let _serial = serial();
    let mut stage = Stage::new();
    let address = stage.address;
    let response = |via: &str| {
        format!(
            "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: nobody\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let own = format!("SIP/2.0/UDP {address};branch=z9hG4bK-forged, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-2");
    stage.swallowed("a Via of ours with a forged branch", response(&own), &[("stray_responses", 1)]);
    let other = "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-1";
    // RFC 3261 §18.1.2: a top Via that is not ours is discarded, whatever it is counted as.
    stage.swallowed("a Via of somebody else", response(other), &[("datagrams_in", 1), ("datagrams_out", 0)]);
    stage.still_works();
}

#[test]
fn a_looped_request_gets_482() {
    let _serial = serial();
    let site = Site::new();
    let address = listener(&site);
    let gateway = site.address(21);
    // The gateway is a partner too: what it sends back is recognised, routed to itself again, and so would go round forever.
    let tables = Tables::new(address, site.caller()).source(gateway.ip(), None).gateway("49", gateway);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let (caller, looping) = (Peer::new(site.caller(), address), Peer::at(gateway, address));

    let invite = caller.request("INVITE", "4912345");
    caller.send(invite.text());
    let first = looping.receive_starting("INVITE");
    let top = format!("Via: SIP/2.0/UDP {gateway};branch=z9hG4bK-looping\r\nVia:");
    looping.send(first.0.replacen("Via:", &top, 1));
    let answer = looping.receive_starting("SIP/2.0 4");
    assert_eq!(answer.code(), Some(482), "RFC 5393 §4.2: {}", answer.0);
    looping.send(first.answer("482 Loop Detected", gateway));
    let upstream = caller.receive_final(&invite);
    assert_eq!(upstream.code(), Some(482), "{}", upstream.0);
    caller.send(invite.ack(&upstream).text());
    let counters = corelane.stop_empty();
    assert!(counters.node("rejected_482") >= 1);
}
