//! What a shard runs: the engine with its routing image, or a stand-in that obeys the same contract.

use corelane_core::{BufferRef, Counters, Effects, Engine, Input, Instant, Now};

use crate::sys::map::MappedImage;

/// The engine's contract as the loop needs it: after each [`Protocol::handle`] all effects are taken, in order, before the
/// next.
///
/// It exists so that the floor, the bake-off and the tests can drive the very loop that carries calls. The loop is compiled for
/// each implementation; nothing is dispatched.
pub trait Protocol {
    /// Handles one input. `effects` is empty.
    fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects);
    /// The bytes of a buffer that an effect named.
    fn buffer(&self, buffer: BufferRef) -> &[u8];
    /// Takes back a buffer that the kernel took or refused.
    fn release(&mut self, buffer: BufferRef);
    /// A time not later than the next due timer.
    fn next_timeout(&self) -> Option<Instant>;
    /// The counters, gauges brought up to date.
    fn counters(&mut self) -> &mut Counters;
    /// Calls whose end is still to come, or more: the journal keeps room for them. A stand-in has none.
    fn live_calls(&self) -> u32 {
        0
    }
}

/// An engine and the routing image that it is given with each input.
pub(crate) struct Routed {
    pub(crate) engine: Box<Engine>,
    pub(crate) image: MappedImage,
}

impl Protocol for Routed {
    #[inline]
    fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        self.engine.handle(now, self.image.image(), input, effects);
    }

    #[inline]
    fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.engine.buffer(buffer)
    }

    #[inline]
    fn release(&mut self, buffer: BufferRef) {
        self.engine.release(buffer);
    }

    #[inline]
    fn next_timeout(&self) -> Option<Instant> {
        self.engine.next_timeout()
    }

    #[inline]
    fn counters(&mut self) -> &mut Counters {
        self.engine.counters()
    }

    #[inline]
    fn live_calls(&self) -> u32 {
        self.engine.call_records()
    }
}
