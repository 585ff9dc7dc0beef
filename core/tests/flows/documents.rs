//! Documents that make promises: what their tables say must be so, and must be tested.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corelane_core::call::hunt::{Failure, Verdict, verdict};
use corelane_core::call::{EndReason, State};
use corelane_core::counter::TABLE;
use corelane_core::engine::Timers;

/// The text of a file, by its path from the root of the tree.
pub(super) fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let path = root.join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the tables whose header starts with this cell.
pub(super) fn rows(document: &str, header: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            inside = false;
            continue;
        };
        let cells: Vec<String> = cells.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        if cells[0] == header {
            inside = true;
        } else if inside && !cells[0].starts_with("---") {
            rows.push(cells);
        }
    }
    rows
}

/// What stands between backticks.
pub(super) fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the tests' folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The tests of this target: name → (file, body).
fn tests() -> BTreeMap<String, (PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows");
    let mut tests = BTreeMap::new();
    for path in sources(&folder) {
        let text = fs::read_to_string(&path).expect("a source");
        for piece in text.split("#[test]\nfn ").skip(1) {
            let (name, rest) = piece.split_once('(').expect("a function");
            let body = rest.split("\n}\n").next().unwrap_or_default();
            let before = tests.insert(name.to_owned(), (path.clone(), body.to_owned()));
            assert!(before.is_none(), "two tests are called {name}");
        }
    }
    tests
}

/// `docs/misbehaviour.md`: each row has an outcome, an RFC and a test that runs to the end of everything; each test that was written for the
/// table is in it.
#[test]
fn each_misbehaviour_has_an_outcome_and_a_test() {
    let document = read("docs/misbehaviour.md");
    let rows = rows(&document, "the endpoint");
    let tests = tests();
    let mut named = BTreeSet::new();
    let mut said = BTreeSet::new();
    for row in &rows {
        let [endpoint, outcome, rfc, names] = row.as_slice() else { panic!("four columns: {row:?}") };
        assert!(!outcome.is_empty() && rfc.contains('§'), "{endpoint}: outcome and section");
        assert!(said.insert(endpoint.clone()), "twice: {endpoint}");
        let names = quoted(names);
        assert!(!names.is_empty(), "{endpoint}: no test");
        for name in names {
            let (_, body) = tests.get(name).unwrap_or_else(|| panic!("{endpoint}: there is no test {name}"));
            let to_the_end =
                ["world.settle();", "stage.over();", "ends_after(&mut world"].iter().any(|end| body.contains(end));
            assert!(to_the_end, "{name} does not say that nothing is left");
            named.insert(name.to_owned());
        }
    }
    assert!(rows.len() >= 80, "the table was read");
    let written_for_it =
        tests.iter().filter(|(_, (path, _))| path.components().any(|part| part.as_os_str() == "misbehaviour"));
    for (name, (path, _)) in written_for_it {
        assert!(named.contains(name), "{}: {name} is in no row", path.display());
    }
}

/// What a table's first column names, and what the code has.
fn assert_same_names(document: &str, header: &str, code: &[String]) {
    let rows = rows(document, header);
    let named: Vec<&str> = rows.iter().map(|row| quoted(&row[0])[0]).collect();
    assert_eq!(named, code, "the column {header:?}");
}

/// `docs/call-lifecycle.md`: its states are those of the figure.
#[test]
fn the_lifecycle_names_every_state() {
    let states = [
        State::Trying,
        State::Ringing,
        State::Cancelling,
        State::Unacknowledged,
        State::Confirmed,
        State::HungUp,
        State::Terminated,
    ];
    for state in states {
        // A new state does not compile until it is listed here, and in the document.
        match state {
            State::Trying | State::Ringing | State::Cancelling | State::Unacknowledged => {}
            State::Confirmed | State::HungUp | State::Terminated => {}
        }
    }
    assert_same_names(&read("docs/call-lifecycle.md"), "state", &states.map(|state| format!("{state:?}")));
}

/// Every end, in the order of the document.
pub(super) const ENDS: [EndReason; 10] = [
    EndReason::Refused,
    EndReason::Cancelled,
    EndReason::Unanswered,
    EndReason::ByCaller,
    EndReason::ByCallee,
    EndReason::Unacknowledged,
    EndReason::Expired,
    EndReason::SessionExpired,
    EndReason::Lost,
    EndReason::HungUp,
];

/// Its ends are those of the code, each with the counter that it has.
#[test]
fn the_lifecycle_names_every_end() {
    for end in ENDS {
        // As above: a new end must be listed.
        match end {
            EndReason::Refused | EndReason::Cancelled | EndReason::Unanswered | EndReason::ByCaller => {}
            EndReason::ByCallee | EndReason::Unacknowledged | EndReason::Expired => {}
            EndReason::SessionExpired | EndReason::Lost | EndReason::HungUp => {}
        }
    }
    let document = read("docs/call-lifecycle.md");
    assert_same_names(&document, "end", &ENDS.map(|end| format!("{end:?}")));
    for (row, end) in rows(&document, "end").iter().zip(ENDS) {
        assert_eq!(row.len(), 6, "{row:?}");
        let counter = TABLE.iter().find(|description| description.name == quoted(&row[5])[0]);
        let counter = counter.unwrap_or_else(|| panic!("{end:?}: there is no counter {}", row[5]));
        assert_eq!(format!("{:?}", counter.counter), format!("Ended{end:?}"));
    }
}

