//! The hunt (SPEC §3 *Hunt*): what makes Corelane try the next gateway, and what the caller gets when none is left.

use std::net::SocketAddr;

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::peer::{Message, Peer, Request};
use crate::serial;
use crate::sipp::{Running, Sipp};
use crate::site::{Site, Tables};

/// Calls of each test.
const CALLS: u32 = 20;

/// A gateway that does not take its calls.
#[derive(Copy, Clone)]
enum Failing {
    /// It answers this.
    Says(u16),
    /// It rings, and then answers this.
    RingsAndSays(u16),
    /// It is there and reads nothing.
    Silent,
    /// Nobody has its port: the kernel may say so (ICMP).
    Gone,
    /// It says 100 and no more.
    Trying,
}

/// What stands for a failing gateway as long as the test lasts.
struct Standing {
    process: Option<Running>,
    _socket: Option<Peer>,
}

impl Failing {
    fn start(self, site: &Site, at: SocketAddr, corelane: SocketAddr) -> Standing {
        let process = |scenario, word, value| {
            let gateway = Sipp::uas(site, scenario, at).word(word, value).start();
            Standing { process: Some(gateway), _socket: None }
        };
        match self {
            Failing::Says(code) => process("uas_refuses", "CODE", code),
            Failing::RingsAndSays(code) => process("uas_rings_and_refuses", "CODE", code),
            Failing::Trying => process("uas_cancelled", "PROGRESS", 100),
            Failing::Silent => Standing { process: None, _socket: Some(Peer::at(at, corelane)) },
            Failing::Gone => Standing { process: None, _socket: None },
        }
    }
}

impl Standing {
    /// Each call must have passed by here, and have ended here as its scenario says: refused and acknowledged, or cancelled.
    fn stop(self) {
        if let Some(gateway) = self.process {
            assert_eq!(gateway.stop().successful, u64::from(CALLS), "calls that failed at this gateway");
        }
    }
}

/// Timers that are short, and long enough for a gateway on a busy machine to say that it is there.
fn options() -> Options {
    Options { fr_timer_ms: 2_500, progress_timeout_ms: 4_000, ..Options::default() }
}

/// One gateway fails; the second of its carrier answers, and nobody upstream learns that there was another.
fn the_next_gateway_answers(failing: Failing) -> Counters {
    let site = Site::new();
    let (address, first, second) = (listener(&site), site.address(21), site.address(22));
    let tables = Tables::new(address, site.caller()).gateway("49", first).then(second);
    let corelane = Corelane::start(&site, &tables, &options());
    let first = failing.start(&site, first, address);
    let second = Sipp::uas(&site, "uas_basic", second).start();
    Sipp::uac(&site, "uac_basic", site.caller(), address).dial(&["4912345"]).calls(CALLS, 100).many_sockets().run();
    first.stop();
    assert_eq!(second.stop().successful, u64::from(CALLS));
    let counters = corelane.stop_empty();
    let expected = [("calls_answered", 1), ("ended_by_caller", 1), ("attempts", 2), ("hunts", 1)];
    for (name, each) in expected {
        assert_eq!(counters.node(name), each * u64::from(CALLS), "{name}");
    }
    counters
}

#[test]
fn a_503_sends_the_call_to_the_next_gateway() {
    let _serial = serial();
    the_next_gateway_answers(Failing::Says(503));
}

#[test]
fn a_302_sends_the_call_to_the_next_gateway() {
    let _serial = serial();
    the_next_gateway_answers(Failing::Says(302));
}

/// SPEC §3 *Hunt*, hunt_after_ringing.
#[test]
fn a_503_after_ringing_sends_the_call_to_the_next_gateway() {
    let _serial = serial();
    the_next_gateway_answers(Failing::RingsAndSays(503));
}

#[test]
fn silence_sends_the_call_to_the_next_gateway_after_fr_timer() {
    let _serial = serial();
    let counters = the_next_gateway_answers(Failing::Silent);
    assert!(counters.node("retransmissions") >= u64::from(CALLS), "the silent gateway was asked again");
}

