//! Two media nodes under calls at a steady rate; one fails, then both, then both come back.
//!
//! ```text
//!   0            1 part          2 parts         3 parts        4 parts
//!   │  both well │ node 1 faulty │ both faulty   │ both back    │        a call belongs to the part in which it started
//! ```
//!
//! What may fail: a call whose callee had been told a faulty node and whose answer came too late for it (500, SPEC §5; told by the SDP of
//! its INVITE), and with both faulty every new call (503). Every other failure is Corelane's: *not met*. Recovery is from the return to
//! the first slice from which on no call fails.
//!
//! What may not wait: the 100, in any part; and the INVITE to the callee, once the breaker had its time. The first is held against the median over
//! the slices of each slice's p99: a machine that is busy with itself for some milliseconds of each second moves the p99 of a whole part,
//! in all parts alike, and a wait for a node moves every slice.

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::relays::{Left, Node};
use super::{SESSIONS_MAX, Settings};
use crate::bench::target::{Fleet, Target};
use crate::load::report::{Failure, HalfAgreed};
use crate::load::series::{Slice, p99};
use crate::load::{self, Report};
use crate::sys::process;

/// Length of a slice.
pub(super) const SLICE_MS: u64 = 100;

/// The deadline of an exchange: a call that started so long before both nodes were faulty may meet that.
const DEADLINE: Duration = Duration::from_secs(2);

/// From the return of both nodes, after which no call is refused any more.
const RECOVERY_MAX: Duration = Duration::from_secs(2);

/// From a fault of one node, after which no call waits for that one any more: the breaker's bound.
const BREAKER_MAX: Duration = Duration::from_secs(1);

/// An INVITE that is longer on its way to the callee has waited for a node that did not answer.
const WAITED_US: u32 = 100_000;

/// What the median slice of a part may have over that of the first before the 100 has waited: twice, and half a millisecond.
const TRYING_SPARE_US: u32 = 500;

/// Deadline, breaker and last retransmissions, before the nodes are asked what is left on them.
const SETTLE_MS: u64 = 4_000;

/// How a node fails.
#[derive(Copy, Clone, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Fault {
    /// It does not read any more; what waits is answered when it is back.
    Freeze,
    /// Its process is gone, and a new one knows nothing.
    Kill,
    /// It reads and never answers.
    Blackhole,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fault::Freeze => "freeze",
            Fault::Kill => "kill",
            Fault::Blackhole => "blackhole",
        })
    }
}

impl Fault {
    fn strike(self, node: &mut Node) -> Result<(), String> {
        match self {
            Fault::Kill => node.kill(),
            // A frozen one answers its control socket all the same.
            _ => drop(node.line(&self.to_string()).map_err(|error| error.to_string())?),
        }
        Ok(())
    }

    fn heal(self, node: &mut Node) -> Result<(), String> {
        match self {
            Fault::Kill => node.start_again().map_err(|error| error.to_string()),
            _ => node.line("unfreeze").map(drop).map_err(|error| error.to_string()),
        }
    }
}

/// A curve and the run that it was taken from.
pub(super) struct Curve {
    pub(super) fault: Fault,
    pub(super) report: Report,
    /// When each fault happened, since the start of the series: one node, both, back.
    pub(super) events: [Duration; 3],
    pub(super) left: Vec<Left>,
}

/// One part of a curve.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) started: u32,
    /// p99 to the 100 over all of the part, the median slice's, and the worst one's, in microseconds.
    pub(super) trying_us: [u32; 3],
    /// p99 to the INVITE at the callee, in microseconds.
    pub(super) through_us: u32,
    pub(super) unavailable: u32,
    /// Calls that failed otherwise, those between offer and answer on a faulty node among them.
    pub(super) failed: u32,
}

