//! A response forwarded (RFC 3261 §16.7 step 3).

use super::{Copier, Writer};
use crate::message::{Message, Name, Values};

/// Writes the response without its topmost Via value (RFC 3261 §16.7 step 3), and without the line when it was the only one
/// there. The rest is kept byte for byte.
///
/// # Panics
/// When `message` did not parse and has no Via: our bug.
pub fn write_response(message: &Message<'_>, out: &mut Writer<'_>) {
    let field = message.first(Name::Via).expect("parsing made sure of a Via");
    let via = message.via().value;
    let mut rest = field.value;
    rest.start = via.end;
    let mut copier = Copier::new(message, out);
    // Nothing behind it, as nearly always.
    let second = if rest.is_empty() { None } else { Values::within(message.bytes(), rest).next() };
    match second {
        Some(second) => {
            copier.keep_to(via.first());
            copier.drop_to(second.first());
        }
        None => {
            copier.keep_to(field.line.first());
            copier.drop_to(field.line.last());
        }
    }
    copier.keep_rest();
}
