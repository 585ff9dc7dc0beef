//! The bake-off of the shard's I/O: CPU per relayed datagram, both backends in the loop that carries calls, interleaved in one
//! run; glommio's own socket beside them.
//!
//! ```text
//!   source thread ──700 bytes, at a rate──► shard (receive, copy into a pool buffer, send) ──► sink socket, never read
//! ```
//!
//! A sink with a full receive buffer drops in the kernel, after the sender has paid for delivery: nobody's wake-up is measured, and the
//! generator needs one core only. CPU is the shard thread's own (`CLOCK_THREAD_CPUTIME_ID`, by way of the protocol, at the first and last
//! datagram of a measurement), so glommio's idle helper threads count for nobody.
//!
//! `cargo run --release -p corelane-shard --example io_bench [-- seconds rounds]`

#![allow(clippy::print_stdout, reason = "the table is the point")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use corelane_core::memory::BufferPool;
use corelane_core::siphash::Key;
use corelane_core::steering::Steering;
use corelane_core::{BufferRef, Counter, Counters, Effect, Effects, Endpoint, Flow, Input, Instant, Now};
use corelane_shard::clock::thread_cpu;
use corelane_shard::{IoKind, Layout, Node, Protocol, SteeringMode};

const SIZE: usize = 700;

/// What a relay's thread tells: datagrams so far, and its CPU in nanoseconds as of the last one counted.
#[derive(Default)]
struct Meter {
    datagrams: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    /// Reads the clock once in 64 datagrams: a few nanoseconds each.
    fn count(&self, datagrams: u64) {
        if datagrams.is_multiple_of(64) {
            self.nanos.store(thread_cpu().as_nanos() as u64, Ordering::Relaxed);
            self.datagrams.store(datagrams, Ordering::Release);
        }
    }

    fn read(&self) -> (u64, u64) {
        (self.datagrams.load(Ordering::Acquire), self.nanos.load(Ordering::Relaxed))
    }
}

/// Sends every datagram on to the sink.
struct Relay {
    pool: BufferPool,
    counters: Counters,
    sink: Endpoint,
    meter: Arc<Meter>,
    datagrams: u64,
}

impl Protocol for Relay {
    fn handle(&mut self, _: Now, input: Input<'_>, effects: &mut Effects) {
        let Input::Datagram { flow, bytes, .. } = input else { return };
        self.datagrams += 1;
        self.meter.count(self.datagrams);
        self.counters.count(Counter::DatagramsIn);
        if let Ok(buffer) = self.pool.store(bytes) {
            effects.push(Effect::Send { flow: Flow { peer: self.sink, ..flow }, buffer });
        }
    }
    fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.pool.bytes(buffer)
    }
    fn release(&mut self, buffer: BufferRef) {
        self.pool.release(buffer);
    }
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
    fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }
}

/// A load: datagrams a second, or as fast as they go.
type Rate = Option<u64>;

/// Sends at the rate, in steps of a millisecond, until told to stop. Leaves the core between the steps.
fn source(target: SocketAddr, rate: Rate, stop: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let datagram = [b'x'; SIZE];
    let start = StdInstant::now();
    let mut sent = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let due = rate.map_or(sent + 64, |rate| (start.elapsed().as_micros() as u64) * rate / 1_000_000);
        while sent < due {
            // A full buffer or a pending error is the relay's affair, and shows in its count.
            let _ = socket.send_to(&datagram, target);
            sent += 1;
        }
        if rate.is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One measurement: datagrams a second that the relay took, and its nanoseconds of CPU for each.
fn measure(target: SocketAddr, meter: &Meter, rate: Rate, seconds: f64) -> (f64, f64) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| source(target, rate, &stop));
        std::thread::sleep(Duration::from_millis(200));
        let (from, before, started) = (meter.read().0, meter.read().1, StdInstant::now());
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let ((to, after), elapsed) = (meter.read(), started.elapsed());
        stop.store(true, Ordering::Relaxed);
        let count = (to - from).max(1) as f64;
        (count / elapsed.as_secs_f64(), (after - before) as f64 / count)
    })
}

fn shard_run(io: IoKind, sink: SocketAddr, rate: Rate, seconds: f64) -> (f64, f64) {
    let meter = Arc::new(Meter::default());
    let layout = Layout {
        shed_in_kernel: false,
        journals: Vec::new(),
        cpus: vec![Some(1)],
        listeners: vec!["127.0.0.1:0".parse().expect("a literal")],
        table: Steering::even(Key::new([0; 16]), 1),
        steering: SteeringMode::Forward,
        io,
    };
    let node = Node::start_with(layout, |_, _| {
        let meter = Arc::clone(&meter);
        move |_| Relay {
            pool: BufferPool::new([16, 256, 16, 16]),
            counters: Counters::default(),
            sink: Endpoint::from(sink),
            meter,
            datagrams: 0,
        }
    })
    .expect("a node on loopback");
    let result = measure(node.local_addresses()[0], &meter, rate, seconds);
    node.stop();
    node.join().expect("a clean end");
    result
}

/// The same relay on glommio's socket: one task, `recv_from` then `send_to`.
fn glommio_run(sink: SocketAddr, rate: Rate, seconds: f64) -> (f64, f64) {
    let meter = Arc::new(Meter::default());
    let shared = Arc::clone(&meter);
    let (tell, address) = std::sync::mpsc::channel();
    let thread = glommio::LocalExecutorBuilder::new(glommio::Placement::Fixed(1))
        .spawn(move || async move {
            let socket = glommio::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
            tell.send(socket.local_addr().expect("bound")).expect("it listens");
            let mut buffer = vec![0; 8192];
            let mut datagrams = 0;
            loop {
                let (length, _) = socket.recv_from(&mut buffer).await.expect("a datagram");
                // An empty datagram ends the run.
                if length == 0 {
                    break;
                }
                datagrams += 1;
                shared.count(datagrams);
                let _ = socket.send_to(&buffer[..length], sink).await;
            }
        })
        .expect("an executor");
    let target = address.recv().expect("it binds");
    let result = measure(target, &meter, rate, seconds);
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], target)).expect("loopback");
    thread.join().expect("a clean end");
    result
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let rounds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let sink = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let to = sink.local_addr().expect("bound");
    println!(
        "{:>10} {:>6} | {:>12} {:>10} | {:>12} {:>10} | {:>12} {:>10}",
        "rate", "round", "mmsg /s", "ns", "ring /s", "ns", "glommio /s", "ns"
    );
    for rate in [Some(20_000), Some(100_000), None] {
        let name = rate.map_or(String::from("saturated"), |rate| rate.to_string());
        let mut sums = [0.0; 3];
        for round in 0..rounds {
            let results = [
                shard_run(IoKind::Mmsg, to, rate, seconds),
                shard_run(IoKind::Ring, to, rate, seconds),
                glommio_run(to, rate, seconds),
            ];
            print!("{name:>10} {round:>6}");
            for ((per_second, nanos), sum) in results.iter().zip(&mut sums) {
                *sum += nanos;
                print!(" | {per_second:>12.0} {nanos:>10.0}");
            }
            println!();
        }
        println!("{name:>10}  ratio | ring / mmsg {:.2} | glommio / mmsg {:.2}", sums[1] / sums[0], sums[2] / sums[0]);
    }
}
