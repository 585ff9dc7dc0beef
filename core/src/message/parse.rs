//! The one pass over a datagram.
