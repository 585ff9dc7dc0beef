//! The stage of a flow: user agents that are text, one or two Corelanes between them, and messages that are compared line by line.
//!
//! ```text
//!   sends(ALICE, …)  ──►  Corelane  ──► wire ──►  gets(BOB, …)       the next message to Bob, compared as a whole
//!                            │                    gets(P2, …)        compared, and handed on to the second Corelane
//!                            └──────────────────► answers(BOB, …)    Bob's response to what he got
//! ```
//!
//! What is sent and expected a flow's figure says ([`figure`](super::figure)).
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

use super::figure::Play;
use crate::world::{Sent, World, endpoint, response, settings};

/// Who is where. All but Alice are gateways in our eyes, where they are no Corelane.
const HOSTS: [(&str, &str); 7] = [
    ("alice", "192.0.2.101:5060"),
    ("p1", "10.0.0.1:5060"),
    ("p2", "10.0.0.2:5060"),
    ("bob", "192.0.2.201:5060"),
    ("moved", "192.0.2.202:5060"),
    ("first", "198.51.100.1:5060"),
    ("second", "198.51.100.2:5060"),
];

/// The address of a host.
pub(super) fn address(host: &str) -> &'static str {
    let known = HOSTS.iter().find(|(name, _)| *name == host);
    known.map(|(_, address)| *address).unwrap_or_else(|| panic!("nobody is called {host}"))
}

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
    pub(super) play: Play,
    /// The row of the figure that is played.
    pub(super) row: String,
    /// Where Bob is reached within the dialog.
    pub(super) target: String,
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
        let gateways: Vec<&str> = gateways.iter().map(|host| address(host)).collect();
        Stage::with(vec![place(address("p1"), address("alice"), &gateways)])
    }

    /// Alice, two Corelanes, Bob.
    pub(super) fn two() -> Stage {
        let [alice, p1, p2, bob] = ["alice", "p1", "p2", "bob"].map(address);
        Stage::with(vec![place(p1, alice, &[p2]), place(p2, p1, &[bob])])
    }

    /// Whether a host of this stage is a Corelane.
    pub(super) fn is_corelane(&self, host: &str) -> bool {
        self.places.iter().any(|(place, _)| *place == address(host))
    }

    fn with(places: Vec<(&'static str, World)>) -> Stage {
        let mut stage = Stage {
            places,
            wire: VecDeque::new(),
            names: BTreeMap::new(),
            met: BTreeMap::new(),
            requests: BTreeMap::new(),
            play: Play::default(),
            row: String::new(),
            target: "sip:bob@192.0.2.201".into(),
        };
        let (alice, bob) = ("Alice <sip:alice@atlanta.example.com>", "Bob <sip:+4930123456@biloxi.example.com>");
        let (from, to) = (format!("From: {alice};tag=alice-1"), format!("To: {bob}"));
        let id = "Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com";
        stage.name("call", &format!("{from}\n{to}\n{id}"));
        stage.name("dialog", &format!("{from}\n{to};tag=bob-1\n{id}"));
        stage.name("reversed", &format!("From: {bob};tag=bob-1\nTo: {alice};tag=alice-1\n{id}"));
        for (name, text) in [("from", from.as_str()), ("to", &to), ("id", id)] {
            stage.name(name, text);
        }
        stage
    }

    /// Gives text a name.
    fn name(&mut self, name: &str, text: &str) {
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

    /// The next message to `to` is this one, line by line. A Corelane gets it then.
    pub(super) fn gets(&mut self, to: &str, expected: &str) {
        let at = self.wire.iter().position(|packet| packet.sent.to == to);
        let packet = at.and_then(|at| self.wire.remove(at));
        let packet = packet.unwrap_or_else(|| panic!("{}: nothing came for {to}, expected:\n{expected}", self.row));
        let (head, body) = packet.sent.text.split_once("\r\n\r\n").expect("a head");
        let came: Vec<String> =
            head.lines().filter(|line| !line.starts_with("Content-Length:")).map(str::to_owned).collect();
        let (expected_head, expected_body) = self.fill(expected);
        let lines: Vec<&str> = expected_head.lines().collect();
        let matched = came.len() == lines.len() && came.iter().zip(&lines).all(|(came, line)| self.matches(came, line));
        assert!(matched, "{}: {to} got\n{}\nand expected was\n{expected_head}", self.row, came.join("\n"));
        assert_eq!(body.replace("\r\n", "\n"), expected_body, "{}: the body", self.row);
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
