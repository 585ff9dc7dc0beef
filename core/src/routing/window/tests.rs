//! Windows, validity and local days over a year of three zones, written out by hand; that the compiler writes the same is tested with the compiler.

use std::vec::Vec;

use crate::routing::build::{Builder, ImageBytes};
use crate::routing::layout::{NO_SLOT, ProviderRecord, Schedule, WindowRow};
use crate::routing::{Availability, CarrierSlot, Image, NoCandidate, ProviderSlot};
use crate::time::WallTime;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// 2026-01-01, a Thursday.
const NEW_YEAR: i64 = 20_454 * DAY;

/// A moment of 2026, UTC.
fn utc(month: i64, day: i64, hour: i64, minute: i64) -> i64 {
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    NEW_YEAR + (before + day - 1) * DAY + hour * HOUR + minute * 60
}

fn date(month: i64, day: i64) -> i32 {
    (utc(month, day, 0, 0) / DAY) as i32
}

fn wall(second: i64) -> WallTime {
    WallTime(second as u64 * 1_000_000)
}

/// Zones by place: 0 Berlin, 1 New York, 2 Kolkata, and 3, which sets its clocks at midnight, once each way.
fn zones(builder: &mut Builder) {
    let berlin = [(utc(3, 29, 1, 0), 7200), (utc(10, 25, 1, 0), 3600)];
    let new_york = [(utc(3, 8, 7, 0), -14_400), (utc(11, 1, 6, 0), -18_000)];
    // 24:00 on April 23 becomes 01:00, 24:00 on October 29 becomes 23:00.
    let midnight = [(utc(4, 23, 22, 0), 10_800), (utc(10, 29, 21, 0), 7200)];
    let places = [
        builder.zone("Europe/Berlin", 3600, &berlin),
        builder.zone("America/New_York", -18_000, &new_york),
        builder.zone("Asia/Kolkata", 19_800, &[]),
        builder.zone("Africa/Cairo", 7200, &midnight),
    ];
    assert_eq!(places, [0, 1, 2, 3]);
}

const BERLIN: Option<u16> = Some(0);
const NEW_YORK: Option<u16> = Some(1);
const KOLKATA: Option<u16> = Some(2);
const CAIRO: Option<u16> = Some(3);
const MON_FRI: u8 = 0b001_1111;

/// `from` and `to` as hours and minutes.
fn row(zone: Option<u16>, days: u8, from: (u32, u32), to: (u32, u32)) -> WindowRow {
    let seconds = |(hour, minute)| hour * 3600 + minute * 60;
    WindowRow { zone, days, from_s: seconds(from), to_s: seconds(to), ..WindowRow::EVERY_DAY }
}

/// An image with this one window.
fn window(rows: &[WindowRow]) -> ImageBytes {
    let mut builder = Builder::new();
    zones(&mut builder);
    builder.window(rows);
    builder.finish()
}

const WINDOWED: Schedule = Schedule { window: 0, ..Schedule::ALWAYS };

/// Checks the window at each moment: whether it is open.
fn check(rows: &[WindowRow], moments: &[(i64, bool)]) {
    let bytes = window(rows);
    let image = Image::open(&bytes).expect("opens");
    image.verify().expect("sound");
    for (second, open) in moments {
        let expected = if *open { Availability::Open } else { Availability::WindowClosed };
        let hour = (second - NEW_YEAR) / HOUR;
        assert_eq!(image.availability(WINDOWED, wall(*second)), expected, "{second}, hour {hour} of the year");
    }
}

/// The minutes of a span on which a window is open.
fn open_minutes(rows: &[WindowRow], span: core::ops::Range<i64>) -> usize {
    let bytes = window(rows);
    let image = Image::open(&bytes).expect("opens");
    let open = |second: &i64| image.availability(WINDOWED, wall(*second)) == Availability::Open;
    span.step_by(60).filter(open).count()
}

