//! The image as the engine sees it: who, where to, in which order; and that damage is an error or no match, never a panic.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use crate::flow::Endpoint;
use crate::limits::CANDIDATES_MAX;
use crate::routing::build::{BuildError, Builder, ImageBytes, Plan, RouteRow, encode, reseal};
use crate::routing::layout::{BODY_START, LAYOUT, ProviderRecord, Schedule, WindowRow};
use crate::routing::{
    Candidate, CarrierSlot, Digits, GatewaySlot, Image, ImageError, ListenerSlot, NoCandidate, ProviderSlot,
};
use crate::time::WallTime;

/// Some time: most routes here are always there.
const NOON: WallTime = WallTime(1_800_014_400_000_000);

fn peer(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("address:port").into()
}

fn open(bytes: &ImageBytes) -> Image<'_> {
    let image = Image::open(bytes).expect("a built image opens");
    image.verify().expect("a built image is sound");
    image
}

/// An image with the given prefixes in group 1.
fn routed(prefixes: &[&str]) -> ImageBytes {
    let mut builder = Builder::new();
    let gateway = builder.gateway("gw", "203.0.113.1:5060");
    let carrier = builder.carrier("carrier", &[gateway]);
    for prefix in prefixes {
        builder.route(1, prefix, carrier);
    }
    builder.finish()
}

fn longest(image: &Image<'_>, group: u32, number: &str) -> Option<String> {
    let prefix = image.longest_prefix(group, Digits::leading(number.as_bytes()))?;
    Some(number[..usize::from(image.prefix_len(prefix))].into())
}

#[test]
fn the_longest_prefix_wins_and_the_next_shorter_is_known() {
    let bytes = routed(&["44", "4420", "442071", "1", "12125", "*31#", "A0"]);
    let image = open(&bytes);
    for (number, expected) in [
        ("442071234567", Some("442071")),
        ("44207", Some("4420")),
        ("4420", Some("4420")),
        ("442", Some("44")),
        ("44", Some("44")),
        ("4", None),
        ("", None),
        ("12126", Some("1")),
        ("1212", Some("1")),
        ("*31#5", Some("*31#")),
        ("*31*", None),
        ("a0", Some("a0")),
        ("44alice", Some("44")),
        ("+44", None),
        ("3", None),
    ] {
        assert_eq!(longest(&image, 1, number).as_deref(), expected, "{number}");
    }
    assert_eq!(longest(&image, 2, "44"), None, "another group has no routes");
    let first = image.longest_prefix(1, Digits::leading(b"442071")).expect("routed");
    let second = image.shorter_prefix(first).expect("4420");
    let third = image.shorter_prefix(second).expect("44");
    assert_eq!([first, second, third].map(|prefix| image.prefix_len(prefix)), [6, 4, 2]);
    assert_eq!(image.shorter_prefix(third), None);
}

#[test]
fn the_empty_prefix_is_the_default_route() {
    let bytes = routed(&["", "44"]);
    let image = open(&bytes);
    for (number, expected) in [("", ""), ("alice", ""), ("33", ""), ("445", "44")] {
        assert_eq!(longest(&image, 1, number).as_deref(), Some(expected), "{number}");
    }
    let empty = Builder::new().finish();
    assert_eq!(open(&empty).select(1, b"44", NOON, 0), Err(NoCandidate::NoRoute));
}

/// What the trie must agree with.
fn naive<'n>(prefixes: &BTreeMap<(u32, String), ()>, group: u32, number: &'n str) -> Option<&'n str> {
    let end = number.find(|symbol: char| !"0123456789*#ABCDabcd".contains(symbol)).unwrap_or(number.len()).min(32);
    (0..=end).rev().map(|len| &number[..len]).find(|prefix| prefixes.contains_key(&(group, prefix.to_uppercase())))
}

