//! `routes lookup`: why a number goes where it goes, told step by step.

use std::collections::BTreeSet;
use std::fmt;

use corelane_core::number::Dialled;
use corelane_core::routing::{
    Availability, Candidates, Digits, Image, ListenerSlot, NO_SLOT, NoCandidate, ProviderSlot, Recognised, Schedule,
};
use corelane_core::{Endpoint, WallTime};

use crate::routes::stat::zones_until;
use crate::routes::zones::shown;

/// Where a look-up starts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// At a routing group; the number is taken as normalised.
    Group(u32),
    /// At a provider, by id: strip and prepend are applied.
    Provider(u32),
    /// At an address, on a listener (by id) or on any.
    Peer(Endpoint, Option<u32>),
}

/// A look-up, explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// One line per step.
    pub steps: Vec<String>,
    /// The candidates of this draw, or why there are none.
    pub outcome: Outcome,
}

/// How a look-up ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Gateways in the order of this draw.
    Candidates(Candidates),
    /// The source is nobody's, the provider unknown, or what was dialled is no number.
    Unknown,
    /// The answer to give.
    None(NoCandidate),
}

/// Follows a number through an image at a time. `draw` decides between equals, as the engine's random number does.
#[must_use]
pub fn lookup(image: &Image<'_>, source: Source, dialled: &str, wall: WallTime, draw: u64) -> Lookup {
    let now = (wall.0 / 1_000_000) as i64;
    let known = zones_until(image).is_none_or(|until| now < until);
    let beyond = if known { "" } else { ", when the image knows no daylight saving any more" };
    let mut steps = vec![format!("at {}{beyond}", shown(now))];
    let Some((group, number)) = start(image, source, dialled, &mut steps) else {
        return Lookup { steps, outcome: Outcome::Unknown };
    };
    let outcome = match image.select(group, number.as_bytes(), wall, draw) {
        Ok(candidates) => Outcome::Candidates(candidates),
        Err(none) => Outcome::None(none),
    };
    prefixes(image, group, &number, wall, &mut steps);
    match &outcome {
        Outcome::Candidates(candidates) => {
            for (place, candidate) in candidates.iter().enumerate() {
                let carrier = image.carrier(candidate.carrier).map_or("?", |carrier| carrier.name());
                if let Some(gateway) = image.gateway(candidate.gateway) {
                    let (name, endpoint) = (gateway.name, gateway.endpoint);
                    steps.push(format!("{}. gateway {name} at {endpoint}, through {carrier}", place + 1));
                }
            }
        }
        Outcome::None(NoCandidate::NoneUsable) => steps.push("no enabled gateway: 503".to_string()),
        Outcome::None(NoCandidate::NoRoute) | Outcome::Unknown => {}
    }
    Lookup { steps, outcome }
}

/// The prefixes of a number from the longest on, and which of their routes are there.
fn prefixes(image: &Image<'_>, group: u32, number: &str, wall: WallTime, steps: &mut Vec<String>) {
    let mut prefix = image.longest_prefix(group, Digits::leading(number.as_bytes()));
    if prefix.is_none() {
        steps.push(format!("group {group}: no prefix of '{number}' is routed: 404"));
        return;
    }
    let mut used = false;
    while let Some(this) = prefix {
        let len = usize::from(image.prefix_len(this));
        let there = |schedule| image.availability(schedule, wall) == Availability::Open;
        let open = image.routes(this).any(|(route, ..)| there(route.schedule));
        let verdict = match (used, open) {
            (true, _) => ": not asked",
            (false, true) => ": used",
            (false, false) => ": no route is there at this time, so the next shorter prefix is asked",
        };
        used |= open;
        steps.push(format!("group {group}: prefix '{}'{verdict}", number.get(..len).unwrap_or(number)));
        for (route, id, cost) in image.routes(this) {
            let carrier = image.carrier(route.carrier).map_or("?", |carrier| carrier.name());
            let cost =
                cost.map_or(String::new(), |cost| format!(", cost {}.{:06}", cost / 1_000_000, cost % 1_000_000));
            let when = when(image, route.schedule, wall);
            let (priority, weight) = (route.priority, route.weight);
            steps.push(format!("  route {id}: carrier {carrier}, priority {priority}, weight {weight}{cost}{when}"));
        }
        prefix = image.shorter_prefix(this);
    }
    if !used {
        steps.push("no prefix has a route that is there at this time: 404".to_string());
    }
}

