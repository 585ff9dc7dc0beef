//! The client against scripted nodes in virtual time.

use corelane_core::WallTime;
use corelane_core::bus::{ExchangeId, Verb};

use super::super::bencode::Value;
use super::super::node::{Admin, SILENCE_MAX, TRIAL_WINDOW};
use super::super::sessions::RECORD;
use super::*;

mod owed;
mod replays;
mod replies;

const ORIGIN: Origin = Origin { node: 7, boot: 9 };
const SETTINGS: ClientSettings = ClientSettings {
    origin: ORIGIN,
    sockets: 2,
    deadline: Duration::from_secs(2),
    orphan_age: Duration::from_secs(60),
    debt_age: Duration::from_secs(3900),
};
const MS: u64 = 1000;
const DAY_S: u64 = 86_400;

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Mode {
    Alive,
    Frozen,
    /// Answers pings, and no offer or answer.
    Deaf,
    Full,
    BadSdp,
    /// Says this to every offer and answer, and to every delete.
    Says(&'static [u8]),
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
    /// Sessions that each node says it has.
    reported: u32,
    /// Offers and answers that nodes were asked for.
    said: Vec<String>,
    /// Sessions that the nodes have lost.
    gone: HashSet<String>,
    /// What was asked under each cookie, and what it asks for.
    asked: HashMap<String, Vec<u8>>,
    order: Vec<String>,
    /// One in so many datagrams is lost; 0 is none.
    loss: u64,
    /// How much longer than a millisecond a reply takes, in microseconds.
    slow: u64,
    passed: u64,
    exchange: u32,
}

fn address(node: u32) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node as u8], 2223))
}

/// The clock of day began a day before.
fn now(micros: u64) -> Now {
    Now { monotonic: Instant::from_micros(micros), wall: WallTime(DAY_S * 1_000_000 + micros) }
}

fn config(id: u32) -> NodeConfig {
    NodeConfig { id, set: 1, address: address(id), weight: 1, max_sessions: 1000, admin: Admin::Enabled }
}

impl World {
    fn new(nodes: u32, table: Vec<u8>) -> World {
        let configs = (1..=nodes).map(config).collect();
        let client = Client::new(now(1), SETTINGS, configs, table);
        let modes = (1..=nodes).map(|id| (id, Mode::Alive)).collect();
        World {
            client,
            now: 1,
            modes,
            out: Outbox::default(),
            wire: Vec::new(),
            deleted: Vec::new(),
            reported: 0,
            said: Vec::new(),
            gone: HashSet::new(),
            asked: HashMap::new(),
            order: Vec::new(),
            loss: 0,
            slow: 0,
            passed: 0,
            exchange: 0,
        }
    }

    fn ask(&mut self, call: u64, verb: Verb, node: u32, to_tag: &[u8]) -> ExchangeId {
        self.ask_with(call, verb, node, to_tag, b"v=0\r\n")
    }

    fn ask_with(&mut self, call: u64, verb: Verb, node: u32, to_tag: &[u8], sdp: &[u8]) -> ExchangeId {
        self.ask_between(call, verb, node, (b"a", to_tag), sdp)
    }