/// Its timers have the defaults of the code.
#[test]
fn the_lifecycle_has_the_timers_defaults() {
    let timers = Timers::default();
    let defaults = [
        ("fr_timer", timers.fr_timer),
        ("progress_timeout", timers.progress_timeout),
        ("invite_timeout", timers.invite_timeout),
        ("ring_timeout", timers.ring_timeout),
        ("early_timeout", timers.early_timeout),
        ("noack_timeout", timers.noack_timeout),
        ("default_timeout", timers.default_timeout),
        ("media_idle", timers.media_idle),
        ("media_timeout", timers.media_timeout),
        ("session_expires", timers.session_expires),
        ("min_se", timers.min_se),
        ("t1", timers.t1),
        ("t2", timers.t2),
        ("t4", timers.t4),
    ];
    let document = read("docs/call-lifecycle.md");
    assert_same_names(&document, "timer", &defaults.map(|(name, _)| name.to_owned()));
    for (row, (name, default)) in rows(&document, "timer").iter().zip(defaults) {
        let (number, unit) = row[1].split_once(' ').expect("a number and its unit");
        let number = number.parse().expect("a number");
        let said = if unit == "ms" { Duration::from_millis(number) } else { Duration::from_secs(number) };
        assert_eq!(said, default, "{name}");
    }
}

/// Its rules of the hunt are the engine's, for every status and every silence.
#[test]
fn the_lifecycle_has_the_rules_of_the_hunt() {
    let document = read("docs/call-lifecycle.md");
    let rows = rows(&document, "the gateway");
    let meant = |then: &str| match then {
        then if then.starts_with("the next gateway") => Verdict::Next,
        then if then.starts_with("as the carrier's") => Verdict::AskCarrier,
        then if then.starts_with("as the provider's `redirect`") => Verdict::Redirected,
        then if then.starts_with("upstream") => Verdict::Over,
        then => panic!("what does {then:?} mean?"),
    };
    let row = |of: &str| rows.iter().find(|row| row[0].contains(of)).unwrap_or_else(|| panic!("no row of {of}"));
    for (said, failure) in [
        ("silent for `fr_timer`", Failure::Silent),
        ("`progress_timeout`", Failure::NoProgress),
        ("ICMP", Failure::Unreachable),
        ("`ring_timeout`", Failure::RingTimeout),
    ] {
        assert_eq!(meant(&row(said)[1]), verdict(failure), "{said}");
    }
    let mut said = BTreeMap::new();
    // The row of all others is the last one: what stands above it goes before.
    for row in rows.iter().filter(|row| row[0].contains("answers")) {
        let numbers: Vec<u16> = quoted(&row[0]).iter().map(|number| number.parse().expect("a status")).collect();
        let range = row[0].contains("`–`");
        let (single, ends) = numbers.split_at(if range { numbers.len() - 2 } else { numbers.len() });
        let ends = if let [first, last] = ends { *first..*last + 1 } else { 0..0 };
        for status in single.iter().copied().chain(ends) {
            said.entry(status).or_insert_with(|| meant(&row[1]));
        }
    }
    for status in 300..=699 {
        assert_eq!(said.get(&status), Some(&verdict(Failure::Status(status))), "{status}");
    }
}

/// `docs/media.md`: each position, each reply and each crossing has an outcome and a test that runs to the end of everything; each test that
/// was written for the tables is in one.
#[test]
fn each_position_of_media_has_an_outcome_and_a_test() {
    let document = read("docs/media.md");
    let tests = tests();
    let of_media = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("flows/media"));
    let mut named = BTreeSet::new();
    let mut said = BTreeSet::new();
    for header in ["position", "what happens"] {
        for row in rows(&document, header) {
            let [what, outcome, names] = row.as_slice() else { panic!("three columns: {row:?}") };
            assert!(!outcome.is_empty() && said.insert(what.clone()), "{what}: no outcome, or twice");
            let names = quoted(names);
            assert!(!names.is_empty(), "{what}: no test");
            for name in names {
                let (path, body) = tests.get(name).unwrap_or_else(|| panic!("{what}: there is no test {name}"));
                assert!(of_media(path), "{name} looks at no node");
                assert!(body.contains("world.settle();"), "{name} does not say that nothing is left");
                named.insert(name.to_owned());
            }
        }
    }
    assert!(said.len() >= 50, "the tables were read");
    for (name, (path, _)) in tests {
        assert!(!of_media(&path) || named.contains(&name), "{}: {name} is in no row", path.display());
    }
}
