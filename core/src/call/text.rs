//! What a call must be able to say when Corelane itself ends it: the texts of both sides' dialogs (RFC 3261 §12.1.1).
//!
//! ```text
//!   0    eight lengths of 16 bits, little-endian
//!   16   Call-ID │ caller │ callee │ caller's target │ callee's target │ routes to the caller │ routes to the callee │ caller as shown
//! ```
//!
//! Kept in one message buffer from the answer to the end. `caller` and `callee` are whole From or To values, tags included: what the
//! one side calls From is To for the other. The routes are values of a Route header, ready to be written, without ours. A target that a
//! peer did not give is empty: the address that was learned stands for it.

use super::Side;
use crate::message::Writer;

const PARTS: usize = 8;
const HEAD: usize = PARTS * 2;

/// The texts of a dialog.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct DialogText<'t> {
    /// Value of Call-ID.
    pub call_id: &'t [u8],
    /// The caller's identity: name-addr and tag.
    pub caller: &'t [u8],
    /// The callee's identity.
    pub callee: &'t [u8],
    /// URI of the caller's Contact.
    pub caller_target: &'t [u8],
    /// URI of the callee's Contact.
    pub callee_target: &'t [u8],
    /// Route values on the way to the caller, nearest first.
    pub caller_routes: &'t [u8],
    /// Route values on the way to the callee, nearest first.
    pub callee_routes: &'t [u8],
    /// The caller's identity as the callee knows it, where that is not `caller` (columns `from_host` and `privacy`); else empty.
    pub shown: &'t [u8],
}

impl<'t> DialogText<'t> {
    /// Writes the texts.
    pub fn write(&self, out: &mut Writer<'_>) {
        let parts = self.parts();
        let mut head = [0; HEAD];
        for (length, part) in head.as_chunks_mut().0.iter_mut().zip(parts) {
            // No part is longer than the message it came from.
            *length = (part.len() as u16).to_le_bytes();
        }
        out.put(&head);
        for part in parts {
            out.put(part);
        }
    }

    /// Reads what [`DialogText::write`] wrote.
    ///
    /// # Panics
    /// When `bytes` were not written here: our bug.
    #[must_use]
    pub fn read(bytes: &'t [u8]) -> DialogText<'t> {
        let mut rest = &bytes[HEAD..];
        let mut part = |number: usize| {
            let length = u16::from_le_bytes([bytes[2 * number], bytes[2 * number + 1]]);
            let (part, after) = rest.split_at(usize::from(length));
            rest = after;
            part
        };
        DialogText {
            call_id: part(0),
            caller: part(1),
            callee: part(2),
            caller_target: part(3),
            callee_target: part(4),
            caller_routes: part(5),
            callee_routes: part(6),
            shown: part(7),
        }
    }

    /// How long it is, written.
    #[must_use]
    pub fn length(&self) -> usize {
        HEAD + self.parts().iter().map(|part| part.len()).sum::<usize>()
    }

    /// Who the sides are, without the ways to them: each is asked for by the address that was learned.
    #[must_use]
    pub const fn without_ways(self) -> DialogText<'t> {
        DialogText { caller_target: b"", callee_target: b"", caller_routes: b"", callee_routes: b"", ..self }
    }

    fn parts(&self) -> [&'t [u8]; PARTS] {
        [
            self.call_id,
            self.caller,
            self.callee,
            self.caller_target,
            self.callee_target,
            self.caller_routes,
            self.callee_routes,
            self.shown,
        ]
    }

    /// What a request to a side is made of: its target, its routes, and who speaks to whom.
    #[must_use]
    pub const fn towards(&self, side: Side) -> Towards<'t> {
        match side {
            Side::Caller => {
                Towards { target: self.caller_target, routes: self.caller_routes, from: self.callee, to: self.caller }
            }
            Side::Callee => {
                let from = if self.shown.is_empty() { self.caller } else { self.shown };
                Towards { target: self.callee_target, routes: self.callee_routes, from, to: self.callee }
            }
        }
    }
}

/// A side as a request to it sees it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Towards<'t> {
    /// Its remote target.
    pub target: &'t [u8],
    /// The route set.
    pub routes: &'t [u8],
    /// From: the other side.
    pub from: &'t [u8],
    /// To: this side.
    pub to: &'t [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let text = DialogText {
            call_id: b"c1@192.0.2.1",
            caller: b"<sip:alice@192.0.2.1>;tag=a",
            callee: b"<sip:bob@192.0.2.2>;tag=b",
            caller_target: b"sip:alice@192.0.2.1",
            callee_target: b"",
            caller_routes: b"",
            callee_routes: b"<sip:p1;lr>, <sip:p2;lr>",
            shown: b"",
        };
        let mut bytes = [0; 512];
        let mut writer = Writer::new(&mut bytes);
        text.write(&mut writer);
        let written = writer.finish().expect("it fits");
        let read = DialogText::read(written);
        assert_eq!(read, text);
        assert_eq!(written.len(), text.length());
        let short = text.without_ways();
        assert_eq!((short.towards(Side::Callee).routes, short.towards(Side::Caller).target), (&b""[..], &b""[..]));
        assert_eq!((short.caller, short.callee, short.call_id), (text.caller, text.callee, text.call_id));
        assert_eq!(read.towards(Side::Callee).from, text.caller);
        assert_eq!(read.towards(Side::Caller).to, text.caller);
        assert_eq!(read.towards(Side::Callee).routes, text.callee_routes);
        let renamed = DialogText { shown: b"<sip:anonymous@anonymous.invalid>;tag=a", ..text };
        assert_eq!(renamed.towards(Side::Callee).from, renamed.shown);
        assert_eq!(renamed.towards(Side::Caller).to, text.caller);
    }
}
