//! Caps, rates, days and overload as calls meet them (SPEC §2 rows 3, 6 and 9, §3 *Refusals*). Their exactness over threads is
//! `tests/caps.rs`.

use std::time::Duration;

use corelane_core::call::EndReason;
use corelane_core::engine::{Budget, Policy, Timers};
use corelane_core::routing::ListenerSlot;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{GatewayRecord, ProviderRecord};
use corelane_core::{Counter, Flow, Input, Instant, ListenerIndex, Settings, Transport};

use super::world::{CALLER, STRANGER, Sent, World, endpoint, invite, ladder, response, settings};

const FIRST: &str = "198.51.100.1:5060";
const SECOND: &str = "198.51.100.2:5060";

/// One provider, two gateways in order.
fn image(provider: impl FnOnce(&mut ProviderRecord), first: impl FnOnce(&mut GatewayRecord)) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    builder.listener("10.0.1.1:5070");
    let acme = builder.provider("acme", 1);
    builder.edit_provider(acme, provider);
    builder.address(acme, "192.0.2.10");
    let gateways = [FIRST, SECOND].map(|address| builder.gateway(address, address));
    builder.edit_gateway(gateways[0], first);
    let carrier = builder.carrier("both", &gateways);
    builder.route(1, "49", carrier);
    builder.finish()
}

/// Starts a call; the lines that came out.
fn start(world: &mut World, call: &str) -> Vec<String> {
    ladder(&world.deliver(CALLER, &invite("4930123456", call).text()))
}

/// A full trunk: the provider's own code with Q.850 34 and no Retry-After; room again when a call ends, however it ends.
#[test]
fn a_providers_calls_are_capped() {
    let mut world = World::new().with_routing(image(
        |provider| {
            provider.max_calls = Some(1);
            provider.refuse_code = 480;
        },
        |_| {},
    ));
    let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
    let refused = world.deliver(CALLER, &invite("4930123456", "two").text());
    assert_eq!(ladder(&refused), [format!("{CALLER} 480")]);
    assert_eq!(refused[0].header("Reason"), "Q.850;cause=34");
    assert!(refused[0].headers("Retry-After").is_empty());
    assert_eq!(world.last_record().reason, EndReason::Refused);
    assert_eq!(world.count(Counter::ProviderCapped), 1);
    world.deliver(FIRST, &response(&first, 486, "a", &[]));
    assert_eq!(start(&mut world, "three"), [format!("{CALLER} 100"), format!("{FIRST} INVITE")]);
    world.settle();
    assert_eq!(start(&mut world, "four").len(), 2);
    world.settle();
}

/// Calls per second with a burst: the rate comes back with time.
#[test]
fn a_providers_rate_is_capped() {
    let mut world = World::new().with_routing(image(
        |provider| {
            provider.max_cps = Some(10);
            provider.burst = Some(3);
        },
        |_| {},
    ));
    let taken = (0..20).filter(|call| start(&mut world, &format!("burst{call}")).len() == 2).count();
    assert!((3..=4).contains(&taken), "{taken}");
    world.advance(Duration::from_secs(1));
    let taken = (0..20).filter(|call| start(&mut world, &format!("later{call}")).len() == 2).count();
    assert!((3..=4).contains(&taken), "{taken}");
    world.settle();
}

/// A row of `provider_address` has a rate of its own, under the provider's code; the provider's other addresses are not concerned.
#[test]
fn the_rate_of_an_address_is_capped() {
    const OTHER: &str = "192.0.2.77:5060";
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let acme = builder.provider("acme", 1);
    builder.edit_provider(acme, |provider| provider.refuse_code = 480);
    builder.address(acme, "192.0.2.0/24").address(acme, "192.0.2.10").cap_address(10);
    let gateway = builder.gateway(FIRST, FIRST);
    let carrier = builder.carrier("one", &[gateway]);
    builder.route(1, "49", carrier);
    let mut world = World::new().with_routing(builder.finish());
    for second in ["first", "later"] {
        let calls = (0..20).map(|call| start(&mut world, &format!("{second}{call}")));
        let (taken, refused): (Vec<_>, Vec<_>) = calls.partition(|lines| lines.len() == 2);
        assert_eq!(taken.len(), 2, "one, and a burst of a tenth of ten");
        assert!(refused.iter().all(|lines| *lines == [format!("{CALLER} 480")]));
        world.advance(Duration::from_secs(1));
    }
    assert_eq!((world.count(Counter::AddressCapped), world.count(Counter::ProviderCapped)), (36, 0));
    let other = invite("4930123456", "other").text().replace(CALLER, OTHER);
    assert_eq!(world.deliver(OTHER, &other).len(), 2);
    world.settle();
}

