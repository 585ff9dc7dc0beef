//! Offers and answers go through a media node before they go on (I2, SPEC §5, docs/adr/0006-media-control.md).
//!
//! ```text
//!   INVITE ─────► offer.rs ────┐ held by its server transaction          ┌► hunt.rs: to the gateway
//!   1xx, 2xx ───► answer.rs ───┤                                         ├► response.rs: upstream
//!   re-INVITE,                 ├─► exchange.rs: a record, Effect::Media ─┤
//!   UPDATE, PRACK,             │   … Input::Media, or media_timeout      ├► dialog.rs: to the other side
//!   ACK ────────► inside.rs ───┘ held in a buffer                        └► refused: 488, 503, 500 with ACK and BYE
//!   default_timeout ─► query.rs ─► no message is held                     ─► calls.rs: it starts again, or the call ends
//! ```
//!
//! `forks.rs` says which of a call's early dialogs a PRACK or a 2xx is about, `undo.rs` takes back what was refused.
//!
//! A message that comes back is written again with the relay's SDP, read, and goes on where it was held, `relayed`. Only [`Engine`]'s
//! writers of forwarded messages ask for that mark, and only `resume` and the hunt set it. Nothing here waits: no node's silence delays
//! a message without SDP, of the same call or of another one.

mod answer;
mod exchange;
mod forks;
mod inside;
mod offer;
mod query;
mod undo;

use arrayvec::ArrayVec;

use super::records::ClientRef;
use super::{Engine, Turn};
use crate::bus::{ExchangeId, MediaCall, MediaRequest, Verb};
use crate::call::media::{Media, State as Figure};
use crate::call::{Call, CallRef};
use crate::counter::Counter;
use crate::limits::MEDIA_FLAGS_MAX;
use crate::memory::{BufferRef, Full, Resource};
use crate::message::{Body, Message, Writer, find_sdp, write_with_sdp, write_without_body};
use crate::routing::{Candidate, Provider};

pub(crate) use exchange::{Exchange, ExchangeRef};

/// Flags for a node: those of the provider, those of the gateway.
type Flags = ArrayVec<u8, MEDIA_FLAGS_MAX>;

/// What a message goes on with.
#[derive(Copy, Clone)]
enum Given<'g> {
    /// What a node just gave.
    Sdp(&'g [u8]),
    /// What one gave before.
    Kept(BufferRef),
    /// No body.
    Nothing,
}

/// A wish to the node of a call.
struct Ask<'a> {
    verb: Verb,
    attempt: u8,
    /// The gateway, where it is not that of the call.
    candidate: Option<Candidate>,
    /// Tag of who sent the offer.
    from_tag: &'a [u8],
    /// Tag of the other side; empty while it is not known.
    to_tag: &'a [u8],
    sdp: &'a [u8],
}

impl Engine {
    /// The media of a new call: through a node as soon as there is one, whatever the provider says (I2).
    #[inline]
    pub(crate) fn media_of(&self, turn: &Turn<'_>, provider: &Provider<'_>) -> Option<Media> {
        let wanted = provider.media_set.is_some() || turn.image.has_media();
        wanted.then(|| Media::new(provider.media_set.unwrap_or(0)))
    }

    /// I2 at the writers of forwarded messages: no SDP leaves that did not come back from a node.
    ///
    /// # Errors
    /// [`Resource::Exchanges`] for a message that may not leave.
    #[cold]
    pub(crate) fn refuse_unrelayed(&mut self, message: &Message<'_>) -> Result<(), Full> {
        if !carries_sdp(message) {
            return Ok(());
        }
        #[cfg(feature = "canary")]
        if self.lets_pass() {
            return Ok(());
        }
        self.counters.count(Counter::Unrelayed);
        Err(Full(Resource::Exchanges))
    }

    /// Hands a wish to the control core.
    fn ask(&mut self, turn: &mut Turn<'_>, at: CallRef, exchange: ExchangeId, ask: &Ask<'_>) -> Result<(), Full> {
        let Some(call) = self.calls.find(at) else { return Err(Full(Resource::Calls)) };
        let Some(media) = &call.media else { return Err(Full(Resource::Exchanges)) };
        let flags = flags(turn, call, ask.candidate);
        let request = MediaRequest {
            exchange,
            call: MediaCall { call_hash: call.call_hash, pass: call.pass },
            started_us: call.started.0,
            since_us: match ask.verb {
                Verb::Query => turn.now.wall.0.saturating_sub(self.settings.timers.media_idle.as_micros() as u64),
                _ => 0,
            },
            set: media.set,
            node: media.node,
            verb: ask.verb,
            attempt: ask.attempt,
            from_tag: ask.from_tag,
            to_tag: ask.to_tag,
            flags: &flags,
            sdp: ask.sdp,
        };
        let estimate = 64 + ask.from_tag.len() + ask.to_tag.len() + flags.len() + ask.sdp.len();
        let buffer = self.compose(estimate, |writer| request.write(writer))?;
        self.counters.count(Counter::MediaAsked);
        turn.effects.push(super::Effect::Media { buffer });
        if let Some(media) = self.calls.find_mut(at).and_then(|call| call.media.as_mut()) {
            let owes = !media.owed && ask.verb == Verb::Offer;
            media.owed |= owes;
            self.debts.acquired += u64::from(owes);
        }
        Ok(())
    }

