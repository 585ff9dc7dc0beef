//! Floor and generator against each other over loopback: every call ends well, and every datagram is accounted for.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};

use corelane_perf::floor::{Floor, Relayed};
use corelane_perf::load::report::{Datagrams, Failure};
use corelane_perf::load::{self, Plan};

/// A floor on its own thread, stopped when asked for its counts.
struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Relayed>,
}

impl Running {
    fn start(callee: SocketAddr) -> Running {
        let floor = Floor::bind(loopback(0), callee).expect("a free port");
        let address = floor.address().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || floor.run(&seen).expect("loopback relays"));
        Running { address, stop, thread }
    }

    /// Stops it, and wakes it to see that.
    fn stop(self) -> Relayed {
        self.stop.store(true, Ordering::Relaxed);
        let waker = UdpSocket::bind(loopback(0)).expect("a free port");
        waker.send_to(b"", self.address).expect("loopback sends");
        self.thread.join().expect("the floor does not panic")
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// An address for a callee that must be known before it is bound. It is this call's own, so that nobody takes the port in between: its host says
/// which process asks, its port, which the kernel gives to nobody by itself, how often it has asked.
fn address_of_its_own() -> SocketAddr {
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id();
    let host = [127, 1 + ((process >> 16) % 254) as u8, (process >> 8) as u8, process as u8];
    SocketAddr::from((host, 25_060 + ASKED.fetch_add(1, Ordering::Relaxed)))
}

fn plan(target: SocketAddr, callee: SocketAddr) -> Plan {
    Plan {
        target,
        uac_bind: loopback(0),
        uas_bind: callee,
        cps: 500,
        calls: 200,
        ring_ms: 5,
        hold_ms: 5,
        sources: 1,
        number_prefix: "4930".to_owned(),
        number_digits: 7,
        burst_us: 500,
        // Far beyond any pause of a busy machine: a retransmission would spoil the exact counts.
        t1_ms: 20_000,
        late_ms: 60_000,
        pid: None,
        drain_ms: 0,
        relays: Vec::new(),
        slice_ms: 0,
    }
}

#[test]
fn every_call_ends_well_and_takes_seven_datagrams_in_and_out() {
    let callee = address_of_its_own();
    let floor = Running::start(callee);
    let plan = plan(floor.address, callee);
    let report = load::run(&plan).expect("sockets work");
    let relayed = floor.stop();

    let calls = u64::from(plan.calls);
    let tally = &report.tally;
    assert_eq!((tally.started, tally.answered, tally.acknowledged, tally.ok), (200, 200, 200, 200), "{report}");
    assert!(tally.failures.is_empty(), "{report}");
    assert_eq!(
        (tally.retransmitted_in, tally.retransmitted_out, tally.unreadable, tally.strangers),
        (0, 0, 0, 0),
        "{report}"
    );
    let exact = Datagrams { caller_out: 3 * calls, caller_in: 4 * calls, callee_out: 4 * calls, callee_in: 3 * calls };
    assert_eq!(report.datagrams, exact);
    assert_eq!((relayed.datagrams_in, relayed.datagrams_out, relayed.refused), (7 * calls, 7 * calls, 0));
    assert_eq!(report.socket_drops, Some(0));
    assert_eq!(report.refused_sends, 0);
    let latencies = &report.latencies;
    for histogram in [&latencies.trying, &latencies.through, &latencies.ringing, &latencies.bye] {
        assert_eq!(histogram.count(), calls, "each call is in each histogram once");
    }
}

#[test]
fn calls_from_several_sources_end_well_too() {
    let callee = address_of_its_own();
    let floor = Running::start(callee);
    let plan = Plan { sources: 4, calls: 100, ..plan(floor.address, callee) };
    let report = load::run(&plan).expect("sockets work");
    floor.stop();
    assert_eq!(report.tally.ok, 100, "{report}");
    assert_eq!(report.datagrams.caller_in, 400);
}

#[test]
fn a_target_that_is_silent_fails_every_call_and_says_why() {
    let silent = UdpSocket::bind(loopback(0)).expect("a free port");
    let target = silent.local_addr().expect("bound");
    let plan = Plan { calls: 3, t1_ms: 5, ring_ms: 0, ..plan(target, address_of_its_own()) };
    let report = load::run(&plan).expect("sockets work");
    assert_eq!(report.tally.failures.get(&Failure::NoAnswer), Some(&3), "{report}");
    assert_eq!(report.tally.ok, 0);
    assert_eq!(report.tally.failed(), 3);
    assert!(!report.faults().is_empty());
    // RFC 3261 §17.1.1.2: the INVITE and up to six retransmissions within 64 × T1; fewer where the thread was held up.
    assert!(report.tally.retransmitted_out <= 18, "{report}");
    assert_eq!(report.datagrams.caller_out, 3 + report.tally.retransmitted_out);
}
