//! What must hold: the ledger after each step, the audit each second, what is promised to the peers with each message, and
//! nothing left at the end.

use std::fmt;
use std::time::Duration;

use corelane_core::call::{CallRecord, EndReason};
use corelane_core::engine::UnknownSource;
use corelane_core::{Counter, Flow};

use super::exchange::{ACK_SERIAL, GIVE_UP};
use super::ladder::NO_CALL;
use super::leg::Stage;
use super::network::{LegIndex, Party, SECOND};
use super::plan::Scarce;
use super::wire::{Branch, Method, branch_text, cseq_method, header, leading_number, read_gateway_tag, tag};
use super::world::{Cause, World};
use crate::wire::{Message, Start};

/// Something that must not happen did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) what: String,
    /// The call whose ladder explains it.
    pub(super) call: u32,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, call: u32) -> Fault {
        Fault { what: what.into(), call }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

/// How long before its `default_timeout` a call is no longer promised to be there: messages are under way, timers late.
const MARGIN: u64 = 30 * SECOND;

/// The gauges that are 0 when all is over.
const GAUGES: [Counter; 7] = [
    Counter::CallsLive,
    Counter::CallRecordsLive,
    Counter::ServerTransactionsLive,
    Counter::ClientTransactionsLive,
    Counter::ExchangesLive,
    Counter::BuffersLive,
    Counter::TimersLive,
];

impl World<'_> {
    /// Notes what broke first.
    pub(super) fn break_promise(&mut self, what: &str, call: u32) {
        if self.fault.is_none() {
            self.fault = Some(Fault::new(what, call));
        }
    }

    /// What is taken is given back or live.
    pub(super) fn audit_ledger(&mut self, shard: usize) {
        let engine = &mut self.nodes[shard].engine;
        let counters = engine.counters();
        let value = |counter| counters.value(counter);
        let (started, ended, records) =
            (value(Counter::CallsStarted), value(Counter::CallsEnded), value(Counter::CallRecordsLive));
        let unrelayed = value(Counter::Unrelayed);
        // A call that was hung up keeps its record for a while.
        if started < ended || started - ended > records || engine.ledger().iter().any(|line| !line.balances()) {
            self.break_promise("the ledger does not balance", self.last_call);
        }
        if unrelayed > 0 {
            self.break_promise("a message came to its writer without having been to a media node", self.last_call);
        }
    }

    /// The engine's own audit, for each shard.
    pub(super) fn audit_all(&mut self) -> Result<(), Fault> {
        self.tally.audits += 1;
        self.audit_waits();
        for (shard, node) in (0u8..).zip(&self.nodes) {
            if let Err(broken) = node.engine.audit(self.network.in_flight(shard)) {
                let call = broken.call_hash.and_then(|hash| self.numbers.get(&hash).copied()).unwrap_or(self.last_call);
                return Err(Fault::new(format!("shard {shard}: {broken}"), call));
            }
        }
        let mut holds = [0; 3];
        for held in self.nodes.iter().map(|node| node.engine.holds()) {
            holds = [holds[0] + held[0], holds[1] + held[1], holds[2] + held[2]];
        }
        if holds != self.caps.held() {
            let what = format!("calls hold {holds:?} of caps that count {:?}", self.caps.held());
            return Err(Fault::new(what, self.last_call));
        }
        Ok(())
    }

    /// The facts of a call that ended are those that its peers saw.
    pub(super) fn watch_record(&mut self, number: u32, record: &CallRecord) {
        self.tally.attempts += u64::from(record.attempts);
        let done = self.calls[number as usize].seen.close();
        let call = &self.calls[number as usize];
        if call.tampered || self.is_scarce() {
            return;
        }
        self.watch_facts(number, record, &done);
        let call = &self.calls[number as usize];
        let of = |method: Method| call.legs[0].clients.iter().filter(move |client| client.method == method);
        let asked = |legs: &[super::leg::Leg]| {
            legs.iter().flat_map(|leg| &leg.clients).any(|client| client.method == Method::Bye)
        };
        let success = (200..300).contains(&record.status);
        let seen = of(Method::Invite)
            .filter(|client| client.dialog.is_none())
            .flat_map(|client| [client.final_status, client.last_status])
            .any(|status| status == record.status || success && (200..300).contains(&status));
        let fits = match record.reason {
            EndReason::Refused | EndReason::Unanswered => !success,
            EndReason::Cancelled => !success && of(Method::Cancel).count() > 0,
            EndReason::ByCaller => success && asked(&call.legs[..1]),
            EndReason::ByCallee => success && asked(&call.legs[1..]),
            EndReason::Unacknowledged | EndReason::Expired | EndReason::SessionExpired | EndReason::Lost => success,
            EndReason::HungUp => self.plan.command_every.is_some(),
        };
        // From the first INVITE to now there was no more time, and a redirection brings candidates once.
        let began = call.legs[0].clients.first().map_or(self.now_us, |client| client.give_up_at - GIVE_UP);
        let possible = record.duration.as_micros() <= u128::from(self.now_us - began)
            && usize::from(record.attempts) <= 2 * corelane_core::limits::CANDIDATES_MAX;
        if !possible {
            self.break_promise("a record says more than can have happened", number);
        } else if !self.in_time(record, began) || !self.session_in_time(number, record, &done) {
            self.break_promise(
                &format!("a call ended at another time than that of its timers: {:?}", record.reason),
                number,
            );
        } else if !seen {
            self.break_promise(&format!("a record says {}, which the caller was never sent", record.status), number);
        } else if !fits || record.answered.is_some() != success {
            self.break_promise(&format!("a record says {:?}, which nobody did", record.reason), number);
        }
    }

    /// A gateway's response to an INVITE of the engine has been handled.
    pub(super) fn watch_progress(&mut self, from: Party, status: u16, message: &Message<'_>) {
        let (now, branch) = (self.now_us, branch_text(message.vias()[0]));
        let asked = |leg: &&mut super::leg::Leg| {
            leg.party == from && leg.servers.first().is_some_and(|server| server.branch == branch)
        };
        if let Some(leg) = self.calls[message.call as usize].legs[1..].iter_mut().find(asked) {
            leg.heard.first_us = if leg.heard.first_us == 0 { now } else { leg.heard.first_us };
            if (101..200).contains(&status) && !leg.heard.answer && !leg.heard.cancelled {
                leg.heard.rang_us = now;
            }
            // Later than Timer B nobody waits for a first response any more.
            leg.heard.progress |= status < 200 && now < leg.heard.began_us + GIVE_UP / 2;
            let ended = status >= 200 && !leg.heard.answer;
            leg.heard.answer |= ended;
            let heard = leg.heard;
            self.watch_ringing(message.call, heard, status, ended);
        }
    }

    /// Whether a timer that ended a call was due, and whether one that should have ended it did.
    fn in_time(&self, record: &CallRecord, began: u64) -> bool {
        let timers = &self.plan.timers;
        // Each timer is noticed so late at most; messages travel, and the caller repeats his INVITE until one gets through.
        let late = Duration::from_micros(4 * self.plan.late_us) + Duration::from_secs(2);
        let patience = Duration::from_micros(GIVE_UP);
        match record.reason {
            EndReason::Unacknowledged => {
                (timers.noack_timeout..=timers.noack_timeout + late).contains(&record.duration)
            }
            EndReason::Expired => record.duration >= timers.default_timeout,
            EndReason::Refused | EndReason::Cancelled | EndReason::Unanswered => {
                // A second INVITE, with credentials, begins when the first has ended.
                let longest = timers.invite_timeout + timers.early_timeout + 3 * patience + late;
                Duration::from_micros(self.now_us - began) <= 2 * longest
            }
            _ => true,
        }
    }

    /// The shard that owns it has handled a request of an endpoint, and sent something or not.
    pub(super) fn watch_handled(&mut self, from: Party, cause: Cause, spoke: bool) {
        let (scarce, relayed) = (self.is_scarce(), self.calls[cause.at.call as usize].relayed);
        let call = &mut self.calls[cause.at.call as usize];
        // What a media node is asked about goes on when it has answered; an INVITE gets its 100 at once.
        let asked = relayed
            && cause.described
            && (cause.serial >= ACK_SERIAL
                || call.legs[usize::from(cause.at.leg)]
                    .clients
                    .get(cause.serial as usize)
                    .is_some_and(|client| client.dialog.is_some()));
        let strict = !(spoke || scarce || call.tampered || asked);
        let closing = call.closing;
        if cause.method == Method::Ack {
            // That of a refusal ends here; that of a 2xx goes on to the other side.
            if strict && !closing && cause.serial >= ACK_SERIAL {
                self.break_promise("an ACK within a standing dialog was not passed on", cause.at.call);
            }
            return;
        }
        let client = call.legs[usize::from(cause.at.leg)].clients.get_mut(cause.serial as usize);
        let Some(client) = client.filter(|client| client.method == cause.method) else { return };
        let first = !std::mem::replace(&mut client.reached, true);
        // A gateway that the image no longer knows is told nothing about a dialog that is over.
        if first && strict && (matches!(from, Party::Caller(_)) || !closing) {
            self.break_promise("a request was met with silence", cause.at.call);
        }
    }

    /// A datagram leaves the engine. Says who gets it.
    pub(super) fn watch(&mut self, flow: Flow, message: Option<&Message<'_>>, call: u32) -> Option<Party> {
        let party = Party::at(flow.peer).filter(|party| self.exists(*party));
        let Some(party) = party else {
            self.break_promise("a datagram was sent to an address that is nobody's", call);
            return None;
        };
        let message = message?;
        if call != NO_CALL {
            self.watch_description(call, message);
        }
        if let Party::Stranger(_) = party {
            // Who repeats a message of a call holds its tokens or its branch, and is answered like who wrote it.
            let copied = call != NO_CALL && self.calls[call as usize].tampered;
            let forbidden = message.start == Start::Response(403);
            if !(copied || forbidden && self.plan.unknown_source == UnknownSource::Forbid) {
                self.break_promise("a stranger was sent something else than 403", call);
            }
            return Some(party);
        }
        if call == NO_CALL {
            return Some(party);
        }
        if !self.calls[call as usize].tampered {
            if flow.peer != party.endpoint() {
                self.break_promise("a datagram was sent to a port where nobody listens", call);
            }
            match message.start {
                Start::Response(status) => {
                    self.watch_order(party, call, message);
                    self.watch_response(party, call, status, message);
                }
                Start::Request(name) => self.watch_request(party, call, Method::of(name), message),
            }
        }
        Some(party)
    }

    fn watch_response(&mut self, party: Party, call: u32, status: u16, message: &Message<'_>) {
        let branch = Branch::read(message.vias()[0]).filter(|branch| branch.call == call);
        let legs = &self.calls[call as usize].legs;
        let Some(branch) =
            branch.filter(|branch| legs.get(usize::from(branch.leg)).is_some_and(|leg| leg.party == party))
        else {
            return self.break_promise("a response was sent whose Via is not the receiver's", call);
        };
        let at = LegIndex { call, leg: branch.leg };
        let method = cseq_method(message);
        let cseq = leading_number(message.cseq);
        let now = self.now_us;
        let clients = &mut self.leg(at).clients;
        let mut of_method = clients.iter_mut().enumerate().filter(|(index, client)| {
            let ours = *index == branch.serial as usize || method == Method::Cancel;
            ours && client.method == method && client.cseq == cseq
        });
        let Some((index, client)) = of_method.next() else {
            return self.break_promise("a response was sent to a request that was never made", call);
        };
        client.answered = true;
        if status < 200 {
            if status == 100 {
                if client.final_status == 0 && client.trying_us == 0 {
                    client.trying_us = now;
                }
                // Also of one that was refused without state before, as while it drained.
                self.calls[call as usize].open = true;
            }
            return;
        }
        let (before, opens) = (client.final_status, client.dialog.is_none() && method == Method::Invite);
        client.final_status = if before == 0 { status } else { before };
        client.last_status = status;
        let told_to_wait = header(message.bytes, b"Retry-After").is_some();
        client.retry_after |= before == 0 && told_to_wait;
        let (dialog, late, trying_us) = (client.dialog, now >= client.give_up_at, client.trying_us);
        self.watch_final(at, message, (method, status, before), (dialog, trying_us));
        self.watch_media_refusal(call, status, dialog.is_some());
        // SPEC §3 *Refusals*: a peer shuns who says so, and a call in progress is not to suffer.
        if dialog.is_some() && told_to_wait && !self.is_scarce() {
            return self.break_promise("a request inside a dialog was refused with Retry-After", call);
        }
        let success = |status: u16| (200..300).contains(&status);
        let differs = before != 0 && before != status && !(success(before) && success(status));
        // A stateless refusal for want of room is forgotten at once: the INVITE that comes again is another one.
        let stateless = |status| status == 503 || told_to_wait;
        // So is the answer to a CANCEL that overtook its INVITE: when it comes again, there is something to cancel.
        let overtook = method == Method::Cancel && before == 481;
        // And whether a request of no dialog learns so depends on the image, which may have changed in between.
        let unknown = |status| matches!(status, 403 | 481);
        let overtook = overtook || !opens && unknown(before) && unknown(status);
        // Who asks again at the end of his own patience may find that ours has just ended (RFC 3261 §17.1.1.2, Timer B; RFC 6026, L).
        let overtook = overtook || late;
        if differs && !overtook && !self.is_scarce() && !(opens && (stateless(before) || stateless(status))) {
            return self
                .break_promise(&format!("one transaction got two final responses, {before} and {status}"), call);
        }
        if opens && before == 0 {
            self.tally.finals[usize::from(status / 100)] += 1;
        }
        let own = self.cause.is_some_and(|cause| (cause.at, cause.serial, cause.method) == (at, index as u32, method));
        if let Some(dialog) = dialog.filter(|_| own && before == 0 && status >= 400) {
            self.watch_refusal(at, dialog, status);
        }
    }

    /// The engine itself refused a request inside a dialog.
    fn watch_refusal(&mut self, at: LegIndex, dialog: u8, status: u16) {
        let now = self.now_us;
        let lives = self.plan.timers.default_timeout.as_micros() as u64;
        let call = &self.calls[at.call as usize];
        let found = &call.legs[usize::from(at.leg)].dialogs[usize::from(dialog)];
        let (own, other) = (tag(&found.local).unwrap_or_default(), tag(&found.remote).unwrap_or_default());
        // Confirmed on both sides, and not long ago.
        let elsewhere = call.legs.iter().flat_map(|leg| &leg.dialogs).any(|dialog| {
            let same = tag(&dialog.local) == Some(other) && tag(&dialog.remote) == Some(own);
            same && dialog.stage == Stage::Confirmed
        });
        let young = now < found.confirmed_at + lives.saturating_sub(MARGIN);
        if found.stage == Stage::Confirmed && elsewhere && young && !call.closing && !self.is_scarce() {
            self.break_promise(&format!("a request inside a standing dialog was refused with {status}"), at.call);
        }
    }

    fn watch_request(&mut self, party: Party, call: u32, method: Method, message: &Message<'_>) {
        let to = tag(message.to);
        let right = match (party, to.and_then(read_gateway_tag), to) {
            (Party::Gateway(number), Some((host, ..)), _) => host == number,
            (Party::Gateway(_), None, None) => true,
            (Party::Caller(_), None, Some(_)) => party == self.calls[call as usize].script.party,
            _ => false,
        };
        if !right {
            return self.break_promise("a request was sent to another peer than that of its dialog", call);
        }
        if memchr::memmem::find(message.bytes, b"\r\nRoute: <sip:10.0.").is_some() {
            return self.break_promise("a request left with our own Route in it", call);
        }
        self.note_conduct(party, call, method, message);
        if method == Method::Bye {
            self.note_bye(call);
        }
    }

    /// Whether records of all kinds are few, so that only the books are promised.
    pub(super) fn is_scarce(&self) -> bool {
        self.plan.scarce == Scarce::Everything
    }

    /// All is over: nothing is left, and nobody was forgotten.
    pub(super) fn audit_end(&mut self) -> Result<(), Fault> {
        for gauge in GAUGES {
            let left = self.count(gauge);
            if left > 0 {
                return Err(Fault::new(format!("{left} left of {gauge:?} when all is over"), self.last_call));
            }
        }
        if self.caps.held() != [0; 3] {
            return Err(Fault::new(format!("caps held when all is over: {:?}", self.caps.held()), self.last_call));
        }
        if self.count(Counter::CallsEnded) != self.tally.records {
            return Err(Fault::new("not each call that ended gave one record", self.last_call));
        }
        if self.count(Counter::CallsStarted) != self.count(Counter::CallsEnded) {
            return Err(Fault::new("not each call that started has ended", self.last_call));
        }
        self.audit_media_end()?;
        if self.is_scarce() {
            return Ok(());
        }
        for (number, call) in (0u32..).zip(&self.calls) {
            if call.tampered {
                continue;
            }
            if let Some(what) = self.left_up(number) {
                return Err(Fault::new(what, number));
            }
            let rings_on = |leg: &super::leg::Leg| leg.heard.progress && !leg.heard.answer && !leg.heard.cancelled;
            if call.legs[1..].iter().any(rings_on) {
                return Err(Fault::new("a gateway was left ringing, neither answered nor cancelled", number));
            }
            let opening = |client: &&super::leg::Client| client.method == Method::Invite && client.dialog.is_none();
            for client in call.legs[0].clients.iter().filter(opening).filter(|client| client.reached) {
                if !client.answered {
                    return Err(Fault::new("an INVITE arrived and was never answered", number));
                }
                if client.final_status == 0 {
                    return Err(Fault::new("an INVITE never got a final response", number));
                }
            }
        }
        Ok(())
    }
}
