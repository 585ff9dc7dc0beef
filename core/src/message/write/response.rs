//! A response forwarded (RFC 3261 §16.7 step 3).

use super::{Copier, Rewrite, Writer};
use crate::message::{Field, Message, Name, Values};

/// Writes the response without its topmost Via value (RFC 3261 §16.7 step 3), and without the line when it was the only one
/// there. The rest is kept byte for byte.
///
/// # Panics
/// When `message` did not parse and has no Via: our bug.
pub fn write_response(message: &Message<'_>, out: &mut Writer<'_>) {
    let mut copier = Copier::new(message, out);
    let via = message.first(Name::Via).expect("parsing made sure of a Via");
    take_via(message, &via, &mut copier);
    copier.keep_rest();
}

/// The same, with other fields that leave another way than they came.
///
/// # Panics
/// When `message` did not parse and has no Via: our bug.
pub fn write_response_with(message: &Message<'_>, rewrite: &Rewrite<'_>, out: &mut Writer<'_>) {
    let mut copier = Copier::new(message, out);
    let mut via_seen = false;
    for field in message.fields() {
        if field.name == Name::Via && !via_seen {
            via_seen = true;
            take_via(message, field, &mut copier);
        } else {
            rewrite.field(&mut copier, field);
        }
    }
    assert!(via_seen, "parsing made sure of a Via");
    if let Some(last) = message.fields().last() {
        rewrite.add_lines(&mut copier, last);
    }
    copier.keep_rest();
}

/// Takes the topmost Via value out, with its line where nothing is left of it.
#[inline(always)]
fn take_via(message: &Message<'_>, field: &Field, copier: &mut Copier<'_, '_, '_>) {
    let via = message.via().value;
    let mut rest = field.value;
    rest.start = via.end;
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
}