impl Curve {
    /// A fault that a node's failure does not excuse.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.report.saturated() {
            faults.push(format!(
                "the generator was saturated: a call started {} ms late",
                self.report.late_max.as_millis()
            ));
        }
        if self.report.socket_drops != Some(0) {
            faults.push(format!("datagrams were dropped at the sockets of the run: {:?}", self.report.socket_drops));
        }
        if self.report.tally.unrelayed > 0 {
            faults.push(format!("{} SDPs arrived that name no relay", self.report.tally.unrelayed));
        }
        let left: u64 = self.left.iter().map(|node| node.sessions).sum();
        if left > 0 {
            faults.push(format!("{left} sessions were left on the media nodes"));
        }
        for (failure, count) in self.report.tally.failures_but(|call| self.excuses(call)) {
            if failure != Failure::Refused(503) {
                faults.push(format!("{count} calls that another node could carry: {failure}"));
            }
        }
        let [one, both, back] = self.events;
        let series = &self.report.series;
        let [well, others @ ..] = self.parts();
        for part in others {
            if part.trying_us[1] > 2 * well.trying_us[1] + TRYING_SPARE_US {
                let (waited, usual) = (part.trying_us[1], well.trying_us[1]);
                faults.push(format!("the 100 waited with {}: median p99 {waited} µs, {usual} µs before", part.name));
            }
        }
        let slow = |slice: &Slice| slice.through_us.iter().filter(|waited| **waited >= WAITED_US).count();
        let waited: usize = series.between(one + BREAKER_MAX, both).iter().map(slow).sum();
        if waited > 0 {
            faults.push(format!("{waited} calls waited for the faulty node later than 1 s after its fault"));
        }
        for (slices, when) in [
            (series.between(Duration::ZERO, both.saturating_sub(DEADLINE)), "while a node was well"),
            (series.between(back + RECOVERY_MAX, Duration::MAX), "2 s after both were back"),
        ] {
            let refused: u32 = slices.iter().map(|slice| slice.unavailable).sum();
            if refused > 0 {
                faults.push(format!("{refused} calls got 503 {when}"));
            }
        }
        faults
    }

    /// Whether it was between offer and answer on a node that was faulty, or came back without memory.
    pub(super) fn excuses(&self, call: &HalfAgreed) -> bool {
        let [one, both, back] = self.events;
        let struck = if call.relay == 0 { one } else { both };
        call.at >= struck && call.at < back + DEADLINE
    }

    pub(super) fn holds(&self) -> bool {
        self.faults().is_empty()
    }

    /// The four parts.
    pub(super) fn parts(&self) -> [Part; 4] {
        let [one, both, back] = self.events;
        let series = &self.report.series;
        [
            ("both well", Duration::ZERO, one),
            ("one faulty", one, both),
            ("both faulty", both, back),
            ("both back", back, Duration::MAX),
        ]
        .map(|(name, from, to)| part(name, series.between(from, to)))
    }

    /// From the return to the first slice from which on no call fails; `None` when that never came.
    pub(super) fn recovery(&self) -> Option<Duration> {
        let slices = self.report.series.between(self.events[2], Duration::MAX);
        let bad = slices.iter().rposition(|slice| slice.unavailable + slice.failed > 0).map_or(0, |last| last + 1);
        (bad < slices.len()).then(|| self.report.series.slice * bad as u32)
    }

    /// Calls started, refused with 503 and failed otherwise, second by second.
    pub(super) fn seconds(&self) -> Vec<[u32; 3]> {
        let per_second = (1000 / SLICE_MS) as usize;
        let sum = |slices: &[Slice]| {
            slices.iter().fold([0; 3], |[started, unavailable, failed], slice| {
                [started + slice.started, unavailable + slice.unavailable, failed + slice.failed]
            })
        };
        self.report.series.slices.chunks(per_second).map(sum).collect()
    }
}

