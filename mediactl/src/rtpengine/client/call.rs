//! A call in progress, as the client knows it: where it has sessions, and what both sides agreed on last.
//!
//! A refused offer is undone by playing the agreed pair again (SPEC §5), so the pairs are kept as they came: one for each pair of tags, as
//! many as an INVITE may have early dialogs.

use corelane_core::bus::MediaRequest;

/// What is known of a call in progress.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) nodes: Vec<u32>,
    /// The offer that has no answer yet.
    pub(super) offered: Option<Vec<u8>>,
    /// Offer and answer that were agreed last, for each pair of tags.
    agreed: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) waiting: Vec<u64>,
}

impl Call {
    /// The pair of these two tags, whoever offered; else the one that was agreed last.
    pub(super) fn agreed_by(&self, request: &MediaRequest<'_>) -> Option<&(Vec<u8>, Vec<u8>)> {
        let same =
            |pair: &&(Vec<u8>, Vec<u8>)| MediaRequest::read(&pair.1).is_some_and(|answer| same_sides(&answer, request));
        self.agreed.iter().rev().find(same).or(self.agreed.last())
    }

    /// An answer was rewritten: with its offer it is what holds between its two tags.
    pub(super) fn agree(&mut self, answer: &[u8]) {
        let (Some(offer), Some(request)) = (self.offered.clone(), MediaRequest::read(answer)) else { return };
        self.agreed.retain(|(_, known)| MediaRequest::read(known).is_none_or(|known| !same_sides(&known, &request)));
        if self.agreed.len() >= corelane_core::limits::EARLY_DIALOGS_MAX {
            self.agreed.remove(0);
        }
        self.agreed.push((offer, answer.to_vec()));
    }
}

fn same_sides(one: &MediaRequest<'_>, other: &MediaRequest<'_>) -> bool {
    (one.from_tag, one.to_tag) == (other.from_tag, other.to_tag)
        || (one.from_tag, one.to_tag) == (other.to_tag, other.from_tag)
}
