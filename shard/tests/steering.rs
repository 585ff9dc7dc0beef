//! The kernel's steering against the engine's: real datagrams through real reuseport groups on loopback.
//!
//! For each datagram that shows a Call-ID, the socket that received it must be the one that [`Steering`] names; for each that
//! shows none, the one that the kernel's own hash chooses for the sender. The differential test has 64 sockets, so that a wrong program would be found right by chance once
//! in 64, not once in 4.
//!
//! These tests need `bpf(2)`. Where this process may not call it, each proves that [`attach`] says so, and prints a line.

mod permission;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::siphash::Key;
use corelane_core::steering::{LINES_MAX, SLOTS, Slot, Steering};
use corelane_shard::steer::{Attached, SteerError, Step, attach, detach};
use permission::or_refused;
use socket2::{Domain, Protocol, Socket, Type};

/// Verified instructions of a program: the kernel gives up at a million, and another kernel may count some more than this one.
const VERIFIED_MAX: u32 = 500_000;
const LARGEST_DATAGRAM: usize = 65_507;
/// A datagram on loopback arrives within the call that sends it, or soon after when the machine is busy; one that has not by
/// now is lost, which is a failure.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// A group: sockets bound to one address, by shard.
struct Group {
    sockets: Vec<UdpSocket>,
    address: SocketAddr,
}

impl Group {
    fn bind(ip: impl Into<std::net::IpAddr>, shards: usize) -> Group {
        let mut address = SocketAddr::new(ip.into(), 0);
        let sockets = (0..shards)
            .map(|_| {
                let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).unwrap();
                // The first is shared when it is bound: before, the kernel might give it the port of another test's group.
                let first = address.port() == 0;
                socket.set_reuse_port(!first).unwrap();
                socket.set_recv_buffer_size(1 << 20).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket.bind(&address.into()).unwrap();
                socket.set_reuse_port(true).unwrap();
                let socket = UdpSocket::from(socket);
                address = socket.local_addr().unwrap();
                socket
            })
            .collect();
        Group { sockets, address }
    }

    fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd).collect()
    }

    /// The shard that receives the one datagram on its way, which must be `expected_bytes`. `likely` is asked first.
    fn receive(&self, expected_bytes: &[u8], likely: usize) -> usize {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let deadline = Instant::now() + LOST_AFTER;
        loop {
            for shard in std::iter::once(likely).chain(0..self.sockets.len()) {
                match self.sockets[shard].recv(&mut buffer) {
                    Ok(length) => {
                        assert!(buffer[..length] == *expected_bytes, "another datagram than the one sent");
                        return shard;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                }
            }
            assert!(Instant::now() < deadline, "lost: {}", show(expected_bytes));
            std::thread::yield_now();
        }
    }
}

/// [`attach`], or `None` where this process may not: then the error says so.
fn attach_or_refused(steering: &Steering, groups: &[&Group]) -> Option<Attached> {
    let groups: Vec<_> = groups.iter().map(|group| group.borrowed()).collect();
    or_refused(attach(steering, &groups), SteerError::is_permission)
}

fn steering(shards: u8) -> Steering {
    Steering::even(Key::new(*b"a secret of test"), shards)
}

fn show(datagram: &[u8]) -> String {
    format!("{} bytes: {:.600}", datagram.len(), datagram.escape_ascii().to_string())
}

/// Holds the receiver of the one datagram on its way against `steering`, and against `unsteered` if it has no Call-ID. Returns
/// whether it has one.
fn compare(steering: &Steering, group: &Group, datagram: &[u8], unsteered: Option<usize>) -> bool {
    let owner = steering.slot_of_datagram(datagram).map(|slot| usize::from(steering.owner(slot).0));
    let expected = owner.or(unsteered);
    let receiver = group.receive(datagram, expected.unwrap_or(0));
    if let Some(expected) = expected {
        assert_eq!(receiver, expected, "Call-ID: {}; {}", owner.is_some(), show(datagram));
    }
    owner.is_some()
}

