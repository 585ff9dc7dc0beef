//! The command as an operator meets it: what it says when something is wrong, and that a node starts and stops.
//!
//! Each test runs the real binary on directories of its own and on free ports. Nothing waits for a fixed time: a started
//! node is ready when it says so.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use corelane_core::routing::build::Builder;
use tempfile::TempDir;

/// A directory with what one node needs.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("a directory for this test");
        fs::create_dir(directory.path().join("state")).expect("a fresh directory");
        Place { directory }
    }

    /// With the image that an earlier start left: listener 1 on a free port of the loopback.
    fn with_last_good_image() -> Place {
        let place = Place::new();
        let mut builder = Builder::new();
        builder.listener("127.0.0.1:0");
        place.write("state/routes.image", &builder.finish());
        place
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a name below the directory")).expect("a writable directory");
        fs::write(path, content).expect("a writable directory");
    }

    /// `corelane` with these arguments, in this directory.
    fn corelane(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        command.current_dir(self.path()).args(arguments.split_whitespace());
        command
    }

    fn output(&self, arguments: &str) -> Told {
        Told::from(self.corelane(arguments).output().expect("the binary runs"))
    }
}

/// What a finished command said.
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Told {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Told {
    #[track_caller]
    fn fails_with(&self, expected: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        self.says(expected);
    }

    #[track_caller]
    fn says(&self, expected: &[&str]) {
        for line in expected {
            assert!(self.err.contains(line), "no `{line}` in\n{}", self.err);
        }
    }
}

/// A running node; killed when a test fails before it stops it.
struct Started {
    child: Child,
    out: BufReader<ChildStdout>,
    said: Vec<String>,
    err: BufReader<ChildStderr>,
    complained: String,
}

impl Started {
    #[track_caller]
    fn start(mut command: Command) -> Started {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let err = BufReader::new(child.stderr.take().expect("piped"));
        let mut started = Started { child, out, said: Vec::new(), err, complained: String::new() };
        started.read_until("ready");
        started
    }

    /// Reads lines up to one that says `last`.
    #[track_caller]
    fn read_until(&mut self, last: &str) {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).expect("text") == 0 {
                let _ = self.err.read_to_string(&mut self.complained);
                panic!("it ended before it said `{last}`:\n{}\n{}", self.said.join("\n"), self.complained);
            }
            self.said.push(line.trim_end().to_owned());
            if self.said.last().is_some_and(|line| line == last) {
                return;
            }
        }
    }

    /// Reads what it complains of, up to a line that has `text`.
    #[track_caller]
    fn complains(&mut self, text: &str) {
        loop {
            let from = self.complained.len();
            let length = self.err.read_line(&mut self.complained).expect("text");
            assert_ne!(length, 0, "it ended before it complained of `{text}`:\n{}", self.complained);
            if self.complained[from..].contains(text) {
                return;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill exists");
        assert!(status.success());
    }

    /// The address of the first listener.
    fn address(&self) -> String {
        let line = self.said.iter().find(|line| line.starts_with("listening on udp:")).expect("it listens");
        line["listening on udp:".len()..].split(' ').next().expect("an address").to_owned()
    }

    /// Stops it by SIGTERM; what it said on stderr.
    fn stop(mut self) -> String {
        self.signal("-TERM");
        self.read_until("stopped");
        self.err.read_to_string(&mut self.complained).expect("text");
        assert_eq!(self.child.wait().expect("a child").code(), Some(0), "{}", self.complained);
        std::mem::take(&mut self.complained)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Gone already in a good test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NODE: &str = "run --state-dir state --routes routes --shards 1 --calls-max 100 --cps-max 10";

#[test]
fn a_wrong_config_key_names_its_line_and_the_right_key() {
    let place = Place::new();
    place.write("etc/corelane.toml", b"# a node\nshard = 2\n\ncalls-max = 5\n");
    for command in ["run", "check"] {
        let told = place.output(&format!("{command} --config etc/corelane.toml --state-dir state --routes routes"));
        told.fails_with(&[
            "error: etc/corelane.toml:2: unknown key `shard`\n  cure: the key may be `shards`",
            "error: etc/corelane.toml:4: unknown key `calls-max`",
        ]);
    }
}

#[test]
fn check_reports_everything_at_once() {
    let place = Place::new();
    place.write("corelane.toml", b"io = \"uring\"\nt1_ms = 900\nt2_ms = 100\ncpus = \"0,4000\"\n");
    place.write("state/secret.key", b"short");
    let told = place.output(
        "check --config corelane.toml --state-dir state --routes missing --calls-max 10000000 --cps-max 1000000",
    );
    told.fails_with(&[
        "error: corelane.toml:1: `io`: `uring` is not one of mmsg, ring",
        "error: corelane.toml:2: T1 (900 ms) is longer than T2 (100 ms)",
        "error: corelane.toml:4: core 4000 does not exist",
        "the secret key has 5 bytes instead of 16",
        "missing",
        "error: --calls-max: the bill of",
    ]);
    assert!(told.out.starts_with("not ok: "), "{}", told.out);
    assert!(!place.path().join("state/lock").exists(), "a check leaves nothing behind");
}

#[test]
fn a_missing_config_file_is_an_error() {
    let told = Place::new().output("check --config nowhere.toml");
    told.fails_with(&["error: nowhere.toml: the config file cannot be read"]);
}

#[test]
fn a_wrong_flag_is_refused_by_name() {
    let told = Place::new().output("run --shards 0");
    assert_eq!(told.code, Some(2));
    told.says(&["--shards", "0 is not between 1 and"]);
    let told = Place::new().output("run --listen localhost:5060");
    told.says(&["`localhost:5060` is no ADDRESS:PORT"]);
}

#[test]
fn without_tables_and_image_there_is_no_node() {
    let place = Place::new();
    let told = place.output(NODE);
    told.fails_with(&["error: routes: the directory of the routing tables cannot be read", "name it with `--routes`"]);
    assert!(!told.out.contains("listening"), "{}", told.out);
}

#[test]
fn starts_with_the_last_good_image_counts_and_stops() {
    let place = Place::with_last_good_image();
    let mut node = Started::start(place.corelane(&format!("{NODE} --steering forward --io mmsg")));
    assert!(node.said.iter().any(|line| line.starts_with("memory: ")), "{:?}", node.said);
    assert!(node.said.iter().any(|line| line.ends_with("(shards 1, steering single, io mmsg)")), "{:?}", node.said);

    // A keep-alive is counted; the counter comes to light within a second, so it is asked for until it does.
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    peer.send_to(b"\r\n\r\n", node.address()).expect("loopback");
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", node.said);
        let from = node.said.len();
        node.signal("-USR1");
        node.read_until_counter("timers_live");
        if node.said[from..].iter().any(|line| line == "counter shard=0 keepalives=1") {
            break;
        }
    }
    assert!(node.said.iter().any(|line| line == "counter node keepalives=1"), "{:?}", node.said);
    assert!(node.said.iter().any(|line| line == "counter node calls_started=0"), "{:?}", node.said);
    let err = node.stop();
    assert!(
        err.contains("warning: state/routes.image: the tables do not compile: starting with the last good image"),
        "{err}"
    );
    assert!(err.contains("warning: routes"), "the tables' own problems are told as well: {err}");
}

impl Started {
    /// Reads one report: up to the node's line of the last counter.
    #[track_caller]
    fn read_until_counter(&mut self, name: &str) {
        let prefix = format!("counter node {name}=");
        loop {
            let mut line = String::new();
            assert_ne!(self.out.read_line(&mut line).expect("text"), 0, "it ended: {:?}", self.said);
            self.said.push(line.trim_end().to_owned());
            if self.said.last().is_some_and(|line| line.starts_with(&prefix)) {
                return;
            }
        }
    }
}

#[test]
fn a_second_node_on_the_same_state_directory_is_refused() {
    let place = Place::with_last_good_image();
    let node = Started::start(place.corelane(NODE));
    place.output(NODE).fails_with(&[&format!("the state directory is in use by process {}", node.child.id())]);
    node.stop();
}

#[test]
fn a_port_in_use_is_named_with_its_cure() {
    let place = Place::with_last_good_image();
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let told = place.output(&format!("{NODE} --listen {address}"));
    told.fails_with(&[
        &format!("listener 1: {address} is in use by another process"),
        &format!("ss -ulpn 'sport = :{}'", address.port()),
    ]);
    assert!(!told.out.contains("ready"), "{}", told.out);
}

#[test]
fn a_second_node_does_not_share_the_port_of_the_first() {
    let (first, second) = (Place::with_last_good_image(), Place::with_last_good_image());
    let node = Started::start(first.corelane(NODE));
    let told = second.output(&format!("{NODE} --listen 1={}", node.address()));
    told.fails_with(&["is in use by another process"]);
    node.stop();
}

#[test]
fn listen_names_listeners_that_exist() {
    let place = Place::with_last_good_image();
    place
        .output(&format!("{NODE} --listen 9=127.0.0.1:5060"))
        .fails_with(&["error: --listen: no listener has the id or name `9`"]);
    place.output(&format!("{NODE} --listen 0.0.0.0:0")).fails_with(&["an address that no peer could answer to"]);
    place.output(&format!("{NODE} --listen 192.0.2.1:5060")).fails_with(&["192.0.2.1 is no address of this machine"]);
}

#[test]
fn images_that_cannot_be_used_are_told_apart() {
    let place = Place::with_last_good_image();
    let good = fs::read(place.path().join("state/routes.image")).expect("just written");
    let flipped = {
        let mut bytes = good.clone();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    // Behind the magic stands the layout version.
    let older = {
        let mut bytes = good.clone();
        bytes[8] = 0;
        bytes
    };
    for (image, expected) in [
        (&older[..], "the routing image has layout 0, this version reads layout "),
        (
            &b"something else, and long enough to hold a header of any size that one could want to have here"[..],
            "this is no routing image",
        ),
        (&good[..good.len() - 8], "is cut short"),
        (&flipped, "is damaged"),
    ] {
        place.write("state/routes.image", image);
        place.output(NODE).fails_with(&[expected, "`corelane routes compile` makes a new one"]);
    }
}

#[test]
fn more_shards_than_cores_run_with_a_warning() {
    let place = Place::with_last_good_image();
    let shards = 2 * std::thread::available_parallelism().expect("cores").get();
    let node = Started::start(
        place.corelane(&format!("{NODE} --steering forward").replace("--shards 1", &format!("--shards {shards}"))),
    );
    let err = node.stop();
    assert!(err.contains(&format!("warning: --shards: {shards} shards on ")), "{err}");
}

#[test]
fn an_interrupt_stops_it_too() {
    let place = Place::with_last_good_image();
    let mut node = Started::start(place.corelane(NODE));
    node.signal("-INT");
    node.read_until("stopping: SIGINT");
    node.read_until("stopped");
    assert_eq!(node.child.wait().expect("a child").code(), Some(0));
}

/// [`NODE`] on a free port, whatever the tables say.
const NODE_ON_A_FREE_PORT: &str =
    "run --state-dir state --routes routes --shards 1 --calls-max 100 --cps-max 10 --listen core=127.0.0.1:0";

/// One listener, one provider, one gateway.
const TABLES: &[(&str, &str)] = &[
    ("listener.csv", "id,name,address,port\n1,core,127.0.0.1,5060\n"),
    ("provider.csv", "id,name,routing_group,strip,prepend\n7,north,1,2,\n"),
    ("provider_address.csv", "provider_id,cidr\n7,192.0.2.0/24\n"),
    ("gateway.csv", "id,name,host,port\n5,berlin,198.51.100.1,5060\n"),
    ("carrier.csv", "id,name\n3,south\n"),
    ("carrier_gateway.csv", "carrier_id,gateway_id\n3,5\n"),
    ("route.csv", "id,routing_group,prefix,carrier_id\n10,1,49,3\n11,1,4930,3\n"),
];

impl Place {
    /// With tables that compile.
    fn with_tables() -> Place {
        let place = Place::new();
        for (name, text) in TABLES {
            place.write(&format!("routes/{name}"), text.as_bytes());
        }
        place
    }
}

#[test]
fn compiles_tables_and_looks_into_the_image() {
    let place = Place::with_tables();
    let told = place.output("routes compile --routes routes --image r.image");
    assert!(
        told.code == Some(0) && told.out.starts_with("r.image: generation 1: 1 providers, 1 gateways, 2 prefixes"),
        "{}{}",
        told.out,
        told.err
    );
    let told = place.output("routes verify --image r.image");
    assert!(told.code == Some(0) && told.out.starts_with("ok: generation 1"), "{}{}", told.out, told.err);
    let told = place.output("routes stat --image r.image");
    assert!(told.out.lines().any(|line| line.starts_with("listeners") && line.contains(" 1 ")), "{}", told.out);
    for from in ["--group 1 493012345", "--provider 7 00493012345", "--source 192.0.2.9:5060 00493012345"] {
        let told = place.output(&format!("routes lookup --image r.image {from}"));
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert!(told.out.contains("prefix '4930'") && told.out.contains("berlin at 198.51.100.1:5060"), "{}", told.out);
    }
    let told = place.output("routes lookup --image r.image --group 1 --at 2026-12-31T23:30:00+01:00 493012345");
    assert!(told.code == Some(0) && told.out.starts_with("at 2026-12-31T22:30:00Z\n"), "{}{}", told.out, told.err);
    let told = place.output("routes lookup --image r.image --group 1 --at today 493012345");
    assert!(told.code == Some(2) && told.err.contains("must be a moment such as"), "{}", told.err);
    let told = place.output("routes lookup --image r.image --group 1 33123");
    assert!(told.code == Some(1) && told.out.contains("404"), "{}", told.out);
    place.output("routes stat --image none.image").fails_with(&["error: none.image: the routing image cannot be read"]);
    assert_eq!(place.output("routes lookup --image r.image 33123").code, Some(2), "it must be said where to start");
}

#[test]
fn starts_from_tables_and_advertises() {
    let place = Place::with_tables();
    let told = place.output(
        "check --state-dir state --routes routes --shards 1 --listen 127.0.0.1:0 --advertise sbc.example.net:5061",
    );
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(
        told.out.contains("listener 1 (core) udp:127.0.0.1:0 advertised sbc.example.net:5061\nok: 0 errors"),
        "{}",
        told.out
    );
    let node = Started::start(place.corelane(NODE_ON_A_FREE_PORT));
    assert!(node.said[1].starts_with("routes: generation 1: 1 providers"), "{:?}", node.said);
    node.stop();
    let node = Started::start(place.corelane(NODE_ON_A_FREE_PORT));
    assert!(node.said[1].starts_with("routes: generation 2"), "compiled anew at each start: {:?}", node.said);
    node.stop();
}

/// The lines of the memory bill.
fn bill(out: &str) -> Vec<&str> {
    let from = out.lines().skip_while(|line| !line.starts_with("memory: "));
    from.take_while(|line| line.starts_with("memory: ") || line.starts_with("  ")).collect()
}

#[test]
fn check_and_run_have_one_bill() {
    let place = Place::with_tables();
    for media in ["", "1,192.0.2.20,2223\n"] {
        place.write("routes/media_node.csv", format!("id,host,port\n{media}").as_bytes());
        let told = place.output(&NODE_ON_A_FREE_PORT.replace("run", "check"));
        let node = Started::start(place.corelane(NODE_ON_A_FREE_PORT));
        let said = node.said.join("\n");
        assert_eq!(bill(&told.out), bill(&said), "{}", told.err);
        for line in ["  caps ", "  media sessions (a file) ", "  their SDP, at most "] {
            let there = said.lines().any(|said| said.starts_with(line));
            assert_eq!(there, line == "  caps " || !media.is_empty(), "{line}\n{said}");
        }
        node.stop();
    }
}

/// A node that is not there keeps nobody from starting: it is told, and not used.
#[test]
fn media_nodes_that_are_not_there_are_told() {
    let place = Place::with_tables();
    // An address that nobody else has: it says which process this is.
    let process = std::process::id();
    let host = format!("127.{}.{}.{}", 1 + (process >> 16) % 254, process >> 8 & 255, process & 255);
    place.write(
        "routes/media_node.csv",
        format!("id,host,port\n1,no.such.name.invalid,2223\n2,{host},2223\n").as_bytes(),
    );
    let silent =
        format!("corelane: media node 2 at {host}:2223 does not answer: no new call is given to it until it does");
    let unknown = "corelane: media node 1: `no.such.name.invalid` does not resolve";
    for text in [&silent, unknown] {
        let mut node = Started::start(place.corelane(NODE_ON_A_FREE_PORT));
        node.complains(text);
        node.stop();
    }

    // Somebody comes to be there.
    let mut node = Started::start(place.corelane(NODE_ON_A_FREE_PORT));
    node.complains(&silent);
    let ng = UdpSocket::bind((host.as_str(), 2223)).expect("nobody has it");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = ng.recv_from(&mut buffer) {
            let blank = buffer[..length].iter().position(|byte| *byte == b' ').expect("a cookie");
            let reply = [&buffer[..=blank], b"d6:result4:ponge"].concat();
            let _ = ng.send_to(&reply, from);
        }
    });
    node.complains(&format!("corelane: media node 2 at {host}:2223 answers again"));
    node.stop();
}

#[test]
fn a_place_where_no_journal_can_be_is_named_with_its_cure() {
    let place = Place::with_tables();
    place.write("a-file", b"");
    place.write("routes/media_node.csv", b"id,host,port\n1,127.0.0.1,2223\n");
    let expected = ["the journal of ended calls cannot be kept here: ", "or name another with `--journal-dir`"];
    // Nobody may make a file in /proc, root or not: as on a disk that is mounted read-only.
    for (journals, named) in [("a-file/journals", "error: a-file"), ("/proc/journals", "error: /proc")] {
        for command in ["run", "check"] {
            let command = NODE_ON_A_FREE_PORT.replacen("run", command, 1);
            let told = place.output(&format!("{command} --journal-dir {journals}"));
            told.fails_with(&expected);
            told.fails_with(&[named]);
            assert!(!told.out.contains("listening"), "{}", told.out);
        }
    }
    let told = place.output(&format!("{} --journal-dir not/yet", NODE_ON_A_FREE_PORT.replacen("run", "check", 1)));
    assert!(told.code == Some(0) && !place.path().join("not").exists(), "it can be made: {}", told.err);
    // Where the table of sessions should be is something else.
    fs::create_dir_all(place.path().join("state/media.sessions")).expect("a directory in the way");
    place.output(NODE_ON_A_FREE_PORT).fails_with(&[
        "error: state/media.sessions: the table of media sessions cannot be kept here: ",
        "--journal-dir",
    ]);
}

/// Debts that nobody can read are told; those that can be read are not lost with them.
#[test]
fn a_table_of_sessions_that_cannot_be_read_is_told() {
    let place = Place::with_tables();
    place.write("routes/media_node.csv", b"id,host,port,enabled\n1,127.0.0.1,2223,0\n");
    let sessions = place.path().join("state/media.sessions");
    let err = Started::start(place.corelane(NODE_ON_A_FREE_PORT)).stop();
    assert!(!err.contains("media.sessions"), "it is new: {err}");
    let fresh = fs::read(&sessions).expect("it was made");
    assert!(fresh.iter().all(|byte| *byte == 0));

    let another = b"what another program has left here, longer than the records of this one are";
    place.write("state/media.sessions", another);
    let err = Started::start(place.corelane(NODE_ON_A_FREE_PORT)).stop();
    assert!(
        err.contains("warning: state/media.sessions.other: the table of media sessions was no table of this version"),
        "{err}"
    );
    assert!(err.contains("the file may be removed"), "{err}");
    let aside = fs::read(place.path().join("state/media.sessions.other")).expect("put aside");
    assert_eq!(aside[..another.len()], another[..]);

    // A record of ours (docs/operating.md does not say how it looks: rtpengine/sessions/record.rs does), of which a byte was lost.
    let mut torn = fresh;
    torn[..4].copy_from_slice(b"CLM2");
    torn[20] = 1;
    place.write("state/media.sessions", &torn);
    let err = Started::start(place.corelane(NODE_ON_A_FREE_PORT)).stop();
    assert!(err.contains("warning: state/media.sessions: 1 records of media sessions are damaged"), "{err}");
    assert!(err.contains("listen-tcp-ng"), "{err}");
}

/// Media that nobody would serve, and flags that nobody would understand, are found before a call finds them.
#[test]
fn media_of_the_tables_is_checked() {
    let place = Place::with_tables();
    place.write("routes/media_node.csv", b"id,set,host,port\n1,1,192.0.2.20,2223\n");
    place.write(
        "routes/provider.csv",
        b"id,name,routing_group,media_set,media_flags\n7,north,1,2,ICE=maybe\n8,south,1,,call-id=1 symmetric\n",
    );
    let expected = [
        "error: routes/provider.csv:2: media_set `2`: no media node is of this set",
        "error: routes/provider.csv:2: media_flags `ICE=maybe`: `ICE` cannot be `maybe`",
        "error: routes/provider.csv:3: media_flags `call-id=1 symmetric`: unknown key `call-id`",
        "cure: add one to media_node.csv, or name one of the sets that there are (1), or none for any node",
    ];
    place.output("check --state-dir state --routes routes").fails_with(&expected);
    place.output(NODE_ON_A_FREE_PORT).fails_with(&expected);
}

#[test]
fn a_bad_row_names_file_line_and_cure_and_the_last_image_stays() {
    let place = Place::with_tables();
    Started::start(place.corelane(NODE_ON_A_FREE_PORT)).stop();
    place.write("routes/route.csv", b"id,routing_group,prefix,carrier_id\n10,1,49,3\n11,1,4930,8\n12,1,4x9,3\n");
    let expected = ["routes/route.csv:3: carrier_id `8`: ", "routes/route.csv:4: prefix `4x9`: ", "\n  cure: "];
    place.output("check --state-dir state --routes routes").fails_with(&expected);
    place.output("routes compile --routes routes --image state/routes.image").fails_with(&expected);
    let err = Started::start(place.corelane(NODE_ON_A_FREE_PORT)).stop();
    assert!(err.contains("warning: routes/route.csv:3: carrier_id `8`") && !err.contains("error:"), "{err}");
    assert!(err.contains("starting with the last good image, generation 1"), "{err}");
    fs::remove_file(place.path().join("state/routes.image")).expect("it is there");
    place.output(NODE_ON_A_FREE_PORT).fails_with(&["error: routes/route.csv:3: carrier_id `8`"]);
}

#[test]
fn an_older_image_is_replaced_when_the_tables_compile() {
    let place = Place::with_tables();
    place.write("state/routes.image", b"corelane\0\0\0\0 of a time before layouts, but long enough to hold one of today's headers, we hope; \
        and so it goes on for as long as it takes to fill a header and the section table behind it, which is some hundred bytes");
    let err = Started::start(place.corelane(NODE_ON_A_FREE_PORT)).stop();
    assert!(err.contains("warning: state/routes.image: the routing image has layout 0"), "{err}");
}
