//! One engine, a clock and peers that are text: what a test sends and what comes out.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corelane_core::admission::{Caps, CapsSize};
use corelane_core::call::CallRecord;
use corelane_core::counter::LEDGER;
use corelane_core::engine::{Budget, Listener, Timers, UnknownSource};
use corelane_core::routing::build::ImageBytes;
use corelane_core::routing::{Image, ListenerSlot};
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{
    Counter, Effect, Effects, Endpoint, Engine, Flow, Input, Instant, ListenerIndex, Now, Settings, Transport, WallTime,
};

/// The provider's address, known to the image.
pub(crate) const CALLER: &str = "192.0.2.10:5060";
/// The gateway that every number starting with 49 goes to.
pub(crate) const GATEWAY: &str = "198.51.100.20:5060";
/// A gateway that is bound to the second listener; numbers starting with 43.
pub(crate) const FAR_GATEWAY: &str = "198.51.100.30:5080";
/// An address that nobody knows.
pub(crate) const STRANGER: &str = "203.0.113.66:5060";

/// A datagram that the engine asked to send.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to: String,
    pub(crate) listener: u8,
    pub(crate) text: String,
}

impl Sent {
    pub(crate) fn start_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// All values of a header, one per line.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.text
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or_else(|| panic!("no {name} in\n{}", self.text))
    }

    pub(crate) fn status(&self) -> u16 {
        self.start_line()
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("no response: {}", self.start_line()))
    }
}

/// The world of one test.
pub(crate) struct World {
    engine: Box<Engine>,
    image: ImageBytes,
    now: Now,
    /// Buffers that the network has not taken yet: released only at [`World::settle`].
    unreleased: Vec<corelane_core::BufferRef>,
    caps: Arc<Caps>,
    /// What share of whose new calls was to reach the engine.
    pub(crate) shares: Vec<(IpAddr, u16)>,
    /// The records of the calls that ended.
    pub(crate) records: Vec<CallRecord>,
    /// The control core, as far as media nodes go: `None` answers nobody.
    pub(crate) node: Option<super::media::node::Node>,
    /// Wishes that it has not answered.
    pub(crate) wishes: VecDeque<super::media::node::Wish>,
    /// Keep buffers until the end, as a slow ring would.
    pub(crate) slow_ring: bool,
}

pub(crate) fn settings() -> Settings {
    let secret = Key::new(*b"0123456789abcdef");
    let timers = Timers::default();
    let listener = |slot, address: &str| Listener {
        slot: ListenerSlot(slot),
        bound: endpoint(address),
        advertised: address.try_into().expect("short"),
    };
    Settings {
        shard: ShardIndex(0),
        steering: Steering::even(secret, 1),
        listeners: [listener(0, "10.0.0.1:5060"), listener(1, "10.0.1.1:5070")].into_iter().collect(),
        secret,
        seed: 42,
        timers,
        unknown_source: UnknownSource::Drop,
        policy: corelane_core::engine::Policy::default(),
        budget: Budget::for_shard(100, 10, 1, &timers),
        caps: Arc::new(Caps::new(CapsSize { providers: 64, carriers: 64, gateways: 64, addresses: 64 })),
    }
}

pub(crate) fn endpoint(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>().expect("an address").into()
}

