//! Rows of `provider_address` and addresses of gateways to sorted lists with ways up.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::routing::build::{Address, BuildError};
use crate::routing::layout::{
    AddressKey, GatewayAddress, NO_SLOT, Network, SourceRow, Sources, TECH_PREFIX_MAX, Tables,
};
use crate::routing::sources::family_and_bits;

/// A row with the keys that it is sorted by.
struct Keyed {
    start: u128,
    bits: u8,
    row: SourceRow,
    place: usize,
}

impl Keyed {
    fn new(place: usize, address: &Address) -> Keyed {
        let (_, bits) = family_and_bits(address.network);
        let mut tech_prefix = [0; TECH_PREFIX_MAX];
        let len = address.tech_prefix.len().min(TECH_PREFIX_MAX);
        tech_prefix[..len].copy_from_slice(&address.tech_prefix[..len]);
        let (start, _) = range(address.network, bits, address.prefix_len);
        Keyed {
            start,
            bits: address.prefix_len,
            row: SourceRow {
                listener: address.listener.unwrap_or(NO_SLOT),
                port: address.port.unwrap_or(0),
                provider: address.provider,
                tech_prefix_len: len as u8,
                tech_prefix,
                parent: 0,
                cap: address.cap.map_or(NO_SLOT, |(slot, _)| slot),
                max_cps: address.cap.map_or(0, |(_, max_cps)| max_cps),
            },
            place,
        }
    }

    fn key(&self) -> (u128, u8, u16, u16, [u8; TECH_PREFIX_MAX]) {
        (self.start, self.bits, self.row.listener, self.row.port, self.row.tech_prefix)
    }
}

impl Address {
    /// What tells it from all others.
    #[must_use]
    pub fn key(&self) -> AddressKey {
        let SourceRow { listener, port, tech_prefix, .. } = Keyed::new(0, self).row;
        let (family, bits) = family_and_bits(self.network);
        let (start, _) = range(self.network, bits, self.prefix_len);
        AddressKey { family, start, prefix_len: self.prefix_len, listener, port, tech_prefix }
    }
}

/// First and last address of a network; bits behind the prefix do not count.
fn range(network: IpAddr, bits: u128, prefix_len: u8) -> (u128, u128) {
    let width: u32 = if network.is_ipv4() { 32 } else { 128 };
    let host = width.saturating_sub(u32::from(prefix_len));
    let mask = if host == 128 { u128::MAX } else { (1 << host) - 1 };
    (bits & !mask, bits | mask)
}

pub(super) fn build(tables: &Tables, addresses: &[Address]) -> Result<Sources, BuildError> {
    let mut sources = Sources::default();
    for v4 in [true, false] {
        let family = addresses.iter().enumerate().filter(|(_, address)| address.network.is_ipv4() == v4);
        let mut keyed: Vec<Keyed> = family.map(|(place, address)| Keyed::new(place, address)).collect();
        keyed.sort_by_key(Keyed::key);
        if let Some(same) = keyed.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            return Err(BuildError::DuplicateAddress { first: same[0].place, second: same[1].place });
        }
        let networks = networks(&mut sources.rows, &keyed, addresses);
        if v4 {
            sources.networks_v4 = networks;
        } else {
            sources.networks_v6 = networks;
        }
    }
    for (slot, place) in tables.gateways.iter().enumerate() {
        if let Some(gateway) = place.record().filter(|gateway| gateway.enabled) {
            let (family, address) = family_and_bits(gateway.host.to_canonical());
            sources.gateways.push(GatewayAddress { family, address, port: gateway.port, gateway: slot as u16 });
        }
    }
    sources.gateways.sort_unstable();
    Ok(sources)
}

fn networks(rows: &mut Vec<SourceRow>, keyed: &[Keyed], addresses: &[Address]) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for same in keyed.chunk_by(|left, right| (left.start, left.bits) == (right.start, right.bits)) {
        let address = &addresses[same[0].place];
        let (start, end) = range(address.network, same[0].start, same[0].bits);
        while open.last().is_some_and(|outer| networks[*outer].end < start) {
            open.pop();
        }
        let parent = open.last().map_or(0, |outer| *outer as u32 + 1);
        open.push(networks.len());
        networks.push(Network { start, end, parent, first_row: rows.len() as u32, rows: same.len() as u32 });
        let first = rows.len();
        for row in same {
            let parent = (first..rows.len()).rev().find(|outer| {
                let outer = &rows[*outer];
                let tech_prefix = &outer.tech_prefix[..usize::from(outer.tech_prefix_len)];
                (outer.listener, outer.port) == (row.row.listener, row.row.port)
                    && row.row.tech_prefix.starts_with(tech_prefix)
            });
            rows.push(SourceRow { parent: parent.map_or(0, |outer| (outer - first) as u32 + 1), ..row.row });
        }
    }
    networks
}