/// SplitMix64: a seeded stream of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Datagrams at the edges of the definition.
fn oddities() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b""[..],
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\r\n\r\n\r",
        b"X",
        b"X\r\n",
        b"X\ni:",
        b"X\ni",
        b"X\nI:a",
        b"X\ni:a",
        b"X\ni:\x01",
        b"X\ni:\0",
        b"X\ni:\0\0\0\0\0\0\0\0a",
        b"X\ni: \r\n a",
        b"X\ni: \r\n\r\n a",
        b"X\ni\t :\t a b",
        b"X\ni\r:no\r\ni:yes",
        b"X\ni\x0b:no\r\ni:yes",
        b"X\n\x0bi:no\r\ni:yes",
        b"X\n\x0b\x0b\x0bi:no",
        b"X\n\x0b\ni:yes",
        b"X\r\nCALL-ID: a",
        b"X\r\ncall-id:a",
        b"X\r\ncAlL-iD  \t:a",
        b"X\r\nCall-ID",
        b"X\r\nCall-ID:",
        b"X\r\nCall-ID: \r\n",
        b"X\r\nCall\rID: no\r\ni:yes",
        b"X\r\nCall\x0dID: no\r\ni:yes",
        b"X\r\n\x03all-ID: no\r\ni:yes",
        b"X\r\nCall-IDs: no\r\ni:yes",
        b"X\r\nCall-I: no\r\ni:yes",
        b"X\r\nCall-ID ; no\r\ni:yes",
        b"X\r\nCall-ID \r\n: no\r\ni:yes",
        b"X\r\nIt: no\r\nI : yes",
        b"X\r\n i: folded into the line before\r\ni:yes",
        b"X\r\nCall-ID: first\r\nCall-ID: second\r\n",
        b"X\r\n\r\nCall-ID: body",
        b"X\n\nCall-ID: body",
        b"X\n\r\nCall-ID: body",
        b"X\r\n\nCall-ID: body",
        b"X\r\n\rCall-ID: odd\r\ni:yes",
        b"Call-ID: first line",
        b"\r\nCall-ID: first line",
        b"\nCall-ID: second line",
        b"\n\nCall-ID: body",
        b"\r\n\nCall-ID: second line",
        b"\r\n\r\nX\r\nCall-ID: after keep-alives",
        b"\r\r\nCall-ID: second line",
        b"\na\nc\nd\ni:four lines in a word",
        b"\nc\nc\nc\nc\nc\nc\nc\nc\nc\ni:many",
        b"\ni\ni\ni\ni\ni\ni\ni\ni\ni\ni:many",
        b"\ni \ni \ni\t\ni:many",
        b"X\r\ni:\xff\xfe\x80\x81\x7f!\r\n",
        b"X\r\ni:\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n",
        b"X\r\ni:aaaaaaa\x80aaaaaaa\xa0aaaaaaa\xff\r\n",
    ]
    .iter()
    .map(|datagram| datagram.to_vec())
    .collect();

    // Each length of the value, so each length of the hash's last word and each byte of its length; each place in the words.
    for length in 0..=300 {
        let value: Vec<u8> = (0..length).map(|place| b'!' + (place * 7 % 90) as u8).collect();
        for end in [&b"\r\n\r\n"[..], b"", b" x\r\n"] {
            all.push([b"X\r\nCall-ID: ", &value[..], end].concat());
        }
    }
    for place in 0..300 {
        for line in
            [&b"\r\nCall-ID: place@host\r\n"[..], b"\ni:p", b"\r\nI\t: place\r\n", b"\r\n\r\ni:none", b"\n\ni:none"]
        {
            all.push([&vec![b'x'; place][..], line].concat());
        }
    }
    for count in LINES_MAX - 2..=LINES_MAX + 2 {
        all.push([&b"a\n".repeat(count)[..], b"i:on-the-last-line\n"].concat());
        all.push([&b"Contact: <sip:a@host>\r\n".repeat(count)[..], b"Call-ID: on-the-last-line\r\n"].concat());
    }
    // The longest way through each loop.
    for left in 1..20 {
        let most = MESSAGE_SIZE_MAX - left;
        all.push([b"X\ni:", &vec![b' '; most - 4][..], b"v"].concat());
        all.push([b"X\ni", &vec![b' '; most - 5][..], b":v"].concat());
        all.push([b"X\ni:", &vec![b'v'; most][..]].concat());
        all.push([&vec![b'\n'; most - 7][..], b"X\ni:v"].concat());
        all.push([&b"a\n".repeat(LINES_MAX - 1)[..], &vec![b'x'; most - 2 * LINES_MAX][..], b"\ni:v"].concat());
    }
    // Blanks without end, before and behind the colon.
    for count in [1, 7, 8, 9, 63, 64, 500, 4000, 8000] {
        let blanks: Vec<u8> = (0..count).map(|place| if place % 3 == 0 { b'\t' } else { b' ' }).collect();
        all.push([b"X\r\nCall-ID", &blanks[..], b":", &blanks[..], b"value\r\n"].concat());
        all.push([b"X\r\nCall-ID", &blanks[..], b"no\r\ni:yes\r\n"].concat());
        all.push([b"X\r\ni:", &b"\r\n".repeat(count)[..], b"value\r\n"].concat());
        all.push([&b"\r\n".repeat(count)[..], b"X\r\ni: value\r\n"].concat());
        all.push([b"X", &b"\nc".repeat(count)[..], b"\ni:value\r\n"].concat());
        all.push([b"X\ni:", &vec![b'v'; count][..]].concat());
    }
    // The end of the look, through each part of the line.
    for place in MESSAGE_SIZE_MAX - 40..MESSAGE_SIZE_MAX + 10 {
        for line in [&b"\r\nCall-ID \t: \r\n the-value-of-it@host.example\r\n"[..], b"\ni:a", b"\n\n"] {
            all.push([&vec![b'x'; place][..], line].concat());
        }
    }
    // Each byte behind a name, and before and behind a line feed: what carries from byte to byte.
    for byte in 0..=u8::MAX {
        for name in [&b"X\ni"[..], b"X\r\nCall-ID"] {
            all.push([name, &[byte], b"x: no\r\ni:behind-a-longer-name@host\r\n\r\n"].concat());
            all.push([name, &[byte], b": behind-a-byte@host\r\ni:yes@host\r\n\r\n"].concat());
        }
        for place in 0..8 {
            let front = vec![b'x'; place];
            all.push([&b"X: "[..], &front[..], &[byte], b"\ni:in-front@host.example\r\n\r\n"].concat());
            all.push([&b"X: "[..], &front[..], b"\n", &[byte], b"y\ni:behind@host.example\r\n\r\n"].concat());
            all.push([&b"X: "[..], &front[..], b"\ni:", &[byte], b"in@host.example\r\n\r\n"].concat());
        }
    }
    // Where the program gives up reading the packet itself: near its end, after many bytes or lines, in a long value.
    let whole = b"X: y\r\nContact: <sip:a@host>\r\nCall-ID: 0123456789@host.example\r\n\r\nbody";
    all.extend((0..=whole.len()).map(|length| whole[..length].to_vec()));
    for place in 3_000..3_120 {
        for line in [&b"\r\nCall-ID: far-behind@host.example\r\nTo: b\r\n"[..], b"\ni:v\n", b"\r\n\r\ni:none"] {
            all.push([&vec![b'x'; place][..], line].concat());
        }
    }
    for count in 180..200 {
        all.push([&b"a\n".repeat(count)[..], b"i:behind-many-lines\r\nTo: b\r\n"].concat());
    }
    for length in 490..530 {
        all.push([b"X\ni:", &vec![b'v'; length][..], b"\r\nTo: b\r\n\r\n"].concat());
    }
    all
}

