//! RFC 4475 and RFC 5118 as a provider sends them: what Corelane answers, sends on, or leaves unanswered. That they parse is
//! `tests/message`; here is what the engine makes of them.
//!
//! Corelane is a proxy that serves numbers: it answers OPTIONS itself, has no registrar (405), and passes an INVITE of which the RFC says that
//! a proxy should, with its faults in what only a UAS reads. The users of these messages are no numbers: where one is to pass, a
//! number is put into its Request-URI and nothing else is touched.

#[path = "../message/torture_4475/refused.rs"]
mod refused;
#[path = "../message/torture_4475/valid.rs"]
mod valid;

use corelane_core::Counter;
use corelane_core::message::ParseError;
use corelane_core::routing::build::{Builder, ImageBytes};

use super::world::{CALLER, GATEWAY, Sent, World, ladder, response};

/// What becomes of a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Outcome {
    /// This status.
    Answered(u16),
    /// To the gateway, as it came but for what a proxy changes.
    Passed,
    /// Nothing.
    Silence,
}
use Outcome::{Answered, Passed, Silence};

/// Of each well-formed message of RFC 4475: what becomes of it, and what the RFC says.
const OUTCOMES: [(&str, Outcome, &str); 27] = [
    ("wsinv", Answered(481), "well-formed; its To tag names a dialog that is not there (RFC 3261 §12.2.2)"),
    ("intmeth", Answered(405), "a method that nobody knows: 405 or 501"),
    ("esc01", Passed, "well-formed; escapes stay as they are"),
    ("escnull", Answered(405), "well-formed; no registrar here"),
    ("esc02", Answered(405), "RE%47IST%45R is not REGISTER: an unknown method"),
    ("lwsdisp", Answered(200), "well-formed"),
    ("dblreq", Answered(405), "one request; what follows in the datagram is dropped"),
    ("semiuri", Answered(200), "well-formed"),
    ("transports", Answered(200), "well-formed; foreign transports are not on top"),
    ("unreason", Silence, "a response that matches no transaction (RFC 6026 §8.9)"),
    ("noreason", Silence, "the same"),
    ("baddate", Passed, "an element may refuse it with 400, or ignore the Date: a proxy does not read it"),
    ("regbadct", Answered(405), "400 of a registrar; there is none"),
    ("badbranch", Answered(200), "the cookie alone is no branch: matched as RFC 2543 has it"),
    ("unkscm", Answered(416), "416"),
    ("novelsc", Answered(416), "416"),
    ("unksm2", Answered(405), "404 or 400 of a registrar; there is none"),
    ("bext01", Answered(420), "420, with Unsupported"),
    ("invut", Passed, "415 of a UAS; a proxy does not read the body"),
    ("regaut01", Answered(405), "as if it had no Authorization; no registrar here"),
    ("bcast", Silence, "our Via is not on top: it is dropped, and never sent to 255.255.255.255"),
    ("zeromf", Answered(200), "483 of a proxy that would pass it; who answers OPTIONS himself may (RFC 3261 §11.2)"),
    ("cparam01", Answered(405), "well-formed; no registrar here"),
    ("cparam02", Answered(405), "well-formed; no registrar here"),
    ("regescrt", Answered(405), "well-formed; no registrar here"),
    ("sdp01", Passed, "406 of a UAS; a proxy does not read Accept"),
    ("inv2543", Answered(400), "an implementation may refuse who gives no tag; docs/rfc-exceptions.md"),
];

fn image() -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let acme = builder.provider("acme", 1);
    builder.address(acme, "192.0.2.10").address(acme, "2001:db8::/32");
    let gateway = builder.gateway("near", GATEWAY);
    let carrier = builder.carrier("near", &[gateway]);
    builder.route(1, "49", carrier);
    builder.finish()
}

/// A message of the RFC, written with LF for readability, as it goes over the wire.
fn wire(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// The same with a number in its Request-URI.
fn dialled(text: &str) -> String {
    let (first, rest) = text.split_once("\r\n").expect("a first line");
    let [method, uri, version] = first.split(' ').collect::<Vec<_>>()[..] else { panic!("{first}") };
    let host = uri.split_once('@').expect("a user").1;
    format!("{method} sip:4930123456@{host} {version}\r\n{rest}")
}

/// Header lines, folds as they are, and body; without what a proxy writes or takes off.
fn kept(text: &str) -> (Vec<String>, String) {
    let (head, body) = text.split_once("\r\n\r\n").expect("an end of the head");
    let unfolded = head.replace("\r\n ", "\u{1}").replace("\r\n\t", "\u{2}");
    let of_ours = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["via", "v", "max-forwards", "max-breadth", "record-route"].contains(&name.as_str())
    };
    (unfolded.split("\r\n").skip(1).filter(|line| !of_ours(line)).map(str::to_owned).collect(), body.to_owned())
}

/// Delivers a message and says what became of it.
fn outcome(world: &mut World, peer: &str, text: &str) -> (Outcome, Vec<Sent>) {
    let sent = world.deliver(peer, text);
    let outcome = match sent.as_slice() {
        [] => Silence,
        [hundred, invite] if hundred.status() == 100 && invite.to == GATEWAY => {
            let ((came, body), (left, passed)) = (kept(text), kept(&invite.text));
            assert_eq!(left, came, "the lines that are not a proxy's");
            // Without Content-Length it is counted.
            assert_eq!(passed, body);
            // The gateway's answer is not compact.
            let asked = Sent { text: invite.text.replace("\r\ni: ", "\r\nCall-ID: "), ..invite.clone() };
            world.deliver(GATEWAY, &response(&asked, 486, "busy", &[]));
            Passed
        }
        [answer] => Answered(answer.status()),
        _ => panic!("{:?}", ladder(&sent)),
    };
    (outcome, sent)
}

