//! The stage of a flow: user agents that are text, one or two Corelanes between them, and messages that are compared line by line.
//!
//! ```text
//!   sends("alice", "…")  ──►  Corelane  ──► wire ──►  gets("bob", "…")     the next message to Bob, compared as a whole
//!                                │                    gets(P2, "…")        compared, and handed on to the second Corelane
//!                                └──────────────────► answers("bob", …)    Bob's response to what he got
//! ```
//!
//! A `{name}` stands for text: it is bound where it is first met in a message that came, and must be the same from then on. So a
//! branch, a token or a tag is named once and followed through the flow, and no two names are the same thing. `Content-Length` is the one
//! line that is not compared.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use corelane_core::Settings;
use corelane_core::engine::Listener;
use corelane_core::routing::ListenerSlot;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::siphash::Key;
use corelane_core::steering::Steering;

use crate::world::{Sent, World, endpoint, response, settings};

/// Alice's address.
pub(super) const ALICE: &str = "192.0.2.101:5060";
/// Bob's, a gateway in our eyes.
pub(super) const BOB: &str = "192.0.2.201:5060";
/// The first Corelane.
pub(super) const P1: &str = "10.0.0.1:5060";
/// The second one.
pub(super) const P2: &str = "10.0.0.2:5060";

struct Packet {
    from: String,
    sent: Sent,
}

/// The stage.
pub(super) struct Stage {
    places: Vec<(&'static str, World)>,
    wire: VecDeque<Packet>,
    names: BTreeMap<String, String>,
    /// What was met in messages, with its name.
    met: BTreeMap<String, String>,
    /// The last request of each method that somebody got, and who sent it.
    requests: BTreeMap<(String, String), Packet>,
}

/// A Corelane at `address` with one provider and these gateways, one after the other.
fn place(address: &'static str, provider: &str, gateways: &[&str]) -> (&'static str, World) {
    let listener = Listener {
        slot: ListenerSlot(0),
        bound: endpoint(address),
        advertised: address.try_into().expect("a short address"),
    };
    // Two nodes have two secrets: none reads the other's tokens.
    let mut secret = *b"0123456789abcdef";
    secret[..address.len()].copy_from_slice(address.as_bytes());
    let secret = Key::new(secret);
    let steering = Steering::even(secret, 1);
    let settings = Settings { listeners: [listener].into_iter().collect(), secret, steering, ..settings() };
    (address, World::with(settings).with_routing(routes(address, provider, gateways)))
}

fn routes(address: &str, provider: &str, gateways: &[&str]) -> ImageBytes {
    let host = |address: &str| address.split(':').next().expect("a host").to_owned();
    let mut builder = Builder::new();
    builder.listener(address);
    let slot = builder.provider("atlanta", 1);
    builder.address(slot, &host(provider));
    let ordered: Vec<_> =
        (1..).zip(gateways).map(|(order, gateway)| (builder.gateway(gateway, gateway), order, 0)).collect();
    let carrier = builder.carrier_weighted("biloxi", &ordered);
    builder.route(1, "49", carrier);
    builder.finish()
}

/// The lines with a Content-Length, and the body, as they are on the wire.
fn with_body(lines: &str, body: &str) -> String {
    let (lines, body) = (lines.replace('\n', "\r\n"), body.replace('\n', "\r\n"));
    format!("{lines}Content-Length: {}\r\n\r\n{body}", body.len())
}

impl Stage {
    /// Alice, one Corelane, and who it calls.
    pub(super) fn one(gateways: &[&str]) -> Stage {
        Stage::with(vec![place(P1, ALICE, gateways)])
    }

    /// Alice, two Corelanes, Bob.
    pub(super) fn two() -> Stage {
        Stage::with(vec![place(P1, ALICE, &[P2]), place(P2, P1, &[BOB])])
    }