/// A plausible message, with its Call-ID anywhere.
fn message(random: &mut Random) -> Vec<u8> {
    let end = *random.pick(&["\r\n", "\r\n", "\r\n", "\n"]);
    let name = *random.pick(&["Call-ID", "i", "CALL-ID", "call-id", "I", "Call-Id"]);
    let colon = *random.pick(&[": ", ":", " : ", "\t:\t", ":\r\n ", ":  "]);
    let value: String = (0..random.below(70))
        .map(|_| char::from(*random.pick(b"0123456789abcdefABCDEF-.@!%*_+`'~()<>:\\\"/[]?{}")))
        .collect();
    let mut lines = vec![format!("{name}{colon}{value}")];
    for _ in 0..random.below(25) {
        let other = random.pick(&[
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK",
            "v: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK",
            "From: \"Call-ID: no\" <sip:a@example.com>;tag=",
            "To: <sip:b@example.com>;\r\n\ttag=",
            "CSeq: 1 INVITE",
            "Contact: <sip:c@192.0.2.2>;x=",
            "Content-Length: 0",
            "Identity: i:no",
            "In-Reply-To: i:no",
            "X-Call-ID: ",
        ]);
        let place = random.below(lines.len() + 1);
        lines.insert(place, format!("{other}{:x}", random.next()));
    }
    let first = random.pick(&["INVITE sip:b@example.com SIP/2.0", "SIP/2.0 200 OK", "BYE sip:i SIP/2.0"]);
    let body = random.pick(&["", "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ni: body\r\n"]);
    format!("{first}{end}{}{end}{end}{body}", lines.join(end)).into_bytes()
}

