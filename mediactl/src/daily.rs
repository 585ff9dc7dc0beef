//! What providers have used of their day, kept over restarts.
//!
//! ```text
//!   Caps (shared with the shards) ──every 5 s, and at the end──► limits.day      one line for each provider that has a daily limit:
//!        ▲                                                          │            provider  end of its day  calls  seconds
//!        └──────────────── at the start, before a shard runs ◄──────┘
//! ```
//!
//! Ends of days are quarter hours since 1970 UTC. Providers are named by id: slots stay only as long as the image does. The file is written
//! beside and renamed by slow work (slow.rs), so that a slow disk holds nobody up; `kill -9` loses what was used in the last five
//! seconds. A line that cannot be read costs its provider's count and is told; it never keeps a node down.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corelane_core::admission::{Caps, DayCount};
use corelane_core::routing::ProviderSlot;

use crate::problem::{Place, Problem};
use crate::slow::Task;

const FILE: &str = "limits.day";
const HEAD: &str = "provider ends_q calls seconds";
/// What a crash may forget.
const INTERVAL: Duration = Duration::from_secs(5);

/// A provider's id and its slot.
pub type Provider = (u32, ProviderSlot);

/// The work of writing what `providers` use into a state directory.
#[must_use]
pub fn keeper(directory: &Path, providers: Vec<Provider>, caps: Arc<Caps>) -> Task {
    let path = directory.join(FILE);
    // Nothing used is not worth a file.
    let (mut written, mut failing) = (lines(&[], &caps), false);
    let run = move || {
        let text = lines(&providers, &caps);
        if text == written {
            return;
        }
        match write(&path, &text) {
            Ok(()) => (written, failing) = (text, false),
            // Told once; the next interval tries again.
            Err(error) if !failing => {
                failing = true;
                eprintln!("corelane: {}: the daily counts cannot be kept: {error}", path.display());
            }
            Err(_) => {}
        }
    };
    Task { every: INTERVAL, run: Box::new(run) }
}

fn lines(providers: &[Provider], caps: &Caps) -> String {
    let mut text = format!("{HEAD}\n");
    for (id, slot) in providers {
        if let Some(DayCount { ends_q, calls, seconds }) = caps.day(*slot) {
            let _ = writeln!(text, "{id} {ends_q} {calls} {seconds}");
        }
    }
    text
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path);
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("day.new")
}

/// Gives the shards' table what was kept; warns of what cannot be read.
pub fn restore(directory: &Path, providers: &[Provider], caps: &Caps) -> Vec<Problem> {
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let what = format!("the daily counts cannot be read, and start at nothing: {error}");
            return vec![Problem::warning(Place::file(&path), what, "make it readable to the user that runs corelane")];
        }
    };
    if text.lines().next() != Some(HEAD) {
        let what = format!("these are no daily counts as this version keeps them (\"{HEAD}\"), and start at nothing");
        return vec![Problem::warning(Place::file(&path), what, "none needed: the file is written anew")];
    }
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let Some((id, day)) = parse(line) else {
            let place = Place::Line(path.clone(), u32::try_from(number + 1).unwrap_or(u32::MAX));
            let what = "this is no daily count; its provider starts at nothing";
            problems.push(Problem::warning(place, what, "none needed: the file is written anew"));
            continue;
        };
        // A provider that is gone, or has gone and come back under another slot, is found by its id or not at all.
        if let Some((_, slot)) = providers.iter().find(|(known, _)| *known == id) {
            caps.set_day(*slot, day);
        }
    }
    problems
}

fn parse(line: &str) -> Option<(u32, DayCount)> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let ends_q = fields.next()?.parse().ok()?;
    let calls = fields.next()?.parse().ok()?;
    let seconds = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some((id, DayCount { ends_q, calls, seconds }))
}

#[cfg(test)]
mod tests {
    use corelane_core::WallTime;
    use corelane_core::admission::{CapsSize, Day, ProviderLimits};

