//! What rows say about each other: keys that are there once, ids that exist, bounds that span rows; and what is legal but looks wrong.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use corelane_core::limits::LISTENERS_MAX;
use corelane_core::routing::layout::{GATEWAYS_PER_CARRIER_MAX, ROWS_PER_WINDOW_MAX, SLOTS_MAX};

use crate::routes::media;
use crate::routes::problem::Problem;
use crate::routes::tables::{Gateway, Provider, Row, Tables};

/// Complains about the second of two rows with the same key.
pub(super) fn unique<T, K: Hash + Eq>(
    file: &str,
    column: &'static str,
    rows: &[Row<T>],
    key: impl Fn(&T) -> K,
    shown: impl Fn(&T) -> String,
    problems: &mut Vec<Problem>,
) {
    let mut seen: HashMap<K, u64> = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(line) = seen.get(&key(&row.row)) {
            let reason = format!("is already in line {line}; remove one of the two rows");
            problems.push(Problem::value(file, row.line, column, shown(&row.row), reason));
        } else {
            seen.insert(key(&row.row), row.line);
        }
    }
}

/// Complains about a reference to a row that is not there.
fn exists(
    (file, line, column): (&str, u64, &'static str),
    id: u32,
    known: &HashSet<u32>,
    (what, table): (&str, &str),
    problems: &mut Vec<Problem>,
) {
    if !known.contains(&id) {
        let reason = format!("no such {what}; add it to {table} or correct the id");
        problems.push(Problem::value(file, line, column, id, reason));
    }
}

fn at_most(file: &str, what: impl Display, count: usize, most: usize, problems: &mut Vec<Problem>) {
    if count > most {
        problems.push(Problem::file(file, format!("has {count} {what}, at most {most} fit; remove some")));
    }
}

fn ids<T>(rows: &[Row<T>], id: impl Fn(&T) -> u32) -> HashSet<u32> {
    rows.iter().map(|row| id(&row.row)).collect()
}

/// Checks everything that spans rows.
pub(super) fn check(tables: &Tables, problems: &mut Vec<Problem>) {
    let Tables { listeners, providers, addresses, gateways, carriers, carrier_gateways, .. } = tables;
    let id = |id: u32| id.to_string();
    unique("listener.csv", "id", listeners, |row| row.id, |row| id(row.id), problems);
    unique(
        "listener.csv",
        "address",
        listeners,
        |row| (row.address, row.port, row.transport as u8),
        |row| format!("{} port {}", row.address, row.port),
        problems,
    );
    unique("provider.csv", "id", providers, |row| row.record.id, |row| id(row.record.id), problems);
    unique("gateway.csv", "id", gateways, |row| row.record.id, |row| id(row.record.id), problems);
    unique("carrier.csv", "id", carriers, |row| row.id, |row| id(row.id), problems);
    unique(
        "carrier_gateway.csv",
        "gateway_id",
        carrier_gateways,
        |row| (row.carrier_id, row.gateway_id),
        |row| format!("{} of carrier {}", row.gateway_id, row.carrier_id),
        problems,
    );
    unique(
        "provider_address.csv",
        "cidr",
        addresses,
        |row| (row.network, row.prefix_len, row.listener_id, row.port, row.tech_prefix.clone()),
        |row| format!("{}/{} with this listener, port and tech_prefix", row.network, row.prefix_len),
        problems,
    );
    // A table that is exported in the order of its key needs no hash map of a million.
    if !tables.routes.is_sorted_by(|left, right| left.row.id < right.row.id) {
        unique("route.csv", "id", &tables.routes, |row| row.id, |row| id(row.id), problems);
    }
    at_most("listener.csv", "listeners", listeners.len(), LISTENERS_MAX, problems);
    at_most("provider.csv", "providers", providers.len(), SLOTS_MAX, problems);
    at_most("gateway.csv", "gateways", gateways.len(), SLOTS_MAX, problems);
    at_most("carrier.csv", "carriers", carriers.len(), SLOTS_MAX, problems);
    let capped = tables.addresses.iter().filter(|row| row.row.max_cps.is_some()).count();
    at_most("provider_address.csv", "rows with max_cps", capped, SLOTS_MAX, problems);
    references(tables, problems);
    media::keys(&tables.media_nodes, problems);
    media::check(tables, problems);
}

fn references(tables: &Tables, problems: &mut Vec<Problem>) {
    let listeners = ids(&tables.listeners, |row| row.id);
    let providers = ids(&tables.providers, |row| row.record.id);
    let gateways = ids(&tables.gateways, |row| row.record.id);
    let carriers = ids(&tables.carriers, |row| row.id);
    let windows = ids(&tables.windows, |row| row.id);
    let listener = ("listener", "listener.csv");
    at_most("time_window.csv", "time windows", windows.len(), SLOTS_MAX, problems);
    let mut rows: HashMap<u32, usize> = HashMap::new();
    for Row { line, row } in &tables.windows {
        let count = rows.entry(row.id).or_default();
        *count += 1;
        if *count == ROWS_PER_WINDOW_MAX + 1 {
            let reason =
                format!("has more than {ROWS_PER_WINDOW_MAX} rows; join days that share their times in one row");
            problems.push(Problem::value("time_window.csv", *line, "id", row.id, reason));
        }
    }

    for Row { line, row } in &tables.providers {
        if let Some(id) = row.listener_id {
            exists(("provider.csv", *line, "listener_id"), id, &listeners, listener, problems);
        }
    }
    for Row { line, row } in &tables.addresses {
        let file = "provider_address.csv";
        exists((file, *line, "provider_id"), row.provider_id, &providers, ("provider", "provider.csv"), problems);
        if let Some(id) = row.listener_id {
            exists((file, *line, "listener_id"), id, &listeners, listener, problems);
        }
    }
    let family: HashMap<u32, bool> =
        tables.listeners.iter().map(|row| (row.row.id, row.row.address.is_ipv4())).collect();
    for Row { line, row } in &tables.gateways {
        let Some(id) = row.listener_id else { continue };
        exists(("gateway.csv", *line, "listener_id"), id, &listeners, listener, problems);
        if family.get(&id).is_some_and(|v4| *v4 != row.record.host.is_ipv4()) {
            let reason = "is of the other IP version than host; name a listener that can reach the gateway";
            problems.push(Problem::value("gateway.csv", *line, "listener_id", id, reason));
        }
    }
    let mut members: HashMap<u32, usize> = HashMap::new();
    for Row { line, row } in &tables.carrier_gateways {
        let file = "carrier_gateway.csv";
        exists((file, *line, "carrier_id"), row.carrier_id, &carriers, ("carrier", "carrier.csv"), problems);
        exists((file, *line, "gateway_id"), row.gateway_id, &gateways, ("gateway", "gateway.csv"), problems);
        let count = members.entry(row.carrier_id).or_default();
        *count += 1;
        if *count == GATEWAYS_PER_CARRIER_MAX + 1 {
            let reason = format!("has more than {GATEWAYS_PER_CARRIER_MAX} gateways; split the carrier");
            problems.push(Problem::value(file, *line, "carrier_id", row.carrier_id, reason));
        }
    }
    let mut known_carrier = None;
    for Row { line, row } in &tables.routes {
        // Neighbours mostly share a carrier.
        if known_carrier != Some(row.carrier_id) {
            let before = problems.len();
            let carrier = ("carrier", "carrier.csv");
            exists(("route.csv", *line, "carrier_id"), row.carrier_id, &carriers, carrier, problems);
            known_carrier = (before == problems.len()).then_some(row.carrier_id);
        }
        if let Some(id) = row.time_window_id {
            let window = ("time window", "time_window.csv");
            exists(("route.csv", *line, "time_window_id"), id, &windows, window, problems);
        }
    }
}

/// What is legal and looks wrong. An operator reads it; nothing is refused.
#[must_use]
pub fn warnings(tables: &Tables) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let used: HashSet<u32> = tables.carrier_gateways.iter().map(|row| row.row.gateway_id).collect();
    for Row { line, row } in tables.gateways.iter().filter(|row| !used.contains(&row.row.record.id)) {
        let reason = "is in no carrier, so no call reaches it; add it to carrier_gateway.csv";
        warnings.push(Problem::value("gateway.csv", *line, "id", row.record.id, reason));
    }
    let enabled: HashSet<u32> =
        tables.gateways.iter().filter(|row| row.row.record.enabled).map(|row| row.row.record.id).collect();
    let with_gateway: HashSet<u32> = tables
        .carrier_gateways
        .iter()
        .filter(|row| enabled.contains(&row.row.gateway_id))
        .map(|row| row.row.carrier_id)
        .collect();
    for Row { line, row } in tables.carriers.iter().filter(|row| !with_gateway.contains(&row.row.id)) {
        let reason = "has no enabled gateway, so its routes answer 503; add one to carrier_gateway.csv";
        warnings.push(Problem::value("carrier.csv", *line, "id", row.id, reason));
    }
    let groups: HashSet<u32> =
        tables.routes.iter().filter(|row| row.row.enabled).map(|row| row.row.routing_group).collect();
    let sources: HashSet<u32> = tables.addresses.iter().map(|row| row.row.provider_id).collect();
    for Row { line, row: provider } in tables.providers.iter().filter(|row| row.row.record.enabled) {
        let record = &provider.record;
        let mut warn = |column, value, reason: &str| {
            warnings.push(Problem::value("provider.csv", *line, column, value, reason));
        };
        if !groups.contains(&record.routing_group) {
            let reason = "has no enabled route, so every call gets 404; add routes or correct the group";
            warn("routing_group", record.routing_group, reason);
        }
        if !sources.contains(&record.id) {
            warn("id", record.id, "has no address, so no call is recognised as his; add one to provider_address.csv");
        }
    }
    without_effect(tables, &mut warnings);
    media::warnings(tables, &mut warnings);
    capacity(tables, &mut warnings);
    warnings
}

