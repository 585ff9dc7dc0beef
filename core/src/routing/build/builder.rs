//! A small image in a few lines, for tests: rows are added in the order in which they are referred to, and each gets the next slot.
//!
//! ```
//! use corelane_core::WallTime;
//! use corelane_core::routing::{Image, build::Builder};
//! let mut builder = Builder::new();
//! let listener = builder.listener("192.0.2.1:5060");
//! let provider = builder.provider("acme", 1);
//! builder.address(provider, "198.51.100.0/24");
//! let gateway = builder.gateway("gw-1", "203.0.113.7:5060");
//! let carrier = builder.carrier("transit", &[gateway]);
//! builder.route(1, "44", carrier);
//! let bytes = builder.finish();
//! let image = Image::open(&bytes).expect("it was just built");
//! assert_eq!(image.recognise(listener, "198.51.100.9:5060".parse::<std::net::SocketAddr>().unwrap().into(), b"44")
//!     .map(|source| source.provider), Some(provider));
//! assert_eq!(image.select(1, b"442071234567", WallTime(0), 7).expect("routed")[0].gateway, gateway);
//! ```

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::routing::build::{Address, ImageBytes, Plan, RouteRow, encode};
use crate::routing::digits::Digits;
use crate::routing::layout::{
    CarrierGateway, CarrierRecord, GatewayRecord, ListenerRecord, MediaNodeRecord, NumberFormat, Place, Privacy,
    ProviderRecord, Schedule, TransportKind, WindowRecord, WindowRow, ZoneRecord, ZoneTransition,
};
use crate::routing::{CarrierSlot, GatewaySlot, ListenerSlot, ProviderSlot};

/// Collects rows. Every method panics on rows that are wrong: it is for tests, whose rows are written in the source.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    plan: Plan,
}

impl Builder {
    /// Nothing yet, generation 1.
    #[must_use]
    pub fn new() -> Builder {
        Builder { plan: Plan { generation: 1, ..Plan::default() } }
    }

    /// Sets the generation.
    pub fn generation(&mut self, generation: u64) -> &mut Builder {
        self.plan.generation = generation;
        self
    }

    /// A listener at `address:port`.
    ///
    /// # Panics
    /// When that is no address.
    pub fn listener(&mut self, bound: &str) -> ListenerSlot {
        let slot = self.plan.tables.listeners.len() as u16;
        let bound: SocketAddr = bound.parse().expect("address:port");
        self.plan.tables.listeners.push(Place::Taken(ListenerRecord {
            id: u32::from(slot) + 1,
            name: "listener".to_string(),
            address: bound.ip(),
            port: bound.port(),
            transport: TransportKind::Udp,
            advertise_host: None,
            advertise_port: None,
        }));
        ListenerSlot(slot)
    }

    /// An enabled provider.
    pub fn provider(&mut self, name: &str, routing_group: u32) -> ProviderSlot {
        self.provider_with(ProviderRecord {
            name: name.to_string(),
            enabled: true,
            routing_group,
            refuse_code: 503,
            ..ProviderRecord::default()
        })
    }

    /// A provider with any record; its id becomes slot + 1.
    pub fn provider_with(&mut self, record: ProviderRecord) -> ProviderSlot {
        let slot = self.plan.tables.providers.len() as u16;
        self.plan.tables.providers.push(Place::Taken(ProviderRecord { id: u32::from(slot) + 1, ..record }));
        ProviderSlot(slot)
    }

    /// An address (`/32`, `/128`) or network of a provider, on any listener and port, without tech prefix.
    ///
    /// # Panics
    /// When that is no network.
    pub fn address(&mut self, provider: ProviderSlot, cidr: &str) -> &mut Builder {
        self.address_with(provider, cidr, None, None, "")
    }