    fn ask_between(
        &mut self,
        call: u64,
        verb: Verb,
        node: u32,
        (from_tag, to_tag): (&[u8], &[u8]),
        sdp: &[u8],
    ) -> ExchangeId {
        self.exchange += 1;
        let exchange = ExchangeId { index: self.exchange, generation: 1 };
        let request = MediaRequest {
            exchange,
            call: MediaCall { call_hash: call, pass: 1 },
            started_us: 0,
            since_us: 0,
            set: 1,
            node,
            verb,
            attempt: 1,
            from_tag,
            to_tag,
            flags: b"",
            sdp,
        };
        let shard = (call % 3) as u16;
        self.client.submit(Instant::from_micros(self.now), shard, &request, &mut self.out);
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
            let cookie = String::from_utf8(bytes[..blank].to_vec()).unwrap();
            let before = self.asked.insert(cookie, bytes.clone());
            assert!(before.is_none_or(|before| before == bytes), "a cookie is one question: {}", bytes.escape_ascii());
            self.order.push(text("command"));
            let is_exchange = matches!(&*text("command"), "offer" | "answer");
            let statistics =
                format!("d6:result2:ok10:statisticsd17:currentstatisticsd13:sessionstotali{}eeee", self.reported);
            if is_exchange {
                self.said.push(format!("{} {}", text("command"), text("sdp")));
            }
            let answer: &[u8] = match (self.modes[&node], &*text("command")) {
                (Mode::Frozen, _) => continue,
                (Mode::Deaf, _) if is_exchange => continue,
                (Mode::Full, "offer") => b"d6:result10:load limit7:message19:Load limit exceedede",
                (Mode::BadSdp, _) if is_exchange => b"d6:result5:error12:error-reason19:Failed to parse SDPe",
                (Mode::Says(reply), "delete") => reply,
                (Mode::Says(reply), _) if is_exchange => reply,
                (_, "query") if self.gone.contains(&text("call-id")) => {
                    b"d6:result5:error12:error-reason15:Unknown call-ide"
                }
                (_, "ping") => b"d6:result4:ponge",
                (_, "statistics") => statistics.as_bytes(),
                (Mode::BadSdp, "query") => b"d6:result5:error12:error-reason15:Unknown call-ide",
                (Mode::Full, "query") => b"d4:tagsde6:result2:oke",
                (_, "query") => b"d4:tagsd1:ad6:mediasld7:streamsld11:last packeti9eeeeeee6:result2:oke",
                (_, "delete") => {
                    self.deleted.push((node, text("call-id")));
                    b"d6:result2:oke"
                }
                _ if is_exchange => b"d3:sdp9:rewritten6:result2:oke",
                _ => b"d6:result2:oke",
            };
            let reply = [&bytes[..=blank], answer].concat();
            self.wire.push((self.now + MS + self.slow, node, socket, reply));
        }
    }

    /// Runs for so many milliseconds, a tick each.
    fn run(&mut self, millis: u64) {
        self.tick(millis, MS);
    }

    /// Runs for so many seconds, in larger steps.
    fn pass(&mut self, seconds: u64) {
        self.tick(seconds * 10, 100 * MS);
    }

    fn tick(&mut self, count: u64, step: u64) {
        for _ in 0..count {
            self.now += step;
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

    /// The client is gone, as after a panic, and another one of the same boot goes on with the table, and with what may be kept.
    fn panicked(&mut self) {
        let remains = self.client.remains();
        self.begin_again(ORIGIN.boot);
        self.client.take_up(remains);
    }

    /// The client is gone, and another one goes on with the table in this boot.
    fn begin_again(&mut self, boot: u64) {
        let configs = self.client.nodes.iter().map(|node| node.config.clone()).collect();
        let settings = ClientSettings { origin: Origin { boot, ..ORIGIN }, ..SETTINGS };
        let spare = Client::new(now(0), SETTINGS, Vec::new(), Vec::new());
        let table = std::mem::replace(&mut self.client, spare).sessions.into_records();
        self.client = Client::new(now(self.now), settings, configs, table);
    }

    fn list(&mut self, node: u32, list: Option<&[u8]>) {
        self.client.on_list(Instant::from_micros(self.now), node, list, &mut self.out);
        self.carry();
    }

    /// The kernel says that nobody listens at a node's address.
    fn unreachable(&mut self, node: u32) {
        self.client.on_unreachable(Instant::from_micros(self.now), node, &mut self.out);
        self.carry();
    }

    fn value(&mut self, counter: Counter) -> u64 {
        self.client.counters().value(counter)
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
    assert_eq!(world.client.sessions().at(address(node)), 1);
    world.ended(5);
    world.run(5);
    assert_eq!(world.deleted, [(node, "7-0000000000000009-0000000000000005-00000001".to_owned())]);
    assert_eq!(world.client.sessions().live(), 0);
}

/// A re-INVITE that was answered in a provisional response and refused after all: what is played again is what held before it, now and
/// whenever something is refused later.
#[test]
fn what_a_provisional_response_answered_is_not_what_is_restored() {
    let mut world = World::new(1, table());
    let say = |world: &mut World, verb, to_tag: &[u8], sdp: &[u8]| {
        world.said.clear();
        world.ask_with(5, verb, 1, to_tag, sdp);
        world.run(6);
        std::mem::take(&mut world.said)
    };
    say(&mut world, Verb::Offer, b"", b"first-offer");
    say(&mut world, Verb::Answer, b"b", b"first-answer");
    for _ in 0..2 {
        assert_eq!(say(&mut world, Verb::Offer, b"b", b"second-offer"), ["offer second-offer"]);
        assert_eq!(say(&mut world, Verb::Answer, b"b", b"second-answer"), ["answer second-answer"]);
        assert_eq!(say(&mut world, Verb::Restore, b"b", b""), ["offer first-offer", "answer first-answer"]);
    }
    // One that is accepted holds as soon as another one is offered.
    say(&mut world, Verb::Offer, b"b", b"third-offer");
    say(&mut world, Verb::Answer, b"b", b"third-answer");
    say(&mut world, Verb::Offer, b"b", b"fourth-offer");
    assert_eq!(say(&mut world, Verb::Restore, b"", b""), ["offer third-offer", "answer third-answer"]);
}

/// What both sides agreed on outlives a panic of the media task, with questions out and without; but for the call that it was about.
#[test]
fn what_was_agreed_before_a_panic_is_restored_after_it() {
    let mut world = World::new(1, table());
    for call in 5..=8 {
        world.ask_with(call, Verb::Offer, 0, b"", b"first-offer");
        world.run(3);
        world.ask_with(call, Verb::Answer, 1, b"b", b"first-answer");
        world.run(3);
    }
    let kept = world.value(Counter::SdpKept);
    world.ended(8);
    // Of 5 a question is out, and another one waits; 7 is the one that the panic is about.
    let lost = [Verb::Offer, Verb::Query].map(|verb| world.ask_with(5, verb, 1, b"b", b"second-offer"));
    world.ask_with(7, Verb::Offer, 1, b"b", b"second-offer");
    world.panicked();
    assert_eq!(world.value(Counter::SdpKept), kept / 2, "5 and 6");
    world.run(5);
    assert_eq!(lost.map(|asked| world.outcome(asked)), [None; 2], "the shards have timers of their own for these");
    for (call, outcome) in [(5, MediaOutcome::Done), (6, MediaOutcome::Done), (7, MediaOutcome::Failed)] {
        world.said.clear();
        let restore = world.ask(call, Verb::Restore, 1, b"b");
        world.run(6);
        assert_eq!(world.outcome(restore).map(|(outcome, _)| outcome), Some(outcome), "{call}");
        let said: &[&str] =
            if outcome == MediaOutcome::Done { &["offer first-offer", "answer first-answer"] } else { &[] };
        assert_eq!(world.said, said, "{call}");
    }
    (5..=7).for_each(|call| world.ended(call));
    assert_eq!(world.value(Counter::SdpKept), 0, "the room comes back with the end of calls");
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
                && wish.request.view().exchange.index == number + 1)
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

/// A node may serve its questions in any order, so the next one of a call waits for the reply; those of other calls do not.
#[test]
fn one_question_of_a_call_is_out_at_a_time() {
    let mut world = World::new(1, table());
    world.run(2);
    let first = world.ask(5, Verb::Offer, 0, b"");
    let branch = world.ask(5, Verb::DeleteBranch, 1, b"b");
    let second = world.ask(5, Verb::Offer, 1, b"");
    let other = world.ask(6, Verb::Offer, 0, b"");
    assert_eq!(world.order[world.order.len() - 2..], ["offer", "offer"], "of two calls");
    world.run(1);
    assert_eq!(world.order.last().map(String::as_str), Some("delete"));
    assert_eq!((world.outcome(first), world.outcome(branch)), (Some((MediaOutcome::Done, 1)), None));
    assert_eq!(world.outcome(other), Some((MediaOutcome::Done, 1)));
    world.run(2);
    assert_eq!(world.outcome(branch), Some((MediaOutcome::Done, 1)));
    assert_eq!(world.outcome(second), Some((MediaOutcome::Done, 1)));

    // Nothing that waits is forgotten when the node is silent, or when the call ends.
    world.modes.insert(1, Mode::Frozen);
    let waiting = [b"b", b"c", b"d"].map(|tag| world.ask(5, Verb::Answer, 1, tag));
    world.run(2100);
    assert_eq!(waiting.map(|one| world.outcome(one).is_some()), [true, false, false]);
    world.ended(5);
    assert!(waiting.iter().all(|one| world.outcome(*one) == Some((MediaOutcome::Failed, 0))));
}

/// What waited behind other questions of its call is answered in its own time, however little is left when its turn comes (world 119).
#[test]
fn a_wish_that_waited_is_answered_in_time() {
    let mut world = World::new(1, table());
    world.run(2);
    world.modes.insert(1, Mode::Deaf);
    world.ask(5, Verb::Answer, 1, b"b");
    world.run(10);
    world.ask(5, Verb::Answer, 1, b"b");
    world.run(100);
    let last = world.ask(5, Verb::Answer, 1, b"b");
    world.run(3_995);
    assert_eq!(world.outcome(last), None);
    world.run(10);
    assert_eq!(world.outcome(last), Some((MediaOutcome::Failed, 0)));
    assert_eq!(
        world.value(Counter::BreakersOpened),
        0,
        "it had no time to be answered, which says nothing of the node"
    );
}

#[test]
fn a_node_that_answers_pings_and_no_offer_gets_no_calls() {
    let mut world = World::new(2, table());
    world.modes.insert(1, Mode::Deaf);
    let spread = |call: u64| call.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let ask = |world: &mut World, calls: std::ops::Range<u64>| {
        let offers: Vec<ExchangeId> = calls.map(|call| world.ask(spread(call), Verb::Offer, 0, b"")).collect();
        world.run(10);
        offers
    };
    let first = ask(&mut world, 0..100);
    world.run(2_100);
    let moved = |world: &World, offers: &[ExchangeId]| {
        offers.iter().filter(|offer| world.outcome(**offer) == Some((MediaOutcome::Done, 2))).count()
    };
    assert_eq!(moved(&world, &first), 100, "each was carried by the other node in the end");
    assert_eq!(world.value(Counter::NodesUsable), 1);
    world.run(2_000);
    let second = ask(&mut world, 100..200);
    assert_eq!(moved(&world, &second), 100, "at once, though the node answers its pings");
    world.run(10_000);
    assert_eq!(world.value(Counter::NodesUsable), 2, "it is on trial");
    let third = ask(&mut world, 200..300);
    assert_eq!(moved(&world, &third), 100 - TRIAL_WINDOW as usize, "with a few calls");
    world.modes.insert(1, Mode::Alive);
    world.run(2_500);
    let fourth = ask(&mut world, 300..400);
    assert!(fourth.iter().any(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 1))));
}

