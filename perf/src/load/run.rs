//! The generator's loop: wait, receive, fire, start, send.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Plan;
use super::callee::CalleeSide;
use super::caller::CallerSide;
use super::pace::Pace;
use super::report::{Datagrams, Report, Tally, TargetCpu};
use crate::floor::SOCKET_BUFFER;
use crate::kernel::{self, UdpErrors};
use crate::sys::process::thread_cpu;
use crate::sys::udp::{self, Address, Inbox, Outbox, Part, Wait};

/// Calls started before the sockets are looked at again, so that a late schedule does not flood the target at once.
const STARTS_MAX: usize = 32;

/// Datagrams of more bytes than this are cut; a call's largest is about 1,200 behind a proxy.
const DATAGRAM_MAX: usize = 4096;

/// Datagrams that wait to leave by one socket.
#[derive(Default)]
pub struct Out {
    arena: Vec<u8>,
    outbox: Outbox,
    sent: u64,
    refused: u64,
}

impl Out {
    /// Adds a datagram that `write` appends.
    pub fn send(&mut self, to: Address, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.outbox.push(Part { head: b"", body: start..self.arena.len(), to });
    }

    fn flush(&mut self, socket: &UdpSocket) {
        if self.outbox.is_empty() {
            return;
        }
        let count = self.outbox.len() as u64;
        let refused = self.outbox.flush(socket, &self.arena) as u64;
        self.arena.clear();
        self.sent += count - refused;
        self.refused += refused;
    }
}

/// The target's CPU time at the four points where it is looked at.
#[derive(Default)]
struct Samples {
    before: Option<Duration>,
    steady: [Option<(Duration, Instant, u32)>; 2],
}

struct Generator {
    /// The callers' sockets, the callee's last.
    sockets: Vec<UdpSocket>,
    outs: Vec<Out>,
    received: Vec<u64>,
    inbox: Inbox,
    caller: CallerSide,
    callee: CalleeSide,
    tally: Tally,
    origin: Instant,
}

/// Runs a plan to its end: every call answered for, then the drain.
///
/// # Errors
/// A socket that cannot be bound, or one that fails.
pub fn run(plan: &Plan) -> io::Result<Report> {
    let mut sockets = Vec::new();
    for source in 0..plan.sources {
        let mut bind = plan.uac_bind;
        if bind.port() != 0 {
            bind.set_port(bind.port().saturating_add(source));
        }
        sockets.push(UdpSocket::bind(bind)?);
    }
    sockets.push(UdpSocket::bind(plan.uas_bind)?);
    let mut locals: Vec<SocketAddr> = Vec::new();
    for socket in &sockets {
        udp::set_buffers(socket, SOCKET_BUFFER)?;
        locals.push(socket.local_addr()?);
    }
    let watched: Vec<SocketAddr> = locals.iter().copied().chain([plan.target]).collect();
    let (Some(callee_at), callers_at) = (locals.pop(), locals) else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    // Different from run to run, so that late messages of an earlier run are strangers.
    let id = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u32);

    let mut generator = Generator {
        outs: sockets.iter().map(|_| Out::default()).collect(),
        received: vec![0; sockets.len()],
        sockets,
        inbox: Inbox::new(DATAGRAM_MAX),
        caller: CallerSide::new(plan, id, &callers_at),
        callee: CalleeSide::new(plan, id, callee_at),
        tally: Tally::default(),
        origin: Instant::now(),
    };
    let errors_before = UdpErrors::now();
    let drops_before = kernel::socket_drops(&watched);
    let mut samples = Samples { before: plan.pid.and_then(kernel::process_cpu), ..Samples::default() };
    let own_before = thread_cpu();
    generator.origin = Instant::now();
    generator.caller.series.origin = generator.origin;
    let (late_max_ns, offered) = generator.place_all(plan, &mut samples)?;
    let generator_cpu = thread_cpu().saturating_sub(own_before);

    thread::sleep(Duration::from_millis(plan.drain_ms));
    let target = target_cpu(plan, &samples);
    let drops = kernel::socket_drops(&watched).zip(drops_before).map(|(after, before)| after.saturating_sub(before));
    let callee = generator.outs.len() - 1;
    let sent = |outs: &[Out]| outs.iter().map(|out| out.sent).sum();
    Ok(Report {
        cps: plan.cps,
        datagrams: Datagrams {
            caller_out: sent(&generator.outs[..callee]),
            caller_in: generator.received[..callee].iter().sum(),
            callee_out: sent(&generator.outs[callee..]),
            callee_in: generator.received[callee],
        },
        refused_sends: generator.outs.iter().map(|out| out.refused).sum(),
        tally: generator.tally,
        latencies: generator.caller.latencies,
        series: generator.caller.series,
        offered,
        generator_per_call: generator_cpu / plan.calls.max(1),
        late_max: Duration::from_nanos(late_max_ns),
        late_limit: Duration::from_millis(plan.late_ms),
        errors: UdpErrors::now().since(errors_before),
        socket_drops: drops,
        target,
    })
}

