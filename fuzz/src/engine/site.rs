//! Where the engine stands: its listeners, who speaks to it, and two generations of routes.

use std::sync::OnceLock;

use corelane_core::Endpoint;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::ProviderRecord;
use corelane_core::siphash::Key;
use corelane_core::steering::Steering;

pub(super) const LISTENERS: [&str; 2] = ["10.0.0.1:5060", "10.0.1.1:5070"];
/// Who speaks: three providers (the second is a gateway as well: a softswitch), four more gateways, a stranger.
const PEERS: [&str; 8] = [
    "192.0.2.10:5060",
    "198.51.100.20:5060",
    "[2001:db8::10]:5060",
    "198.51.100.21:5060",
    "198.51.100.30:5080",
    "[2001:db8::20]:5060",
    "203.0.113.66:5060",
    "192.0.2.10:6060",
];
/// Those of them that are gateways of the images.
pub(super) const GATEWAYS: [usize; 4] = [1, 3, 4, 5];

/// The peer of a number.
pub(super) fn peer(which: usize) -> Endpoint {
    peers()[which % PEERS.len()]
}

/// One who calls, of a number below 8: mostly the providers.
pub(super) fn caller(which: usize) -> Endpoint {
    peer([0, 0, 0, 1, 2, 7, 3, 6][which % 8])
}

/// Addresses that may be anybody's, for look-ups in images.
#[must_use]
pub fn sources() -> &'static [Endpoint] {
    peers()
}

fn peers() -> &'static [Endpoint] {
    static PARSED: OnceLock<Vec<Endpoint>> = OnceLock::new();
    PARSED.get_or_init(|| PEERS.iter().map(|text| endpoint(text)).collect())
}

pub(super) fn endpoint(text: &str) -> Endpoint {
    text.parse::<core::net::SocketAddr>().expect("an address").into()
}

/// Two generations of routes: what a script changes between.
#[must_use]
pub fn images() -> &'static [ImageBytes; 2] {
    static BUILT: OnceLock<[ImageBytes; 2]> = OnceLock::new();
    BUILT.get_or_init(|| [routes(1, false), routes(2, false)])
}

/// The same with a media node.
pub(super) fn relayed_images() -> &'static [ImageBytes; 2] {
    static BUILT: OnceLock<[ImageBytes; 2]> = OnceLock::new();
    BUILT.get_or_init(|| [routes(1, true), routes(2, true)])
}

/// Generation 1 has everything; in generation 2 the first provider and a gateway are switched off, and one route is gone.
fn routes(generation: u64, relayed: bool) -> ImageBytes {
    let mut builder = Builder::new();
    if relayed {
        builder.media_node(0);
    }
    builder.generation(generation);
    builder.listener(LISTENERS[0]);
    let far = builder.listener(LISTENERS[1]);
    let first = generation == 1;
    let provider = |name: &str, record: ProviderRecord| ProviderRecord {
        name: name.into(),
        enabled: true,
        routing_group: 1,
        refuse_code: 503,
        ..record
    };
    let acme = builder.provider_with(ProviderRecord { enabled: first, ..provider("acme", ProviderRecord::default()) });
    let soft =
        builder.provider_with(provider("soft", ProviderRecord { refuse_code: 480, ..ProviderRecord::default() }));
    let six = builder.provider_with(provider(
        "six",
        ProviderRecord {
            strip: 2,
            prepend: "+".into(),
            listener: Some(far.0),
            session_expires_s: Some(600),
            min_se_s: Some(90),
            invite_timeout_ms: Some(9_000),
            ring_timeout_ms: Some(20_000),
            default_timeout_s: Some(120),
            max_calls: Some(2),
            max_cps: Some(5),
            ..ProviderRecord::default()
        },
    ));
    builder.address(acme, "192.0.2.10").address(soft, "198.51.100.20");
    builder.address(six, "2001:db8::/64").address_with(six, "2001:db8::10", None, None, "77").cap_address(3);
    let [near, second, distant, sixth] = GATEWAYS.map(|place| builder.gateway(PEERS[place], PEERS[place]));
    builder.edit_gateway(second, |gateway| {
        gateway.enabled = first;
        gateway.fr_timer_ms = Some(1_500);
        gateway.max_calls = Some(1);
        gateway.from_host = Some("from.example".into());
    });
    builder.edit_gateway(distant, |gateway| {
        gateway.listener = Some(far.0);
        gateway.prepend = "00".into();
    });
    let hunt = builder.carrier("hunt", &[near, second, distant]);
    let single = builder.carrier("single", &[distant]);
    let even = builder.carrier_weighted("even", &[(near, 1, 10), (sixth, 1, 0), (second, 1, 5)]);
    builder.route(1, "49", hunt).route(1, "43", single).route_weighted(1, "49", even, 1, 3);
    if first {
        builder.route(1, "44", even);
    }
    builder.route(1, "1", even).finish()
}

pub(super) fn steering(shards: u8) -> Steering {
    static TABLES: OnceLock<[Steering; 2]> = OnceLock::new();
    TABLES.get_or_init(|| [1, 2].map(|shards| Steering::even(secret(), shards)))[usize::from(shards) - 1].clone()
}

pub(super) fn secret() -> Key {
    Key::new(*b"0123456789abcdef")
}
