//! What the engine does for one call, watched message by message: whom it asks, whom it tells that it is over, how long it waits.
//!
//! ```text
//!   INVITE without To tag ──► a gateway      counted; none after 422, 486, 487, 6xx, none when invite_timeout or early_timeout is over
//!   CANCEL ──► a gateway                     no later than ring_timeout after its last 101–199, no later than those two
//!   final  ──► the caller                    no later than 64·T1 after those two; never a gateway's own 503 or 3xx where it is replaced
//!   2xx that comes again                     passed on, as long as the caller has not sent ACK
//!   BYE    ──► each side that stands up      when all is over, nobody is left who talks into the void
//!   record                                   names the gateway that answered, else the last one asked, its carrier, and how many were
//! ```
//!
//! Mutants of the engine that these rules were seen to find: Timer C twenty times as long, `invite_timeout` four times as long, UPDATE
//! that does not renew the session, our BYE to one side or to none, a peer's BYE that is answered and not passed on, a repeated 2xx that
//! is absorbed, a hunt after 486, a 503 that is not replaced, a record without its gateway.

use std::time::Duration;

use corelane_core::call::{CallRecord, EndReason};

use super::exchange::GIVE_UP;
use super::leg::{Dialog, Heard, Stage};
use super::network::{LegIndex, Party, SECOND};
use super::wire::{Branch, Method, branch_text, cseq_method, header, leading_number, read_gateway_tag, tag};
use super::world::World;
use crate::wire::{Message, Start};

/// What the engine did for a call.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen {
    /// The gateways that were asked since the last record, in order: each branch once.
    attempts: Vec<(u8, Vec<u8>)>,
    /// The INVITE whose callee has spoken: nobody else may be asked.
    decided: Option<u32>,
    /// The first 101–199 of any gateway since the last record.
    rang_us: Option<u64>,
    /// The 2xx that went upstream first: its gateway, its tag and its time.
    answer: Option<(u8, Vec<u8>, u64)>,
    /// Gateways of which a 2xx came: a call that a media node could not be had for ends with it, and its record names who answered.
    picked_up: Vec<u8>,
    /// The last 2xx to INVITE or UPDATE, or ACK, that passed; and the last such 2xx behind the first one.
    stood_us: u64,
    renewed_us: Option<u64>,
    /// The longest session interval that a 2xx named, in seconds.
    interval_s: u32,
    /// Who was sent a BYE, in which dialog.
    byes: Vec<(Party, Vec<u8>, Vec<u8>)>,
}

impl Seen {
    /// A record is out: what comes now belongs to another pass, but for the dialogs that are over.
    pub(super) fn close(&mut self) -> Seen {
        let byes = std::mem::take(&mut self.byes);
        let closed = std::mem::take(self);
        self.byes = byes;
        closed
    }
}

/// Of which carrier slots a number's gateways are, see `routes.rs`.
pub(super) fn carriers_of(number: &[u8]) -> &'static [u16] {
    match number.first() {
        Some(b'1') => &[0],
        Some(b'2') => &[1],
        Some(b'3') => &[2],
        Some(b'4') => &[0, 1],
        _ => &[],
    }
}

