//! `docs/media.md` promises what comes of each thing that a media node may say: each row has a counter that exists and a test of this crate.

#![allow(missing_docs, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use corelane_mediactl::rtpengine::counter::TABLE;

/// Where the client's tests are; each of those that are about replies must be in a row.
const CLIENT: &str = "src/rtpengine/client/tests";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of a file's tests.
fn tests(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let pieces = text.split("#[test]\nfn ").skip(1);
    pieces.map(|piece| piece.split_once('(').expect("a function").0.to_owned()).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_thing_that_a_node_may_say_has_an_outcome_a_counter_and_a_test() {
    let document = read("../docs/media.md");
    let (_, table) = document.split_once("| the node | comes of it | counter | test |\n").expect("the table is there");
    let replies = tests(&format!("{CLIENT}/replies.rs"));
    let replies = &replies | &tests(&format!("{CLIENT}/replays.rs"));
    let others = [format!("{CLIENT}.rs"), format!("{CLIENT}/owed.rs"), "tests/control.rs".to_owned()];
    let known: BTreeSet<String> = others.iter().flat_map(|path| tests(path)).chain(replies.clone()).collect();
    let mut named = BTreeSet::new();
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with("| ")).collect();
    assert!(rows.len() >= 20, "the table was read");
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, outcome, counter, names] = cells[..] else { panic!("four columns: {row}") };
        assert!(!outcome.is_empty(), "{what}: no outcome");
        let [counter] = quoted(counter)[..] else { panic!("{what}: one counter") };
        assert!(TABLE.iter().any(|known| known.name == counter), "{what}: there is no counter {counter}");
        let names = quoted(names);
        assert!(!names.is_empty(), "{what}: no test");
        for name in names {
            assert!(known.contains(name), "{what}: there is no test {name}");
            named.insert(name.to_owned());
        }
    }
    let missing: Vec<&String> = replies.difference(&named).collect();
    assert!(missing.is_empty(), "in no row: {missing:?}");
}