#[test]
fn office_hours_follow_the_clock_of_their_zone() {
    let office = |zone| [row(zone, MON_FRI, (8, 30), (17, 0))];
    // Friday, January 16 and Friday, July 17: an hour earlier in UTC. Saturdays are closed.
    check(
        &office(BERLIN),
        &[
            (utc(1, 16, 7, 29), false),
            (utc(1, 16, 7, 30), true),
            (utc(1, 16, 15, 59), true),
            (utc(1, 16, 16, 0), false),
            (utc(1, 17, 12, 0), false),
            (utc(7, 17, 6, 29), false),
            (utc(7, 17, 6, 30), true),
            (utc(7, 17, 15, 0), false),
            (utc(7, 18, 12, 0), false),
            (utc(7, 20, 12, 0), true),
        ],
    );
    check(
        &office(NEW_YORK),
        &[
            (utc(1, 16, 13, 29), false),
            (utc(1, 16, 13, 30), true),
            (utc(1, 16, 21, 59), true),
            (utc(1, 16, 22, 0), false),
            (utc(7, 17, 12, 30), true),
            (utc(7, 17, 21, 0), false),
        ],
    );
    check(
        &office(KOLKATA),
        &[
            (utc(1, 16, 2, 59), false),
            (utc(1, 16, 3, 0), true),
            (utc(7, 17, 11, 29), true),
            (utc(7, 17, 11, 30), false),
        ],
    );
    check(&office(None), &[(utc(7, 17, 8, 29), false), (utc(7, 17, 8, 30), true), (utc(7, 17, 17, 0), false)]);
}

#[test]
fn the_day_is_the_one_on_the_clock_of_the_zone() {
    // Monday in Kolkata begins on Sunday, 18:30 UTC; in New York it ends on Tuesday, 05:00 UTC.
    let monday = |zone| [row(zone, 1, (0, 0), (24, 0))];
    check(&monday(KOLKATA), &[(utc(1, 18, 18, 29), false), (utc(1, 18, 18, 30), true), (utc(1, 19, 18, 30), false)]);
    check(&monday(NEW_YORK), &[(utc(1, 19, 4, 59), false), (utc(1, 19, 5, 0), true), (utc(1, 20, 5, 0), false)]);
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    // Friday 22:00 to 06:00, by UTC.
    let night = [row(None, 1 << 4, (22, 0), (6, 0))];
    check(
        &night,
        &[
            (utc(1, 16, 5, 59), false),
            (utc(1, 16, 21, 59), false),
            (utc(1, 16, 22, 0), true),
            (utc(1, 17, 0, 0), true),
            (utc(1, 17, 5, 59), true),
            (utc(1, 17, 6, 0), false),
            (utc(1, 17, 22, 0), false),
        ],
    );
    // Sunday to Monday goes over the end of the week; its last night begins on the last date.
    let sunday = WindowRow { date_from: date(1, 11), date_to: date(1, 18), ..row(None, 1 << 6, (22, 0), (6, 0)) };
    check(
        &[sunday],
        &[
            (utc(1, 5, 1, 0), false),
            (utc(1, 11, 23, 0), true),
            (utc(1, 12, 1, 0), true),
            (utc(1, 19, 5, 59), true),
            (utc(1, 25, 23, 0), false),
        ],
    );
}

#[test]
fn from_equal_to_to_is_a_day_from_then_on() {
    let monday = [row(None, 1, (8, 0), (8, 0))];
    check(
        &monday,
        &[(utc(1, 19, 7, 59), false), (utc(1, 19, 8, 0), true), (utc(1, 20, 7, 59), true), (utc(1, 20, 8, 0), false)],
    );
    check(&[row(None, 1, (0, 0), (0, 0))], &[(utc(1, 19, 0, 0), true), (utc(1, 20, 0, 0), false)]);
    assert_eq!(open_minutes(&monday, NEW_YEAR..NEW_YEAR + 7 * DAY), 24 * 60);
}

#[test]
fn dates_are_inclusive_and_rows_add_up() {
    let christmas = WindowRow { date_from: date(12, 24), date_to: date(12, 26), ..row(BERLIN, 127, (0, 0), (24, 0)) };
    let evening = row(BERLIN, 127, (18, 0), (20, 0));
    check(
        &[christmas, evening],
        &[
            (utc(12, 23, 22, 59), false),
            (utc(12, 23, 23, 0), true),
            (utc(12, 26, 22, 59), true),
            (utc(12, 26, 23, 0), false),
            (utc(12, 27, 17, 0), true),
            (utc(12, 27, 19, 0), false),
        ],
    );
    check(&[], &[(utc(1, 1, 12, 0), false)]);
}

