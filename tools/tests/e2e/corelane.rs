//! The system under test: `corelane run` as an operator starts it, with its timers shortened by flags.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use corelane_core::counter::LEDGER;

use crate::process::{Process, poll, wait_until};
use crate::site::{Site, Tables};
use crate::{claim, let_others_run};

/// RFC 3261 T1 in these tests. Every linger timer is 64 × T1 = 6.4 s; so long a peer may stand still on a busy machine before its call is lost.
pub(crate) const T1_MS: u64 = 100;

/// The image is compiled and the shards are pinned well within this on a busy machine.
const START: Duration = Duration::from_secs(60);

/// What an operator asks for comes, and works, well within this on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// 64 × T1 with room for a busy machine.
const LINGER: Duration = Duration::from_secs(60);

/// A shard publishes its counters once a second. What two dumps further apart than this say alike is no older state.
const PUBLISHED: Duration = Duration::from_millis(1_200);

/// Every gauge that counts a slot in use. All are 0 when nothing goes on.
const SLOTS: [&str; 7] = [
    "calls_live",
    "call_records_live",
    "server_transactions_live",
    "client_transactions_live",
    "exchanges_live",
    "buffers_live",
    "timers_live",
];

/// The last line of a dump of counters starts so: scopes come in the order shards, node, names in the order of core's table.
const LAST_SCOPE: &str = "node";

/// The scope of the control core, which comes first.
const CONTROL: &str = "control";

/// The flags that tests vary.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) shards: usize,
    pub(crate) steering: &'static str,
    pub(crate) io: &'static str,
    pub(crate) unknown_source: &'static str,
    pub(crate) calls_max: u32,
    pub(crate) fr_timer_ms: u64,
    pub(crate) progress_timeout_ms: u64,
    pub(crate) invite_timeout_ms: u64,
    pub(crate) early_timeout_ms: u64,
    pub(crate) ring_timeout_ms: u64,
    pub(crate) noack_timeout_ms: u64,
    pub(crate) default_timeout_s: u64,
    pub(crate) node_id: Option<u32>,
    pub(crate) media_deadline_ms: u64,
    pub(crate) media_reconcile_interval_s: u64,
    pub(crate) media_orphan_age_s: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            shards: 2,
            steering: "auto",
            io: "mmsg",
            unknown_source: "drop",
            calls_max: 4000,
            fr_timer_ms: 8_000,
            progress_timeout_ms: 10_000,
            invite_timeout_ms: 30_000,
            early_timeout_ms: 300_000,
            ring_timeout_ms: 60_000,
            noack_timeout_ms: 8_000,
            default_timeout_s: 60,
            node_id: None,
            media_deadline_ms: 2_000,
            media_reconcile_interval_s: 30,
            media_orphan_age_s: 60,
        }
    }
}

/// A running Corelane; ended with the value.
pub(crate) struct Corelane {
    process: Process,
    printed: Arc<Mutex<Vec<String>>>,
    complaints: PathBuf,
}

impl Corelane {
    /// Starts it on `tables` and waits until it says that it is ready.
    pub(crate) fn start(site: &Site, tables: &Tables, options: &Options) -> Corelane {
        claim();
        let routes = tables.write(site);
        let complaints = site.path().join("corelane.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        command
            .arg("run")
            .arg("--routes")
            .arg(routes)
            .arg("--state-dir")
            .arg(state(site))
            .args(["--shards", &options.shards.to_string()])
            .args(["--steering", options.steering, "--io", options.io, "--unknown-source", options.unknown_source])
            .args(["--calls-max", &options.calls_max.to_string(), "--cps-max", "1000"])
            .args(["--t1-ms", &T1_MS.to_string(), "--t2-ms", "400", "--t4-ms", "500"])
            .args(["--fr-timer-ms", &options.fr_timer_ms.to_string()])
            .args(["--progress-timeout-ms", &options.progress_timeout_ms.to_string()])
            .args(["--invite-timeout-ms", &options.invite_timeout_ms.to_string()])
            .args(["--early-timeout-ms", &options.early_timeout_ms.to_string()])
            .args(["--ring-timeout-ms", &options.ring_timeout_ms.to_string()])
            .args(["--noack-timeout-ms", &options.noack_timeout_ms.to_string()])
            .args(["--default-timeout-s", &options.default_timeout_s.to_string()])
            .args(["--media-deadline-ms", &options.media_deadline_ms.to_string()])
            .args(["--media-reconcile-interval-s", &options.media_reconcile_interval_s.to_string()])
            .args(["--media-orphan-age-s", &options.media_orphan_age_s.to_string()])
            .args(options.node_id.iter().flat_map(|id| ["--node-id".to_owned(), id.to_string()]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&complaints).expect("a log file"));
        let mut process = Process::start("corelane", &mut command);
        let printed = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&printed);
        let stdout = process.child().stdout.take().expect("stdout is piped");
        // Ends by itself when the process closes its end.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut corelane = Corelane { process, printed, complaints };
        wait_until("corelane prints `ready`", START, || {
            let ended = corelane.process.exited();
            assert!(ended.is_none(), "corelane ended before it was ready ({ended:?}):\n{}", corelane.log());
            corelane.lines_from(0).iter().any(|line| line == "ready").then_some(())
        });
        corelane
    }