    /// A row of `provider_address` with all its keys.
    ///
    /// # Panics
    /// When `cidr` is no network.
    pub fn address_with(
        &mut self,
        provider: ProviderSlot,
        cidr: &str,
        listener: Option<ListenerSlot>,
        port: Option<u16>,
        tech_prefix: &str,
    ) -> &mut Builder {
        let (network, bits) = cidr.split_once('/').map_or((cidr, None), |(network, bits)| (network, Some(bits)));
        let network: IpAddr = network.parse().expect("network/bits");
        let whole = if network.is_ipv4() { 32 } else { 128 };
        self.plan.addresses.push(Address {
            provider: provider.0,
            listener: listener.map(|slot| slot.0),
            network,
            prefix_len: bits.map_or(whole, |bits| bits.parse().expect("bits")),
            port,
            tech_prefix: tech_prefix.as_bytes().to_vec(),
            cap: None,
        });
        self
    }

    /// A cap on new calls per second from the address that was added last. It gets the next slot.
    ///
    /// # Panics
    /// When there is no address yet.
    pub fn cap_address(&mut self, max_cps: u32) -> &mut Builder {
        let slot = self.plan.tables.address_caps.len() as u16;
        let address = self.plan.addresses.last_mut().expect("an address");
        address.cap = Some((slot, max_cps));
        self.plan.tables.address_caps.push(Place::Taken(address.key()));
        self
    }

    /// An enabled gateway at `address:port`, sending from the listener that the call came in on.
    ///
    /// # Panics
    /// When that is no address.
    pub fn gateway(&mut self, name: &str, endpoint: &str) -> GatewaySlot {
        let endpoint: SocketAddr = endpoint.parse().expect("address:port");
        self.gateway_with(GatewayRecord {
            id: 0,
            name: name.to_string(),
            enabled: true,
            listener: None,
            host: endpoint.ip(),
            port: endpoint.port(),
            transport: TransportKind::Udp,
            probe: true,
            max_cps: None,
            burst: None,
            max_calls: None,
            strip: 0,
            prepend: "".to_string(),
            number_format: NumberFormat::Plain,
            from_host: None,
            privacy: Privacy::Trusted,
            fr_timer_ms: None,
            ring_timeout_ms: None,
            media_flags: "".to_string(),
        })
    }

    /// A gateway with any record; its id becomes slot + 1.
    pub fn gateway_with(&mut self, record: GatewayRecord) -> GatewaySlot {
        let slot = self.plan.tables.gateways.len() as u16;
        self.plan.tables.gateways.push(Place::Taken(GatewayRecord { id: u32::from(slot) + 1, ..record }));
        GatewaySlot(slot)
    }

    /// An enabled media node of a set. Its address is the control core's.
    pub fn media_node(&mut self, set: u32) -> &mut Builder {
        let id = self.plan.tables.media_nodes.len() as u32 + 1;
        self.plan.tables.media_nodes.push(MediaNodeRecord {
            id,
            set,
            host: "192.0.2.20".to_string(),
            port: 2223,
            weight: 1,
            max_sessions: 20_000,
            enabled: true,
        });
        self
    }

    /// Changes the record of a provider.
    ///
    /// # Panics
    /// When there is none.
    pub fn edit_provider(&mut self, slot: ProviderSlot, edit: impl FnOnce(&mut ProviderRecord)) -> &mut Builder {
        match self.plan.tables.providers.get_mut(usize::from(slot.0)) {
            Some(Place::Taken(record)) => edit(record),
            _ => panic!("no provider has this slot"),
        }
        self
    }

    /// Changes a gateway that was added.
    ///
    /// # Panics
    /// When it was not.
    pub fn edit_gateway(&mut self, slot: GatewaySlot, edit: impl FnOnce(&mut GatewayRecord)) -> &mut Builder {
        match &mut self.plan.tables.gateways[usize::from(slot.0)] {
            Place::Taken(record) => edit(record),
            Place::Vacant(_) => panic!("no such gateway"),
        }
        self
    }

    /// Changes a carrier that was added.
    ///
    /// # Panics
    /// When it was not.
    pub fn edit_carrier(&mut self, slot: CarrierSlot, edit: impl FnOnce(&mut CarrierRecord)) -> &mut Builder {
        match &mut self.plan.tables.carriers[usize::from(slot.0)] {
            Place::Taken(record) => edit(record),
            Place::Vacant(_) => panic!("no such carrier"),
        }
        self
    }