#[test]
fn a_closed_port_sends_the_call_to_the_next_gateway() {
    let _serial = serial();
    let counters = the_next_gateway_answers(Failing::Gone);
    assert!(counters.node("unreachable") >= 1, "the kernel said that nobody is there");
}

#[test]
fn a_bare_100_sends_the_call_to_the_next_gateway_after_progress_timeout() {
    let _serial = serial();
    the_next_gateway_answers(Failing::Trying);
}

/// RFC 3261 §16.7 step 6; a 6xx and a busy callee end the hunt at once.
#[test]
fn the_best_response_goes_upstream_when_all_fail() {
    use Failing::{Gone, Says, Silent};
    /// First gateway, second one, what the caller gets, whether the second one is tried.
    const ROWS: [(Failing, Failing, u16, bool); 11] = [
        (Says(503), Says(500), 500, true),
        (Says(503), Says(480), 480, true),
        (Says(503), Says(603), 603, true),
        (Says(504), Says(502), 504, true),
        (Silent, Silent, 408, true),
        (Silent, Says(486), 486, true),
        // A challenge is an answer only where nobody else had one.
        (Says(407), Says(480), 480, true),
        (Says(503), Says(407), 407, true),
        // Nobody's overload but the gateways' own (SPEC §3 *Answers*, remap_503).
        (Says(503), Says(503), 500, true),
        (Says(486), Gone, 486, false),
        (Says(603), Gone, 603, false),
    ];
    let _serial = serial();
    let site = Site::new();
    let address = listener(&site);
    let mut tables = Tables::new(address, site.caller());
    let mut places = Vec::new();
    for row in 0..ROWS.len() {
        let places_of_row = [site.address(21), site.address(22)];
        tables = tables.gateway(&format!("{}", 30 + row), places_of_row[0]).then(places_of_row[1]);
        places.push(places_of_row);
    }
    let corelane = Corelane::start(&site, &tables, &options());
    let mut attempts = 0;
    for (row, ((first, second, code, both), [at, then])) in ROWS.into_iter().zip(places).enumerate() {
        let gateways = [first.start(&site, at, address), second.start(&site, then, address)];
        let caller = Sipp::uac(&site, "uac_refused", site.caller(), address).word("CODE", code);
        caller.dial(&[&format!("{}12345", 30 + row)]).calls(CALLS, 100).run();
        gateways.into_iter().for_each(Standing::stop);
        attempts += u64::from(CALLS) * if both { 2 } else { 1 };
    }
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("attempts"), attempts);
    assert_eq!(counters.node("calls_answered"), 0);
    let ended = counters.node("ended_refused") + counters.node("ended_unanswered");
    assert_eq!(ended, u64::from(CALLS) * ROWS.len() as u64);
}

