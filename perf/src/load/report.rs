//! What a run counted, and whether it may be quoted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::caller::Latencies;
use super::series::Series;
use crate::kernel::UdpErrors;

/// Why a call failed.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// No final answer to the INVITE.
    NoAnswer,
    /// The INVITE got this final status, 3xx–6xx.
    Refused(u16),
    /// A 2xx with a Via left over, without a To tag or without a Contact.
    BadAnswer,
    /// The callee's 200 was never acknowledged; the caller may hold the call for good.
    NoAck,
    /// No answer to the BYE.
    ByeNoAnswer,
    /// The BYE got this status.
    ByeRefused(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoAnswer => out.write_str("INVITE without answer"),
            Failure::Refused(status) => write!(out, "INVITE answered {status}"),
            Failure::BadAnswer => out.write_str("2xx that no endpoint can use"),
            Failure::NoAck => out.write_str("200 without ACK"),
            Failure::ByeNoAnswer => out.write_str("BYE without answer"),
            Failure::ByeRefused(status) => write!(out, "BYE answered {status}"),
        }
    }
}

/// A call that got 500 when its callee had been told a relay: if that relay is the one that failed, nobody else could carry the call any
/// more, because its callee sends there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct HalfAgreed {
    /// The relay's place in the plan.
    pub relay: usize,
    /// When the 500 came, from the start of the run.
    pub at: Duration,
}

/// Counts of both ends.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Calls whose INVITE went out.
    pub started: u32,
    /// Calls that got a usable 2xx.
    pub answered: u32,
    /// Calls whose first ACK reached the callee.
    pub acknowledged: u32,
    /// Calls that ended with 200 to the BYE.
    pub ok: u32,
    /// Everything else, by kind.
    pub failures: BTreeMap<Failure, u32>,
    /// Those of `failures` that got 500 between offer and answer.
    pub half_agreed: Vec<HalfAgreed>,
    /// Messages that an end sent again because no answer came.
    pub retransmitted_out: u64,
    /// Messages that came again.
    pub retransmitted_in: u64,
    /// Datagrams that do not scan.
    pub unreadable: u64,
    /// SDPs that arrived and name no relay of the plan.
    pub unrelayed: u64,
    /// Messages of no call of this run, or of a kind that the end does not expect.
    pub strangers: u64,
}

impl Tally {
    /// Calls that started and did not end well. A call may appear under several kinds in `failures`.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.started - self.ok
    }

    /// Failures by kind, without the calls between offer and answer that `excused` names.
    #[must_use]
    pub fn failures_but(&self, excused: impl Fn(&HalfAgreed) -> bool) -> BTreeMap<Failure, u32> {
        let mut failures = self.failures.clone();
        let excused = self.half_agreed.iter().filter(|call| excused(call)).count() as u32;
        if let Some(count) = failures.get_mut(&Failure::Refused(500)) {
            *count -= excused;
        }
        failures.retain(|_, count| *count > 0);
        failures
    }
}

/// Datagrams on the wire, by end and direction.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Datagrams {
    /// Sent by the caller.
    pub caller_out: u64,
    /// Received by the caller.
    pub caller_in: u64,
    /// Sent by the callee.
    pub callee_out: u64,
    /// Received by the callee.
    pub callee_in: u64,
}

/// CPU time of the system under test.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct TargetCpu {
    /// From before the first call to the end of the drain, per call: everything, deferred work included.
    pub per_call: Duration,
    /// In the steady middle half of the calls, per call started in it; `None` when the run was too short.
    pub steady_per_call: Option<Duration>,
    /// Share of one CPU in that window, in percent.
    pub steady_percent: Option<u32>,
}

/// A finished run.
#[derive(Clone)]
pub struct Report {
    /// Calls per second of the plan.
    pub cps: u32,
    /// Counts.
    pub tally: Tally,
    /// Datagrams.
    pub datagrams: Datagrams,
    /// Latencies.
    pub latencies: Latencies,
    /// The same by slices of time, where the plan asks for them.
    pub series: Series,
    /// From the first to the last INVITE.
    pub offered: Duration,
    /// The generator's own CPU time per call, both ends.
    pub generator_per_call: Duration,
    /// How late the latest call started.
    pub late_max: Duration,
    /// How late a call may start.
    pub late_limit: Duration,
    /// Sends that the kernel refused.
    pub refused_sends: u64,
    /// Drops in the whole network namespace during the run.
    pub errors: UdpErrors,
    /// Drops of the generator's and the target's own sockets during the run; `None` when a socket could not be found.
    pub socket_drops: Option<u64>,
    /// CPU time of the target, where its process is known.
    pub target: Option<TargetCpu>,
}

