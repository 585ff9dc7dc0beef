//! Full slabs and pools, slow rings, messages at their bounds: always an end, never a leak (I3, I8).

use std::time::Duration;

use corelane_core::call::EndReason;
use corelane_core::engine::{Budget, Timers};
use corelane_core::limits::{HEADERS_ADDED_MAX, HEADERS_MAX};
use corelane_core::{Counter, Settings};

use super::world::{Answered, CALLER, GATEWAY, World, answered, invite, ladder, response, settings, unacknowledged};

fn world(change: impl FnOnce(&mut Budget)) -> World {
    let mut budget = Budget::for_shard(100, 10, 1, &Timers::default());
    change(&mut budget);
    World::with(Settings { budget, ..settings() })
}

/// Takes every buffer, as a network does that has stopped taking datagrams.
fn clog(world: &mut World) {
    world.slow_ring = true;
    for number in 0..40 {
        let mut options = invite("1", &format!("options{number}"));
        options.method = "OPTIONS";
        world.deliver(CALLER, &options.text());
    }
}

/// The answer to a BYE finds no buffer: its sender times out, nothing is left behind.
#[test]
fn a_lost_answer_to_a_bye_leaves_nothing() {
    let mut world = world(|budget| budget.buffers = [10, 10, 0, 0]);
    let call = answered(&mut world, "m");
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "m-bye", 2).text());
    clog(&mut world);
    let pad = format!("X-Pad: {}", "x".repeat(1400));
    assert!(world.deliver(GATEWAY, &response(&bye[0], 200, "", &[&pad])).is_empty());
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// The same for the 2xx of an INVITE whose every repetition finds no buffer.
#[test]
fn a_2xx_that_never_gets_through_leaves_nothing() {
    let mut world = world(|budget| budget.buffers = [10, 10, 0, 0]);
    let forwarded = world.deliver(CALLER, &invite("4930123456", "two").text())[1].clone();
    clog(&mut world);
    // It needs a larger buffer than the INVITE's, which is free by then.
    let pad = format!("X-Pad: {}", "x".repeat(400));
    assert!(world.deliver(GATEWAY, &response(&forwarded, 200, "t", &[&pad])).is_empty());
    world.settle();
}

/// The ACK of a refusal is written into the room of the INVITE that it acknowledges.
#[test]
fn a_refusal_is_acknowledged_without_a_free_buffer() {
    let mut world = world(|budget| budget.buffers = [10, 10, 0, 0]);
    let forwarded = world.deliver(CALLER, &invite("4930123456", "fa").text())[1].clone();
    clog(&mut world);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    assert!(ladder(&sent).contains(&format!("{GATEWAY} ACK")), "{:?}", ladder(&sent));
    world.drain();
    let sent = world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK")]);
    world.settle();
}

/// I8: what is kept back from new calls lets those that run end.
#[test]
fn new_calls_are_refused_while_bye_and_cancel_still_find_room() {
    let mut world = world(|budget| budget.server_transactions = 32);
    let call = answered(&mut world, "runs");
    let ringing = invite("4930123456", "rings");
    let forwarded = world.deliver(CALLER, &ringing.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    let refused = (0..40).filter(|number| {
        let sent = world.deliver(CALLER, &invite("4930123456", &format!("n{number}")).text());
        sent.last().is_some_and(|sent| sent.start_line().starts_with("SIP/2.0 503"))
    });
    assert_eq!(refused.count(), 40 - 28, "30 of 32 for calls, two of them taken before");
    let cancel = world.deliver(CALLER, &ringing.hop("CANCEL").text());
    assert_eq!(ladder(&cancel), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "runs-bye", 2).text());
    assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
    world.settle();
}

