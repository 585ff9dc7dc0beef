//! A call in progress, as the client knows it: what is asked for it, and what both sides agreed on last.
//!
//! A refused offer is undone by playing the agreed pair again (SPEC §5), so the pairs are kept as they came: one for each pair of tags, as
//! many as an INVITE may have early dialogs. What there was no room for is not known: then nothing older is taken for it.
//!
//! An answer may have come in a provisional response of a re-INVITE that is refused after all, and then it never held (RFC 6141 §3.1). So what
//! was answered is agreed on only when something else is offered; what is taken back before that is the offer with its answers.
//!
//! One question of a call is out at a time. rtpengine serves its questions from several threads: the delete of a branch and the offer of the
//! next gateway, sent one right after the other, may come to pass in the other order, and then the session is gone when the answer comes.

use std::collections::VecDeque;
use std::rc::Rc;

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
    /// What is asked next.
    pub(super) next: VecDeque<Wish>,
    /// The offer that was rewritten last. It may be answered more than once.
    offered: Option<Rc<Kept>>,
    /// Offer and answer that were agreed last, for each pair of tags.
    agreed: Vec<Agreed>,
    /// The same of what was answered since the last offer.
    answered: Vec<Agreed>,
}

/// An offer and its answer.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) offer: Rc<Kept>,
    pub(super) answer: Kept,
}

impl Call {
    /// The pair of these two tags, whoever offered; else the one that was agreed last.
    pub(super) fn agreed_by(&self, request: &MediaRequest<'_>) -> Option<&Agreed> {
        let same = |pair: &&Agreed| same_sides(&pair.answer.view(), request);
        let known = if self.agreed.is_empty() { &self.answered } else { &self.agreed };
        known.iter().rev().find(same).or(known.last())
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

    /// The last offer between these two tags is off, and with it what answered it; without tags, whoever answered. Where nothing was agreed
    /// on before, there is nothing else to hold.
    pub(super) fn take_back(&mut self, request: &MediaRequest<'_>) {
        let unnamed = request.from_tag.is_empty() && request.to_tag.is_empty();
        if !self.agreed.is_empty() {
            self.answered.retain(|pair| !(unnamed || same_sides(&pair.answer.view(), request)));
        }
    }

    /// An offer was rewritten; `None`: there is no room to keep it.
    pub(super) fn offer(&mut self, offer: Option<Kept>) {
        self.offered = offer.map(Rc::new);
    }

    /// An answer was rewritten: with its offer it is what holds between its two tags. Without both of them, nothing is known to hold.
    pub(super) fn agree(&mut self, answer: Option<Kept>) {
        let (Some(offer), Some(answer)) = (self.offered.clone(), answer) else {
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
