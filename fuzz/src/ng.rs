//! What reads replies of media nodes, compiled from mediactl's own files: the crate around them brings a runtime that no target needs, and its coverage
//! counters would cost minutes.

#[path = "../../mediactl/src/rtpengine/bencode.rs"]
pub mod bencode;
#[path = "../../mediactl/src/rtpengine/id.rs"]
pub mod id;
#[path = "../../mediactl/src/rtpengine/query.rs"]
pub mod query;
#[path = "../../mediactl/src/rtpengine/reply.rs"]
pub mod reply;
