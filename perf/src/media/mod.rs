//! The driver behind `make bench-media`: what media control costs, and what its faults cost the calls.
//!
//! ```text
//!   pairs:  direct, media, direct, media …      CPU per call of shard and control core, each by its thread; the ratio of each pair
//!   held:   60,000 calls at once on four nodes    and again while one node is killed: no call fails that had no need of it
//!   saturate: two real rtpengine nodes, the rate doubled until a call fails: by 503 alone, and nothing left
//!   curve:  before │ one node faulty │ both faulty │ both back        by 100 ms: p99 to the 100; by second: failures, 503s
//!
//!   load ◄─SIP─► corelane (shard-0, control) ◄─ng─► relay × 2        generator and relays share a CPU
//! ```
//!
//! Media nodes are stand-ins ([`crate::relay`]) but for `saturate`. Every SDP that the generator's ends get must name one of them. A run in which the
//! generator was late, the kernel dropped datagrams or a call failed is no figure: a rate that it was to show reads *not met*.

mod curve;
mod held;
mod pairs;
mod relays;
mod saturate;
mod table;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::bench::Stand;
use crate::bench::table::heading;
use crate::kernel::Machine;

pub use curve::Fault;

/// Sessions that a node of pairs and curves takes: more than there ever are.
const SESSIONS_MAX: u32 = 100_000;

/// What may be measured.
#[derive(Copy, Clone, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Question {
    /// What media control costs.
    Pairs,
    /// What failing nodes cost.
    Curves,
    /// Whether a fleet carries its sessions, also with one node lost.
    Held,
    /// Whose fault the first failure of two real rtpengine nodes is.
    Saturate,
}

/// What is measured, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The stand.
    #[command(flatten)]
    pub stand: Stand,
    /// What is asked.
    #[arg(long, value_delimiter = ',', default_value = "pairs,curves")]
    pub ask: Vec<Question>,
    /// Calls per second of the pairs, one table row each.
    #[arg(long, value_delimiter = ',', default_value = "1000,3000")]
    pub cps: Vec<u32>,
    /// Faults of the curves, one curve each.
    #[arg(long, value_delimiter = ',', default_value = "freeze,kill,blackhole")]
    pub faults: Vec<Fault>,
    /// Calls per second of curves and held calls.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub curve_cps: u32,
    /// Length of each of a curve's four parts.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=600))]
    pub part_seconds: u32,
    /// Calls in progress at once.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub held_calls: u32,
    /// Sessions that each of the four nodes takes then.
    #[arg(long, default_value_t = 20_000)]
    pub held_node_sessions: u32,
    /// Calls per second that two real nodes get first.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub saturate_from_cps: u32,
    /// Where the two media nodes answer ng; their control sockets are one port higher. Held calls have four, from the first host on.
    #[arg(long, value_delimiter = ',', value_name = "ADDR:PORT", default_value = "127.0.1.1:25222,127.0.1.2:25222")]
    pub nodes: Vec<SocketAddr>,
    /// Also write the result as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

impl Settings {
    fn relay_hosts(&self) -> Vec<IpAddr> {
        self.nodes.iter().map(SocketAddr::ip).collect()
    }
}

/// Runs the pairs and the curves and says what they show. Returns whether every run may be quoted.
///
/// # Errors
/// A CPU that cannot be pinned to, a target or a relay that does not start or answer, a file that cannot be written.
pub fn run(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<bool, Box<dyn Error>> {
    settings.stand.check()?;
    if settings.nodes.len() < 2 {
        return Err("the curves want two nodes: --nodes".into());
    }
    let head = heading(&Machine::here(), &settings.stand);
    say(&head);
    let mut text = format!("```text\n{head}\n```\n\n");
    let mut sound = true;
    let mut pairs = Vec::new();
    let asked = |question| settings.ask.contains(&question);
    for cps in settings.cps.iter().filter(|_| asked(Question::Pairs)) {
        for round in 1..=settings.stand.rounds {
            let pair = pairs::measure(settings, *cps, round)?;
            sound &= pair.holds();
            say(&table::pair(&pair));
            pairs.push(pair);
        }
    }
    text.push_str(&table::pairs(settings, &pairs));
    for fault in settings.faults.iter().filter(|_| asked(Question::Curves)) {
        let curve = curve::measure(settings, *fault)?;
        sound &= curve.holds();
        let drawn = table::curve(settings, &curve);
        say(&drawn);
        text.push_str(&drawn);
    }
    if asked(Question::Held) {
        for lose in [false, true] {
            let held = held::measure(settings, lose)?;
            sound &= held.faults().is_empty();
            let told = table::held(&held);
            say(&told);
            text.push_str(&told);
        }
    }
    if asked(Question::Saturate) {
        let steps = saturate::measure(settings, say)?;
        sound &= steps.iter().all(|step| step.faults().is_empty());
        text.push_str(&table::steps(&steps));
    }
    if !pairs.is_empty() {
        say(&table::pairs(settings, &pairs));
    }
    if let Some(path) = &settings.markdown {
        std::fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(sound)
}
