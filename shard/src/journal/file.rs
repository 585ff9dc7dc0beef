//! The files of the journals of a node: made, found again, and what is left of other starts.
//!
//! ```text
//!   journal.0 … journal.N      one for each shard
//!   journal.left.K             of a start with other numbers, not dealt with to the end; read, then removed
//!   journal.damaged.K          its head makes no sense; kept for whoever wants to look, never read
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    ACKNOWLEDGED_AT, CAPACITY_AT, HEAD_WORDS, JournalReader, JournalWriter, MAGIC, MAGIC_AT, Shared, bytes, record,
};
use crate::sys::map::{self, MappedWords};

const NAME: &str = "journal.";
const LEFT: &str = "journal.left.";
const DAMAGED: &str = "journal.damaged.";

/// Why there is no journal: the file, and what the kernel said.
#[derive(Debug)]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub error: io::Error,
}

/// The journals of a node.
pub struct Journals {
    /// One for each shard.
    pub writers: Vec<JournalWriter>,
    /// Those of the shards, in their order, and then what is left of other starts.
    pub readers: Vec<JournalReader>,
    /// Files that were put aside because they are no journals.
    pub damaged: Vec<PathBuf>,
}

impl Journals {
    /// Opens the journals of `shards` shards in a directory, each for `capacity` records. What an earlier start wrote and nobody
    /// acknowledged is there to be read, whatever the numbers of that start were.
    ///
    /// # Errors
    /// A file cannot be made, read, locked or moved.
    pub fn open(directory: &Path, shards: usize, capacity: u32) -> Result<Journals, JournalError> {
        let mut journals = Journals { writers: Vec::new(), readers: Vec::new(), damaged: Vec::new() };
        let mut left = Vec::new();
        for path in found(directory)? {
            let number = suffix(&path, NAME).filter(|number| *number < shards as u64);
            let file = open(&path)?;
            match shape(&file) {
                Some(found) if number.is_some() && found == u64::from(capacity) => {}
                Some(_) if suffix(&path, LEFT).is_some() => left.push(path),
                Some(_) => left.push(put_aside(directory, &path, LEFT)?),
                None => journals.damaged.push(put_aside(directory, &path, DAMAGED)?),
            }
        }
        for shard in 0..shards {
            let path = directory.join(format!("{NAME}{shard}"));
            if !path.exists() {
                make(&path, capacity).map_err(at(&path))?;
            }
            let reader = reader(&path)?;
            let shared = Arc::clone(&reader.shared);
            let (written, acknowledged) = (shared.written.load(Ordering::Relaxed), reader.read);
            journals.writers.push(JournalWriter { shared, written, acknowledged });
            journals.readers.push(reader);
        }
        for path in left {
            let reader = reader(&path)?;
            if reader.has_record() { journals.readers.push(reader) } else { remove(&path)? }
        }
        Ok(journals)
    }
}

impl JournalReader {
    /// Removes a file that is left of another start, once everything in it is acknowledged; says whether it is gone. The journal of a
    /// shard stays.
    ///
    /// # Errors
    /// The file cannot be removed; the next start removes it.
    pub fn remove_if_left(&self) -> io::Result<bool> {
        let done = self.shared.acknowledged().load(Ordering::Relaxed) == self.shared.written.load(Ordering::Relaxed);
        let remove = done && suffix(&self.path, LEFT).is_some();
        if remove {
            fs::remove_file(&self.path)?;
        }
        Ok(remove)
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError { path, error }
}

fn remove(path: &Path) -> Result<(), JournalError> {
    fs::remove_file(path).map_err(at(path))
}

fn open(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(at(path))
}

/// Every journal of the directory, those of shards and those that are left.
fn found(directory: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        if suffix(&path, NAME).or_else(|| suffix(&path, LEFT)).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The number behind a file's prefix.
fn suffix(path: &Path, prefix: &str) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()
}

/// Renames a file to the first free number behind `prefix`.
fn put_aside(directory: &Path, path: &Path, prefix: &str) -> Result<PathBuf, JournalError> {
    let aside = (0..).map(|number: u64| directory.join(format!("{prefix}{number}"))).find(|path| !path.exists());
    let aside = aside.unwrap_or_else(|| directory.join(prefix));
    fs::rename(path, &aside).map_err(at(path))?;
    Ok(aside)
}

/// How many records a file has place for; `None`: it is no journal.
fn shape(file: &File) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let word = |at: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 8 * at as u64).ok().map(|()| u64::from_ne_bytes(bytes))
    };
    let capacity = word(CAPACITY_AT).filter(|capacity| word(MAGIC_AT) == Some(MAGIC) && *capacity > 0)?;
    let expected = bytes(u32::try_from(capacity).ok()?) as u64;
    file.metadata().is_ok_and(|file| file.len() == expected).then_some(capacity)
}

fn make(path: &Path, capacity: u32) -> io::Result<()> {
    let mut head = [0; 8 * HEAD_WORDS];
    head[8 * MAGIC_AT..][..8].copy_from_slice(&MAGIC.to_ne_bytes());
    head[8 * CAPACITY_AT..][..8].copy_from_slice(&u64::from(capacity).to_ne_bytes());
    map::make(path, &head, bytes(capacity))
}

/// Maps a journal of good shape and finds its end: the first place that does not hold the next record.
fn reader(path: &Path) -> Result<JournalReader, JournalError> {
    let file = open(path)?;
    let not = || io::Error::new(io::ErrorKind::InvalidData, "this is no journal");
    let capacity = shape(&file).ok_or_else(not).map_err(at(path))?;
    let map = MappedWords::of(file).map_err(at(path))?;
    let acknowledged = map.words()[ACKNOWLEDGED_AT].load(Ordering::Relaxed);
    let shared = Shared { map, capacity, written: AtomicU64::new(0) };
    let fresh = (1..=capacity).take_while(|ahead| {
        acknowledged.checked_add(*ahead).is_some_and(|number| record::holds(&shared.load(number), number))
    });
    let written = acknowledged + fresh.count() as u64;
    shared.written.store(written, Ordering::Relaxed);
    Ok(JournalReader { shared: Arc::new(shared), read: acknowledged, path: path.to_owned() })
}
