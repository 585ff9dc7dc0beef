mod acks;
mod answers;
mod cancels;
mod inside;
mod invites;
