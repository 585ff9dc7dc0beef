//! The client against scripted nodes in virtual time.

use super::super::bencode::Value;
use super::super::node::{Admin, SILENCE_MAX};
use super::super::sessions::RECORD;
use super::*;

const ORIGIN: Origin = Origin { node: 7, boot: 9 };
const MS: u64 = 1000;

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Mode {
    Alive,
    Frozen,
    Full,
    BadSdp,
}

/// What left the client.
#[derive(Default)]
struct Outbox {
    sent: Vec<(u32, u8, Vec<u8>)>,
    replies: Vec<(ExchangeId, MediaOutcome, u32, Vec<u8>)>,
}

impl Outputs for Outbox {
    fn send(&mut self, node: u32, socket: u8, _: SocketAddr, bytes: &[u8]) {
        self.sent.push((node, socket, bytes.to_vec()));
    }

    fn reply(&mut self, _: u16, reply: MediaReply<'_>) {
        self.replies.push((reply.exchange, reply.outcome, reply.node, reply.sdp.to_vec()));
    }
}

struct World {
    client: Client<Vec<u8>>,
    now: u64,
    modes: HashMap<u32, Mode>,
    out: Outbox,
    /// Replies under way: when, from whom, to which socket.
    wire: Vec<(u64, u32, u8, Vec<u8>)>,
    deleted: Vec<(u32, String)>,
    /// One in so many datagrams is lost; 0 is none.
    loss: u64,
    passed: u64,
    exchange: u32,
}

fn address(node: u32) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node as u8], 2223))
}

fn config(id: u32) -> NodeConfig {
    NodeConfig { id, set: 1, address: Some(address(id)), weight: 1, max_sessions: 1000, admin: Admin::Enabled }
}

impl World {
    fn new(nodes: u32, table: Vec<u8>) -> World {
        let configs = (1..=nodes).map(config).collect();
        let client = Client::new(Instant::from_micros(1), ORIGIN, 2, configs, table);
        let modes = (1..=nodes).map(|id| (id, Mode::Alive)).collect();
        World {
            client,
            now: 1,
            modes,
            out: Outbox::default(),
            wire: Vec::new(),
            deleted: Vec::new(),
            loss: 0,
            passed: 0,
            exchange: 0,
        }
    }

    fn ask(&mut self, call: u64, verb: Verb, node: u32, to_tag: &[u8]) -> ExchangeId {
        self.ask_with(call, verb, node, to_tag, b"v=0\r\n")
    }

    fn ask_with(&mut self, call: u64, verb: Verb, node: u32, to_tag: &[u8], sdp: &[u8]) -> ExchangeId {
        self.exchange += 1;
        let exchange = ExchangeId { index: self.exchange, generation: 1 };
        let request = MediaRequest {
            exchange,
            call: MediaCall { call_hash: call, pass: 1 },
            started_us: 0,
            set: 1,
            node,
            verb,
            attempt: 1,
            from_tag: b"a",
            to_tag,
            flags: b"",
            sdp,
        };
        self.client.submit(Instant::from_micros(self.now), 0, &request, &mut self.out);
        self.carry();
        exchange
    }

    fn lost(&mut self) -> bool {
        self.passed += 1;
        self.loss != 0 && self.passed.is_multiple_of(self.loss)
    }

    /// Nodes answer what was sent, a millisecond later.
    fn carry(&mut self) {
        for (node, socket, bytes) in std::mem::take(&mut self.out.sent) {
            if self.lost() {
                continue;
            }
            let blank = bytes.iter().position(|byte| *byte == b' ').unwrap();
            let command = Value::parse(&bytes[blank + 1..]).unwrap().dictionary().unwrap();
            let text = |key: &str| String::from_utf8(command.text(key).unwrap_or_default().to_vec()).unwrap();
            let is_exchange = matches!(&*text("command"), "offer" | "answer");
            let answer: &[u8] = match (self.modes[&node], &*text("command")) {
                (Mode::Frozen, _) => continue,
                (Mode::Full, "offer") => b"d6:result10:load limit7:message19:Load limit exceedede",
                (Mode::BadSdp, _) if is_exchange => b"d6:result5:error12:error-reason19:Failed to parse SDPe",
                (_, "ping") => b"d6:result4:ponge",
                (_, "delete") => {
                    self.deleted.push((node, text("call-id")));
                    b"d6:result2:oke"
                }
                _ if is_exchange => b"d3:sdp9:rewritten6:result2:oke",
                _ => b"d6:result2:oke",
            };
            let reply = [&bytes[..=blank], answer].concat();
            self.wire.push((self.now + MS, node, socket, reply));
        }
    }