impl World<'_> {
    /// How late a timer may be: it is noticed late, messages wait for their shard, and a media node may have one of them.
    fn slack(&self) -> u64 {
        let media = if self.plan.media.is_some() { 4 * micros(self.plan.timers.media_timeout) } else { 0 };
        4 * self.plan.late_us + 2 * SECOND + media
    }

    /// When the caller of an INVITE must have been given up at the latest: `invite_timeout`, and once a gateway rang `early_timeout`.
    fn patience(&self, call: u32, trying_us: u64) -> Option<u64> {
        let timers = &self.plan.timers;
        let unanswered = trying_us + micros(timers.invite_timeout);
        let ringing = self.calls[call as usize].seen.rang_us.map(|at| at + micros(timers.early_timeout));
        (trying_us > 0).then(|| unanswered.max(ringing.unwrap_or_default()))
    }

    /// The same, of the INVITE with this CSeq.
    fn patience_of(&self, call: u32, cseq: u32) -> Option<u64> {
        let opens = |client: &&super::leg::Client| {
            client.method == Method::Invite && client.dialog.is_none() && client.cseq == cseq
        };
        let trying_us = self.calls[call as usize].legs[0].clients.iter().find(opens)?.trying_us;
        self.patience(call, trying_us)
    }

    /// A request leaves the engine for a peer of its call.
    pub(super) fn note_conduct(&mut self, party: Party, call: u32, method: Method, message: &Message<'_>) {
        let now = self.now_us;
        let branch = branch_text(message.vias()[0]);
        match (method, party) {
            (Method::Invite, Party::Gateway(number)) if tag(message.to).is_none() => {
                let seen = &mut self.calls[call as usize].seen;
                if !seen.attempts.iter().any(|(_, known)| known == branch) {
                    seen.attempts.push((number, branch.to_vec()));
                    // A copy of the INVITE that comes when Timer L (RFC 6026) has forgotten its 2xx opens another call, and `noack_timeout` may still keep
                    // the first: what is seen is of both.
                    let forgotten = seen.answer.as_ref().is_some_and(|(.., at_us)| now >= at_us + GIVE_UP);
                    self.calls[call as usize].tampered |= forgotten;
                    self.watch_attempt(call, leading_number(message.cseq));
                    self.take_places(call, number);
                }
            }
            (Method::Cancel, Party::Gateway(_)) => self.watch_cancel(call, branch, leading_number(message.cseq)),
            (Method::Bye, _) => {
                let text = |value| tag(value).unwrap_or_default().to_vec();
                self.calls[call as usize].seen.byes.push((party, text(message.to), text(message.from)));
            }
            (Method::Ack, _) => self.calls[call as usize].seen.stood_us = now,
            _ => {}
        }
    }

    fn watch_attempt(&mut self, call: u32, cseq: u32) {
        let (scarce, slack) = (self.is_scarce(), self.slack());
        let overdue = self.patience_of(call, cseq).is_some_and(|until| self.now_us > until + slack);
        if self.calls[call as usize].seen.decided == Some(cseq) && !scarce {
            self.break_promise("another gateway was asked, although the callee had spoken", call);
        } else if overdue && !scarce {
            self.break_promise("another gateway was asked when nobody was to wait any longer", call);
        }
    }

    fn watch_cancel(&mut self, call: u32, branch: &[u8], cseq: u32) {
        let (now, slack) = (self.now_us, self.slack());
        let until = self.patience_of(call, cseq);
        let of_branch = |leg: &&mut super::leg::Leg| {
            leg.servers.first().is_some_and(|server| server.branch == branch) && !leg.heard.cancelled
        };
        let Some(leg) = self.calls[call as usize].legs[1..].iter_mut().find(of_branch) else { return };
        leg.heard.cancelled = true;
        let heard = leg.heard;
        // One that says its first word when it was given up long ago gets its CANCEL then.
        let overdue = until.is_some_and(|until| heard.first_us > 0 && heard.first_us <= until && now > until + slack);
        if overdue && !heard.answer && !self.is_scarce() {
            self.break_promise("a gateway was cancelled long after invite_timeout and early_timeout", call);
        }
        self.watch_timer_c(call, heard);
    }

    /// What a gateway said has been handled.
    pub(super) fn watch_ringing(&mut self, call: u32, heard: Heard, status: u16, ended: bool) {
        if (101..200).contains(&status) {
            self.calls[call as usize].seen.rang_us.get_or_insert(self.now_us);
        }
        if ended && !heard.cancelled {
            self.watch_timer_c(call, heard);
        }
    }

    /// Nobody waits for a gateway that rings longer than `ring_timeout`, counted from its own last 101–199.
    fn watch_timer_c(&mut self, call: u32, heard: Heard) {
        let longest = micros(self.plan.timers.ring_timeout) + self.slack();
        if heard.rang_us > 0 && self.now_us > heard.rang_us + longest && !self.is_unwatched(call) {
            self.break_promise("a gateway rang longer than ring_timeout and was not cancelled", call);
        }
    }

    fn is_unwatched(&self, call: u32) -> bool {
        self.calls[call as usize].tampered || self.is_scarce()
    }

    /// A gateway's final response is about to be handled: some are the callee's own word, and the hunt ends with them.
    pub(super) fn note_verdict(&mut self, from: Party, message: &Message<'_>) {
        let Start::Response(status) = message.start else { return };
        let Some(number) = self.call_of(message).filter(|_| cseq_method(message) == Method::Invite) else { return };
        if (200..300).contains(&status) {
            let seen = &mut self.calls[number as usize].seen;
            let interval = header(message.bytes, b"Session-Expires").map(leading_number);
            seen.interval_s = seen.interval_s.max(interval.unwrap_or_default());
            if let Party::Gateway(gateway) = from {
                seen.picked_up.push(gateway);
            }
        }
        let branch = branch_text(message.vias()[0]);
        let call = &mut self.calls[number as usize];
        let runs = call.seen.attempts.last().is_some_and(|(_, last)| last == branch);
        let first = call.legs[1..].iter().any(|leg| {
            let here = leg.party == from && leg.servers.first().is_some_and(|server| server.branch == branch);
            here && !leg.heard.answer
        });
        if runs && first && matches!(status, 422 | 486 | 487 | 600..=699) {
            call.seen.decided = Some(leading_number(message.cseq));
        }
        if runs && status >= 300 {
            self.leave_gateway(number, false);
        }
    }

    /// The call of a 2xx that came before and went upstream then, whose caller has sent no ACK yet.
    pub(super) fn repeated_answer(&self, message: &Message<'_>) -> Option<u32> {
        let Start::Response(200..300) = message.start else { return None };
        let number = self.call_of(message).filter(|_| cseq_method(message) == Method::Invite)?;
        let call = &self.calls[number as usize];
        let (_, answered, at_us) = call.seen.answer.as_ref()?;
        let (own, other) = (tag(message.from)?, tag(message.to)?);
        let asker = Branch::read(message.vias().get(1)?)?;
        let opens = call.legs[0].clients.get(asker.serial as usize)?;
        let known = call.legs[0].find_dialog(own, other).map(|dialog| &call.legs[0].dialogs[dialog]);
        let acknowledged = known.is_some_and(|dialog| dialog.ack_cseq != 0 || dialog.stage > Stage::Answered);
        // Timer L: the INVITE is forgotten 64·T1 after its 2xx.
        let remembered = self.now_us + self.slack() < at_us + GIVE_UP;
        let owed = other == answered && opens.dialog.is_none() && !acknowledged && remembered;
        (owed && !call.closing && !call.relayed && !self.is_unwatched(number)).then_some(number)
    }

    /// A final response leaves the engine; `before` is what its request had got.
    pub(super) fn watch_final(
        &mut self,
        at: LegIndex,
        message: &Message<'_>,
        (method, status, before): (Method, u16, u16),
        (dialog, trying_us): (Option<u8>, u64),
    ) {
        let now = self.now_us;
        let seen = &mut self.calls[at.call as usize].seen;
        let success = (200..300).contains(&status);
        if success && matches!(method, Method::Invite | Method::Update) {
            seen.stood_us = now;
            if let Some(interval) = header(message.bytes, b"Session-Expires") {
                seen.interval_s = seen.interval_s.max(leading_number(interval));
            }
            if before == 0 && dialog.is_some() && seen.answer.is_some() {
                seen.renewed_us = Some(now);
            }
        }
        if method != Method::Invite || dialog.is_some() {
            return;
        }
        if success {
            self.answers_passed += 1;
            let tag = tag(message.to).unwrap_or_default();
            if let (None, Some((host, ..))) = (&seen.answer, read_gateway_tag(tag)) {
                seen.answer = Some((host, tag.to_vec(), now));
                self.move_place(at.call, host);
            }
        }
        // The engine copies what it does not know: a response with this header is a gateway's.
        let theirs = header(message.bytes, b"X-Order").is_some();
        let Party::Caller(caller) = self.calls[at.call as usize].script.party else { return };
        let slack = self.slack();
        let overdue = self.patience(at.call, trying_us).is_some_and(|until| now > until + GIVE_UP + slack);
        if theirs && status == 503 && self.plan.policy.remap_503 {
            self.break_promise("a gateway's 503 went upstream", at.call);
        } else if theirs && (300..400).contains(&status) && !super::routes::passes_redirects(caller) {
            self.break_promise("a gateway's redirection went upstream", at.call);
        } else if overdue && before == 0 && !self.is_scarce() {
            self.break_promise(
                "a caller was left waiting when invite_timeout and early_timeout were long over",
                at.call,
            );
        }
    }

    /// The gateway, the carrier and the number of attempts of a record are those that the peers saw.
    pub(super) fn watch_facts(&mut self, number: u32, record: &CallRecord, seen: &Seen) {
        let success = (200..300).contains(&record.status);
        let last = seen.attempts.last().map(|(gateway, _)| *gateway);
        let named = record.gateway.and_then(|slot| u8::try_from(slot.0).ok());
        let gateway = match &seen.answer {
            Some((gateway, ..)) if success => Some(*gateway),
            _ => named.filter(|named| seen.picked_up.contains(named)).or(last),
        };
        let called = &self.calls[number as usize].script.number;
        let carrier = match record.carrier {
            Some(carrier) => gateway.is_some() && carriers_of(called).contains(&carrier.0),
            None => gateway.is_none(),
        };
        let what = if usize::from(record.attempts) != seen.attempts.len() {
            format!("a record says {} attempts, and {} were made", record.attempts, seen.attempts.len())
        } else if record.gateway.map(|slot| slot.0) != gateway.map(u16::from) {
            format!("a record says {:?}, and it was gateway {gateway:?}", record.gateway)
        } else if !carrier {
            format!("a record says {:?}, which does not serve this number", record.carrier)
        } else {
            return;
        };
        self.break_promise(&what, number);
    }

    /// Whether a session ended no sooner and no later than its timers say.
    pub(super) fn session_in_time(&self, number: u32, record: &CallRecord, seen: &Seen) -> bool {
        let timers = &self.plan.timers;
        let (lives, min_se) = (micros(timers.default_timeout), micros(timers.min_se));
        let interval = match seen.interval_s {
            0 => micros(timers.session_expires),
            seconds => u64::from(seconds) * SECOND,
        };
        let (now, slack) = (self.now_us, self.slack());
        let (soonest, latest) = match record.reason {
            EndReason::Expired => (lives, lives.max(interval)),
            EndReason::SessionExpired => (min_se, interval.max(min_se)),
            _ => return true,
        };
        let early = seen.renewed_us.is_some_and(|renewed| now + slack < renewed + soonest);
        // RTP may keep it.
        let late = now > seen.stood_us + latest + slack && !self.keeps(number);
        !(early || late)
    }

    /// When all is over: a side that still talks and was never told that it is over.
    pub(super) fn left_up(&self, number: u32) -> Option<String> {
        let call = &self.calls[number as usize];
        for (leg, side) in (0u16..).zip(&call.legs) {
            // A callee without ACK hangs up by itself (RFC 3261 §13.3.1.4).
            let lowest = if leg == 0 { Stage::Answered } else { Stage::Confirmed };
            let told = |dialog: &Dialog| {
                let (own, other) = (tag(&dialog.local), tag(&dialog.remote));
                call.seen.byes.iter().any(|(party, to, from)| {
                    *party == side.party && Some(to.as_slice()) == own && Some(from.as_slice()) == other
                })
            };
            // A re-INVITE of a fork that rang makes no call of an early dialog at the caller, who got no 2xx in it.
            let called = |dialog: &Dialog| leg > 0 || dialog.ack_cseq > 0 || dialog.stage == Stage::Answered;
            let up = |dialog: &&Dialog| dialog.stage >= lowest && dialog.stage < Stage::Over && called(dialog);
            if self.alive(LegIndex { call: number, leg }) && side.dialogs.iter().filter(up).any(|dialog| !told(dialog))
            {
                return Some(format!("{:?} was left in a call that is over: nobody sent it BYE", side.party));
            }
        }
        None
    }
}

fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}
