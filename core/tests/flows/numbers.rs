//! Numbers as the tables rewrite them, on the wire (docs/data-model.md; RFC 3966, RFC 3261 §19.1).

use corelane_core::Counter;
use corelane_core::routing::NumberFormat;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{GatewayRecord, ProviderRecord};

use super::world::{CALLER, GATEWAY, World, invite, ladder};

/// One provider and one gateway with a default route; the provider must dial `99#` first.
fn image(provider: ProviderRecord, gateway: impl FnOnce(&mut GatewayRecord)) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    builder.listener("10.0.1.1:5070");
    let record = ProviderRecord { enabled: true, routing_group: 1, refuse_code: 503, ..provider };
    let provider = builder.provider_with(record);
    let address = CALLER.split(':').next().expect("an address");
    builder.address_with(provider, address, None, None, "99#");
    let slot = builder.gateway("near", GATEWAY);
    builder.edit_gateway(slot, gateway);
    let carrier = builder.carrier("near", &[slot]);
    builder.route(1, "49", carrier);
    builder.finish()
}

/// Tech prefix, the provider's strip and prepend, the gateway's: each on what the one before left.
#[test]
fn every_rule_takes_its_turn() {
    let provider = ProviderRecord { strip: 1, prepend: "49".into(), ..ProviderRecord::default() };
    let mut world = World::routed_by(image(provider, |gateway| {
        gateway.strip = 2;
        gateway.prepend = "7#0049".into();
    }));
    let sent = world.deliver(CALLER, &invite("99%23(0)30-12.34;phone-context=x;npdi", "rules").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    assert_eq!(sent[1].start_line(), "INVITE sip:7%230049301234;npdi@198.51.100.20:5060 SIP/2.0");
    world.settle();
}

#[test]
fn the_gateways_number_format() {
    for (format, user, expected) in [
        (NumberFormat::Plain, "99%23+4930", "sip:+4930@198.51.100.20:5060"),
        (NumberFormat::Plain, "99%234930", "sip:4930@198.51.100.20:5060"),
        (NumberFormat::E164, "99%234930", "sip:+4930@198.51.100.20:5060;user=phone"),
        (NumberFormat::NoPlus, "99%23+4930", "sip:4930@198.51.100.20:5060"),
    ] {
        let mut world = World::routed_by(image(ProviderRecord::default(), |gateway| gateway.number_format = format));
        let sent = world.deliver(CALLER, &invite(user, "format").text());
        assert_eq!(sent[1].start_line(), format!("INVITE {expected} SIP/2.0"), "{format:?} {user}");
        world.settle();
    }
}

/// RFC 3261 §21.4.22: a tech prefix alone, or less than strip takes. Without its tech prefix the source is nobody's.
#[test]
fn nothing_left_is_484() {
    for (user, status) in [("99%23", 484), ("99%234", 484), ("99%2349", 484), ("99%23alice", 404), ("4930", 403)] {
        let provider = ProviderRecord { strip: 2, ..ProviderRecord::default() };
        let mut world = World::routed_by(image(provider, |_| {}));
        let sent = world.deliver(CALLER, &invite(user, "short").text());
        let last = sent.last().expect("an answer");
        assert_eq!(last.status(), status, "{user}");
        assert!(last.headers("Reason").is_empty(), "the caller's own fault");
        assert_eq!(world.count(Counter::Rejected484), u64::from(status == 484));
        assert_eq!(world.count(Counter::CallsLive), 0);
        world.settle();
    }
}
