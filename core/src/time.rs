//! Time as the engine sees it: handed in, never read.

use core::time::Duration;

/// A point on the monotonic clock, in microseconds since an origin that the caller chooses once per process.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Instant = Instant(0);
    /// Later than every instant that a run meets.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// An instant `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This instant moved `span` into the future; [`Instant::NEVER`] stays where it is.
    #[must_use]
    pub const fn after(self, span: Duration) -> Instant {
        // A span beyond 584,000 years saturates as well: both mean "never".
        self.after_micros(span.as_secs().saturating_mul(1_000_000).saturating_add(span.subsec_micros() as u64))
    }

    /// This instant moved `micros` microseconds into the future; [`Instant::NEVER`] stays where it is.
    #[must_use]
    pub const fn after_micros(self, micros: u64) -> Instant {
        Instant(self.0.saturating_add(micros))
    }

    /// Time from `earlier` to here, zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time: microseconds since 1970-01-01 UTC. It may step in either direction.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct WallTime(pub u64);

/// Both clocks, read together by the caller.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Runs every timer.
    pub monotonic: Instant,
    /// Serves call records and time windows.
    pub wall: WallTime,
}
