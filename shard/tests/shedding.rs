//! The shedding filter through real sockets on loopback: what it drops, and what it must never drop.
//!
//! These tests need `bpf(2)`. Where this process may not call it, each proves that [`Filter::load`] says so, and prints a line.

mod permission;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::siphash::Key;
use corelane_shard::shed::{Filter, ShedError, detach};
use permission::or_refused;

/// Verified instructions of the program: loading it is part of a start, and takes about 1 µs for each.
const VERIFIED_MAX: u32 = 60_000;
const LARGEST_DATAGRAM: usize = 65_507;
/// A datagram on loopback is in its socket, or dropped, when the call that sends it returns, or soon after when the machine is busy.
const LOST_AFTER: Duration = Duration::from_secs(20);
/// How long an entry lives at least: a second, in units of 2²⁰ ns. What passes after that says nothing of the filter.
const LIFE: Duration = Duration::from_millis(990);
/// What is sent behind each datagram and never dropped: when it is there, so is what came before it.
const FLAG: &[u8] = b"flag";

/// A shard's socket, and peers that send to it.
struct Line {
    receiver: UdpSocket,
    peer: UdpSocket,
    stranger: UdpSocket,
}

impl Line {
    fn ipv4() -> Line {
        Line::between(Ipv4Addr::LOCALHOST.into(), [127, 0, 0, 7].into(), [127, 0, 0, 8].into())
    }

    fn between(receiver: IpAddr, peer: IpAddr, stranger: IpAddr) -> Line {
        let bind = |ip: IpAddr| UdpSocket::bind((ip, 0)).unwrap();
        let line = Line { receiver: bind(receiver), peer: bind(peer), stranger: bind(stranger) };
        line.receiver.set_nonblocking(true).unwrap();
        line
    }

    fn source(&self) -> IpAddr {
        self.peer.local_addr().unwrap().ip()
    }

