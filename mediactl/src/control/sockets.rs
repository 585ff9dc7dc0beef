//! The sockets towards media nodes: several for each node, all non-blocking.
//!
//! Each is connected to its node, so that the kernel keeps everybody else's datagrams out and says when nobody listens there (ICMP). That
//! is allowed here, as it is not for a listener's socket (docs/adr/0004-steering.md): nobody but the node sends to these.
//!
//! Nothing waits: a datagram for which the kernel has no room is dropped and counted, and the client asks again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::task::Context;

use tokio::net;

/// The largest reply that is read: a datagram's own limit.
pub(super) const REPLY_MAX: usize = 1 << 16;

/// The sockets of one node.
struct NodeSockets {
    id: u32,
    address: SocketAddr,
    sockets: Vec<Socket>,
}

/// One socket, twice: the runtime's for what comes in, and a plain one for what goes out, which is tried at once without asking whether the
/// runtime has seen room.
struct Socket {
    incoming: net::UdpSocket,
    outgoing: UdpSocket,
}

/// What a socket had to say.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard<'b> {
    /// A datagram.
    Datagram(&'b [u8]),
    /// The kernel: nobody listens there.
    Unreachable,
}

/// What became of a send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// The kernel took it.
    Taken,
    /// The kernel has no room, or no way there.
    Dropped,
    /// The kernel says of an earlier datagram that nobody listens there.
    Unreachable,
}

/// All sockets.
#[derive(Default)]
pub(super) struct Sockets {
    nodes: Vec<NodeSockets>,
}

impl Sockets {
    /// Has `count` sockets for a node, whose address is its own for good.
    ///
    /// # Errors
    /// The kernel gives no socket, or has no way there: the node has none then.
    pub(super) fn open(&mut self, id: u32, address: SocketAddr, count: usize) -> io::Result<()> {
        if self.nodes.iter().any(|node| node.id == id) {
            return Ok(());
        }
        let sockets = (0..count).map(|_| open(address)).collect::<io::Result<Vec<_>>>()?;
        self.nodes.push(NodeSockets { id, address, sockets });
        Ok(())
    }

    /// Closes those of a node.
    pub(super) fn close(&mut self, id: u32) {
        self.nodes.retain(|node| node.id != id);
    }

    /// Sends from one of a node's sockets; any number names one.
    pub(super) fn send(&self, id: u32, socket: usize, bytes: &[u8]) -> Sent {
        let Some(node) = self.nodes.iter().find(|node| node.id == id) else { return Sent::Dropped };
        let socket = &node.sockets[socket % node.sockets.len()].outgoing;
        match socket.send(bytes) {
            Ok(_) => Sent::Taken,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // It was about an earlier datagram; this one has not left yet.
                let _ = socket.send(bytes);
                Sent::Unreachable
            }
            Err(_) => Sent::Dropped,
        }
    }

    /// Whether any socket has something to say; else the context is woken when one does.
    pub(super) fn poll_heard(&self, context: &mut Context<'_>) -> bool {
        let mut heard = false;
        for socket in self.nodes.iter().flat_map(|node| &node.sockets) {
            // Every socket is asked, so that each of them wakes.
            heard |= socket.incoming.poll_recv_ready(context).is_ready();
        }
        heard
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.nodes.iter().map(|node| node.sockets.len()).sum()
    }

    /// What one of them (counted over all nodes) has to say, if anything: node's id and address, socket of the node.
    pub(super) fn hear<'b>(&self, place: usize, into: &'b mut [u8]) -> Option<((u32, SocketAddr), usize, Heard<'b>)> {
        let mut all = self.nodes.iter().flat_map(|node| {
            node.sockets.iter().enumerate().map(move |(at, socket)| ((node.id, node.address), at, socket))
        });
        let (id, at, socket) = all.nth(place)?;
        match socket.incoming.try_recv(into) {
            Ok(length) => Some((id, at, Heard::Datagram(&into[..length]))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Some((id, at, Heard::Unreachable)),
            Err(_) => None,
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    // A connect of UDP sends nothing and waits for nothing.
    socket.connect(address)?;
    Ok(Socket { outgoing: socket.try_clone()?, incoming: net::UdpSocket::from_std(socket)? })
}