/// A capped gateway is passed over, and comes back when its call ends.
#[test]
fn a_capped_gateway_is_skipped() {
    let mut world = World::new().with_routing(image(|_| {}, |gateway| gateway.max_calls = Some(1)));
    let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
    assert_eq!(first.to, FIRST);
    assert_eq!(start(&mut world, "two"), [format!("{CALLER} 100"), format!("{SECOND} INVITE")]);
    // Answered: the call itself holds the place now.
    world.deliver(FIRST, &response(&first, 200, "a", &["Contact: <sip:b@198.51.100.1>"]));
    assert_eq!(start(&mut world, "three"), [format!("{CALLER} 100"), format!("{SECOND} INVITE")]);
    world.advance(Duration::from_secs(61));
    assert_eq!(start(&mut world, "four"), [format!("{CALLER} 100"), format!("{FIRST} INVITE")], "noack_timeout");
    world.settle();
}

/// A full candidate is passed over when a call's gateways are chosen, and is counted there; likewise each one of a full carrier.
#[test]
fn what_is_passed_over_is_counted() {
    let skipped = |world: &mut World| (world.count(Counter::CandidateCapped), world.count(Counter::GatewaysSkipped));
    let mut world = World::new().with_routing(image(|_| {}, |gateway| gateway.max_calls = Some(1)));
    for (call, passed_over) in [("one", 0), ("two", 1), ("three", 2)] {
        start(&mut world, call);
        assert_eq!(skipped(&mut world), (passed_over, passed_over));
    }
    world.settle();

    let mut world = of_one_carrier(1);
    start(&mut world, "one");
    assert_eq!(skipped(&mut world), (0, 0));
    start(&mut world, "two");
    assert_eq!(skipped(&mut world), (2, 2));
    world.settle();
}

/// A gateway that was given up keeps its place until its transaction ends: it may still have the call.
#[test]
fn an_abandoned_gateway_keeps_its_place_while_it_may_answer() {
    let mut world = World::new().with_routing(image(|_| {}, |gateway| gateway.max_calls = Some(1)));
    assert_eq!(start(&mut world, "one")[1], format!("{FIRST} INVITE"));
    world.advance(Duration::from_secs(5));
    assert_eq!(start(&mut world, "two")[1], format!("{SECOND} INVITE"));
    world.advance(Duration::from_secs(40));
    assert_eq!(start(&mut world, "three")[1], format!("{FIRST} INVITE"));
    world.settle();
}

/// Two gateways in order, of one carrier that takes so many calls.
fn of_one_carrier(max_calls: u32) -> World {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let acme = builder.provider("acme", 1);
    builder.address(acme, "192.0.2.10");
    let gateways = [FIRST, SECOND].map(|address| builder.gateway(address, address));
    let carrier = builder.carrier("both", &gateways);
    builder.edit_carrier(carrier, |carrier| {
        carrier.max_calls = Some(max_calls);
        carrier.max_cps = Some(1);
        carrier.burst = Some(0);
    });
    builder.route(1, "49", carrier);
    World::routed_by(builder.finish())
}

fn unreachable(world: &mut World, sent: &Sent) -> Vec<Sent> {
    let flow = Flow { peer: endpoint(&sent.to), listener: ListenerIndex(0), transport: Transport::Udp };
    world.handle(Input::Unreachable { flow, sent: &sent.text.as_bytes()[..200] })
}

/// A call is one call of its carrier, however many of its gateways are asked: it goes on from a gateway that is silent, that is not
/// there, or that refuses. Another call has no place beside it, and has one as soon as it is over, whatever of it hangs.
#[test]
fn a_call_holds_its_carrier_once() {
    let failures: [fn(&mut World, &Sent) -> Vec<Sent>; 4] = [
        |world, _| world.advance(Duration::from_millis(4_010)),
        unreachable,
        |world, first| world.deliver(FIRST, &response(first, 503, "a", &[])),
        |world, first| {
            world.deliver(FIRST, &response(first, 100, "", &[]));
            world.advance(Duration::from_millis(10_010))
        },
    ];
    for fails in failures {
        let mut world = of_one_carrier(1);
        let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
        let second = fails(&mut world, &first).pop().expect("the next gateway's");
        assert_eq!((second.to.as_str(), second.start_line().starts_with("INVITE")), (SECOND, true));
        assert_eq!(world.holds(), [0, 1, 0]);
        assert_eq!(start(&mut world, "two"), [format!("{CALLER} 100"), format!("{CALLER} 503")]);
        world.deliver(SECOND, &response(&second, 486, "b", &[]));
        assert_eq!(world.holds(), [0; 3]);
        world.advance(Duration::from_millis(1_010));
        assert_eq!(start(&mut world, "three"), [format!("{CALLER} 100"), format!("{FIRST} INVITE")]);
        world.settle();
    }
}

