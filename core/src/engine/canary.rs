//! Leaks planted on purpose, to prove that the audit and the simulator would see a real one. Compiled only with the feature
//! `canary`, which no shipped build has.

use super::Engine;
use super::media::Exchange;
use super::records::ServerRef;
use crate::admission::ProviderHold;
use crate::call::CallRef;
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
    /// An exchange with a media node stays when its wait is over.
    Exchange,
    /// A response with SDP goes on without having been to a media node; its writer has to refuse it.
    Detour,
    /// The same, and its writer lets it pass: I2 is broken.
    Description,
    /// A call that ends keeps its place with its provider.
    Hold,
    /// A call ends without a record.
    Record,
}

/// One occasion in `every` is forgotten.
#[derive(Copy, Clone, Debug)]
pub(super) struct Canary {
    leak: Leak,
    every: u32,
    occasions: u32,
}

impl Engine {
    /// From now on one server transaction, exchange, end of a call or response with SDP in `every` leaves something behind, or goes astray.
    #[doc(hidden)]
    pub fn plant(&mut self, leak: Leak, every: u32) {
        self.canary = Some(Canary { leak, every, occasions: 0 });
    }

    /// Whether this is the occasion to forget one of these.
    fn forgets(&mut self, leaks: &[Leak]) -> Option<Leak> {
        let canary = self.canary.as_mut().filter(|canary| leaks.contains(&canary.leak))?;
        canary.occasions += 1;
        canary.occasions.is_multiple_of(canary.every).then_some(canary.leak)
    }

    /// Called where a server transaction has just given back all that it held.
    pub(super) fn leak(&mut self, at: ServerRef, key: u64) {
        match self.forgets(&[Leak::Buffer, Leak::Timer, Leak::IndexEntry]) {
            Some(Leak::Buffer) => {
                // Where there is no buffer left to leak, this end leaks none.
                let _ = self.pool.store(b"forgotten");
            }
            Some(Leak::Timer) => self.wheel.set(self.places.server(at), Instant::from_micros(u64::MAX / 2)),
            Some(Leak::IndexEntry) => {
                self.server_index.insert(key, at.index());
            }
            _ => {}
        }
    }

    /// Called where an exchange is over and has given back all that it held.
    pub(super) fn leak_exchange(&mut self, over: &Exchange) {
        if self.forgets(&[Leak::Exchange]).is_some() {
            // Where there is no room left to leak, this end leaks none.
            let _ = self.exchanges.insert(Exchange {
                asked: false,
                held: None,
                timeout_at: Instant::NEVER,
                next: None,
                ..*over
            });
        }
    }

    /// Called where a call is about to give back what it holds.
    pub(crate) fn leak_hold(&mut self, at: CallRef) {
        let holds = self.calls.find(at).is_some_and(|call| call.hold.count() > 0);
        if holds
            && self.forgets(&[Leak::Hold]).is_some()
            && let Some(call) = self.calls.find_mut(at)
        {
            call.hold = ProviderHold::NONE;
        }
    }

    /// Called where a call that ends is about to hand out its record.
    pub(crate) fn leaks_record(&mut self) -> bool {
        self.forgets(&[Leak::Record]).is_some()
    }

    /// Called where a response with SDP is about to be held for a media node.
    pub(super) fn misses_its_node(&mut self) -> bool {
        self.forgets(&[Leak::Detour, Leak::Description]).is_some()
    }

    /// Called where a writer is about to refuse a message that has not been to a media node.
    pub(super) fn lets_pass(&self) -> bool {
        self.canary.is_some_and(|canary| canary.leak == Leak::Description)
    }
}
