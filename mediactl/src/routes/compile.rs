//! Tables to image bytes: slots, then the encoder of `corelane_core::routing::build`.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use corelane_core::WallTime;
use corelane_core::routing::build::{self, BuildError, ImageBytes, Plan, RouteRow};
use corelane_core::routing::layout::{
    AddressKey, ArchivedPlace, CarrierGateway, NO_SLOT, Place, ROUTES_PER_PREFIX_MAX, Schedule, Tables as Records,
    WindowRecord, WindowRow,
};
use corelane_core::routing::{Digits, Image};

use crate::routes::problem::Problem;
use crate::routes::slots::{Assigned, Before, assign};
use crate::routes::tables::{Row, Tables};
use crate::routes::zones::Zones;

/// [`compile_at`] the time that it is.
///
/// # Errors
/// As [`compile_at`].
pub fn compile(tables: &Tables, previous: Option<&Image<'_>>) -> Result<ImageBytes, Vec<Problem>> {
    compile_at(tables, previous, wall_now())
}

/// The wall clock; the epoch where it is set before that.
#[must_use]
pub fn wall_now() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(since_epoch.as_micros() as u64)
}

/// Compiles tables. Ids that `previous` knows keep their slots; the generation is one more than its. Time zones are written out
/// from a year before `compiled_at` to ten years after it.
///
/// # Errors
/// What only the whole shows: too many routes of one prefix, more than an image can hold.
pub fn compile_at(
    tables: &Tables,
    previous: Option<&Image<'_>>,
    compiled_at: WallTime,
) -> Result<ImageBytes, Vec<Problem>> {
    let generation = previous.map_or(1, |image| image.generation() + 1);
    let slots = Slots::assign(tables, previous, generation);
    let zones = Zones::of(tables, compiled_at);
    let (windows, window_places) = windows(tables, &zones);
    let (addresses, address_caps) = addresses(tables, &slots, previous, generation);
    let plan = Plan {
        generation,
        compiled_at: compiled_at.0,
        tables: Records { address_caps, ..records(tables, &slots, windows, zones) },
        addresses,
        routes: routes(tables, &slots, &window_places),
    };
    build::encode(plan).map_err(|error| vec![explain(tables, error)])
}

struct Slots {
    listeners: Assigned<u32>,
    providers: Assigned<u32>,
    gateways: Assigned<u32>,
    carriers: Assigned<u32>,
}

/// Who owned which slot in the image before.
macro_rules! owners {
    ($previous:expr, $table:ident) => {
        $previous.map_or_else(Before::new, |image| {
            let places = image.tables().$table.iter();
            let owners = places.map(|place| match place {
                ArchivedPlace::Taken(record) => Ok(record.id.to_native()),
                ArchivedPlace::Vacant(vacated) => Err(vacated.to_native()),
            });
            owners.collect()
        })
    };
}

impl Slots {
    fn assign(tables: &Tables, previous: Option<&Image<'_>>, generation: u64) -> Slots {
        let listeners: Vec<u32> = tables.listeners.iter().map(|row| row.row.id).collect();
        let providers: Vec<u32> = tables.providers.iter().map(|row| row.row.record.id).collect();
        let gateways: Vec<u32> = tables.gateways.iter().map(|row| row.row.record.id).collect();
        let carriers: Vec<u32> = tables.carriers.iter().map(|row| row.row.id).collect();
        Slots {
            listeners: assign(&owners!(previous, listeners), &listeners, generation),
            providers: assign(&owners!(previous, providers), &providers, generation),
            gateways: assign(&owners!(previous, gateways), &gateways, generation),
            carriers: assign(&owners!(previous, carriers), &carriers, generation),
        }
    }

    /// `load` has checked that the id exists.
    fn listener(&self, id: Option<u32>) -> Option<u16> {
        id.map(|id| self.listeners.slots[&id])
    }
}

/// Time windows, the rows of an id together, and the place of each id.
fn windows(tables: &Tables, zones: &Zones) -> (Vec<WindowRecord>, HashMap<u32, u16>) {
    let mut places: HashMap<u32, u16> = HashMap::new();
    let mut windows: Vec<WindowRecord> = Vec::new();
    for Row { row, .. } in &tables.windows {
        let place = *places.entry(row.id).or_insert_with(|| {
            windows.push(WindowRecord { id: row.id, rows: Vec::new() });
            windows.len() as u16 - 1
        });
        windows[usize::from(place)].rows.push(WindowRow { zone: zones.place(&row.zone), ..row.row });
    }
    (windows, places)
}

