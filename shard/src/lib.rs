//! Placeholder until its first stone.
