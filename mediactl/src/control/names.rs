//! Where media nodes are: names become addresses here, off every path that a call takes.
//!
//! An address needs no look-up. A name is looked up at the start, again every [`AGAIN`], and sooner while it does not resolve. A name that
//! does not resolve is a node that cannot be used, not a node that cannot start: it is told once, and again when it comes back. The last
//! address stays in use while the name service is silent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::teller::Teller;

/// From one look-up to the next.
const AGAIN: Duration = Duration::from_secs(60);
/// The same while the name does not resolve.
const AGAIN_FAILED: Duration = Duration::from_secs(2);
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A name has an address; whoever hears of it decides whether that is news.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Whose.
    pub(super) id: u32,
    /// The name that was looked up.
    pub(super) host: String,
    /// Its address, with the port that was asked for.
    pub(super) address: SocketAddr,
}

/// The address that a host says itself.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip.to_canonical(), port))
}

/// Looks a name up for as long as somebody listens.
pub(super) async fn follow(id: u32, host: String, port: u16, found: mpsc::Sender<Found>, teller: Teller) {
    let look_up = async |host: &str| Ok(lookup_host((host, port)).await?.collect());
    follow_by(look_up, id, host, found, teller).await;
}

/// The same with another way to look up.
async fn follow_by(
    mut look_up: impl AsyncFnMut(&str) -> io::Result<Vec<SocketAddr>>,
    id: u32,
    host: String,
    found: mpsc::Sender<Found>,
    teller: Teller,
) {
    let (mut told, mut current) = (false, None);
    while !found.is_closed() {
        let address = match timeout(PATIENCE, look_up(&host)).await {
            Ok(Ok(addresses)) => choose(current, addresses.into_iter()).ok_or_else(|| "it has no address".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        let failed = address.is_err();
        match address {
            Ok(address) => {
                if told {
                    teller.tell(format!("media node {id}: `{host}` resolves again"));
                }
                current = Some(address);
                let _ = found.send(Found { id, host: host.clone(), address }).await;
            }
            Err(error) if !told => {
                teller.tell(format!(
                    "media node {id}: `{host}` does not resolve: {error}; the node is not used until it does (correct `host` in \
                     media_node.csv and send SIGHUP, or look at this machine's name service)"
                ));
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
    use super::super::Request;
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

    /// The node of such a name joins as soon as the name resolves, and stays where it was while nobody answers.
    #[tokio::test(start_paused = true)]
    async fn a_name_that_does_not_resolve_is_looked_up_until_it_does() {
        let (sender, mut found) = mpsc::channel(1);
        let (lines_in, lines) = std::sync::mpsc::channel();
        let (teller, _) = Teller::new(lines_in);
        let addresses = ["192.0.2.1:2223", "192.0.2.2:2223"].map(|text| text.parse::<SocketAddr>().unwrap());
        let mut looks = 0;
        let look_up = async move |host: &str| {
            assert_eq!(host, "media.example");
            looks += 1;
            match looks {
                1 => Err(io::Error::other("no such name")),
                2 => Ok(Vec::new()),
                3 => std::future::pending().await,
                4 => Ok(vec![addresses[0]]),
                5 => Err(io::Error::other("nobody answers")),
                _ => Ok(vec![addresses[1]]),
            }
        };
        let looking = follow_by(look_up, 7, "media.example".to_owned(), sender, teller);
        let hearing = async {
            let began = tokio::time::Instant::now();
            let first = found.recv().await.expect("it resolves in the end");
            let waited = began.elapsed();
            let second = found.recv().await.expect("it moves");
            assert_eq!((first.id, first.address, second.address), (7, addresses[0], addresses[1]));
            assert_eq!(waited, 3 * AGAIN_FAILED + PATIENCE, "in virtual time");
        };
        tokio::select! {
            () = looking => unreachable!("somebody listens"),
            () = hearing => {}
        }
        let lines: Vec<Request> = lines.try_iter().collect();
        let Request::Tell(first) = &lines[0] else { panic!("{lines:?}") };
        assert!(first.contains("`media.example` does not resolve: no such name"), "{first}");
        assert_eq!(lines[1], Request::Tell("media node 7: `media.example` resolves again".to_owned()));
        assert_eq!(lines.len(), 4, "told once each time: {lines:?}");
    }

    #[tokio::test]
    async fn a_name_becomes_an_address() {
        let (teller, _) = Teller::new(std::sync::mpsc::channel().0);
        let (sender, mut found) = mpsc::channel(1);
        tokio::select! {
            () = follow(7, "localhost".to_owned(), 2223, sender, teller) => unreachable!("somebody listens"),
            found = found.recv() => {
                let Found { id, address, .. } = found.expect("every machine has this name");
                assert!(id == 7 && address.ip().is_loopback() && address.port() == 2223);
            }
        }
    }
}
