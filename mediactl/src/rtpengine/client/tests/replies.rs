//! What a node says, and what it does not: the rows of the table in docs/media.md that are the client's.

use corelane_core::limits::MESSAGE_SIZE_MAX;

use super::super::super::id::Cookie;
use super::super::super::node::SUSPICION;
use super::*;

const GOOD: &str = "d3:sdp9:rewritten6:result2:oke";

/// A client with one question to a node that says nothing by itself.
struct Asked {
    world: World,
    offer: ExchangeId,
    cookie: String,
    socket: u8,
}

impl Asked {
    fn new() -> Asked {
        let mut world = World::new(1, table());
        world.run(2);
        world.modes.insert(1, Mode::Frozen);
        let offer = world.ask(5, Verb::Offer, 0, b"");
        let (number, question) = world.client.questions.iter().next().expect("the offer alone is out");
        let (cookie, socket) = (Cookie { origin: ORIGIN, number: *number }.to_string(), question.socket);
        Asked { world, offer, cookie, socket }
    }

    /// Something comes in.
    fn hear(&mut self, socket: u8, from: SocketAddr, bytes: &[u8]) {
        let now = Instant::from_micros(self.world.now);
        self.world.client.on_datagram(now, socket, from, bytes, &mut self.world.out);
    }

    /// The node says this.
    fn says(&mut self, body: &[u8]) {
        let bytes = [self.cookie.as_bytes(), b" ", body].concat();
        self.hear(self.socket, address(1), &bytes);
    }

    /// It was counted so, and the question goes on.
    #[track_caller]
    fn goes_on(&mut self, counter: Counter, count: u64) {
        assert_eq!(self.world.value(counter), count);
        assert_eq!(self.world.outcome(self.offer), None);
    }

    /// The question was not lost by it: what comes now is taken.
    #[track_caller]
    fn then_answered(mut self) -> Asked {
        self.says(GOOD.as_bytes());
        assert_eq!(self.world.outcome(self.offer), Some((MediaOutcome::Done, 1)));
        self
    }
}

#[test]
fn a_reply_that_comes_late_or_again_is_ignored() {
    let mut asked = Asked::new().then_answered();
    asked.says(GOOD.as_bytes());
    assert_eq!(asked.world.value(Counter::RepliesLate), 1);
    let mut late = Asked::new();
    late.world.run(2100);
    assert_eq!(late.world.outcome(late.offer), Some((MediaOutcome::NoNode, 0)));
    late.says(GOOD.as_bytes());
    assert_eq!((late.world.value(Counter::RepliesLate), late.world.value(Counter::Done)), (1, 0));
}

#[test]
fn a_truncated_reply_is_no_reply() {
    let mut asked = Asked::new();
    for end in 0..GOOD.len() {
        asked.says(&GOOD.as_bytes()[..end]);
        asked.goes_on(Counter::RepliesMalformed, end as u64 + 1);
    }
    asked.then_answered();
}

#[test]
fn what_is_no_bencode_or_says_no_result_is_no_reply() {
    let mut asked = Asked::new();
    let deep = b"l".repeat(60_000);
    let bodies: [&[u8]; 7] = [b"hello", b"4:pong", b"le", b"de", b"d3:sdp5:v=0\r\ne", b"d6:resulti1ee", &deep];
    for (place, body) in bodies.into_iter().enumerate() {
        asked.says(body);
        asked.goes_on(Counter::RepliesMalformed, place as u64 + 1);
    }
    let sent = asked.world.value(Counter::Sent);
    asked.world.run(251);
    assert_eq!(asked.world.value(Counter::Retransmissions), 1, "as if nothing had come");
    assert!(asked.world.value(Counter::Sent) > sent);
    asked.then_answered();
}

#[test]
fn a_cookie_that_nobody_here_sent_is_ignored() {
    let mut asked = Asked::new();
    let of = |node, boot, number| Cookie { origin: Origin { node, boot }, number }.to_string();
    let number = u64::from_str_radix(asked.cookie.rsplit('-').next().expect("three parts"), 16).expect("hexadecimal");
    let cookies = [
        of(8, ORIGIN.boot, number),
        of(ORIGIN.node, ORIGIN.boot - 1, number),
        of(ORIGIN.node, ORIGIN.boot, u64::MAX),
        asked.cookie.to_uppercase() + "0",
        String::new(),
        "x".repeat(70),
    ];
    for (place, cookie) in cookies.into_iter().enumerate() {
        asked.hear(asked.socket, address(1), format!("{cookie} {GOOD}").as_bytes());
        asked.goes_on(Counter::RepliesForeign, place as u64 + 1);
    }
    asked.hear(asked.socket, address(1), b"");
    asked.goes_on(Counter::RepliesForeign, 7);
    asked.then_answered();
}

