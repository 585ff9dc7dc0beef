//! What a gateway gets of what a caller dialled (SPEC §3 *Route*, the order of docs/data-model.md): the number, the time of day, who is named to whom.
//!
//! One Corelane for each test, raw peers at both ends. Each gateway takes a look at its INVITE and refuses it.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::corelane::{Corelane, Options, listener};
use crate::peer::{Dialog, Message, Peer, Request};
use crate::serial;
use crate::site::{Site, Tables};

/// The tech prefix of the second provider, and as it is dialled (RFC 3261 §25.1: `#` is escaped in a URI).
const TECH_PREFIX: &str = "77#";
const TECH_PREFIX_DIALLED: &str = "77%23";

/// A call that its gateway refuses: the INVITE as it came there, and the refusal as the caller got it.
fn refused_call(caller: &Peer, gateway: &Peer, invite: &Request) -> (Message, Message) {
    caller.send(invite.text());
    let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
    gateway.send(received.answer("486 Busy Here", gateway.address()));
    let refusal = caller.receive_final(invite);
    assert_eq!(refusal.code(), Some(486), "{}", refusal.text());
    caller.send(invite.ack(&refusal).text());
    gateway.receive_request(invite.call_id(), "ACK", 1);
    (received, refusal)
}

/// The hour of the day in UTC, so many hours from now.
fn hour(later: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    format!("{:02}:00", (now / 3600 + later) % 24)
}

/// Tech prefix, strip and prepend of provider and gateway, tel:, `number_format`, and a time window that sends a number to a shorter prefix.
#[test]
fn a_gateway_gets_the_number_as_its_row_wants_it() {
    let _serial = serial();
    let site = Site::new();
    let (address, places) = (listener(&site), [21, 22, 23, 24, 25, 26].map(|host| site.address(host)));
    let [plain, replaced, e164, no_plus, closed, open] = places;
    let tables = Tables::new(address, site.caller())
        .another_provider()
        .source(site.caller(), None)
        .for_source("tech_prefix", TECH_PREFIX)
        .provider("strip", 2)
        .provider("prepend", "49")
        .gateway("49", plain)
        .gateway("33", replaced)
        .for_gateway("strip", 2)
        .for_gateway("prepend", "+44")
        .gateway("34", e164)
        .for_gateway("number_format", "e164")
        .gateway("35", no_plus)
        .for_gateway("number_format", "no_plus")
        // Far enough from either edge for a test that starts just before the hour.
        .gateway("4930", closed)
        .open(&hour(2), &hour(4))
        .gateway("4989", open)
        .open(&hour(23), &hour(2));
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let (caller, gateways) = (Peer::new(site.caller(), address), places.map(|place| Peer::at(place, address)));

    let dialled = |user: &str| format!("sip:{user}@{address}");
    let rows: [(String, SocketAddr, String); 9] = [
        (dialled("4912345"), plain, format!("sip:4912345@{plain}")),
        (dialled("+4912345;npdi"), plain, format!("sip:+4912345;npdi@{plain}")),
        ("tel:+49-12-345".to_owned(), plain, format!("sip:+4912345@{plain};user=phone")),
        (dialled(&format!("{TECH_PREFIX_DIALLED}0012345")), plain, format!("sip:4912345@{plain}")),
        (dialled("3312345"), replaced, format!("sip:+4412345@{replaced}")),
        (dialled("3412345"), e164, format!("sip:+3412345@{e164};user=phone")),
        (dialled("+3512345"), no_plus, format!("sip:3512345@{no_plus}")),
        (dialled("49301234"), plain, format!("sip:49301234@{plain}")),
        (dialled("49891234"), open, format!("sip:49891234@{open}")),
    ];
    for (uri, place, wanted) in &rows {
        let gateway = gateways.iter().find(|gateway| gateway.address() == *place).expect("a gateway of the row");
        let invite = caller.request("INVITE", "").line(&format!("INVITE {uri} SIP/2.0"));
        let (received, _) = refused_call(&caller, gateway, &invite);
        let line = received.text().lines().next().unwrap_or_default();
        assert_eq!(line, format!("INVITE {wanted} SIP/2.0"), "of {uri}");
    }
    // Nothing left behind the tech prefix, and no number at all.
    for (user, code) in [(TECH_PREFIX_DIALLED, 484), ("alice", 404)] {
        let invite = caller.request("INVITE", "").line(&format!("INVITE {} SIP/2.0", dialled(user)));
        assert_eq!(caller.ask(&invite).code(), Some(code), "of {user}");
    }
    assert!(gateways[4].nothing_came(), "a route outside its time window is not there");
    let counters = corelane.stop_empty();
    assert_eq!((counters.node("rejected_484"), counters.node("attempts")), (1, rows.len() as u64));
}

