//! Time zones: from a name in a table to the offsets that an image carries, so that no shard needs the rules.
//!
//! The rules are those of the IANA time zone database that this program was built with, not the machine's: the same tables
//! give the same image everywhere, and an appliance needs no zone files. Written are the changes of offset from [`YEARS_BACK`] before the
//! compile to [`YEARS_AHEAD`] after it. What is not a change (a new abbreviation, a new name of the same offset) is left out.
//!
//! UTC has no record: it is what a row without a zone counts by.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use corelane_core::WallTime;
use corelane_core::routing::layout::{ZONE_TRANSITIONS_MAX, ZoneRecord, ZoneTransition};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::routes::tables::Tables;

/// Years before the compile whose changes an image has: for look-ups with `--at`, and for clocks that are behind.
const YEARS_BACK: i64 = 1;
/// Years after the compile whose changes an image has.
const YEARS_AHEAD: i64 = 10;
/// A year of the calendar on average, seconds.
const YEAR_S: i64 = 31_556_952;
/// The zone without a record.
pub(super) const UTC: &str = "UTC";

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone's name as the database spells it, `None` when it has no such zone. Case does not count.
pub(super) fn canonical(name: &str) -> Option<String> {
    DATABASE.get(name).ok().and_then(|zone| zone.iana_name().map(str::to_string))
}

/// The zones that tables use.
pub(super) struct Zones {
    /// By place, ascending by name.
    pub(super) records: Vec<ZoneRecord>,
    /// Until when they are known, seconds since 1970 UTC.
    pub(super) until: i64,
    places: HashMap<String, u16>,
}

impl Zones {
    pub(super) fn of(tables: &Tables, compiled_at: WallTime) -> Zones {
        let now = i64::try_from(compiled_at.0 / 1_000_000).unwrap_or(i64::MAX);
        let (from, until) = (now.saturating_sub(YEARS_BACK * YEAR_S), now.saturating_add(YEARS_AHEAD * YEAR_S));
        let providers = tables.providers.iter().map(|row| row.row.zone.as_str());
        let names = providers.chain(tables.windows.iter().map(|row| row.row.zone.as_str()));
        let names: BTreeSet<&str> = names.filter(|name| *name != UTC).collect();
        // Reading a row has looked the name up; a zone that is gone since would be our bug, and counts by UTC like any unknown place.
        let records: Vec<ZoneRecord> = names.into_iter().filter_map(|name| record(name, from, until)).collect();
        let places = records.iter().zip(0..).map(|(record, place)| (record.name.clone(), place)).collect();
        Zones { records, until, places }
    }

    /// The place of a zone; `None`: UTC.
    pub(super) fn place(&self, name: &str) -> Option<u16> {
        self.places.get(name).copied()
    }
}

/// The changes of a zone's offset from one second to another.
fn record(name: &str, from: i64, until: i64) -> Option<ZoneRecord> {
    let zone: TimeZone = DATABASE.get(name).ok()?;
    let start = Timestamp::from_second(from).ok()?;
    let offset_s = zone.to_offset(start).seconds();
    let mut last = offset_s;
    let mut transitions = Vec::new();
    for set in zone.following(start) {
        let (at, offset_s) = (set.timestamp().as_second(), set.offset().seconds());
        if at > until || transitions.len() == ZONE_TRANSITIONS_MAX {
            break;
        }
        if offset_s != last {
            transitions.push(ZoneTransition { at, offset_s });
            last = offset_s;
        }
    }
    Some(ZoneRecord { name: name.to_string(), offset_s, transitions })
}

/// A moment as people write it, RFC 3339 with any offset: `2026-12-31T23:30:00+01:00`.
///
/// # Errors
/// What is wrong with it.
pub fn moment(text: &str) -> Result<WallTime, String> {
    let wrong =
        || "must be a moment such as 2026-12-31T23:30:00Z or 2026-12-31T23:30:00+01:00, from 1970 on".to_string();
    let moment: Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(moment.as_microsecond()).map(WallTime).map_err(|_| wrong())
}

/// `2026-12-31T22:30:00Z`; a moment beyond the calendar as its number.
pub(super) fn shown(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |moment| moment.to_string())
}

/// `2026-12-31`, by UTC.
pub(super) fn shown_date(second: i64) -> String {
    shown(second).split('T').next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_database() {
        for (name, found) in [
            ("Europe/Madrid", Some("Europe/Madrid")),
            ("europe/madrid", Some("Europe/Madrid")),
            ("UTC", Some("UTC")),
            ("America/Argentina/Buenos_Aires", Some("America/Argentina/Buenos_Aires")),
            ("Europe/Atlantis", None),
            ("Europe/", None),
            ("", None),
            ("CEST+2", None),
        ] {
            assert_eq!(canonical(name).as_deref(), found, "{name}");
        }
    }

    #[test]
    fn moments_have_an_offset() {
        assert_eq!(moment("1970-01-01T01:00:01+01:00"), Ok(WallTime(1_000_000)));
        assert_eq!(moment("1970-01-02T00:00:00Z"), Ok(WallTime(86_400_000_000)));
        assert!(
            ["2026-12-31", "2026-12-31T23:00:00", "now", "1969-12-31T23:59:59Z"]
                .iter()
                .all(|text| moment(text).is_err())
        );
        assert_eq!((shown(86_400), shown_date(86_400)), ("1970-01-02T00:00:00Z".into(), "1970-01-02".into()));
    }
}
