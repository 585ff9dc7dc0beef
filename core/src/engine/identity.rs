//! Who is named to whom, in the messages of a call. The rules are [`crate::identity`].
//!
//! Where a gateway knows the caller under another From than he sent, each side goes on seeing the one that it knows: in From of what
//! the caller sends and of the answers to it, in To of what the callee sends and of the answers to that. Both texts are in the
//! dialog's text once it is answered ([`DialogText`]); before that they are in the INVITE as it came and as it was sent. Where neither is
//! there (no memory, the call has ended, another gateway is tried) a gateway that was not shown the caller's own From gets it concealed
//! once more, never as it came.

use super::response::Came;
use super::{Engine, Turn};
use crate::call::session::Wording;
use crate::call::text::DialogText;
use crate::call::{Call, CallRef, Side};
use crate::flow::Endpoint;
use crate::identity::{IDENTITY, Shown, conceal, towards_gateway, withheld};
use crate::memory::{BufferRef, Full};
use crate::message::{Message, Name, Names, Rewrite, write_response, write_response_with};
use crate::routing::{Candidate, Gateway, Image, Privacy};

/// Who gets a message of a call, and what tells how he knows the caller.
pub(crate) struct Naming {
    pub(crate) call: Option<CallRef>,
    pub(crate) receiver: Side,
    /// The side whose request it is, or is answered by it.
    pub(crate) asked: Side,
    /// Inside a dialog: which one (callee's tag).
    pub(crate) dialog: u64,
    /// How the gateway knows the caller.
    pub(crate) shown: Shown,
    /// The gateway's address, as it was learned.
    pub(crate) peer: Option<Endpoint>,
}

impl Engine {
    /// What of a call's INVITE leaves another way towards a gateway.
    pub(crate) fn identity_towards<'i>(
        &self,
        turn: &Turn<'_>,
        message: &Message<'_>,
        call: &Call,
        gateway: &Gateway<'i>,
    ) -> Rewrite<'i> {
        towards_gateway(message, trust(turn, call, Side::Caller, None), gateway)
    }

    /// The headers of a message from this side of a call that the other side does not get.
    /// `candidate` is the gateway where it is not that of the call.
    pub(crate) fn withheld_from(
        &self,
        turn: &Turn<'_>,
        call: &Call,
        side: Side,
        candidate: Option<Candidate>,
        message: &Message<'_>,
    ) -> Names {
        let named = [Name::PAssertedIdentity, Name::RemotePartyId, Name::PPreferredIdentity, Name::Identity];
        if named.into_iter().all(|name| message.first(name).is_none()) {
            return Names::NONE;
        }
        let (from, to) = (trust(turn, call, side, candidate), trust(turn, call, side.other(), candidate));
        withheld(message, from, to, side == Side::Caller && call.shown == Shown::Anonymous)
    }

    /// From and To of a message as its receiver knows the caller.
    pub(crate) fn names_for<'e>(&'e self, image: &'e Image<'e>, naming: &Naming, message: &Message<'_>) -> Rewrite<'e> {
        let call = naming.call.and_then(|call| self.calls.find(call));
        if let Some(known) = call.and_then(|call| self.caller_as_known(call, naming)) {
            return match naming.asked {
                Side::Caller => Rewrite::identities(message, Some(known), None),
                Side::Callee => Rewrite::identities(message, None, Some(known)),
            };
        }
        if naming.receiver == Side::Caller {
            return Rewrite::NOTHING;
        }
        let host = match naming.shown {
            Shown::OtherHost => naming
                .peer
                .and_then(|peer| image.gateway_at(peer))
                .and_then(|gateway| image.gateway(gateway))
                .and_then(|gateway| gateway.from_host),
            _ => None,
        };
        match naming.asked {
            Side::Caller => Rewrite { from: conceal(message, message.from(), host), ..Rewrite::NOTHING },
            Side::Callee => Rewrite { to: conceal(message, message.to(), host), ..Rewrite::NOTHING },
        }
    }

    /// The caller's identity, tag included, as the receiver of a message knows it.
    fn caller_as_known(&self, call: &Call, naming: &Naming) -> Option<&[u8]> {
        let side = naming.receiver;
        // What the call knows is what its gateway was shown, and not the one before, which waits for an answer still.
        if side == Side::Callee && call.dialogs.known(naming.dialog).is_none() {
            return None;
        }
        if let Some(text) = call.text {
            let text = DialogText::read(self.pool.bytes(text));
            return Some(match side {
                Side::Caller => text.towards(Side::Caller).to,
                Side::Callee => text.towards(Side::Callee).from,
            });
        }
        let invite = match side {
            Side::Caller => self.servers.find(call.server)?.request,
            Side::Callee => self.clients.find(call.branch?)?.sent,
        };
        from_of(self.pool.bytes(invite?))
    }

    /// A response as who asked gets it: From and To as he sent them, without what the other side's word is not good for.
    pub(crate) fn compose_upstream(&mut self, turn: &Turn<'_>, came: Came<'_, '_>) -> Result<BufferRef, Full> {
        let Came { message, role, status, relayed } = came;
        if role.attempt != 0 && !relayed && status < 300 {
            self.refuse_unrelayed(message)?;
        }
        let session = Wording::of_answer(role.asked, message);
        let call = role.call.and_then(|at| Some((at, self.calls.find(at)?)));
        let named = message.first(Name::PAssertedIdentity).or_else(|| message.first(Name::RemotePartyId)).is_some();
        let renamed = role.shown != Shown::AsSent;
        if session.is_none() && !renamed && !named {
            // At least our Via goes.
            let estimate = message.bytes().len().saturating_sub(message.via().value.len());
            return self.compose(estimate, |writer| write_response(message, writer));
        }
        let asked = role.sender;
        let withheld = call.map(|(_, call)| self.withheld_from(turn, call, asked.other(), role.candidate, message));
        // Of a call that is gone nobody can say who trusts whom.
        let drop = withheld
            .unwrap_or(if named { IDENTITY } else { Names::NONE })
            .and(session.as_ref().map_or(Names::NONE, Wording::replaced));
        let peer = role.server.and_then(|server| self.servers.find(server)).map(|server| server.source.peer);
        let naming = Naming { call: role.call, receiver: asked, asked, dialog: role.dialog, shown: role.shown, peer };
        let image = turn.image;
        self.compose_beside(|engine, writer| {
            let names = if renamed { engine.names_for(image, &naming, message) } else { Rewrite::NOTHING };
            let lines = session.as_ref().map(Wording::answer_lines).unwrap_or_default();
            write_response_with(message, &Rewrite { drop, lines: &lines, ..names }, writer);
        })
    }
}

/// Whether a side of a call is one that we trust. One that a new image no longer has is not.
fn trust(turn: &Turn<'_>, call: &Call, side: Side, candidate: Option<Candidate>) -> Privacy {
    let known = match side {
        Side::Caller => turn.image.provider_privacy(call.provider),
        Side::Callee => {
            candidate.or(call.candidate).and_then(|candidate| turn.image.gateway_privacy(candidate.gateway))
        }
    };
    known.unwrap_or(Privacy::Untrusted)
}

/// The value of From of a message that is kept.
pub(crate) fn from_of(kept: &[u8]) -> Option<&[u8]> {
    let message = Message::parse(kept).ok()?;
    Some(message.text(message.from().value))
}
