//! What the fuzz targets check. Each module has one `check`: bytes in, a panic where a promise is broken.
//!
//! | target | input | promise |
//! | --- | --- | --- |
//! | [`parse`] | a datagram | nothing from the network panics, and every offset that the parser gives lies within the message |
//! | [`round_trip`] | a datagram | what is written from a message parses again and has everything that was not to be changed |
//! | [`engine`] | a script of datagrams, time and trouble | effects keep their rules; when all timers have run nothing is left |
//! | [`image`] | an image, or changes to a good one | no image, however damaged, panics a shard or keeps it busy |
//! | [`reply`] | what a media node says | nothing of it panics the control core, no part is taken for the whole, each value has one spelling |
//!
//! The checks are plain functions so that a finding can be looked at in a debugger or a test without libFuzzer. They use the public face of
//! the engine only, and of media control those files that read replies.

#![forbid(unsafe_code)]

pub mod engine;
pub mod image;
pub mod message;
pub mod ng;
pub mod parse;
pub mod reply;
pub mod round_trip;
pub mod script;
