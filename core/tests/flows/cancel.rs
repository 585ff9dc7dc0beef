//! CANCEL and its races (RFC 3261 §9, §16.8, §16.10).

use std::time::Duration;

use corelane_core::Counter;

use super::world::{CALLER, GATEWAY, World, invite, ladder, response};

/// RFC 3665 §3.8.
#[test]
fn a_ringing_call_is_cancelled() {
    let mut world = World::new();
    let request = invite("4930123456", "c");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    let sent = world.deliver(CALLER, &request.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    let cancel = sent[1].clone();
    assert_eq!(cancel.header("Via"), forwarded.header("Via"), "same branch as the INVITE");
    assert_eq!(cancel.headers("Via").len(), 1);
    assert_eq!(cancel.header("CSeq"), "1 CANCEL");
    assert_eq!(cancel.start_line().split(' ').nth(1), forwarded.start_line().split(' ').nth(1));
    assert!(world.deliver(GATEWAY, &response(&cancel, 200, "t", &[])).is_empty(), "ours alone");
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 487")]);
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.deliver(CALLER, &request.hop("ACK").text());
    world.settle();
}

/// RFC 3261 §9.1: no CANCEL before the first provisional.
#[test]
fn a_cancel_waits_for_the_first_provisional() {
    let mut world = World::new();
    let request = invite("4930123456", "early");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    assert_eq!(ladder(&world.deliver(CALLER, &request.hop("CANCEL").text())), [format!("{CALLER} 200")]);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 100, "", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} CANCEL")]);
    world.deliver(GATEWAY, &response(&forwarded, 487, "t", &[]));
    world.settle();
}

/// A gateway that never answers a cancelled INVITE: 487, not 408.
#[test]
fn a_cancelled_silent_gateway_gives_487() {
    let mut world = World::new();
    let request = invite("4930123456", "quiet");
    world.deliver(CALLER, &request.text());
    world.deliver(CALLER, &request.hop("CANCEL").text());
    let sent = world.advance(Duration::from_secs(33));
    assert_eq!(sent.iter().filter(|sent| sent.to == CALLER).map(|sent| sent.status()).next(), Some(487));
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// RFC 3261 §9.1: after the CANCEL a ringing branch that never ends is given 64·T1.
#[test]
fn a_ringing_gateway_that_ignores_the_cancel_is_given_up() {
    let mut world = World::new();
    let request = invite("4930123456", "deaf");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    world.deliver(CALLER, &request.hop("CANCEL").text());
    world.advance(Duration::from_secs(31));
    assert_eq!(world.count(Counter::CallsLive), 1);
    let sent = world.advance(Duration::from_secs(2));
    assert!(ladder(&sent).contains(&format!("{CALLER} 487")), "{:?}", ladder(&sent));
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// SPEC §3 *Answers*: a 2xx that crosses the CANCEL goes upstream; the caller ends the call.
#[test]
fn a_200_that_crosses_the_cancel_goes_up() {
    let mut world = World::new();
    let request = invite("4930123456", "cross");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    world.deliver(CALLER, &request.hop("CANCEL").text());
    let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// RFC 3261 §9.2: after a final response a CANCEL changes nothing; without an INVITE it is 481.
#[test]
fn late_and_lost_cancels_are_answered() {
    let mut world = World::new();
    let request = invite("4930123456", "late");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    assert_eq!(ladder(&world.deliver(CALLER, &request.hop("CANCEL").text())), [format!("{CALLER} 200")]);
    // A repeated CANCEL is absorbed by its own transaction.
    assert_eq!(ladder(&world.deliver(CALLER, &request.hop("CANCEL").text())), [format!("{CALLER} 200")]);
    let lost = invite("4930123456", "lost").hop("CANCEL");
    assert_eq!(ladder(&world.deliver(CALLER, &lost.text())), [format!("{CALLER} 481")]);
    world.settle();
}

/// RFC 3261 §16.8: Timer C, restarted by each 101–199, cancels; the caller gets 408. `early_timeout` bounds the restarts.
#[test]
fn timer_c_cancels_and_gives_408() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "ring").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    assert!(world.advance(Duration::from_secs(60)).is_empty());
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    assert!(world.advance(Duration::from_secs(170)).is_empty(), "restarted");
    let sent = world.advance(Duration::from_millis(10_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} CANCEL")]);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 408")]);
    world.settle();
}

/// RFC 3261 §9.2: one tag for the answer to the CANCEL and the 487 of its INVITE: ours where nothing rang, else that of who rings, whether his
/// 487 comes or Corelane's own instead of it.
#[test]
fn cancel_and_invite_are_answered_under_one_tag() {
    for (rings, answers) in [(false, false), (true, false), (true, true)] {
        let mut world = World::new();
        let request = invite("4930123456", "tag");
        let forwarded = world.deliver(CALLER, &request.text())[1].clone();
        if rings {
            world.deliver(GATEWAY, &response(&forwarded, 180, "theirs", &[]));
        }
        let cancelled = world.deliver(CALLER, &request.hop("CANCEL").text())[0].clone();
        assert_eq!((cancelled.status(), cancelled.header("CSeq")), (200, "1 CANCEL"));
        assert_eq!(cancelled.header("To").ends_with(";tag=theirs"), rings);
        let again = world.deliver(CALLER, &request.hop("CANCEL").text());
        assert_eq!((again.len(), again[0].text.as_str()), (1, cancelled.text.as_str()), "repeated as it was");
        let sent = if answers {
            world.deliver(GATEWAY, &response(&forwarded, 487, "theirs", &[]))
        } else {
            world.advance(Duration::from_secs(33))
        };
        let terminated = sent.iter().find(|sent| sent.to == CALLER).expect("a 487");
        assert_eq!((terminated.status(), terminated.header("To")), (487, cancelled.header("To")));
        world.settle();
    }
}

/// The caller's CANCEL after Timer C: he gets the 487 that he asked for.
#[test]
fn the_callers_cancel_counts_more_than_timer_c() {
    let mut world = World::new();
    let request = invite("4930123456", "both");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    assert_eq!(ladder(&world.advance(Duration::from_secs(181)))[0], format!("{GATEWAY} CANCEL"));
    world.deliver(CALLER, &request.hop("CANCEL").text());
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 487")]);
    world.settle();
}
