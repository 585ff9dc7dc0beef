//! Interface stand-in until the shard crate is merged.
#![allow(missing_docs)]
use std::net::SocketAddr;
use std::path::PathBuf;
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SteeringMode { Auto, Bpf, Forward }
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum IoKind { Mmsg, Ring }
pub struct ShardSpec { pub settings: corelane_core::Settings, pub cpu: Option<usize> }
pub struct NodeSpec { pub shards: Vec<ShardSpec>, pub listeners: Vec<SocketAddr>, pub image: PathBuf, pub steering: SteeringMode, pub io: IoKind }
#[derive(Debug)]
pub struct StartError;
impl std::fmt::Display for StartError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("x") } }
impl std::error::Error for StartError {}
pub struct Node;
impl Node {
    pub fn start(_spec: NodeSpec) -> Result<Node, StartError> { Err(StartError) }
    pub fn local_addresses(&self) -> &[SocketAddr] { &[] }
    pub fn steering_in_use(&self) -> SteeringMode { SteeringMode::Forward }
    pub fn counters(&self, _shard: usize) -> corelane_core::Counters { corelane_core::Counters::default() }
    pub fn stop(&self) {}
    pub fn join(self) {}
}
