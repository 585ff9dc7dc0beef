//! Where media nodes are: names become addresses here, off every path that a call takes.
//!
//! An address needs no look-up. A name is looked up at the start, again every [`AGAIN`], and sooner while it does not resolve. A name that
//! does not resolve is a node that cannot be used, not a node that cannot start: it is told once, and again when it comes back. The last
//! address stays in use while the name service is silent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// From one look-up to the next.
const AGAIN: Duration = Duration::from_secs(60);
/// The same while the name does not resolve.
const AGAIN_FAILED: Duration = Duration::from_secs(2);
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A node's address is known, or is another one.
pub(super) type Found = (u32, SocketAddr);

/// The address that a host says itself.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}

/// Looks a name up for as long as somebody listens.
pub(super) async fn follow(id: u32, host: String, port: u16, found: mpsc::Sender<Found>) {
    let (mut told, mut current) = (false, None);
    while !found.is_closed() {
        let address = match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
            Ok(Ok(addresses)) => choose(current, addresses).ok_or_else(|| "it has no address".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        let failed = address.is_err();
        match address {
            Ok(address) => {
                if told {
                    eprintln!("corelane: media node {id}: `{host}` resolves again");
                }
                if current.replace(address) != Some(address) {
                    let _ = found.send((id, address)).await;
                }
            }
            Err(error) if !told => {
                eprintln!(
                    "corelane: media node {id}: `{host}` does not resolve: {error}; the node is not used until it does"
                );
            }
            Err(_) => {}
        }
        told = failed;
        sleep(if failed { AGAIN_FAILED } else { AGAIN }).await;
    }
}

/// The address that is in use, while the name still has it: the sessions are there, in whatever order a name server says its addresses.
fn choose(current: Option<SocketAddr>, addresses: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let mut first = None;
    for address in addresses {
        if Some(address) == current {
            return current;
        }
        first = first.or(Some(address));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_look_up() {
        assert_eq!(literal("192.0.2.1", 2223), "192.0.2.1:2223".parse().ok());
        assert_eq!(literal("2001:db8::1", 2223), "[2001:db8::1]:2223".parse().ok());
        assert_eq!(literal("[2001:db8::1]", 2223), "[2001:db8::1]:2223".parse().ok());
        assert_eq!(literal("media.example", 2223), None);
    }

    #[test]
    fn an_address_in_use_stays_while_the_name_has_it() {
        let addresses: Vec<SocketAddr> = ["192.0.2.1:1", "192.0.2.2:1"].map(|text| text.parse().unwrap()).into();
        let chosen = |current| choose(current, addresses.iter().copied());
        assert_eq!(chosen(None), Some(addresses[0]));
        assert_eq!(chosen(Some(addresses[1])), Some(addresses[1]));
        assert_eq!(chosen("192.0.2.9:1".parse().ok()), Some(addresses[0]));
        assert_eq!(choose(Some(addresses[0]), std::iter::empty()), None);
    }

    #[tokio::test]
    async fn a_name_becomes_an_address() {
        let (sender, mut found) = mpsc::channel(1);
        let looking = tokio::spawn(follow(7, "localhost".to_owned(), 2223, sender));
        let (id, address) = found.recv().await.expect("every machine has this name");
        assert!(id == 7 && address.ip().is_loopback() && address.port() == 2223);
        looking.abort();
    }
}
