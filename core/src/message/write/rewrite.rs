//! What of a message's From and To, and of its other headers, leaves another way than it came.
//!
//! A proxy leaves From and To alone (RFC 3261 §16.6); one that stands between networks does not always: the host of From is what a carrier
//! knows his customer by, and a caller who asked for privacy is not named to whom we do not trust (RFC 3323 §5.3, RFC 3325 §7). The
//! tags never change, so that a dialog stays one for both sides (§12.2.2).

use super::Copier;
use crate::message::{Field, Message, Name, Names, Span};

/// A part of a message and what stands there when it leaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Patch<'e> {
    /// What goes: a part of the value of the field that is patched.
    pub span: Span,
    /// What comes. No CR or LF.
    pub text: &'e [u8],
}

/// Fields that leave another way than they came. Nothing in it: the message stays as it is.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Rewrite<'e> {
    /// A part of From, or all of its value.
    pub from: Option<Patch<'e>>,
    /// A part of To, or all of its value.
    pub to: Option<Patch<'e>>,
    /// Headers that stay behind, every line of them. Not Via, Route, Record-Route or Max-Forwards, which are the hop's own.
    pub drop: Names,
    /// Complete lines behind the last field, in pieces, each line with its CR LF. With `drop` they stand for what was there.
    pub lines: &'e [&'e [u8]],
}

impl<'e> Rewrite<'e> {
    /// Changes nothing.
    pub const NOTHING: Rewrite<'static> = Rewrite { from: None, to: None, drop: Names::NONE, lines: &[] };

    /// From and To as the other side of the dialog has them, whole values with their tags; `None` keeps what is there.
    #[must_use]
    pub fn identities(message: &Message<'_>, from: Option<&'e [u8]>, to: Option<&'e [u8]>) -> Rewrite<'e> {
        Rewrite {
            from: from.map(|text| Patch { span: message.from().value, text }),
            to: to.map(|text| Patch { span: message.to().value, text }),
            ..Rewrite::NOTHING
        }
    }

    /// Whether no field changes; there may be lines to add.
    #[inline]
    #[must_use]
    pub const fn keeps_fields(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.drop.is_empty()
    }

    /// Puts in the lines, behind the last field.
    #[inline(always)]
    pub(super) fn add_lines(&self, copier: &mut Copier<'_, '_, '_>, last: &Field) {
        if !self.lines.is_empty() {
            copier.keep_to(last.line.last());
            self.lines.iter().for_each(|piece| copier.put(piece));
        }
    }

    /// Treats a field of the message that the copier is about to reach.
    pub(super) fn field(&self, copier: &mut Copier<'_, '_, '_>, field: &Field) {
        let patch = match field.name {
            Name::From => self.from,
            Name::To => self.to,
            name if self.drop.contains(name) => {
                copier.keep_to(field.line.first());
                return copier.drop_to(field.line.last());
            }
            _ => None,
        };
        if let Some(patch) = patch {
            copier.keep_to(patch.span.first());
            copier.put(patch.text);
            copier.drop_to(patch.span.last());
        }
    }
}