fn built(prefixes: &BTreeMap<(u32, String), ()>) -> ImageBytes {
    let rows = prefixes.keys().map(|(group, prefix)| RouteRow {
        routing_group: *group,
        prefix: Digits::parse(prefix.as_bytes()).expect("alphabet"),
        priority: 0,
        carrier: 0,
        weight: 1,
        schedule: Schedule::ALWAYS,
        id: 1,
        cost: u32::MAX,
    });
    let mut plan = Plan { generation: 1, routes: rows.collect(), ..Plan::default() };
    plan.tables.carriers.push(crate::routing::layout::Place::Taken(Default::default()));
    encode(plan).expect("distinct prefixes")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Few symbols and many prefixes make every kind of line, and numbers that end in every part of it.
    #[test]
    fn agrees_with_a_naive_search(
        prefixes in prop::collection::btree_map((1u32..3, "[012]{0,9}|[0-9]{0,5}|77777[0-9*#A-D]{0,27}|[0*#A]{0,4}"), Just(()), 0..600),
        numbers in prop::collection::vec("[012]{0,12}|[0-9]{0,9}|77777[0-9*#A-Dx]{0,32}|[0*#A]{0,6}|[0-9]{2}x[0-9]", 0..200),
    ) {
        let bytes = built(&prefixes);
        let image = open(&bytes);
        for number in numbers.iter().chain(prefixes.keys().map(|(_, prefix)| prefix)) {
            for group in 1..4 {
                let found = longest(&image, group, number);
                prop_assert_eq!(found.as_deref(), naive(&prefixes, group, number), "{}", number);
            }
        }
    }

    /// Whatever bytes change, also with checksums made right again: opening fails or every look-up returns.
    #[test]
    fn damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        number in "[0-9*#]{0,20}",
    ) {
        let mut bytes = sample();
        let len = bytes.len() - BODY_START;
        for (place, value) in &changes {
            bytes[BODY_START + place.index(len)] = *value;
        }
        reseal(&mut bytes);
        use_everything(&bytes, &number);
    }

    /// The same where it hurts most: whole words of the trie and the sources.
    #[test]
    fn lying_words_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..40),
        number in "[0-9]{0,20}",
    ) {
        let mut bytes = sample();
        let words = (bytes.len() - BODY_START) / 4;
        for (place, value) in &changes {
            let at = BODY_START + 4 * place.index(words);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        reseal(&mut bytes);
        use_everything(&bytes, &number);
    }
}

/// Enough prefixes for a wide root, nodes below it, and, in group 2, symbols that are no digits.
#[test]
fn agrees_with_a_naive_search_on_fifty_thousand() {
    let mut state = 0x5EED_u64;
    let mut draw = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut text = |len: u64, alphabet: &[u8]| -> String {
        (0..len).map(|_| char::from(alphabet[draw(alphabet.len() as u64) as usize])).collect()
    };
    let (digits, all) = (b"0123456789", b"0123456789*#ABCD");
    let mut prefixes = BTreeMap::new();
    for round in 0..100_000u64 {
        prefixes.insert((1, text(round % 11, digits)), ());
        if round % 4 == 0 {
            prefixes.insert((2, text(round % 7, all)), ());
        }
        // Crowded below one country, as ported numbers are.
        if round % 3 == 0 {
            prefixes.insert((1, std::format!("4915{}", text(7, b"012"))), ());
        }
    }
    prefixes.remove(&(1, String::new()));
    let bytes = built(&prefixes);
    let image = open(&bytes);
    assert!(image.counts().prefixes > 50_000);
    let made = (0..20_000u64).map(|round| text(round % 16, if round % 5 == 0 { b"0123456789*#ABCDx" } else { digits }));
    let made: Vec<String> = made.collect();
    let known: Vec<String> = prefixes.keys().map(|(_, prefix)| prefix.clone() + "x").collect();
    for number in made.iter().chain(&known) {
        for group in [1, 2] {
            assert_eq!(longest(&image, group, number).as_deref(), naive(&prefixes, group, number), "{group} {number}");
        }
    }
}

/// Something of everything, small enough that a random change is likely to meet a number.
fn sample() -> ImageBytes {
    let mut builder = Builder::new();
    let listener = builder.listener("192.0.2.1:5060");
    let provider = builder.provider("p", 1);
    builder.address(provider, "198.51.100.0/24").address(provider, "2001:db8::/32");
    builder.address_with(provider, "198.51.100.9/32", Some(listener), Some(5060), "77");
    let gateways: Vec<_> = (1..5).map(|host| builder.gateway("gw", &std::format!("203.0.113.{host}:5060"))).collect();
    let carrier = builder.carrier("c", &gateways);
    for number in 0..300 {
        builder.route(1, &std::format!("{}", number * 7), carrier);
        builder.route(2, &std::format!("5555{}*", number % 50 * 31), carrier);
    }
    let zone = builder.zone("Somewhere", -3600, &[(0, 3600), (1_800_000_000, 7200)]);
    let rows = [Some(zone), None].map(|zone| WindowRow { zone, ..WindowRow::EVERY_DAY });
    let window = builder.window(&rows);
    builder.route_at(1, "7", carrier, Schedule { window, valid_from: 0, valid_to: i64::MAX });
    builder.provider_with(ProviderRecord { zone: Some(zone), ..ProviderRecord::default() });
    builder.finish()
}

