//! A datagram, whatever it holds: parsed, looked at from every side, steered.
//!
//! A message that the parser takes has the Call-ID that steering finds in the raw datagram: else two shards would each believe that the call is
//! the other's. What it refuses but can answer must be as safe to look at as what it takes.

use corelane_core::message::{Malformed, Message};
use corelane_core::steering::find_call_id;

use crate::message::look_at_all;

/// Parses `bytes` and reads all that came out.
///
/// # Panics
/// When the parser, a view or steering breaks its promise.
pub fn check(bytes: &[u8]) {
    match Message::parse(bytes) {
        Ok(message) => {
            assert_eq!(find_call_id(bytes), Some(message.call_id()), "steering and the parser agree");
            assert_eq!(find_call_id(message.bytes()), Some(message.call_id()), "whatever was cut off");
            look_at_all(&message);
            // What was cut off was no part of it: the rest is the same message.
            let again = Message::parse(message.bytes()).expect("a message without its surroundings is one");
            assert_eq!(again.bytes(), message.bytes());
            assert_eq!((again.start(), again.fields()), (message.start(), message.fields()));
        }
        Err(Malformed { partial: Some(partial), .. }) => look_at_all(&partial),
        Err(Malformed { partial: None, .. }) => {
            let _ = find_call_id(bytes);
        }
    }
}
