//! A journal whose process is killed. In a program of its own: a child has every open file of its parent until it runs its own program,
//! locked ones too, so a test beside this one might find a journal in use that it has just closed.

mod echo;

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use corelane_shard::{JournalReader, JournalWriter, Journals};
use echo::ended;

const CHILD: &str = "CORELANE_TEST_JOURNAL";

/// Records that the journal has room for.
const CAPACITY: u32 = 1_000;

fn open(directory: &Path) -> (JournalWriter, JournalReader) {
    let mut journals = Journals::open(directory, 1, CAPACITY).expect("a directory that may be written");
    (journals.writers.remove(0), journals.readers.remove(0))
}

/// Runs this very test again as a child that writes records, tells the number of each once it is written, and is killed in the middle.
#[test]
fn kill_9_loses_no_record() {
    if let Ok(directory) = std::env::var(CHILD) {
        let (mut writer, mut reader) = open(Path::new(&directory));
        let mut out = io::stdout();
        for number in 1.. {
            if writer.push(&ended(number)).is_err() {
                // Full, and the parent is slow: until it kills this process, or is gone itself.
                let _ = io::stdin().read_line(&mut String::new());
                return;
            }
            // A third is dealt with, so that the cursor moves too.
            if number % 3 == 0 && number <= 30_000 {
                while reader.has_record() {
                    let _ = reader.next_record();
                }
                reader.acknowledge();
            }
            if number > 30_000 {
                writeln!(out, "{number}").expect("the parent reads");
            }
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let this = std::env::current_exe().expect("a test binary has a path");
    let arguments = ["--exact", "kill_9_loses_no_record", "--nocapture"];
    let mut command = Command::new(this);
    let mut child = command
        .args(arguments)
        .env(CHILD, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut told = 0;
    for line in BufReader::new(child.stdout.as_mut().expect("a pipe")).lines() {
        // What the test harness prints is no number.
        told = line.expect("text").parse().unwrap_or(told);
        if told == 30_700 {
            break;
        }
    }
    child.kill().expect("it runs");
    assert_eq!(child.wait().expect("it ended").signal(), Some(9));
    let (_, mut reader) = open(directory.path());
    let found: Vec<u64> = std::iter::from_fn(|| reader.next_record())
        .map(|found| found.expect("our own layout").duration.as_micros() as u64)
        .collect();
    let last = 30_000 + found.len() as u64;
    assert_eq!(found, (30_001..=last).collect::<Vec<_>>());
    assert!(last >= told, "{last} found, {told} told");
}
