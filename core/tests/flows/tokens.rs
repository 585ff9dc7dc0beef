//! Steering and forged tokens: a message of another shard's call, a response that nobody can have been asked for.

use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{Counter, Effect, Effects, Engine, Flow, Input, Instant, ListenerIndex, Now, Transport, WallTime};

use super::world::{CALLER, GATEWAY, World, endpoint, invite, response, settings};

#[test]
fn a_foreign_call_is_handed_to_its_owner() {
    let mut settings = settings();
    settings.steering = Steering::even(settings.secret, 4);
    let steering = settings.steering.clone();
    let mut engine = Engine::new(settings, Instant::ZERO);
    let bytes = super::image::image();
    let image = corelane_core::Image::open(&bytes).expect("opens");
    let mut own = 0;
    for call in 0..64 {
        let request = invite("4930123456", &format!("call{call}"));
        let owner = steering.owner(steering.slot_of_call_id(request.call_id.as_bytes()));
        let text = request.text();
        assert_eq!(
            steering.slot_of_datagram(text.as_bytes()),
            Some(steering.slot_of_call_id(request.call_id.as_bytes()))
        );
        let flow = Flow { peer: endpoint(CALLER), listener: ListenerIndex(0), transport: Transport::Udp };
        let mut effects = Effects::new();
        let now = Now { monotonic: Instant::ZERO, wall: WallTime(0) };
        let input = Input::Datagram {
            flow,
            received_at: now.monotonic,
            bytes: text.as_bytes(),
            truncated: false,
            handed_over: None,
        };
        engine.handle(now, &image, input, &mut effects);
        if owner == ShardIndex(0) {
            own += 1;
            assert!(matches!(effects[0], Effect::Send { .. }));
        } else {
            assert_eq!(effects.as_slice(), [Effect::Forward { shard: owner }]);
        }
    }
    assert!((4..=32).contains(&own), "an even spread, not {own} of 64");
    assert_eq!(engine.counters().value(Counter::DatagramsForeign), 64 - own);
}

#[test]
fn a_forged_branch_matches_nothing() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "real").text())[1].clone();
    let real = response(&forwarded, 200, "t", &[]);
    let branch = forwarded.header("Via").split("branch=").nth(1).expect("a branch").to_owned();
    let mut forged = branch.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("text");
    assert!(world.deliver(GATEWAY, &real.replace(&branch, &forged)).is_empty());
    assert!(world.deliver(GATEWAY, &real.replace("real@", "fake@")).is_empty(), "another Call-ID");
    assert_eq!(world.count(Counter::StrayResponses), 2);
    assert_eq!(world.deliver(GATEWAY, &real).len(), 1);
    world.settle();
}

/// The key outlives a restart, slab places start again: only the whole branch tells a transaction of this run from one of the last.
#[test]
fn a_branch_of_an_earlier_run_matches_nothing() {
    let mut earlier = World::new();
    let forwarded = earlier.deliver(CALLER, &invite("4930123456", "before").text())[1].clone();
    let mut world = World::new();
    world.deliver(CALLER, &invite("4930123456", "after").text());
    assert!(world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[])).is_empty());
    assert_eq!(world.count(Counter::StrayResponses), 1);
    world.settle();
}