#[test]
fn skipped_times_are_in_no_row() {
    // In Berlin 02:00 becomes 03:00 on March 29, at 01:00 UTC.
    let night = utc(3, 28, 18, 0)..utc(3, 29, 12, 0);
    let minutes = |from, to| open_minutes(&[row(BERLIN, 127, from, to)], night.clone());
    assert_eq!(minutes((2, 0), (3, 0)), 0, "wholly skipped");
    assert_eq!(minutes((1, 30), (2, 30)), 30);
    assert_eq!(minutes((2, 30), (4, 0)), 60);
    assert_eq!(minutes((22, 0), (6, 0)), 7 * 60, "the night is an hour short");
    check(
        &[row(BERLIN, 127, (3, 0), (3, 1))],
        &[(utc(3, 29, 0, 59), false), (utc(3, 29, 1, 0), true), (utc(3, 29, 1, 1), false)],
    );
}

#[test]
fn times_that_come_twice_are_in_their_row_twice() {
    // In Berlin 03:00 becomes 02:00 on October 25, at 01:00 UTC.
    let night = utc(10, 24, 18, 0)..utc(10, 25, 12, 0);
    let minutes = |from, to| open_minutes(&[row(BERLIN, 127, from, to)], night.clone());
    assert_eq!(minutes((2, 0), (3, 0)), 120);
    assert_eq!(minutes((22, 0), (6, 0)), 9 * 60);
    check(
        &[row(BERLIN, 127, (1, 0), (2, 30))],
        &[
            (utc(10, 24, 23, 0), true),
            (utc(10, 25, 0, 29), true),
            (utc(10, 25, 0, 30), false),
            (utc(10, 25, 1, 0), true),
            (utc(10, 25, 1, 30), false),
        ],
    );
}

#[test]
fn the_offsets_at_the_ends_hold_outside_the_span() {
    let noon = [row(BERLIN, 127, (12, 0), (12, 1))];
    check(&noon, &[(NEW_YEAR - 1000 * DAY + 11 * HOUR, true), (NEW_YEAR + 1000 * DAY + 11 * HOUR, true)]);
}

#[test]
fn validity_is_half_open() {
    let bytes = window(&[row(None, 127, (0, 0), (12, 0))]);
    let image = Image::open(&bytes).expect("opens");
    let schedule = Schedule { window: NO_SLOT, valid_from: utc(2, 1, 0, 0), valid_to: utc(3, 1, 0, 0) };
    let at = |schedule, second, micros| image.availability(schedule, WallTime(wall(second).0 + micros));
    assert_eq!(at(schedule, utc(2, 1, 0, 0) - 1, 999_999), Availability::NotYetValid);
    assert_eq!(at(schedule, utc(2, 1, 0, 0), 0), Availability::Open);
    assert_eq!(at(schedule, utc(3, 1, 0, 0) - 1, 999_999), Availability::Open);
    assert_eq!(at(schedule, utc(3, 1, 0, 0), 0), Availability::NoLongerValid);
    let both = Schedule { window: 0, ..schedule };
    assert_eq!(at(both, utc(2, 1, 11, 0), 0), Availability::Open);
    assert_eq!(at(both, utc(2, 1, 12, 0), 0), Availability::WindowClosed);
    assert_eq!(at(both, utc(1, 31, 12, 0), 0), Availability::NotYetValid);
    let lost = Schedule { window: 7, ..Schedule::ALWAYS };
    assert_eq!(at(lost, utc(2, 1, 11, 0), 0), Availability::WindowClosed, "a window that is not there");
}