    use super::*;

    const SIZE: CapsSize = CapsSize { providers: 8, carriers: 0, gateways: 0, addresses: 0 };

    fn used(caps: &Caps, slot: u16, calls: usize, seconds: u64) {
        const HOUR_US: u64 = 3_600_000_000;
        let midnight = WallTime(500_000 * HOUR_US);
        let limits =
            ProviderLimits { max_calls_day: Some(1000), max_minutes_day: Some(1000), ..ProviderLimits::default() };
        for call in 0..calls {
            let hold = caps
                .admit_provider(ProviderSlot(slot), &limits, None, corelane_core::Instant::ZERO, || {
                    Day::ending(midnight)
                })
                .expect("far below the limits");
            let talked = Duration::from_secs(if call == 0 { seconds } else { 0 });
            caps.release_provider(hold, talked, WallTime(midnight.0 - 1));
        }
    }

    #[test]
    fn what_was_used_survives_a_restart_also_under_other_slots() {
        let directory = tempfile::tempdir().unwrap();
        let caps = Arc::new(Caps::new(SIZE));
        let providers = vec![(70, ProviderSlot(0)), (71, ProviderSlot(1)), (72, ProviderSlot(2))];
        let mut keeper = keeper(directory.path(), providers, Arc::clone(&caps));
        used(&caps, 0, 3, 61);
        used(&caps, 2, 5, 0);
        (keeper.run)();
        let kept = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(kept, format!("{HEAD}\n70 2000000 3 61\n72 2000000 5 0\n"));

        let caps = Caps::new(SIZE);
        let found = restore(directory.path(), &[(72, ProviderSlot(6)), (70, ProviderSlot(0))], &caps);
        assert_eq!(found, []);
        assert_eq!(caps.day(ProviderSlot(6)), Some(DayCount { ends_q: 500_000 * 4, calls: 5, seconds: 0 }));
        assert_eq!(caps.day(ProviderSlot(0)), Some(DayCount { ends_q: 500_000 * 4, calls: 3, seconds: 61 }));
        assert_eq!(caps.day(ProviderSlot(2)), None);
    }

    #[test]
    fn a_damaged_line_costs_its_provider_and_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(restore(directory.path(), &[], &Caps::new(SIZE)), [], "no file is no problem");
        fs::write(directory.path().join(FILE), "provider ends_h calls seconds\n71 500000 4 5\n").unwrap();
        let found = restore(directory.path(), &[(71, ProviderSlot(1))], &Caps::new(SIZE));
        assert_eq!(found.len(), 1, "another version's counts: {found:?}");
        let text = format!("{HEAD}\n70 2000000 3\n71 2000000 4 5\n71 x 4 5\n72 2000000 1 2 3\n");
        fs::write(directory.path().join(FILE), text).unwrap();
        let caps = Caps::new(SIZE);
        let found = restore(directory.path(), &[(70, ProviderSlot(0)), (71, ProviderSlot(1))], &caps);
        let lines: Vec<String> = found.iter().map(|problem| problem.place.to_string()).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].ends_with("limits.day:2") && lines[1].ends_with(":4") && lines[2].ends_with(":5"),
            "{lines:?}"
        );
        assert_eq!(caps.day(ProviderSlot(0)), None);
        assert_eq!(caps.day(ProviderSlot(1)).map(|day| day.calls), Some(4));
    }

    #[test]
    fn nothing_used_writes_nothing_and_a_full_disk_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let caps = Arc::new(Caps::new(SIZE));
        let run = |path: &Path| (keeper(path, vec![(1, ProviderSlot(0))], Arc::clone(&caps)).run)();
        run(directory.path());
        assert!(!directory.path().join(FILE).exists());
        used(&caps, 0, 1, 0);
        run(&directory.path().join("missing"));
        run(directory.path());
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE], "nothing beside");
    }
}