fn target_cpu(plan: &Plan, samples: &Samples) -> Option<TargetCpu> {
    let after = kernel::process_cpu(plan.pid?)?;
    let per_call = after.saturating_sub(samples.before?) / plan.calls;
    let mut target = TargetCpu { per_call, steady_per_call: None, steady_percent: None };
    if let [Some((cpu_from, at_from, from)), Some((cpu_to, at_to, to))] = samples.steady
        && to > from
        && at_to > at_from
    {
        let spent = cpu_to.saturating_sub(cpu_from);
        target.steady_per_call = Some(spent / (to - from));
        target.steady_percent = Some((spent.as_secs_f64() / (at_to - at_from).as_secs_f64() * 100.0).round() as u32);
    }
    Some(target)
}

impl Generator {
    /// Places all calls and waits for their ends. Returns how late the latest started, and first to last start.
    fn place_all(&mut self, plan: &Plan, samples: &mut Samples) -> io::Result<(u64, Duration)> {
        let mut pace = Pace::new(plan.cps, plan.calls, plan.burst_us * 1000);
        let (mut late_max, mut first_start, mut last_start) = (0, None, 0);
        let marks = [plan.calls / 4, plan.calls / 4 * 3];
        loop {
            let mut now = self.now();
            for _ in 0..STARTS_MAX {
                let Some((number, late)) = pace.start(now) else { break };
                let callers = self.sockets.len() - 1;
                self.caller.start(now, number, &mut self.outs[..callers], &mut self.tally);
                late_max = late_max.max(late);
                first_start.get_or_insert(now);
                last_start = now;
            }
            self.run_due(now);
            self.flush();
            for (mark, sample) in marks.iter().zip(&mut samples.steady) {
                if sample.is_none()
                    && pace.started() >= *mark
                    && let Some(spent) = plan.pid.and_then(kernel::process_cpu)
                {
                    *sample = Some((spent, Instant::now(), pace.started()));
                }
            }
            let next = [pace.next(), self.caller.next(), self.callee.next()];
            let over = pace.next().is_none() && self.caller.live() == 0 && self.callee.live() == 0;
            if over {
                return Ok((late_max, Duration::from_nanos(last_start - first_start.unwrap_or(last_start))));
            }
            now = self.now();
            let wake = next.into_iter().flatten().min().unwrap_or(now);
            let ready = udp::wait_any(&self.sockets, Duration::from_nanos(wake.saturating_sub(now)))?;
            self.receive(ready)?;
        }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn run_due(&mut self, now: u64) {
        let callers = self.sockets.len() - 1;
        let (caller_outs, callee_out) = self.outs.split_at_mut(callers);
        self.caller.run_due(now, caller_outs, &mut self.tally);
        self.callee.run_due(now, &mut callee_out[0], &mut self.tally);
    }

    fn flush(&mut self) {
        for (out, socket) in self.outs.iter_mut().zip(&self.sockets) {
            out.flush(socket);
        }
    }

    /// Takes one batch from each ready socket.
    fn receive(&mut self, ready: u64) -> io::Result<()> {
        let callers = self.sockets.len() - 1;
        for (place, socket) in self.sockets.iter().enumerate() {
            if ready & 1 << place == 0 {
                continue;
            }
            let count = self.inbox.receive(socket, Wait::Never)?;
            let now = self.origin.elapsed().as_nanos() as u64;
            self.received[place] += count as u64;
            let (caller_outs, callee_out) = self.outs.split_at_mut(callers);
            for datagram in 0..count {
                let bytes = self.inbox.datagram(datagram);
                if place < callers {
                    self.caller.receive(now, bytes, caller_outs, &mut self.tally);
                } else {
                    let from = self.inbox.source(datagram);
                    let arrived = self.callee.receive(now, bytes, from, &mut callee_out[0], &mut self.tally);
                    if let Some(arrival) = arrived {
                        self.caller.arrived(now, arrival);
                    }
                }
            }
        }
        Ok(())
    }
}
