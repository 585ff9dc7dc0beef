//! Why a node does not start: what, where, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use corelane_core::limits::LISTENERS_MAX;

use crate::inbox::SHARDS_MAX;
use crate::steer::SteerError;
use crate::sys::map::MapError;

/// Why a node does not start. The text names the place and the cure.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// No shard, or too many.
    Shards {
        /// How many were asked for.
        count: usize,
    },
    /// No listener, or too many.
    Listeners {
        /// How many were asked for.
        count: usize,
    },
    /// The routing image cannot be used: no listener opens without one.
    Image(MapError),
    /// Another process holds the address.
    PortInUse {
        /// The address.
        listener: SocketAddr,
    },
    /// No interface of this machine has the address.
    NotOurAddress {
        /// The address.
        listener: SocketAddr,
    },
    /// A socket cannot be opened.
    Socket {
        /// The address.
        listener: SocketAddr,
        /// The step that failed.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Steering in the kernel was demanded and is not to be had.
    Steering(SteerError),
    /// The wake-up events of the shards cannot be made.
    Wakers(io::Error),
    /// A shard's thread or I/O cannot be set up.
    Shard {
        /// Which.
        shard: usize,
        /// What could not be made.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl StartError {
    pub(crate) fn of_socket(listener: SocketAddr, step: &'static str, source: io::Error) -> StartError {
        match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse { listener },
            io::ErrorKind::AddrNotAvailable => StartError::NotOurAddress { listener },
            _ => StartError::Socket { listener, step, source },
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Shards { count } => {
                write!(out, "{count} shards: a node has 1 to {SHARDS_MAX}; set --shards")
            }
            StartError::Listeners { count } => {
                write!(out, "{count} listeners: a node has 1 to {LISTENERS_MAX}; set --listen")
            }
            StartError::Image(error) => error.fmt(out),
            StartError::PortInUse { listener } => {
                write!(out, "listener {listener}: address in use; stop whoever holds it (`ss -ulpn`) or choose another")
            }
            StartError::NotOurAddress { listener } => {
                write!(
                    out,
                    "listener {listener}: no interface has this address; add it or choose another (`ip address`)"
                )
            }
            StartError::Socket { listener, step, source } => {
                let cure = match source.raw_os_error() {
                    Some(libc::EACCES | libc::EPERM) => "; ports below 1024 need CAP_NET_BIND_SERVICE",
                    Some(libc::EMFILE | libc::ENFILE) => "; raise the open-files limit",
                    _ => "",
                };
                write!(out, "listener {listener}: cannot {step}: {source}{cure}")
            }
            StartError::Steering(error) => {
                write!(
                    out,
                    "steering in the kernel: {error}; allow it (CAP_BPF, CAP_NET_ADMIN) or use --steering forward"
                )
            }
            StartError::Wakers(error) => write!(out, "wake-up events: {error}; raise the open-files limit"),
            StartError::Shard { shard, what, reason } => {
                write!(
                    out,
                    "shard {shard}: cannot make its {what}: {reason}; io_uring must be allowed (kernel.io_uring_disabled = 0) and \
                     the locked-memory limit (`ulimit -l`) have room"
                )
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Image(error) => Some(error),
            StartError::Socket { source, .. } | StartError::Wakers(source) => Some(source),
            StartError::Steering(error) => Some(error),
            _ => None,
        }
    }
}

/// A shard ended other than by [`Node::stop`](crate::Node::stop).
#[derive(Debug)]
pub struct ShardFailed {
    /// Which.
    pub shard: usize,
    /// Why.
    pub reason: String,
}

impl fmt::Display for ShardFailed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "shard {} ended: {}", self.shard, self.reason)
    }
}

impl std::error::Error for ShardFailed {}
