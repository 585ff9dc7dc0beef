//! Who waits for a media node: that a call stays with the node which has its session, that nobody waits for ever, and that who is
//! refused for want of a node learns it at once and when to come again (SPEC §3 *Refusals*, §5).

use std::collections::{BTreeMap, HashMap};

use corelane_core::Counter;
use corelane_core::bus::{ExchangeId, MediaCall, MediaOutcome, MediaRequest, Verb};
use corelane_core::call::{CallRecord, EndReason};

use super::ladder::NO_CALL;
use super::leg::{Client, Dialog, Leg, Server, Stage, Waits as Await};
use super::network::{LegIndex, SECOND};
use super::wire::{Method, tag};
use super::world::World;

/// A wish that was not answered.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Wait {
    call: u32,
    /// The INVITE of the caller that is held for it, where it is one that opens the call.
    invite: Option<u16>,
    since_us: u64,
}

/// All that wait, and where the sessions are.
#[derive(Default)]
pub(super) struct Waits {
    /// By shard and exchange.
    waits: BTreeMap<(u8, u32, u32), Wait>,
    /// The node of each call that has one.
    pins: HashMap<MediaCall, u32>,
    /// An answer that is being handled: whose session it is, and where.
    pub(super) settling: Option<(MediaCall, u32)>,
    /// Calls to which nothing had happened before the engine hung them up in this step.
    hung_up: Vec<u32>,
}

/// What a shard counts of its waits.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct MediaCounts {
    /// Answers for which nobody waited any more.
    pub(super) late: u64,
    /// Waits that were given up.
    pub(super) given_up: u64,
}

fn key(shard: u8, exchange: ExchangeId) -> (u8, u32, u32) {
    (shard, exchange.index, exchange.generation)
}

