//! The world around one Corelane: addresses, free ports, and the routing tables as a CSV directory.
//!
//! Each site owns one /24 of 127.0.0.0/8, chosen by process id and a counter:
//!
//! ```text
//!   .1 listener   .10 provider's callers   .21 .22 … gateways   .41 .42 … media nodes   .99 an address that belongs to nobody
//! ```

use std::fmt::{Display, Write as _};
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

/// A row in the making: the columns that somebody cared about, in no order.
type Row = Vec<(&'static str, String)>;

/// Sets a column, or sets it anew.
fn set(row: &mut Row, column: &'static str, value: impl Display + Copy) {
    row.retain(|(known, _)| *known != column);
    row.push((column, value.to_string()));
}

/// A table as its file has it: a column is there when any row has it, and empty where a row has not (SPEC §4: the default).
fn csv(rows: &[Row]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for (column, _) in rows.iter().flatten() {
        if !columns.contains(column) {
            columns.push(column);
        }
    }
    let mut text = columns.join(",") + "\n";
    for row in rows {
        let value = |column: &&str| row.iter().find(|(known, _)| known == column).map_or("", |(_, value)| value);
        text.push_str(&columns.iter().map(value).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}

/// Routing tables in the making: the columns that a test cares about, all others left to their defaults (SPEC §4).
#[derive(Default)]
pub(crate) struct Tables {
    listeners: Vec<Row>,
    providers: Vec<Row>,
    sources: Vec<Row>,
    gateways: Vec<Row>,
    carriers: Vec<Row>,
    /// Which carrier has which gateway.
    places: Vec<Row>,
    routes: Vec<Row>,
    time_windows: Vec<Row>,
    /// Media nodes of set 1, which the first provider then has.
    media_nodes: Vec<MediaNode>,
}

/// A row of `media_node`.
struct MediaNode {
    id: usize,
    ng: SocketAddr,
    enabled: bool,
}

impl Tables {
    /// One listener at `listener`, one provider whose calls come from `source`.
    pub(crate) fn new(listener: SocketAddr, source: IpAddr) -> Tables {
        Tables::default().listener(listener).source(source, None)
    }

    /// Adds a listener; its id is its place, counted from 1.
    pub(crate) fn listener(mut self, address: SocketAddr) -> Tables {
        let id = self.listeners.len() + 1;
        let mut row = Row::new();
        set(&mut row, "id", id);
        set(&mut row, "name", &format!("listener-{id}"));
        set(&mut row, "address", address.ip());
        set(&mut row, "port", address.port());
        self.listeners.push(row);
        self
    }

    /// Adds a provider, who has the sources that are added from now on. There is one without this.
    pub(crate) fn another_provider(mut self) -> Tables {
        let id = self.providers.len() + 1;
        let mut row = Row::new();
        set(&mut row, "id", id);
        set(&mut row, "name", &format!("partner-{id}"));
        set(&mut row, "routing_group", 1);
        self.providers.push(row);
        self
    }

    /// Adds an address of the provider, on `listener` or on all.
    pub(crate) fn source(mut self, ip: IpAddr, listener: Option<usize>) -> Tables {
        if self.providers.is_empty() {
            self = self.another_provider();
        }
        let mut row = Row::new();
        set(&mut row, "provider_id", self.providers.len());
        set(&mut row, "cidr", &format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 }));
        if let Some(listener) = listener {
            set(&mut row, "listener_id", listener);
        }
        self.sources.push(row);
        self
    }

    /// Adds a gateway, its carrier, and a route of `prefix` to it.
    pub(crate) fn gateway(self, prefix: &str, address: SocketAddr) -> Tables {
        self.gateway_behind(prefix, address, None)
    }

    /// Same, with requests to it leaving by the listener with this id.
    pub(crate) fn gateway_behind(mut self, prefix: &str, address: SocketAddr, listener: Option<usize>) -> Tables {
        let id = self.carriers.len() + 1;
        let mut carrier = Row::new();
        set(&mut carrier, "id", id);
        set(&mut carrier, "name", &format!("carrier-{id}"));
        self.carriers.push(carrier);
        let mut route = Row::new();
        set(&mut route, "id", id);
        set(&mut route, "routing_group", 1);
        set(&mut route, "prefix", prefix);
        set(&mut route, "carrier_id", id);
        self.routes.push(route);
        let tables = self.of_carrier(address, 0);
        match listener {
            Some(listener) => tables.for_gateway("listener_id", listener),
            None => tables,
        }
    }

    /// Adds a gateway to the carrier added last: it is tried after those that the carrier has.
    pub(crate) fn then(self, address: SocketAddr) -> Tables {
        let carrier = self.carriers.len().to_string();
        let has = |row: &&Row| row.contains(&("carrier_id", carrier.clone()));
        let before = self.places.iter().filter(has).count();
        self.of_carrier(address, before)
    }

    fn of_carrier(mut self, address: SocketAddr, priority: usize) -> Tables {
        let id = self.gateways.len() + 1;
        let mut gateway = Row::new();
        set(&mut gateway, "id", id);
        set(&mut gateway, "name", &format!("gateway-{id}"));
        set(&mut gateway, "host", address.ip());
        set(&mut gateway, "port", address.port());
        self.gateways.push(gateway);
        let mut place = Row::new();
        set(&mut place, "carrier_id", self.carriers.len());
        set(&mut place, "gateway_id", id);
        set(&mut place, "priority", priority);
        self.places.push(place);
        self
    }

    /// Sets a column of the provider added last.
    pub(crate) fn provider(mut self, column: &'static str, value: impl Display + Copy) -> Tables {
        set(self.providers.last_mut().expect("a provider"), column, value);
        self
    }

    /// Sets a column of the provider's address added last.
    pub(crate) fn for_source(mut self, column: &'static str, value: impl Display + Copy) -> Tables {
        set(self.sources.last_mut().expect("an address"), column, value);
        self
    }

    /// Sets a column of the gateway added last.
    pub(crate) fn for_gateway(mut self, column: &'static str, value: impl Display + Copy) -> Tables {
        set(self.gateways.last_mut().expect("a gateway"), column, value);
        self
    }

    /// Sets a column of the carrier added last.
    pub(crate) fn for_carrier(mut self, column: &'static str, value: impl Display + Copy) -> Tables {
        set(self.carriers.last_mut().expect("a carrier"), column, value);
        self
    }

    /// The route added last is there from `from` to `to` of each day (HH:MM, UTC).
    pub(crate) fn open(mut self, from: &str, to: &str) -> Tables {
        let id = self.time_windows.len() + 1;
        let mut row = Row::new();
        set(&mut row, "id", id);
        set(&mut row, "from", from);
        set(&mut row, "to", to);
        self.time_windows.push(row);
        set(self.routes.last_mut().expect("a route"), "time_window_id", id);
        self
    }

    /// Adds a media node, through which the first provider's calls go from then on.
    pub(crate) fn media_node(mut self, ng: SocketAddr) -> Tables {
        set(self.providers.first_mut().expect("a provider"), "media_set", 1);
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
        let nodes = self.media_nodes.iter().fold(
            "id,set,host,port,weight,max_sessions,enabled\n".to_owned(),
            |mut text, MediaNode { id, ng, enabled }| {
                writeln!(text, "{id},1,{},{},100,1000,{enabled}", ng.ip(), ng.port()).expect("a string takes all");
                text
            },
        );
        let mut files = vec![
            ("listener", csv(&self.listeners)),
            ("provider", csv(&self.providers)),
            ("provider_address", csv(&self.sources)),
            ("gateway", csv(&self.gateways)),
            ("carrier", csv(&self.carriers)),
            ("carrier_gateway", csv(&self.places)),
            ("route", csv(&self.routes)),
            ("media_node", nodes),
        ];
        if !self.time_windows.is_empty() {
            files.push(("time_window", csv(&self.time_windows)));
        }
        let directory = site.path().join("routes");
        fs::create_dir_all(&directory).expect("a directory for the tables");
        for (table, text) in files {
            fs::write(directory.join(format!("{table}.csv")), text).expect("a table is written");
        }
        directory
    }
}
