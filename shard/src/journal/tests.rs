//! What the journal promises: order and room. That nothing is lost with a killed process is shown in `tests/kill.rs`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::record::tests::record;
use super::*;

const CAPACITY: u32 = 1_000;

fn open(directory: &Path) -> (JournalWriter, JournalReader) {
    let mut journals = Journals::open(directory, 1, CAPACITY).expect("a directory that may be written");
    assert_eq!((journals.writers.len(), journals.readers.len()), (1, 1));
    assert!(journals.damaged.is_empty());
    (journals.writers.remove(0), journals.readers.remove(0))
}

fn numbers(reader: &mut JournalReader) -> Vec<u64> {
    std::iter::from_fn(|| reader.next_record())
        .map(|found| found.expect("our own layout").duration.as_micros() as u64)
        .collect()
}

#[test]
fn records_come_in_order_around_the_wrap() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, mut reader) = open(directory.path());
    let mut next = 1;
    for _ in 0..50 {
        for number in next..next + 333 {
            writer.push(&record(number)).expect("room");
        }
        assert!(reader.has_record());
        for number in next..next + 333 {
            assert_eq!(reader.next_record(), Some(Ok(record(number))));
        }
        assert_eq!(reader.next_record(), None);
        reader.acknowledge();
        next += 333;
    }
}

#[test]
fn what_is_not_acknowledged_keeps_its_place_and_comes_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, mut reader) = open(directory.path());
    let taken = (1..).take_while(|number| writer.push(&record(*number)).is_ok()).count();
    assert_eq!(taken, CAPACITY as usize);
    assert_eq!(numbers(&mut reader).len(), taken);
    assert_eq!(writer.push(&record(1)), Err(JournalFull), "read, but not dealt with");
    reader.rewind();
    assert_eq!(reader.next_record(), Some(Ok(record(1))));
    reader.acknowledge();
    assert_eq!(writer.push(&record(1)), Ok(()));
    assert_eq!(writer.push(&record(1)), Err(JournalFull));
    assert_eq!(writer.unread(), u64::from(CAPACITY));
}

#[test]
fn room_is_kept_for_the_ends_of_live_calls() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, mut reader) = open(directory.path());
    assert!(writer.has_room(CAPACITY - MARGIN as u32));
    assert!(!writer.has_room(CAPACITY - MARGIN as u32 + 1));
    for number in 1..=500 {
        writer.push(&record(number)).expect("room");
    }
    assert!(writer.has_room(500 - MARGIN as u32) && !writer.has_room(501 - MARGIN as u32));
    assert_eq!(numbers(&mut reader).len(), 500);
    reader.acknowledge();
    assert!(writer.has_room(501 - MARGIN as u32));
    for calls in [1, 1_000, 60_000, 10_000_000] {
        assert!(capacity(calls) >= calls + MARGIN as u32);
    }
}

#[test]
fn another_start_finds_what_nobody_dealt_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, mut reader) = open(directory.path());
    for number in 1..=1_600 {
        writer.push(&record(number)).expect("room");
        if number == 700 {
            assert_eq!(numbers(&mut reader).len(), 700);
            reader.acknowledge();
        }
    }
    drop((writer, reader));
    let (mut writer, mut reader) = open(directory.path());
    assert_eq!(numbers(&mut reader), (701..=1_600).collect::<Vec<_>>());
    writer.push(&record(1_601)).expect("room");
    assert_eq!(numbers(&mut reader), [1_601], "numbers go on where they ended");
}

#[test]
fn a_record_that_was_cut_in_two_is_no_record() {
    for byte in [0, 8, 64, 120] {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut writer, reader) = open(directory.path());
        for number in 1..=3 {
            writer.push(&record(number)).expect("room");
        }
        drop((writer, reader));
        let file = OpenOptions::new().write(true).open(directory.path().join("journal.0")).expect("a file");
        file.write_all_at(&[0xa5], (8 * HEAD_WORDS + 2 * 128 + byte) as u64).expect("a byte");
        let (mut writer, mut reader) = open(directory.path());
        assert_eq!(numbers(&mut reader), [1, 2], "byte {byte}");
        writer.push(&record(9)).expect("room");
        assert_eq!(numbers(&mut reader), [9], "its place is taken by the next");
    }
}

#[test]
fn other_numbers_of_shards_and_calls_lose_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journals = Journals::open(directory.path(), 3, CAPACITY).expect("journals");
    for (shard, writer) in journals.writers.iter_mut().enumerate() {
        writer.push(&record(shard as u64 + 1)).expect("room");
    }
    drop(journals);
    // One shard less, and then another capacity: three files are left over, two of them with nothing unread.
    let mut journals = Journals::open(directory.path(), 2, CAPACITY).expect("journals");
    assert_eq!(journals.readers.len(), 3);
    assert_eq!(numbers(&mut journals.readers[0]), [1]);
    assert_eq!(numbers(&mut journals.readers[1]), [2]);
    journals.readers[0].acknowledge();
    journals.readers[1].acknowledge();
    drop(journals);
    let mut journals = Journals::open(directory.path(), 2, 2 * CAPACITY).expect("journals");
    assert_eq!(journals.readers.len(), 3);
    let left = &mut journals.readers[2];
    assert_eq!(numbers(left), [3]);
    assert!(!left.remove_if_left().expect("a look"), "not acknowledged");
    left.acknowledge();
    assert!(left.remove_if_left().expect("it may be removed"));
    assert!(!journals.readers[0].remove_if_left().expect("a look"), "a shard's own stays");
    drop(journals);
    let names: Vec<_> =
        fs::read_dir(directory.path()).expect("a directory").map(|entry| entry.expect("a file")).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_is_no_journal_is_put_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("journal.0"), b"not a journal").expect("a file");
    fs::write(directory.path().join("journal.notes"), b"somebody's").expect("a file");
    let journals = Journals::open(directory.path(), 1, CAPACITY).expect("journals");
    assert_eq!(journals.damaged, [directory.path().join("journal.damaged.0")]);
    assert_eq!(fs::read(&journals.damaged[0]).expect("kept"), b"not a journal");
    assert_eq!(journals.readers.len(), 1);
    drop(journals);
    assert!(Journals::open(directory.path(), 1, CAPACITY).expect("journals").damaged.is_empty(), "told once");
}

#[test]
fn two_processes_do_not_share_a_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    let _held = open(directory.path());
    let error = Journals::open(directory.path(), 1, CAPACITY).err().expect("it is in use");
    assert_eq!(error.error.kind(), io::ErrorKind::ResourceBusy);
    assert!(error.path.ends_with("journal.0"));
}