    /// All that it printed on both outputs.
    pub(crate) fn log(&self) -> String {
        let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
        format!("{}\n{complaints}", self.lines_from(0).join("\n"))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Has it read its media nodes again (SIGHUP); what it says of that.
    pub(crate) fn reload(&mut self) -> String {
        let from = self.lines_from(0).len();
        self.process.signal("HUP");
        wait_until("corelane says what it reloaded", ANSWER, || {
            self.lines_from(from).into_iter().find(|line| line.starts_with("reload: "))
        })
    }

    /// Has it drain, or take new calls again (SIGUSR2); what it says of that.
    pub(crate) fn drain(&mut self) -> String {
        let from = self.lines_from(0).len();
        self.process.signal("USR2");
        wait_until("corelane says whether it drains", ANSWER, || {
            self.lines_from(from).into_iter().find(|line| line.starts_with("drain: "))
        })
    }

    /// Waits until a counter of its control core has this value.
    pub(crate) fn await_control(&mut self, name: &str, wanted: u64) {
        let (mut last, wanted) = (Vec::new(), format!("counter control {name}={wanted}"));
        let come = poll(ANSWER, || {
            let from = self.lines_from(0).len();
            drop(self.counters());
            last = self.lines_from(from);
            last.contains(&wanted).then_some(())
        });
        assert!(come.is_some(), "waited {ANSWER:?} in vain for `{wanted}`:\n{}", last.join("\n"));
    }

    /// A fresh dump of its counters.
    pub(crate) fn counters(&mut self) -> Counters {
        let from = self.lines_from(0).len();
        self.process.signal("USR1");
        wait_until("corelane dumps its counters", ANSWER, || {
            let ended = self.process.exited();
            assert!(ended.is_none(), "corelane died ({ended:?}):\n{}", self.log());
            Counters::parse(&self.lines_from(from))
        })
    }

    /// Waits until the counters satisfy `wanted`, and says how they stood then.
    pub(crate) fn await_counters(&mut self, what: &str, wanted: impl Fn(&Counters) -> bool) -> Counters {
        wait_until(what, LINGER, || Some(self.counters()).filter(|counters| wanted(counters)))
    }

    /// Waits for the linger timers: no slot of any slab may still be in use, and nothing more may happen.
    pub(crate) fn await_empty(&mut self) -> Counters {
        let mut last = self.counters();
        let mut since = Instant::now();
        let empty = poll(LINGER, || {
            let counters = self.counters();
            if counters != last || !counters.slots_are_empty() {
                last = counters;
                since = Instant::now();
                return None;
            }
            (since.elapsed() >= PUBLISHED).then_some(counters)
        });
        empty.unwrap_or_else(|| panic!("slots are still in use after {LINGER:?}: {:?}\n{}", last.slots(), self.log()))
    }

    /// The end of every good test: slabs empty, the ledger even, and a clean exit on SIGTERM with the same counters. Whoever still
    /// talks to it must be as good as silent.
    pub(crate) fn stop_empty(mut self) -> Counters {
        let_others_run();
        self.await_empty();
        let from = self.lines_from(0).len();
        self.process.signal("TERM");
        let status = self.process.finish(ANSWER);
        assert!(status.is_some_and(|status| status.success()), "SIGTERM: {status:?}\n{}", self.log());
        let last = poll(ANSWER, || self.lines_from(from).contains(&"stopped".to_owned()).then_some(()));
        let lines = self.lines_from(from);
        let counters = last.and_then(|()| Counters::parse(&lines));
        let counters = counters.unwrap_or_else(|| panic!("no counters at exit:\n{}", self.log()));
        // The last ones: a report that was asked for before may have come in between.
        let ledgers = lines.iter().rev().filter(|line| line.starts_with("ledger node "));
        let ledgers: Vec<_> = ledgers.take(LEDGER.len()).collect();
        let even = ledgers.iter().all(|line| line.ends_with(" live=0 balances"));
        assert!(ledgers.len() == LEDGER.len() && even, "{ledgers:#?}\n{}", self.log());
        // What a node that is gone is owed may be left.
        let mut owed = lines.iter().filter(|line| line.starts_with("ledger control "));
        assert!(owed.all(|line| line.ends_with(" balances")), "{}", self.log());
        assert!(counters.slots_are_empty(), "slots in use at exit: {:?}\n{}", counters.slots(), self.log());
        assert_eq!(counters.node("calls_started"), counters.node("calls_ended"), "the ledger of calls\n{}", self.log());
        counters
    }

    /// Ends it (SIGTERM), whatever is going on: at once, or when it drains once it has hung up.
    pub(crate) fn stop(mut self) -> Counters {
        let from = self.lines_from(0).len();
        self.process.signal("TERM");
        let status = self.process.finish(LINGER);
        assert!(status.is_some_and(|status| status.success()), "SIGTERM: {status:?}\n{}", self.log());
        let last = poll(ANSWER, || Counters::parse(&self.lines_from(from)));
        last.unwrap_or_else(|| panic!("no counters at exit:\n{}", self.log()))
    }

    /// Kills it at once (SIGKILL): it gets to say and write nothing more.
    pub(crate) fn crash(mut self) {
        self.process.signal("KILL");
        assert!(self.process.finish(ANSWER).is_some(), "a killed process ends");
    }

    fn lines_from(&self, from: usize) -> Vec<String> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)[from..].to_vec()
    }
}