    /// Hands a wish over that nobody waits for: of a call that ends anyway it is not missed. Of one that has ended there is nothing to wish:
    /// the deletes of its record are under way.
    fn tell(&mut self, turn: &mut Turn<'_>, at: CallRef, ask: &Ask<'_>) {
        let asked = self.calls.find(at).and_then(|call| call.media.as_ref()).is_some_and(|media| media.owed);
        if asked && self.speaks(at) {
            // Without a buffer it is not said; the delete of the whole call covers it.
            let _ = self.ask(turn, at, ExchangeId::NOBODY, ask);
        }
    }

    /// An offer of the first of these two sides that a node has taken is off: what they agreed on last holds again. Of several forks each has agreed
    /// on its own.
    fn restore(&mut self, turn: &mut Turn<'_>, at: CallRef, attempt: u8, (from_tag, to_tag): (&[u8], &[u8])) {
        let ask = Ask { verb: Verb::Restore, attempt, candidate: None, from_tag, to_tag, sdp: b"" };
        self.tell(turn, at, &ask);
    }

    /// Names an SDP of a side: the same one again needs no other exchange.
    fn print(&self, tag: &[u8], sdp: &[u8]) -> u64 {
        let mut hasher = self.tags;
        hasher.bytes(tag);
        hasher.bytes(sdp);
        hasher.finish()
    }

    /// Keeps what a node gave, for a message that comes again: the print of the SDP, the tag, the relay's SDP. Only while there is
    /// plenty of room; without it the node is asked again.
    fn keep(&mut self, print: u64, tag: &[u8], sdp: &[u8]) -> Option<BufferRef> {
        let live = self.pool.live_by_class();
        let budget = &self.settings.budget.buffers;
        let plenty = live[1] < budget[1] / 2 && live.iter().sum::<u32>() < budget.iter().sum::<u32>() / 4 * 3;
        let length = u16::try_from(tag.len()).ok().filter(|_| plenty)?;
        let mut writer = Writer::new(&mut self.scratch);
        writer.put(&print.to_le_bytes());
        writer.put(&length.to_le_bytes());
        writer.put(tag);
        writer.put(sdp);
        writer.finish().and_then(|bytes| self.pool.store(bytes)).ok()
    }

    /// Puts what was kept in its place of a branch: 0 for the response, 1 for the ACK.
    fn keep_for(&mut self, at: ClientRef, place: usize, kept: Option<BufferRef>) {
        let old = match self.clients.find_mut(at) {
            Some(transaction) => core::mem::replace(&mut transaction.kept[place], kept),
            None => kept,
        };
        old.into_iter().for_each(|buffer| self.pool.release(buffer));
    }

    /// Reads a message that is held, beside the engine.
    fn with_held(&mut self, held: Option<BufferRef>, then: impl FnOnce(&mut Engine, &Message<'_>)) {
        let Some(held) = held else { return };
        let mut copy = core::mem::take(&mut self.waited);
        let bytes = self.pool.bytes(held);
        let room = &mut copy[..bytes.len()];
        room.copy_from_slice(bytes);
        let mut message = Message::unread();
        let read = message.read_in_place(room);
        assert!(read.is_ok(), "it parsed when it came");
        then(self, &message);
        self.waited = copy;
    }

    /// What was kept: its print, the tag, the relay's SDP.
    fn kept(&self, buffer: BufferRef) -> Option<(u64, &[u8], &[u8])> {
        let (print, rest) = self.pool.bytes(buffer).split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (tag, sdp) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        Some((u64::from_le_bytes(*print), tag, sdp))
    }
}

/// The flags of a call's provider and of its gateway. They fit: the image was verified.
fn flags(turn: &Turn<'_>, call: &Call, candidate: Option<Candidate>) -> Flags {
    let provider = turn.image.provider(call.provider).map_or("", |provider| provider.media_flags);
    let gateway = candidate.or(call.candidate).and_then(|candidate| turn.image.gateway(candidate.gateway));
    let gateway = gateway.map_or("", |gateway| gateway.media_flags);
    let mut flags = Flags::new();
    for part in [provider, gateway].into_iter().filter(|part| !part.is_empty()) {
        let blank = usize::from(!flags.is_empty());
        flags.extend(core::iter::repeat_n(b' ', blank).chain(part.bytes()));
    }
    flags
}

/// The tags of a message: From, To.
fn tags<'m>(message: &'m Message<'_>) -> (&'m [u8], &'m [u8]) {
    let tag = |address: crate::message::NameAddr| address.tag.map(|tag| message.text(tag)).unwrap_or_default();
    (tag(message.from()), tag(message.to()))
}

/// The same with the tag of who offered first: who asked, but where the request had no offer and the response brought one.
fn sides<'m>(figure: Figure, (asker, answerer): (&'m [u8], &'m [u8])) -> (&'m [u8], &'m [u8]) {
    if matches!(figure, Figure::Returned | Figure::Settled) { (answerer, asker) } else { (asker, answerer) }
}

/// Whether a message has SDP, or may have.
pub(crate) fn carries_sdp(message: &Message<'_>) -> bool {
    find_sdp(message) != Body::None
}

/// Writes a message that parsed once more: with another SDP in the place of its own, or without its body. How long it is; `None` when it
/// is too large.
pub(crate) fn with_body(bytes: &[u8], sdp: Option<&[u8]>, out: &mut [u8]) -> Option<usize> {
    let message = Message::parse(bytes).ok()?;
    let mut writer = Writer::new(out);
    match (find_sdp(&message), sdp) {
        (Body::Sdp(span), Some(sdp)) => write_with_sdp(&message, span, sdp, &mut writer),
        _ => write_without_body(&message, &mut writer),
    }
    writer.finish().ok().map(|written| written.len())
}