impl Report {
    /// Whether the generator fell behind its own schedule.
    #[must_use]
    pub fn saturated(&self) -> bool {
        self.late_max > self.late_limit
    }

    /// Calls per second that were really started.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let seconds = self.offered.as_secs_f64();
        if seconds > 0.0 { (f64::from(self.tally.started.saturating_sub(1)) / seconds).round() as u32 } else { 0 }
    }

    /// Everything that keeps this run from being a figure; empty when it may be quoted.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.faults_but(|_| false)
    }

    /// [`Report::faults`], without those calls.
    #[must_use]
    pub fn faults_but(&self, excused: impl Fn(&HalfAgreed) -> bool) -> Vec<String> {
        let mut faults = Vec::new();
        if self.errors != UdpErrors::default() {
            let UdpErrors { receive_buffer, in_errors, send_buffer } = self.errors;
            faults.push(format!(
                "the kernel dropped datagrams (RcvbufErrors {receive_buffer}, InErrors {in_errors}, SndbufErrors {send_buffer}; \
                 whole machine)"
            ));
        }
        match self.socket_drops {
            None => faults.push("a socket of the run is missing in /proc/net/udp: its drops are unknown".to_owned()),
            Some(0) => {}
            Some(drops) => faults.push(format!("{drops} datagrams were dropped at the sockets of the run")),
        }
        if self.saturated() {
            faults.push(format!("the generator was saturated: a call started {} ms late", self.late_max.as_millis()));
        }
        if self.tally.unrelayed > 0 {
            faults.push(format!("{} SDPs arrived that name no relay", self.tally.unrelayed));
        }
        if self.refused_sends > 0 {
            faults.push(format!("the kernel refused {} sends of the generator", self.refused_sends));
        }
        let declined = self.tally.half_agreed.iter().filter(|call| excused(call)).count() as u32;
        for (failure, count) in self.tally.failures_but(excused) {
            faults.push(format!("{count} calls: {failure}"));
        }
        // The target acknowledges itself what it then ends.
        let answered = self.tally.answered;
        if !(answered..=answered + declined).contains(&self.tally.acknowledged) {
            faults.push(format!("{} of {} answers were acknowledged", self.tally.acknowledged, self.tally.answered));
        }
        faults
    }
}

/// Microseconds with one decimal.
#[must_use]
pub fn micros(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64() * 1e6)
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { started, answered, ok, retransmitted_out, retransmitted_in, unreadable, strangers, .. } =
            self.tally;
        writeln!(out, "calls         started {started}, answered {answered}, ok {ok}, failed {}", self.tally.failed())?;
        writeln!(
            out,
            "rate          {} calls/s of {} planned, latest start {} µs late",
            self.rate(),
            self.cps,
            micros(self.late_max)
        )?;
        let Datagrams { caller_out, caller_in, callee_out, callee_in } = self.datagrams;
        writeln!(out, "datagrams     caller {caller_out} out {caller_in} in, callee {callee_out} out {callee_in} in")?;
        writeln!(
            out,
            "again         {retransmitted_out} out, {retransmitted_in} in; unreadable {unreadable}, strangers {strangers}"
        )?;
        writeln!(out, "INVITE-100    {}", self.latencies.trying)?;
        writeln!(out, "INVITE-INVITE {}", self.latencies.through)?;
        writeln!(out, "INVITE-180    {}", self.latencies.ringing)?;
        writeln!(out, "BYE-200       {}", self.latencies.bye)?;
        writeln!(out, "generator     {} µs CPU per call, both ends", micros(self.generator_per_call))?;
        if let Some(target) = self.target {
            write!(out, "target        {} µs CPU per call", micros(target.per_call))?;
            if let (Some(steady), Some(percent)) = (target.steady_per_call, target.steady_percent) {
                write!(out, "; steady {} µs at {percent} % of a CPU", micros(steady))?;
            }
            writeln!(out)?;
        }
        for fault in self.faults() {
            writeln!(out, "FAULT         {fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Failure, HalfAgreed, Tally};

    #[test]
    fn only_the_calls_that_are_named_are_excused() {
        let call = |relay, ms| HalfAgreed { relay, at: Duration::from_millis(ms) };
        let tally = Tally {
            failures: BTreeMap::from([(Failure::Refused(500), 3), (Failure::NoAck, 1)]),
            half_agreed: vec![call(0, 10), call(0, 30), call(1, 30)],
            ..Tally::default()
        };
        let left = |excused: &dyn Fn(&HalfAgreed) -> bool| tally.failures_but(excused);
        assert_eq!(left(&|_| false), tally.failures);
        assert_eq!(left(&|call| call.relay == 0)[&Failure::Refused(500)], 1);
        assert_eq!(left(&|_| true), BTreeMap::from([(Failure::NoAck, 1)]));
    }
}