/// RFC 4475: what parses.
#[test]
fn well_formed_torture_messages() {
    assert_eq!(valid::PARSES.map(|(_, name, _)| name), OUTCOMES.map(|(name, ..)| name), "each has an outcome");
    for ((section, name, text), (_, expected, says)) in valid::PARSES.into_iter().zip(OUTCOMES) {
        let mut world = World::routed_by(image());
        let text = if expected == Passed { dialled(&wire(text)) } else { wire(text) };
        let (became, sent) = outcome(&mut world, CALLER, &text);
        assert_eq!(became, expected, "§{section} {name}: {says}");
        let first = sent.first();
        assert!(first.is_none_or(|sent| sent.to.starts_with("192.0.2.10:")), "§{section}: to who asked");
        match (expected, name) {
            (Answered(405), _) => assert!(sent[0].header("Allow").contains("INVITE"), "§{section}"),
            (Answered(420), _) => {
                let unsupported = sent[0].headers("Unsupported");
                let expected = [
                    "noProxiesSupportThis",
                    "norDoAnyProxiesSupportThis",
                    "nothingSupportsThis",
                    "nothingSupportsThisEither",
                ];
                assert_eq!(unsupported, expected, "§{section}");
            }
            _ => {}
        }
        world.settle();
    }
}

/// RFC 4475: what does not parse is answered 400, or 505, where the answer could be written: it repeats Via, From, To, Call-ID and CSeq.
#[test]
fn malformed_torture_messages() {
    for (section, name, error, answerable, text) in refused::REFUSED {
        let mut world = World::routed_by(image());
        let (became, _) = outcome(&mut world, CALLER, &wire(text));
        let status = if error == ParseError::Version { 505 } else { 400 };
        assert_eq!(became, if answerable { Answered(status) } else { Silence }, "§{section} {name}");
        assert_eq!(world.count(Counter::ParseErrors), 1, "§{section} {name}");
        assert_eq!(world.count(Counter::CallsStarted), 0);
        world.settle();
    }
}

/// RFC 5118: a peer over IPv6.
#[test]
fn torture_messages_of_ipv6() {
    const PEER: &str = "[2001:db8::9:1]:5060";
    const VIA: &str = "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\n";
    let register = |uri: &str, via: &str| {
        wire(&format!(
            "REGISTER {uri} SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\n{via}\
             Call-ID: SSG9559905523997077@hlau_4100\nMax-Forwards: 70\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\n\
             CSeq: 98176 REGISTER\nContent-Length: 0\n\n"
        ))
    };
    let bye = |via: &str| register("sip:user@example.com", via).replace("REGISTER", "BYE");
    let invite = |sdp: &str| {
        let sdp = wire(sdp);
        let head = wire(&format!(
            "INVITE sip:user@[2001:db8::10] SIP/2.0\nTo: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=81x2\n{VIA}\
             Call-ID: SSG9559905523997077@hlau_4100\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 8612 INVITE\n\
             Max-Forwards: 70\nContent-Type: application/sdp\nContent-Length: {}\n\n",
            sdp.len()
        ));
        dialled(&(head + &sdp))
    };
    let one_family = "v=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed for today's meeting\n\
                      c=IN IP6 2001:db8::20\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n\
                      m=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n";
    let both_families = "v=0\no=bob 280744730 28977631 IN IP4 host.example.com\ns=\nt=0 0\nm=audio 22334 RTP/AVP 0\n\
                         c=IN IP4 192.0.2.1\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n";
    let received = |ip: &str| format!("Via: SIP/2.0/UDP [2001:db8::9:1];received={ip};branch=z9hG4bKas3-111\n");
    let several = format!(
        "{VIA}Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\n\
         Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\n"
    );
    let mapped = "Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\n\
                  Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\n";
    for (section, text, expected) in [
        ("4.1", register("sip:[2001:db8::10]", VIA), Answered(405)),
        ("4.2", register("sip:2001:db8::10", VIA), Answered(400)),
        ("4.3", register("sip:[2001:db8::10:5070]", VIA), Answered(405)),
        ("4.4", register("sip:[2001:db8::10]:5070", VIA), Answered(405)),
        ("4.5", bye(&received("[2001:db8::9:255]")), Answered(481)),
        ("4.5", bye(&received("2001:db8::9:255")), Answered(481)),
        ("4.6", invite(one_family), Passed),
        ("4.7", bye(&several), Answered(481)),
        ("4.8", invite(both_families), Passed),
        ("4.9", bye(mapped), Answered(481)),
        ("4.10", register("sip:user@[2001:db8:::192.0.2.1]", VIA), Answered(405)),
        ("4.10", register("sip:user@[2001:db8::192.0.2.1]", VIA), Answered(405)),
    ] {
        let mut world = World::routed_by(image());
        let (became, sent) = outcome(&mut world, PEER, &text);
        assert_eq!(became, expected, "§{section}");
        let port = if section == "4.9" { 19_823 } else { 5_060 };
        assert_eq!(sent[0].to, format!("[2001:db8::9:1]:{port}"), "§{section}: where it came from, whatever Via says");
        world.settle();
    }
}