impl World<'_> {
    /// The call of a session.
    pub(super) fn number_of(&self, call: MediaCall) -> u32 {
        self.numbers.get(&call.call_hash).copied().unwrap_or(NO_CALL)
    }

    /// The engine wishes something: of the node that has the session, and of no other one.
    pub(super) fn note_wait(&mut self, shard: u8, request: &MediaRequest<'_>, call: u32) {
        let pin = self.waits.pins.get(&request.call).copied().unwrap_or_default();
        if request.node != pin {
            let what = format!("{:?}: of node {}, and the session is at {pin}", request.verb, request.node);
            self.break_promise(&what, call);
        }
        if request.exchange == ExchangeId::NOBODY {
            return;
        }
        let opens = request.verb == Verb::Offer && request.to_tag.is_empty();
        let invite = self.calls.get(call as usize).filter(|_| opens).and_then(|call| {
            let open = |client: &Client| client.method == Method::Invite && client.dialog.is_none();
            let last = call.legs[0].clients.iter().rposition(open)?;
            (call.legs[0].clients[last].final_status == 0).then_some(last as u16)
        });
        let wait = Wait { call, invite, since_us: self.now_us };
        self.waits.waits.insert(key(shard, request.exchange), wait);
    }

    /// The engine takes an answer to a wait, or nobody waits for it any more.
    pub(super) fn end_wait(&mut self, shard: u8, exchange: ExchangeId) -> Option<Wait> {
        self.waits.waits.remove(&key(shard, exchange))
    }

    /// An input was handled. Where it was an answer that somebody waited for, its node has the session from now on.
    pub(super) fn settle_pin(&mut self, heard: bool) {
        self.waits.hung_up.clear();
        if let Some((call, node)) = self.waits.settling.take()
            && heard
            && node != 0
        {
            self.waits.pins.insert(call, node);
        }
    }

    /// An answer has been handled: who was refused a node was told so in the same step.
    pub(super) fn watch_answered(&mut self, wait: Wait, outcome: MediaOutcome, before: u16) {
        let Some(invite) = wait.invite.filter(|_| before == 0) else { return };
        let none = matches!(outcome, MediaOutcome::NoNode | MediaOutcome::Failed);
        let in_time = self.now_us < wait.since_us + self.media_timeout();
        if !none || !in_time || self.is_scarce() || self.calls[wait.call as usize].tampered {
            return;
        }
        let client = &self.leg(LegIndex { call: wait.call, leg: 0 }).clients[usize::from(invite)];
        let (status, retry_after) = (client.final_status, client.retry_after);
        if status != 503 || !retry_after {
            let what = format!("no node for a new call, and its caller got {status}, Retry-After {retry_after}");
            self.break_promise(&what, wait.call);
        }
    }

    /// What the INVITE of a wait got so far.
    pub(super) fn status_of(&mut self, wait: Wait) -> u16 {
        let Some(invite) = wait.invite else { return 0 };
        self.leg(LegIndex { call: wait.call, leg: 0 }).clients[usize::from(invite)].final_status
    }

    fn media_timeout(&self) -> u64 {
        self.plan.timers.media_timeout.as_micros() as u64
    }

    /// Nobody waits longer than `media_timeout`: for the offer, and for the answer of a gateway that was given up and answers after all.
    pub(super) fn audit_waits(&mut self) {
        let longest = 2 * self.media_timeout() + 4 * self.plan.late_us + 2 * SECOND;
        let now = self.now_us;
        let overdue = |wait: &Wait| now > wait.since_us + longest;
        let mut forgotten = None;
        for wait in self.waits.waits.values().copied().filter(overdue) {
            let call = self.calls.get(wait.call as usize).filter(|call| !call.tampered);
            let unanswered = wait.invite.zip(call).is_some_and(|(invite, call)| {
                let client = &call.legs[0].clients[usize::from(invite)];
                client.reached && client.final_status == 0
            });
            forgotten = forgotten.or(unanswered.then_some(wait.call));
        }
        self.waits.waits.retain(|_, wait| !overdue(wait));
        if let Some(call) = forgotten.filter(|_| !self.is_scarce()) {
            self.break_promise("a caller waits for a media node and media_timeout is over", call);
        }
    }

    /// The engine has sent a BYE, by which the call may rightly be over from the next step on.
    pub(super) fn note_bye(&mut self, call: u32) {
        if !std::mem::replace(&mut self.calls[call as usize].closing, true) {
            self.waits.hung_up.push(call);
        }
    }

    /// Whether both sides of a call have confirmed one dialog, and nothing had happened before this step by which it may end. A re-INVITE may
    /// come to its end while the ACK that opens the call is still held: then the call does not stand yet.
    fn stood(&self, number: u32) -> bool {
        let Some(call) = self.calls.get(number as usize).filter(|call| !call.tampered) else { return false };
        if call.closing && !self.waits.hung_up.contains(&number) {
            return false;
        }
        let (caller, gateways) = call.legs.split_at(1);
        let acknowledged = gateways.iter().filter(|leg| {
            let opening = leg.servers.first().map(|server| (server.method, server.cseq));
            let waits = |server: &Server| Some((server.method, server.cseq)) == opening && server.waits == Await::Ack;
            !leg.servers.iter().any(waits)
        });
        let theirs: Vec<&Dialog> = acknowledged.flat_map(confirmed).collect();
        confirmed(&caller[0]).any(|ours| {
            let same =
                |theirs: &Dialog| tag(&theirs.local) == tag(&ours.remote) && tag(&theirs.remote) == tag(&ours.local);
            theirs.iter().any(|theirs| same(theirs))
        })
    }

    /// A call ended. Where the step was about media nodes it is not one that stood (docs/media.md: keep the call); its own timers may be due
    /// in the same one, and an operator's order that takes many steps.
    pub(super) fn watch_kept(&mut self, number: u32, record: &CallRecord) {
        let own = matches!(
            record.reason,
            EndReason::Expired | EndReason::SessionExpired | EndReason::Unacknowledged | EndReason::HungUp
        );
        if self.about_media && !own && !self.is_scarce() && self.stood(number) {
            self.break_promise("a call in progress was ended because of a media node", number);
        }
    }

    /// What a shard counts of its waits, where it has a relay.
    pub(super) fn media_counts(&mut self, shard: usize) -> MediaCounts {
        if self.plan.media.is_none() {
            return MediaCounts::default();
        }
        let counters = self.nodes[shard].engine.counters();
        MediaCounts { late: counters.value(Counter::MediaLate), given_up: counters.value(Counter::MediaTimeouts) }
    }
}

/// The dialogs that a side has confirmed.
fn confirmed(leg: &Leg) -> impl Iterator<Item = &Dialog> {
    leg.dialogs.iter().filter(|dialog| dialog.stage == Stage::Confirmed)
}
