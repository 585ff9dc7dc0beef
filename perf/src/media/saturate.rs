//! Two real rtpengine nodes under a rising rate, until they cannot any more: whose fault is the first call that fails?
//!
//! ```text
//!   100/s  200/s  400/s …      one run each, a fresh Corelane and fresh nodes; ends with the first rate at which a call failed
//! ```
//!
//! A node that is full or late is no fault of Corelane's, if it says 503, or 500 to a call whose callee had been told the node already, and leaves nothing
//! behind. Every other failure is, and so is a session that is left. rtpengine runs in userspace, on the generator's CPU: the rate says nothing of rtpengine elsewhere.

use std::error::Error;
use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use crate::bench::Stand;
use crate::bench::target::{Fleet, Target};
use crate::load::report::Failure;
use crate::load::{self, Report};
use crate::relay::bencode::Dictionary;
use crate::sys::process;

/// Open files bound a node: a session takes four.
const SESSIONS_MAX: u32 = 4_000;

/// How long a node may take to start.
const WITHIN: Duration = Duration::from_secs(10);

/// How long owed deletes may take, once nothing more is asked.
const SETTLE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A real node; killed with the value.
struct Rtpengine {
    child: Child,
    ng: SocketAddr,
    config: PathBuf,
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        // Both fail only when it is gone already; the file is one line of the temporary directory.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_file(&self.config));
    }
}

impl Rtpengine {
    fn start(ng: SocketAddr) -> Result<Rtpengine, Box<dyn Error>> {
        let config = std::env::temp_dir().join(format!("corelane-perf-rtpengine-{}-{}", std::process::id(), ng.ip()));
        // The package's own file opens ports that one process of a machine can have.
        fs::write(&config, "[rtpengine]\n")?;
        let mut command = Command::new("rtpengine");
        command
            .args(["--table=-1", "--foreground", "--log-stderr", "--log-level=3", "--delete-delay=0"])
            .args([format!("--config-file={}", config.display()), format!("--max-sessions={SESSIONS_MAX}")])
            .args([format!("--listen-ng={ng}"), format!("--listen-tcp-ng={ng}"), format!("--interface={}", ng.ip())])
            .args(["--port-min=20000", "--port-max=59999"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create("/dev/null")?);
        let child =
            command.spawn().map_err(|error| format!("rtpengine: {error}; scripts/setup.sh media installs it"))?;
        let node = Rtpengine { child, ng, config };
        let deadline = Instant::now() + WITHIN;
        while node.sessions().is_none() {
            if Instant::now() > deadline {
                return Err(format!("rtpengine on {ng} did not answer within {} s", WITHIN.as_secs()).into());
            }
            thread::sleep(POLL);
        }
        Ok(node)
    }

    /// Sessions that it has; `None` when it does not say.
    fn sessions(&self) -> Option<i64> {
        let socket = UdpSocket::bind((self.ng.ip(), 0)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        // A cookie of its own each time, since a reply is remembered by it.
        let cookie = format!("perf{}", socket.local_addr().ok()?.port());
        socket.send_to(format!("{cookie} d7:command10:statisticse").as_bytes(), self.ng).ok()?;
        let mut bytes = vec![0; 65_536];
        let length = socket.recv(&mut bytes).ok()?;
        let reply = Dictionary::parse(bytes[..length].strip_prefix(cookie.as_bytes())?.strip_prefix(b" ")?)?;
        reply.dictionary("statistics")?.dictionary("currentstatistics")?.number("sessionstotal")
    }
}

/// One rate.
pub(super) struct Step {
    pub(super) cps: u32,
    pub(super) report: Report,
    /// Sessions left on both nodes; `None` when a node did not say.
    pub(super) left: Option<i64>,
}

impl Step {
    /// Calls refused because no node could take them.
    pub(super) fn unavailable(&self) -> u32 {
        self.report.tally.failures.get(&Failure::Refused(503)).copied().unwrap_or(0)
    }

    /// Calls between offer and answer whose node gave none in time.
    pub(super) fn late(&self) -> u32 {
        self.report.tally.half_agreed.len() as u32
    }

    /// Calls that failed otherwise.
    pub(super) fn failed(&self) -> u32 {
        self.report.tally.failed() - self.unavailable() - self.late()
    }

    /// What is Corelane's fault.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.failed() > 0 {
            faults.push(format!("{} calls failed otherwise than by a node that is full or late", self.failed()));
        }
        if self.report.tally.unrelayed > 0 {
            faults.push(format!("{} SDPs arrived that name no relay", self.report.tally.unrelayed));
        }
        match self.left {
            Some(0) => {}
            Some(left) => faults.push(format!("{left} sessions were left on the nodes")),
            None => faults.push("a node did not say how many sessions were left".to_owned()),
        }
        faults
    }
}

/// Rates from the first on, doubled, until calls fail or the generator is late.
pub(super) fn measure(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Vec<Step>, Box<dyn Error>> {
    let mut steps = Vec::new();
    let mut cps = settings.saturate_from_cps;
    loop {
        let step = one(settings, cps)?;
        say(&super::table::step(&step));
        let over = step.report.tally.failed() > 0 || step.report.saturated();
        steps.push(step);
        if over {
            return Ok(steps);
        }
        cps = cps.saturating_mul(2);
    }
}

fn one(settings: &Settings, cps: u32) -> Result<Step, Box<dyn Error>> {
    let stand = Stand { drain_ms: 0, ..settings.stand.clone() };
    process::pin(stand.generator_cpu)?;
    let places = &settings.nodes[..2];
    let nodes = places.iter().map(|place| Rtpengine::start(*place)).collect::<Result<Vec<_>, _>>()?;
    process::pin(stand.target_cpu)?;
    let started = Target::corelane(&stand, cps, Fleet { nodes: places, max_sessions: SESSIONS_MAX });
    process::pin(stand.generator_cpu)?;
    let mut target = started?;
    target.wait_until_ready(&stand)?;
    let relays = settings.relay_hosts();
    let report = load::run(&load::Plan { relays, ..stand.plan(cps, stand.seconds, target.pid()) })?;
    let sessions = || nodes.iter().map(Rtpengine::sessions).sum::<Option<i64>>();
    let deadline = Instant::now() + SETTLE;
    let mut left = sessions();
    while left != Some(0) && Instant::now() < deadline {
        thread::sleep(POLL);
        left = sessions();
    }
    target.stop(Duration::from_secs(20))?;
    Ok(Step { cps, report, left })
}
