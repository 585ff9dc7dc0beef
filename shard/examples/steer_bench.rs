//! What steering costs per datagram: the kernel's program against the same function in user space.
//!
//! `cargo run --release -p corelane-shard --example steer_bench` (as root; `--listing` prints the program instead).
//!
//! The kernel counts each run and its time while this runs. Its own part of a run (two readings of the clock, the call) is measured by a
//! program that does nothing, in the same rounds, and taken off.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use corelane_core::siphash::Key;
use corelane_core::steering::Steering;
use corelane_shard::steer::{self, Measuring, ProgramInfo, SteerError};
use socket2::{Domain, Protocol, Socket, Type};

const ROUNDS: usize = 5;
const DATAGRAMS: usize = 20_000;
const SHARDS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steering = Steering::even(Key::new(*b"a secret of test"), SHARDS as u8);
    if std::env::args().any(|argument| argument == "--listing") {
        print(&steer::listing(&steering));
        return Ok(());
    }
    let nothing_group = group(1)?;
    let steered_group = group(SHARDS)?;
    let nothing = steer::attach_nothing(nothing_group[0].as_fd())?;
    let start = Instant::now();
    let steered = steer::attach(&steering, &[steered_group.iter().map(AsFd::as_fd).collect()])?;
    let attach_time = start.elapsed();
    let info = steered.info()?[0];
    print(&format!(
        "attached in {attach_time:.0?}, verifier walked {} instructions, machine code {} bytes\n\n\
         | message | Call-ID | kernel ns | of it empty program | program ns | user space ns |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        info.verified_instructions, info.jited_bytes
    ));
    let _measuring = Measuring::start()?;
    for size in [300, 700, 1400] {
        for late in [false, true] {
            let message = message(size, late);
            let (mut empty, mut full, mut user) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                empty.push(per_run(&nothing_group, &message, || nothing.info())?);
                full.push(per_run(&steered_group, &message, || Ok(steered.info()?[0]))?);
                user.push(in_user_space(&steering, &message));
            }
            let (empty, full, user) = (median(empty), median(full), median(user));
            let place = if late { "last line" } else { "third line" };
            print(&format!("| {size} | {place} | {full:.0} | {empty:.0} | **{:.0}** | {user:.0} |\n", full - empty));
        }
    }
    Ok(())
}

/// To standard output, which this example exists for.
#[expect(clippy::print_stdout, reason = "an example that prints a table")]
fn print(text: &str) {
    print!("{text}");
}

fn group(shards: usize) -> std::io::Result<Vec<UdpSocket>> {
    let mut address = (Ipv4Addr::LOCALHOST, 0).into();
    (0..shards)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&std::net::SocketAddr::into(address))?;
            let socket = UdpSocket::from(socket);
            address = socket.local_addr()?;
            Ok(socket)
        })
        .collect()
}

/// Time of a run in ns, over [`DATAGRAMS`] runs.
fn per_run(
    group: &[UdpSocket],
    message: &[u8],
    info: impl Fn() -> Result<ProgramInfo, SteerError>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = group[0].local_addr()?;
    let mut buffer = [0; 2048];
    let before = info()?;
    for sent in 0..DATAGRAMS {
        sender.send_to(message, address)?;
        if sent % 16 == 15 {
            for socket in group {
                while socket.recv(&mut buffer).is_ok() {}
            }
        }
    }
    let after = info()?;
    let runs = after.runs - before.runs;
    assert!(runs >= DATAGRAMS as u64, "the kernel counted {runs} of {DATAGRAMS} runs");
    Ok((after.run_time_ns - before.run_time_ns) as f64 / runs as f64)
}

fn in_user_space(steering: &Steering, message: &[u8]) -> f64 {
    let start = Instant::now();
    for _ in 0..DATAGRAMS {
        let slot = steering.slot_of_datagram(std::hint::black_box(message));
        std::hint::black_box(slot.map(|slot| steering.owner(slot)));
    }
    start.elapsed().as_nanos() as f64 / DATAGRAMS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An INVITE of `size` bytes with its Call-ID in the third line or the last.
fn message(size: usize, late: bool) -> Vec<u8> {
    let call_id = "Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\n";
    let mut head = String::from(
        "INVITE sip:+4930123456@192.0.2.10 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n",
    );
    if !late {
        head.push_str(call_id);
    }
    let tail = if late { call_id } else { "" };
    let mut number = 0;
    while head.len() + tail.len() + 2 < size {
        let room = size - head.len() - tail.len() - 2;
        let line = format!("Contact: <sip:alice-{number}@192.0.2.1:5060>\r\n");
        number += 1;
        head.push_str(if room >= line.len() + 4 { &line } else { break });
    }
    let room = size.saturating_sub(head.len() + tail.len() + 2);
    if room >= 4 {
        head.push_str(&format!("X:{}\r\n", "x".repeat(room - 4)));
    }
    format!("{head}{tail}\r\n").into_bytes()
}
