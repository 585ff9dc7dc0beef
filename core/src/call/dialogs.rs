//! The dialogs of a call, by their tags (RFC 3261 §12): one caller's tag, and on the callee's side a tag for each fork that rang or
//! answered. Tags are held as keyed 64-bit hashes; a missing tag (RFC 2543 peers) hashes like an empty one.
//!
//! ```text
//!   1xx with a tag ──► early ──┐            early dialogs of a gateway that was given up are forgotten: 481
//!                              ├ 2xx ──► confirmed: at most one (another 2xx is acknowledged and ended by Corelane itself, and its early dialog forgotten)
//!   2xx of a fork unheard of ──┘
//! ```

use heapless::Vec;

use super::Side;
use crate::limits::EARLY_DIALOGS_MAX;

/// What a callee's tag is to a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Known {
    /// Of an early dialog.
    Early,
    /// Of the dialog.
    Confirmed,
}

/// The tags of a call.
#[derive(Clone, Debug)]
pub struct Dialogs {
    caller: u64,
    confirmed: Option<u64>,
    early: Vec<u64, EARLY_DIALOGS_MAX, u8>,
}

impl Dialogs {
    /// The tags of a call whose caller's tag hashes to `caller`.
    #[must_use]
    pub const fn new(caller: u64) -> Dialogs {
        Dialogs { caller, confirmed: None, early: Vec::new() }
    }

    /// Whether a tag is the caller's.
    #[must_use]
    pub const fn is_callers(&self, tag: u64) -> bool {
        self.caller == tag
    }

    /// Notes the tag of an early dialog; false when there is no room for another fork.
    pub fn learn(&mut self, tag: u64) -> bool {
        self.confirmed == Some(tag) || self.early.contains(&tag) || self.early.push(tag).is_ok()
    }

    /// The dialog that the answer made.
    pub fn confirm(&mut self, tag: u64) {
        self.confirmed = Some(tag);
    }

    /// The tag of the dialog that the answer made.
    #[must_use]
    pub const fn confirmed(&self) -> Option<u64> {
        self.confirmed
    }

    /// Forgets an early dialog: it was ended by a BYE (RFC 3261 §15), its own or the one that Corelane sends to an answer which cannot go
    /// upstream. Its place; those behind it move up.
    pub fn forget(&mut self, tag: u64) -> Option<usize> {
        let place = self.place(tag)?;
        self.early.remove(place);
        Some(place)
    }

    /// The place of an early dialog among the others, below [`EARLY_DIALOGS_MAX`].
    #[must_use]
    pub fn place(&self, tag: u64) -> Option<usize> {
        self.early.iter().position(|known| *known == tag)
    }

    /// How many early dialogs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.early.len()
    }

    /// Forgets all early dialogs: another gateway is tried.
    pub fn forget_early(&mut self) {
        self.early.clear();
    }

    /// What a callee's tag is.
    #[must_use]
    pub fn known(&self, tag: u64) -> Option<Known> {
        if self.confirmed == Some(tag) {
            Some(Known::Confirmed)
        } else {
            self.early.contains(&tag).then_some(Known::Early)
        }
    }

    /// The side that sends a request with these tags, with the callee's tag; `None` when they are not this call's
    /// (RFC 3261 §12.2.2).
    #[must_use]
    pub fn sender(&self, from: u64, to: u64) -> Option<(Side, u64)> {
        if from == self.caller && self.known(to).is_some() {
            Some((Side::Caller, to))
        } else if to == self.caller && self.known(from).is_some() {
            Some((Side::Callee, from))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_are_bounded_and_the_answer_needs_no_room() {
        let mut dialogs = Dialogs::new(7);
        for tag in 0..EARLY_DIALOGS_MAX as u64 {
            assert!(dialogs.learn(tag));
        }
        assert!(!dialogs.learn(99));
        assert!(dialogs.learn(3), "a known tag needs no room");
        dialogs.confirm(99);
        assert_eq!(dialogs.known(99), Some(Known::Confirmed));
        assert_eq!(dialogs.known(0), Some(Known::Early));
    }

    #[test]
    fn both_sides_are_told_apart_by_their_tags() {
        let mut dialogs = Dialogs::new(7);
        dialogs.learn(1);
        assert_eq!(dialogs.sender(7, 1), Some((Side::Caller, 1)));
        assert_eq!(dialogs.sender(1, 7), Some((Side::Callee, 1)));
        assert_eq!(dialogs.sender(7, 2), None);
        assert_eq!(dialogs.sender(2, 7), None);
        dialogs.forget_early();
        assert_eq!(dialogs.sender(7, 1), None);
    }

    #[test]
    fn a_bye_in_an_early_dialog_ends_that_alone() {
        let mut dialogs = Dialogs::new(7);
        dialogs.learn(1);
        dialogs.learn(2);
        assert_eq!(
            (dialogs.place(2), dialogs.forget(1), dialogs.forget(1), dialogs.place(2)),
            (Some(1), Some(0), None, Some(0))
        );
        assert_eq!((dialogs.known(1), dialogs.known(2)), (None, Some(Known::Early)));
    }
}
