//! The journal of a shard: how its calls ended, for the control core, in a file that outlives both (SPEC I9).
//!
//! ```text
//!   page 0   word 0 magic and layout │ 1 capacity, records │ 8 acknowledged: records that are dealt with
//!   then     capacity × 128 bytes (record.rs); record n, from 1, lies at place (n − 1) mod capacity
//!
//!            … dealt with ┃ acknowledged ─► not dealt with ┃ written ─► free …
//! ```
//!
//! The file is mapped and shared: a record is in the page cache as soon as its words are stored, so `kill -9` loses none. Each record
//! carries its number and a checksum. Whoever opens the file reads from the acknowledge cursor on as long as the next number is there
//! and whole; a record that the end of the process cut in two is no record. One thread writes and one reads; every access is atomic, and
//! the count of what is written, which is not in the file, orders them.
//!
//! **Room.** What ends must fit. A shard takes no new calls while the free places are fewer than its live calls and `MARGIN`; the
//! engine is told to hold them (`Command::HoldNewCalls`), and calls in progress go on.
//!
//! Refused here: waiting. A journal that is full in spite of all refuses a record and says so.

mod file;
mod record;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corelane_core::call::CallRecord;

pub use file::{JournalError, Journals};
use record::RECORD_WORDS;

use crate::sys::map::{self, MappedWords};

/// Words before the records: a page.
const HEAD_WORDS: usize = 512;
/// "CLJRNL", and the layout of the head.
const MAGIC: u64 = u64::from_le_bytes(*b"CLJRNL\x01\0");
/// Where the head has what.
const MAGIC_AT: usize = 0;
const CAPACITY_AT: usize = 1;
/// In a cache line of its own: the reader stores it while the writer writes.
const ACKNOWLEDGED_AT: usize = 8;

/// Calls that one turn of a shard may start: so many places more than live calls are free while new calls are taken.
const MARGIN: u64 = 256;
/// Records that the control core may be behind while no call is live.
const LAG_MIN: u32 = 8192;

/// Records for a shard that holds at most `calls`: the end of each, and the control core may be a quarter of them behind.
#[must_use]
pub const fn capacity(calls: u32) -> u32 {
    let quarter = calls / 4;
    calls.saturating_add(if quarter > LAG_MIN { quarter } else { LAG_MIN })
}

/// Bytes of a journal of that many records, for the memory bill.
#[must_use]
pub const fn bytes(capacity: u32) -> usize {
    8 * (HEAD_WORDS + RECORD_WORDS * capacity as usize)
}

/// What writer and reader share.
struct Shared {
    map: MappedWords,
    capacity: u64,
    /// Records ever written. Stored after a record's words and loaded before them.
    written: AtomicU64,
}

impl Shared {
    fn acknowledged(&self) -> &AtomicU64 {
        &self.map.words()[ACKNOWLEDGED_AT]
    }

    /// The words of record `number`, from 1.
    fn place(&self, number: u64) -> &[AtomicU64] {
        let at = HEAD_WORDS + RECORD_WORDS * ((number - 1) % self.capacity) as usize;
        &self.map.words()[at..at + RECORD_WORDS]
    }

    fn load(&self, number: u64) -> [u64; RECORD_WORDS] {
        let mut words = [0; RECORD_WORDS];
        for (word, shared) in words.iter_mut().zip(self.place(number)) {
            *word = shared.load(Ordering::Relaxed);
        }
        words
    }
}

/// There is no place: the record is lost, and counted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct JournalFull;

/// The shard's end.
pub struct JournalWriter {
    shared: Arc<Shared>,
    written: u64,
    /// The acknowledge cursor as last looked at: it only moves towards more room.
    acknowledged: u64,
}

impl JournalWriter {
    /// Puts a record behind the others.
    ///
    /// # Errors
    /// [`JournalFull`].
    pub fn push(&mut self, record: &CallRecord) -> Result<(), JournalFull> {
        if self.free() == 0 && self.look_again() == 0 {
            return Err(JournalFull);
        }
        let number = self.written + 1;
        for (shared, word) in self.shared.place(number).iter().zip(record::write(number, record)) {
            shared.store(word, Ordering::Relaxed);
        }
        self.written = number;
        self.shared.written.store(number, Ordering::Release);
        Ok(())
    }

    /// Whether the ends of `live` calls, and of those that one turn may start, find a place.
    pub fn has_room(&mut self, live: u32) -> bool {
        let needed = u64::from(live) + MARGIN;
        self.free() >= needed || self.look_again() >= needed
    }

    /// Records that are not acknowledged, as far as this end knows.
    #[must_use]
    pub fn unread(&mut self) -> u64 {
        self.shared.capacity - self.look_again()
    }

    fn free(&self) -> u64 {
        self.shared.capacity - (self.written - self.acknowledged)
    }

    fn look_again(&mut self) -> u64 {
        // With the reader's store: it has read the places that it gives back.
        self.acknowledged = self.shared.acknowledged().load(Ordering::Acquire);
        self.free()
    }
}

/// A record of a layout that this program does not know.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Unreadable;

/// The control core's end.
pub struct JournalReader {
    shared: Arc<Shared>,
    /// Records read; those up to the acknowledge cursor are dealt with.
    read: u64,
    path: PathBuf,
}

impl JournalReader {
    /// The next record. One that cannot be read is passed over when it is acknowledged.
    pub fn next_record(&mut self) -> Option<Result<CallRecord, Unreadable>> {
        (self.read < self.shared.written.load(Ordering::Acquire)).then(|| {
            self.read += 1;
            record::read(&self.shared.load(self.read)).ok_or(Unreadable)
        })
    }

    /// Records ever written, as far as they can be read now.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// Records ever read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Whether there is one.
    #[must_use]
    pub fn has_record(&self) -> bool {
        self.read < self.shared.written.load(Ordering::Acquire)
    }

    /// Everything read so far is dealt with: its places are free, and no later start sees it.
    pub fn acknowledge(&mut self) {
        self.shared.acknowledged().store(self.read, Ordering::Release);
    }

    /// Forgets what was read and not acknowledged: it comes again.
    pub fn rewind(&mut self) {
        self.read = self.shared.acknowledged().load(Ordering::Relaxed);
    }

    /// Keeps the file in memory as long as it is mapped here, whatever else wants the memory.
    ///
    /// # Errors
    /// The limit on locked memory.
    pub fn hold(&self) -> io::Result<()> {
        self.shared.map.hold()
    }

    /// Whether the file lies in memory and nowhere else (tmpfs). Otherwise the kernel protects each page that it writes to the disk, and the next
    /// store into it, the shard's, waits for the file system: as long as that hangs.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn is_in_memory(&self) -> io::Result<bool> {
        map::is_in_memory(self.shared.map.file())
    }

    /// The file once more, for a thread that may wait for the disk.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn file(&self) -> io::Result<File> {
        self.shared.map.file().try_clone()
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