impl World {
    pub(crate) fn new() -> World {
        World::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> World {
        let now = Now { monotonic: Instant::from_micros(1_000_000), wall: WallTime(1_800_000_000_000_000) };
        let caps = Arc::clone(&settings.caps);
        let engine = Engine::new(settings, now.monotonic);
        World {
            engine,
            image: super::image::image(),
            now,
            unreleased: Vec::new(),
            caps,
            shares: Vec::new(),
            records: Vec::new(),
            node: None,
            wishes: VecDeque::new(),
            slow_ring: false,
        }
    }

    /// Another routing image than that of most tests.
    pub(crate) fn routed_by(image: ImageBytes) -> World {
        World { image, ..World::new() }
    }

    /// A datagram from `peer` arrives at the first listener.
    pub(crate) fn deliver(&mut self, peer: &str, text: &str) -> Vec<Sent> {
        self.deliver_to(0, peer, text.as_bytes())
    }

    pub(crate) fn deliver_to(&mut self, listener: u8, peer: &str, bytes: &[u8]) -> Vec<Sent> {
        let flow = Flow { peer: endpoint(peer), listener: ListenerIndex(listener), transport: Transport::Udp };
        let received_at = self.now.monotonic;
        self.handle(Input::Datagram { flow, received_at, bytes, truncated: false, handed_over: None })
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) -> Vec<Sent> {
        let image = Image::open(&self.image).expect("the test's image opens");
        let mut effects = Effects::new();
        self.engine.handle(self.now, &image, input, &mut effects);
        let mut sent: Vec<Sent> = effects.into_iter().filter_map(|effect| self.accept(effect)).collect();
        self.engine.audit(self.unreleased.iter().copied()).expect("the audit after each step");
        assert_eq!(self.engine.holds(), self.caps.held(), "what records hold of caps, and what these count");
        // A node that is not held answers before anything else comes.
        if self.node.as_ref().is_some_and(|node| !node.held)
            && let Some(wish) = self.wishes.pop_front()
        {
            sent.extend(self.reply(&wish));
        }
        sent
    }

    fn accept(&mut self, effect: Effect) -> Option<Sent> {
        if let Effect::Ended(record) = effect {
            self.records.push(record);
        }
        if let Effect::Shed { source, pass } = effect {
            self.shares.push((source, pass));
        }
        if let Effect::Media { buffer } = effect {
            let wish = super::media::node::Wish::read(self.engine.buffer(buffer));
            // What a node does for it now is never deleted: the deletes of a record are paid once (I9).
            let over = |record: &CallRecord| (record.call_hash, record.pass) == (wish.call.call_hash, wish.call.pass);
            assert!(!self.records.iter().any(over), "{} of a call that has ended", wish.word());
            self.wishes.push_back(wish);
            self.engine.release(buffer);
        }
        let Effect::Send { flow, buffer } = effect else { return None };
        let text = String::from_utf8(self.engine.buffer(buffer).to_vec()).expect("text in tests");
        // What a refusal describes is neither offer nor answer (RFC 3261 §21.4.26).
        let refusal = text.starts_with("SIP/2.0 ") && text.as_bytes()[8] >= b'3';
        // Nor is what stands where there are none (RFC 6337 §2.1).
        let exchanges =
            ["INVITE", "UPDATE", "PRACK", "ACK"].iter().any(|method| text.contains(&format!(" {method}\r\n")));
        if self.node.is_some() && exchanges && !refusal {
            assert!(!text.contains(super::media::node::ENDPOINT), "I2: an endpoint's own SDP leaves:\n{text}");
        }
        if self.slow_ring {
            self.unreleased.push(buffer);
        } else {
            self.engine.release(buffer);
        }
        Some(Sent { to: flow.peer.to_string(), listener: flow.listener.0, text })
    }

    /// The clocks.
    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// The record of the call that ended last.
    pub(crate) fn last_record(&self) -> CallRecord {
        *self.records.last().expect("a call has ended")
    }

    /// The same world with other routing.
    pub(crate) fn with_routing(mut self, image: ImageBytes) -> World {
        self.image = image;
        self
    }

    /// Time passes; everything that timers send comes out in order.
    pub(crate) fn advance(&mut self, span: Duration) -> Vec<Sent> {
        let until = self.now.monotonic.after(span);
        let mut sent = Vec::new();
        while let Some(next) = self.engine.next_timeout().filter(|next| *next <= until) {
            if next > self.now.monotonic {
                self.step_to(next);
            }
            let before = sent.len();
            sent.extend(self.handle(Input::Timeout));
            if sent.len() == before && self.engine.next_timeout() == Some(next) && next <= self.now.monotonic {
                self.step_to(next.after(Duration::from_millis(1)).min(until));
            }
            if self.now.monotonic >= until && self.engine.next_timeout().is_none_or(|next| next > until) {
                break;
            }
        }
        self.step_to(until);
        sent.extend(self.handle(Input::Timeout));
        sent
    }

    fn step_to(&mut self, at: Instant) {
        let span = at.since(self.now.monotonic);
        self.now.monotonic = self.now.monotonic.max(at);
        self.now.wall.0 += u64::try_from(span.as_micros()).expect("short");
    }

    pub(crate) fn count(&mut self, counter: Counter) -> u64 {
        self.engine.counters().value(counter)
    }

    /// Calls that are counted at providers, carriers and gateways with caps.
    pub(crate) fn holds(&self) -> [u64; 3] {
        self.caps.held()
    }

    /// The network takes all that it was given.
    pub(crate) fn drain(&mut self) {
        self.slow_ring = false;
        for buffer in std::mem::take(&mut self.unreleased) {
            self.engine.release(buffer);
        }
    }

    /// Lets every timer run out and says that nothing is left.
    pub(crate) fn settle(&mut self) {
        self.advance(Duration::from_secs(3600));
        self.drain();
        for gauge in [
            Counter::CallsLive,
            Counter::CallRecordsLive,
            Counter::ServerTransactionsLive,
            Counter::ClientTransactionsLive,
            Counter::ExchangesLive,
            Counter::BuffersLive,
            Counter::TimersLive,
        ] {
            assert_eq!(self.count(gauge), 0, "{gauge:?} after everything ended");
        }
        assert_eq!(self.count(Counter::CallsStarted), self.count(Counter::CallsEnded));
        assert_eq!(self.count(Counter::CallsStarted), self.records.len() as u64, "one record a call");
        assert_eq!(self.caps.held(), [0; 3], "caps");
        assert_eq!(self.count(Counter::Unrelayed), 0, "a path forgot the media node");
        let counters = self.engine.counters();
        for account in LEDGER {
            assert!(counters.balances(account) && counters.value(account.live) == 0, "{account:?}");
        }
    }
}

/// A request under construction.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) uri: String,
    pub(crate) via: String,
    pub(crate) from_tag: String,
    pub(crate) to_tag: String,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    pub(crate) max_forwards: u32,
    pub(crate) routes: Vec<String>,
    pub(crate) extra: Vec<String>,
    pub(crate) body: String,
}