/// What a schedule says at a time, as the end of a route's line; nothing for a route that is always there.
fn when(image: &Image<'_>, schedule: Schedule, wall: WallTime) -> String {
    let window = image.tables().windows.get(usize::from(schedule.window));
    match image.availability(schedule, wall) {
        Availability::NotYetValid => format!("; not there before {}", shown(schedule.valid_from)),
        Availability::NoLongerValid => format!("; not there since {}", shown(schedule.valid_to)),
        Availability::Open => {
            window.map_or(String::new(), |window| format!("; inside time window {}", window.id.to_native()))
        }
        Availability::WindowClosed => {
            let id = window.map_or("?".to_string(), |window| window.id.to_native().to_string());
            let rows = window.map_or(&[][..], |window| window.rows.as_slice());
            let zones: BTreeSet<_> = rows.iter().map(|row| row.zone.as_ref().map(|zone| zone.to_native())).collect();
            let clocks: Vec<_> = zones.into_iter().map(|zone| clock(image, zone, wall)).collect();
            format!("; outside time window {id} ({})", clocks.join(", "))
        }
    }
}

/// `Tue 14:03 in Europe/Madrid`.
fn clock(image: &Image<'_>, zone: Option<u16>, wall: WallTime) -> String {
    let now = image.local_time(zone, wall);
    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][usize::from(now.weekday())];
    format!("{day} {:02}:{:02} in {}", now.second / 3600, now.second / 60 % 60, image.zone_name(zone))
}

/// The routing group and the normalised number.
fn start(image: &Image<'_>, source: Source, dialled: &str, steps: &mut Vec<String>) -> Option<(u32, String)> {
    // As a call would be read, so that what is told here is what happens.
    let user = Dialled::parse(dialled.as_bytes());
    let recognised = match source {
        Source::Group(group) => return Some((group, dialled.to_string())),
        Source::Provider(id) => {
            let slots = (0..image.tables().providers.len()).map(|slot| ProviderSlot(slot as u16));
            let known = slots.into_iter().find(|slot| image.provider(*slot).is_some_and(|provider| provider.id == id));
            known.map(|provider| Recognised { provider, tech_prefix: 0, cap: None })
        }
        Source::Peer(peer, listener) => image.recognise(listener_slot(image, listener), peer, user.text()),
    };
    let Some((recognised, provider)) =
        recognised.and_then(|recognised| Some((recognised, image.provider(recognised.provider)?)))
    else {
        steps.push("no such provider, or the address is nobody's".to_string());
        return None;
    };
    match user.for_provider(&recognised, &provider) {
        Ok(number) => {
            let number = String::from_utf8_lossy(number.digits()).into_owned();
            steps.push(format!("provider {} ({}): '{dialled}' becomes '{number}'", provider.id, provider.name));
            Some((provider.routing_group, number))
        }
        Err(fault) => {
            let (id, name, status) = (provider.id, provider.name, fault.status());
            steps.push(format!("provider {id} ({name}): '{dialled}': {fault}: {status}"));
            None
        }
    }
}

fn listener_slot(image: &Image<'_>, id: Option<u32>) -> ListenerSlot {
    use corelane_core::routing::layout::ArchivedPlace;
    let is = |place: &ArchivedPlace<_>| matches!((place, id), (ArchivedPlace::Taken(record), Some(id)) if listener_id(record) == id);
    let place = image.tables().listeners.iter().position(is);
    ListenerSlot(place.map_or(NO_SLOT, |place| place as u16))
}

fn listener_id(record: &corelane_core::routing::layout::ArchivedListenerRecord) -> u32 {
    record.id.to_native()
}

impl fmt::Display for Lookup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(out, "{step}"))
    }
}
