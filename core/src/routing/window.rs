//! Whether a route is there now, and which day it is: by the clocks of a zone.
//!
//! ```text
//!   wall clock ──► second (UTC) ──► schedule: valid_from <= second < valid_to
//!                      │
//!                      └──► zone: + offset of the last transition ──► day, second of the day ──► rows of the window, any of them
//! ```
//!
//! **Zones.** The compiler writes each zone that is used as its changes of offset from a year back to ten years ahead. Before the first the
//! zone's own offset holds, after the last the last one; there is no rule of daylight saving here, only a binary search.
//!
//! **Rows.** A row is what a sign on a door says, and the clock on the wall of its zone is what it is read by: open from `from` to just before
//! `to`, on each of `days` from `date_from` to `date_to`. Where `to` is not after `from` the row crosses midnight, and its day is the one that it
//! starts on: `fri 22:00–06:00` ends on Saturday morning, though Saturday is not named. `from` equal to `to` is thus 24 hours from
//! `from` on.
//!
//! **Clocks that are set.** A time of day that is skipped is in no row: 01:30–02:30 closes half an hour after it opens on the night when 02:00 becomes
//! 03:00, and 02:00–03:00 does not open that night. A time of day that comes twice is in the row both times: 02:00–03:00
//! is open for two hours on the night when 03:00 becomes 02:00, 01:00–02:30 twice for its last half hour.
//!
//! Nothing is remembered between two evaluations, so that a step of the wall clock is as good as the time that it steps to. A damaged image
//! closes routes; it cannot panic or keep a shard busy: rows and transitions behind their bounds are not looked at.

use rkyv::Archived;

use crate::routing::layout::{
    ALWAYS, ArchivedPlace, NO_SLOT, ROWS_PER_WINDOW_MAX, RouteEntry, Schedule, WindowRow, ZONE_TRANSITIONS_MAX,
    ZoneTransition,
};
use crate::routing::{Image, ProviderSlot};
use crate::time::WallTime;

const DAY_S: i64 = 86_400;
const MICROS: u64 = 1_000_000;
/// 1970-01-01 was a Thursday, three days after a Monday.
const EPOCH_WEEKDAY: i64 = 3;

/// What the clocks of a zone show.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct LocalTime {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Seconds of the day, below 86,400.
    pub second: u32,
}

impl LocalTime {
    fn at(second: i64, offset_s: i64) -> LocalTime {
        let local = second + offset_s;
        LocalTime { day: local.div_euclid(DAY_S), second: local.rem_euclid(DAY_S) as u32 }
    }

    /// Monday 0 … Sunday 6.
    #[must_use]
    pub const fn weekday(self) -> u8 {
        weekday(self.day)
    }
}

const fn weekday(day: i64) -> u8 {
    (day + EPOCH_WEEKDAY).rem_euclid(7) as u8
}

/// Whether a route is there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Availability {
    /// It is.
    Open,
    /// `valid_from` is still to come.
    NotYetValid,
    /// `valid_to` is over.
    NoLongerValid,
    /// Its time window is closed.
    WindowClosed,
}

/// A zone of the image, or UTC.
#[derive(Copy, Clone)]
struct Zone<'a> {
    offset_s: i64,
    transitions: &'a [Archived<ZoneTransition>],
}

impl Zone<'_> {
    const UTC: Zone<'static> = Zone { offset_s: 0, transitions: &[] };

    /// How many transitions there were until `second`, itself included.
    fn passed(&self, second: i64) -> usize {
        self.transitions.partition_point(|set| set.at.to_native() <= second)
    }

    /// The offset after so many transitions.
    fn offset_after(&self, passed: usize) -> i64 {
        let last = passed.checked_sub(1).and_then(|last| self.transitions.get(last));
        last.map_or(self.offset_s, |set| i64::from(set.offset_s.to_native()))
    }

    fn local(&self, second: i64) -> LocalTime {
        LocalTime::at(second, self.offset_after(self.passed(second)))
    }

    /// The first second after `second` on which the clocks show a later day.
    fn next_day(&self, second: i64) -> i64 {
        let mut passed = self.passed(second);
        let midnight = (LocalTime::at(second, self.offset_after(passed)).day + 1) * DAY_S;
        // Clocks may be set on the way there, also at midnight: then 01:00 may follow 23:59, or 23:00 come once more.
        while let Some(set) = self.transitions.get(passed).map(|set| set.at.to_native()) {
            if set > midnight - self.offset_after(passed) {
                break;
            }
            passed += 1;
            if set + self.offset_after(passed) >= midnight {
                return set;
            }
        }
        midnight - self.offset_after(passed)
    }
}

fn seconds(wall: WallTime) -> i64 {
    (wall.0 / MICROS) as i64
}

/// Whether the clock is in this row.
fn row_is_open(row: &Archived<WindowRow>, now: LocalTime) -> bool {
    let (from, to) = (row.from_s.to_native(), row.to_s.to_native());
    let (first, last) = (i64::from(row.date_from.to_native()), i64::from(row.date_to.to_native()));
    let starts_on = |day: i64| row.days >> weekday(day) & 1 == 1 && (first..=last).contains(&day);
    if from < to {
        (from..to).contains(&now.second) && starts_on(now.day)
    } else {
        now.second >= from && starts_on(now.day) || now.second < to && starts_on(now.day - 1)
    }
}

