//! Direct media and media through relays in turn, at one rate: the CPU of each thread of Corelane per call.

use std::error::Error;
use std::time::Duration;

use super::relays::{Left, Node};
use super::{SESSIONS_MAX, Settings};
use crate::bench::target::{Fleet, Target};
use crate::kernel;
use crate::load::{self, Report};
use crate::sys::process;

/// Threads of shards are called `shard-0`, `shard-1` …, that of the control core `control`.
const SHARD: &str = "shard-";
const CONTROL: &str = "control";

/// One run of a pair.
pub(super) struct Run {
    pub(super) report: Report,
    /// CPU per call of all shards' threads.
    pub(super) shard: Duration,
    /// CPU per call of the control core's thread.
    pub(super) control: Duration,
    /// CPU per call of every other thread of the process.
    pub(super) other: Duration,
    /// What the nodes said at the end.
    pub(super) left: Vec<Left>,
}

impl Run {
    /// Everything that keeps it from being a figure.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.report.faults();
        let left: u64 = self.left.iter().map(|node| node.sessions).sum();
        if left > 0 {
            faults.push(format!("{left} sessions were left on the media nodes"));
        }
        faults
    }
}

/// A run with direct media and one with relays, one after the other.
pub(super) struct Pair {
    pub(super) cps: u32,
    pub(super) round: u32,
    pub(super) direct: Run,
    pub(super) media: Run,
}

impl Pair {
    pub(super) fn holds(&self) -> bool {
        self.direct.faults().is_empty() && self.media.faults().is_empty()
    }

    /// What media control makes of the shard's CPU per call.
    pub(super) fn ratio(&self) -> f64 {
        self.media.shard.as_secs_f64() / self.direct.shard.as_secs_f64()
    }
}

pub(super) fn measure(settings: &Settings, cps: u32, round: u32) -> Result<Pair, Box<dyn Error>> {
    Ok(Pair { cps, round, direct: one(settings, cps, false)?, media: one(settings, cps, true)? })
}

fn one(settings: &Settings, cps: u32, media: bool) -> Result<Run, Box<dyn Error>> {
    let stand = &settings.stand;
    // The relays stand for other machines: they run with the generator, not with the target.
    process::pin(stand.generator_cpu)?;
    let places = if media { &settings.nodes[..] } else { &[] };
    let nodes = places.iter().map(|place| Node::start(*place, SESSIONS_MAX)).collect::<Result<Vec<_>, _>>()?;
    process::pin(stand.target_cpu)?;
    let started = Target::corelane(stand, cps, Fleet { nodes: places, max_sessions: SESSIONS_MAX });
    process::pin(stand.generator_cpu)?;
    let mut target = started?;
    target.wait_until_ready(stand)?;
    let plan = |seconds| {
        let relays = if media { settings.relay_hosts() } else { Vec::new() };
        load::Plan { relays, ..stand.plan(cps, seconds, target.pid()) }
    };
    load::run(&load::Plan { drain_ms: 0, ..plan(stand.warm_up_seconds) })?;
    let before = kernel::thread_cpu(target.pid());
    let report = load::run(&plan(stand.seconds))?;
    let after = kernel::thread_cpu(target.pid());
    let spent = |wanted: &dyn Fn(&str) -> bool| {
        let sum: Duration = after
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, spent)| spent.saturating_sub(before.get(name).copied().unwrap_or_default()))
            .sum();
        sum / report.tally.started.max(1)
    };
    let (shard, control) = (spent(&|name| name.starts_with(SHARD)), spent(&|name| name == CONTROL));
    let other = spent(&|name| !name.starts_with(SHARD) && name != CONTROL);
    target.stop(Duration::from_secs(20))?;
    let left = nodes.into_iter().map(Node::stop).collect::<Result<_, _>>()?;
    Ok(Run { report, shard, control, other, left })
}
