//! Lost messages: what is repeated, what is absorbed, and when a transaction gives up (RFC 3261 §17, RFC 6026).

use std::time::Duration;

use corelane_core::Counter;

use super::world::{CALLER, GATEWAY, World, answered, invite, ladder, response};

const T1: Duration = Duration::from_millis(500);

/// RFC 3261 §17.2.1: the last provisional again, nothing downstream.
#[test]
fn a_repeated_invite_is_absorbed() {
    let mut world = World::new();
    let request = invite("4930123456", "dup");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    assert_eq!(ladder(&world.deliver(CALLER, &request.text())), [format!("{CALLER} 100")]);
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    assert_eq!(ladder(&world.deliver(CALLER, &request.text())), [format!("{CALLER} 180")]);
    assert_eq!(world.count(Counter::RetransmissionsAbsorbed), 2);
    assert_eq!(world.count(Counter::CallsStarted), 1);
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    world.settle();
}

/// RFC 3261 §17.1.1.2: Timer A doubles from T1. `fr_timer` is the operator's Timer B: then 408 upstream.
#[test]
fn a_silent_gateway_gives_408_after_fr_timer() {
    let mut settings = super::world::settings();
    settings.timers.fr_timer = 64 * T1;
    settings.timers.invite_timeout = 128 * T1;
    let mut world = World::with(settings);
    world.deliver(CALLER, &invite("4930123456", "silent").text());
    let sent = world.advance(64 * T1 - Duration::from_millis(1));
    assert_eq!(ladder(&sent), vec![format!("{GATEWAY} INVITE"); 6]);
    let sent = world.advance(Duration::from_millis(2));
    assert_eq!(ladder(&sent), [format!("{CALLER} 408")]);
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// RFC 3261 §17.1.1.2: a provisional stops Timer A and Timer B; `progress_timeout` runs.
#[test]
fn a_provisional_ends_the_repeating() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "prov").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 100, "", &[]));
    assert!(world.advance(Duration::from_secs(9)).is_empty());
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    world.settle();
}

