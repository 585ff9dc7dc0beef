//! Endpoints that misbehave: one test for each way that is not tested elsewhere. `docs/misbehaviour.md` has all of them with their outcome;
//! `documents.rs` holds the two together.

mod acks;
mod answers;
mod cancels;
mod inside;
mod invites;
