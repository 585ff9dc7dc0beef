//! What is taken back at a node: an offer that was refused or that nobody answered, and the branch of a gateway that was given up.
//!
//! Both sides of a call may have an offer out. So it is always said whose is off; the control core keeps what it is replaced by.

use arrayvec::ArrayVec;

use super::super::records::{ClientRef, Role};
use super::super::response::Came;
use super::super::{Engine, Turn};
use super::{Ask, sides, tags};
use crate::bus::Verb;
use crate::call::media::{Event, State as Figure, step};
use crate::limits::TAG_MAX;
use crate::memory::BufferRef;
use crate::message::Message;

impl Engine {
    /// A final failure: what waits before it is of no use any more, and an offer inside a dialog is off.
    pub(super) fn on_offer_refused(&mut self, turn: &mut Turn<'_>, at: ClientRef, role: &Role, message: &Message<'_>) {
        let Some(transaction) = self.clients.find_mut(at) else { return };
        let parked = transaction.parked.take();
        let figure = transaction.media;
        let refused = step(figure, Event::Refused);
        if let Some((then, _)) = refused
            && !role.opens()
        {
            transaction.media = then;
        }
        self.close_queue(parked);
        if let Some(call) = role.call.filter(|call| !role.opens() && refused.is_some() && self.speaks(*call)) {
            self.restore(turn, call, role.attempt, sides(figure, tags(message)));
        }
    }

    /// The request inside a dialog that got no final response, as its server transaction holds it: with that one answered it would go. None where
    /// it has no offer at a node, or its call no session. [`Engine::take_offer_back`] gives it back.
    #[inline(never)]
    pub(crate) fn offer_of(&mut self, role: Role, offer: Figure) -> Option<BufferRef> {
        if role.opens() || role.attempt == 0 || step(offer, Event::Refused).is_none() {
            return None;
        }
        let request = self.servers.find(role.server?)?.request?;
        self.pool.share(request);
        Some(request)
    }

    /// A request inside a dialog got no final response: what it offered is off, where the call goes on.
    #[inline(never)]
    pub(crate) fn take_offer_back(
        &mut self,
        turn: &mut Turn<'_>,
        role: Role,
        offer: Figure,
        request: Option<BufferRef>,
    ) {
        let Some(request) = request else { return };
        self.with_held(Some(request), |engine, message| {
            if let Some(call) = role.call.filter(|call| engine.speaks(*call)) {
                engine.restore(turn, call, role.attempt, sides(offer, tags(message)));
            }
        });
        self.pool.release(request);
    }

    /// A gateway's branch has failed that had been answered for, and the call goes on without it: its side of the session goes (SPEC §5).
    #[inline(never)]
    pub(crate) fn forget_answered_branch(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        let Came { message, role, .. } = came;
        if role.attempt == 0 {
            return;
        }
        let Some(call) = role.call.filter(|call| self.speaks(*call)) else { return };
        let Some(transaction) = self.clients.find(at).filter(|branch| branch.media == Figure::Agreed) else { return };
        let kept = transaction.kept[0].and_then(|kept| self.kept(kept));
        let tag = kept.and_then(|(_, tag, _)| ArrayVec::<u8, TAG_MAX>::try_from(tag).ok());
        let asker = message.from().tag.map(|tag| message.text(tag)).unwrap_or_default();
        if let Some(tag) = tag {
            let (attempt, candidate) = (role.attempt, role.candidate);
            let verb = Verb::DeleteBranch;
            self.tell(turn, call, &Ask { verb, attempt, candidate, from_tag: asker, to_tag: &tag, sdp: b"" });
        }
    }
}
