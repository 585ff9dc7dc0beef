//! What a row of the tables says of its provider, carrier or gateway, and no other row, is what its calls meet (SPEC §6). Columns with a
//! chapter of their own have it elsewhere: listeners, identities, numbers, sessions, redirections, caps of providers and gateways.

use std::time::Duration;

use corelane_core::call::EndReason;
use corelane_core::engine::Command;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{CarrierRecord, GatewayRecord, ProviderRecord};
use corelane_core::{Counter, Input};

use super::world::{Answered, CALLER, Sent, World, invite, ladder, response, settings};

const FIRST: &str = "198.51.100.1:5060";
const SECOND: &str = "198.51.100.2:5060";

/// One provider, one carrier with two gateways in this order.
fn image(
    provider: impl FnOnce(&mut ProviderRecord),
    carrier: impl FnOnce(&mut CarrierRecord),
    gateways: [fn(&mut GatewayRecord); 2],
) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    builder.zone("Pacific/Kiritimati", 14 * 3600, &[]);
    let acme = builder.provider("acme", 1);
    builder.edit_provider(acme, provider);
    builder.address(acme, "192.0.2.10");
    let slots = [FIRST, SECOND].map(|address| builder.gateway(address, address));
    for (slot, edit) in slots.into_iter().zip(gateways) {
        builder.edit_gateway(slot, edit);
    }
    let both = builder.carrier_weighted("both", &[(slots[0], 1, 0), (slots[1], 2, 0)]);
    builder.edit_carrier(both, carrier);
    builder.route(1, "49", both);
    builder.finish()
}

const PLAIN: fn(&mut GatewayRecord) = |_| {};

fn provider(edit: impl FnOnce(&mut ProviderRecord)) -> World {
    World::routed_by(image(edit, |_| {}, [PLAIN; 2]))
}

fn carrier(edit: impl FnOnce(&mut CarrierRecord)) -> World {
    World::routed_by(image(|_| {}, edit, [PLAIN; 2]))
}

/// The INVITE at the gateway that gets it.
fn called(world: &mut World, call: &str) -> Sent {
    let sent = world.deliver(CALLER, &invite("4930123456", call).text());
    assert_eq!((sent.len(), sent[0].status()), (2, 100), "{:?}", ladder(&sent));
    sent[1].clone()
}

/// Whether a refusal of the first gateway sends the call to the second.
fn goes_on(world: &mut World, status: u16, lines: &[&str]) -> bool {
    let first = called(world, &format!("fails-{status}"));
    let sent = world.deliver(FIRST, &response(&first, status, "a", lines));
    let went = ladder(&sent)[1] == format!("{SECOND} INVITE");
    if went {
        world.deliver(SECOND, &response(&sent[1], 486, "b", &[]));
    }
    world.settle();
    went
}

/// carrier `failover_codes`: the statuses that are in it and no others.
#[test]
fn a_carrier_fails_over_on_its_own_codes() {
    for (status, goes) in [(480, true), (408, false), (500, false), (502, false), (503, false), (504, false)] {
        let mut world = carrier(|carrier| carrier.failover_codes = vec![480]);
        assert_eq!(goes_on(&mut world, status, &[]), goes, "{status}");
        let mut world = carrier(|_| {});
        assert_eq!(goes_on(&mut world, status, &[]), !goes, "{status}, where the column is empty");
    }
}

/// `q850:34` in it: the cause that came in a Reason header, whatever the status (RFC 3326 §2).
#[test]
fn a_carrier_fails_over_on_causes() {
    for (reason, goes) in [
        ("Reason: Q.850;cause=34", true),
        ("Reason: q.850 ;text=\"No circuit\";cause=34", true),
        ("Reason: SIP;cause=503, Q.850;cause=34", true),
        ("Reason: Q.850;cause=16", false),
        ("Reason: Q.850;cause=290", false),
        ("Reason: SIP;cause=34", false),
        ("X: no Reason", false),
    ] {
        let mut world = carrier(|carrier| {
            carrier.failover_codes = vec![503];
            carrier.failover_causes = vec![34, 42];
        });
        assert_eq!(goes_on(&mut world, 480, &[reason]), goes, "{reason}");
        assert!(!goes_on(&mut carrier(|_| {}), 480, &[reason]), "{reason}, where the column has no causes");
    }
}

/// Routes to nine carriers in this order, each with a gateway of its own.
fn nine_carriers(edit: fn(&mut CarrierRecord)) -> (World, Vec<String>) {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let acme = builder.provider("acme", 1);
    builder.address(acme, "192.0.2.10");
    let addresses: Vec<String> = (1..=9).map(|number| format!("198.51.100.{number}:5060")).collect();
    for (priority, address) in (0..).zip(&addresses) {
        let gateway = builder.gateway(address, address);
        let carrier = builder.carrier(address, &[gateway]);
        builder.edit_carrier(carrier, edit);
        builder.route_weighted(1, "49", carrier, priority, 1);
    }
    (World::routed_by(builder.finish()), addresses)
}

