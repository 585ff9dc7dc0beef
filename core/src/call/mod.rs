//! The call record.