/// `redirect` of two providers: `pass` shows the caller who is meant, `recurse` looks that number up and calls it. A challenge (401, 407) is an
/// operator's business, and none of the caller's while another gateway takes the call.
#[test]
fn a_redirection_is_passed_or_followed_and_a_challenge_passed_over() {
    const FOLLOWS: &str = "77";
    let _serial = serial();
    let site = Site::new();
    let (address, first, other) = (listener(&site), site.address(21), site.address(22));
    let tables = Tables::new(address, site.caller())
        .provider("redirect", "pass")
        .another_provider()
        .source(site.caller(), None)
        .for_source("tech_prefix", FOLLOWS)
        .provider("redirect", "recurse")
        .gateway("49", first)
        .gateway("50", other)
        .gateway("51", first)
        .then(other);
    let corelane = Corelane::start(&site, &tables, &options());
    let caller = Peer::new(site.caller(), address);
    let (moved, there) = (Peer::at(first, address), Peer::at(other, address));
    let redirected = |invite: &Request| -> Message {
        caller.send(invite.text());
        let received = moved.receive_request(invite.call_id(), "INVITE", 1);
        let elsewhere = received.answer("302 Moved Temporarily", first).replace("<sip:gateway@", "<sip:5012345@");
        moved.send(elsewhere);
        moved.receive_request(invite.call_id(), "ACK", 1)
    };

    let invite = caller.request("INVITE", "4912345");
    redirected(&invite);
    let passed = caller.receive_final(&invite);
    let contact = format!("<sip:5012345@{first}>");
    assert_eq!((passed.code(), passed.header("Contact")), (Some(302), Some(contact.as_str())), "{}", passed.text());
    caller.send(invite.ack(&passed).text());

    let invite = caller.request("INVITE", &format!("{FOLLOWS}4912345"));
    redirected(&invite);
    let received = there.receive_request(invite.call_id(), "INVITE", 1);
    assert!(received.text().starts_with(&format!("INVITE sip:5012345@{other} ")), "{}", received.text());
    whole_call(&caller, &there, invite, &received);

    for challenge in ["401 Unauthorized", "407 Proxy Authentication Required"] {
        let invite = caller.request("INVITE", "5112345");
        caller.send(invite.text());
        moved.send(moved.receive_request(invite.call_id(), "INVITE", 1).answer(challenge, first));
        let received = there.receive_request(invite.call_id(), "INVITE", 1);
        whole_call(&caller, &there, invite, &received);
    }

    let counters = corelane.stop_empty();
    let expected = [("calls_answered", 3), ("attempts", 7), ("gateway_challenges", 2)];
    for (name, value) in expected {
        assert_eq!(counters.node(name), value, "{name}");
    }
}

/// The gateway that got this INVITE answers it, and the caller hangs up.
fn whole_call(caller: &Peer, gateway: &Peer, invite: Request, received: &Message) {
    gateway.send(received.answer("200 OK", gateway.address()));
    let dialog = caller.answered(invite);
    let bye = caller.say_bye(&dialog);
    gateway.send(gateway.receive_request(dialog.call_id(), "BYE", 2).answer("200 OK", gateway.address()));
    assert_eq!(caller.receive_final(&bye).code(), Some(200));
}

/// A spiral (SPEC §3 *Tokens*): a gateway is Corelane's own listener, and the call comes back for another number. Two calls to Corelane, no loop
/// (RFC 5393), one to its ends; either of them hangs up.
#[test]
fn a_call_that_comes_back_for_another_number_goes_on() {
    let _serial = serial();
    let site = Site::new();
    let (address, answers, hangs_up) = (listener(&site), site.address(21), site.address(22));
    let tables = Tables::new(address, site.caller())
        .source(address.ip(), None)
        .gateway("49", address)
        .for_gateway("strip", 2)
        .for_gateway("prepend", "50")
        .gateway("33", address)
        .for_gateway("strip", 2)
        .for_gateway("prepend", "51")
        .gateway("50", answers)
        .gateway("51", hangs_up);
    let corelane = Corelane::start(&site, &tables, &options());
    let answers = Sipp::uas(&site, "uas_reinvite", answers).start();
    let hangs_up = Sipp::uas(&site, "uas_hangs_up", hangs_up).start();
    let calls = [("uac_reinvite", "4912345"), ("uac_hungup", "3312345")].map(|(scenario, number)| {
        let caller = Sipp::uac(&site, scenario, site.caller(), address).dial(&[number]).calls(CALLS, 50);
        caller.many_sockets().start()
    });
    for caller in calls {
        caller.complete();
    }
    assert_eq!([answers.stop().successful, hangs_up.stop().successful], [u64::from(CALLS); 2]);
    let counters = corelane.stop_empty();
    let twice = 2 * u64::from(CALLS);
    for (name, calls) in [("calls_started", 2), ("calls_answered", 2), ("ended_by_caller", 1), ("ended_by_callee", 1)] {
        assert_eq!(counters.node(name), calls * twice, "{name}");
    }
}
