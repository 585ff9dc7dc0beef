//! What a shard wishes, for as long as it takes: its request, kept once, and what has become of it.

use corelane_core::Instant;
use corelane_core::bus::{MediaRequest, Verb};

/// A request that owns its texts. What was agreed on stays in this form with the call: nothing is copied again.
#[derive(Debug)]
pub(super) struct Request {
    /// All but the texts.
    head: MediaRequest<'static>,
    /// From-tag, to-tag, flags and SDP in one piece.
    texts: Box<[u8]>,
    /// Where each of them ends.
    ends: [usize; 4],
}

impl Request {
    pub(super) fn new(request: &MediaRequest<'_>) -> Request {
        let MediaRequest { exchange, call, started_us, since_us, set, node, verb, attempt, .. } = *request;
        let texts = [request.from_tag, request.to_tag, request.flags, request.sdp];
        let mut end = 0;
        let ends = texts.map(|text| {
            end += text.len();
            end
        });
        let none = b"";
        let head = MediaRequest {
            exchange,
            call,
            started_us,
            since_us,
            set,
            node,
            verb,
            attempt,
            from_tag: none,
            to_tag: none,
            flags: none,
            sdp: none,
        };
        Request { head, texts: texts.concat().into(), ends }
    }

    /// Bytes of its texts.
    pub(super) fn size(&self) -> usize {
        self.texts.len()
    }

    /// The request as it came.
    pub(super) fn view(&self) -> MediaRequest<'_> {
        let [from_tag, to_tag, flags, sdp] = self.ends;
        MediaRequest {
            from_tag: &self.texts[..from_tag],
            to_tag: &self.texts[from_tag..to_tag],
            flags: &self.texts[to_tag..flags],
            sdp: &self.texts[flags..sdp],
            ..self.head
        }
    }
}

/// A shard's wish.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) shard: u16,
    pub(super) request: Request,
    /// Until when any node may do it.
    pub(super) deadline: Instant,
    /// Nodes that were tried.
    pub(super) tried: Vec<u32>,
    /// Which part of a `Restore` or `Choose` is under way.
    pub(super) replay: Option<Part>,
    /// This question put the record of its session.
    pub(super) fresh: bool,
}

/// A `Restore` plays the agreed pair again, and behind it the offer that still waits for its answer. A `Choose` plays the pair of its fork, or what that
/// one has offered since with the answer that it had.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Offer,
    Answer,
    Open,
}

impl Wish {
    pub(super) fn new(shard: u16, request: &MediaRequest<'_>, deadline: Instant) -> Wish {
        let replay = matches!(request.verb, Verb::Restore | Verb::Choose).then_some(Part::Offer);
        Wish { shard, request: Request::new(request), deadline, tried: Vec::new(), replay, fresh: false }
    }

    /// Whether any node will do: for an offer of which no node knows more than earlier attempts. A delayed offer has both tags and no node yet.
    pub(super) fn may_move(&self) -> bool {
        let request = self.request.view();
        request.verb == Verb::Offer && (request.to_tag.is_empty() || request.node == 0)
    }
}
