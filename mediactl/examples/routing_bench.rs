//! Figures of the routing image: compile from CSV, size, opening, look-up.
//!
//! `cargo run --release -p corelane-mediactl --example routing_bench [prefixes]`
//!
//! Two number plans, both generated from fixed seeds: `plan` looks like a carrier's (country and area codes, number
//! ranges nested in them, some single ported numbers), `random` is uniformly random digits, 4 to 15 of them, which no tree likes.
//!
//! How a look-up is timed. A clock read costs a good part of a look-up, so groups of [`GROUP`] look-ups are timed, and the
//! cost of two clock reads around nothing (its median) is taken off. The percentiles are of groups divided by their size, which hides
//! the spread inside a group; so the same is done one look-up at a time (`single`), where the clock's own jitter is in the figure.
//! Each number is parsed from its text, as it is on a call, and its prefix is drawn evenly from all prefixes, which no traffic does:
//!
//! - `warm`: 10,000 numbers again and again: what was dialled lately over an image of full size;
//! - `sweep`: a million numbers one after the other, so that hardly anything but the root is cached: the price of cold lines.
//!
//! Both are done in [`ROUNDS`] rounds; `median` is the median over rounds of each round's percentile, `best` the least. On a shared machine
//! the two differ by what the neighbours did to caches and clock; the yardstick line says what one cache miss costs at that moment.
#![allow(clippy::print_stdout)] // A benchmark prints.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use corelane_core::WallTime;
use corelane_core::routing::{Digits, Image};
use corelane_mediactl::routes;

/// Look-ups between two clock reads.
const GROUP: usize = 8;
/// Rounds over all numbers.
const ROUNDS: usize = 11;
/// Numbers that were dialled lately.
const WARM: usize = 10_000;
/// When numbers are looked up: 2027, when the routes below are all valid.
const TIME: WallTime = WallTime(1_800_000_000_000_000);
/// A dialled number.
type Number = [u8; 15];

struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
    fn digits(&mut self, count: u64) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

/// Countries with area codes, ranges within them, and ported numbers within ranges.
fn plan(count: usize) -> Vec<String> {
    let mut draws = Draws(0x00C0_FFEE);
    let mut prefixes = std::collections::BTreeSet::new();
    let countries: Vec<String> = (0..230)
        .map(|_| {
            let len = 1 + draws.below(3);
            let lead = 1 + draws.below(9);
            format!("{lead}{}", draws.digits(len - 1))
        })
        .collect();
    while prefixes.len() < count {
        // A tenth of the countries have most of the ranges.
        let weighted = draws.below(230) * draws.below(230) / 230;
        let country = &countries[weighted as usize];
        prefixes.insert(country.clone());
        let area_len = 1 + draws.below(3);
        let area = format!("{country}{}", draws.digits(area_len));
        prefixes.insert(area.clone());
        let exchange = format!("{area}{}", draws.digits(2));
        let first = draws.below(10);
        for last in first..10 {
            let range = format!("{exchange}{last}");
            if draws.below(3) == 0 {
                let rest = draws.digits(4);
                prefixes.insert(format!("{range}{rest}"));
            }
            prefixes.insert(range);
        }
    }
    prefixes.into_iter().take(count).collect()
}

fn random(count: usize) -> Vec<String> {
    let mut draws = Draws(0x0BAD_5EED);
    let mut prefixes = std::collections::BTreeSet::new();
    while prefixes.len() < count {
        let len = 4 + draws.below(12);
        prefixes.insert(draws.digits(len));
    }
    prefixes.into_iter().collect()
}

