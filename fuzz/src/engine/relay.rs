//! The control core of a script, in worlds whose images have a media node: it answers what the engine wishes when the script says so, or at
//! once, and not always the truth.

use std::collections::VecDeque;

use corelane_core::Input;
use corelane_core::bus::{ExchangeId, MEDIA_REQUEST_MAX, MediaOutcome, MediaReply, MediaRequest};
use memchr::memmem;

use super::compose;
use super::world::World;

/// What each description of an endpoint has in it, and none of a relay.
const ENDPOINT: &[u8] = b"s=endpoint";

/// What the relay says.
const RELAYED: &[u8] = b"v=0\r\ns=relay\r\n";

/// Wishes that are answered at once in one step: each answer may bring others.
const PROMPT_MAX: usize = 64;

/// It.
pub(super) struct Relay {
    /// Each wish is answered at once.
    prompt: bool,
    waits: VecDeque<ExchangeId>,
    last: ExchangeId,
    /// The script has bent a message, or written one itself: what is a description in it is not for sure.
    pub(super) astray: bool,
}

impl Relay {
    pub(super) fn new(prompt: bool) -> Relay {
        Relay { prompt, waits: VecDeque::new(), last: ExchangeId::NOBODY, astray: false }
    }
}

impl World<'_> {
    /// The engine wishes something.
    pub(super) fn wish(&mut self, bytes: &[u8]) {
        let request = MediaRequest::read(bytes).expect("what the engine writes can be read");
        let relay = self.relay.as_mut().expect("nothing is wished where there is no media node");
        if request.exchange != ExchangeId::NOBODY {
            relay.waits.push_back(request.exchange);
        }
    }

    /// The wishes of the last step are answered, where this control core is a prompt one.
    pub(super) fn be_prompt(&mut self) {
        for _ in 0..PROMPT_MAX {
            let Some(relay) = self.relay.as_mut().filter(|relay| relay.prompt) else { return };
            let Some(exchange) = relay.waits.pop_front() else { return };
            self.answer(exchange, MediaOutcome::Done, RELAYED);
        }
    }

    /// The oldest wish is answered, or the newest (`which` 6 and 7), or the last one again (15).
    pub(super) fn reply(&mut self, which: usize) {
        let Some(relay) = &mut self.relay else { return };
        let exchange = match which {
            6 | 7 => relay.waits.pop_back(),
            15 => Some(relay.last),
            _ => relay.waits.pop_front(),
        };
        let Some(exchange) = exchange else { return };
        relay.last = exchange;
        let (outcome, length) = match which {
            8 => (MediaOutcome::Refused, 0),
            9 => (MediaOutcome::NoNode, 0),
            10 | 11 => (MediaOutcome::Failed, 0),
            12 => (MediaOutcome::Done, 0),
            13 => (MediaOutcome::Done, MEDIA_REQUEST_MAX),
            14 => (MediaOutcome::Done, 3_000),
            _ => (MediaOutcome::Done, RELAYED.len()),
        };
        let mut sdp = RELAYED.to_vec();
        sdp.resize(length, b' ');
        self.answer(exchange, outcome, &sdp);
    }

    fn answer(&mut self, exchange: ExchangeId, outcome: MediaOutcome, sdp: &[u8]) {
        self.handle(Input::Media(MediaReply { exchange, outcome, node: 1, sdp }));
    }

    /// I2: no description of an endpoint leaves.
    pub(super) fn look_at_description(&self, bytes: &[u8]) {
        if self.relay.as_ref().is_none_or(|relay| relay.astray) {
            return;
        }
        let method =
            compose::fields(bytes, "CSeq").next().and_then(|cseq| cseq.split(|byte| *byte == b' ').next_back());
        let asks = matches!(method, Some(b"INVITE" | b"UPDATE" | b"PRACK" | b"ACK"));
        // What a refusal describes is neither offer nor answer.
        let refusal = compose::is_response(bytes) && bytes.get(8).is_some_and(|first| *first >= b'3');
        let own = memmem::find(bytes, ENDPOINT).is_some();
        assert!(!(asks && own) || refusal, "an endpoint's own description leaves: {}", bytes.escape_ascii());
    }
}