/// RFC 3261 §17.2.1: Timer G doubles from T1 to T2 until the ACK; Timer H ends it.
#[test]
fn an_unacknowledged_refusal_is_repeated() {
    let mut world = World::new();
    let sent = world.deliver(CALLER, &invite("999", "noroute").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 404")]);
    let sent = world.advance(Duration::from_secs(31));
    assert_eq!(ladder(&sent), vec![format!("{CALLER} 404"); 9], "0.5, 1.5, 3.5, 7.5, 11.5, … 27.5 s");
    assert!(world.advance(Duration::from_secs(60)).len() <= 1);
    world.settle();
}

/// RFC 6026 §7.1, §8.4: every repeated 2xx goes up, the ACK goes down each time.
#[test]
fn a_repeated_200_passes_end_to_end() {
    let mut world = World::new();
    let call = answered(&mut world, "again");
    let ok = response(&call.forwarded, 200, "callee", &[]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{CALLER} 200")]);
    let ack = call.caller_sends("ACK", "again-ack", 1).text();
    assert_eq!(ladder(&world.deliver(CALLER, &ack)), [format!("{GATEWAY} ACK")]);
    // A repeated INVITE that arrives late is absorbed (RFC 6026 §7.1).
    assert!(world.deliver(CALLER, &call.invite.text()).is_empty());
    world.settle();
}

/// RFC 3261 §17.2.2: the final answer to a BYE is repeated for 64·T1.
#[test]
fn a_repeated_bye_gets_the_same_answer() {
    let mut world = World::new();
    let call = answered(&mut world, "bye2");
    let bye = call.caller_sends("BYE", "bye2-bye", 2).text();
    let forwarded = world.deliver(CALLER, &bye)[0].clone();
    assert!(world.deliver(CALLER, &bye).is_empty(), "Trying absorbs");
    let first = world.deliver(GATEWAY, &response(&forwarded, 200, "", &["X-Mark: 1"]));
    let again = world.deliver(CALLER, &bye);
    assert_eq!(again[0].text, first[0].text);
    world.settle();
}

/// RFC 3261 §17.1.2.2: Timer E doubles from T1 to T2, Timer F is 64·T1; RFC 4320 §4.2: no 408.
#[test]
fn an_unanswered_bye_ends_the_call_in_silence() {
    let mut world = World::new();
    let call = answered(&mut world, "lost");
    world.deliver(CALLER, &call.caller_sends("BYE", "lost-bye", 2).text());
    let sent = world.advance(Duration::from_secs(33));
    assert_eq!(ladder(&sent), vec![format!("{GATEWAY} BYE"); 10]);
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// RFC 4320 §4.2: what a peer with a longer Timer F repeats, after the other side did not answer within ours, is no new request: neither 481
/// nor on its way once more.
#[test]
fn what_was_never_answered_is_absorbed() {
    for (method, ends) in [("BYE", true), ("INFO", true), ("NOTIFY", false), ("PRACK", false)] {
        let mut world = World::new();
        let call = answered(&mut world, "slow");
        let request = call.caller_sends(method, "slow-2", 2).text();
        world.deliver(CALLER, &request);
        world.advance(Duration::from_millis(32_100));
        assert_eq!(world.count(Counter::CallsLive), u64::from(!ends), "{method}");
        for _ in 0..2 {
            assert_eq!(ladder(&world.deliver(CALLER, &request)), Vec::<String>::new(), "{method}");
            world.advance(Duration::from_secs(15));
        }
        world.settle();
    }
}

/// What nobody asked for is dropped and counted (RFC 6026 §8.9).
#[test]
fn stray_responses_and_acks_are_dropped() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "stray").text())[1].clone();
    let sent = world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    assert_eq!(sent.len(), 2);
    world.advance(Duration::from_secs(200));
    assert!(world.deliver(GATEWAY, &response(&forwarded, 200, "t", &[])).is_empty());
    assert_eq!(world.count(Counter::StrayResponses), 1);
    let mut ack = invite("4930123456", "stray").hop("ACK");
    ack.via = format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-unknown");
    assert!(world.deliver(CALLER, &ack.text()).is_empty());
    assert_eq!(world.count(Counter::StrayAcks), 1);
    world.settle();
}

/// RFC 3261 §17.2.3: a peer without the magic cookie is matched by the whole of the request.
#[test]
fn an_rfc_2543_peer_is_served() {
    let mut world = World::new();
    let mut request = invite("4930123456", "old");
    request.via = format!("SIP/2.0/UDP {CALLER};branch=1");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    assert_eq!(ladder(&world.deliver(CALLER, &request.text())), [format!("{CALLER} 100")]);
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    let mut ack = request.hop("ACK");
    ack.to_tag = "t".into();
    assert!(world.deliver(CALLER, &ack.text()).is_empty());
    assert!(world.advance(Duration::from_secs(40)).is_empty(), "acknowledged");
    world.settle();
}

/// `noack_timeout`, then `default_timeout` that a re-INVITE restarts.
#[test]
fn abandoned_calls_end_by_their_timers() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "noack").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 200, "t", &[]));
    world.advance(Duration::from_secs(59));
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.count(Counter::CallsLive), 0);

    let call = answered(&mut world, "forever");
    world.advance(Duration::from_secs(1700));
    let reinvite = world.deliver(CALLER, &call.caller_sends("INVITE", "forever-re", 2).text());
    world.deliver(GATEWAY, &response(&reinvite[1], 200, "", &[]));
    world.advance(Duration::from_secs(1700));
    assert_eq!(world.count(Counter::CallsLive), 1, "refreshed");
    world.advance(Duration::from_secs(101));
    assert_eq!(world.count(Counter::CallsLive), 0);
    assert_eq!(world.count(Counter::EndedUnacknowledged) + world.count(Counter::EndedExpired), 2);
    world.settle();
}