/// carrier `max_calls`: a full one is passed over before eight candidates are drawn, and in the hunt; it takes calls again when one ends.
#[test]
fn a_carriers_calls_are_capped() {
    let (mut world, addresses) = nine_carriers(|carrier| carrier.max_calls = Some(1));
    let invites: Vec<Sent> = (0..9).map(|call| called(&mut world, &format!("full-{call}"))).collect();
    assert_eq!(invites.iter().map(|invite| &invite.to).collect::<Vec<_>>(), addresses.iter().collect::<Vec<_>>());
    let refused = world.deliver(CALLER, &invite("4930123456", "none-left").text());
    assert_eq!(ladder(&refused), [format!("{CALLER} 100"), format!("{CALLER} 503")]);
    assert_eq!(refused[1].header("Reason"), "Q.850;cause=34");
    // All that the first one could go on to are full: they had room when it was routed.
    let sent = world.deliver(&addresses[0], &response(&invites[0], 500, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{} ACK", addresses[0]), format!("{CALLER} 500")]);
    assert!(world.count(Counter::CandidateCapped) > 0);
    assert_eq!(called(&mut world, "again").to, addresses[0]);
    world.settle();
}

/// carrier `max_cps` with `burst`: the next carrier, until a second has passed.
#[test]
fn a_carriers_rate_is_capped() {
    let (mut world, addresses) = nine_carriers(|carrier| {
        carrier.max_cps = Some(1);
        carrier.burst = Some(1);
    });
    let mut first_line = |call: u32| {
        let sent = world.deliver(CALLER, &invite("4930123456", &format!("rate-{call}")).text());
        ladder(&sent)[1].clone()
    };
    let went: Vec<String> = (0..20).map(&mut first_line).collect();
    let taken = went.iter().filter(|line| **line == format!("{} INVITE", addresses[0])).count();
    let refused = went.iter().filter(|line| **line == format!("{CALLER} 503")).count();
    assert!((1..=2).contains(&taken) && refused >= 2, "{went:?}");
    world.advance(Duration::from_secs(2));
    assert_eq!(called(&mut world, "later").to, addresses[0]);
    world.settle();
}

/// gateway `fr_timer_ms`: its own silence, not that of the next one.
#[test]
fn a_gateways_silence_is_its_own() {
    let own: fn(&mut GatewayRecord) = |gateway| gateway.fr_timer_ms = Some(1_500);
    let mut world = World::routed_by(image(|_| {}, |_| {}, [own, PLAIN]));
    called(&mut world, "mute");
    let to_second = |sent: &[Sent]| sent.iter().filter(|sent| sent.to == SECOND).count();
    assert_eq!(to_second(&world.advance(Duration::from_millis(1_450))), 0);
    assert_eq!(to_second(&world.advance(Duration::from_millis(100))), 1);
    let sent = world.advance(Duration::from_millis(3_850));
    assert!(!ladder(&sent).contains(&format!("{CALLER} 408")), "the node's 4 s");
    let sent = world.advance(Duration::from_millis(200));
    assert!(ladder(&sent).contains(&format!("{CALLER} 408")));
    world.settle();
}

/// provider `invite_timeout_ms`: over all gateways.
#[test]
fn a_providers_invite_timeout_is_its_own() {
    let mut world = provider(|provider| provider.invite_timeout_ms = Some(6_000));
    called(&mut world, "own");
    let to_caller =
        |sent: &[Sent]| ladder(sent).into_iter().filter(|line| line.starts_with(CALLER)).collect::<Vec<_>>();
    assert!(to_caller(&world.advance(Duration::from_millis(5_900))).is_empty());
    assert_eq!(to_caller(&world.advance(Duration::from_millis(200))), [format!("{CALLER} 408")]);
    assert_eq!(world.last_record().reason, EndReason::Unanswered);
    world.settle();
}

/// INVITE, 200, ACK with the first gateway.
fn talking(world: &mut World, call: &str) -> Answered {
    let forwarded = called(world, call);
    let ok = response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.1>"]);
    let ok = world.deliver(FIRST, &ok)[0].clone();
    let call = Answered { invite: invite("4930123456", call), forwarded, ok };
    world.deliver(CALLER, &call.caller_sends("ACK", "columns-ack", 1).text());
    call
}

/// provider `default_timeout_s`.
#[test]
fn a_providers_default_timeout_is_its_own() {
    for (column, ends) in [(Some(600), 600), (Some(2_400), 2_400), (None, 1_800)] {
        let mut world = provider(|provider| provider.default_timeout_s = column);
        talking(&mut world, "old");
        assert!(world.advance(Duration::from_millis(ends * 1000 - 100)).is_empty(), "{column:?}");
        let sent = world.advance(Duration::from_millis(200));
        assert_eq!(ladder(&sent), [format!("{FIRST} BYE"), format!("{CALLER} BYE")], "{column:?}");
        world.settle();
    }
}

/// Setting `remap_503`: a gateway's 503 goes upstream as it came where the operator says so (RFC 3261 §16.7 step 6), the last one's or a kept one.
#[test]
fn a_503_may_go_upstream() {
    for (remap, upstream) in [(true, 500), (false, 503)] {
        for second in [503, 502] {
            let mut plain = settings();
            plain.policy.remap_503 = remap;
            let mut world = World::with(plain).with_routing(image(|_| {}, |_| {}, [PLAIN; 2]));
            let first = called(&mut world, "remap");
            let sent = world.deliver(FIRST, &response(&first, 503, "a", &["Retry-After: 7"]));
            let sent = world.deliver(SECOND, &response(&sent[1], second, "b", &["X: second"]));
            let expected = if second == 503 { upstream } else { 502 };
            assert_eq!(ladder(&sent), [format!("{SECOND} ACK"), format!("{CALLER} {expected}")]);
            if expected == 503 {
                assert_eq!(sent[1].headers("Retry-After"), ["7"], "byte for byte");
            } else {
                assert!(sent[1].headers("Retry-After").is_empty(), "their overload is not ours");
            }
            world.settle();
        }
    }
}

/// provider `zone`: `max_calls_day` starts anew at its midnight, which is 10:00 UTC here; the clock stands at 8:00.
#[test]
fn a_providers_day_ends_at_its_own_midnight() {
    for (zone, hours) in [(Some(0), 2), (None, 16)] {
        let mut world = provider(|provider| {
            provider.max_calls_day = Some(1);
            provider.zone = zone;
        });
        called(&mut world, "today");
        for (wait, taken) in [(0, false), (hours * 3600 - 60, false), (120, true)] {
            world.advance(Duration::from_secs(wait));
            let sent = world.deliver(CALLER, &invite("4930123456", &format!("after-{wait}")).text());
            assert_eq!(sent.len() == 2 && sent[0].status() == 100, taken, "{zone:?}, {wait} s later");
        }
        world.settle();
    }
}

/// gateway `enabled`: one that a new image has disabled since the call was routed is not tried any more.
#[test]
fn a_gateway_that_was_disabled_meanwhile_is_not_tried() {
    let off: fn(&mut GatewayRecord) = |gateway| gateway.enabled = false;
    let mut world = provider(|_| {});
    let first = called(&mut world, "swap");
    let mut world = world.with_routing(image(|_| {}, |_| {}, [PLAIN, off]));
    let sent = world.deliver(FIRST, &response(&first, 500, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{CALLER} 500")]);
    assert_eq!(world.count(Counter::GatewaysSkipped), 1);
    world.settle();
}

/// The journal has no room for the ends of more calls: 503 with Retry-After to new ones alone. Neither this nor a drain undoes the other.
#[test]
fn new_calls_are_held_while_the_journal_is_full() {
    let mut world = provider(|_| {});
    let call = talking(&mut world, "stays");
    let options = invite("1", "opt").as_method("OPTIONS", "opt", 1).text();
    let refused = |world: &mut World, call: &str| {
        let sent = world.deliver(CALLER, &invite("4930123456", call).text());
        let refused = ladder(&sent) == [format!("{CALLER} 503")];
        assert!(!refused || !sent[0].headers("Retry-After").is_empty());
        refused
    };
    for (number, (command, refuses)) in [
        (Command::HoldNewCalls(true), true),
        (Command::Drain(true), true),
        (Command::HoldNewCalls(false), true),
        (Command::HoldNewCalls(true), true),
        (Command::Drain(false), true),
        (Command::HoldNewCalls(false), false),
    ]
    .into_iter()
    .enumerate()
    {
        world.handle(Input::Command(command));
        assert_eq!(refused(&mut world, &format!("new-{number}")), refuses, "{command:?}");
        if command == Command::Drain(false) {
            assert_eq!(ladder(&world.deliver(CALLER, &options)), [format!("{CALLER} 200")], "the node is not leaving");
        }
    }
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "stays-bye", 2).text());
    assert_eq!(ladder(&bye), [format!("{FIRST} BYE")]);
    world.deliver(FIRST, &response(&bye[0], 200, "", &[]));
    world.settle();
}