    /// Whether the receiver gets a datagram of `from`.
    fn arrives_from(&self, from: &UdpSocket, datagram: &[u8]) -> bool {
        let to = self.receiver.local_addr().unwrap();
        from.send_to(datagram, to).unwrap();
        from.send_to(FLAG, to).unwrap();
        let mut arrived = false;
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let deadline = Instant::now() + LOST_AFTER;
        loop {
            match self.receiver.recv(&mut buffer) {
                Ok(length) if buffer[..length] == *FLAG => return arrived,
                Ok(length) => {
                    assert!(buffer[..length] == *datagram, "another datagram than the one sent");
                    arrived = true;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            assert!(Instant::now() < deadline, "what is no INVITE was dropped");
            std::thread::yield_now();
        }
    }

    fn arrives(&self, datagram: impl AsRef<[u8]>) -> bool {
        self.arrives_from(&self.peer, datagram.as_ref())
    }

    /// Whether it arrives while that many in 65,536 of the peer's new calls are to pass. On a machine that stood still in between the entry may
    /// have died: then it is set, and the datagram sent, again.
    fn arrives_at(&self, filter: &Filter, pass: u16, datagram: impl AsRef<[u8]>) -> bool {
        loop {
            let set = Instant::now();
            filter.set(self.source(), pass);
            if !self.arrives(&datagram) {
                return false;
            }
            if set.elapsed() < LIFE {
                return true;
            }
        }
    }
}

/// [`Filter::load`], or `None` where this process may not: then the error says so.
fn load_or_refused() -> Option<Filter> {
    or_refused(Filter::load(Key::new(*b"a secret of test")), ShedError::is_permission)
}

/// A message of a call: `from` and `to` are the lines of the two parties.
fn message(start: &str, call: usize, from: &str, to: &str, body: &str) -> Vec<u8> {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-{call};rport\r\nMax-Forwards: 70\r\n{from}\r\n{to}\r\nCall-ID: call-{call}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const INVITE: &str = "INVITE sip:4930123@192.0.2.2 SIP/2.0";
const FROM: &str = "From: <sip:a@192.0.2.1>;tag=one";
const TO: &str = "To: <sip:b@192.0.2.2>";
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n";

fn new_call(call: usize) -> Vec<u8> {
    message(INVITE, call, FROM, TO, SDP)
}

/// Of two thousand new calls about the share passes, for any share, and each copy of one fares as the first.
#[test]
fn the_share_of_new_calls_passes_and_no_more() {
    const CALLS: usize = 2_000;
    let Some(filter) = load_or_refused() else { return };
    let line = Line::ipv4();
    filter.attach(&line.receiver).unwrap();
    let mut before = 0;
    for pass in [1 << 10, 1 << 14, 1 << 15, 60_000, u16::MAX] {
        let mut passed = 0;
        for call in 0..CALLS {
            let arrived = line.arrives_at(&filter, pass, new_call(call));
            passed += usize::from(arrived);
            if call % 50 == 0 {
                assert_eq!(line.arrives_at(&filter, pass, new_call(call)), arrived, "a copy fares as the first");
                before += u64::from(!arrived);
            }
        }
        let expected = CALLS * usize::from(pass) / 0xffff;
        // Five standard deviations of a fair draw at most.
        assert!(passed.abs_diff(expected) < 5 * 23, "{passed} of {CALLS} at {pass} in 65,536");
        before += (CALLS - passed) as u64;
        assert_eq!(filter.dropped(), before, "each that is missing is counted");
    }
}

/// Requests inside a dialog, however they are written; other methods; responses; what is too long or unclear.
#[test]
fn nothing_else_is_ever_dropped() {
    let Some(filter) = load_or_refused() else { return };
    let line = Line::ipv4();
    filter.attach(&line.receiver).unwrap();
    let tagged = "To: <sip:b@192.0.2.2>;tag=two";
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for (from, to) in [
        (FROM, tagged),
        ("f:a<sip:a@h>;tag=1", "t:<sip:b@h>;tag=2"),
        ("f:x;tag=a", "t:x;tag=b"),
        ("t:x;tag=a", "f:x;tag=b"),
        ("FROM: <sip:a@h>;TAG=1", "TO : <sip:b@h> ; Tag = 2"),
        ("From: <sip:a@h>\r\n ;\r\n\ttaG\r\n =\r\n 1", "To: <sip:b@h>\r\n\t;tAg=2"),
    ] {
        kept.push(message(INVITE, 1, from, to, SDP));
        // At each place of a round, the two at each distance of one, as far apart as a message allows.
        for shift in 0..24 {
            let padding = "x".repeat(shift);
            kept.push(message(&format!("INVITE sip:{padding}@h SIP/2.0"), 1, from, to, SDP));
            kept.push(message(INVITE, 1, &format!("{from}\r\nX: {padding}"), to, ""));
        }
        let far = "y".repeat(MESSAGE_SIZE_MAX - 400);
        kept.push(message(INVITE, 1, &format!("{from}\r\nX: {far}"), to, ""));
    }
    // The shortest distance that two tags can have, and the very end of a message.
    for shift in 0..16 {
        kept.push(format!("INVITE {}\nf:x;tag=a\nt:x;tag=b", "x".repeat(shift)).into_bytes());
        kept.push(format!("INVITE {}\nf:x;tag=a\nt:x;tag", "x".repeat(shift)).into_bytes());
    }
    // A peer of RFC 2543 gave no tag: what it sends in the dialog has the other side's only, and what is sent to it has none in To. Our
    // own Route is there, at each place of a round, loose or strict, before or after what else there is.
    for (from, to) in [(FROM, TO), ("From: <sip:b@192.0.2.2>", "To: <sip:a@192.0.2.1>;tag=one")] {
        for shift in 0..16 {
            let padding = "x".repeat(shift);
            let ours = format!("sip:{padding}192.0.2.9;lr;cl=1abcdefghijklmnop");
            kept.push(message(INVITE, 1, &format!("Route: <{ours}>\r\n{from}"), to, SDP));
            kept.push(message(INVITE, 1, from, &format!("{to}\r\nroute:<{ours};x=y>,<sip:other>"), ""));
            kept.push(message(&format!("INVITE {ours} SIP/2.0"), 1, from, &format!("{to}\r\nRoute: <sip:b@h>"), SDP));
            kept.push(message(&format!("INVITE {} SIP/2.0", ours.to_uppercase()), 1, from, to, ""));
        }
    }
    for method in ["ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "PRACK", "REGISTER", "INVITES", "invite"] {
        kept.push(message(&format!("{method} sip:4930123@192.0.2.2 SIP/2.0"), 1, FROM, TO, ""));
    }
    for status in ["100 Trying", "180 Ringing", "200 OK", "503 Service Unavailable"] {
        kept.push(message(&format!("SIP/2.0 {status}"), 1, FROM, TO, SDP));
    }
    for odd in [&b""[..], b"\r\n", b"INVITE", b"INVITE\t", b"\r\nINVITE sip:a@h SIP/2.0\r\n", b" INVITE x"] {
        kept.push(odd.to_vec());
    }
    for length in [MESSAGE_SIZE_MAX + 1, 20_000, 60_000] {
        let mut long = new_call(1);
        long.resize(length, b'x');
        kept.push(long);
    }
    for datagram in &kept {
        let text = datagram.escape_ascii().to_string();
        assert!(line.arrives_at(&filter, 0, datagram), "{} bytes were dropped: {text:.900}", datagram.len());
    }
    assert_eq!(filter.dropped(), 0);
}

/// What is dropped at a share of nothing: new calls of any length that a message may have, also those that carry the letters once.
#[test]
fn new_calls_of_any_length_are_dropped() {
    let Some(filter) = load_or_refused() else { return };
    let line = Line::ipv4();
    filter.attach(&line.receiver).unwrap();
    let mut gone = vec![b"INVITE x".to_vec(), b"INVITE sip:tag".to_vec(), b"INVITE tatagagttogtaag".to_vec()];
    // Of other parameters' names and values, and of bytes that are no letters, nothing is taken for ours.
    for foreign in
        ["cl-=1", "xcl;=", "c=l=lc", "Route: <sip:192.0.2.9;lr;cc=l>", "a=cl:1", "\u{e3}l=", "c\u{ec}=\u{80}\u{81}"]
    {
        gone.push(message(INVITE, 1, &format!("{FROM}\r\nX: {foreign}"), TO, SDP));
    }
    // One more `tag`, left behind in the scratch value by a longer message, does not count for a shorter one.
    for length in (9..900).chain(MESSAGE_SIZE_MAX - 40..=MESSAGE_SIZE_MAX) {
        let mut datagram = new_call(length);
        datagram.resize(length, b'g');
        gone.push(message(INVITE, 1, FROM, "To: <sip:b@h>;tag=two", SDP));
        gone.push(datagram);
    }
    let mut dropped = 0;
    for datagram in &gone {
        let in_dialog = datagram.windows(3).filter(|word| *word == b"tag").count() == 2;
        assert_eq!(line.arrives_at(&filter, 0, datagram), in_dialog, "{:.900}", datagram.escape_ascii().to_string());
        dropped += u64::from(!in_dialog);
    }
    assert_eq!(filter.dropped(), dropped);
}

#[test]
fn other_sources_pass() {
    let Some(filter) = load_or_refused() else { return };
    let line = Line::ipv4();
    filter.attach(&line.receiver).unwrap();
    for call in 0..200 {
        filter.set(line.source(), 0);
        assert!(line.arrives_from(&line.stranger, &new_call(call)));
        assert!(!line.arrives_at(&filter, 0, new_call(call)));
    }
}

/// IPv6, and an IPv4 peer of a socket that takes both: it is held as IPv4 (`Endpoint`).
#[test]
fn sources_of_both_families_are_found() {
    let Some(filter) = load_or_refused() else { return };
    let line = Line::between(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    filter.attach(&line.receiver).unwrap();
    assert!(line.arrives(new_call(1)));
    assert!(!line.arrives_at(&filter, 0, new_call(1)));
    assert!(line.arrives_at(&filter, 0, message(INVITE, 1, FROM, "t:<sip:b@h>;tag=two", SDP)));

    let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    filter.attach(&both).unwrap();
    let port = both.local_addr().unwrap().port();
    both.set_read_timeout(Some(LOST_AFTER)).unwrap();
    let peer = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
    let mut buffer = [0; 2048];
    loop {
        let set = Instant::now();
        filter.set(Ipv4Addr::new(127, 0, 0, 9).into(), 0);
        for datagram in [&new_call(1)[..], FLAG] {
            peer.send_to(datagram, (Ipv4Addr::LOCALHOST, port)).unwrap();
        }
        if both.recv(&mut buffer).unwrap() == FLAG.len() {
            break;
        }
        assert!(set.elapsed() >= LIFE, "a new call passed");
        assert_eq!(both.recv(&mut buffer).unwrap(), FLAG.len(), "and what came behind it");
    }
}

/// An entry that nobody refreshes dies; how long it lives is what the clock says, not what the test does.
#[test]
fn an_entry_dies_by_itself() {
    let Some(filter) = load_or_refused() else { return };
    let line = Line::ipv4();
    filter.attach(&line.receiver).unwrap();
    let set = Instant::now();
    let deadline = set + LOST_AFTER;
    filter.set(line.source(), 0);
    while !line.arrives(new_call(1)) {
        assert!(Instant::now() < deadline, "an entry lives for ever");
    }
    assert!(set.elapsed() >= LIFE, "it died after {:?}", set.elapsed());
    assert!(line.arrives(new_call(2)), "and stays dead");
}

#[test]
fn detached_the_socket_takes_everything() {
    let Some(filter) = load_or_refused() else { return };
    let line = Line::ipv4();
    filter.set(line.source(), 0);
    assert!(line.arrives(new_call(1)), "not attached yet");
    filter.attach(&line.receiver).unwrap();
    assert!(!line.arrives_at(&filter, 0, new_call(1)));
    detach(&line.receiver);
    assert!(line.arrives_at(&filter, 0, new_call(1)));
    detach(&line.receiver);
    assert!(line.arrives(new_call(1)), "detached twice");
}

#[test]
fn the_verifier_has_room() {
    let Some(filter) = load_or_refused() else { return };
    let walked = filter.cost().unwrap().verified_instructions;
    assert!(walked < VERIFIED_MAX, "{walked} verified instructions");
}
