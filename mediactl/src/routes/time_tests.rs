//! Zones and windows from tables to answers, against the library that knows the rules of the zones.

use corelane_core::WallTime;
use corelane_core::routing::build::ImageBytes;
use corelane_core::routing::layout::{ProviderRecord, Schedule, WindowRow, ZONE_TRANSITIONS_MAX};
use corelane_core::routing::{Availability, Image, NoCandidate, ProviderSlot};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;

use crate::routes::tables::{Provider, Row, Tables, Window};
use crate::routes::tests::Set;
use crate::routes::{Outcome, Source, compile_at, load, lookup, moment};

/// When the images of these tests are compiled: 2026-11-23.
const COMPILED: i64 = 1_795_392_000;
/// The span that they know: a year back, ten years ahead.
const KNOWN: std::ops::Range<i64> = COMPILED - 31_556_952..COMPILED + 315_569_520;

fn wall(second: i64) -> WallTime {
    WallTime(second as u64 * 1_000_000)
}

fn at(text: &str) -> WallTime {
    moment(text).expect("RFC 3339")
}

/// One provider in each zone, and a window of `rows` with id 1.
fn image(zones: &[&str], rows: &[(WindowRow, &str)]) -> ImageBytes {
    let providers = zones.iter().zip(1..).map(|(zone, id)| {
        let record = ProviderRecord { id, refuse_code: 503, ..ProviderRecord::default() };
        Row { line: 1, row: Provider { record, zone: (*zone).to_string(), listener_id: None } }
    });
    let windows =
        rows.iter().map(|(row, zone)| Row { line: 1, row: Window { id: 1, zone: (*zone).to_string(), row: *row } });
    let tables = Tables { providers: providers.collect(), windows: windows.collect(), ..Tables::default() };
    compile_at(&tables, None, wall(COMPILED)).expect("compiles")
}

fn civil(zone: &TimeZone, second: i64) -> (Date, u32) {
    let local = zone.to_datetime(Timestamp::from_second(second).expect("in the calendar"));
    let seconds = i64::from(local.hour()) * 3600 + i64::from(local.minute()) * 60 + i64::from(local.second());
    (local.date(), seconds as u32)
}

fn days(date: Date) -> i64 {
    date.duration_since(Date::constant(1970, 1, 1)).as_secs() / 86_400
}

/// Every zone that there is, at a thousand moments and around each change of its clocks.
#[test]
fn every_zone_shows_what_the_database_says() {
    let database = TimeZoneDatabase::bundled();
    let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(names.len() > 400, "{} zones", names.len());
    let bytes = image(&names, &[]);
    let image = Image::open(&bytes).expect("opens");
    image.verify().expect("sound");
    let step = (KNOWN.end - KNOWN.start) / 1000;
    for (name, slot) in names.iter().zip(0..) {
        let zone = database.get(name).expect("available");
        let place = image.tables().zones.iter().position(|record| record.name == **name).map(|place| place as u16);
        assert_eq!(image.zone_name(place), *name);
        let transitions =
            place.map_or(&[][..], |place| image.tables().zones[usize::from(place)].transitions.as_slice());
        assert!(transitions.len() < ZONE_TRANSITIONS_MAX / 2, "{name} has {}", transitions.len());
        let spread = KNOWN.step_by(step as usize);
        let set = zone.following(Timestamp::from_second(KNOWN.start).expect("in the calendar"));
        let set = set.map(|set| set.timestamp().as_second()).take_while(|at| *at < KNOWN.end);
        let around = set.flat_map(|at| [-86_400, -3600, -1, 0, 1, 3600, 86_400].map(|offset| at + offset));
        for second in spread.chain(around.filter(|second| KNOWN.contains(second))) {
            let (date, of_day) = civil(&zone, second);
            let shown = image.local_time(place, wall(second));
            assert_eq!((shown.day, shown.second), (days(date), of_day), "{name} at {second}");
            assert_eq!(
                i64::from(shown.weekday()),
                i64::from(date.weekday().to_monday_zero_offset()),
                "{name} at {second}"
            );
            let provider = ProviderSlot(slot);
            assert_eq!(image.local_day(provider, wall(second)), days(date), "{name} at {second}");
            let tomorrow = date.tomorrow().expect("in the calendar").to_zoned(zone.clone()).expect("in the calendar");
            let midnight = tomorrow.start_of_day().expect("in the calendar").timestamp().as_second();
            if KNOWN.contains(&midnight) {
                assert_eq!(image.local_midnight(provider, wall(second)), wall(midnight), "{name} at {second}");
            }
        }
    }
}

