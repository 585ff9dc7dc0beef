//! Media control: the ng protocol of rtpengine, without a socket, a clock or a task.
//!
//! | file | what |
//! | --- | --- |
//! | [`bencode`] | the encoding |
//! | [`client`] | the machine |
//! | [`sessions`] | what is held and owed, over restarts |
//! | [`reconcile`] | which sessions nobody knows any more |
//! | [`node`], [`select`] | whether a node can be asked, and which one is |
//! | [`id`], [`flags`], [`command`], [`reply`], [`query`] | what is said |
//! | [`counter`] | what is counted |

pub mod bencode;
pub mod client;
pub mod command;
pub mod counter;
pub mod flags;
pub mod id;
pub mod node;
pub mod query;
pub mod reconcile;
pub mod reply;
pub mod select;
pub mod sessions;
