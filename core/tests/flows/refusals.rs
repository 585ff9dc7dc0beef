//! What cannot be served, and how it is told (SPEC §3, RFC 3261 §16.3, §21).

use corelane_core::engine::{Budget, Timers, UnknownSource};
use corelane_core::routing::build::Builder;
use corelane_core::{Counter, Input};

use super::world::{
    CALLER, GATEWAY, Request, STRANGER, Sent, World, answered, endpoint, invite, ladder, response, settings,
};

fn refused(world: &mut World, request: &Request) -> Sent {
    let sent = world.deliver(CALLER, &request.text());
    assert_eq!(sent.len(), 1, "{:?}", ladder(&sent));
    sent[0].clone()
}

#[test]
fn a_number_without_route_gets_404() {
    for number in ["999", "alice", "49123456789012345678901234567890123"] {
        let mut world = World::new();
        let sent = world.deliver(CALLER, &invite(number, "n").text());
        assert_eq!(sent.last().map(Sent::status), Some(404), "{number}");
        assert!(sent.last().is_some_and(|sent| sent.header("To").contains(";tag=")));
        assert_eq!(world.count(Counter::CallsLive), 0);
        world.settle();
    }
}

#[test]
fn a_strangers_request_meets_silence_or_403() {
    let mut world = World::new();
    let mut options = invite("1", "opt");
    options.method = "OPTIONS";
    for text in [invite("4930123456", "x").text(), options.text()] {
        assert!(world.deliver(STRANGER, &text).is_empty());
    }
    assert_eq!(world.count(Counter::UnknownSource), 2);
    let mut world = World::with(corelane_core::Settings { unknown_source: UnknownSource::Forbid, ..settings() });
    assert_eq!(world.deliver(STRANGER, &invite("4930123456", "x").text())[0].status(), 403);
    assert_eq!(world.count(Counter::ServerTransactionsLive), 0, "answered without state");
    world.settle();
}

#[test]
fn options_are_answered_to_providers_and_gateways() {
    let mut world = World::new();
    let mut options = invite("1", "opt");
    options.method = "OPTIONS";
    options.max_forwards = 0;
    for peer in [CALLER, GATEWAY] {
        let sent = world.deliver(peer, &options.text());
        assert_eq!(sent[0].status(), 200);
        assert!(sent[0].header("Allow").contains("INVITE"));
    }
}

/// RFC 3261 §8.2.2.3: who answers for himself says what he does not support. A proxy's own affair is Proxy-Require only: the INVITE passes.
#[test]
fn options_that_require_something_get_420() {
    let mut world = World::new();
    let mut options = invite("1", "opt");
    options.method = "OPTIONS";
    options.extra.push("Require: 100rel, foo".into());
    let answer = refused(&mut world, &options);
    assert_eq!((answer.status(), answer.headers("Unsupported")), (420, vec!["100rel", "foo"]));
    let mut passes = invite("4930123456", "passes");
    passes.extra.push("Require: 100rel, foo".into());
    assert_eq!(world.deliver(CALLER, &passes.text()).len(), 2);
    world.settle();
}

#[test]
fn methods_that_are_not_served_get_405_or_481() {
    let mut world = World::new();
    for (method, status) in [
        ("REGISTER", 405),
        ("SUBSCRIBE", 405),
        ("PUBLISH", 405),
        ("MESSAGE", 405),
        ("X-UNKNOWN", 405),
        ("BYE", 481),
        ("UPDATE", 481),
    ] {
        let mut request = invite("4930123456", method);
        request.method = method;
        let answer = refused(&mut world, &request);
        assert_eq!(answer.status(), status, "{method}");
        if status == 405 {
            assert!(answer.header("Allow").contains("BYE"));
        }
    }
    world.settle();
}

