//! The world around one Corelane: addresses, free ports, and the routing tables as a CSV directory.
//!
//! Each site owns one /24 of 127.0.0.0/8, chosen by process id and a counter:
//!
//! ```text
//!   .1 listener   .10 provider's callers   .21 .22 … gateways   .41 .42 … media nodes   .99 an address that belongs to nobody
//! ```

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
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

/// A port of `ip` that is free, for a process to come. It is given out once, and is none of those that the kernel gives to sockets which ask for any:
/// a SIPp with a socket for each call asks for hundreds of them, on the address where the next one is about to bind.
pub(crate) fn free_port(ip: IpAddr) -> SocketAddr {
    /// Below them are services, above them the media ports of the nodes and the kernel's own.
    const PORTS: Range<u32> = 10_000..30_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(64);
    let mut ports = PORTS.map(|_| {
        let place = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u32;
        SocketAddr::new(ip, (PORTS.start + place) as u16)
    });
    // A site's hosts are its own. `::1` is there once, and another process may be at work on it. Nothing is tried out that need not be: a child
    // that is just being started has every socket of this process for a moment, and the port is not free again as long.
    let free = ports.find(|address| ip.is_ipv4() || UdpSocket::bind(address).is_ok());
    free.unwrap_or_else(|| panic!("no free port on {ip}"))
}

/// Routing tables in the making: the columns that a test cares about, all others left to their defaults (SPEC §4).
#[derive(Default)]
pub(crate) struct Tables {
    listeners: Vec<SocketAddr>,
    sources: Vec<(String, Option<usize>)>,
    /// Columns of the provider beyond the usual ones.
    provider: Vec<(&'static str, u32)>,
    gateways: Vec<Gateway>,
    routes: Vec<(String, usize)>,
    /// Media nodes of set 1, which the provider then has.
    media_nodes: Vec<MediaNode>,
}

/// A row of `media_node`.
struct MediaNode {
    id: usize,
    ng: SocketAddr,
    enabled: bool,
}

/// A row of `gateway`, and its place with its carrier.
struct Gateway {
    address: SocketAddr,
    listener: Option<usize>,
    max_calls: Option<u32>,
    carrier: usize,
    priority: usize,
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
        let carrier = self.routes.len() + 1;
        self.gateways.push(Gateway { address, listener, max_calls: None, carrier, priority: 0 });
        self.routes.push((prefix.to_owned(), carrier));
        self
    }

    /// Adds a gateway to the carrier added last: it is tried after those that the carrier has.
    pub(crate) fn then(mut self, address: SocketAddr) -> Tables {
        let before = self.gateways.last().expect("a gateway to come after");
        let next = Gateway { address, max_calls: None, priority: before.priority + 1, ..*before };
        self.gateways.push(next);
        self
    }

    /// Sets the `max_calls` of the gateway added last.
    pub(crate) fn max_calls(mut self, max_calls: u32) -> Tables {
        self.gateways.last_mut().expect("a gateway to cap").max_calls = Some(max_calls);
        self
    }

    /// Sets a column of the provider.
    pub(crate) fn provider(mut self, column: &'static str, value: u32) -> Tables {
        self.provider.push((column, value));
        self
    }

    /// Adds a media node, through which the provider's calls go from then on.
    pub(crate) fn media_node(mut self, ng: SocketAddr) -> Tables {
        if self.media_nodes.is_empty() {
            self.provider.push(("media_set", 1));
        }
        self.media_nodes.push(MediaNode { id: self.media_nodes.len() + 1, ng, enabled: true });
        self
    }

    /// Takes the media node with this id out of new calls, or back in, once the tables are written again.
    pub(crate) fn enable_node(&mut self, id: usize, enabled: bool) {
        let mut nodes = self.media_nodes.iter_mut();
        nodes.find(|node| node.id == id).expect("a media node to drain").enabled = enabled;
    }

    /// The media node with this id is another machine.
    pub(crate) fn move_node(&mut self, id: usize, ng: SocketAddr) {
        let mut nodes = self.media_nodes.iter_mut();
        nodes.find(|node| node.id == id).expect("a media node to move").ng = ng;
    }

    /// Takes the row of the media node with this id out.
    pub(crate) fn remove_node(&mut self, id: usize) {
        self.media_nodes.retain(|node| node.id != id);
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
        let numbered = |head: &str, count, row: &dyn Fn(usize) -> String| rows(head, &mut (1..=count).map(row));
        let (gateways, carriers) = (self.gateways.len(), self.routes.len());
        let columns = self.provider.iter().map(|(column, _)| format!(",{column}")).collect::<String>();
        let values = self.provider.iter().map(|(_, value)| format!(",{value}")).collect::<String>();
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
            ("provider", format!("id,name,enabled,routing_group{columns}\n1,partner,1,1{values}\n")),
            (
                "provider_address",
                rows(
                    "provider_id,listener_id,cidr",
                    &mut self.sources.iter().map(|(cidr, listener)| format!("1,{},{cidr}", id(listener))),
                ),
            ),
            (
                "gateway",
                numbered("id,name,enabled,listener_id,host,port,transport,max_calls", gateways, &|n| {
                    let Gateway { address, listener, max_calls, .. } = &self.gateways[n - 1];
                    let cap = max_calls.map_or(String::new(), |calls| calls.to_string());
                    format!("{n},gateway-{n},1,{},{},{},udp,{cap}", id(listener), address.ip(), address.port())
                }),
            ),
            ("carrier", numbered("id,name,enabled", carriers, &|n| format!("{n},carrier-{n},1"))),
            (
                "carrier_gateway",
                numbered("carrier_id,gateway_id,priority,weight", gateways, &|n| {
                    let Gateway { carrier, priority, .. } = &self.gateways[n - 1];
                    format!("{carrier},{n},{priority},100")
                }),
            ),
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
            (
                "media_node",
                rows(
                    "id,set,host,port,weight,max_sessions,enabled",
                    &mut self.media_nodes.iter().map(|MediaNode { id, ng, enabled }| {
                        format!("{id},1,{},{},100,1000,{enabled}", ng.ip(), ng.port())
                    }),
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