#[test]
fn a_reply_from_elsewhere_is_ignored() {
    let mut asked = Asked::new();
    let good = format!("{} {GOOD}", asked.cookie);
    let mut port = address(1);
    port.set_port(port.port() + 1);
    for (place, (socket, from)) in
        [(asked.socket, address(9)), (asked.socket, port), (asked.socket + 1, address(1))].into_iter().enumerate()
    {
        asked.hear(socket, from, good.as_bytes());
        asked.goes_on(Counter::RepliesMisplaced, place as u64 + 1);
    }
    asked.then_answered();
}

#[test]
fn an_sdp_that_no_message_can_carry_is_refused() {
    for (length, outcome) in [(MESSAGE_SIZE_MAX, MediaOutcome::Done), (MESSAGE_SIZE_MAX + 1, MediaOutcome::Refused)] {
        let mut asked = Asked::new();
        asked.says(format!("d3:sdp{length}:{}6:result2:oke", "x".repeat(length)).as_bytes());
        assert_eq!(asked.world.outcome(asked.offer), Some((outcome, 1)));
        assert_eq!(asked.world.value(Counter::RepliesOversized), u64::from(length > MESSAGE_SIZE_MAX));
        asked.world.modes.insert(1, Mode::Alive);
        asked.world.ended(5);
        asked.world.run(5);
        assert_eq!((asked.world.deleted.len(), asked.world.client.sessions().live()), (1, 0), "it made a session");
    }
}

#[test]
fn a_reply_to_something_else_is_a_failure() {
    for body in [&b"d6:result2:oke"[..], b"d6:result4:ponge", b"d5:callsle6:result2:oke", b"d4:tagsde6:result2:oke"] {
        let mut asked = Asked::new();
        asked.says(body);
        assert_eq!(asked.world.outcome(asked.offer), Some((MediaOutcome::Failed, 1)), "{}", body.escape_ascii());
        assert_eq!(asked.world.value(Counter::RepliesUnfitting), 1);
    }
}

#[test]
fn an_error_is_the_sdps_or_the_nodes() {
    for (reason, outcome, counter) in [
        ("20:Failed to parse SDP", MediaOutcome::Refused, Counter::Refused),
        ("21:Incomplete SDP format", MediaOutcome::Refused, Counter::Refused),
        ("15:Unknown call-id", MediaOutcome::Failed, Counter::Failed),
        ("13:Out of memory", MediaOutcome::Failed, Counter::Failed),
    ] {
        let mut asked = Asked::new();
        let (_, text) = reason.split_once(':').expect("a length");
        asked.says(format!("d12:error-reason{}:{text}6:result5:errore", text.len()).as_bytes());
        assert_eq!(asked.world.outcome(asked.offer), Some((outcome, 1)), "{reason}");
        assert_eq!(asked.world.value(counter), 1, "{reason}");
    }
}

#[test]
fn a_full_node_sends_the_offer_to_the_next_one() {
    let mut world = World::new(2, table());
    world.modes.insert(1, Mode::Full);
    let offers: Vec<ExchangeId> = (1..=20).map(|call| world.ask(call, Verb::Offer, 0, b"")).collect();
    world.run(5);
    assert!(offers.iter().all(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 2))));
    assert_eq!(world.client.sessions().at(address(1)), 0, "nothing was made there");
    assert_eq!(world.value(Counter::Limits), world.value(Counter::Moved));
    world.modes.insert(2, Mode::Full);
    let none = world.ask(50, Verb::Offer, 0, b"");
    world.run(5);
    assert_eq!(world.outcome(none), Some((MediaOutcome::NoNode, 0)));
    // What was made all the same is owed: ports run out after the session was made.
    world.modes.insert(1, Mode::Says(b"d12:error-reason16:Ran out of ports6:result5:errore"));
    world.modes.insert(2, Mode::Alive);
    let before = world.client.sessions().at(address(1));
    let moved: Vec<ExchangeId> = (60..80).map(|call| world.ask(call, Verb::Offer, 0, b"")).collect();
    world.run(5);
    assert!(moved.iter().all(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 2))));
    assert!(world.client.sessions().at(address(1)) > before);
}