fn write_tables(dir: &Path, prefixes: &[String]) {
    let mut route = String::with_capacity(prefixes.len() * 64);
    route.push_str(
        "id,routing_group,prefix,carrier_id,priority,weight,time_window_id,valid_from,valid_to,cost,enabled\n",
    );
    let mut draws = Draws(7);
    for (place, prefix) in prefixes.iter().enumerate() {
        let (carrier, cost) = (1 + draws.below(40), draws.below(90_000));
        let id = place + 1;
        writeln!(route, "{id},1,{prefix},{carrier},{},{},,2024-01-01,,0.{cost:06},1", carrier % 3, 1 + carrier % 5)
            .expect("memory");
    }
    let mut gateway = String::from("id,host\n");
    let mut carrier = String::from("id\n");
    let mut member = String::from("carrier_id,gateway_id\n");
    for id in 1..=40 {
        writeln!(gateway, "{id},203.0.113.{id}").expect("memory");
        writeln!(carrier, "{id}").expect("memory");
        writeln!(member, "{id},{id}\n{id},{}", id % 40 + 1).expect("memory");
    }
    for (file, text) in [
        ("provider.csv", "id,routing_group\n1,1\n"),
        ("provider_address.csv", "provider_id,cidr\n1,198.51.100.0/24\n"),
        ("gateway.csv", &gateway),
        ("carrier.csv", &carrier),
        ("carrier_gateway.csv", &member),
        ("route.csv", &route),
    ] {
        std::fs::write(dir.join(file), text).expect("temporary directory");
    }
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Nanoseconds of one load that depends on the load before, all over a table of `bytes`: the yardstick of everything below.
fn random_load_ns(bytes: usize) -> f64 {
    let len = bytes / 4;
    let mut next: Vec<u32> = (0..len as u32).collect();
    let mut draws = Draws(3);
    // Sattolo's shuffle: one cycle through all places.
    for place in (1..len).rev() {
        next.swap(place, draws.below(place as u64) as usize);
    }
    let steps = 2_000_000u32;
    let mut at = 0u32;
    (0..steps).for_each(|_| at = next[at as usize]);
    let start = Instant::now();
    (0..steps).for_each(|_| at = next[at as usize]);
    black_box(at);
    start.elapsed().as_nanos() as f64 / f64::from(steps)
}

/// Nanoseconds per look-up, p50 and p99 over groups of `group`: (median, best) over the rounds.
fn time_groups(numbers: &[Number], group: usize, mut look_up: impl FnMut(&[u8]) -> usize) -> [(f64, f64); 2] {
    let mut empty: Vec<f64> = (0..10_000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect();
    empty.sort_by(f64::total_cmp);
    let overhead = percentile(&empty, 0.5);
    let mut rounds = [const { Vec::new() }; 2];
    let mut samples = Vec::with_capacity(numbers.len() / group);
    for round in 0..=ROUNDS {
        samples.clear();
        for numbers in numbers.chunks_exact(group) {
            let start = Instant::now();
            for number in numbers {
                black_box(look_up(black_box(number)));
            }
            samples.push((start.elapsed().as_nanos() as f64 - overhead).max(0.0) / group as f64);
        }
        samples.sort_by(f64::total_cmp);
        // The first round warms up.
        if round > 0 {
            rounds[0].push(percentile(&samples, 0.5));
            rounds[1].push(percentile(&samples, 0.99));
        }
    }
    rounds.map(|mut round| {
        round.sort_by(f64::total_cmp);
        (percentile(&round, 0.5), round[0])
    })
}

fn bench(name: &str, prefixes: &[String]) {
    let dir = std::env::temp_dir().join(format!("corelane-routing-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("temporary directory");
    write_tables(&dir, prefixes);
    let image_file = dir.join("routes.image");
    println!("{name}: {} prefixes", prefixes.len());
    for what in ["first", "again, keeping slots"] {
        let start = Instant::now();
        let compiled = routes::compile_to(&dir, &image_file).expect("generated tables compile");
        println!("  compile from CSV ({what})  {:.2} s, {} bytes", start.elapsed().as_secs_f64(), compiled.bytes);
    }
    let start = Instant::now();
    let tables = routes::load(&dir).expect("loads");
    println!("    of which load             {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    black_box(routes::compile(&tables, None).expect("compiles").len());
    println!("    of which compile          {:.2} s", start.elapsed().as_secs_f64());
    drop(tables);
    measure(&image_file, prefixes);
    std::fs::remove_dir_all(&dir).expect("our own directory");
}

fn measure(image_file: &Path, prefixes: &[String]) {
    routes::with_image(image_file, |image, _| {
        let mut opens: Vec<f64> = (0..21)
            .map(|_| {
                let start = Instant::now();
                black_box(Image::open(black_box(image.bytes())).map(|image| image.generation())).expect("opens");
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        opens.sort_by(f64::total_cmp);
        println!("  open                        {:.3} ms median, {:.3} ms worst of 21", opens[10], opens[20]);
        let load = random_load_ns(18 << 20);
        println!("  one random load in 18 MiB   {load:.0} ns: what this machine charges, at this moment, for a miss");
        let mut draws = Draws(99);
        let numbers: Vec<Number> = (0..prefixes.len())
            .map(|_| {
                let prefix = &prefixes[draws.below(prefixes.len() as u64) as usize];
                let dialled = format!("{prefix}{}", draws.digits(15usize.saturating_sub(prefix.len()) as u64));
                let mut number = [0; 15];
                number.copy_from_slice(&dialled.as_bytes()[..15]);
                number
            })
            .collect();
        let found =
            |number: &[u8]| image.longest_prefix(1, Digits::leading(number)).map_or(0, |prefix| prefix.0 as usize);
        let select = |number: &[u8]| image.select(1, number, TIME, 7).map_or(0, |candidates| candidates.len());
        for (set, numbers) in [("warm", &numbers[..WARM.min(numbers.len())]), ("sweep", &numbers[..])] {
            let show = |what: &str, [p50, p99]: [(f64, f64); 2]| {
                println!(
                    "  {set:<5} {what:<19}  median: p50 {:.0} p99 {:.0} ns   best: p50 {:.0} p99 {:.0} ns",
                    p50.0, p99.0, p50.1, p99.1
                );
            };
            show("look-up, groups", time_groups(numbers, GROUP, found));
            show("look-up, single", time_groups(numbers, 1, found));
            show("select, groups", time_groups(numbers, GROUP, select));
        }
        Ok(())
    })
    .expect("the image that was just written");
    print!("{}", routes::stat(image_file).expect("readable"));
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    bench("plan", &plan(count));
    bench("random", &random(count));
}
