//! A message with another body.

use super::{Copier, Writer};
use crate::message::body::{body_of, describes_body};
use crate::message::{Message, Name, Span};

/// Writes the message with a body of `length` bytes: its own with a part replaced, or none, and then no field that describes one.
pub(crate) fn write_body(message: &Message<'_>, length: usize, part: Option<(Span, &[u8])>, out: &mut Writer<'_>) {
    // A body is part of a message, and of what replaces it the writer takes no more than a message.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let mut copier = Copier::new(message, out);
    for field in message.fields() {
        if field.name == Name::ContentLength {
            copier.keep_to(field.value.first());
            copier.put_number(length);
            copier.drop_to(field.value.last());
        } else if part.is_none() && describes_body(message, field) {
            copier.keep_to(field.line.first());
            copier.drop_to(field.line.last());
        }
    }
    let last = message.fields().last().map_or(0, |field| field.line.last());
    if message.first(Name::ContentLength).is_none() {
        copier.keep_to(last);
        copier.put(b"Content-Length: ");
        copier.put_number(length);
        copier.put(b"\r\n");
    }
    match part {
        Some((span, new)) => {
            copier.keep_to(span.first());
            copier.put(new);
            copier.drop_to(span.last());
            copier.keep_rest();
        }
        None => {
            copier.keep_to(body_of(message).first());
            copier.finish();
        }
    }
}