/// Up to four edits, of the bytes that the definition speaks of more than others.
fn mutate(random: &mut Random, datagram: &mut Vec<u8>) {
    for _ in 0..random.below(5) {
        let place = random.below(datagram.len() + 1);
        let byte =
            if random.below(4) == 0 { random.next() as u8 } else { *random.pick(b"\r\n \t:iIcC\0\x0b\x20\x21\x80-") };
        match random.below(5) {
            0 => datagram.insert(place, byte),
            1 if place < datagram.len() => datagram[place] = byte,
            2 if place < datagram.len() => drop(datagram.remove(place)),
            3 => {
                let inserted = *random.pick(&[*b"\r\ni:", *b"\n\r\n ", *b"\r\n\r\n", *b"\ni\n:"]);
                datagram.splice(place..place, inserted);
            }
            4 if random.below(4) == 0 => datagram.truncate(place),
            _ => {}
        }
    }
}

/// The same Call-ID is looked for in each part of a datagram that the kernel keeps in page fragments.
fn large(random: &mut Random) -> Vec<u8> {
    let mut datagram = message(random);
    let place = datagram.iter().position(|byte| *byte == b'\n').unwrap_or(0) + 1;
    let filler = random.below(MESSAGE_SIZE_MAX);
    datagram.splice(place..place, b"X: ".iter().copied().chain(std::iter::repeat_n(b'x', filler)).chain(*b"\r\n"));
    datagram.resize(LARGEST_DATAGRAM - random.below(40_000), b'y');
    datagram
}

#[test]
fn the_kernel_chooses_as_the_engine_does() {
    const SHARDS: u8 = 64;
    let steering = steering(SHARDS);
    let groups = [Group::bind(Ipv4Addr::LOCALHOST, SHARDS.into()), Group::bind(Ipv6Addr::LOCALHOST, SHARDS.into())];
    let Some(attached) = attach_or_refused(&steering, &[&groups[0], &groups[1]]) else { return };
    for program in attached.info().unwrap() {
        assert!(program.verified_instructions < VERIFIED_MAX, "a walk near the verifier's limit: {program:?}");
    }
    let mut random = Random(0x5eed);
    let mut datagrams = oddities();
    for _ in 0..6_000 {
        let mut datagram = message(&mut random);
        mutate(&mut random, &mut datagram);
        datagrams.push(datagram);
    }
    datagrams.extend((0..300).map(|_| large(&mut random)));

    for group in &groups {
        let sender = UdpSocket::bind((group.address.ip(), 0)).unwrap();
        // The kernel's own hash sends all that comes from one port to one socket.
        sender.send_to(b"", group.address).unwrap();
        let unsteered = Some(group.receive(b"", 0));
        let found = datagrams
            .iter()
            .filter(|datagram| {
                sender.send_to(datagram, group.address).unwrap();
                compare(&steering, group, datagram, unsteered)
            })
            .count();
        assert!(found > datagrams.len() * 2 / 3, "only {found} of {} datagrams show a Call-ID", datagrams.len());
        assert!(
            found < datagrams.len() - 200,
            "only {} of {} datagrams show none",
            datagrams.len() - found,
            datagrams.len()
        );
    }
}