impl<'a> Image<'a> {
    /// `None`: a place that is none.
    fn zone(&self, place: Option<u16>) -> Option<Zone<'a>> {
        let Some(place) = place else { return Some(Zone::UTC) };
        let record = self.tables.zones.as_slice().get(usize::from(place))?;
        let transitions = record.transitions.as_slice();
        Some(Zone {
            offset_s: record.offset_s.to_native().into(),
            transitions: transitions.get(..ZONE_TRANSITIONS_MAX).unwrap_or(transitions),
        })
    }

    /// What the clocks show in a zone of the image, by its place; `None`: UTC.
    #[must_use]
    pub fn local_time(&self, zone: Option<u16>, wall: WallTime) -> LocalTime {
        self.zone(zone).unwrap_or(Zone::UTC).local(seconds(wall))
    }

    /// The name of a zone of the image, by its place; `None`: UTC.
    #[must_use]
    pub fn zone_name(&self, zone: Option<u16>) -> &'a str {
        let record = zone.and_then(|place| self.tables.zones.as_slice().get(usize::from(place)));
        record.map_or("UTC", |record| record.name.as_str())
    }

    /// The day that it is where the provider's daily limits count, in days since 1970-01-01. It goes back where the wall clock does, and where
    /// the zone's clocks are set back over midnight.
    #[must_use]
    pub fn local_day(&self, provider: ProviderSlot, wall: WallTime) -> i64 {
        self.provider_zone(provider).local(seconds(wall)).day
    }

    /// The next midnight there, always after `wall`: the first moment of a later day. That is 01:00 where clocks skip midnight; a day
    /// on which they are set has 23 or 25 hours.
    #[must_use]
    pub fn local_midnight(&self, provider: ProviderSlot, wall: WallTime) -> WallTime {
        let midnight = self.provider_zone(provider).next_day(seconds(wall));
        WallTime(u64::try_from(midnight).unwrap_or(0).saturating_mul(MICROS))
    }

    fn provider_zone(&self, provider: ProviderSlot) -> Zone<'a> {
        let zone = match self.tables.providers.as_slice().get(usize::from(provider.0)) {
            Some(ArchivedPlace::Taken(record)) => record.zone.as_ref().map(|zone| zone.to_native()),
            Some(ArchivedPlace::Vacant(_)) | None => None,
        };
        self.zone(zone).unwrap_or(Zone::UTC)
    }

    /// Whether a schedule has a route there now.
    #[must_use]
    pub fn availability(&self, schedule: Schedule, wall: WallTime) -> Availability {
        let now = seconds(wall);
        if now < schedule.valid_from {
            Availability::NotYetValid
        } else if now >= schedule.valid_to {
            Availability::NoLongerValid
        } else if schedule.window != NO_SLOT && !self.window_is_open(schedule.window, now) {
            Availability::WindowClosed
        } else {
            Availability::Open
        }
    }

    fn window_is_open(&self, place: u16, second: i64) -> bool {
        let Some(window) = self.tables.windows.as_slice().get(usize::from(place)) else { return false };
        // Rows of one window are mostly of one zone.
        let mut clock: Option<(Option<u16>, LocalTime)> = None;
        window.rows.iter().take(ROWS_PER_WINDOW_MAX).any(|row| {
            let place = row.zone.as_ref().map(|zone| zone.to_native());
            let now = match clock {
                Some((same, now)) if same == place => now,
                _ => {
                    let Some(zone) = self.zone(place) else { return false };
                    let now = zone.local(second);
                    clock = Some((place, now));
                    now
                }
            };
            row_is_open(row, now)
        })
    }

    /// The schedule of an entry. A place that is none is damage, and never.
    pub(super) fn schedule(&self, entry: &Archived<RouteEntry>) -> Schedule {
        let place = entry.schedule.to_native();
        if place == ALWAYS {
            return Schedule::ALWAYS;
        }
        let never = Schedule { window: NO_SLOT, valid_from: i64::MAX, valid_to: i64::MIN };
        self.routes.schedules.as_slice().get(place as usize).map_or(never, |schedule| Schedule {
            window: schedule.window.to_native(),
            valid_from: schedule.valid_from.to_native(),
            valid_to: schedule.valid_to.to_native(),
        })
    }

    /// Which of the first 64 entries are not there now, as bits by place. One comparison for each without a schedule, or with the one
    /// of the entry before it.
    #[inline]
    pub(super) fn absent(&self, entries: &[Archived<RouteEntry>], wall: WallTime) -> u64 {
        let mut last = (ALWAYS, true);
        entries.iter().take(64).zip(0u32..).fold(0, |absent, (entry, place)| {
            let schedule = entry.schedule.to_native();
            if schedule != last.0 {
                last = (schedule, self.availability(self.schedule(entry), wall) == Availability::Open);
            }
            absent | u64::from(!last.1) << place
        })
    }
}

#[cfg(test)]
mod tests;