/// An INVITE of the caller to a number.
pub(crate) fn invite(number: &str, call: &str) -> Request {
    Request {
        method: "INVITE",
        uri: format!("sip:{number}@10.0.0.1"),
        via: format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-{call}-1"),
        from_tag: "caller".into(),
        to_tag: String::new(),
        call_id: format!("{call}@192.0.2.10"),
        cseq: 1,
        max_forwards: 70,
        routes: Vec::new(),
        extra: vec!["Contact: <sip:alice@192.0.2.10>".into()],
        body: "v=0\r\n".into(),
    }
}

impl Request {
    /// The same request with another method, on another branch.
    pub(crate) fn as_method(&self, method: &'static str, branch: &str, cseq: u32) -> Request {
        let via = format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-{branch}");
        Request { method, via, cseq, body: String::new(), extra: Vec::new(), ..self.clone() }
    }

    /// The ACK or CANCEL that belongs to this INVITE hop by hop: same branch, same CSeq number.
    pub(crate) fn hop(&self, method: &'static str) -> Request {
        Request { method, body: String::new(), extra: Vec::new(), ..self.clone() }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} {} SIP/2.0\r\nVia: {}\r\n", self.method, self.uri, self.via);
        for route in &self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        let to_tag = if self.to_tag.is_empty() { String::new() } else { format!(";tag={}", self.to_tag) };
        let _ = write!(
            text,
            "Max-Forwards: {}\r\nFrom: <sip:alice@192.0.2.10>;tag={}\r\nTo: <sip:callee@10.0.0.1>{to_tag}\r\n\
             Call-ID: {}\r\nCSeq: {} {}\r\n",
            self.max_forwards, self.from_tag, self.call_id, self.cseq, self.method
        );
        for line in &self.extra {
            let _ = write!(text, "{line}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text
    }
}

/// A peer's response to a request that it received.
pub(crate) fn response(request: &Sent, status: u16, to_tag: &str, extra: &[&str]) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for name in ["Via", "Record-Route", "From"] {
        for value in request.headers(name) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let to = request.header("To");
    let tag = if to_tag.is_empty() || to.contains(";tag=") { String::new() } else { format!(";tag={to_tag}") };
    let _ =
        write!(text, "To: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n", request.header("Call-ID"), request.header("CSeq"));
    for line in extra {
        let _ = write!(text, "{line}\r\n");
    }
    text + "Content-Length: 0\r\n\r\n"
}

/// What came out of the step, as `to method-or-status` words, for short assertions.
pub(crate) fn ladder(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .map(|sent| {
            let what = sent.start_line();
            let word = what.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
            format!("{} {}", sent.to, word.unwrap_or_else(|| what.split(' ').next().unwrap_or_default()))
        })
        .collect()
}

/// A call that was answered: what the test needs to go on inside its dialog.
pub(crate) struct Answered {
    pub(crate) invite: Request,
    /// The INVITE as the gateway got it.
    pub(crate) forwarded: Sent,
    /// The 200 as the caller got it.
    pub(crate) ok: Sent,
}

impl Answered {
    /// A request of the caller inside the dialog.
    pub(crate) fn caller_sends(&self, method: &'static str, branch: &str, cseq: u32) -> Request {
        let mut routes: Vec<String> = self.ok.headers("Record-Route").iter().map(|&value| value.to_owned()).collect();
        routes.reverse();
        Request {
            uri: "sip:bob@198.51.100.20".into(),
            to_tag: "callee".into(),
            routes,
            ..self.invite.as_method(method, branch, cseq)
        }
    }