/// The program reads an ordinary message in the packet and copies any other. A blank in front makes it copy all of these.
#[test]
fn the_kernel_chooses_so_on_its_copying_path_too() {
    const SHARDS: u8 = 64;
    let steering = steering(SHARDS);
    let group = Group::bind(Ipv4Addr::LOCALHOST, SHARDS.into());
    let Some(_attached) = attach_or_refused(&steering, &[&group]) else { return };
    let mut random = Random(0xc0b1);
    let mut datagrams = oddities();
    for _ in 0..3_000 {
        let mut datagram = message(&mut random);
        mutate(&mut random, &mut datagram);
        datagrams.push(datagram);
    }
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    sender.send_to(b"", group.address).unwrap();
    let unsteered = Some(group.receive(b"", 0));
    for datagram in &mut datagrams {
        datagram.splice(0..0, *b"\r\n");
        sender.send_to(datagram, group.address).unwrap();
        compare(&steering, &group, datagram, unsteered);
    }
}

/// A datagram that the network cut into pieces reaches the program as a chain of buffers.
#[test]
fn a_reassembled_datagram_is_read_through_its_pieces() {
    const SHARDS: u8 = 64;
    let steering = steering(SHARDS);
    let group = Group::bind(Ipv4Addr::LOCALHOST, SHARDS.into());
    let Some(_attached) = attach_or_refused(&steering, &[&group]) else { return };
    let raw =
        Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).expect("who may load programs may send raw");
    let mut random = Random(0xf4a6);
    for id in 1..=400_u16 {
        let mut datagram = message(&mut random);
        let filler = random.below(3_000);
        datagram.splice(0..0, b"X: ".iter().copied().chain(std::iter::repeat_n(b'x', filler)).chain(*b"\r\n"));
        // A piece's length is a multiple of 8, from one that cuts the first line to one that holds nearly all.
        let piece = 8 * (1 + random.below(datagram.len().div_ceil(8)));
        let pieces = [16.max(piece / 7 / 8 * 8), piece, 1_400];
        for part in fragments(group.address.port(), id, &datagram, *random.pick(&pieces)) {
            raw.send_to(&part, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        }
        compare(&steering, &group, &datagram, None);
    }
}

