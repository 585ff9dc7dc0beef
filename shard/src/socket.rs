//! The sockets of a node: one per shard and listener, those of a listener sharing its address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use arrayvec::ArrayVec;
use corelane_core::limits::LISTENERS_MAX;

use crate::error::StartError;
use crate::sys::socket::{self, Sharing};

/// Bytes that one socket may hold in each direction, by the kernel's account, which charges a 700-byte datagram about 1.3 KiB:
/// some 6,000 datagrams, half a second of what one core can serve.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// The sockets of one shard, by listener.
pub(crate) type ShardSockets = ArrayVec<OwnedFd, LISTENERS_MAX>;

/// Opens every listener for every shard. Answers the bound addresses (port 0 has become a port) and the sockets by shard.
///
/// The first socket of a listener is bound alone and shared then. Bound to be shared from the start it would join whoever has the port and
/// shares it, a second Corelane of the same user, and take half of its calls; for port 0 the kernel itself may choose such a port.
///
/// # Errors
/// [`StartError::PortInUse`] also when the holder of the port would share it.
pub(crate) fn open_all(
    listeners: &[SocketAddr],
    shards: usize,
) -> Result<(Vec<SocketAddr>, Vec<ShardSockets>), StartError> {
    let mut addresses = Vec::with_capacity(listeners.len());
    let mut sockets: Vec<ShardSockets> = (0..shards).map(|_| ShardSockets::new()).collect();
    for listener in listeners {
        let failed = |(step, error): (&'static str, io::Error)| StartError::of_socket(*listener, step, error);
        let first = socket::open(*listener, Sharing::Exclusive, SOCKET_BUFFER_BYTES).map_err(failed)?;
        socket::share(first.as_fd()).map_err(failed)?;
        let address = socket::local_address(first.as_fd()).map_err(|error| failed(("read the address", error)))?;
        let mut first = Some(first);
        for sockets in &mut sockets {
            let opened = first.take().map_or_else(|| socket::open(address, Sharing::Group, SOCKET_BUFFER_BYTES), Ok);
            sockets.push(opened.map_err(failed)?);
        }
        addresses.push(address);
    }
    Ok((addresses, sockets))
}

#[cfg(test)]
mod tests {
    use super::open_all;
    use crate::error::StartError;
    use std::net::SocketAddr;

    fn any(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    #[test]
    fn all_shards_share_the_port_that_the_first_got() {
        let (addresses, sockets) = open_all(&[any("127.0.0.1:0"), any("[::1]:0")], 3).expect("loopback");
        assert_eq!((addresses.len(), sockets.len(), sockets[2].len()), (2, 3, 2));
        assert!(addresses.iter().all(|address| address.port() != 0));
    }

    #[test]
    fn a_port_of_another_node_is_in_use_although_it_could_be_shared() {
        let (addresses, _held) = open_all(&[any("127.0.0.1:0")], 2).expect("loopback");
        let Err(error) = open_all(&addresses, 2) else { panic!("the port is held") };
        assert!(matches!(error, StartError::PortInUse { listener } if listener == addresses[0]), "{error}");
        assert!(error.to_string().contains(&addresses[0].to_string()), "{error}");
    }

    #[test]
    fn a_foreign_address_is_named_with_its_cure() {
        let Err(error) = open_all(&[any("203.0.113.77:5060")], 1) else { panic!("documentation address") };
        assert!(matches!(error, StartError::NotOurAddress { .. }), "{error}");
        assert!(error.to_string().contains("203.0.113.77:5060"), "{error}");
    }
}
