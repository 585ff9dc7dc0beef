//! What is promised of media (I2, I9): see `audit.rs` for the rest.
//!
//! * No session description leaves an engine of a call that goes through the relay as its endpoint wrote it, and none is another call's or
//!   another side's.
//! * Nobody answers what was not offered, and nothing is offered once the call's record is out: its delete would never be paid.

use corelane_core::bus::{ExchangeId, MediaRequest, Verb};

use super::ladder::NO_CALL;
use super::sdp;
use super::wire::{Method, cseq_method, header, read_gateway_tag, tag};
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
        let Some(seen) = sdp::find(message.bytes) else { return };
        // What mischief made of its header may be no session description any more.
        let is_one = header(message.bytes, b"Content-Type").is_some_and(|kind| kind.starts_with(b"application/sdp"));
        if !seen.relayed {
            if is_one {
                let what = format!("a {} left with the session description that its endpoint wrote", name(method));
                self.break_promise(&what, call);
            }
            return;
        }
        self.tally.relayed += 1;
        let leg = speaker.and_then(read_gateway_tag).map_or(0, |(_, leg, _)| leg);
        if !self.calls[call as usize].tampered && (seen.of.call, seen.of.leg) != (call, leg) {
            let what = format!("a {} of leg {leg} left with what leg {} wrote", name(method), seen.of.leg);
            self.break_promise(&what, call);
        }
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
        if !asks || call == NO_CALL || self.calls[call as usize].tampered {
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

fn name(method: Method) -> String {
    String::from_utf8_lossy(method.name()).into_owned()
}