/// The IPv4 packets of one UDP datagram to `port`, cut after each `piece` bytes.
fn fragments(port: u16, id: u16, datagram: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let length = datagram.len() as u16 + 8;
    let mut udp = Vec::with_capacity(usize::from(length));
    for field in [5060, port, length, 0] {
        udp.extend_from_slice(&field.to_be_bytes());
    }
    udp.extend_from_slice(datagram);
    let count = udp.chunks(piece).count();
    udp.chunks(piece)
        .enumerate()
        .map(|(place, part)| {
            let more = if place + 1 < count { 0x2000 } else { 0 };
            let mut packet = vec![0x45, 0];
            // Total length and checksum are the kernel's to fill in.
            for field in [0, id, more | (place * piece / 8) as u16] {
                packet.extend_from_slice(&field.to_be_bytes());
            }
            packet.extend_from_slice(&[64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
            packet.extend_from_slice(part);
            packet
        })
        .collect()
}

/// What steering is for.
#[test]
fn a_call_meets_one_shard_from_any_port() {
    const SHARDS: usize = 4;
    let steering = steering(SHARDS as u8);
    let group = Group::bind(Ipv4Addr::LOCALHOST, SHARDS);
    let Some(_attached) = attach_or_refused(&steering, &[&group]) else { return };
    let senders: Vec<_> = (0..32).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let mut calls_of = [0; SHARDS];
    for call in 0..200 {
        let receivers: Vec<usize> = senders
            .iter()
            .enumerate()
            .map(|(place, sender)| {
                let name = ["Call-ID: ", "i:", "CALL-ID :", "I:\t"][place % 4];
                let first = ["INVITE sip:b@h SIP/2.0", "SIP/2.0 180 Ringing", "ACK sip:b@h SIP/2.0"][place % 3];
                let message =
                    format!("{first}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{place}\r\n{name}call-{call}@h\r\n\r\n");
                sender.send_to(message.as_bytes(), group.address).unwrap();
                group.receive(message.as_bytes(), 0)
            })
            .collect();
        let owner = usize::from(steering.owner(steering.slot_of_call_id(format!("call-{call}@h").as_bytes())).0);
        assert_eq!(receivers, vec![owner; senders.len()], "call {call}");
        calls_of[owner] += 1;
    }
    assert!(calls_of.iter().all(|calls| *calls >= 20), "200 calls spread over 4 shards: {calls_of:?}");
}

/// The table is what changes when shards come and go; all groups follow one update.
#[test]
fn a_new_table_moves_calls_of_all_groups() {
    const SHARDS: usize = 4;
    let steering = steering(SHARDS as u8);
    let groups = [Group::bind(Ipv4Addr::LOCALHOST, SHARDS), Group::bind(Ipv6Addr::LOCALHOST, SHARDS)];
    let Some(attached) = attach_or_refused(&steering, &[&groups[0], &groups[1]]) else { return };
    for last in [3, 1, 2] {
        // Shard `last` takes all the even slots, shard 0 the odd ones.
        let table: Vec<u8> = (0..SLOTS).map(|slot| if slot % 2 == 0 { last } else { 0 }).collect();
        attached.set_table(&table).unwrap();
        for group in &groups {
            let sender = UdpSocket::bind((group.address.ip(), 0)).unwrap();
            for call in 0..50 {
                let datagram = format!("X\r\ni:{call}\r\n");
                let Slot(slot) = steering.slot_of_datagram(datagram.as_bytes()).unwrap();
                sender.send_to(datagram.as_bytes(), group.address).unwrap();
                let receiver = group.receive(datagram.as_bytes(), 0);
                assert_eq!(receiver, usize::from(table[usize::from(slot)]), "slot {slot}");
            }
        }
    }
}

/// The kernel's hash of addresses and ports takes over where steering ends, and where a shard is gone.
#[test]
fn without_steering_or_without_the_shard_the_kernel_chooses() {
    const SHARDS: usize = 4;
    let steering = steering(SHARDS as u8);
    let group = Group::bind(Ipv4Addr::LOCALHOST, SHARDS);
    let Some(attached) = attach_or_refused(&steering, &[&group]) else { return };
    let datagram = b"X\r\ni:call\r\n";
    let owner = usize::from(steering.owner(steering.slot_of_datagram(datagram).unwrap()).0);
    let receivers = |group: &Group| -> Vec<usize> {
        (0..64)
            .map(|_| {
                let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                sender.send_to(datagram, group.address).unwrap();
                group.receive(datagram, 0)
            })
            .collect()
    };
    drop(attached);
    assert_eq!(receivers(&group), vec![owner; 64], "the program outlives the handle");
    detach(&[group.borrowed()]);
    assert!(receivers(&group).iter().any(|receiver| *receiver != owner), "64 ports, one socket, without a program");

    // Other sockets: the kernel lets go of those of a closed array only after a grace period.
    let mut group = Group::bind(Ipv4Addr::LOCALHOST, SHARDS);
    let steered = attach_or_refused(&steering, &[&group]).expect("it was allowed a moment ago");
    group.sockets.remove(owner);
    let receivers = receivers(&group);
    assert_eq!(receivers.len(), 64, "nothing is lost with the shard");
    drop(steered);
}

/// Order matters to the kernel, and the error says which.
#[test]
fn a_socket_that_is_not_bound_is_refused_with_its_place() {
    let steering = steering(2);
    if attach_or_refused(&steering, &[&Group::bind(Ipv4Addr::LOCALHOST, 2)]).is_none() {
        return;
    }
    // Other sockets: the kernel lets go of those of a closed array only after a grace period.
    let mut group = Group::bind(Ipv4Addr::LOCALHOST, 2);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_reuse_port(true).unwrap();
    group.sockets[1] = socket.into();
    let error = attach(&steering, &[group.borrowed()]).unwrap_err();
    assert_eq!(error.step(), Step::PlaceSocket { group: 0, shard: 1 });
    assert!(!error.is_permission());
    assert!(error.to_string().contains("before it is bound"), "{error}");
}
