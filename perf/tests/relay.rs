//! The stand-in relay over loopback: what a client of the ng protocol sees, served well and badly.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corelane_perf::relay::bencode::{Dictionary, dictionary_end, put_entry};
use corelane_perf::relay::{Counts, Relay, Settings, counts};

/// Far beyond any pause of a busy machine; reached only by a test that fails.
const ANSWER: Duration = Duration::from_secs(20);

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";

/// A node on its own thread and a client of it.
struct Stage {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Counts>,
    ng: SocketAddr,
    tcp: SocketAddr,
    control: SocketAddr,
    client: UdpSocket,
}

impl Stage {
    fn start(sessions_max: usize) -> Stage {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings {
            listen: loopback,
            listen_tcp: Some(loopback),
            control: None,
            media_host: Some("127.9.9.9".parse().expect("an address")),
            sessions_max,
            remember_ms: 60_000,
            set: Vec::new(),
            seed: 1,
        };
        let relay = Relay::bind(&settings).expect("free ports");
        let (ng, control) = (relay.address().expect("bound"), relay.control_address().expect("bound"));
        let tcp = relay.tcp_address().expect("bound").expect("asked for");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || relay.run(&seen).expect("loopback serves"));
        let client = UdpSocket::bind(loopback).expect("a free port");
        client.set_read_timeout(Some(ANSWER)).expect("a time-out that is not zero");
        Stage { stop, thread, ng, tcp, control, client }
    }

    fn send(&self, request: &[u8]) {
        self.client.send_to(request, self.ng).expect("loopback sends");
    }

    /// The next datagram and who sent it.
    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut bytes = vec![0; 65_536];
        let (length, from) = uninterrupted(|| self.client.recv_from(&mut bytes)).expect("an answer");
        bytes.truncate(length);
        (bytes, from)
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive().0
    }

    /// Takes effect before this returns.
    fn line(&self, line: &str) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(ANSWER)).expect("a time-out that is not zero");
        socket.send_to(line.as_bytes(), self.control).expect("loopback sends");
        let mut bytes = vec![0; 65_536];
        let length = uninterrupted(|| socket.recv(&mut bytes)).expect("an answer");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn end(self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the node does not panic")
    }
}

/// A socket with a time limit is interrupted when its process was stopped for a while: then it is asked again.
fn uninterrupted<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

fn request(cookie: usize, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut out = format!("{cookie} d").into_bytes();
    entries.iter().for_each(|(key, value)| put_entry(&mut out, key, value.as_bytes()));
    out.push(b'e');
    out
}

fn offer(cookie: usize, call_id: &str) -> Vec<u8> {
    request(cookie, &[("call-id", call_id), ("command", "offer"), ("from-tag", "a"), ("sdp", SDP)])
}

fn result(reply: &[u8]) -> String {
    let space = reply.iter().position(|byte| *byte == b' ').expect("a cookie");
    let reply = Dictionary::parse(&reply[space + 1..]).expect("bencode");
    String::from_utf8_lossy(reply.string("result").expect("a result")).into_owned()
}