/// RFC 3323, RFC 3325 and `from_host`: what a gateway learns of the caller, what he sees of himself afterwards.
#[test]
fn a_gateway_learns_of_the_caller_what_it_may() {
    const ASSERTED: &str = "P-Asserted-Identity: <sip:+4930999@example.org>";
    const PRIVACY: &str = "Privacy: id";
    const FROM_HOST: &str = "sbc.example.net";
    let _serial = serial();
    let site = Site::new();
    let (address, places) = (listener(&site), [21, 22].map(|host| site.address(host)));
    let tables = Tables::new(address, site.caller())
        .another_provider()
        .source(site.caller(), None)
        .for_source("tech_prefix", TECH_PREFIX)
        .provider("privacy", "untrusted")
        .gateway("49", places[0])
        .gateway("33", places[1])
        .for_gateway("privacy", "untrusted")
        .for_gateway("from_host", FROM_HOST);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let (caller, gateways) = (Peer::new(site.caller(), address), places.map(|place| Peer::at(place, address)));
    let trusted_caller = "";

    // Who calls whom, asking for privacy or not: whether the assertion arrives, and the From.
    let own = format!("<sip:peer@{}>", caller.address());
    let hosted = format!("<sip:peer@{FROM_HOST}>");
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    let rows = [
        (trusted_caller, "4912345", 0, true, true, own.as_str()),
        (trusted_caller, "3312345", 1, false, true, hosted.as_str()),
        (trusted_caller, "3312345", 1, true, false, anonymous),
        (TECH_PREFIX_DIALLED, "4912345", 0, false, false, own.as_str()),
        (TECH_PREFIX_DIALLED, "3312345", 1, true, false, anonymous),
    ];
    for (tech_prefix, number, gateway, private, asserted, from) in rows {
        let invite = caller.request("INVITE", &format!("{tech_prefix}{number}")).add(ASSERTED);
        let invite = if private { invite.add(PRIVACY) } else { invite };
        let (received, refusal) = refused_call(&caller, &gateways[gateway], &invite);
        let what = format!("from {tech_prefix:?} to {number}, private: {private}\n{}", received.text());
        assert_eq!(received.header("P-Asserted-Identity").is_some(), asserted, "{what}");
        assert_eq!(received.header("Privacy").is_some(), private, "{what}");
        let shown = received.header("From").unwrap_or_default();
        assert_eq!(shown.split(";tag=").next(), Some(from), "{what}");
        assert_eq!(refusal.header("From").and_then(|from| from.split(";tag=").next()), Some(own.as_str()), "{what}");
    }

    // To the end of the dialog each side goes on seeing the caller under the name that it knows.
    let invite = caller.request("INVITE", "3312345");
    caller.send(invite.text());
    let received = gateways[1].receive_request(invite.call_id(), "INVITE", 1);
    gateways[1].send(received.answer("200 OK", places[1]));
    let dialog: Dialog = caller.answered(invite);
    let acknowledged = gateways[1].receive_request(dialog.call_id(), "ACK", 1);
    assert_eq!(acknowledged.header("From"), received.header("From"), "{}", acknowledged.text());
    let bye = gateways[1].request_within(&received, "BYE", 1);
    gateways[1].send(bye.text());
    let hung_up = caller.receive_request(dialog.call_id(), "BYE", 1);
    assert!(hung_up.header("To").is_some_and(|to| to.starts_with(&own)), "{}", hung_up.text());
    caller.send(hung_up.answer("200 OK", caller.address()));
    let answer = gateways[1].receive_final(&bye);
    assert_eq!(answer.header("To"), received.header("From"), "{}", answer.text());

    assert_eq!(corelane.stop_empty().node("ended_by_callee"), 1);
}