    /// An enabled carrier with the default failover codes, trying its gateways in this order.
    pub fn carrier(&mut self, name: &str, gateways: &[GatewaySlot]) -> CarrierSlot {
        let ordered: Vec<_> = gateways.iter().zip(0..).map(|(gateway, priority)| (*gateway, priority, 1)).collect();
        self.carrier_weighted(name, &ordered)
    }

    /// An enabled carrier with (gateway, priority, weight) rows.
    pub fn carrier_weighted(&mut self, name: &str, gateways: &[(GatewaySlot, u16, u16)]) -> CarrierSlot {
        let slot = self.plan.tables.carriers.len() as u16;
        let mut gateways: Vec<_> = gateways
            .iter()
            .map(|(gateway, priority, weight)| CarrierGateway {
                gateway: gateway.0,
                priority: *priority,
                weight: *weight,
            })
            .collect();
        gateways.sort_by_key(|entry| entry.priority);
        self.plan.tables.carriers.push(Place::Taken(CarrierRecord {
            id: u32::from(slot) + 1,
            name: name.to_string(),
            enabled: true,
            failover_codes: [408, 500, 502, 503, 504].to_vec(),
            gateways,
            ..CarrierRecord::default()
        }));
        CarrierSlot(slot)
    }

    /// A route at priority 0, weight 1.
    ///
    /// # Panics
    /// When the prefix has a symbol that no prefix has.
    pub fn route(&mut self, routing_group: u32, prefix: &str, carrier: CarrierSlot) -> &mut Builder {
        self.route_weighted(routing_group, prefix, carrier, 0, 1)
    }

    /// A route with priority and weight, always there.
    ///
    /// # Panics
    /// When the prefix has a symbol that no prefix has.
    pub fn route_weighted(
        &mut self,
        routing_group: u32,
        prefix: &str,
        carrier: CarrierSlot,
        priority: u16,
        weight: u16,
    ) -> &mut Builder {
        self.route_row(routing_group, prefix, (carrier, priority, weight), Schedule::ALWAYS)
    }

    /// A route at priority 0, weight 1, that is there at times.
    ///
    /// # Panics
    /// When the prefix has a symbol that no prefix has.
    pub fn route_at(
        &mut self,
        routing_group: u32,
        prefix: &str,
        carrier: CarrierSlot,
        schedule: Schedule,
    ) -> &mut Builder {
        self.route_row(routing_group, prefix, (carrier, 0, 1), schedule)
    }

    /// Its id is its place among all routes, from 1.
    fn route_row(
        &mut self,
        routing_group: u32,
        prefix: &str,
        (carrier, priority, weight): (CarrierSlot, u16, u16),
        schedule: Schedule,
    ) -> &mut Builder {
        let prefix = Digits::parse(prefix.as_bytes()).expect("digits, * # A B C D");
        let id = self.plan.routes.len() as u32 + 1;
        let carrier = carrier.0;
        let row = RouteRow { routing_group, prefix, priority, carrier, weight, schedule, id, cost: u32::MAX };
        self.plan.routes.push(row);
        self
    }

    /// A time zone: its offset from UTC in seconds before the first of its (second since 1970 UTC, offset from then on) transitions.
    /// Its place, for rows of windows and for providers.
    pub fn zone(&mut self, name: &str, offset_s: i32, transitions: &[(i64, i32)]) -> u16 {
        let transitions = transitions.iter().map(|(at, offset_s)| ZoneTransition { at: *at, offset_s: *offset_s });
        let transitions = transitions.collect();
        self.plan.tables.zones.push(ZoneRecord { name: name.to_string(), offset_s, transitions });
        self.plan.tables.zones.len() as u16 - 1
    }

    /// A time window of these rows; its id is its place + 1. The place, for schedules.
    pub fn window(&mut self, rows: &[WindowRow]) -> u16 {
        let place = self.plan.tables.windows.len() as u16;
        self.plan.tables.windows.push(WindowRecord { id: u32::from(place) + 1, rows: rows.to_vec() });
        place
    }

    /// The image.
    ///
    /// # Panics
    /// When rows contradict each other.
    #[must_use]
    pub fn finish(&self) -> ImageBytes {
        encode(self.plan.clone()).expect("rows without duplicates")
    }
}
