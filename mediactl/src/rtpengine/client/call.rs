//! A call in progress, as the client knows it: what is asked for it, and what both sides agreed on last.
//!
//! A refused offer is undone by playing the agreed pair again (SPEC §5), so the pairs are kept as they came: one for each pair of tags, as
//! many as an INVITE may have early dialogs. What there was no room for is not known: then nothing older is taken for it.
//!
//! Several offers may be out at once: those of several forks, and one of either side that cross (RFC 6337 §2.3). So an answer is paired with the
//! offer of who it names, and what is off is the offer of who is named. Where the other side's is still out, a node has to hear it again behind the pair:
//! else it would send that side's media to where it was before.
//!
//! ```text
//!   offer A0, answer B0 │ offer A1 … offer B1 … A1 is refused ──► offer A0, answer B0, offer B1 … B1 is answered
//! ```
//!
//! An answer may have come in a provisional response of a re-INVITE that is refused after all, and then it never held (RFC 6141 §3.1). So what
//! was answered is agreed on only when something else is offered; what is taken back before that is the offer with its answers.
//!
//! One question of a call is out at a time. rtpengine serves its questions from several threads: the delete of a branch and the offer of the
//! next gateway, sent one right after the other, may come to pass in the other order, and then the session is gone when the answer comes.

use std::collections::VecDeque;
use std::rc::Rc;

use corelane_core::Instant;
use corelane_core::bus::MediaRequest;
use corelane_core::limits::EARLY_DIALOGS_MAX;

use super::kept::Kept;
use super::wish::Wish;

/// What is known of a call in progress.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The question that is out.
    pub(super) waiting: Option<u64>,
    /// The last one that was.
    pub(super) asked: u64,
    /// When one was given up that may be on its way still.
    pub(super) given_up: Option<Instant>,
    /// What is asked next.
    pub(super) next: VecDeque<Wish>,
    /// The offers that were rewritten last, one for each pair of tags and attempt. The first of a call has no to-tag, and is answered by each fork.
    offered: Vec<Offered>,
    /// Offer and answer that were agreed last, for each pair of tags.
    agreed: Vec<Agreed>,
    /// The same of what was answered since the last offer.
    answered: Vec<Agreed>,
}

/// As many offers are known: one for each fork, one of either side that cross, and the first.
const OFFERS_MAX: usize = EARLY_DIALOGS_MAX + 3;

/// An offer.
#[derive(Debug)]
struct Offered {
    offer: Rc<Kept>,
    /// Nobody has answered it; the first of a call: no fork has.
    open: bool,
}

/// An offer and its answer.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) offer: Rc<Kept>,
    pub(super) answer: Kept,
}

impl Call {
    /// What plays these two tags' pair again, whoever offered; else the one that was agreed last.
    pub(super) fn agreed_by(&self, request: &MediaRequest<'_>) -> Option<&Agreed> {
        self.pair_of(request).or(self.agreed.last()).or(self.answered.last())
    }

    /// The pair of these two tags that was agreed last, whoever offered.
    pub(super) fn pair_of(&self, request: &MediaRequest<'_>) -> Option<&Agreed> {
        let same = |pair: &&Agreed| same_sides(&pair.answer.view(), request);
        self.answered.iter().rev().find(same).or_else(|| self.agreed.iter().rev().find(same))
    }

    /// Whether the pair of these two tags is what the node was asked about last: it knows them as they are.
    pub(super) fn ends_with(&self, request: &MediaRequest<'_>) -> bool {
        self.answered.last().is_some_and(|pair| same_sides(&pair.answer.view(), request))
    }

    /// The offer between these two tags that still waits for its answer. The first of a call does for each fork that has agreed on nothing.
    pub(super) fn open_between(&self, request: &MediaRequest<'_>) -> Option<&Kept> {
        if request.from_tag.is_empty() || request.to_tag.is_empty() {
            return None;
        }
        let forked = !(self.agreed.is_empty() && self.answered.is_empty());
        let waits = |known: &&Offered| {
            let offer = known.offer.view();
            if offer.to_tag.is_empty() {
                let its = [request.from_tag, request.to_tag].contains(&offer.from_tag);
                return its && (known.open || forked) && self.pair_of(request).is_none();
            }
            known.open && same_sides(&offer, request)
        };
        self.offered.iter().rev().find(waits).map(|known| &*known.offer)
    }

