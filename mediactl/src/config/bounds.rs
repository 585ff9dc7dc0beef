//! The range of each number that an operator may set. Flags and file obey the same.

use corelane_shard::SHARDS_MAX;

/// An inclusive range.
#[derive(Copy, Clone, Debug)]
pub struct Bounds {
    /// Smallest value.
    pub least: u64,
    /// Largest value.
    pub most: u64,
}

impl Bounds {
    const fn new(least: u64, most: u64) -> Bounds {
        Bounds { least, most }
    }

    /// Whether a value lies inside.
    #[must_use]
    pub const fn holds(self, value: u64) -> bool {
        self.least <= value && value <= self.most
    }

    /// What to say about a value outside.
    pub(super) fn refusal(self, text: &str) -> String {
        format!("{text} is not between {} and {}", self.least, self.most)
    }

    /// Parses a decimal number inside; for command line flags.
    pub fn parse<T: TryFrom<u64>>(self, text: &str) -> Result<T, String> {
        let number = text.parse().ok().filter(|number| self.holds(*number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| self.refusal(text))
    }
}

/// Shards of a node.
pub const SHARDS: Bounds = Bounds::new(1, SHARDS_MAX as u64);
/// A core's number.
pub const CPU: Bounds = Bounds::new(0, 4095);
/// Calls held at once by a node.
pub const CALLS: Bounds = Bounds::new(1, 10_000_000);
/// New calls a second of a node.
pub const CPS: Bounds = Bounds::new(1, 1_000_000);
/// T1: below 5 ms the timer wheel's own step shows; above 10 s no caller waits.
pub const T1_MS: Bounds = Bounds::new(5, 10_000);
/// T2.
pub const T2_MS: Bounds = Bounds::new(5, 60_000);
/// T4.
pub const T4_MS: Bounds = Bounds::new(5, 60_000);
/// Ring and no-ACK timeout, up to an hour.
pub const TIMEOUT_MS: Bounds = Bounds::new(10, 3_600_000);
/// Dialog timeout, up to a week.
pub const TIMEOUT_S: Bounds = Bounds::new(1, 604_800);
/// A media exchange: below a tenth of a second no node across a network answers, above ten no caller waits.
pub const MEDIA_DEADLINE_MS: Bounds = Bounds::new(100, 10_000);
/// Sockets towards each media node.
pub const MEDIA_SOCKETS: Bounds = Bounds::new(1, 16);
/// From one list of a media node's sessions to the next: a node with many of them writes megabytes each time.
pub const MEDIA_RECONCILE_S: Bounds = Bounds::new(1, 3_600);
/// Age of an orphan: two lists at least, and never so long that ports run out.
pub const MEDIA_ORPHAN_S: Bounds = Bounds::new(1, 86_400);
/// The age at which a delete is given up: below a minute a node that is started again may not be back, and after a week its sessions are not either.
pub const MEDIA_DEBT_S: Bounds = Bounds::new(60, 604_800);
/// Id of a node; 0 is none.
pub const NODE_ID: Bounds = Bounds::new(1, u32::MAX as u64);
/// Session interval: from RFC 4028's own least value (§5) to a day.
pub const SESSION_S: Bounds = Bounds::new(90, 86_400);
