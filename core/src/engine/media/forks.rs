//! Several early dialogs of one INVITE, each a side of its own at a node; and whose PRACK and ACK it is.
//!
//! ```text
//!   INVITE without SDP ──► 183 of a: offer a>caller ──► PRACK in a: answer ──► PRACK in a: an offer of the caller
//!                     └──► 183 of b: offer b>caller ──► PRACK in b: answer        … 200 of a without SDP: a is the one that holds
//! ```
//!
//! Where the INVITE has no offer each fork offers in its own reliable 1xx, and the first PRACK with SDP in its dialog answers that (RFC 3262 §5). Both
//! exchanges may be with a node at the same time; neither knows of the other. A fork that Corelane does not know has no PRACK either: it gets 481.

use super::super::records::ClientRef;
use super::super::response::Came;
use super::super::{Engine, Turn};
use super::{Ask, sides, tags};
use crate::bus::Verb;
use crate::call::media::{Act, Event, Media, State as Figure, step};
use crate::call::{Call, CallRef, Side};
use crate::message::{Message, Name};

/// INVITEs of a call among which that of an ACK is looked for: the last ones.
const INVITES_MAX: usize = 4;

impl Engine {
    /// Whether the SDP of a PRACK is an offer: its INVITE has nothing that it could answer, or no more.
    pub(super) fn prack_offers(&self, call: &Call, media: &Media, message: &Message<'_>) -> bool {
        let (invite, fork) = self.acknowledged(call, media, message);
        let Some(transaction) = invite.and_then(|invite| self.clients.find(invite)) else { return true };
        match (transaction.media, fork) {
            (Figure::Returned | Figure::Settled, Some(fork)) => media.has_answered(fork),
            (figure, _) => step(figure, Event::Prack).is_none_or(|(_, act)| act == Act::Offer),
        }
    }

    /// The INVITE whose 1xx a PRACK acknowledges (RFC 3262 §7.2), and of the one that opens the call the place of the fork whose 1xx it is.
    fn acknowledged(&self, call: &Call, media: &Media, message: &Message<'_>) -> (Option<ClientRef>, Option<usize>) {
        let (from, to) = tags(message);
        let Some((side, dialog)) = call.dialogs.sender(self.hash_tag(Some(from)), self.hash_tag(Some(to))) else {
            return (None, None);
        };
        // Without a RAck it is the last one.
        let invite = match acknowledged_number(message) {
            Some(number) => {
                let opens = side == Side::Caller && number == call.opening.cseq;
                self.invite_of(media, side, number, opens)
            }
            None => media.invite,
        };
        let opens = invite.and_then(|invite| self.clients.find(invite)).is_some_and(|invite| invite.role.opens());
        (invite, call.dialogs.place(dialog).filter(|_| opens))
    }

    /// The answer in a PRACK is with a node, or it did not get through after all: then its offer still stands.
    pub(super) fn note_prack(&mut self, at: CallRef, message: &Message<'_>, answered: bool) {
        let Some((invite, fork)) =
            self.calls.find(at).and_then(|call| Some(self.acknowledged(call, call.media.as_ref()?, message)))
        else {
            return;
        };
        if let Some(media) = self.calls.find_mut(at).and_then(|call| call.media.as_mut())
            && let Some(fork) = fork
        {
            media.note_answered(fork, answered);
        }
        let Some(transaction) = invite.and_then(|invite| self.clients.find_mut(invite)) else { return };
        transaction.media = match (transaction.media, answered) {
            (Figure::Returned, true) => Figure::Settled,
            (Figure::Settled, false) => Figure::Returned,
            (figure, _) => figure,
        };
    }

    /// The INVITE that an ACK of a side with this number belongs to: the last one, or one shortly before it.
    pub(super) fn invite_of(&self, media: &Media, side: Side, number: u32, opens: bool) -> Option<ClientRef> {
        let mut next = media.invite;
        for _ in 0..INVITES_MAX {
            let transaction = self.clients.find(next?)?;
            if (transaction.role.sender, transaction.role.cseq, transaction.role.opens()) == (side, number, opens) {
                return next;
            }
            next = transaction.before;
        }
        None
    }

    /// The first 2xx of a call says nothing that is still to be answered. Where several forks have rung a node knows the caller with the one whose
    /// exchange came last: the control core is told which one it is.
    pub(super) fn choose_fork(&mut self, turn: &mut Turn<'_>, at: ClientRef, call: CallRef, came: Came<'_, '_>) {
        let Came { message, role, status, .. } = came;
        let Some(record) = self.calls.find(call).filter(|call| role.opens() && status >= 200 && call.is_early()) else {
            return;
        };
        let (Some(transaction), Some(media)) = (self.clients.find(at), &record.media) else { return };
        if record.branch != Some(at) || record.dialogs.count() < 2 {
            return;
        }
        let (asker, fork) = tags(message);
        let chosen = match transaction.media {
            Figure::Agreed => true,
            Figure::Returned | Figure::Settled => {
                let place = record.dialogs.place(self.hash_tag(Some(fork)));
                place.is_some_and(|place| media.has_answered(place))
            }
            _ => false,
        };
        if chosen {
            let (from_tag, to_tag) = sides(transaction.media, (asker, fork));
            let (attempt, candidate) = (role.attempt, role.candidate);
            self.tell(turn, call, &Ask { verb: Verb::Choose, attempt, candidate, from_tag, to_tag, sdp: b"" });
        }
    }
}

/// Number of the CSeq that a PRACK acknowledges: the second part of its RAck.
fn acknowledged_number(message: &Message<'_>) -> Option<u32> {
    let value = message.text(message.first(Name::RAck)?.value);
    let number = value.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).nth(1)?;
    core::str::from_utf8(number).ok()?.parse().ok()
}
