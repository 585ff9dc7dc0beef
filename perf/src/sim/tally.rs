//! What a run met, so that a green one shows that it met everything.

use std::fmt;
use std::ops::AddAssign;

use corelane_core::call::{CallRecord, EndReason};

/// How calls end.
const ENDS: [(EndReason, &str); 10] = [
    (EndReason::Refused, "refused"),
    (EndReason::Cancelled, "cancelled"),
    (EndReason::Unanswered, "unanswered"),
    (EndReason::ByCaller, "by the caller"),
    (EndReason::ByCallee, "by the callee"),
    (EndReason::Unacknowledged, "unacknowledged"),
    (EndReason::Expired, "expired"),
    (EndReason::SessionExpired, "session expired"),
    (EndReason::Lost, "lost"),
    (EndReason::HungUp, "hung up"),
];

/// Counts over one or more worlds.
#[derive(Clone, Default, Debug)]
pub(super) struct Tally {
    pub(super) worlds: u64,
    pub(super) calls: u64,
    pub(super) unborn: u64,
    pub(super) simulated_us: u64,
    pub(super) steps: u64,
    pub(super) audits: u64,
    pub(super) datagrams: u64,
    pub(super) lost: u64,
    pub(super) unreachable: u64,
    pub(super) crashes: u64,
    pub(super) vanished: u64,
    pub(super) swaps: u64,
    pub(super) mischief: u64,
    pub(super) noise: u64,
    pub(super) commands: u64,
    pub(super) attempts: u64,
    /// What was wished of media nodes, what of that was not just done, how often nothing was.
    pub(super) wishes: u64,
    pub(super) lies: u64,
    /// Of those, whether RTP flows.
    pub(super) queries: u64,
    pub(super) freezes: u64,
    /// Media nodes that went down.
    pub(super) nodes_lost: u64,
    /// Session descriptions that left an engine and were a relay's.
    pub(super) relayed: u64,
    /// First final responses to opening INVITEs, by class.
    pub(super) finals: [u64; 7],
    pub(super) records: u64,
    /// Of those, the answered ones; and by how they ended, as [`ENDS`] has it.
    pub(super) answered: u64,
    pub(super) ends: [u64; ENDS.len()],
    pub(super) refused_for_room: u64,
    pub(super) handed_over: u64,
    /// Shares that a shard that sheds asked for, and what was dropped for it.
    pub(super) shares: u64,
    pub(super) shed: u64,
}

impl Tally {
    /// A call has ended.
    pub(super) fn note_end(&mut self, record: &CallRecord) {
        self.records += 1;
        self.answered += u64::from(record.answered.is_some());
        if let Some(place) = ENDS.iter().position(|(reason, _)| *reason == record.reason) {
            self.ends[place] += 1;
        }
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        self.worlds += other.worlds;
        self.calls += other.calls;
        self.unborn += other.unborn;
        self.simulated_us += other.simulated_us;
        self.steps += other.steps;
        self.audits += other.audits;
        self.datagrams += other.datagrams;
        self.lost += other.lost;
        self.unreachable += other.unreachable;
        self.crashes += other.crashes;
        self.vanished += other.vanished;
        self.swaps += other.swaps;
        self.mischief += other.mischief;
        self.noise += other.noise;
        self.commands += other.commands;
        self.attempts += other.attempts;
        self.wishes += other.wishes;
        self.lies += other.lies;
        self.queries += other.queries;
        self.freezes += other.freezes;
        self.nodes_lost += other.nodes_lost;
        self.relayed += other.relayed;
        for (sum, more) in self.finals.iter_mut().zip(other.finals) {
            *sum += more;
        }
        self.records += other.records;
        self.answered += other.answered;
        for (sum, more) in self.ends.iter_mut().zip(other.ends) {
            *sum += more;
        }
        self.refused_for_room += other.refused_for_room;
        self.handed_over += other.handed_over;
        self.shares += other.shares;
        self.shed += other.shed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.simulated_us / super::network::SECOND;
        writeln!(out, "worlds       {}, {seconds} simulated seconds", self.worlds)?;
        writeln!(
            out,
            "calls        {}, {} at the engine, each ended once, {} gateways tried",
            self.calls - self.unborn,
            self.records,
            self.attempts
        )?;
        let share = |count: u64| 100 * count / self.records.max(1);
        write!(out, "ends         {} % answered;", share(self.answered))?;
        for ((_, name), count) in ENDS.iter().zip(self.ends) {
            write!(out, " {name} {count}")?;
        }
        writeln!(out)?;
        let [_, _, success, redirect, client, server, global] = self.finals;
        writeln!(out, "answers      2xx {success}, 3xx {redirect}, 4xx {client}, 5xx {server}, 6xx {global}")?;
        writeln!(
            out,
            "media        {} wishes, {} of them at default_timeout, {} lies, {} freezes, {} nodes lost, {} messages relayed",
            self.wishes, self.queries, self.lies, self.freezes, self.nodes_lost, self.relayed
        )?;
        writeln!(
            out,
            "datagrams    {}, {} lost, {} handed over, {} shed before the socket by {} shares",
            self.datagrams, self.lost, self.handed_over, self.shed, self.shares
        )?;
        writeln!(
            out,
            "faults       {} crashes, {} vanished, {} unreachable, {} mutilated, {} noise, {} images, {} commands, {} times full",
            self.crashes,
            self.vanished,
            self.unreachable,
            self.mischief,
            self.noise,
            self.swaps,
            self.commands,
            self.refused_for_room
        )?;
        writeln!(out, "checked      {} steps, {} audits", self.steps, self.audits)
    }
}