/// One gateway is dead: of a carrier that takes two calls ten get through one after the other.
#[test]
fn a_dead_gateway_does_not_fill_its_carrier() {
    let dead: [fn(&mut World, &Sent) -> Vec<Sent>; 2] =
        [|world, _| world.advance(Duration::from_millis(4_010)), unreachable];
    for fails in dead {
        let mut world = of_one_carrier(2);
        for call in 0..10 {
            let first = world.deliver(CALLER, &invite("4930123456", &format!("call{call}")).text()).pop();
            let first = first.filter(|sent| sent.to == FIRST).expect("the carrier has room");
            let second = fails(&mut world, &first).pop().expect("the next gateway's");
            world.deliver(SECOND, &response(&second, 486, "b", &[]));
            world.advance(Duration::from_millis(1_010));
        }
        world.settle();
    }
}

/// The answer of a gateway that was given up is that call of its carrier, and nobody else's place is needed for it. The one that
/// ran then has its gateway's place until it is over, and none of the carrier.
#[test]
fn a_late_answer_has_the_calls_place() {
    let mut world = of_one_carrier(1);
    let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
    world.advance(Duration::from_millis(4_010));
    let sent = world.deliver(FIRST, &response(&first, 200, "a", &["Contact: <sip:b@198.51.100.1>"]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    world.advance(Duration::from_secs(40));
    assert_eq!(world.holds(), [0, 1, 0]);
    assert_eq!(start(&mut world, "two"), [format!("{CALLER} 100"), format!("{CALLER} 503")]);
    world.settle();
}

/// The hunt goes on to another carrier: the first one's place stays with the gateway there that may still answer, and goes when the call is
/// over. Of one that has refused nothing stays.
#[test]
fn a_call_leaves_a_carrier_where_nobody_can_answer_any_more() {
    let image = || {
        let mut builder = Builder::new();
        builder.listener("10.0.0.1:5060");
        let acme = builder.provider("acme", 1);
        builder.address(acme, "192.0.2.10");
        let gateways = [FIRST, SECOND, "198.51.100.3:5060"].map(|address| builder.gateway(address, address));
        let carriers = [&gateways[..2], &gateways[2..]].map(|gateways| builder.carrier("some", gateways));
        for carrier in carriers {
            builder.edit_carrier(carrier, |carrier| carrier.max_calls = Some(1));
        }
        builder.route_weighted(1, "49", carriers[0], 1, 1).route_weighted(1, "49", carriers[1], 2, 1);
        builder.finish()
    };
    let third = |world: &mut World, sent: Vec<Sent>| {
        let invite = sent.last().expect("the next gateway's").clone();
        assert_eq!(invite.to, "198.51.100.3:5060");
        let held = world.holds();
        world.deliver(&invite.to, &response(&invite, 486, "c", &[]));
        assert_eq!(world.holds(), [0; 3]);
        world.settle();
        held
    };
    // Silent, then a refusal: the silent one may still answer.
    let mut world = World::routed_by(image());
    world.deliver(CALLER, &invite("4930123456", "one").text());
    let second = world.advance(Duration::from_millis(4_010)).pop().expect("the second one's");
    let sent = world.deliver(SECOND, &response(&second, 503, "b", &[]));
    assert_eq!(third(&mut world, sent), [0, 2, 0]);
    // Two refusals.
    let mut world = World::routed_by(image());
    let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
    let second = world.deliver(FIRST, &response(&first, 503, "a", &[])).pop().expect("the second one's");
    let sent = world.deliver(SECOND, &response(&second, 503, "b", &[]));
    assert_eq!(third(&mut world, sent), [0, 1, 0]);
    // Silent, a refusal, and then the silent one refuses too.
    let mut world = World::routed_by(image());
    let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
    let second = world.advance(Duration::from_millis(4_010)).pop().expect("the second one's");
    let sent = world.deliver(SECOND, &response(&second, 503, "b", &[]));
    world.deliver(FIRST, &response(&first, 503, "a", &[]));
    assert_eq!(third(&mut world, sent), [0, 1, 0]);
}

/// Where nothing arrived a gateway has nothing of the call: its place goes back at once. Should it answer all the same, it needs its place
/// again: the answer counts where there is room, and is ended where there is none.
#[test]
fn an_unreachable_gateway_has_no_place() {
    for taken in [false, true] {
        let mut world = World::new().with_routing(image(|_| {}, |gateway| gateway.max_calls = Some(1)));
        let first = world.deliver(CALLER, &invite("4930123456", "one").text())[1].clone();
        unreachable(&mut world, &first);
        assert_eq!(world.holds(), [0; 3]);
        if taken {
            assert_eq!(start(&mut world, "two")[1], format!("{FIRST} INVITE"));
        }
        let sent = world.deliver(FIRST, &response(&first, 200, "a", &["Contact: <sip:b@198.51.100.1>"]));
        match taken {
            false => assert_eq!(ladder(&sent), [format!("{CALLER} 200")]),
            true => assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{FIRST} BYE")]),
        }
        assert_eq!(world.holds(), [0, 0, 1]);
        world.settle();
    }
}

/// A caller who cancels does not free a silent gateway: it may be busy with the call. Its carrier has no call any more.
#[test]
fn a_cancelled_silent_gateway_keeps_its_place_and_not_its_carriers() {
    let mut world = of_one_carrier(1);
    let request = invite("4930123456", "one");
    world.deliver(CALLER, &request.text());
    world.deliver(CALLER, &request.hop("CANCEL").text());
    world.advance(Duration::from_secs(5));
    assert_eq!(world.holds(), [0; 3]);
    world.settle();

    let mut world = World::new().with_routing(image(|_| {}, |gateway| gateway.max_calls = Some(1)));
    world.deliver(CALLER, &request.text());
    world.deliver(CALLER, &request.hop("CANCEL").text());
    world.advance(Duration::from_secs(5));
    assert_eq!(start(&mut world, "two")[1], format!("{SECOND} INVITE"));
    world.settle();
    assert_eq!(start(&mut world, "three")[1], format!("{FIRST} INVITE"));
    world.settle();
}

/// `max_calls_day` until midnight in the provider's zone (UTC here); `max_minutes_day` counts what was talked.
#[test]
fn daily_limits_reset_at_midnight() {
    let mut world = World::new().with_routing(image(|provider| provider.max_calls_day = Some(2), |_| {}));
    assert_eq!([start(&mut world, "a").len(), start(&mut world, "b").len()], [2, 2]);
    assert_eq!(start(&mut world, "c"), [format!("{CALLER} 503")]);
    assert_eq!(world.count(Counter::ProviderDayUsed), 1);
    world.advance(Duration::from_secs(86_400));
    assert_eq!(start(&mut world, "d").len(), 2);
    world.settle();

    let mut world = World::new().with_routing(image(|provider| provider.max_minutes_day = Some(1), |_| {}));
    let forwarded = world.deliver(CALLER, &invite("4930123456", "talk").text())[1].clone();
    world.deliver(FIRST, &response(&forwarded, 200, "a", &["Contact: <sip:b@198.51.100.1>"]));
    assert_eq!(start(&mut world, "meanwhile").len(), 2, "minutes count when a call ends");
    world.advance(Duration::from_secs(61));
    assert_eq!(start(&mut world, "after"), [format!("{CALLER} 503")]);
    world.settle();
}

/// Overload: what waited too long for too long is shed without state, new calls only. Whoever owns the socket is told what should not even
/// arrive, with each new call of that source, and never otherwise.
#[test]
fn overload_sheds_new_calls_and_nothing_else() {
    for shed_in_kernel in [false, true] {
        overload(shed_in_kernel);
    }
}

/// A world of one shard that has room for what an overload brings.
fn roomy(shed_in_kernel: bool, image: ImageBytes) -> World {
    let timers = Timers::default();
    let policy = Policy { shed_in_kernel, ..Policy::default() };
    let roomy = Settings { budget: Budget::for_shard(1_000, 100, 1, &timers), policy, ..settings() };
    World::with(roomy).with_routing(image)
}

/// Brings 400 new calls, each of which waited for 50 ms; how many were shed.
fn flood(world: &mut World) -> u64 {
    flood_over(world, None)
}

/// The same, handed over by another shard so long before they are handled.
fn flood_over(world: &mut World, inbox: Option<Duration>) -> u64 {
    let flow = Flow { peer: endpoint(CALLER), listener: ListenerIndex(0), transport: Transport::Udp };
    let mut shed = 0;
    for number in 0..400 {
        world.advance(Duration::from_millis(2));
        let now_us = world.now().monotonic.as_micros();
        let received_at = Instant::from_micros(now_us - 50_000);
        let handed_over = inbox.map(|waited| Instant::from_micros(now_us - waited.as_micros() as u64));
        let text = invite("4930123456", &format!("load{number}")).text();
        let sent =
            world.handle(Input::Datagram { flow, received_at, bytes: text.as_bytes(), truncated: false, handed_over });
        if ladder(&sent) == [format!("{CALLER} 503")] {
            assert!(!sent[0].headers("Retry-After").is_empty());
            shed += 1;
        }
    }
    shed
}

/// What stood in the queue of another shard is that one's load; what stands in the inbox is ours.
#[test]
fn what_waited_at_another_shard_is_its_load() {
    let mut world = roomy(false, image(|_| {}, |_| {}));
    assert_eq!(flood_over(&mut world, Some(Duration::ZERO)), 0);
    let mut world = roomy(false, image(|_| {}, |_| {}));
    assert!(flood_over(&mut world, Some(Duration::from_millis(50))) > 0);
}

/// Whoever owns the socket knows addresses only: where two providers share one, told apart by listener, port, tech prefix or the width of the
/// network, he is told nothing, and each is refused by the engine at its own level.
#[test]
fn an_address_that_providers_share_is_not_shed_in_the_kernel() {
    let [first, second] = [ListenerSlot(0), ListenerSlot(1)];
    for (row, other_row, shared) in [
        (("192.0.2.10", None, None, ""), ("192.0.2.11", None, None, ""), false),
        (("192.0.2.10", None, None, ""), ("192.0.2.0/24", None, None, ""), false),
        (("192.0.2.10", None, None, ""), ("192.0.2.10", None, None, "77"), true),
        (("192.0.2.10", None, None, ""), ("192.0.2.10", None, Some(5070), ""), true),
        (("192.0.2.10", Some(first), None, ""), ("192.0.2.10", Some(second), None, ""), true),
        (("192.0.2.10", None, Some(5060), ""), ("192.0.2.0/24", None, None, ""), true),
    ] {
        let mut builder = Builder::new();
        builder.listener("10.0.0.1:5060");
        builder.listener("10.0.1.1:5070");
        for (name, (cidr, listener, port, tech_prefix)) in [("acme", row), ("other", other_row)] {
            let provider = builder.provider(name, 1);
            builder.address_with(provider, cidr, listener, port, tech_prefix);
        }
        let gateway = builder.gateway(FIRST, FIRST);
        let carrier = builder.carrier("one", &[gateway]);
        builder.route(1, "49", carrier);
        let mut world = roomy(true, builder.finish());
        assert!(flood(&mut world) > 0);
        assert_eq!(world.shares.is_empty(), shared, "{row:?} {other_row:?}");
        world.settle();
    }
}

fn overload(shed_in_kernel: bool) {
    let mut world = roomy(shed_in_kernel, image(|_| {}, |_| {}));
    let call = invite("4930123456", "running");
    let forwarded = world.deliver(CALLER, &call.text())[1].clone();
    world.deliver(FIRST, &response(&forwarded, 180, "a", &[]));
    let shed = flood(&mut world);
    assert!(shed > 0);
    let told = world.shares.len() as u64;
    assert_eq!(told > 0, shed_in_kernel);
    assert!(world.shares.iter().all(|(source, _)| *source == endpoint(CALLER).ip));
    assert!(world.shares.windows(2).all(|pair| pair[1].1 <= pair[0].1), "nearly all is refused, so the share falls");
    let refused = world.deliver(STRANGER, &invite("4930123456", "stranger").text());
    assert!(refused.is_empty(), "nobody's provider");
    assert_eq!(world.count(Counter::Shed), shed);
    let cancelled = ladder(&world.deliver(CALLER, &call.hop("CANCEL").text()));
    assert_eq!(cancelled, [format!("{CALLER} 200"), format!("{FIRST} CANCEL")]);
    assert_eq!(world.shares.len() as u64, told, "said with new calls only");
    world.settle();
}
