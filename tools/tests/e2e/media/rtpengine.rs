//! Real media nodes: `rtpengine` in userspace, asked over its own ng protocol how many sessions it has.
//!
//! ```text
//!   rtpengine --table=-1 on an address of the site:   ng over UDP and TCP on one port, RTP on that address
//! ```
//!
//! Its configuration file is empty: that of the package opens ports that only one process of a machine can have. `--delete-delay=0`: its
//! default of 30 s would hide a missing delete for as long. A node is ready when it answers a ping. It has its own address, so that its
//! ports meet nobody else's.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use corelane_mediactl::rtpengine::query::Heard;
use corelane_mediactl::rtpengine::reply::{self, Meaning};

use super::rtp::audio_in;
use crate::process::{Process, poll, wait_until};
use crate::site::Site;

/// A node that starts, or a session that goes, does so well within this on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// How long one question may stay without answer before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A running node; killed with the value.
pub(crate) struct Rtpengine {
    process: Process,
    ng: SocketAddr,
    log: PathBuf,
}

impl Rtpengine {
    /// A node on the host `last` of the site.
    pub(crate) fn start(site: &Site, last: u8) -> Rtpengine {
        Rtpengine::start_at(site, site.address(last))
    }

    /// A node where another one was.
    pub(crate) fn start_at(site: &Site, ng: SocketAddr) -> Rtpengine {
        Rtpengine::launch(site, ng, &[format!("--listen-tcp-ng={ng}")])
    }

    /// The same, but it gives no list: it does not listen for ng over TCP.
    pub(crate) fn unlisted_at(site: &Site, ng: SocketAddr) -> Rtpengine {
        Rtpengine::launch(site, ng, &[])
    }

    fn launch(site: &Site, ng: SocketAddr, more: &[String]) -> Rtpengine {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtpengine-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let log = site.path().join(format!("{name}.log"));
        let config = site.path().join("rtpengine.conf");
        fs::write(&config, "[rtpengine]\n").expect("an empty configuration");
        let mut command = Command::new("rtpengine");
        command
            .args([
                "--table=-1",
                "--foreground",
                "--log-stderr",
                "--log-level=5",
                "--delete-delay=0",
                "--num-threads=2",
            ])
            .args([format!("--listen-ng={ng}"), format!("--interface={}", ng.ip())])
            .args(more)
            .args(["--port-min=30000", "--port-max=39999"])
            .arg(format!("--config-file={}", config.display()))
            .arg(format!("--pidfile={}", site.path().join(format!("{name}.pid")).display()))
            .current_dir(site.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log file"));
        let mut node = Rtpengine { process: Process::start("rtpengine", &mut command), ng, log };
        wait_until("rtpengine answers a ping", SOON, || {
            let ended = node.process.exited();
            assert!(ended.is_none(), "rtpengine ended before it was ready ({ended:?}):\n{}", node.log());
            ask(node.ng, "d7:command4:pinge").filter(|reply| reply.contains("4:pong")).map(drop)
        });
        node
    }

    /// Where it answers ng.
    pub(crate) fn address(&self) -> SocketAddr {
        self.ng
    }

    /// The call-ids of its sessions.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let reply =
            wait_until("rtpengine lists its sessions", SOON, || ask(self.ng, "d7:command4:list5:limiti10000ee"));
        let calls = reply.split_once("5:callsl").map(|(_, calls)| calls);
        strings(calls.unwrap_or_else(|| panic!("no list: {reply}")))
    }

    /// Waits until it has this many.
    pub(crate) fn await_sessions(&self, wanted: usize) {
        let mut last = Vec::new();
        let come = poll(SOON, || {
            last = self.sessions();
            (last.len() == wanted).then_some(())
        });
        assert!(come.is_some(), "{} has {} sessions and not {wanted}: {last:?}\n{}", self.ng, last.len(), self.log());
    }

    /// An offer or an answer that no Corelane asked for: where the SDP that came back wants the audio.
    pub(crate) fn exchange(&self, command: &str, call_id: &str, sdp: &str) -> SocketAddr {
        let text = |text: &str| format!("{}:{text}", text.len());
        let question =
            format!("d7:call-id{}7:command{}8:from-tag1:f3:sdp{}6:to-tag1:te", text(call_id), text(command), text(sdp));
        audio_in(&wait_until("rtpengine takes an SDP", SOON, || {
            ask(self.ng, &question).filter(|reply| reply.ends_with("6:result2:oke"))
        }))
    }

    /// Ends a session that no Corelane has.
    pub(crate) fn delete(&self, call_id: &str) {
        let question = format!("d7:call-id{}:{call_id}7:command6:deletee", call_id.len());
        let deleted = |reply: String| reply.ends_with("6:result2:oke").then_some(());
        wait_until("rtpengine deletes a session", SOON, || ask(self.ng, &question).and_then(deleted));
    }

    /// What it has heard of a session, as media control reads it.
    pub(crate) fn heard(&self, call_id: &str) -> Heard {
        let question = format!("d7:call-id{}:{call_id}7:command5:querye", call_id.len());
        let reply = wait_until("rtpengine answers a query", SOON, || ask(self.ng, &question));
        match reply::parse(reply.as_bytes()) {
            Ok(Meaning::Heard(heard)) => heard,
            meaning => panic!("{meaning:?} of {reply}"),
        }
    }

    /// Stops it, as a hung process: its socket stays and nobody reads. On a busy machine its threads stop one after the other.
    pub(crate) fn freeze(&mut self) {
        self.process.signal("STOP");
        let tasks = format!("/proc/{}/task", self.process.child().id());
        wait_until("every thread of rtpengine has stopped", SOON, || {
            let mut tasks = fs::read_dir(&tasks).ok()?.map_while(Result::ok);
            let stopped = |path: PathBuf| fs::read_to_string(path).is_ok_and(|status| status.contains("State:\tT"));
            tasks.all(|task| stopped(task.path().join("status"))).then_some(())
        });
    }

    /// Lets it go on.
    pub(crate) fn thaw(&mut self) {
        self.process.signal("CONT");
    }

    /// Kills it at once and says where it was.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.process.signal("KILL");
        assert!(self.process.finish(SOON).is_some(), "a killed process ends");
        self.ng
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Asks a node once, under a cookie of its own.
fn ask(node: SocketAddr, question: &str) -> Option<String> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let cookie = format!("e2e{}-{}", std::process::id(), ASKED.fetch_add(1, Ordering::Relaxed));
    let socket = UdpSocket::bind((node.ip(), 0)).expect("a free port");
    socket.set_read_timeout(Some(ASK_AGAIN)).expect("a time-out that is not zero");
    socket.send_to(format!("{cookie} {question}").as_bytes(), node).ok()?;
    let mut bytes = vec![0; 65_536];
    let length = socket.recv(&mut bytes).ok()?;
    String::from_utf8_lossy(&bytes[..length]).strip_prefix(&format!("{cookie} ")).map(str::to_owned)
}

/// The strings of a bencoded list, of which `text` starts behind its `l`.
fn strings(text: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut rest = text;
    while let Some((length, after)) = rest.split_once(':').filter(|(length, _)| !length.starts_with('e')) {
        let length: usize = length.parse().unwrap_or_else(|_| panic!("no list of strings: {text}"));
        let (string, next) = after.split_at(length);
        strings.push(string.to_owned());
        rest = next;
    }
    strings
}