fn use_everything(bytes: &ImageBytes, number: &str) {
    let Ok(image) = Image::open(bytes) else { return };
    let _ = image.verify();
    for group in 0..4 {
        let _ = image.select(group, number.as_bytes(), NOON, 7);
        let mut prefix = image.longest_prefix(group, Digits::leading(number.as_bytes()));
        for wall in [WallTime(0), WallTime(u64::MAX)] {
            let _ = image.select(group, b"7", wall, 7);
        }
        while let Some(this) = prefix {
            assert!(image.routes(this).count() < bytes.len());
            prefix = image.shorter_prefix(this);
        }
    }
    for source in ["198.51.100.9:5060", "198.51.100.8:1", "[2001:db8::1]:5060", "203.0.113.1:5060"] {
        let _ = image.recognise(ListenerSlot(0), peer(source), number.as_bytes());
        let _ = image.gateway_at(peer(source));
    }
    for slot in 0..8 {
        let _ = (image.provider(ProviderSlot(slot)), image.gateway(GatewaySlot(slot)));
        let _ = (image.local_day(ProviderSlot(slot), NOON), image.local_midnight(ProviderSlot(slot), NOON));
        let _ = image.carrier(CarrierSlot(slot)).map(|carrier| carrier.fails_over(503));
    }
}

#[test]
fn what_is_no_image_is_refused_by_kind() {
    let good = sample();
    let error = |bytes: &[u8]| Image::open(bytes).map(|_| ()).expect_err("refused");
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(error(b""), ImageError::NotAnImage);
    assert_eq!(error(&[0; 4096]), ImageError::NotAnImage);
    assert_eq!(error(&changed(8, 0)), ImageError::Layout { found: 0, expected: LAYOUT });
    assert_eq!(error(&changed(8, 9)), ImageError::Layout { found: 9, expected: LAYOUT });
    assert_eq!(error(&changed(16, 99)), ImageError::Checksum, "the header covers the generation");
    assert_eq!(error(&good[..good.len() - 1]), ImageError::Truncated);
    assert_eq!(error(&good[..100]), ImageError::Truncated);
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(error(&longer), ImageError::Truncated);
    let body = changed(BODY_START + 4, good[BODY_START + 4] ^ 1);
    if let Ok(image) = Image::open(&body) {
        assert_eq!(image.verify(), Err(ImageError::Checksum));
    }
    let mut sections = good.clone();
    sections[64 + 8..64 + 16].copy_from_slice(&u64::MAX.to_le_bytes());
    reseal(&mut sections);
    assert_eq!(error(&sections), ImageError::Malformed);
}