#[test]
fn a_silent_node_is_asked_again_and_then_the_next_one() {
    let mut world = World::new(2, table());
    world.run(2);
    world.modes.insert(1, Mode::Frozen);
    let offers: Vec<ExchangeId> = (1..=20).map(|call| world.ask(call, Verb::Offer, 0, b"")).collect();
    world.run(1000);
    assert!(offers.iter().all(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 2))));
    assert!(world.value(Counter::Moved) > 0 && world.value(Counter::Retransmissions) > 0);

    // What belongs to a session has one node: at 0, 250, 750 and 1750 ms, each time the same datagram, and then it has failed.
    let mut asked = Asked::new().then_answered();
    let before = asked.world.value(Counter::Retransmissions);
    let answer = asked.world.ask(5, Verb::Answer, 1, b"b");
    for (millis, again) in [(249, 0), (2, 1), (498, 1), (2, 2), (998, 2), (2, 3), (248, 3)] {
        asked.world.run(millis);
        assert_eq!(asked.world.value(Counter::Retransmissions) - before, again);
        assert_eq!(asked.world.outcome(answer), None);
    }
    asked.world.run(2);
    assert_eq!(asked.world.outcome(answer), Some((MediaOutcome::Failed, 0)));
}

#[test]
fn an_unreachable_node_that_says_nothing_is_given_up() {
    let mut asked = Asked::new().then_answered();
    let answer = asked.world.ask(5, Verb::Answer, 1, b"b");
    asked.world.unreachable(1);
    asked.world.run(49);
    assert_eq!(asked.world.outcome(answer), None, "it was asked whether it is there");
    asked.world.run(1);
    assert_eq!(asked.world.outcome(answer), Some((MediaOutcome::Failed, 0)));
    let none = asked.world.ask(6, Verb::Offer, 0, b"");
    assert_eq!(asked.world.outcome(none), Some((MediaOutcome::NoNode, 0)));
    assert_eq!((asked.world.value(Counter::Unreachable), asked.world.value(Counter::NodesUsable)), (1, 0));
}

/// Anybody can say by ICMP that nobody listens there. A node that answers is there, whoever says so and however often.
#[test]
fn a_node_that_answers_is_there_whatever_the_kernel_says() {
    let mut world = World::new(1, table());
    world.run(3);
    let mut offers = Vec::new();
    for call in 0..12_000 {
        (0..3).for_each(|_| world.unreachable(1));
        if call % 20 == 0 {
            offers.push(world.ask(call, Verb::Offer, 0, b""));
        }
        world.run(1);
    }
    world.run(3);
    assert!(offers.iter().all(|offer| world.outcome(*offer) == Some((MediaOutcome::Done, 1))));
    assert_eq!([Counter::BreakersOpened, Counter::Retransmissions].map(|counter| world.value(counter)), [0, 0]);
    // It dies under that flood: silence gives it up, as without.
    world.modes.insert(1, Mode::Frozen);
    for _ in 0..1_000 {
        world.unreachable(1);
        world.run(1);
    }
    assert_eq!((world.value(Counter::BreakersOpened), world.value(Counter::NodesUsable)), (1, 0));
}

/// A node that is started again is gone for a moment, and its kernel says so: it is back at once.
#[test]
fn a_node_that_was_started_again_is_back_at_once() {
    let mut world = World::new(1, table());
    world.run(3);
    for (down, back) in [(30, 0), (60, 60)] {
        world.modes.insert(1, Mode::Frozen);
        let offer = world.ask(down, Verb::Offer, 0, b"");
        for _ in 0..down {
            world.unreachable(1);
            world.run(1);
        }
        world.modes.insert(1, Mode::Alive);
        world.run(back);
        assert_eq!(world.value(Counter::NodesUsable), 1, "{down}");
        world.run(250);
        let outcome = if back == 0 { (MediaOutcome::Done, 1) } else { (MediaOutcome::NoNode, 0) };
        assert_eq!(world.outcome(offer), Some(outcome), "a call waits {} ms for it", SUSPICION.as_millis());
        world.run(12_000);
    }
}

#[test]
fn a_delete_is_asked_for_until_it_is_acknowledged() {
    let mut asked = Asked::new().then_answered();
    let world = &mut asked.world;
    world.modes.insert(1, Mode::Says(b"d12:error-reason4:Busy6:result5:errore"));
    world.ended(5);
    world.run(4000);
    assert!(world.value(Counter::DeletesRetried) >= 2);
    assert_eq!(world.client.sessions().live(), 1);
    // A node that knows nothing of it says so in one of two ways.
    world.modes.insert(1, Mode::Says(b"d12:error-reason15:Unknown call-id6:result5:errore"));
    world.run(10_000);
    assert_eq!((world.value(Counter::DeletesUnknown), world.client.sessions().live()), (1, 0));
    world.modes.insert(1, Mode::Alive);
    world.ask(6, Verb::Offer, 0, b"");
    world.run(5);
    world.modes.insert(1, Mode::Says(b"d6:result2:ok7:warning17:Call-ID not founde"));
    world.ended(6);
    world.run(5);
    assert_eq!((world.value(Counter::DeletesUnknown), world.client.sessions().live()), (2, 0));
}
