//! A call in progress, as the client knows it: where it has sessions, and what both sides agreed on last.
//!
//! A refused offer is undone by playing the agreed pair again (SPEC §5), so the pairs are kept as they came: one for each pair of tags, as
//! many as an INVITE may have early dialogs. What there was no room for is not known: then nothing older is taken for it.

use corelane_core::bus::MediaRequest;

use super::kept::Kept;

/// What is known of a call in progress.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) nodes: Vec<u32>,
    /// The offer that has no answer yet.
    pub(super) offered: Option<Kept>,
    /// Offer and answer that were agreed last, for each pair of tags.
    agreed: Vec<(Kept, Kept)>,
    pub(super) waiting: Vec<u64>,
}

impl Call {
    /// The pair of these two tags, whoever offered; else the one that was agreed last.
    pub(super) fn agreed_by(&self, request: &MediaRequest<'_>) -> Option<&(Kept, Kept)> {
        let same =
            |pair: &&(Kept, Kept)| MediaRequest::read(&pair.1).is_some_and(|answer| same_sides(&answer, request));
        self.agreed.iter().rev().find(same).or(self.agreed.last())
    }

    /// An answer was rewritten: with its offer it is what holds between its two tags. Without both of them, nothing is known to hold.
    pub(super) fn agree(&mut self, answer: Option<Kept>) {
        let (Some(offer), Some(answer)) = (self.offered.clone(), answer) else { return self.agreed.clear() };
        let Some(request) = MediaRequest::read(&answer) else { return };
        self.agreed.retain(|(_, known)| MediaRequest::read(known).is_none_or(|known| !same_sides(&known, &request)));
        if self.agreed.len() >= corelane_core::limits::EARLY_DIALOGS_MAX {
            self.agreed.remove(0);
        }
        self.agreed.push((offer, answer.clone()));
    }
}

fn same_sides(one: &MediaRequest<'_>, other: &MediaRequest<'_>) -> bool {
    (one.from_tag, one.to_tag) == (other.from_tag, other.to_tag)
        || (one.from_tag, one.to_tag) == (other.to_tag, other.from_tag)
}
