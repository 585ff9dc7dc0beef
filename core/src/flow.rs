//! Where a message came from and where one goes: listener, transport and peer.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// An address and a port.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// The host's address. An IPv4 peer of a dual-stack socket is always held as IPv4.
    pub ip: IpAddr,
    /// The UDP or TCP port.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint from its parts; an IPv4-mapped IPv6 address becomes IPv4.
    #[must_use]
    pub const fn new(ip: IpAddr, port: u16) -> Endpoint {
        Endpoint { ip: ip.to_canonical(), port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint::new(address.ip(), address.port())
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> SocketAddr {
        SocketAddr::new(endpoint.ip, endpoint.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(out)
    }
}

/// The transport of a flow. TCP and TLS will be further variants; nothing may assume that UDP is the only one.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// RFC 3261 §18 over UDP.
    Udp,
}

impl Transport {
    /// Whether the transport itself delivers, so that transactions do not retransmit (RFC 3261 §17).
    #[must_use]
    pub const fn reliable(self) -> bool {
        match self {
            Transport::Udp => false,
        }
    }

    /// How a Via field begins, up to the host (RFC 3261 §20.42).
    #[inline]
    pub(crate) const fn via_start(self) -> &'static [u8] {
        match self {
            Transport::Udp => b"Via: SIP/2.0/UDP ",
        }
    }

    /// The name in a Via header (RFC 3261 §20.42).
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
        }
    }
}

/// A listener of this process: its place in [`Settings::listeners`](crate::Settings).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ListenerIndex(pub u8);

/// One direction-less association between a listener and a peer.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The remote end.
    pub peer: Endpoint,
    /// The local end.
    pub listener: ListenerIndex,
    /// How bytes travel between them.
    pub transport: Transport,
}

const _: () = assert!(size_of::<Flow>() <= 24);