#[test]
fn a_source_belongs_to_the_longest_network_on_either_family() {
    let mut builder = Builder::new();
    let listener = builder.listener("192.0.2.1:5060");
    let [wide, narrow, host, six] = ["wide", "narrow", "host", "six"].map(|name| builder.provider(name, 1));
    builder.address(wide, "198.51.0.0/16").address(narrow, "198.51.100.0/24").address(host, "198.51.100.9/32");
    builder.address(six, "2001:db8::/32").address(host, "2001:db8::9/128").address(wide, "::/0");
    let bytes = builder.finish();
    let image = open(&bytes);
    for (source, expected) in [
        ("198.51.100.9:5060", Some(host)),
        ("198.51.100.10:9", Some(narrow)),
        ("198.51.101.0:5060", Some(wide)),
        ("198.52.0.0:5060", None),
        ("198.50.255.255:5060", None),
        ("0.0.0.0:1", None),
        ("[::ffff:198.51.100.9]:1", Some(host)),
        ("[2001:db8::9]:5060", Some(host)),
        ("[2001:db8:ffff::]:5060", Some(six)),
        ("[2001:db9::]:5060", Some(wide)),
    ] {
        let found = image.recognise(listener, peer(source), b"").map(|recognised| recognised.provider);
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn listener_then_port_then_tech_prefix_decide_within_a_network() {
    let mut builder = Builder::new();
    let first = builder.listener("192.0.2.1:5060");
    let second = builder.listener("192.0.2.2:5060");
    let [any, named, port, short, long, outer] =
        ["any", "named", "port", "short", "long", "outer"].map(|name| builder.provider(name, 1));
    let cidr = "198.51.100.9/32";
    builder.address_with(any, cidr, None, None, "");
    builder.address_with(short, cidr, None, None, "77");
    builder.address_with(long, cidr, None, None, "7712");
    builder.address_with(port, cidr, None, Some(5070), "");
    builder.address_with(named, cidr, Some(second), None, "9");
    builder.address(outer, "198.51.100.0/24");
    let bytes = builder.finish();
    let image = open(&bytes);
    for (listener, source, user, provider, tech_prefix) in [
        (first, "198.51.100.9:5060", "4420", any, 0),
        (first, "198.51.100.9:5060", "7744", short, 2),
        (first, "198.51.100.9:5060", "77115", short, 2),
        (first, "198.51.100.9:5060", "77129", long, 4),
        (first, "198.51.100.9:5060", "7", any, 0),
        (first, "198.51.100.9:5070", "7712", port, 0),
        (second, "198.51.100.9:5060", "9712", named, 1),
        (second, "198.51.100.9:5060", "7712", long, 4),
    ] {
        let found = image.recognise(listener, peer(source), user.as_bytes()).expect("recognised");
        assert_eq!((found.provider, found.tech_prefix), (provider, tech_prefix), "{source} {user}");
    }
}

#[test]
fn an_address_is_one_providers_alone_where_no_row_gives_it_to_another() {
    let mut builder = Builder::new();
    let listeners = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|address| builder.listener(address));
    let [one, two] = ["one", "two"].map(|name| builder.provider(name, 1));
    let off = builder.provider_with(ProviderRecord { enabled: false, refuse_code: 503, ..ProviderRecord::default() });
    builder.address(two, "198.51.100.0/24");
    builder.address(one, "198.51.100.1");
    builder.address_with(one, "198.51.100.2", None, None, "77");
    builder.address_with(one, "198.51.100.3", None, None, "").address_with(two, "198.51.100.3", None, None, "88");
    builder.address_with(one, "198.51.100.4", None, Some(5070), "").address_with(two, "198.51.100.4", None, None, "");
    builder.address_with(one, "198.51.100.5", Some(listeners[0]), None, "");
    builder.address_with(one, "203.0.113.1", None, Some(5070), "1").address_with(one, "203.0.113.1", None, None, "2");
    builder.address_with(one, "203.0.113.2", Some(listeners[0]), None, "");
    builder.address_with(two, "203.0.113.2", Some(listeners[1]), None, "");
    builder.address(one, "203.0.113.3").address_with(off, "203.0.113.3", None, None, "9");
    for prefix in 100..200 {
        builder.address_with(one, "203.0.113.4", None, None, &std::format!("{prefix}"));
    }
    builder.address(one, "2001:db8::/32").address(two, "2001:db8::9");
    let bytes = builder.finish();
    let image = open(&bytes);
    for (ip, of_one, of_two) in [
        ("198.51.100.1", true, false),
        ("198.51.100.2", false, false),
        ("198.51.100.3", false, false),
        ("198.51.100.4", false, false),
        ("198.51.100.5", false, false),
        ("198.51.100.6", false, true),
        ("203.0.113.1", true, false),
        ("203.0.113.2", false, false),
        ("203.0.113.3", false, false),
        // More rows than are looked at.
        ("203.0.113.4", false, false),
        ("2001:db8::8", true, false),
        ("2001:db8::9", false, true),
    ] {
        let ip = ip.parse().expect("an address");
        assert_eq!((image.is_alone_at(one, ip), image.is_alone_at(two, ip)), (of_one, of_two), "{ip}");
        // And so it is: whoever is alone is all that is ever recognised there.
        for (provider, alone) in [(one, of_one), (two, of_two)] {
            for (listener, port, user) in listeners.into_iter().flat_map(|listener| {
                [5060, 5070]
                    .into_iter()
                    .flat_map(move |port| ["", "1", "2", "77", "88", "9"].map(|user| (listener, port, user)))
            }) {
                let found = image.recognise(listener, Endpoint::new(ip, port), user.as_bytes());
                assert!(!alone || found.is_none_or(|found| found.provider == provider), "{ip}:{port} {user}");
            }
        }
    }
}

#[test]
fn no_fitting_row_asks_the_wider_network_but_a_disabled_provider_does_not() {
    let mut builder = Builder::new();
    let listener = builder.listener("192.0.2.1:5060");
    let outer = builder.provider("outer", 1);
    let tech = builder.provider("tech", 1);
    let off = builder.provider_with(ProviderRecord { enabled: false, refuse_code: 503, ..ProviderRecord::default() });
    builder.address(outer, "198.51.100.0/24");
    builder.address_with(tech, "198.51.100.9/32", None, None, "77");
    builder.address(off, "198.51.100.10/32");
    let bytes = builder.finish();
    let image = open(&bytes);
    let provider = |source, user| image.recognise(listener, peer(source), user).map(|found| found.provider);
    assert_eq!(provider("198.51.100.9:5060", b"771"), Some(tech));
    assert_eq!(provider("198.51.100.9:5060", b"441"), Some(outer));
    assert_eq!(provider("198.51.100.10:5060", b"441"), None);
}

#[test]
fn the_same_address_twice_is_refused() {
    let mut plan = Plan::default();
    let address = |network: &str, prefix_len| crate::routing::build::Address {
        provider: 0,
        listener: None,
        network: network.parse().expect("address"),
        prefix_len,
        port: None,
        tech_prefix: Vec::new(),
        cap: None,
    };
    plan.addresses = [address("10.0.0.1", 24), address("10.0.0.1", 25), address("10.0.0.2", 24)].into();
    assert_eq!(encode(plan).map(|_| ()), Err(BuildError::DuplicateAddress { first: 0, second: 2 }));
}

#[test]
fn gateways_are_found_by_address() {
    let mut builder = Builder::new();
    let first = builder.gateway("a", "203.0.113.1:5060");
    let second = builder.gateway("b", "203.0.113.1:5080");
    let off = builder.gateway("off", "203.0.113.3:5060");
    builder.edit_gateway(off, |record| record.enabled = false);
    let bytes = builder.finish();
    let image = open(&bytes);
    assert_eq!(image.gateway_at(peer("203.0.113.1:5060")), Some(first));
    assert_eq!(image.gateway_at(peer("203.0.113.1:5080")), Some(second));
    assert_eq!(image.gateway_at(peer("203.0.113.1:40000")), Some(first));
    assert_eq!(image.gateway_at(peer("203.0.113.2:5060")), None);
    assert_eq!(image.gateway_at(peer("203.0.113.3:5060")), None);
    assert!(image.gateway(off).is_some_and(|gateway| !gateway.enabled), "calls in progress still find it");
    assert!(image.gateway(GatewaySlot(3)).is_none());
}

#[test]
fn priorities_come_in_order_and_no_gateway_twice() {
    let mut builder = Builder::new();
    let gateways: Vec<_> = (1..13).map(|host| builder.gateway("gw", &std::format!("203.0.113.{host}:5060"))).collect();
    let second = builder.carrier("second", &gateways[2..5]);
    let first = builder.carrier("first", &gateways[..3]);
    let many = builder.carrier("many", &gateways);
    builder.route_weighted(1, "44", second, 20, 1).route_weighted(1, "44", first, 10, 1).route(2, "", many);
    let bytes = builder.finish();
    let image = open(&bytes);
    let expected = [(0, first), (1, first), (2, first), (3, second), (4, second)]
        .map(|(place, carrier)| Candidate { gateway: gateways[place], carrier });
    for draw in 0..50 {
        assert_eq!(image.select(1, b"4420", NOON, draw).expect("routed").as_slice(), expected);
    }
    assert_eq!(image.select(2, b"1", NOON, 1).expect("routed").len(), CANDIDATES_MAX);
    let usable = |_, gateway: GatewaySlot| gateway.0 >= 5;
    let found = image.select_where(2, b"1", NOON, 1, usable).expect("seven are left");
    assert_eq!(found.iter().map(|candidate| candidate.gateway.0).collect::<Vec<_>>(), (5..12).collect::<Vec<_>>());
    assert_eq!(image.select_where(2, b"1", NOON, 1, |_, _| false), Err(NoCandidate::NoneUsable));
}

/// Chi-square with two degrees of freedom stays below 13.8 in 999 of 1,000 sound generators; the draws are fixed.
#[test]
fn the_first_of_equals_is_drawn_by_weight() {
    let mut builder = Builder::new();
    let weights = [1u16, 3, 6, 0];
    let carriers = weights.map(|weight| {
        let gateway = builder.gateway("gw", &std::format!("203.0.113.{weight}:5060"));
        let carrier = builder.carrier("c", &[gateway]);
        builder.route_weighted(1, "44", carrier, 5, weight);
        carrier
    });
    let bytes = builder.finish();
    let image = open(&bytes);
    let rounds = 20_000u32;
    let mut first = [0u32; 4];
    let mut second_after_last = [0u32; 2];
    for round in 0..rounds {
        let order = image.select(1, b"44", NOON, u64::from(round) << 32 | 0x5EED).expect("routed");
        assert_eq!(order.len(), 4);
        assert_eq!(order[3].carrier, carriers[3], "weight 0 comes after the others");
        first[usize::from(order[0].carrier.0)] += 1;
        if order[0].carrier == carriers[2] && order[1].carrier.0 < 2 {
            second_after_last[usize::from(order[1].carrier.0)] += 1;
        }
    }
    let chi_square = |seen: &[u32], weights: &[u16]| {
        let (all, sum) = (seen.iter().sum::<u32>(), weights.iter().sum::<u16>());
        seen.iter().zip(weights).fold(0.0, |total, (seen, weight)| {
            let expected = f64::from(all) * f64::from(*weight) / f64::from(sum);
            total + (f64::from(*seen) - expected).powi(2) / expected
        })
    };
    assert!(chi_square(&first[..3], &weights[..3]) < 13.8, "{first:?}");
    assert!(chi_square(&second_after_last, &weights[..2]) < 10.8, "{second_after_last:?}");
}

#[test]
fn gateways_of_equal_priority_share_by_weight_too() {
    let mut builder = Builder::new();
    let heavy = builder.gateway("heavy", "203.0.113.1:5060");
    let light = builder.gateway("light", "203.0.113.2:5060");
    let carrier = builder.carrier_weighted("c", &[(heavy, 1, 9), (light, 1, 1)]);
    builder.route(1, "", carrier);
    let bytes = builder.finish();
    let image = open(&bytes);
    let heavy_first =
        (0..10_000).filter(|draw| image.select(1, b"1", NOON, *draw).expect("routed")[0].gateway == heavy).count();
    assert!((8_850..9_150).contains(&heavy_first), "{heavy_first} of 10,000 at nine to one");
}

#[test]
fn routes_keep_their_ids_beside_shared_sets() {
    let mut builder = Builder::new();
    let gateway = builder.gateway("gw", "203.0.113.1:5060");
    let carrier = builder.carrier("c", &[gateway]);
    builder.route(1, "1", carrier).route(1, "2", carrier).route_weighted(1, "2", carrier, 7, 1);
    let bytes = builder.finish();
    let image = open(&bytes);
    assert_eq!(image.counts().route_sets, 2);
    let ids = |number: &[u8]| {
        let prefix = image.longest_prefix(1, Digits::leading(number)).expect("routed");
        image.routes(prefix).map(|(_, id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!((ids(b"1"), ids(b"2")), ([1].into(), [2, 3].into()));
}

/// Who is drawn after a full one is drawn by weight among those that are left, as if the full one had never been there.
#[test]
fn a_full_gateway_leaves_the_shares_of_the_others_alone() {
    let mut builder = Builder::new();
    let weights = [(2u16, 5u16), (1, 1), (0, 6), (3, 3)];
    let gateways = weights.map(|(n, _)| builder.gateway("gw", &std::format!("203.0.113.{n}:5060")));
    let ranked: Vec<_> = gateways.iter().zip(weights).map(|(gateway, (_, weight))| (*gateway, 1, weight)).collect();
    let carrier = builder.carrier_weighted("c", &ranked);
    builder.route(1, "44", carrier);
    let bytes = builder.finish();
    let image = open(&bytes);
    let mut first = [0u32; 4];
    let rounds = 20_000u32;
    for round in 0..rounds {
        let usable = |_, gateway| gateway != gateways[0];
        let draw = u64::from(round) << 32 | 0x5EED;
        let order = image.select_where(1, b"44", NOON, draw, usable).expect("routed");
        assert_eq!(order.len(), 3);
        first[usize::from(order[0].gateway.0)] += 1;
    }
    let deviation = [1u32, 2, 3].iter().fold(0.0, |total, place| {
        let expected = f64::from(rounds) * f64::from(weights[*place as usize].1) / 10.0;
        total + (f64::from(first[*place as usize]) - expected).powi(2) / expected
    });
    assert!(first[0] == 0 && deviation < 13.8, "{first:?}");
}
