//! SIPp processes: callers that place a bounded number of calls, gateways that serve until they are told to stop.
//!
//! Scenarios are the XML files of `scenarios/`. They say only what is their own; messages that many of them send are in `scenarios/parts/`:
//!
//! ```text
//!   {{>acknowledge}}                    the file parts/acknowledge.xml
//!   {{>request METHOD=INFO; LINE=…}}    the same, with {{METHOD}} and {{LINE}} in it replaced
//!   {{CODE}}                            a word that the test gives, or one of WORDS
//! ```
//!
//! When a process does not end as it should, its message ladder (SIPp's scenario screen: what was sent, received, repeated,
//! unexpected) and the tail of its errors are shown.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::corelane::T1_MS;
use crate::process::{Process, wait_until};
use crate::site::{Site, free_port};

/// Length of each `<pause />`: talk time of a caller, ring time of a gateway.
const PAUSE_MS: u64 = 20;

/// Words that a scenario has without the test's doing: SIPp's own T1, how long a call that is over answers repetitions (both in
/// milliseconds), what a gateway says first, the CSeq of an ACK, the To tag of a caller's request. Loopback loses nothing that there is room for, so
/// SIPp need not repeat, and on a busy machine it had better not: it takes a second ACK for a broken call.
const WORDS: [(&str, &str); 5] =
    [("T1", "5000"), ("LINGER", "1"), ("PROGRESS", "180"), ("ACKNOWLEDGED", "[cseq]"), ("PEER", "[peer_tag_param]")];

/// SIPp starts, and ends when its calls have ended, well within this on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Bytes of datagrams that wait for a SIPp which does not get the processor: its own default holds some fifty.
const BUFFER: &str = "4000000";

/// Lines of an error file worth showing.
const TAIL: usize = 25;

/// A SIPp process to be.
pub(crate) struct Sipp {
    scenario: String,
    directory: PathBuf,
    local: SocketAddr,
    remote: SocketAddr,
    words: Vec<(&'static str, String)>,
    numbers: Vec<String>,
    calls: Option<u32>,
    rate: u32,
    many_sockets: bool,
    pause_ms: u64,
    limit: Duration,
}

impl Sipp {
    /// A caller on `from` that sends to `to`.
    pub(crate) fn uac(site: &Site, scenario: &str, from: IpAddr, to: SocketAddr) -> Sipp {
        Sipp::new(site, scenario, free_port(from), to)
    }

    /// A gateway on `local`. It answers to where requests come from; SIPp wants a remote address all the same.
    pub(crate) fn uas(site: &Site, scenario: &str, local: SocketAddr) -> Sipp {
        Sipp::new(site, scenario, local, SocketAddr::new(local.ip(), 9))
    }

