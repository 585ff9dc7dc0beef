//! What a gateway gets of what a caller dialled (SPEC §3 *Route*, the order of docs/data-model.md): the number, the time of day, who is named to whom.
//!
//! One Corelane, raw peers at both ends. Each gateway takes a look at its INVITE and refuses it.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::corelane::{Corelane, Options, listener};
use crate::peer::{Message, Peer, Request};
use crate::serial;
use crate::site::{Site, Tables};

/// The tech prefix of the second provider, and as it is dialled (RFC 3261 §25.1: `#` is escaped in a URI).
const TECH_PREFIX: &str = "77#";
const TECH_PREFIX_DIALLED: &str = "77%23";

/// That of the third provider, who is not trusted.
const UNTRUSTED: &str = "88";

/// `from_host` of the gateway that is not trusted.
const FROM_HOST: &str = "sbc.example.net";

const ASSERTED: &str = "P-Asserted-Identity: <sip:+4930999@example.org>";
const PRIVACY: &str = "Privacy: id";

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

/// What there is between the peers: one Corelane with providers and gateways of every kind.
struct Stage {
    caller: Peer,
    address: SocketAddr,
    gateways: [Peer; 7],
}

#[test]
fn a_gateway_gets_number_and_caller_as_its_row_wants_them() {
    let _serial = serial();
    let site = Site::new();
    let (address, places) = (listener(&site), [21, 22, 23, 24, 25, 26, 27].map(|host| site.address(host)));
    let [plain, replaced, e164, no_plus, closed, open, untrusted] = places;
    let tables = Tables::new(address, site.caller())
        .another_provider()
        .source(site.caller(), None)
        .for_source("tech_prefix", TECH_PREFIX)
        .provider("strip", 2)
        .provider("prepend", "49")
        .another_provider()
        .source(site.caller(), None)
        .for_source("tech_prefix", UNTRUSTED)
        .provider("privacy", "untrusted")
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
        .open(&hour(23), &hour(2))
        .gateway("36", untrusted)
        .for_gateway("privacy", "untrusted")
        .for_gateway("from_host", FROM_HOST);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateways = places.map(|place| Peer::at(place, address));
    let stage = Stage { caller: Peer::new(site.caller(), address), address, gateways };
    let numbers = numbers_are_rewritten(&stage);
    let calls = callers_are_named_to_whom_they_may(&stage);
    each_side_goes_on_seeing_the_caller_as_it_knows_him(&stage);
    let counters = corelane.stop_empty();
    assert_eq!((counters.node("rejected_484"), counters.node("attempts")), (1, numbers + calls + 1));
    assert_eq!(counters.node("ended_by_callee"), 1);
}

/// Tech prefix, strip and prepend of provider and gateway, tel:, `number_format`, and a time window that sends a number to a shorter prefix.
fn numbers_are_rewritten(stage: &Stage) -> u64 {
    let Stage { caller, address, gateways } = stage;
    let [plain, replaced, e164, no_plus, _, open, _] = gateways.each_ref().map(Peer::address);
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
        let (received, _) = refused_call(caller, gateway, &invite);
        let line = received.text().lines().next().unwrap_or_default();
        assert_eq!(line, format!("INVITE {wanted} SIP/2.0"), "of {uri}");
    }
    // Nothing left behind the tech prefix, and no number at all.
    for (user, code) in [(TECH_PREFIX_DIALLED, 484), ("alice", 404)] {
        let invite = caller.request("INVITE", "").line(&format!("INVITE {} SIP/2.0", dialled(user)));
        assert_eq!(caller.ask(&invite).code(), Some(code), "of {user}");
    }
    assert!(gateways[4].nothing_came(), "a route outside its time window is not there");
    rows.len() as u64
}

/// RFC 3323, RFC 3325 and `from_host`: what a gateway learns of the caller, who in the refusal sees himself as he was.
fn callers_are_named_to_whom_they_may(stage: &Stage) -> u64 {
    let Stage { caller, gateways, .. } = stage;
    let (plain, untrusted) = (&gateways[0], &gateways[6]);
    // Who calls whom, asking for privacy or not: whether the assertion arrives, and the From.
    let own = format!("<sip:peer@{}>", caller.address());
    let hosted = format!("<sip:peer@{FROM_HOST}>");
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    let rows = [
        ("4912345", plain, true, true, own.as_str()),
        ("3612345", untrusted, false, true, hosted.as_str()),
        ("3612345", untrusted, true, false, anonymous),
        ("884912345", plain, false, false, own.as_str()),
        ("883612345", untrusted, true, false, anonymous),
    ];
    for (number, gateway, private, asserted, from) in rows {
        let invite = caller.request("INVITE", number).add(ASSERTED);
        let invite = if private { invite.add(PRIVACY) } else { invite };
        let (received, refusal) = refused_call(caller, gateway, &invite);
        let what = format!("{number}, private: {private}\n{}", received.text());
        assert_eq!(received.header("P-Asserted-Identity").is_some(), asserted, "{what}");
        assert_eq!(received.header("Privacy").is_some(), private, "{what}");
        let shown = received.header("From").unwrap_or_default();
        assert_eq!(shown.split(";tag=").next(), Some(from), "{what}");
        assert_eq!(refusal.header("From").and_then(|from| from.split(";tag=").next()), Some(own.as_str()), "{what}");
    }
    rows.len() as u64
}

/// To the end of the dialog each side sees the caller under the name that it knows.
fn each_side_goes_on_seeing_the_caller_as_it_knows_him(stage: &Stage) {
    let (caller, gateway) = (&stage.caller, &stage.gateways[6]);
    let invite = caller.request("INVITE", "3612345");
    caller.send(invite.text());
    let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
    gateway.send(received.answer("200 OK", gateway.address()));
    let dialog = caller.answered(invite);
    let acknowledged = gateway.receive_request(dialog.call_id(), "ACK", 1);
    assert_eq!(acknowledged.header("From"), received.header("From"), "{}", acknowledged.text());
    let bye = gateway.request_within(&received, "BYE", 1);
    gateway.send(bye.text());
    let hung_up = caller.receive_request(dialog.call_id(), "BYE", 1);
    let own = format!("<sip:peer@{}>", caller.address());
    assert!(hung_up.header("To").is_some_and(|to| to.starts_with(&own)), "{}", hung_up.text());
    caller.send(hung_up.answer("200 OK", caller.address()));
    let answer = gateway.receive_final(&bye);
    assert_eq!(answer.header("To"), received.header("From"), "{}", answer.text());
}