#[test]
fn a_node_that_takes_its_time_is_not_dead() {
    let mut world = World::new(1, table());
    world.slow = 300 * MS;
    world.run(3_000);
    assert_eq!(world.value(Counter::NodesUsable), 1);
    assert_eq!(world.value(Counter::BreakersOpened), 0);
}

#[test]
fn a_wish_of_a_call_that_has_ended_makes_no_session() {
    let mut world = World::new(1, table());
    let offer = world.ask(5, Verb::Offer, 0, b"");
    world.ended(5);
    let late = world.ask(5, Verb::Offer, 0, b"");
    assert_eq!([offer, late].map(|one| world.outcome(one)), [Some((MediaOutcome::Failed, 0)); 2]);
    world.run(1100);
    assert_eq!((world.deleted.len(), world.client.sessions().live()), (1, 0), "after the offer that was on its way");
}

/// The node that has the session is asked whether RTP flows, and no other; a node that cannot say is no silent one.
#[test]
fn a_sessions_own_node_says_whether_rtp_flows() {
    let mut world = World::new(2, table());
    let modes = [
        (Mode::Alive, Some((MediaOutcome::Done, 2))),
        (Mode::Full, Some((MediaOutcome::Silent, 2))),
        (Mode::BadSdp, Some((MediaOutcome::Silent, 2))),
        (Mode::Frozen, Some((MediaOutcome::Failed, 0))),
    ];
    for (mode, said) in modes {
        world.modes.insert(2, mode);
        let query = world.ask(5, Verb::Query, 2, b"");
        world.run(2100);
        assert_eq!(world.outcome(query), said, "{mode:?}");
    }
    let gone = world.ask(5, Verb::Query, 3, b"");
    assert_eq!(world.outcome(gone), Some((MediaOutcome::Failed, 0)), "a node that is configured no more");
    assert_eq!(world.client.counters().value(Counter::Silent), 2);
    assert_eq!(world.client.sessions().live(), 0, "a question makes no session");
}