impl Drop for Corelane {
    /// A test that fails shows what Corelane had counted by then, and what it complained of.
    fn drop(&mut self) {
        if !thread::panicking() || self.process.exited().is_some() {
            return;
        }
        let since = Instant::now();
        // What is dumped at once may be a second old.
        let counters = poll(2 * PUBLISHED, || {
            let from = self.lines_from(0).len();
            self.process.signal("USR1");
            let counters = poll(PUBLISHED, || Counters::parse(&self.lines_from(from)))?;
            (since.elapsed() >= PUBLISHED).then_some(counters)
        });
        let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
        eprintln!(
            "corelane counted:\n{}{complaints}",
            counters.map(|counters| counters.not_zero()).unwrap_or_default()
        );
    }
}

/// A dump of counters: `counter control media_lists=0` … `counter shard=0 calls_live=0` … `counter node calls_live=0`.
#[derive(Debug)]
pub(crate) struct Counters(BTreeMap<String, BTreeMap<String, u64>>);

/// As far as calls are concerned: the control core pings its nodes also when nothing goes on.
impl PartialEq for Counters {
    fn eq(&self, other: &Counters) -> bool {
        let calls = |counters: &Counters| counters.0.clone().into_iter().filter(|(scope, _)| scope != CONTROL);
        calls(self).eq(calls(other))
    }
}

impl Counters {
    /// A whole dump, or `None` while its last line is not there yet.
    fn parse(lines: &[String]) -> Option<Counters> {
        let mut scopes: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for line in lines {
            let mut words = line.split_whitespace();
            if words.next() != Some("counter") {
                continue;
            }
            let scope = words.next()?;
            let scope = scopes.entry(scope.to_owned()).or_default();
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                scope.insert(name.to_owned(), value.parse().ok()?);
            }
        }
        let last = corelane_core::counter::TABLE.last().expect("there are counters").name;
        scopes.get(LAST_SCOPE)?.contains_key(last).then_some(Counters(scopes))
    }

    /// A counter of the whole node.
    pub(crate) fn node(&self, name: &str) -> u64 {
        self.of(LAST_SCOPE, name)
    }

    /// A counter of the control core.
    pub(crate) fn control(&self, name: &str) -> u64 {
        self.of(CONTROL, name)
    }

    /// A counter of one shard.
    pub(crate) fn shard(&self, shard: usize, name: &str) -> u64 {
        self.of(&format!("shard={shard}"), name)
    }

    /// The slots in use, slab by slab.
    fn slots(&self) -> [(&'static str, u64); SLOTS.len()] {
        SLOTS.map(|slot| (slot, self.node(slot)))
    }

    /// What there is to see of them, a line for each scope.
    fn not_zero(&self) -> String {
        let line = |(scope, counters): (&String, &BTreeMap<String, u64>)| {
            let seen = counters.iter().filter(|(_, value)| **value > 0);
            seen.fold(format!("  {scope}"), |line, (name, value)| format!("{line} {name}={value}")) + "\n"
        };
        self.0.iter().map(line).collect()
    }

    fn slots_are_empty(&self) -> bool {
        self.slots().iter().all(|(_, used)| *used == 0)
    }

    fn of(&self, scope: &str, name: &str) -> u64 {
        let value = self.0.get(scope).and_then(|counters| counters.get(name));
        *value.unwrap_or_else(|| panic!("no counter `{name}` of {scope} in {:?}", self.0))
    }
}

/// Where its files lie.
pub(crate) fn state(site: &Site) -> PathBuf {
    site.path().join("state")
}

/// Where a test's Corelane listens when it has one listener.
pub(crate) fn listener(site: &Site) -> SocketAddr {
    site.address(1)
}