/// What is written and does nothing.
fn without_effect(tables: &Tables, warnings: &mut Vec<Problem>) {
    let v4: HashMap<u32, bool> = tables.listeners.iter().map(|row| (row.row.id, row.row.address.is_ipv4())).collect();
    let none_of = |is_v4: bool| !v4.is_empty() && v4.values().all(|listener| *listener != is_v4);
    let version = |is_v4: bool| if is_v4 { 4 } else { 6 };
    for Row { line, row } in &tables.addresses {
        let file = "provider_address.csv";
        let is_v4 = row.network.is_ipv4();
        let unheard = match row.listener_id {
            Some(id) => v4.get(&id).is_some_and(|listener| *listener != is_v4),
            None => none_of(is_v4),
        };
        if unheard {
            let reason = format!(
                "no listener that it is for is of IPv{}, so nothing comes from there; add or name one",
                version(is_v4)
            );
            warnings.push(Problem::value(file, *line, "cidr", format!("{}/{}", row.network, row.prefix_len), reason));
        }
    }
    for Row { line, row } in &tables.gateways {
        let is_v4 = row.record.host.is_ipv4();
        if row.listener_id.is_none() && none_of(is_v4) {
            let reason = format!("there is no listener of IPv{}, so no call can leave to it; add one", version(is_v4));
            warnings.push(Problem::value("gateway.csv", *line, "host", row.record.host, reason));
        }
    }
    let alone = "has no effect without max_cps; add that or leave it out";
    let providers =
        tables.providers.iter().map(|row| ("provider.csv", row.line, row.row.record.burst, row.row.record.max_cps));
    let gateways =
        tables.gateways.iter().map(|row| ("gateway.csv", row.line, row.row.record.burst, row.row.record.max_cps));
    let carriers = tables.carriers.iter().map(|row| ("carrier.csv", row.line, row.row.burst, row.row.max_cps));
    for (file, line, burst, max_cps) in providers.chain(gateways).chain(carriers) {
        if let (Some(burst), None) = (burst, max_cps) {
            warnings.push(Problem::value(file, line, "burst", burst, alone));
        }
    }
}