fn records(tables: &Tables, slots: &Slots, windows: Vec<WindowRecord>, zones: Zones) -> Records {
    let enabled: HashMap<u32, bool> =
        tables.gateways.iter().map(|row| (row.row.record.id, row.row.record.enabled)).collect();
    let mut members: HashMap<u32, Vec<CarrierGateway>> = HashMap::new();
    for Row { row, .. } in tables.carrier_gateways.iter().filter(|row| enabled[&row.row.gateway_id]) {
        members.entry(row.carrier_id).or_default().push(CarrierGateway {
            gateway: slots.gateways.slots[&row.gateway_id],
            priority: row.priority,
            weight: row.weight,
        });
    }
    let carriers = tables.carriers.iter().map(|row| {
        let mut record = row.row.clone();
        record.gateways = members.remove(&record.id).unwrap_or_default();
        // Slot last: the same tables give the same image, whatever the order of their rows.
        record.gateways.sort_by_key(|entry| (entry.priority, entry.gateway));
        (record.id, record)
    });
    Records {
        listeners: slots.listeners.place(tables.listeners.iter().map(|row| (row.row.id, row.row.clone()))),
        providers: slots.providers.place(tables.providers.iter().map(|row| {
            let mut record = row.row.record.clone();
            record.listener = slots.listener(row.row.listener_id);
            record.zone = zones.place(&row.row.zone);
            (record.id, record)
        })),
        gateways: slots.gateways.place(tables.gateways.iter().map(|row| {
            let mut record = row.row.record.clone();
            record.listener = slots.listener(row.row.listener_id);
            (record.id, record)
        })),
        carriers: slots.carriers.place(carriers),
        zones: zones.records,
        zones_until: zones.until,
        windows,
        media_nodes: tables.media_nodes.iter().map(|row| row.row.clone()).collect(),
        address_caps: Vec::new(),
    }
}

/// Rows of `provider_address`, and the slots of those that have a cap.
fn addresses(
    tables: &Tables,
    slots: &Slots,
    previous: Option<&Image<'_>>,
    generation: u64,
) -> (Vec<build::Address>, Vec<Place<AddressKey>>) {
    let mut addresses: Vec<build::Address> = tables.addresses.iter().map(|row| address(&row.row, slots)).collect();
    let capped = || tables.addresses.iter().enumerate().filter_map(|(place, row)| Some((place, row.row.max_cps?)));
    let keys: Vec<AddressKey> = capped().map(|(place, _)| addresses[place].key()).collect();
    let before = previous.map_or_else(Before::new, |image| {
        let places = image.tables().address_caps.iter();
        let owners = places.map(|place| match place {
            ArchivedPlace::Taken(key) => Ok(key.into()),
            ArchivedPlace::Vacant(vacated) => Err(vacated.to_native()),
        });
        owners.collect()
    });
    let assigned = assign(&before, &keys, generation);
    for ((place, max_cps), key) in capped().zip(&keys) {
        addresses[place].cap = Some((assigned.slots[key], max_cps));
    }
    let caps = assigned.place(keys.iter().map(|key| (*key, *key)));
    (addresses, caps)
}

fn address(row: &super::tables::Address, slots: &Slots) -> build::Address {
    build::Address {
        provider: slots.providers.slots[&row.provider_id],
        listener: slots.listener(row.listener_id),
        network: row.network,
        prefix_len: row.prefix_len,
        port: row.port,
        tech_prefix: row.tech_prefix.clone(),
        cap: None,
    }
}

fn routes(tables: &Tables, slots: &Slots, windows: &HashMap<u32, u16>) -> Vec<RouteRow> {
    let enabled = tables.routes.iter().filter(|row| row.row.enabled);
    let routes = enabled.map(|Row { row, .. }| RouteRow {
        routing_group: row.routing_group,
        prefix: row.prefix,
        priority: row.priority,
        carrier: slots.carriers.slots[&row.carrier_id],
        weight: row.weight,
        schedule: Schedule {
            window: row.time_window_id.map_or(NO_SLOT, |id| windows[&id]),
            valid_from: row.valid_from,
            valid_to: row.valid_to,
        },
        id: row.id,
        cost: row.cost,
    });
    routes.collect()
}

/// The rows behind an encoder's error.
fn explain(tables: &Tables, error: BuildError) -> Problem {
    match error {
        BuildError::DuplicateAddress { first, second } => {
            let (first, second) = (&tables.addresses[first], &tables.addresses[second]);
            let cidr = format!("{}/{}", second.row.network, second.row.prefix_len);
            let reason = format!("is the same as in line {}; remove one of the two rows", first.line);
            Problem::value("provider_address.csv", second.line, "cidr", cidr, reason)
        }
        BuildError::TooManyRoutes { routing_group, prefix } => {
            let same = |row: &&Row<super::tables::Route>| {
                row.row.enabled && row.row.routing_group == routing_group && row.row.prefix == prefix
            };
            let line = tables.routes.iter().filter(same).nth(ROUTES_PER_PREFIX_MAX).map_or(0, |row| row.line);
            let shown = if prefix == Digits::default() { "(empty)".to_string() } else { prefix.to_string() };
            let reason = format!(
                "is the route number {} of this prefix in group {routing_group}; {ROUTES_PER_PREFIX_MAX} are looked at, \
                 remove the others",
                ROUTES_PER_PREFIX_MAX + 1
            );
            Problem::value("route.csv", line, "prefix", shown, reason)
        }
        BuildError::TooLarge => Problem::file("route.csv", "has more routes than one image can hold; split the groups"),
    }
}