    /// Runs for so many milliseconds, a tick each.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += MS;
            let now = Instant::from_micros(self.now);
            let (due, rest) = std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= self.now);
            self.wire = rest;
            for (_, node, socket, bytes) in due as Vec<(u64, u32, u8, Vec<u8>)> {
                if !self.lost() {
                    self.client.on_datagram(now, socket, address(node), &bytes, &mut self.out);
                }
            }
            if self.client.next_timeout() <= now {
                self.client.on_timeout(now, &mut self.out);
            }
            self.carry();
        }
    }

    fn outcome(&self, exchange: ExchangeId) -> Option<(MediaOutcome, u32)> {
        let mut found = self.out.replies.iter().filter(|reply| reply.0 == exchange);
        let reply = found.next().map(|reply| (reply.1, reply.2));
        assert!(found.next().is_none(), "one reply for one request");
        reply
    }

    fn ended(&mut self, call: u64) {
        let call = MediaCall { call_hash: call, pass: 1 };
        self.client.ended(Instant::from_micros(self.now), call, &mut self.out);
        self.carry();
    }
}

fn table() -> Vec<u8> {
    vec![0; 2000 * RECORD]
}

#[test]
fn a_call_is_offered_answered_restored_and_deleted() {
    let mut world = World::new(2, table());
    let offer = world.ask(5, Verb::Offer, 0, b"");
    world.run(3);
    let Some((MediaOutcome::Done, node)) = world.outcome(offer) else { panic!("{:?}", world.out.replies) };
    let answer = world.ask(5, Verb::Answer, node, b"b");
    world.run(3);
    assert_eq!(world.outcome(answer), Some((MediaOutcome::Done, node)));
    let restore = world.ask(5, Verb::Restore, node, b"b");
    world.run(6);
    assert_eq!(world.outcome(restore), Some((MediaOutcome::Done, node)));
    assert_eq!(world.client.sessions().of_node(node), 1);
    world.ended(5);
    world.run(5);
    assert_eq!(world.deleted, [(node, "7-0000000000000009-0000000000000005-00000001".to_owned())]);
    assert_eq!(world.client.sessions().live(), 0);
}

#[test]
fn a_frozen_node_gets_no_call_after_the_bound_and_is_back_within_two_seconds() {
    let mut world = World::new(2, table());
    world.run(300);
    world.modes.insert(1, Mode::Frozen);
    let frozen_at = world.now;
    let mut offers = Vec::new();
    for call in 0..300u64 {
        let number = world.exchange;
        offers.push(world.ask(call.wrapping_mul(0x9e37_79b9_7f4a_7c15), Verb::Offer, 0, b""));
        let late = world.now - frozen_at > SILENCE_MAX.as_micros() as u64 + 2 * MS;
        let to_dead = world.client.questions.values().any(|question| {
            matches!(&question.purpose, Purpose::Media(wish) if question.node == 1
                && MediaRequest::read(&wish.request).is_some_and(|request| request.exchange.index == number + 1))
        });
        assert!(!(late && to_dead), "call {call} went to a node that has been dead for {} µs", world.now - frozen_at);
        world.run(5);
    }
    world.run(100);
    assert!(offers.iter().all(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 2))));

    world.modes.insert(2, Mode::Frozen);
    world.run(1000);
    let none = world.ask(77, Verb::Offer, 0, b"");
    assert_eq!(world.outcome(none), Some((MediaOutcome::NoNode, 0)), "at once");
    let failed = world.ask(0, Verb::Answer, 2, b"b");
    world.run(2100);
    assert_eq!(world.outcome(failed), Some((MediaOutcome::Failed, 0)));

    world.modes.insert(1, Mode::Alive);
    world.modes.insert(2, Mode::Alive);
    world.run(1000);
    assert_eq!(world.client.counters().value(Counter::NodesUsable), 2);
    let again = world.ask(78, Verb::Offer, 0, b"");
    world.run(3);
    assert!(matches!(world.outcome(again), Some((MediaOutcome::Done, _))));
}