    /// A request of the callee inside the dialog.
    pub(crate) fn callee_sends(&self, method: &'static str, branch: &str, cseq: u32) -> Request {
        let routes = self.forwarded.headers("Record-Route").iter().map(|&value| value.to_owned()).collect();
        Request {
            uri: "sip:alice@192.0.2.10".into(),
            via: format!("SIP/2.0/UDP {GATEWAY};branch=z9hG4bK-{branch}"),
            from_tag: "callee".into(),
            to_tag: "caller".into(),
            routes,
            ..self.invite.as_method(method, branch, cseq)
        }
    }
}

/// An INVITE that rings in one early dialog, `callee`; `ok` is the 180.
pub(crate) fn ringing(world: &mut World, call: &str) -> Answered {
    let invite = invite("4930123456", call);
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    let ok = world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[]))[0].clone();
    Answered { invite, forwarded, ok }
}

/// INVITE, 200: the ACK has not come.
pub(crate) fn unacknowledged(world: &mut World, call: &str) -> Answered {
    let invite = invite("4930123456", call);
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    let ok = response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
    let ok = world.deliver(GATEWAY, &ok)[0].clone();
    Answered { invite, forwarded, ok }
}

/// INVITE, 180, 200, ACK through the world.
pub(crate) fn answered(world: &mut World, call: &str) -> Answered {
    let invite = invite("4930123456", call);
    let sent = world.deliver(CALLER, &invite.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    let forwarded = sent[1].clone();
    let sent = world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 180")]);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    let answered = Answered { invite, forwarded, ok: sent[0].clone() };
    let ack = answered.caller_sends("ACK", &format!("{call}-ack"), 1);
    assert_eq!(ladder(&world.deliver(CALLER, &ack.text())), [format!("{GATEWAY} ACK")]);
    answered
}