/// What a row means, said with dates instead of seconds: the day it starts on is today, or yesterday where it crosses midnight.
fn expected(row: &WindowRow, zone: &TimeZone, second: i64) -> bool {
    let (today, of_day) = civil(zone, second);
    let starts_on = |date: Date| {
        let named = row.days >> date.weekday().to_monday_zero_offset() & 1 == 1;
        named && i64::from(row.date_from) <= days(date) && days(date) <= i64::from(row.date_to)
    };
    let since_start = |date: Date| i64::from(of_day) + (days(today) - days(date)) * 86_400;
    let end = i64::from(row.to_s) + if row.to_s > row.from_s { 0 } else { 86_400 };
    [today, today.yesterday().expect("in the calendar")]
        .into_iter()
        .any(|date| starts_on(date) && (i64::from(row.from_s)..end).contains(&since_start(date)))
}

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Chatham",
];

prop_compose! {
    fn any_row()(
        days in 0u8..128,
        // Mostly around the hours at which clocks are set, where it is hard.
        from_s in prop_oneof![0u32..=86_400, 0u32..14_400],
        to_s in prop_oneof![0u32..=86_400, 0u32..14_400],
        dated in any::<bool>(),
        date_from in 20_500i32..24_000,
        len in 0i32..400,
        zone in prop::sample::select(&ZONES[..]),
    ) -> (WindowRow, &'static str) {
        let (date_from, date_to) = if dated { (date_from, date_from + len) } else { (i32::MIN, i32::MAX) };
        (WindowRow { date_from, date_to, from_s, to_s, zone: None, days }, zone)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn windows_agree_with_the_calendar(
        rows in prop::collection::vec(any_row(), 1..4),
        moments in prop::collection::vec(KNOWN, 20),
        near in prop::collection::vec((any::<prop::sample::Index>(), -100_000i64..100_000), 20),
    ) {
        let database = TimeZoneDatabase::bundled();
        let bytes = image(&[], &rows);
        let image = Image::open(&bytes).expect("opens");
        prop_assert_eq!(image.verify(), Ok(()));
        let zones: Vec<TimeZone> = rows.iter().map(|(_, zone)| database.get(zone).expect("known")).collect();
        let set: Vec<i64> = zones
            .iter()
            .flat_map(|zone| zone.following(Timestamp::from_second(KNOWN.start).expect("in the calendar")).take(18))
            .map(|set| set.timestamp().as_second())
            .collect();
        let near = near.iter().filter(|_| !set.is_empty()).map(|(which, offset)| set[which.index(set.len())] + offset);
        for second in moments.iter().copied().chain(near).filter(|second| KNOWN.contains(second)) {
            let open = rows.iter().zip(&zones).any(|((row, _), zone)| expected(row, zone, second));
            let found = image.availability(Schedule { window: 0, ..Schedule::ALWAYS }, wall(second));
            prop_assert_eq!(found == Availability::Open, open, "{}", second);
        }
    }
}

/// Numbers that start with 4420 leave by night and at weekends through `second`, from 2027 on also through `first`; 44 always through `first`.
fn timed() -> Set {
    let set = Set::with(
        "route.csv",
        "id,routing_group,prefix,carrier_id,time_window_id,valid_from,valid_to\n\
         1,1,44,1,,,\n2,1,4420,2,7,,2027-06-30\n3,1,4420,1,,2027-01-01T00:00:00Z,\n4,1,33,1,7,,\n",
    );
    set.write(
        "time_window.csv",
        "id,days,from,to,zone\n7,mon-fri,20:00,06:00,europe/madrid\n7,sat sun,,,Europe/Madrid\n",
    );
    set
}

#[test]
fn a_number_goes_by_the_clock_from_tables_to_gateways() {
    let set = timed();
    let tables = load(set.dir()).expect("right");
    let bytes = compile_at(&tables, None, wall(COMPILED)).expect("compiles");
    let image = Image::open(&bytes).expect("opens");
    image.verify().expect("sound");
    assert_eq!(image.tables().zones.len(), 1, "one spelling, one zone");
    let ids = |number: &[u8], time: &str| {
        let mut carriers: Vec<_> = image
            .select(1, number, at(time), 7)?
            .iter()
            .map(|candidate| image.carrier(candidate.carrier).expect("known").name().to_string())
            .collect();
        carriers.sort();
        carriers.dedup();
        Ok(carriers.join(" "))
    };
    let is = |text: &str| Ok(text.to_string());
    // Monday evening: an hour ahead of UTC in winter, two in summer.
    assert_eq!(ids(b"44207", "2026-11-23T18:59:59Z"), is("first"), "outside: by 44");
    assert_eq!(ids(b"44207", "2026-11-23T19:00:00Z"), is("second"), "inside: by 4420");
    assert_eq!(ids(b"44207", "2026-08-03T17:59:59Z"), is("first"));
    assert_eq!(ids(b"44207", "2026-08-03T18:00:00Z"), is("second"));
    assert_eq!(ids(b"44207", "2026-11-24T05:59:59+01:00"), is("second"), "the night is Monday's");
    assert_eq!(ids(b"44207", "2026-11-28T12:00:00+01:00"), is("second"), "a Saturday");
    assert_eq!(ids(b"44207", "2026-11-30T03:00:00+01:00"), is("first"), "Sunday night is in neither row");
    // The last night of the clock: 03:00 comes twice on October 25, the weekend has 49 hours.
    assert_eq!(ids(b"44207", "2026-10-25T23:59:59+01:00"), is("second"));
    assert_eq!(ids(b"44207", "2026-12-31T23:59:59Z"), is("second"));
    assert_eq!(ids(b"44207", "2027-01-01T00:00:00Z"), is("first second"), "valid from then on");
    assert_eq!(ids(b"44207", "2027-06-30T23:59:59Z"), is("first second"), "a date as valid_to counts to its end");
    assert_eq!(ids(b"44207", "2027-07-01T00:00:00Z"), is("first"));
    assert_eq!(ids(b"33", "2026-11-23T12:00:00Z"), Err(NoCandidate::NoRoute), "no shorter prefix");
}

#[test]
fn a_lookup_says_which_routes_are_outside_their_time() {
    let set = timed();
    set.compiled();
    let told = |number: &str, time: &str| {
        let look = |image: &Image<'_>| lookup(image, Source::Group(1), number, at(time), 1);
        let found = super::with_image(&set.image(), |image, _| Ok(look(image))).expect("opens");
        (found.to_string(), found.outcome)
    };
    let (text, outcome) = told("44207", "2026-11-23T12:30:00Z");
    assert!(matches!(outcome, Outcome::Candidates(_)));
    for line in [
        "at 2026-11-23T12:30:00Z",
        "group 1: prefix '4420': no route is there at this time, so the next shorter prefix is asked",
        "  route 2: carrier second, priority 0, weight 1; outside time window 7 (Mon 13:30 in Europe/Madrid)",
        "  route 3: carrier first, priority 0, weight 1; not there before 2027-01-01T00:00:00Z",
        "group 1: prefix '44': used",
        "  route 1: carrier first, priority 0, weight 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    let (text, _) = told("44207", "2027-07-03T12:30:00Z");
    for line in [
        "group 1: prefix '4420': used",
        "  route 2: carrier second, priority 0, weight 1; not there since 2027-07-01T00:00:00Z",
        "group 1: prefix '44': not asked",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    let (text, _) = told("44207", "2099-07-03T12:30:00Z");
    assert!(text.starts_with("at 2099-07-03T12:30:00Z, when the image knows no daylight saving any more\n"), "{text}");
    let (text, outcome) = told("331", "2026-11-23T12:30:00Z");
    assert_eq!(outcome, Outcome::None(NoCandidate::NoRoute));
    assert!(text.contains("no prefix has a route that is there at this time: 404"), "{text}");
}

#[test]
fn a_window_has_a_bounded_number_of_rows() {
    let rows = (0..65).fold("id,date_from,date_to\n".to_string(), |text, _| text + "7,2026-12-24,2026-12-26\n");
    let complaints = Set::with("time_window.csv", &rows).complaints();
    assert!(
        complaints.len() == 1 && complaints[0].starts_with("time_window.csv:66: id 7: has more than 64 rows; join"),
        "{complaints:?}"
    );
}

#[test]
fn statistics_say_until_when_zones_are_known() {
    let set = timed();
    let stat = set.compiled().stat;
    assert_eq!((stat.windows, stat.zones), ((1, 2), 1));
    let ahead = stat.zones_until.expect("Madrid sets its clocks") - (stat.compiled_at / 1_000_000) as i64;
    assert_eq!(ahead, 10 * 31_556_952);
    assert!(
        stat.to_string().lines().any(|line| line.starts_with("zones") && line.contains("known until 20")),
        "{stat}"
    );
    set.write("time_window.csv", "id,zone\n7,Asia/Kolkata\n");
    assert_eq!(set.compiled().stat.zones_until, None, "clocks that are never set need no rules");
}
