//! What is promised of media (I2, I9): see `audit.rs` for the rest.
//!
//! * No session description leaves an engine of a call that goes through the relay as its endpoint wrote it, and none is another call's or
//!   another side's.
//! * Nobody answers what was not offered, and nothing is offered once the call's record is out: its delete would never be paid.
//! * Each node that was offered a call is told its end once (`nodes.rs`), and what is wished of a call is wished of its own node (`waits.rs`).

use corelane_core::bus::{ExchangeId, MediaCall, MediaRequest, Verb};
use corelane_core::call::{CallRecord, EndReason};

use super::audit::Fault;
use super::ladder::NO_CALL;
use super::media::Asked;
use super::network::{LegIndex, Party, SECOND};
use super::sdp;
use super::wire::{Method, cseq_method, header, leading_number, read_gateway_tag, tag};
use super::world::World;
use crate::wire::{Message, Start};

impl World<'_> {
    /// A message of a call leaves an engine.
    pub(super) fn watch_description(&mut self, call: u32, message: &Message<'_>) {
        if !self.is_relayed(call) {
            return;
        }
        let (method, speaker) = match message.start {
            Start::Request(name) => (Method::of(name), tag(message.from)),
            Start::Response(101..300) => (cseq_method(message), tag(message.to)),
            Start::Response(_) => return,
        };
        if !matches!(method, Method::Invite | Method::Update | Method::Prack | Method::Ack) {
            return;
        }
        let leg = speaker.and_then(read_gateway_tag).map_or(0, |(_, leg, _)| leg);
        if let Start::Request(_) = message.start {
            self.note_passed_on(LegIndex { call, leg }, method, leading_number(message.cseq));
        }
        let Some(seen) = sdp::find(message.bytes) else { return };
        // What mischief made of its header may be no session description any more.
        let is_one = header(message.bytes, b"Content-Type").is_some_and(is_sdp);
        if !seen.relayed {
            if is_one {
                let what = format!("a {} left with the session description that its endpoint wrote", name(method));
                self.break_promise(&what, call);
            }
            return;
        }
        self.tally.relayed += 1;
        if !self.calls[call as usize].tampered && (seen.of.call, seen.of.leg) != (call, leg) {
            let what = format!("a {} of leg {leg} left with what leg {} wrote", name(method), seen.of.leg);
            self.break_promise(&what, call);
        }
    }

    fn note_passed_on(&mut self, at: LegIndex, method: Method, cseq: u32) {
        let Some(leg) = self.calls[at.call as usize].legs.get_mut(usize::from(at.leg)) else { return };
        let asked = leg.clients.iter_mut().filter(|client| (client.method, client.cseq) == (method, cseq));
        asked.for_each(|client| client.passed_on = true);
    }

    /// A final response leaves: none says that a relay failed that did as it was asked.
    pub(super) fn watch_media_refusal(&mut self, number: u32, status: u16, in_dialog: bool) {
        let call = &self.calls[number as usize];
        if call.tampered || call.lied_to || call.closing || self.is_scarce() {
            return;
        }
        // Gateways of this world refuse so inside a dialog only.
        if status == 488 && !in_dialog || status >= 400 && in_dialog && self.obliged {
            self.break_promise(&format!("{status}, though the media relay did all that was asked of it"), number);
        }
    }

    /// A call has ended: none that did not need a relay ends because of one, and each that offered says so.
    pub(super) fn watch_media_record(&mut self, record: &CallRecord) {
        let call = self.numbers.get(&record.call_hash).copied();
        let owed = self.relay.owed.remove(&MediaCall { call_hash: record.call_hash, pass: record.pass });
        if record.media != owed {
            let what = if owed { "the deletes of a call are owed" } else { "a call offered nothing" };
            self.break_promise(
                &format!("{what}, and its record says media: {}", record.media),
                call.unwrap_or(NO_CALL),
            );
        }
        let ended = MediaCall { call_hash: record.call_hash, pass: record.pass };
        if record.media
            && let Some(id) = self.relay.nodes.end(ended)
        {
            self.break_promise(&format!("node {id} was told twice of the end of a call"), call.unwrap_or(NO_CALL));
        }
        let asked = self.relay.asked.remove(&ended);
        let Some(number) = call else { return };
        self.watch_kept(number, record);
        self.watch_expiry(number, record, asked);
        let call = &self.calls[number as usize];
        if record.reason == EndReason::Lost
            && self.obliged
            && !(call.lied_to || call.closing || call.tampered || self.is_scarce())
        {
            self.break_promise("a call was lost to a media relay that did all that was asked of it", number);
        }
    }

    /// `default_timeout` ends no call of mode `media` that a node hears RTP of, or was not asked about.
    fn watch_expiry(&mut self, number: u32, record: &CallRecord, asked: Option<Asked>) {
        let call = &self.calls[number as usize];
        if !self.keeps(number)
            || record.reason != EndReason::Expired
            || call.tampered
            || call.lied_to
            || self.is_scarce()
        {
            return;
        }
        let lives = self.plan.timers.default_timeout.as_micros() as u64;
        // A refresh may have come just before the answer.
        let young = |heard_us: u64| self.now_us + 5 * SECOND < heard_us + lives;
        let what = match asked {
            None if record.media => "a call expired that no media node was asked about",
            Some(asked) if asked.heard_us.is_some_and(young) => "a call expired whose media node had just heard RTP",
            _ => return,
        };
        self.break_promise(what, number);
    }

    /// Whether a call outlives `default_timeout` while RTP flows.
    pub(super) fn keeps(&self, number: u32) -> bool {
        let Party::Caller(caller) = self.calls[number as usize].script.party else { return false };
        self.plan.media.as_ref().is_some_and(|media| media.keeps(caller))
    }

    /// At the end: each request with a session description that reached an engine was passed on or answered, if only when media_timeout
    /// was over.
    pub(super) fn audit_media_end(&self) -> Result<(), Fault> {
        if let Some(owed) = self.relay.owed.iter().next() {
            let call = self.numbers.get(&owed.call_hash).copied().unwrap_or(NO_CALL);
            return Err(Fault::new("a call offered something and never ended: its deletes stay owed", call));
        }
        if let Some((what, call)) = self.relay.nodes.audit_end() {
            return Err(Fault::new(what, self.number_of(call)));
        }
        for (number, call) in (0u32..).zip(&self.calls) {
            // A gateway that the image no longer knows is told nothing about a dialog that is over.
            let told = if self.plan.swap_every.is_some() && (call.closing || !call.open) { 1 } else { call.legs.len() };
            let mut clients = call.legs.iter().take(told).flat_map(|leg| &leg.clients);
            let asked = |client: &super::leg::Client| client.offers && client.method != Method::Invite;
            if clients.any(|client| asked(client) && client.reached && !client.answered && !client.passed_on)
                && call.relayed
                && !(call.direct || call.tampered)
                && !self.is_scarce()
            {
                return Err(Fault::new(
                    "a request with a session description was neither passed on nor answered",
                    number,
                ));
            }
        }
        Ok(())
    }

    /// The engine asks something of a media node.
    pub(super) fn watch_wish(&mut self, request: &MediaRequest<'_>, call: u32) {
        let asks = matches!(request.verb, Verb::Offer | Verb::Answer);
        let owed = self.relay.owed.contains(&request.call);
        let over = self.settled.contains(&(request.call.call_hash, request.call.pass));
        let nobody = request.exchange == ExchangeId::NOBODY;
        let what = if over {
            Some("was wished for a call that has ended")
        } else if asks && (nobody || request.sdp.is_empty()) {
            Some("is about nothing or for nobody")
        } else if request.verb != Verb::Offer && !owed {
            Some("was wished for a call that offered nothing")
        } else {
            None
        };
        if let Some(what) = what {
            return self.break_promise(&format!("{:?}: {what}", request.verb), call);
        }
        if call == NO_CALL || self.calls[call as usize].tampered {
            return;
        }
        if request.verb == Verb::Query && !self.keeps(call) {
            self.break_promise("a call of mode hard was asked about", call);
        }
        if !asks {
            return;
        }
        if sdp::find(request.sdp).is_none_or(|seen| seen.relayed || seen.of.call != call) {
            let what = format!("{:?}: of a session description that no endpoint of the call wrote", request.verb);
            self.break_promise(&what, call);
        } else if request.attempt == 0 || request.from_tag.is_empty() {
            self.break_promise("a media node was asked for no attempt or for nobody's offer", call);
        }
    }
}

/// Whether a Content-Type is that of a session description: `application/sdp4` is another one.
fn is_sdp(kind: &[u8]) -> bool {
    let rest = kind.strip_prefix(b"application/sdp");
    rest.is_some_and(|rest| rest.first().is_none_or(|next| matches!(next, b';' | b' ' | b'\t')))
}

fn name(method: Method) -> String {
    String::from_utf8_lossy(method.name()).into_owned()
}
