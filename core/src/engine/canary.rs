//! Leaks planted on purpose, to prove that the audit and the simulator would see a real one. Compiled only with the feature
//! `canary`, which no shipped build has.

use super::Engine;
use super::records::ServerRef;
use crate::time::Instant;

/// What is forgotten.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Leak {
    /// A message buffer keeps an owner that is gone.
    Buffer,
    /// A timer runs on after its record left.
    Timer,
    /// An index entry stays behind its record.
    IndexEntry,
}

/// One end in `every` forgets.
#[derive(Copy, Clone, Debug)]
pub(super) struct Canary {
    leak: Leak,
    every: u32,
    ends: u32,
}

impl Engine {
    /// From now on one server transaction in `every` leaves something behind.
    #[doc(hidden)]
    pub fn plant(&mut self, leak: Leak, every: u32) {
        self.canary = Some(Canary { leak, every, ends: 0 });
    }

    /// Called where a server transaction has just given back all that it held.
    pub(super) fn leak(&mut self, at: ServerRef, key: u64) {
        let Some(canary) = &mut self.canary else { return };
        canary.ends += 1;
        if !canary.ends.is_multiple_of(canary.every) {
            return;
        }
        match canary.leak {
            Leak::Buffer => {
                // Where there is no buffer left to leak, this end leaks none.
                let _ = self.pool.store(b"forgotten");
            }
            Leak::Timer => self.wheel.set(self.places.server(at), Instant::from_micros(u64::MAX / 2)),
            Leak::IndexEntry => {
                self.server_index.insert(key, at.index());
            }
        }
    }
}
