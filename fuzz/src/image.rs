//! An image that was damaged, opened and asked everything that a shard asks.
//!
//! ```text
//!   "corelane…"   the whole file; lengths and checksums are made right, so that what lies behind them is reached
//!   other         a good image and changes to it: which image (1 byte), then (section, place, kind, value) of 8 bytes each
//! ```
//!
//! Opening may refuse it. What opens may give any answer, also where [`Image::verify`] refuses it, because a shard only opens; but it may
//! not panic, nor keep a shard busy for longer than the image is large (libFuzzer's `-timeout` watches that). An engine that routes by it keeps its
//! own promises.

use std::sync::OnceLock;

use corelane_core::WallTime;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{ALIGNMENT, BODY_START, HEADER_SIZE, MAGIC, SECTION_ENTRY_SIZE, SECTIONS};
use corelane_core::routing::{CarrierSlot, Digits, GatewaySlot, Image, ListenerSlot, ProviderSlot};

use crate::engine;
use crate::script::Script;

/// Changes to one image.
const CHANGES_MAX: usize = 32;

/// Numbers to look up: routed, longer than every prefix, nothing, nonsense.
const NUMBERS: [&[u8]; 10] = [
    b"4930123456",
    b"43",
    b"+442071234567",
    b"1",
    b"",
    b"99999999999999999999999999999999999999",
    b"*#ABCD",
    b"00",
    b"491",
    b"sip:x",
];

/// A call by the damaged image: INVITE from each provider, an answer, a BYE, time.
const CALLS: &[&[u8]] = &[
    &[0xff, 0, 1, 0x00, 0, 0, 4, 0x01, 4, 0, 0x03, 0, 0, 0x03, 1, 0, 0xf6],
    &[0xff, 0, 2, 0x00, 3, 1, 4, 0x10, 4, 0x14, 0, 0x01, 18, 0, 0x01, 18, 0, 0xf6],
];

/// Opens and asks.
///
/// # Panics
/// When an image made a reader panic.
pub fn check(bytes: &[u8]) {
    let image = if bytes.starts_with(&MAGIC) { aligned(bytes) } else { changed(bytes) };
    let sealed = sealed(image);
    let Ok(image) = Image::open(&sealed) else { return };
    let verified = image.verify();
    ask(&image);
    if verified.is_ok() {
        assert_eq!(image.verify(), Ok(()), "a verdict holds");
    }
    let both = [sealed.clone(), sealed];
    for script in CALLS {
        engine::run(&both, script);
    }
}

fn aligned(bytes: &[u8]) -> ImageBytes {
    let mut image = ImageBytes::with_capacity(bytes.len());
    image.extend_from_slice(bytes);
    image
}

/// A good image with the changes that a script wants.
fn changed(bytes: &[u8]) -> ImageBytes {
    let mut script = Script::new(bytes);
    let mut image = script.pick(&[&images()[0], &images()[1], &images()[2]]).clone();
    for _ in 0..CHANGES_MAX {
        if script.is_done() {
            break;
        }
        let (section, kind, place, value) = (script.byte(), script.byte(), script.word(), script.long());
        let (start, length) = section_of(&image, usize::from(section) % (SECTIONS + 1));
        change(&mut image[start..start + length], kind, usize::from(place), value);
    }
    image
}

/// Sets, adds to or copies a number of one, two or four bytes; the last third counts from the end, where an archive has its root.
fn change(part: &mut [u8], kind: u8, place: usize, value: u32) {
    let width = [1, 2, 4, 4][usize::from(kind & 3)];
    let Some(places) = part.len().checked_sub(width).filter(|places| *places > 0) else { return };
    let at = |place: usize| if kind & 4 == 0 { place % places / width * width } else { places - place % places };
    let here = at(place);
    let mut old = [0; 4];
    old[..width].copy_from_slice(&part[here..here + width]);
    let new = match kind >> 3 & 3 {
        0 => value,
        1 => u32::from_le_bytes(old).wrapping_add(value),
        2 => u32::from_le_bytes(old).wrapping_sub(value & 0xff),
        _ => {
            let there = at(value as usize);
            old[..width].copy_from_slice(&part[there..there + width]);
            u32::from_le_bytes(old)
        }
    };
    part[here..here + width].copy_from_slice(&new.to_le_bytes()[..width]);
}

/// Where a section of a good image lies; the last number is the section table itself.
fn section_of(image: &[u8], section: usize) -> (usize, usize) {
    if section == SECTIONS {
        return (HEADER_SIZE, SECTIONS * SECTION_ENTRY_SIZE);
    }
    let entry = HEADER_SIZE + section * SECTION_ENTRY_SIZE;
    // The table may have been changed already: whatever it says now is brought back inside.
    let word = |at: usize| u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]]) as usize;
    let start = word(entry + 8).min(image.len());
    (start, word(entry + 16).min(image.len() - start))
}