/// Providers' caps against what their gateways take, for each routing group and for all: said only where both sides are capped, for
/// else there is no sum.
fn capacity(tables: &Tables, warnings: &mut Vec<Problem>) {
    let before = warnings.len();
    for (group, gateways) in gateways_of_groups(tables) {
        let providers = |row: &Provider| row.record.routing_group == group;
        let gateways = |row: &Gateway| gateways.contains(&row.record.id);
        compare(tables, &format!("of routing_group {group} "), providers, gateways, warnings);
    }
    // Groups that share gateways may each fit and together not. Where one does not, the sum says nothing new.
    if warnings.len() == before {
        compare(tables, "", |_| true, |_| true, warnings);
    }
}

/// One line for each cap that some providers have more of than some gateways take.
fn compare(
    tables: &Tables,
    whose: &str,
    provider: impl Fn(&Provider) -> bool,
    gateway: impl Fn(&Gateway) -> bool,
    warnings: &mut Vec<Problem>,
) {
    let providers: Vec<_> =
        tables.providers.iter().map(|row| &row.row).filter(|row| row.record.enabled && provider(row)).collect();
    let gateways: Vec<_> =
        tables.gateways.iter().map(|row| &row.row).filter(|row| row.record.enabled && gateway(row)).collect();
    let calls = (sum(&providers, |row| row.record.max_calls), sum(&gateways, |row| row.record.max_calls));
    let rates = (sum(&providers, |row| row.record.max_cps), sum(&gateways, |row| row.record.max_cps));
    for (column, caps) in [("max_calls", calls), ("max_cps", rates)] {
        if let (Some(sold), Some(taken)) = caps
            && sold > taken
        {
            let reason = format!(
                "providers' {column} {whose}add up to {sold}, the gateways take {taken}; calls above that get 503"
            );
            warnings.push(Problem::file("provider.csv", reason));
        }
    }
}