    fn new(site: &Site, scenario: &str, local: SocketAddr, remote: SocketAddr) -> Sipp {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let directory = site.path().join(format!("sipp-{}-{scenario}", STARTED.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&directory).expect("a directory for SIPp");
        Sipp {
            scenario: scenario.to_owned(),
            directory,
            local,
            remote,
            words: Vec::new(),
            numbers: Vec::new(),
            calls: None,
            rate: 100,
            many_sockets: false,
            pause_ms: PAUSE_MS,
            limit: Duration::from_secs(180),
        }
    }

    /// Numbers to dial, in turn.
    pub(crate) fn dial(mut self, numbers: &[&str]) -> Sipp {
        self.numbers = numbers.iter().map(|number| (*number).to_owned()).collect();
        self
    }

    /// Places this many calls at `rate` a second, then ends.
    pub(crate) fn calls(mut self, calls: u32, rate: u32) -> Sipp {
        self.calls = Some(calls);
        self.rate = rate;
        self
    }

    /// Replaces `{{name}}` in the scenario.
    pub(crate) fn word(mut self, name: &'static str, value: u16) -> Sipp {
        self.words.push((name, value.to_string()));
        self
    }

    /// A socket of its own for each call, so that calls come from many ports.
    pub(crate) fn many_sockets(mut self) -> Sipp {
        self.many_sockets = true;
        self
    }

    /// The length of each `<pause />`.
    pub(crate) fn pausing(mut self, pause_ms: u64) -> Sipp {
        self.pause_ms = pause_ms;
        self
    }

    /// On a path that loses datagrams: repeats at Corelane's pace, and goes on answering what comes again.
    pub(crate) fn patient(self) -> Sipp {
        self.word("T1", T1_MS as u16).word("LINGER", 4_000)
    }

    /// Its address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The longest that this process may live.
    pub(crate) fn within(mut self, limit: Duration) -> Sipp {
        self.limit = limit;
        self
    }

    /// Starts it; a gateway is ready to receive when this returns.
    pub(crate) fn start(self) -> Running {
        let mut command = self.command();
        let process = Process::start(&format!("sipp {}", self.scenario), &mut command);
        let mut running = Running { process, sipp: self };
        if running.sipp.calls.is_none() {
            wait_until("SIPp has bound its port", SOON, || {
                let ended = running.process.exited();
                assert!(ended.is_none(), "{}", running.report("ended before it was ready", ended));
                bound(running.sipp.local).then_some(())
            });
        }
        running
    }

    /// Runs a caller to its end; every call must have gone as its scenario says.
    pub(crate) fn run(self) -> Tally {
        self.start().complete()
    }

    fn command(&self) -> Command {
        let mut text = with_parts(&read_scenario(&self.scenario));
        let given = self.words.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in given.chain(WORDS) {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        assert!(!text.contains("{{"), "scenario {} wants a word that the test did not give", self.scenario);
        let scenario = self.directory.join("scenario.xml");
        fs::write(&scenario, text).expect("the scenario is written");
        let ip = self.local.ip().to_string();
        let mut command = Command::new("sipp");
        command
            .current_dir(&self.directory)
            .arg(self.remote.to_string())
            .arg("-sf")
            .arg(scenario)
            .args(["-i", &ip, "-mi", &ip, "-bind_local", "-p", &self.local.port().to_string()])
            .args(["-d", &self.pause_ms.to_string(), "-nostdin", "-buff_size", BUFFER])
            // It would end a test on a machine that stands still now and then.
            .args(["-watchdog_interval", "0"])
            .args(["-timeout", &self.limit.as_secs().to_string(), "-timeout_error"])
            .args(["-trace_err", "-error_file", "errors.log", "-trace_screen", "-screen_file", "screen.log"])
            .args(["-trace_stat", "-stf", "statistics.csv", "-fd", "1"]);
        if let Some(calls) = self.calls {
            let mut numbers = self.numbers.join("\n");
            numbers.insert_str(0, "SEQUENTIAL\n");
            numbers.push('\n');
            fs::write(self.directory.join("numbers.csv"), numbers).expect("the numbers are written");
            command.args(["-inf", "numbers.csv", "-m", &calls.to_string(), "-r", &self.rate.to_string(), "-l", "5000"]);
            if self.many_sockets {
                command.args(["-t", "un", "-max_socket", "5000"]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// A file of the scenarios.
fn read_scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/scenarios").join(format!("{name}.xml"));
    fs::read_to_string(path).unwrap_or_else(|error| panic!("scenario {name}: {error}"))
}

/// `{{>part NAME=value; …}}` replaced by the part, one level deep.
fn with_parts(text: &str) -> String {
    let mut pieces = text.split("{{>");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (named, rest) = piece.split_once("}}").expect("a part's name ends");
        let (part, words) = named.split_once(' ').unwrap_or((named, ""));
        let mut part = read_scenario(&format!("parts/{part}"));
        for (name, value) in words.split("; ").filter_map(|word| word.split_once('=')) {
            part = part.replace(&format!("{{{{{name}}}}}"), value);
        }
        whole.push_str(part.trim());
        whole.push_str(rest);
    }
    whole
}

/// Whether a UDP socket is bound to `address`, as the kernel lists it.
fn bound(address: SocketAddr) -> bool {
    let table = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let local = match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()),
        IpAddr::V6(ip) => {
            let words = ip
                .octets()
                .chunks_exact(4)
                .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
                .collect::<String>();
            format!("{words}:{:04X}", address.port())
        }
    };
    fs::read_to_string(table).is_ok_and(|text| text.lines().any(|line| line.split_whitespace().nth(1) == Some(&local)))
}

/// A SIPp process at work; ended with the value.
pub(crate) struct Running {
    process: Process,
    sipp: Sipp,
}

impl Running {
    /// Waits for a caller's end; every call must have gone well.
    pub(crate) fn complete(mut self) -> Tally {
        let status = self.process.finish(self.sipp.limit + Duration::from_secs(5));
        self.judge(status)
    }

    /// Tells a gateway to finish the calls that it has and to end; all its calls must have gone well.
    pub(crate) fn stop(mut self) -> Tally {
        self.process.signal("USR1");
        let status = self.process.finish(SOON);
        self.judge(status)
    }

    /// Waits for the end of a caller that may not have had its way: what its calls came to.
    pub(crate) fn end(mut self) -> Tally {
        let status = self.process.finish(self.sipp.limit + Duration::from_secs(5));
        assert!(status.is_some(), "{}", self.report("it did not end", status));
        Tally::read(&self.sipp.directory.join("statistics.csv"))
    }

    fn judge(self, status: Option<ExitStatus>) -> Tally {
        let tally = Tally::read(&self.sipp.directory.join("statistics.csv"));
        let good = status.is_some_and(|status| status.success()) && tally.failed == 0;
        let all = self.sipp.calls.is_none_or(|calls| tally.successful == u64::from(calls));
        assert!(good && all, "{}", self.report(&format!("{tally:?}"), status));
        tally
    }

    fn report(&self, what: &str, status: Option<ExitStatus>) -> String {
        let read = |name: &str| fs::read_to_string(self.sipp.directory.join(name)).unwrap_or_default();
        let screen = read("screen.log");
        let ladder = screen
            .lines()
            .skip_while(|line| !line.contains("Messages  Retrans"))
            .take_while(|line| !line.starts_with("---"));
        let errors = read("errors.log");
        // SIPp writes whole histories without a line break.
        let errors: Vec<String> = errors.lines().map(|line| line.chars().take(300).collect()).collect();
        format!(
            "sipp {} ({} → {}): {what}; it ended with {status:?}\n{}\nlast errors:\n{}",
            self.sipp.scenario,
            self.sipp.local,
            self.sipp.remote,
            ladder.collect::<Vec<_>>().join("\n"),
            errors[errors.len().saturating_sub(TAIL)..].join("\n"),
        )
    }
}

/// What a SIPp process says of its calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Calls that went through their scenario.
    pub(crate) successful: u64,
    /// Calls that did not.
    pub(crate) failed: u64,
}

impl Tally {
    /// The last row of SIPp's statistics.
    fn read(path: &Path) -> Tally {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
        let values: Vec<&str> = lines.next_back().unwrap_or_default().split(';').collect();
        let value = |name: &str| {
            let at = names.iter().position(|&known| known == name)?;
            values.get(at)?.parse().ok()
        };
        Tally {
            successful: value("SuccessfulCall(C)").unwrap_or(0),
            failed: value("FailedCall(C)").unwrap_or(u64::MAX),
        }
    }
}