    /// Nobody answers any more what was asked.
    pub(super) fn forget_questions(&mut self) {
        (self.waiting, self.next) = (None, VecDeque::new());
    }

    /// Something else is offered: what was answered before is agreed on.
    pub(super) fn settle(&mut self) {
        for pair in std::mem::take(&mut self.answered) {
            put(&mut self.agreed, pair);
        }
    }

    /// The last offer of the one tag to the other is off, and with it what answered it; without tags, whoever offered. Where nothing was agreed
    /// on before, there is nothing else to hold.
    pub(super) fn take_back(&mut self, request: &MediaRequest<'_>) {
        let unnamed = request.from_tag.is_empty() && request.to_tag.is_empty();
        let off = |offer: &MediaRequest<'_>| unnamed || offer.from_tag == request.from_tag;
        let between = |sides: &MediaRequest<'_>| unnamed || same_sides(sides, request);
        self.offered.retain(|known| {
            let offer = known.offer.view();
            offer.to_tag.is_empty() || !(off(&offer) && between(&offer))
        });
        if !self.agreed.is_empty() {
            self.answered.retain(|pair| !(off(&pair.offer.view()) && between(&pair.answer.view())));
        }
    }

    /// Another offer of these tags comes in the place of this one.
    pub(super) fn forget_offer(&mut self, request: &MediaRequest<'_>) {
        let key = |offer: &MediaRequest<'_>| {
            (offer.from_tag, offer.to_tag, offer.attempt) == (request.from_tag, request.to_tag, request.attempt)
        };
        self.offered.retain(|known| !key(&known.offer.view()));
    }

    /// An offer was rewritten; `None`: there is no room to keep it.
    pub(super) fn offer(&mut self, offer: Option<Kept>) {
        let Some(offer) = offer else { return };
        if self.offered.len() >= OFFERS_MAX {
            self.offered.remove(0);
        }
        self.offered.push(Offered { offer: Rc::new(offer), open: true });
    }

    /// The offer that this answers: of who it names, for the same attempt. It waits no more.
    pub(super) fn offer_of(&mut self, answer: &MediaRequest<'_>) -> Option<Rc<Kept>> {
        let answered = |known: &&mut Offered| {
            let offer = known.offer.view();
            (offer.from_tag, offer.attempt) == (answer.from_tag, answer.attempt)
                && (offer.to_tag.is_empty() || offer.to_tag == answer.to_tag)
        };
        let known = self.offered.iter_mut().rev().find(answered)?;
        known.open = false;
        Some(Rc::clone(&known.offer))
    }

    /// An answer was rewritten: with its offer it is what holds between its two tags. Without both of them, nothing is known to hold.
    pub(super) fn agree(&mut self, offer: Option<Rc<Kept>>, answer: Option<Kept>) {
        let (Some(offer), Some(answer)) = (offer, answer) else {
            self.answered.clear();
            return self.agreed.clear();
        };
        put(&mut self.answered, Agreed { offer, answer });
    }
}

/// Puts a pair in the place of that of the same sides, as the last one.
fn put(pairs: &mut Vec<Agreed>, pair: Agreed) {
    pairs.retain(|known| !same_sides(&known.answer.view(), &pair.answer.view()));
    if pairs.len() >= EARLY_DIALOGS_MAX {
        pairs.remove(0);
    }
    pairs.push(pair);
}

fn same_sides(one: &MediaRequest<'_>, other: &MediaRequest<'_>) -> bool {
    (one.from_tag, one.to_tag) == (other.from_tag, other.to_tag)
        || (one.from_tag, one.to_tag) == (other.to_tag, other.from_tag)
}