    fn with(places: Vec<(&'static str, World)>) -> Stage {
        let mut stage = Stage {
            places,
            wire: VecDeque::new(),
            names: BTreeMap::new(),
            met: BTreeMap::new(),
            requests: BTreeMap::new(),
        };
        let call =
            "From: Alice <sip:alice@atlanta.example.com>;tag=alice-1\nTo: Bob <sip:+4930123456@biloxi.example.com>";
        let call_id = "Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com";
        stage.name("call", &format!("{call}\n{call_id}"));
        stage.name("dialog", &format!("{call};tag=bob-1\n{call_id}"));
        stage
    }

    /// Gives text a name.
    pub(super) fn name(&mut self, name: &str, text: &str) {
        self.names.insert(name.into(), text.into());
    }

    /// A user agent sends a message to a Corelane.
    pub(super) fn sends(&mut self, from: &str, to: &str, message: &str) {
        let (head, body) = self.fill(message);
        self.deliver(from, to, &with_body(&head, &body));
    }

    /// A user agent answers the last request of this method that it got, with lines and a body of its own.
    pub(super) fn answers(&mut self, from: &str, method: &str, status: &str, rest: &str) {
        let key = (from.to_owned(), method.to_owned());
        let packet = self.requests.get(&key).unwrap_or_else(|| panic!("{from} got no {method}"));
        let code = status[..3].parse().expect("a status");
        let tag = if code == 100 { "" } else { "bob-1" };
        let text = response(&packet.sent, code, tag, &[]).replacen(&format!("{code} Whatever"), status, 1);
        let to = packet.from.clone();
        let (lines, body) = self.fill(rest);
        let text = text.replacen("Content-Length: 0\r\n\r\n", &with_body(&lines, &body), 1);
        self.deliver(from, &to, &text);
    }

    /// Alice's INVITE with these last lines (and body) at the first Corelane, its 100, and the INVITE as `gateway` gets it: under
    /// `{branch}` and `{token}`.
    pub(super) fn invites(&mut self, gateway: &str, rest: &str) {
        self.name("rest", rest);
        self.name("gateway", gateway);
        self.sends(
            ALICE,
            P1,
            "INVITE sip:+4930123456@10.0.0.1 SIP/2.0
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
             Max-Forwards: 70
             {call}
             CSeq: 1 INVITE
             {rest}",
        );
        self.gets(
            ALICE,
            "SIP/2.0 100 Trying
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
             {call}
             CSeq: 1 INVITE",
        );
        self.gets(
            gateway,
            "INVITE sip:+4930123456@{gateway} SIP/2.0
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
             Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
             Max-Forwards: 69
             Max-Breadth: 60
             {call}
             CSeq: 1 INVITE
             {rest}",
        );
    }

    /// `gateway` answers the INVITE, and Alice gets that with our Via off and nothing else changed.
    pub(super) fn answer_reaches_alice(&mut self, gateway: &str, status: &str, rest: &str) {
        self.answers(gateway, "INVITE", status, rest);
        self.alice_gets_answer(status, rest);
    }

    /// Alice gets the answer to her INVITE.
    pub(super) fn alice_gets_answer(&mut self, status: &str, rest: &str) {
        self.name("status", status);
        self.name("rest", rest);
        self.gets(
            ALICE,
            "SIP/2.0 {status}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
             Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
             {dialog}
             CSeq: 1 INVITE
             {rest}",
        );
    }

    /// Alice's request inside the dialog as she sends it and as `gateway` gets it, under a branch named as the method.
    pub(super) fn alice_sends(&mut self, gateway: &str, method: &str, number: u32, rest: &str) {
        self.name("method", method);
        self.name("number", &number.to_string());
        self.name("rest", rest);
        self.sends(
            ALICE,
            P1,
            "{method} sip:bob@192.0.2.201 SIP/2.0
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-{method}-{number}
             Max-Forwards: 70
             Route: <sip:10.0.0.1:5060;lr;cl={token}>
             {dialog}
             CSeq: {number} {method}
             {rest}",
        );
        let expected = "{method} sip:bob@192.0.2.201 SIP/2.0
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch={own}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-{method}-{number}
             Max-Forwards: 69
             Max-Breadth: 60
             {dialog}
             CSeq: {number} {method}
             {rest}";
        self.gets(gateway, &expected.replace("{own}", &format!("{{{method}-{number}}}")));
    }

    /// The next message to `to` is this one, line by line. A Corelane gets it then.
    pub(super) fn gets(&mut self, to: &str, expected: &str) {
        let at = self.wire.iter().position(|packet| packet.sent.to == to);
        let packet = at.and_then(|at| self.wire.remove(at));
        let packet = packet.unwrap_or_else(|| panic!("nothing came for {to}, expected:\n{expected}"));
        let (head, body) = packet.sent.text.split_once("\r\n\r\n").expect("a head");
        let came: Vec<String> =
            head.lines().filter(|line| !line.starts_with("Content-Length:")).map(str::to_owned).collect();
        let (expected_head, expected_body) = self.fill(expected);
        let lines: Vec<&str> = expected_head.lines().collect();
        let matched = came.len() == lines.len() && came.iter().zip(&lines).all(|(came, line)| self.matches(came, line));
        assert!(matched, "{to} got\n{}\nand expected was\n{expected_head}", came.join("\n"));
        assert_eq!(body.replace("\r\n", "\n"), expected_body, "the body");
        let start = packet.sent.start_line().to_owned();
        if self.places.iter().any(|(address, _)| *address == to) {
            self.deliver(&packet.from, to, &packet.sent.text);
        } else if !start.starts_with("SIP/2.0") {
            let method = start.split(' ').next().expect("a method").to_owned();
            self.requests.insert((to.to_owned(), method), packet);
        }
    }

    /// Nobody gets anything more.
    pub(super) fn silence(&self) {
        let left: Vec<String> =
            self.wire.iter().map(|packet| format!("{} {}", packet.sent.to, packet.sent.start_line())).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Time passes everywhere.
    pub(super) fn passes(&mut self, span: Duration) {
        for (address, world) in &mut self.places {
            for sent in world.advance(span) {
                self.wire.push_back(Packet { from: (*address).into(), sent });
            }
        }
    }

    /// The world of the first Corelane.
    pub(super) fn first(&mut self) -> &mut World {
        &mut self.places[0].1
    }

    /// The flow is over: nothing is on its way, every call has ended, and no Corelane holds anything.
    pub(super) fn over(mut self) {
        self.silence();
        for (address, world) in &mut self.places {
            assert_eq!(world.count(corelane_core::Counter::CallsLive), 0, "calls at {address}");
            world.settle();
        }
    }

    fn deliver(&mut self, from: &str, to: &str, text: &str) {
        let place = self.places.iter_mut().find(|(address, _)| *address == to).expect("a Corelane");
        for sent in place.1.deliver(from, text) {
            self.wire.push_back(Packet { from: to.into(), sent });
        }
    }

    /// Head and body of a message as it stands in a test, its names filled in as far as they are known.
    fn fill(&self, message: &str) -> (String, String) {
        let mut filled: String = message.trim().lines().map(str::trim_start).fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        });
        for (name, text) in &self.names {
            filled = filled.replace(&format!("{{{name}}}"), text);
        }
        let filled = filled.lines().map(str::trim_start).collect::<Vec<_>>().join("\n") + "\n";
        match filled.split_once("\n\n") {
            Some((head, body)) if !body.trim().is_empty() => (format!("{head}\n"), body.to_owned()),
            Some((head, _)) => (format!("{}\n", head.trim_end()), String::new()),
            None if filled.trim().is_empty() => (String::new(), String::new()),
            None => (filled, String::new()),
        }
    }

    /// Compares a line; a name that is met for the first time is bound.
    fn matches(&mut self, came: &str, line: &str) -> bool {
        let Some((before, rest)) = line.split_once('{') else { return came == line };
        let (name, after) = rest.split_once('}').expect("a name ends");
        let Some(value) = came.strip_prefix(before) else { return false };
        let end = after.find('{').map_or(after, |next| &after[..next]);
        let length = if end.is_empty() { Some(value.len()) } else { value.find(end) };
        let Some(length) = length else { return false };
        let met = value[..length].to_owned();
        if before.ends_with(";branch=") {
            assert!(met.starts_with("z9hG4bK"), "RFC 3261 §8.1.1.7: {met}");
        }
        // One branch, token or tag is not another one.
        let twice = self.met.insert(met.clone(), name.into());
        assert!(twice.is_none(), "{met} is {name} and {twice:?}");
        self.names.insert(name.into(), met);
        self.matches(&value[length..], after)
    }
}
