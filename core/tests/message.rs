//! The wire: grammar point by point, torture messages, writers, properties.

mod message {
    mod grammar;
    mod properties;
    mod torture_4475;
    mod torture_5118;
    mod writers;
}

/// A message written with LF for readability, as it goes over the wire.
fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}