/// A CANCEL works even where no transaction can be opened for it.
#[test]
fn a_cancel_needs_no_room() {
    let mut world = world(|budget| budget.server_transactions = 1);
    let request = invite("4930123456", "alone");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    let cancel = world.deliver(CALLER, &request.hop("CANCEL").text());
    assert_eq!(ladder(&cancel), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    world.settle();
}

/// Setup, ringing, answer, BYE and CANCEL with every small number of buffers, kept by a slow ring: no leak at any of them.
#[test]
fn every_number_of_buffers_ends_clean() {
    for small in 0..14 {
        for middle in 0..4 {
            for slow_ring in [false, true] {
                let mut world = world(|budget| budget.buffers = [small, middle, 0, 0]);
                world.slow_ring = slow_ring;
                let request = invite("4930123456", "scarce");
                let sent = world.deliver(CALLER, &request.text());
                let Some(forwarded) = sent.iter().find(|sent| sent.start_line().starts_with("INVITE")).cloned() else {
                    world.settle();
                    continue;
                };
                world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[]));
                if small % 2 == 0 {
                    world.deliver(CALLER, &request.hop("CANCEL").text());
                }
                let ok = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &[]));
                if let Some(ok) = ok.first().cloned() {
                    let call = Answered { invite: request, forwarded, ok };
                    world.deliver(CALLER, &call.caller_sends("ACK", "scarce-ack", 1).text());
                    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "scarce-bye", 2).text());
                    if let Some(bye) = bye.iter().find(|sent| sent.start_line().starts_with("BYE")) {
                        world.deliver(GATEWAY, &response(bye, 200, "", &[]));
                    }
                }
                world.settle();
            }
        }
    }
}

/// Our own fields must fit into what we can read again, or the refusal of such an INVITE could not be acknowledged.
#[test]
fn a_request_with_too_many_fields_is_refused() {
    let mut world = world(|_| {});
    let fields = |count: usize| {
        let mut request = invite("4930123456", &format!("fields{count}"));
        let own = request.text().lines().take_while(|line| !line.is_empty()).count() - 1;
        request.extra.extend((own..count).map(|number| format!("X-{number}: a")));
        request
    };
    let most = HEADERS_MAX - HEADERS_ADDED_MAX;
    let sent = world.deliver(CALLER, &fields(most).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    let sent = world.deliver(GATEWAY, &response(&sent[1], 486, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 486")]);
    assert_eq!(ladder(&world.deliver(CALLER, &fields(most + 1).text())), [format!("{CALLER} 400")]);
    world.settle();
}

/// SPEC §3 *Sizes*: 513 in both directions, and no Retry-After that would shun the whole trunk.
#[test]
fn a_request_that_grows_too_large_gets_513() {
    let mut world = world(|_| {});
    let mut request = invite("4930123456", "grows");
    let rest = request.text().len() - request.body.len();
    request.body = "x".repeat(corelane_core::limits::MESSAGE_SIZE_MAX - rest - 10);
    let sent = world.deliver(CALLER, &request.text());
    let last = sent.last().expect("an answer");
    assert_eq!(last.status(), 513);
    assert!(last.headers("Retry-After").is_empty());
    world.settle();
}

/// A BYE needs no record to be obeyed: 200 without one, and the other side gets Corelane's own. The same where its branch finds none.
#[test]
fn a_bye_that_finds_no_room_ends_the_call() {
    for no_branch in [false, true] {
        for from_callee in [false, true] {
            let mut world = world(|budget| {
                budget.server_transactions = if no_branch { 32 } else { 1 };
                budget.client_transactions = if no_branch { 1 } else { 32 };
            });
            let call = answered(&mut world, "full");
            let (peer, bye, other, reason) = match from_callee {
                false => (CALLER, call.caller_sends("BYE", "full-bye", 2), GATEWAY, EndReason::ByCaller),
                true => (GATEWAY, call.callee_sends("BYE", "full-bye", 2), CALLER, EndReason::ByCallee),
            };
            let sent = world.deliver(peer, &bye.text());
            assert_eq!(ladder(&sent), [format!("{peer} 200"), format!("{other} BYE")]);
            assert_eq!(world.last_record().reason, reason);
            assert_eq!(ladder(&world.deliver(peer, &bye.text())), [format!("{peer} 200")], "and again");
            world.settle();
        }
    }
    // Before the ACK the callee waits for that (RFC 3261 §15).
    let mut world = world(|budget| budget.server_transactions = 1);
    let call = unacknowledged(&mut world, "soon");
    let sent = world.deliver(CALLER, &call.caller_sends("BYE", "soon-bye", 2).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    let sent = world.advance(Duration::from_millis(32_100));
    assert!(ladder(&sent).starts_with(&[format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]), "{:?}", ladder(&sent));
    assert_eq!(world.last_record().reason, EndReason::ByCaller);
    world.settle();
}
