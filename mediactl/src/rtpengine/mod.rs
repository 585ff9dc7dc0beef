//! Media control: the ng protocol of rtpengine, without a socket, a clock or a task.
//!
//! | file | what |
//! | --- | --- |
//! | [`bencode`] | the encoding |
//! | [`id`], [`flags`], [`command`], [`reply`] | what is said |
pub mod bencode;
pub mod command;
pub mod flags;
pub mod id;
pub mod reply;