/// RFC 3261 §16.3 steps 2, 3 and 5; RFC 5393 §4.2.
#[test]
fn the_checks_of_a_proxy() {
    let mut world = World::new();
    let mut request = invite("4930123456", "mf");
    request.max_forwards = 0;
    assert_eq!(refused(&mut world, &request).status(), 483);

    let mut request = invite("4930123456", "ext");
    request.extra.push("Proxy-Require: sec-agree, foo".into());
    let answer = refused(&mut world, &request);
    assert_eq!(answer.status(), 420);
    assert_eq!(answer.headers("Unsupported"), ["sec-agree", "foo"]);

    for uri in ["mailto:a@b", "sips:4930@10.0.0.1"] {
        let mut request = invite("4930123456", "uri");
        request.uri = uri.into();
        assert_eq!(refused(&mut world, &request).status(), 416, "{uri}");
    }

    let mut request = invite("4930123456", "relay");
    request.routes.push("<sip:203.0.113.5;lr>".into());
    assert_eq!(refused(&mut world, &request).status(), 403);
    let mut request = invite("4930123456", "outbound");
    request.routes.push("<sip:10.0.0.1;lr>".into());
    let sent = world.deliver(CALLER, &request.text());
    assert_eq!(
        ladder(&sent),
        [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")],
        "a Route that names us is popped"
    );
    assert!(sent[1].headers("Route").is_empty());
    world.settle();
}

/// RFC 3261 §16.3 step 3: what would go on is out of hops; what ends here anyway is answered as ever, and a CANCEL goes no further than its hop.
#[test]
fn each_method_out_of_hops() {
    let spent = |request: Request| Request { max_forwards: 0, ..request };
    let mut world = World::new();
    for (method, status) in [("INVITE", 483), ("OPTIONS", 200), ("REGISTER", 405), ("X-ODD", 405), ("BYE", 481)] {
        let request = spent(Request { method, ..invite("4930123456", method) });
        assert_eq!(refused(&mut world, &request).status(), status, "{method}");
    }
    let call = answered(&mut world, "hops");
    for (cseq, method) in (2..).zip(["INVITE", "UPDATE", "PRACK", "OPTIONS", "INFO", "NOTIFY", "X-ODD", "BYE"]) {
        let request = spent(call.caller_sends(method, &format!("hops-{cseq}"), cseq));
        assert_eq!(refused(&mut world, &request).status(), 483, "{method} inside the dialog");
    }
    assert!(world.deliver(CALLER, &spent(call.caller_sends("ACK", "hops-2", 2)).text()).is_empty(), "of the INVITE");
    assert!(world.deliver(CALLER, &spent(call.caller_sends("ACK", "hops-ack", 1)).text()).is_empty());
    assert_eq!(world.count(Counter::CallsLive), 1);
    let request = invite("4930123456", "cancel");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    let sent = world.deliver(CALLER, &spent(request.hop("CANCEL")).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    assert_eq!(sent[1].header("Max-Forwards"), "70");
    world.deliver(GATEWAY, &response(&forwarded, 487, "t", &[]));
    world.settle();
}

/// RFC 5393 §4.2: the same request again is a loop, a changed one is a spiral.
#[test]
fn a_loop_is_482_and_a_spiral_a_second_call() {
    let mut world = World::new();
    let request = invite("4930123456", "spin");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    let mut back = request.clone();
    back.via =
        format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-between\r\nVia: {}", forwarded.headers("Via").join("\r\nVia: "));
    assert_eq!(refused(&mut world, &back).status(), 482);
    // A gateway that is ourselves: our own Via is on top.
    let mut direct = request.clone();
    direct.via = forwarded.headers("Via").join("\r\nVia: ");
    assert_eq!(refused(&mut world, &direct).status(), 482);
    back.uri = "sip:4940654321@10.0.0.1".into();
    let sent = world.deliver(CALLER, &back.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    assert_eq!(world.count(Counter::CallsLive), 2);
    for request in [&forwarded, &sent[1]] {
        world.deliver(GATEWAY, &response(request, 486, "t", &[]));
    }
    world.settle();
}

/// RFC 5393 §4.2: who sends it decides as well where a request goes. The same Request-URI from a switch that is a provider of its own is a
/// spiral; when that one gets it back, a loop.
#[test]
fn the_same_number_from_another_provider_is_a_spiral() {
    const BEYOND: &str = "198.51.100.40:5060";
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    for (group, source, gateway) in [(1, "192.0.2.10", GATEWAY), (2, "198.51.100.20", BEYOND)] {
        let provider = builder.provider(source, group);
        builder.address(provider, source);
        let gateway = builder.gateway(gateway, gateway);
        let carrier = builder.carrier(source, &[gateway]);
        builder.route(group, "49", carrier);
    }
    let mut world = World::routed_by(builder.finish());
    let request = invite("4930123456", "switch");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    let through_the_switch = |passed: &Sent, branch: &str| {
        let vias = passed.headers("Via").join("\r\nVia: ");
        Request { via: format!("SIP/2.0/UDP {GATEWAY};branch=z9hG4bK-{branch}\r\nVia: {vias}"), ..request.clone() }
    };
    let second = world.deliver(GATEWAY, &through_the_switch(&forwarded, "one").text());
    assert_eq!(ladder(&second), [format!("{GATEWAY} 100"), format!("{BEYOND} INVITE")]);
    let third = world.deliver(GATEWAY, &through_the_switch(&second[1], "two").text());
    assert_eq!(ladder(&third), [format!("{GATEWAY} 482")]);
    world.deliver(BEYOND, &response(&second[1], 486, "t", &[]));
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    world.settle();
}

#[test]
fn tel_uris_are_routed() {
    let mut world = World::new();
    let mut request = invite("", "tel");
    request.uri = "tel:+49-30-123456;phone-context=example".into();
    let sent = world.deliver(CALLER, &request.text());
    assert_eq!(sent[1].start_line(), "INVITE sip:+4930123456@198.51.100.20:5060;user=phone SIP/2.0");
}

/// I8: a full slab refuses new calls with 503 and Retry-After; calls in progress do not notice.
#[test]
fn a_full_slab_refuses_new_calls_only() {
    let budget = Budget { calls: 1, ..Budget::for_shard(100, 10, 1, &Timers::default()) };
    let mut world = World::with(corelane_core::Settings { budget, ..settings() });
    let call = answered(&mut world, "one");
    let answer = refused(&mut world, &invite("4930123456", "two"));
    assert_eq!(answer.status(), 503);
    let wait: u32 = answer.header("Retry-After").parse().expect("seconds");
    assert!((1..=5).contains(&wait));
    assert_eq!(world.count(Counter::Full), 1);
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "one-bye", 2).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.deliver(CALLER, &invite("4930123456", "three").text()).len(), 2, "room again");
    world.settle();
}

/// Each slab in turn: never a leak, always an answer.
#[test]
fn each_resource_may_be_the_one_that_is_full() {
    let plenty = Budget::for_shard(100, 10, 1, &Timers::default());
    for budget in [
        Budget { server_transactions: 0, ..plenty },
        Budget { client_transactions: 0, ..plenty },
        // The INVITE as it came and the 100 take both; none is left for the INVITE as it is sent.
        Budget { buffers: [2, 0, 0, 0], ..plenty },
    ] {
        let mut world = World::with(corelane_core::Settings { budget, ..settings() });
        let sent = world.deliver(CALLER, &invite("4930123456", "none").text());
        assert!(sent.iter().all(|sent| sent.to == CALLER), "{:?}", ladder(&sent));
        assert_eq!(sent.last().map(Sent::status), Some(503), "{budget:?}");
        assert_eq!(world.count(Counter::CallsLive), 0);
        world.settle();
    }
}

/// SPEC §3 *Failure*: 400 where the top can be read, silence and a counter where not.
#[test]
fn malformed_messages_get_400_or_silence() {
    let mut world = World::new();
    let lie = invite("4930123456", "lie").text().replace("Content-Length: 5", "Content-Length: 5000");
    assert_eq!(world.deliver(CALLER, &lie)[0].status(), 400);
    for garbage in ["garbage\r\n\r\n", "INVITE sip:x SIP/2.0\r\nVia: nonsense\r\n\r\n", "\0\0\0\0"] {
        assert!(world.deliver(CALLER, garbage).is_empty());
    }
    assert_eq!(world.count(Counter::ParseErrors), 4);
    assert_eq!(world.count(Counter::Rejected400), 1);
    world.settle();
}

/// RFC 3261 §8.1.1.3: who calls without a tag would be nobody's side of the dialog, and of the session at a media node.
#[test]
fn a_call_without_a_from_tag_gets_400() {
    let mut world = World::new();
    for bad in untagged(&invite("4930123456", "untagged")) {
        assert_eq!(ladder(&world.deliver(CALLER, &bad)), [format!("{CALLER} 400")], "{bad}");
    }
    let counts =
        [Counter::CallsStarted, Counter::Rejected400, Counter::ParseErrors].map(|counter| world.count(counter));
    assert_eq!(counts, [0, 4, 2]);
    world.settle();
}

/// A request whose From has no tag, in every way to have none: two that RFC 2543 allowed, two that break the grammar.
pub(crate) fn untagged(request: &Request) -> [String; 4] {
    let good = request.text();
    let from = good.lines().find(|line| line.starts_with("From:")).expect("it has one");
    let (address, _) = from.split_once(";tag=").expect("with a tag");
    ["", ";x=y", ";tag=", ";tag"].map(|end| good.replace(from, &format!("{address}{end}")))
}

#[test]
fn too_large_a_request_gets_513() {
    let mut world = World::new();
    let mut request = invite("4930123456", "big");
    request.body = "x".repeat(9000);
    let text = request.text();
    let flow = corelane_core::Flow {
        peer: endpoint(CALLER),
        listener: corelane_core::ListenerIndex(0),
        transport: corelane_core::Transport::Udp,
    };
    let bytes = &text.as_bytes()[..corelane_core::limits::MESSAGE_SIZE_MAX];
    let received_at = corelane_core::Instant::from_micros(1_000_000);
    let sent = world.handle(Input::Datagram { flow, received_at, bytes, truncated: true, handed_over: None });
    assert_eq!(sent[0].status(), 513);
    assert_eq!(world.count(Counter::Oversized), 1);
    world.settle();
}

/// A retransmission of a statelessly refused request gets the same tag (RFC 3261 §8.2.7).
#[test]
fn stateless_answers_are_repeatable() {
    let mut world = World::new();
    let mut request = invite("4930123456", "same");
    request.max_forwards = 0;
    let first = refused(&mut world, &request);
    assert_eq!(refused(&mut world, &request).text, first.text);
    world.settle();
}

/// A forged datagram must not make us answer its victim.
#[test]
fn a_strangers_malformed_request_meets_silence() {
    let mut world = World::new();
    let lie = invite("4930123456", "lie").text().replace("Content-Length: 5", "Content-Length: 5000");
    assert!(world.deliver(STRANGER, &lie).is_empty());
    world.settle();
}

#[test]
fn another_version_gets_505() {
    let mut world = World::new();
    let text = invite("4930123456", "v3").text().replacen("SIP/2.0\r\n", "SIP/3.0\r\n", 1);
    assert_eq!(world.deliver(CALLER, &text)[0].status(), 505);
    world.settle();
}

/// RFC 4475 §3.2.1: a branch of nothing but the cookie identifies nothing; nor does one branch merge two Call-IDs.
#[test]
fn equal_branches_do_not_merge_calls() {
    for branch in ["z9hG4bK", "z9hG4bKsame"] {
        let mut world = World::new();
        for call in ["one", "two"] {
            let mut request = invite("4930123456", call);
            request.via = format!("SIP/2.0/UDP {CALLER};branch={branch}");
            let sent = world.deliver(CALLER, &request.text());
            assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")], "{branch} {call}");
        }
        world.settle();
    }
}
