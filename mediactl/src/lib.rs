//! Corelane's control core: what a shard must never wait for.

pub mod routes;