/// Lengths and checksums as `docs/image-format.md` has them.
fn sealed(mut image: ImageBytes) -> ImageBytes {
    if image.len() < BODY_START {
        return image;
    }
    let total = image.len() as u64;
    let body = crc32fast::hash(&image[BODY_START..]);
    image[32..40].copy_from_slice(&total.to_le_bytes());
    image[44..48].copy_from_slice(&body.to_le_bytes());
    image[HEADER_SIZE - 4..HEADER_SIZE].fill(0);
    let header = crc32fast::hash(&image[..BODY_START]);
    image[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&header.to_le_bytes());
    image
}

/// All that is asked of an image.
fn ask(image: &Image<'_>) {
    let _ = (image.generation(), image.compiled_at(), image.counts());
    let sources = engine::sources();
    for slot in [0, 1, 2, u16::MAX] {
        for source in sources {
            let _ = image.knows(ListenerSlot(slot), *source);
            for user in [&b""[..], b"774930", b"49"] {
                if let Some(found) = image.recognise(ListenerSlot(slot), *source, user) {
                    assert!(image.provider(found.provider).is_some(), "recognised as nobody");
                    assert!(usize::from(found.tech_prefix) <= user.len(), "more prefix than number");
                }
            }
        }
    }
    for source in sources {
        let _ = image.gateway_at(*source);
    }
    for slot in (0..6).chain([u16::MAX - 1, u16::MAX]) {
        let _ = (image.provider(ProviderSlot(slot)), image.gateway(GatewaySlot(slot)));
        if let Some(carrier) = image.carrier(CarrierSlot(slot)) {
            let _ = (carrier.id(), carrier.name(), carrier.fails_over(503), carrier.fails_over_on_cause(34));
        }
    }
    for group in [0, 1, 2, u32::MAX] {
        for number in NUMBERS {
            route(image, group, number);
        }
    }
}

/// One number, with everything usable, with one gateway left, and with no route open: the way to the shortest prefix.
fn route(image: &Image<'_>, group: u32, number: &[u8]) {
    let mut prefix = image.longest_prefix(group, Digits::leading(number));
    while let Some(number) = prefix {
        let _ = (image.prefix_len(number), image.routes(number).take(1_000).count());
        prefix = image.shorter_prefix(number);
        assert!(prefix.is_none_or(|shorter| shorter < number), "prefixes in a ring");
    }
    for draw in [0, 1, u64::MAX] {
        if let Ok(candidates) = image.select(group, number, WallTime(draw), draw) {
            assert!(!candidates.is_empty());
            for (place, candidate) in candidates.iter().enumerate() {
                let earlier = &candidates[..place];
                assert!(earlier.iter().all(|other| other.gateway != candidate.gateway), "a gateway twice");
            }
        }
    }
    for wall in [WallTime(0), WallTime(1_800_000_000_000_000), WallTime(u64::MAX)] {
        let _ = image.select_where(group, number, wall, 7, |_, gateway| gateway.0 == 1);
    }
}

/// The engine's two images, and one with every kind of node that a trie has.
#[must_use]
pub fn images() -> &'static [ImageBytes; 3] {
    static BUILT: OnceLock<[ImageBytes; 3]> = OnceLock::new();
    BUILT.get_or_init(|| {
        let [first, second] = engine::images().clone();
        [first, second, many_nodes()]
    })
}

/// Dense digits, sparse symbols, long chains and more than one group.
fn many_nodes() -> ImageBytes {
    let mut builder = Builder::new();
    builder.generation(3).listener("10.0.0.1:5060");
    let provider = builder.provider("acme", 1);
    for cidr in ["192.0.2.0/24", "192.0.2.10", "192.0.0.0/16", "2001:db8::/32", "2001:db8::10"] {
        builder.address(provider, cidr);
    }
    let gateways: Vec<_> = (1..=4).map(|host| builder.gateway("gateway", &format!("198.51.100.{host}:5060"))).collect();
    let carriers: Vec<_> = gateways.iter().map(|gateway| builder.carrier("carrier", &[*gateway])).collect();
    let mut route = |group: u32, prefix: &str, place: usize| {
        builder.route_weighted(group, prefix, carriers[place % 4], (place % 2) as u16, (place % 5) as u16);
    };
    for number in 0..130 {
        route(1, &format!("{:02}", number % 100), number);
        route(1, &format!("49{:03}", number * 7 % 1000), number + 1);
    }
    for (place, prefix) in ["*1", "#A", "*#ABCD", "49*0", "12345678901234567890123456789012"].iter().enumerate() {
        route(1, prefix, place);
        route(2, prefix, place + 1);
    }
    builder.finish()
}

const _: () = assert!(BODY_START.is_multiple_of(ALIGNMENT));
