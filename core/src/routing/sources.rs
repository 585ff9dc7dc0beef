//! Whose a source address is.
//!
//! Two sorted lists with the same walk: the last entry that is not above the key, then up from each entry to the next wider one
//! (networks) or next shorter one (tech prefixes) until one contains the key. Sorted by start and length, whatever contains a key lies
//! on that way up. The price is log₂ of the number of networks plus at most 33 (IPv4) or 129 (IPv6) steps up, and the same
//! within the rows of one network: 10,000 providers cost four comparisons more than 600.
//!
//! Order of preference: the longest network; in it rows that name the listener before rows for any; among those rows that name the port
//! before rows for any; among those the longest tech prefix that the dialled user starts with. A network without a row that
//! fits passes the question to the next wider one. A row of a disabled provider fits like any other and then makes the source
//! unknown: disabling a customer must not hand his traffic to the owner of a wider network.

use core::net::IpAddr;

use rkyv::Archived;

use crate::flow::Endpoint;
use crate::routing::layout::{GatewayAddress, NO_SLOT, Network, SourceRow, Sources, TECH_PREFIX_MAX};
use crate::routing::{GatewaySlot, ListenerSlot, ProviderSlot};

/// Rows that [`alone`] looks at: a provider with more of them at one address is not told apart.
const ALONE_ROWS_MAX: usize = 64;

/// The row of a source; its provider may be disabled.
pub(super) fn find<'a>(
    sources: &'a Archived<Sources>,
    listener: ListenerSlot,
    peer: Endpoint,
    user: &[u8],
) -> Option<&'a Archived<SourceRow>> {
    find_network(sources, peer, |rows| in_network(rows, listener, peer.port, user))
}

/// The rows for this listener and port, whatever their tech prefix, of the longest network that has any.
pub(super) fn rows_of(
    sources: &Archived<Sources>,
    listener: ListenerSlot,
    peer: Endpoint,
) -> Option<impl Iterator<Item = &Archived<SourceRow>>> {
    let fits = move |row: &&Archived<SourceRow>| {
        [listener.0, NO_SLOT].contains(&row.listener.to_native()) && [peer.port, 0].contains(&row.port.to_native())
    };
    find_network(sources, peer, |rows| rows.iter().any(|row| fits(&row)).then(|| rows.iter().filter(fits)))
}

/// Whether whatever comes from this address is this provider's or nobody's: at any listener, from any port, under any tech prefix. So
/// each row that any of it could meet has to be his. `false` also where that takes too long to find out.
pub(super) fn alone(sources: &Archived<Sources>, ip: IpAddr, provider: ProviderSlot) -> bool {
    let mut looked_at = 0;
    let look = |rows: &[Archived<SourceRow>]| {
        looked_at += rows.len();
        if looked_at > ALONE_ROWS_MAX || rows.iter().any(|row| row.provider.to_native() != provider.0) {
            return Some(false);
        }
        // Nothing goes past a row that fits all.
        let fits_all = |row: &Archived<SourceRow>| {
            row.listener.to_native() == NO_SLOT && row.port.to_native() == 0 && row.tech_prefix_len == 0
        };
        rows.iter().any(fits_all).then_some(true)
    };
    // On the way up every network around the address was looked at.
    find_network(sources, Endpoint::new(ip, 0), look).unwrap_or(true)
}

/// What `look` finds in the rows of the longest network around the peer, or of the next wider one.
fn find_network<'a, T>(
    sources: &'a Archived<Sources>,
    peer: Endpoint,
    mut look: impl FnMut(&'a [Archived<SourceRow>]) -> Option<T>,
) -> Option<T> {
    let (networks, address) = match peer.ip {
        IpAddr::V4(ip) => (sources.networks_v4.as_slice(), u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (sources.networks_v6.as_slice(), ip.to_bits()),
    };
    let mut place = networks.partition_point(|network| network.start.to_native() <= address);
    // `place` counts from one here and in `parent`: zero is the end of the way up.
    while place != 0 {
        let network = networks.get(place - 1)?;
        if address <= network.end.to_native() && network.start.to_native() <= address {
            let first = network.first_row.to_native() as usize;
            let rows = sources.rows.as_slice().get(first..first.checked_add(network.rows.to_native() as usize)?)?;
            if let Some(found) = look(rows) {
                return Some(found);
            }
        }
        place = above(network, place);
    }
    None
}

fn above(network: &Archived<Network>, place: usize) -> usize {
    let parent = network.parent.to_native() as usize;
    if parent < place { parent } else { 0 }
}

fn in_network<'a>(
    rows: &'a [Archived<SourceRow>],
    listener: ListenerSlot,
    port: u16,
    user: &[u8],
) -> Option<&'a Archived<SourceRow>> {
    let mut start = [0; TECH_PREFIX_MAX];
    let looked_at = user.len().min(TECH_PREFIX_MAX);
    start[..looked_at].copy_from_slice(&user[..looked_at]);
    [(listener.0, port), (listener.0, 0), (NO_SLOT, port), (NO_SLOT, 0)]
        .into_iter()
        .find_map(|(listener, port)| longest_tech_prefix(rows, (listener, port, start), user))
}

fn longest_tech_prefix<'a>(
    rows: &'a [Archived<SourceRow>],
    key: (u16, u16, [u8; TECH_PREFIX_MAX]),
    user: &[u8],
) -> Option<&'a Archived<SourceRow>> {
    let mut place =
        rows.partition_point(|row| (row.listener.to_native(), row.port.to_native(), row.tech_prefix) <= key);
    while place != 0 {
        let row = rows.get(place - 1)?;
        if (row.listener.to_native(), row.port.to_native()) != (key.0, key.1) {
            return None;
        }
        let tech_prefix = row.tech_prefix.get(..usize::from(row.tech_prefix_len))?;
        if user.starts_with(tech_prefix) {
            return Some(row);
        }
        let parent = row.parent.to_native() as usize;
        place = if parent < place { parent } else { 0 };
    }
    None
}

/// The enabled gateway at an address: the one with this port, else the first of the host.
pub(super) fn gateway(sources: &Archived<Sources>, peer: Endpoint) -> Option<GatewaySlot> {
    let (family, address) = family_and_bits(peer.ip);
    let gateways = sources.gateways.as_slice();
    let key = |entry: &Archived<GatewayAddress>| (entry.family, entry.address.to_native(), entry.port.to_native());
    let host = gateways.partition_point(|entry| key(entry) < (family, address, 0));
    let exact = gateways.partition_point(|entry| key(entry) < (family, address, peer.port));
    let is_host = |entry: &&Archived<GatewayAddress>| key(entry).0 == family && key(entry).1 == address;
    gateways
        .get(exact)
        .filter(|entry| key(entry) == (family, address, peer.port))
        .or_else(|| gateways.get(host).filter(is_host))
        .map(|entry| GatewaySlot(entry.gateway.to_native()))
}

/// 4 or 6, and the address as a number.
pub(super) fn family_and_bits(ip: IpAddr) -> (u8, u128) {
    match ip {
        IpAddr::V4(ip) => (4, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (6, ip.to_bits()),
    }
}