#[test]
fn many_sessions_are_held_listed_and_given_back() {
    const SESSIONS: usize = 3_000;
    let stage = Stage::start(SESSIONS);
    for call in 0..SESSIONS {
        let reply = stage.ask(&offer(call, &format!("call-{call}")));
        assert_eq!(result(&reply), "ok");
        assert!(String::from_utf8_lossy(&reply).contains("\r\nc=IN IP4 127.9.9.9\r\n"));
    }
    assert_eq!(result(&stage.ask(&offer(SESSIONS, "one too many"))), "error");

    let mut stream = TcpStream::connect(stage.tcp).expect("it listens");
    stream.set_read_timeout(Some(ANSWER)).expect("a time-out that is not zero");
    // Cut in the middle: a stream keeps no frames.
    for piece in [&b"t1 d7:command4:list5:lim"[..], b"iti100000ee"] {
        stream.write_all(piece).expect("it reads");
    }
    let mut bytes = Vec::new();
    let end = loop {
        let mut some = [0; 4096];
        let count = uninterrupted(|| stream.read(&mut some)).expect("an answer");
        assert!(count > 0, "it hung up");
        bytes.extend_from_slice(&some[..count]);
        if let Some(end) = bytes.strip_prefix(b"t1 ").and_then(dictionary_end) {
            break end + 3;
        }
    };
    let listed = String::from_utf8_lossy(&bytes[..end]).matches("call-").count();
    assert_eq!(listed, SESSIONS, "each once");
    drop(stream);

    for call in 0..SESSIONS {
        let delete = request(10_000 + call, &[("call-id", &format!("call-{call}")), ("command", "delete")]);
        assert_eq!(result(&stage.ask(&delete)), "ok");
    }
    let counts = stage.end();
    assert_eq!((counts.sessions, counts.sessions_peak), (0, SESSIONS as u64));
    assert_eq!((counts.offers, counts.deletes, counts.deletes_unknown), (SESSIONS as u64 + 1, SESSIONS as u64, 0));
    assert_eq!(counts.refused.get("error: Parallel session limit reached"), Some(&1));
}

#[test]
fn a_repeated_request_gets_the_reply_of_the_first() {
    let stage = Stage::start(10);
    let first = stage.ask(&offer(1, "c"));
    assert_eq!(stage.ask(&offer(1, "another call")), first, "the cookie alone decides");
    let counts = stage.end();
    assert_eq!((counts.sessions, counts.repeated), (1, 1));
}

#[test]
fn a_frozen_node_answers_what_waited_and_a_black_hole_never_does() {
    let stage = Stage::start(10);
    assert!(stage.line("blackhole").starts_with("ok\n"));
    stage.send(&offer(1, "swallowed"));
    // The black hole has it before anything else is told to the node.
    while counts::read(&stage.line("counters"), "swallowed") != Some(1) {
        thread::yield_now();
    }
    stage.line("freeze");
    stage.send(&offer(2, "waits"));
    assert_eq!(counts::read(&stage.line("counters"), "requests"), Some(0));
    stage.line("unfreeze");
    assert!(stage.receive().0.starts_with(b"2 "), "the first was swallowed");
    assert_eq!(stage.end().sessions, 1);
}

#[test]
fn replies_lie_as_they_are_told() {
    let stage = Stage::start(10);
    let good = stage.ask(&offer(1, "c"));
    stage.line("truncated 1000");
    let cut = stage.ask(&offer(1, "c"));
    assert!(cut.len() < good.len() && good.starts_with(&cut));
    stage.line("truncated 0");
    stage.line("garbage 1000");
    let garbage = stage.ask(&offer(1, "c"));
    assert!(garbage.starts_with(b"1 ") && Dictionary::parse(&garbage[2..]).is_none());
    stage.line("garbage 0");
    stage.line("duplicated 1000");
    stage.send(&offer(1, "c"));
    assert_eq!([stage.receive().0, stage.receive().0], [good.clone(), good.clone()]);
    stage.line("duplicated 0");
    stage.line("wrong-address 1000");
    stage.send(&offer(1, "c"));
    let (bytes, from) = stage.receive();
    assert!(bytes == good && from != stage.ng);
    stage.line("wrong-address 0");
    assert!(stage.line("loss 2000").contains("a share of 1,000"));
    stage.end();
}

#[test]
fn late_replies_come_after_those_that_are_not() {
    let stage = Stage::start(10);
    stage.line("late-us 300000");
    stage.line("late 1000");
    stage.send(&offer(1, "c"));
    while counts::read(&stage.line("counters"), "offers") != Some(1) {
        thread::yield_now();
    }
    stage.line("late 0");
    stage.send(&offer(2, "d"));
    let order: BTreeSet<Vec<u8>> = [stage.receive().0, stage.receive().0].into();
    assert_eq!(order.len(), 2, "both came");
    stage.line("delay-us 1000");
    assert!(stage.ask(&offer(3, "e")).starts_with(b"3 "));
    assert_eq!(stage.end().offers, 3);
}