#[test]
fn local_days_end_at_local_midnight() {
    let mut builder = Builder::new();
    zones(&mut builder);
    let provider = |builder: &mut Builder, zone| {
        builder.provider_with(ProviderRecord { zone, refuse_code: 503, ..Default::default() })
    };
    let [utc_, berlin, new_york, kolkata, cairo] =
        [None, BERLIN, NEW_YORK, KOLKATA, CAIRO].map(|zone| provider(&mut builder, zone));
    let bytes = builder.finish();
    let image = Image::open(&bytes).expect("opens");
    image.verify().expect("sound");
    for (provider, now, day, midnight) in [
        (utc_, utc(5, 1, 0, 0), date(5, 1), utc(5, 2, 0, 0)),
        (utc_, utc(5, 1, 23, 59), date(5, 1), utc(5, 2, 0, 0)),
        (berlin, utc(1, 15, 22, 59), date(1, 15), utc(1, 15, 23, 0)),
        (berlin, utc(1, 15, 23, 0), date(1, 16), utc(1, 16, 23, 0)),
        // 23 hours, and 25.
        (berlin, utc(3, 28, 23, 0), date(3, 29), utc(3, 29, 22, 0)),
        (berlin, utc(10, 24, 22, 0), date(10, 25), utc(10, 25, 23, 0)),
        (new_york, utc(3, 8, 5, 0), date(3, 8), utc(3, 9, 4, 0)),
        (new_york, utc(11, 1, 3, 59), date(10, 31), utc(11, 1, 4, 0)),
        (kolkata, utc(6, 30, 18, 29), date(6, 30), utc(6, 30, 18, 30)),
        (kolkata, utc(6, 30, 18, 30), date(7, 1), utc(7, 1, 18, 30)),
        // Midnight is skipped: the day begins at 01:00.
        (cairo, utc(4, 23, 21, 59), date(4, 23), utc(4, 23, 22, 0)),
        (cairo, utc(4, 23, 22, 0), date(4, 24), utc(4, 24, 21, 0)),
        // 23:00 comes once more: the day ends an hour later.
        (cairo, utc(10, 29, 20, 59), date(10, 29), utc(10, 29, 22, 0)),
        (cairo, utc(10, 29, 21, 0), date(10, 29), utc(10, 29, 22, 0)),
        (cairo, utc(10, 29, 22, 0), date(10, 30), utc(10, 30, 22, 0)),
        // Nobody's slot counts by UTC.
        (ProviderSlot(99), utc(5, 1, 23, 59), date(5, 1), utc(5, 2, 0, 0)),
    ] {
        assert_eq!(image.local_day(provider, wall(now)), i64::from(day), "{provider:?} at {now}");
        assert_eq!(image.local_midnight(provider, wall(now)), wall(midnight), "{provider:?} at {now}");
    }
    assert_eq!(image.provider(kolkata).expect("known").zone, "Asia/Kolkata");
    assert_eq!(image.provider(utc_).expect("known").zone, "UTC");
}

/// Carriers `night` (window 0), `soon` (from March on) and `always`, with a gateway each.
fn timed() -> (ImageBytes, [CarrierSlot; 3]) {
    let mut builder = Builder::new();
    zones(&mut builder);
    let window = builder.window(&[row(BERLIN, 127, (20, 0), (8, 0))]);
    let carriers = [1, 2, 3].map(|host| {
        let gateway = builder.gateway("gw", &std::format!("203.0.113.{host}:5060"));
        builder.carrier("carrier", &[gateway])
    });
    let [night, soon, always] = carriers;
    let nightly = Schedule { window, ..Schedule::ALWAYS };
    let from_march = Schedule { valid_from: utc(3, 1, 0, 0), ..Schedule::ALWAYS };
    builder.route_at(1, "442071", night, nightly);
    builder.route_at(1, "4420", night, nightly).route_at(1, "4420", soon, from_march);
    builder.route(1, "44", always).route_at(1, "33", soon, from_march);
    (builder.finish(), carriers)
}

#[test]
fn a_prefix_without_a_route_at_this_time_is_as_good_as_none() {
    let (bytes, [night, soon, always]) = timed();
    let image = Image::open(&bytes).expect("opens");
    image.verify().expect("sound");
    let carriers = |number: &[u8], second| {
        let mut found: Vec<_> =
            image.select(1, number, wall(second), 7)?.iter().map(|candidate| candidate.carrier).collect();
        found.sort_by_key(|carrier| carrier.0);
        Ok(found)
    };
    let (january, april) = (utc(1, 16, 0, 0), utc(4, 16, 0, 0));
    assert_eq!(carriers(b"4420712", january + 20 * HOUR), Ok([night].into()), "by night the longest");
    assert_eq!(carriers(b"4420712", january + 12 * HOUR), Ok([always].into()), "by day two are passed over");
    assert_eq!(carriers(b"4420712", april + 12 * HOUR), Ok([soon].into()), "and one that has another route");
    assert_eq!(carriers(b"44209", april + 20 * HOUR), Ok([night, soon].into()));
    assert_eq!(carriers(b"4499", january), Ok([always].into()));
    assert_eq!(carriers(b"33", january), Err(NoCandidate::NoRoute), "none is left");
    assert_eq!(carriers(b"33", april), Ok([soon].into()));
}

#[test]
fn gateways_that_are_down_do_not_shorten() {
    let (bytes, [night, ..]) = timed();
    let image = Image::open(&bytes).expect("opens");
    let without_night = |hour| {
        let at = wall(utc(1, 16, hour, 0));
        image.select_where(1, b"4420712", at, 7, |carrier, _| carrier != night).map(|found| found.len())
    };
    assert_eq!(without_night(20), Err(NoCandidate::NoneUsable));
    assert_eq!(without_night(12), Ok(1));
}