fn part(name: &'static str, slices: &[Slice]) -> Part {
    let all = |waits: fn(&Slice) -> &Vec<u32>| slices.iter().flat_map(waits).copied().collect::<Vec<_>>();
    let mut each: Vec<u32> = slices.iter().map(|slice| p99(&slice.trying_us)).collect();
    each.sort_unstable();
    Part {
        name,
        started: slices.iter().map(|slice| slice.started).sum(),
        trying_us: [
            p99(&all(|slice| &slice.trying_us)),
            each.get(each.len() / 2).copied().unwrap_or(0),
            each.last().copied().unwrap_or(0),
        ],
        through_us: p99(&all(|slice| &slice.through_us)),
        unavailable: slices.iter().map(|slice| slice.unavailable).sum(),
        failed: slices.iter().map(|slice| slice.failed).sum(),
    }
}

pub(super) fn measure(settings: &Settings, fault: Fault) -> Result<Curve, Box<dyn Error>> {
    let (stand, cps) = (&settings.stand, settings.curve_cps);
    process::pin(stand.generator_cpu)?;
    let places = &settings.nodes[..2];
    let mut nodes = places.iter().map(|place| Node::start(*place, SESSIONS_MAX)).collect::<Result<Vec<_>, _>>()?;
    process::pin(stand.target_cpu)?;
    let started = Target::corelane(stand, cps, Fleet { nodes: places, max_sessions: SESSIONS_MAX });
    process::pin(stand.generator_cpu)?;
    let mut target = started?;
    target.wait_until_ready(stand)?;
    let plan = load::Plan { relays: settings.relay_hosts(), ..stand.plan(cps, stand.warm_up_seconds, target.pid()) };
    load::run(&load::Plan { drain_ms: 0, ..plan.clone() })?;

    let part = Duration::from_secs(settings.part_seconds.into());
    let calls = cps.saturating_mul(settings.part_seconds).saturating_mul(4);
    let plan = load::Plan { calls, slice_ms: SLICE_MS, drain_ms: SETTLE_MS, ..plan };
    let begun = Instant::now();
    let (report, happened) = thread::scope(|scope| {
        let striking = scope.spawn(|| strike(&mut nodes, fault, begun, part));
        let report = load::run(&plan);
        (report, striking.join())
    });
    let report = report?;
    let happened = happened.map_err(|_| "the thread of the faults panicked")??;
    let origin = report.series.origin;
    let events = happened.map(|at| at.saturating_duration_since(origin));
    target.stop(Duration::from_secs(20))?;
    let left = nodes.into_iter().map(Node::stop).collect::<Result<_, _>>()?;
    Ok(Curve { fault, report, events, left })
}

/// The faults at their times. Returns when each had happened.
fn strike(nodes: &mut [Node], fault: Fault, begun: Instant, part: Duration) -> Result<[Instant; 3], String> {
    let [first, second] = nodes else { return Err("two nodes were started".to_owned()) };
    let until = |parts: u32| thread::sleep((begun + part * parts).saturating_duration_since(Instant::now()));
    until(1);
    fault.strike(first)?;
    let one = Instant::now();
    until(2);
    fault.strike(second)?;
    let both = Instant::now();
    until(3);
    fault.heal(first)?;
    fault.heal(second)?;
    Ok([one, both, Instant::now()])
}

#[cfg(test)]
mod tests {
    use super::part;
    use crate::load::series::Slice;

    #[test]
    fn a_part_sums_its_slices_and_names_its_worst() {
        let quiet = Slice { started: 100, trying_us: vec![10; 100], ..Slice::default() };
        let bad = Slice { started: 2, trying_us: vec![10, 900], unavailable: 1, failed: 1, ..Slice::default() };
        let all = part("all", &[quiet.clone(), bad, quiet]);
        assert_eq!((all.started, all.unavailable, all.failed), (202, 1, 1));
        assert_eq!(all.trying_us, [10, 10, 900], "over all of the part, in the middle slice and in the worst");
        assert_eq!(part("none", &[]).trying_us, [0; 3]);
    }
}