#[test]
fn loss_costs_retransmissions_and_no_call_and_no_debt() {
    let mut world = World::new(2, table());
    world.loss = 5;
    let offers: Vec<ExchangeId> = (1..=200).map(|call| world.ask(call, Verb::Offer, 0, b"")).collect();
    world.run(4200);
    let done = offers.iter().filter(|offer| matches!(world.outcome(**offer), Some((MediaOutcome::Done, _)))).count();
    assert_eq!(done, offers.len());
    (1..=200).for_each(|call| world.ended(call));
    world.run(60_000);
    assert_eq!(world.client.sessions().live(), 0);
    assert!(world.client.counters().value(Counter::Retransmissions) > 0);
}

#[test]
fn full_refused_and_unreachable() {
    let mut world = World::new(2, table());
    world.modes.insert(1, Mode::Full);
    let offers: Vec<ExchangeId> = (1..=20).map(|call| world.ask(call, Verb::Offer, 0, b"")).collect();
    world.run(5);
    assert!(offers.iter().all(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 2))));
    assert_eq!(world.client.sessions().of_node(1), 0, "nothing was made there");
    world.modes.insert(2, Mode::Full);
    let none = world.ask(50, Verb::Offer, 0, b"");
    world.run(5);
    assert_eq!(world.outcome(none), Some((MediaOutcome::NoNode, 0)));
    world.modes.insert(1, Mode::BadSdp);
    world.modes.insert(2, Mode::BadSdp);
    let refused = world.ask(51, Verb::Offer, 0, b"");
    world.run(5);
    assert!(matches!(world.outcome(refused), Some((MediaOutcome::Refused, _))));

    let answer = world.ask(1, Verb::Answer, 2, b"b");
    world.client.on_unreachable(Instant::from_micros(world.now), 2, &mut world.out);
    assert_eq!(world.outcome(answer), Some((MediaOutcome::Failed, 0)));
}

/// What there is no room for is not restored, and nothing older in its place; all else goes on, and the room comes back with the end of calls.
#[test]
fn the_room_for_sdp_is_bounded() {
    let mut world = World::new(1, vec![0; 2 * RECORD]);
    let count = |world: &mut World, counter| world.client.counters().value(counter);
    let exchange = |world: &mut World, sdp: &[u8]| {
        let offer = world.ask_with(5, Verb::Offer, 1, b"", sdp);
        world.run(3);
        let answer = world.ask_with(5, Verb::Answer, 1, b"b", sdp);
        world.run(3);
        assert_eq!([offer, answer].map(|asked| world.outcome(asked)), [Some((MediaOutcome::Done, 1)); 2]);
        let restore = world.ask(5, Verb::Restore, 1, b"b");
        world.run(6);
        world.outcome(restore).expect("an answer").0
    };
    assert_eq!(exchange(&mut world, b"v=0\r\n"), MediaOutcome::Done);
    let most = 2 * SESSION_BYTES as u64;
    for (bytes, outcome) in [(3 * SESSION_BYTES / 2, MediaOutcome::Failed), (100, MediaOutcome::Done)] {
        assert_eq!(exchange(&mut world, &vec![b's'; bytes]), outcome, "{bytes}");
        let kept = count(&mut world, Counter::SdpKept);
        assert!(0 < kept && kept <= most, "{kept} of {most}");
    }
    assert_eq!(count(&mut world, Counter::SdpUnkept), 1, "the answer that had no room beside its offer");
    world.ended(5);
    assert_eq!(count(&mut world, Counter::SdpKept), 0);
}

