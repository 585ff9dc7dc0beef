//! Many calls in progress over a fleet: over all of it, and once more while a node of it is lost.
//!
//! ```text
//!   calls in progress   ╱▔▔▔╲      every call lasts longer than all take to start, so that all are there at once
//!                     ╱  ✗    ╲    ✗: the second time one node is killed when four fifths have started
//! ```
//!
//! No call in progress may fail: it has no need of its node until it ends, and new ones fit on the nodes that are left. A call whose callee had
//! been told the node, and whose answer came too late for it, gets 500 (SPEC §5); those are told apart by the SDP of their INVITE. What is owed
//! to the node that is gone stays owed.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use super::relays::{Left, Node};
use crate::bench::Stand;
use crate::bench::target::{Fleet, Target};
use crate::load::report::HalfAgreed;
use crate::load::{self, Report};
use crate::sys::process;

/// How long every call lasts beyond the start of the last one.
const TOGETHER_MS: u64 = 5_000;

/// Deletes that are still to be paid after the last BYE.
const SETTLE_MS: u64 = 4_000;

/// What came of it.
pub(super) struct Held {
    /// Calls asked for.
    pub(super) calls: u32,
    /// Sessions that one node takes.
    pub(super) node_sessions: u32,
    pub(super) report: Report,
    /// What the nodes that were not killed said at the end.
    pub(super) left: Vec<Left>,
    /// Sessions of each node right before the kill and when all calls were there.
    pub(super) sessions: [Vec<u64>; 2],
    /// When the first node was killed, from the start of the run; `None`: none was.
    pub(super) lost_at: Option<Duration>,
}

impl Held {
    /// Whether it was between offer and answer on the node that was killed.
    pub(super) fn excuses(&self, call: &HalfAgreed) -> bool {
        call.relay == 0 && self.lost_at.is_some_and(|lost_at| call.at >= lost_at)
    }

    /// Everything that was not to be.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.report.faults_but(|call| self.excuses(call));
        if let [_, together] = &self.sessions
            && together.iter().any(|sessions| *sessions > u64::from(self.node_sessions))
        {
            faults.push(format!("a node was given more than its {} sessions", self.node_sessions));
        }
        let left: u64 = self.left.iter().map(|node| node.sessions).sum();
        if left > 0 {
            faults.push(format!("{left} sessions were left on the media nodes"));
        }
        faults
    }
}

pub(super) fn measure(settings: &Settings, lose: bool) -> Result<Held, Box<dyn Error>> {
    let (cps, calls) = (settings.curve_cps, settings.held_calls);
    let ramp = Duration::from_secs_f64(f64::from(calls) / f64::from(cps));
    let stand = Stand { hold_ms: ramp.as_millis() as u64 + TOGETHER_MS, drain_ms: SETTLE_MS, ..settings.stand.clone() };
    process::pin(stand.generator_cpu)?;
    let places = places(settings)?;
    let sessions = settings.held_node_sessions;
    let mut nodes = places.iter().map(|place| Node::start(*place, sessions)).collect::<Result<Vec<_>, _>>()?;
    process::pin(stand.target_cpu)?;
    let started = Target::corelane(&stand, cps, Fleet { nodes: &places, max_sessions: sessions });
    process::pin(stand.generator_cpu)?;
    let mut target = started?;
    target.wait_until_ready(&stand)?;
    let relays = places.iter().map(SocketAddr::ip).collect();
    let plan = load::Plan { relays, calls, ..stand.plan(cps, 1, target.pid()) };
    let begun = Instant::now();
    let (report, seen) = thread::scope(|scope| {
        let lost = scope.spawn(|| watch(&mut nodes, begun, ramp, lose));
        let report = load::run(&plan);
        (report, lost.join())
    });
    let report = report?;
    let (lost_at, sessions) = seen.map_err(|_| "the thread that looks at the nodes panicked")??;
    let lost_at = lost_at.map(|lost_at| lost_at.saturating_duration_since(report.series.origin));
    target.stop(Duration::from_secs(60))?;
    let left = nodes.into_iter().skip(usize::from(lose)).map(Node::stop).collect::<Result<_, _>>()?;
    Ok(Held { calls, node_sessions: settings.held_node_sessions, report, left, sessions, lost_at })
}

/// Four nodes on the hosts from the first one's on.
fn places(settings: &Settings) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let first = settings.nodes.first().ok_or("no --nodes")?;
    let IpAddr::V4(host) = first.ip() else { return Err("the first of --nodes must be an IPv4 address".into()) };
    let place = |node| SocketAddr::new(Ipv4Addr::from(u32::from(host).saturating_add(node)).into(), first.port());
    Ok((0..4).map(place).collect())
}

/// Kills the first node at its time, if it is to be lost. Returns when that was, how many sessions each node had then, and those that are left when
/// all calls were there.
fn watch(
    nodes: &mut [Node],
    begun: Instant,
    ramp: Duration,
    lose: bool,
) -> Result<(Option<Instant>, [Vec<u64>; 2]), String> {
    let until = |at: Duration| thread::sleep((begun + at).saturating_duration_since(Instant::now()));
    let sessions = |nodes: &[Node]| nodes.iter().map(Node::sessions).collect::<Result<Vec<_>, _>>();
    until(ramp * 4 / 5);
    let before = sessions(nodes).map_err(|error| error.to_string())?;
    let (lost, others) = nodes.split_at_mut(usize::from(lose));
    let lost_at = lose.then(Instant::now);
    lost.iter_mut().for_each(Node::kill);
    until(ramp + Duration::from_millis(TOGETHER_MS / 2));
    Ok((lost_at, [before, sessions(others).map_err(|error| error.to_string())?]))
}
