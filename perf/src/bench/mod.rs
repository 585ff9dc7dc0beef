//! The driver behind `make bench`: floor and Corelane in turn under the same load, and the ratio of their CPU per call.
//!
//! ```text
//!   for each rate:  round 1: floor, Corelane   round 2: floor, Corelane   …      each: start, ready, warm-up, load, drain, stop
//!                   pair 1 ─► ratio            pair 2 ─► ratio                   quoted: ratio of the medians, and each pair
//! ```
//!
//! The system under test runs on one CPU and the generator on another; Corelane's control core shares the former, so that
//! all that Corelane needs is charged. A run with kernel drops, failed calls or a late generator is printed, with the
//! reason, and the bench ends with an error: there is no figure from a spoiled run.

pub(crate) mod table;
pub(crate) mod target;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::kernel::Machine;
use crate::load::{self, Report};
use crate::sys::process;
use target::{Fleet, Kind, Target};

/// Where the system under test runs, and what calls it gets: the same for every run that is compared.
#[derive(Clone, Debug, clap::Args)]
pub struct Stand {
    /// The `corelane` binary [the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub corelane: Option<PathBuf>,
    /// Further arguments for `corelane run`, one each.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub corelane_arg: Vec<String>,
    /// CPU of the system under test.
    #[arg(long, default_value_t = 1)]
    pub target_cpu: usize,
    /// CPU of the generator.
    #[arg(long, default_value_t = 0)]
    pub generator_cpu: usize,
    /// Where the system under test listens.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:25060")]
    pub target: SocketAddr,
    /// Where the caller sends from.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.2:0")]
    pub uac_bind: SocketAddr,
    /// Where the callee listens.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.3:25070")]
    pub uas_bind: SocketAddr,
    /// Sockets that the caller sends from.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub sources: u16,
    /// From 180 to 200.
    #[arg(long, default_value_t = 50)]
    pub ring_ms: u64,
    /// From ACK to BYE.
    #[arg(long, default_value_t = 100)]
    pub hold_ms: u64,
    /// Idle time after the last call that is still charged; 33000 covers the longest linger (Timer J).
    #[arg(long, default_value_t = 6000)]
    pub drain_ms: u64,
    /// Length of the bursts in which calls start.
    #[arg(long, default_value_t = 500)]
    pub burst_us: u64,
    /// How late a call may start before the run counts as saturated.
    #[arg(long, default_value_t = 50)]
    pub late_ms: u64,
    /// Pairs of runs per rate.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Length of a run's schedule.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Length of the warm-up before each run, at the same rate.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub warm_up_seconds: u32,
}

impl Stand {
    /// The calls of one run.
    pub(crate) fn plan(&self, cps: u32, seconds: u32, pid: u32) -> load::Plan {
        load::Plan {
            target: self.target,
            uac_bind: self.uac_bind,
            uas_bind: self.uas_bind,
            cps,
            calls: cps.saturating_mul(seconds),
            ring_ms: self.ring_ms,
            hold_ms: self.hold_ms,
            sources: self.sources,
            number_prefix: "4930".to_owned(),
            number_digits: 7,
            burst_us: self.burst_us,
            t1_ms: 500,
            late_ms: self.late_ms,
            pid: Some(pid),
            drain_ms: self.drain_ms,
            relays: Vec::new(),
            slice_ms: 0,
        }
    }

    /// # Errors
    /// When target and generator are to share a CPU.
    pub(crate) fn check(&self) -> Result<(), Box<dyn Error>> {
        if self.target_cpu == self.generator_cpu {
            return Err("the generator needs a CPU of its own: --target-cpu and --generator-cpu are the same".into());
        }
        Ok(())
    }
}

/// What is compared, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The stand.
    #[command(flatten)]
    pub stand: Stand,
    /// Measures the floor and the generator alone.
    #[arg(long)]
    pub floor_only: bool,
    /// A routing directory instead of the generated one; it must know the caller's and the callee's address.
    #[arg(long, value_name = "DIR")]
    pub routes: Option<PathBuf>,
    /// Calls per second, one table row each.
    #[arg(long, value_delimiter = ',', default_value = "1000,3000,6000")]
    pub cps: Vec<u32>,
    /// Also write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write the result as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// One measured run.
pub struct Run {
    /// What was measured.
    pub kind: Kind,
    /// Which pair it belongs to, from 1.
    pub round: u32,
    /// What the generator saw.
    pub report: Report,
    /// Corelane's own counters at its end, summed over shards; empty for the floor.
    pub counters: Vec<(String, u64)>,
}

/// Runs the whole comparison and says what it finds. Returns whether every run may be quoted.
///
/// # Errors
/// A CPU that cannot be pinned to, a target that does not start or answer, a file that cannot be written.
pub fn run(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<bool, Box<dyn Error>> {
    let machine = Machine::here();
    say(&table::heading(&machine, &settings.stand));
    settings.stand.check()?;
    let kinds = if settings.floor_only { &[Kind::Floor][..] } else { &[Kind::Floor, Kind::Corelane] };
    let mut runs = Vec::new();
    for cps in &settings.cps {
        for round in 1..=settings.stand.rounds {
            for kind in kinds {
                let run = measure(settings, *kind, *cps, round)?;
                say(&table::progress(&run));
                runs.push(run);
            }
        }
    }
    let sound = runs.iter().all(|run| run.report.faults().is_empty());
    let text = table::markdown(&machine, settings, &runs);
    say(&text);
    if let Some(path) = &settings.markdown {
        std::fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &settings.json {
        let text = table::json(&machine, settings, &runs);
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(sound)
}

fn measure(settings: &Settings, kind: Kind, cps: u32, round: u32) -> Result<Run, Box<dyn Error>> {
    // A child inherits where its parent may run: the target is started from its CPU, the generator goes to its own.
    let stand = &settings.stand;
    process::pin(stand.target_cpu)?;
    let started = match (kind, &settings.routes) {
        (Kind::Floor, _) => Target::floor(stand),
        (Kind::Corelane, Some(routes)) => Target::corelane_on(stand, cps, routes),
        (Kind::Corelane, None) => Target::corelane(stand, cps, Fleet::NONE),
    };
    process::pin(stand.generator_cpu)?;
    let mut target = started?;
    target.wait_until_ready(stand)?;
    let warm_up = load::Plan { drain_ms: 0, ..stand.plan(cps, stand.warm_up_seconds, target.pid()) };
    load::run(&warm_up)?;
    let report = load::run(&stand.plan(cps, stand.seconds, target.pid()))?;
    let counters = target.stop(Duration::from_secs(20))?;
    Ok(Run { kind, round, report, counters })
}