#[test]
fn replies_that_are_not_to_be_trusted_are_counted_and_the_question_goes_on() {
    let mut world = World::new(1, table());
    world.modes.insert(1, Mode::Frozen);
    let offer = world.ask(5, Verb::Offer, 0, b"");
    let (cookie, socket) = {
        let question =
            world.client.questions.iter().find(|(_, question)| matches!(question.purpose, Purpose::Media(_)));
        let (number, question) = question.unwrap();
        (Cookie { origin: ORIGIN, number: *number }.to_string(), question.socket)
    };
    let now = Instant::from_micros(world.now);
    let good = format!("{cookie} d3:sdp3:v=06:result2:oke");
    let cases = [
        (socket, address(9), good.clone(), Counter::RepliesMisplaced),
        (socket + 1, address(1), good.clone(), Counter::RepliesMisplaced),
        (socket, address(1), good[..good.len() - 1].to_owned(), Counter::RepliesMalformed),
        (socket, address(1), format!("{cookie} hello"), Counter::RepliesMalformed),
        (socket, address(1), "x d6:result4:ponge".to_owned(), Counter::RepliesForeign),
        (socket, address(1), "7-0000000000000009-ffff d6:result4:ponge".to_owned(), Counter::RepliesForeign),
    ];
    for (socket, from, bytes, counter) in cases {
        let before = world.client.counters().value(counter);
        world.client.on_datagram(now, socket, from, bytes.as_bytes(), &mut world.out);
        assert_eq!(world.client.counters().value(counter), before + 1, "{bytes}");
        assert_eq!(world.outcome(offer), None);
    }
    world.client.on_datagram(now, socket, address(1), good.as_bytes(), &mut world.out);
    assert_eq!(world.outcome(offer), Some((MediaOutcome::Done, 1)));
    world.client.on_datagram(now, socket, address(1), good.as_bytes(), &mut world.out);
    assert_eq!(world.client.counters().value(Counter::RepliesLate), 1);
}

#[test]
fn what_a_killed_process_held_is_paid_by_the_next() {
    let mut records = Sessions::open(table(), Origin { boot: 8, ..ORIGIN });
    let session = SessionId { origin: Origin { boot: 8, ..ORIGIN }, call: MediaCall { call_hash: 5, pass: 1 } };
    records.put(1, session).unwrap();
    records.put(44, session).unwrap();
    let mut world = World::new(1, records.into_records());
    world.run(10);
    assert_eq!(world.deleted, [(1, session.to_string())]);
    assert_eq!(world.client.counters().value(Counter::SessionsStranded), 1, "of a node that is not configured");
}

/// What this node holds nowhere is deleted when two lists a minute apart have it; what it holds, and what others hold, never.
#[test]
fn sessions_that_nobody_knows_are_deleted() {
    let mut world = World::new(1, table());
    let held = world.ask(5, Verb::Offer, 0, b"");
    world.run(3);
    assert_eq!(world.outcome(held), Some((MediaOutcome::Done, 1)));
    let id = |node: u32, boot: u64, call_hash: u64| {
        SessionId { origin: Origin { node, boot }, call: MediaCall { call_hash, pass: 1 } }.to_string()
    };
    let (live, lost, older) = (id(7, 9, 5), id(7, 9, 6), id(7, 8, 5));
    let mut list = b"d5:callsl".to_vec();
    for name in [&live, &lost, &older, &id(8, 9, 6), "someone@example.com"] {
        list.extend(format!("{}:{name}", name.len()).bytes());
    }
    list.extend(*b"e6:result2:oke");
    for wait in [30_000, 31_000, 31_000] {
        let now = Instant::from_micros(world.now);
        world.client.on_list(now, 1, Some(&list), &mut world.out);
        assert!(world.deleted.is_empty(), "one list proves nothing");
        world.carry();
        world.run(wait);
    }
    world.client.on_list(Instant::from_micros(world.now), 1, None, &mut world.out);
    let mut deleted: Vec<&str> = world.deleted.iter().map(|(_, session)| session.as_str()).collect();
    deleted.sort_unstable();
    assert_eq!(deleted, [older.as_str(), lost.as_str()]);
    let counters = world.client.counters();
    assert_eq!((counters.value(Counter::Lists), counters.value(Counter::ListsMissed)), (3, 1));
    assert_eq!(counters.value(Counter::OrphansFound), 2);
}