/// The sum of a cap, if every row has one and there is a row.
fn sum<T>(rows: &[&T], cap: impl Fn(&T) -> Option<u32>) -> Option<u64> {
    let caps = rows.iter().map(|row| cap(row).map(u64::from));
    caps.sum::<Option<u64>>().filter(|_| !rows.is_empty())
}

/// The gateways that calls of each routing group can reach, by ascending group.
fn gateways_of_groups(tables: &Tables) -> BTreeMap<u32, HashSet<u32>> {
    let mut of_carrier: HashMap<u32, Vec<u32>> = HashMap::new();
    for Row { row, .. } in &tables.carrier_gateways {
        of_carrier.entry(row.carrier_id).or_default().push(row.gateway_id);
    }
    let mut carriers: HashSet<(u32, u32)> = HashSet::new();
    let mut last = None;
    for Row { row, .. } in tables.routes.iter().filter(|row| row.row.enabled) {
        // Neighbours mostly share group and carrier, and there may be a million.
        let pair = (row.routing_group, row.carrier_id);
        if last != Some(pair) {
            carriers.insert(pair);
            last = Some(pair);
        }
    }
    let enabled: HashSet<u32> = tables.carriers.iter().filter(|row| row.row.enabled).map(|row| row.row.id).collect();
    let mut groups: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
    for (group, carrier) in carriers.into_iter().filter(|(_, carrier)| enabled.contains(carrier)) {
        groups.entry(group).or_default().extend(of_carrier.get(&carrier).into_iter().flatten());
    }
    groups
}
