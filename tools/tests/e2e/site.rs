//! The world around one Corelane: addresses, free ports, and the routing tables as a CSV directory.
//!
//! Each site owns one /24 of 127.0.0.0/8, chosen by process id and a counter:
//!
//! ```text
//!   .1 listener   .10 provider's callers   .21 .22 … gateways   .99 an address that belongs to nobody
//! ```

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// One test's world.
pub(crate) struct Site {
    directory: TempDir,
    network: [u8; 2],
}

impl Site {
    /// A new world with nobody in it.
    pub(crate) fn new() -> Site {
        static SITES: AtomicU32 = AtomicU32::new(0);
        let place = std::process::id().wrapping_mul(64).wrapping_add(SITES.fetch_add(1, Ordering::Relaxed));
        // 127.0 is left alone: resolvers and other people's tests live there.
        let network = [(place >> 8) as u8 % 254 + 1, place as u8];
        Site { directory: tempfile::tempdir().expect("a temporary directory"), network }
    }

    /// The host `last` of this site's network.
    pub(crate) fn host(&self, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.network[0], self.network[1], last))
    }

    /// A free port on the host `last`.
    pub(crate) fn address(&self, last: u8) -> SocketAddr {
        free_port(self.host(last))
    }

    /// The provider's callers.
    pub(crate) fn caller(&self) -> IpAddr {
        self.host(10)
    }

    /// An address that belongs to no provider and no gateway.
    pub(crate) fn stranger(&self) -> IpAddr {
        self.host(99)
    }

    /// Where this test's files lie.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A port of `ip` that is free now. The socket is closed again, so the next process can have it.
pub(crate) fn free_port(ip: IpAddr) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).unwrap_or_else(|error| panic!("no free port on {ip}: {error}"));
    socket.local_addr().expect("a bound socket has an address")
}

/// Routing tables in the making: the columns that a test cares about, all others left to their defaults (SPEC §4).
#[derive(Default)]
pub(crate) struct Tables {
    listeners: Vec<SocketAddr>,
    sources: Vec<(String, Option<usize>)>,
    gateways: Vec<(SocketAddr, Option<usize>)>,
    routes: Vec<(String, usize)>,
}

impl Tables {
    /// One listener at `listener`, one provider whose calls come from `source`.
    pub(crate) fn new(listener: SocketAddr, source: IpAddr) -> Tables {
        Tables::default().listener(listener).source(source, None)
    }

    /// Adds a listener; its id is its place, counted from 1.
    pub(crate) fn listener(mut self, address: SocketAddr) -> Tables {
        self.listeners.push(address);
        self
    }

    /// Adds an address of the one provider, on `listener` or on all.
    pub(crate) fn source(mut self, ip: IpAddr, listener: Option<usize>) -> Tables {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        self.sources.push((format!("{ip}/{bits}"), listener));
        self
    }

    /// Adds a gateway, its carrier, and a route of `prefix` to it.
    pub(crate) fn gateway(self, prefix: &str, address: SocketAddr) -> Tables {
        self.gateway_behind(prefix, address, None)
    }

    /// Same, with requests to it leaving by the listener with this id.
    pub(crate) fn gateway_behind(mut self, prefix: &str, address: SocketAddr, listener: Option<usize>) -> Tables {
        self.gateways.push((address, listener));
        self.routes.push((prefix.to_owned(), self.gateways.len()));
        self
    }

    /// Writes the directory and says where it is.
    pub(crate) fn write(&self, site: &Site) -> PathBuf {
        let id = |listener: &Option<usize>| listener.map_or(String::new(), |id| id.to_string());
        let rows = |head: &str, rows: &mut dyn Iterator<Item = String>| {
            rows.fold(format!("{head}\n"), |mut text, row| {
                writeln!(text, "{row}").expect("a string takes all");
                text
            })
        };
        let numbered = |head: &str, row: &dyn Fn(usize) -> String| rows(head, &mut (1..=self.gateways.len()).map(row));
        let files = [
            (
                "listener",
                rows(
                    "id,name,address,port,transport",
                    &mut self.listeners.iter().enumerate().map(|(at, address)| {
                        format!("{},listener-{},{},{},udp", at + 1, at + 1, address.ip(), address.port())
                    }),
                ),
            ),
            ("provider", "id,name,enabled,routing_group\n1,partner,1,1\n".to_owned()),
            (
                "provider_address",
                rows(
                    "provider_id,listener_id,cidr",
                    &mut self.sources.iter().map(|(cidr, listener)| format!("1,{},{cidr}", id(listener))),
                ),
            ),
            (
                "gateway",
                numbered("id,name,enabled,listener_id,host,port,transport", &|n| {
                    let (address, listener) = &self.gateways[n - 1];
                    format!("{n},gateway-{n},1,{},{},{},udp", id(listener), address.ip(), address.port())
                }),
            ),
            ("carrier", numbered("id,name,enabled", &|n| format!("{n},carrier-{n},1"))),
            ("carrier_gateway", numbered("carrier_id,gateway_id,priority,weight", &|n| format!("{n},{n},1,100"))),
            (
                "route",
                rows(
                    "id,routing_group,prefix,carrier_id,priority,weight",
                    &mut self
                        .routes
                        .iter()
                        .enumerate()
                        .map(|(at, (prefix, carrier))| format!("{},1,{prefix},{carrier},1,100", at + 1)),
                ),
            ),
        ];
        let directory = site.path().join("routes");
        fs::create_dir_all(&directory).expect("a directory for the tables");
        for (table, text) in files {
            fs::write(directory.join(format!("{table}.csv")), text).expect("a table is written");
        }
        directory
    }
}
