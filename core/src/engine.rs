//! The engine: one input in, effects out. Control flow only; see `engine/` for what each kind of input does.
//!
//! ```text
//!            ┌ keep-alive, garbage: counted             ┌ ACK, retransmission ─► its server transaction
//!  datagram ─┤                                          ├ CANCEL ──────────────► cancel.rs
//!            ├ request ──► request.rs ──────────────────┼ in a dialog ─────────► dialog.rs ────────────┐
//!            │                                          └ new INVITE ──► invite.rs ──► hunt.rs ◄─────┐ ▼
//!            │                                                                  next gateway │       │ forward.rs (a branch)
//!            └ response ─► response.rs: branch token ─► client transaction ─┬► branch.rs ────┘       │
//!                                                                           └► server transaction   │
//!  time ─────► timeout.rs: wheel place ─► transaction, branch.rs or call                             │
//!  media ────► media.rs: a message comes back from its node and goes on as if it had just come
//!  control ──► control.rs: drain, hang up            calls.rs: the figure of a call, its timer ─► hangup.rs, call/end.rs
//! ```

mod answer;
mod audit;
mod branch;
mod budget;
mod calls;
#[cfg(feature = "canary")]
mod canary;
mod cancel;
mod control;
mod dialog;
mod forward;
mod hangup;
mod holds;
mod hunt;
mod identity;
mod invite;
mod media;
mod reason;
mod records;
mod request;
mod response;
mod session;
mod settings;
mod timeout;
mod transactions;

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use arrayvec::ArrayVec;

use crate::admission::{Overload, Queue};
use crate::bus::MediaReply;
use crate::call::{Call, CallRecord};
use crate::counter::{Counter, Counters, LEDGER};
use crate::flow::Flow;
use crate::limits::{EFFECTS_MAX, MESSAGE_SIZE_MAX, RESERVED_FOR_CALLS};
use crate::memory::{BufferPool, BufferRef, Full, Index, Ledger, Resource, Slab, Tally, TimerWheel};
use crate::routing::Image;
use crate::siphash::Hasher;
use crate::steering::ShardIndex;
use crate::time::{Instant, Now};
use crate::token::Tokens;
use crate::transaction::Intervals;

pub use audit::{Broken, Holder};
pub use budget::{BillLine, Budget};
#[cfg(feature = "canary")]
pub use canary::Leak;
pub use control::Command;
pub use settings::{Listener, Policy, Settings, Timers, UnknownSource};

use media::Exchange;
pub(crate) use media::ExchangeRef;
pub(crate) use records::{ClientRef, ServerRef};
use records::{ClientTransaction, Places, ServerTransaction};

/// What happened.
#[derive(Copy, Clone, Debug)]
pub enum Input<'a> {
    /// A datagram came.
    Datagram {
        /// Listener and peer.
        flow: Flow,
        /// When the kernel or the receiving shard got it; the difference to now is queueing delay.
        received_at: Instant,
        /// The bytes.
        bytes: &'a [u8],
        /// It was longer than [`MESSAGE_SIZE_MAX`] and was cut there.
        truncated: bool,
        /// When another shard, which had received it, handed it over: up to then it stood in that one's queue, since then in this one's inbox.
        handed_over: Option<Instant>,
    },
    /// A datagram of ours did not arrive: ICMP said so (from the error queue), or the kernel refused to send it.
    Unreachable {
        /// The flow that failed.
        flow: Flow,
        /// What was sent, as far as it came back; may be empty.
        sent: &'a [u8],
    },
    /// The control core wants something.
    Command(Command),
    /// What came of a wish to a media node.
    Media(MediaReply<'a>),
    /// Time passed: due timers fire, as many as the effects can hold. Repeat while [`Engine::next_timeout`] is not later than now.
    Timeout,
}

/// What is to be done.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A call has ended: exactly one for each that was started.
    Ended(CallRecord),
    /// Send the bytes of [`Engine::buffer`] to the flow, then [`Engine::release`] it once the kernel took it (or refused it).
    Send {
        /// Where to.
        flow: Flow,
        /// What.
        buffer: BufferRef,
    },
    /// Hand the [`MediaRequest`](crate::bus::MediaRequest) in [`Engine::buffer`] to the control core, then [`Engine::release`] it.
    /// Where its ring has no room, that answers at once with [`MediaOutcome::NoNode`](crate::bus::MediaOutcome::NoNode).
    Media {
        /// The request.
        buffer: BufferRef,
    },
    /// This shard sheds the calls of this source: of its INVITEs that open one, only `pass` in 65,536 should reach it for the next second.
    /// The rest may be dropped unanswered, nothing else of it may be. Whoever cannot do that does nothing.
    Shed {
        /// The source, whatever its port.
        source: IpAddr,
        /// The share.
        pass: u16,
    },
    /// The datagram of this input belongs to a call of another shard: hand it over. The engine did nothing else with it.
    Forward {
        /// The owner.
        shard: ShardIndex,
    },
}

/// The fixed sink of effects. Empty it after each [`Engine::handle`].
pub type Effects = ArrayVec<Effect, EFFECTS_MAX>;

/// The arguments of one step, passed on together.
pub(crate) struct Turn<'t> {
    pub(crate) now: Now,
    /// When the datagram came that this turn is about.
    pub(crate) received_at: Instant,
    pub(crate) image: &'t Image<'t>,
    pub(crate) effects: &'t mut Effects,
}

/// One shard's protocol engine.
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) intervals: Intervals,
    pub(crate) tokens: Tokens,
    /// An empty hash: of tags, and of what those of stateless answers are made of.
    pub(crate) tags: Hasher,
    /// An empty hash: of what identifies a transaction.
    pub(crate) transactions: Hasher,
    pub(crate) calls: Slab<Call>,
    pub(crate) call_index: Index,
    pub(crate) servers: Slab<ServerTransaction>,
    pub(crate) server_index: Index,
    pub(crate) clients: Slab<ClientTransaction>,
    pub(crate) exchanges: Slab<Exchange>,
    pub(crate) pool: BufferPool,
    pub(crate) wheel: TimerWheel,
    pub(crate) places: Places,
    /// Places that were taken of caps.
    pub(crate) admission: Tally,
    /// Deletes that are owed to media nodes for calls that have not ended.
    pub(crate) debts: Tally,
    pub(crate) counters: Counters,
    /// Where a message is written before it is known which buffer it needs.
    pub(crate) scratch: Box<[u8]>,
    /// Where a stored INVITE is read again for the next gateway.
    pub(crate) reread: Box<[u8]>,
    /// Where a message is written that comes back from a media node.
    pub(crate) resumed: Box<[u8]>,
    /// Where a message is read that waited for one.
    pub(crate) waited: Box<[u8]>,
    pub(crate) overload: Overload,
    /// No new calls are taken.
    pub(crate) draining: bool,
    /// No new calls are taken, because there is no room for the records of their ends.
    pub(crate) holding: bool,
    /// The next call record that a hang-up of all calls has to look at, and when.
    pub(crate) sweep: Option<(u32, Instant)>,
    random: u64,
    #[cfg(feature = "canary")]
    canary: Option<canary::Canary>,
}

impl Engine {
    /// Takes all memory that this engine will ever use. `now` is the start of its clock.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Box<Engine> {
        let budget = settings.budget;
        Box::new(Engine {
            intervals: Intervals::new(&settings.timers),
            tokens: Tokens::new(settings.secret),
            tags: Hasher::new(settings.secret.derive(u64::from_le_bytes(*b"tags\0\0\0\0"))),
            transactions: Hasher::new(settings.secret.derive(u64::from_le_bytes(*b"transact"))),
            calls: Slab::new(Resource::Calls, budget.calls),
            call_index: Index::new(budget.calls),
            servers: Slab::new(Resource::ServerTransactions, budget.server_transactions),
            server_index: Index::new(budget.server_transactions),
            clients: Slab::new(Resource::ClientTransactions, budget.client_transactions),
            exchanges: Slab::new(Resource::Exchanges, budget.exchanges),
            pool: BufferPool::new(budget.buffers),
            wheel: TimerWheel::new(budget.timers(), now),
            places: Places::new(budget.server_transactions, budget.client_transactions, budget.calls),
            admission: Tally::default(),
            debts: Tally::default(),
            counters: Counters::default(),
            scratch: vec![0; MESSAGE_SIZE_MAX].into_boxed_slice(),
            reread: vec![0; MESSAGE_SIZE_MAX].into_boxed_slice(),
            resumed: vec![0; MESSAGE_SIZE_MAX].into_boxed_slice(),
            waited: vec![0; MESSAGE_SIZE_MAX].into_boxed_slice(),
            overload: Overload::new(settings.policy.shed_in_kernel),
            draining: false,
            holding: false,
            sweep: None,
            random: settings.seed,
            #[cfg(feature = "canary")]
            canary: None,
            settings,
        })
    }

    /// Handles one input. `effects` must be empty.
    pub fn handle(&mut self, now: Now, image: &Image<'_>, input: Input<'_>, effects: &mut Effects) {
        assert!(effects.is_empty(), "the effects of the last input were not taken");
        let mut turn = Turn { now, received_at: now.monotonic, image, effects };
        match input {
            Input::Datagram { flow, bytes, truncated, received_at, handed_over } => {
                turn.received_at = received_at;
                let (came, queue) =
                    handed_over.map_or((received_at, Queue::of(flow.listener)), |at| (at, Queue::INBOX));
                self.overload.observe(now.monotonic, came, queue);
                self.on_datagram(&mut turn, flow, bytes, truncated);
            }
            Input::Unreachable { flow, sent } => self.on_unreachable(&mut turn, flow, sent),
            Input::Timeout => self.on_timeout(&mut turn),
            Input::Command(command) => self.on_command(&mut turn, command),
            Input::Media(reply) => self.on_media(&mut turn, &reply),
        }
    }

    /// The bytes of a buffer named by [`Effect::Send`] or [`Effect::Media`]; their address is stable until it is released.
    #[must_use]
    pub fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.pool.bytes(buffer)
    }

    /// Gives a buffer back that was sent or read.
    pub fn release(&mut self, buffer: BufferRef) {
        self.pool.release(buffer);
    }

    /// A time not later than the next due timer; `None` when none runs.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let sweep = self.sweep.map(|(_, at)| at);
        self.wheel.next().into_iter().chain(sweep).min()
    }

    /// The counters, gauges brought up to date.
    pub fn counters(&mut self) -> &mut Counters {
        self.counters.set(Counter::CallsCapacity, self.calls.capacity().into());
        // The first account is that of calls, which have two: the other one is that of their records.
        for (line, account) in self.ledger().into_iter().zip(&LEDGER[1..]) {
            self.counters.set(account.acquired, line.acquired);
            self.counters.set(account.released, line.released);
            self.counters.set(account.live, line.live);
        }
        // Those that ended and those that did not: the records of hung-up calls are neither.
        let live = self.counters.value(Counter::CallsStarted) - self.counters.value(Counter::CallsEnded);
        self.counters.set(Counter::CallsLive, live);
        &mut self.counters
    }

    /// Calls that have a record: no fewer than those whose end is still to come.
    #[must_use]
    pub fn call_records(&self) -> u32 {
        self.calls.live()
    }

    /// The ledger of every resource: what was taken, what came back, what is live.
    #[must_use]
    pub fn ledger(&self) -> [Ledger; LEDGER.len() - 1] {
        let line = |resource, acquired, released, live: u32| Ledger { resource, acquired, released, live: live.into() };
        let tally = |resource, tally: Tally| {
            let Tally { acquired, released } = tally;
            Ledger { resource, acquired, released, live: tally.live() }
        };
        let (calls, servers, clients, pool) = (&self.calls, &self.servers, &self.clients, &self.pool);
        let (exchanges, wheel) = (&self.exchanges, &self.wheel);
        [
            line(Resource::Calls, calls.acquired(), calls.released(), calls.live()),
            line(Resource::ServerTransactions, servers.acquired(), servers.released(), servers.live()),
            line(Resource::ClientTransactions, clients.acquired(), clients.released(), clients.live()),
            line(Resource::Exchanges, exchanges.acquired(), exchanges.released(), exchanges.live()),
            line(Resource::Buffers, pool.acquired(), pool.released(), pool.live()),
            line(Resource::Timers, wheel.started(), wheel.ended(), wheel.live()),
            tally(Resource::AdmissionPlaces, self.admission),
            tally(Resource::MediaDebts, self.debts),
        ]
    }

    /// The owner of a Call-ID hash, where that is another shard.
    pub(crate) fn foreign_owner(&self, call_hash: u64) -> Option<ShardIndex> {
        let owner = self.settings.steering.owner(crate::steering::slot_of_hash(call_hash));
        (owner != self.settings.shard).then_some(owner)
    }

    /// 64 random bits (splitmix64 over the seed: one seed replays a run).
    pub(crate) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// The keyed hash of a tag; a missing tag (RFC 2543 peers) hashes like an empty one.
    pub(crate) fn hash_tag(&self, tag: Option<&[u8]>) -> u64 {
        self.tags.hash(tag.unwrap_or_default())
    }

    /// Asks for a datagram; the buffer's count goes with it.
    pub(crate) fn send(&mut self, turn: &mut Turn<'_>, flow: Flow, buffer: BufferRef) {
        self.counters.count(Counter::DatagramsOut);
        turn.effects.push(Effect::Send { flow, buffer });
    }

    /// Whether a new call may be taken: one part in [`RESERVED_FOR_CALLS`] of each resource is for the calls that run.
    pub(crate) fn has_room_for_a_call(&self) -> bool {
        self.keeps_back(RESERVED_FOR_CALLS) && self.calls.live() < self.calls.capacity()
    }

    /// Whether a request inside a dialog may be taken that does not end it: of what is kept for the calls that run, half is for their ends.
    pub(crate) fn has_room_in_a_call(&self) -> bool {
        self.keeps_back(2 * RESERVED_FOR_CALLS)
    }

    /// Whether one part in `reserve` of each resource is free.
    fn keeps_back(&self, reserve: u32) -> bool {
        let room = |live: u32, capacity: u32| live < capacity - capacity / reserve;
        let budget = &self.settings.budget;
        let live = self.pool.live_by_class();
        room(self.servers.live(), budget.server_transactions)
            && room(self.clients.live(), budget.client_transactions)
            && room(live[0], budget.buffers[0])
            && room(live.iter().sum(), budget.buffers.iter().sum())
    }

    /// Stores what `write` writes in a buffer of count 1. `estimate` is how long that will probably be.
    pub(crate) fn compose(
        &mut self,
        estimate: usize,
        write: impl Fn(&mut crate::message::Writer<'_>),
    ) -> Result<BufferRef, Full> {
        let written = compose_in(&mut self.pool, &mut self.scratch, estimate, write);
        self.count_full(written)
    }

    /// The same, from what the engine itself holds.
    pub(crate) fn compose_beside(
        &mut self,
        write: impl FnOnce(&Engine, &mut crate::message::Writer<'_>),
    ) -> Result<BufferRef, Full> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let mut writer = crate::message::Writer::new(&mut scratch);
        write(self, &mut writer);
        let written = writer.finish().and_then(|bytes| self.pool.store(bytes));
        self.scratch = scratch;
        self.count_full(written)
    }

    /// Counts what did not fit.
    pub(crate) fn count_full(&mut self, written: Result<BufferRef, Full>) -> Result<BufferRef, Full> {
        if let Err(full) = written {
            self.counters.count(match full.0 {
                Resource::MessageSize => Counter::Oversized,
                _ => Counter::Full,
            });
        }
        written
    }
}

/// The estimate for what has no body: it takes the smallest buffer that there is.
pub(crate) const SHORT: usize = 0;

/// Writes a message where it stays, in a buffer of the class for `estimate`. Where it does not fit there, or that class is empty, it is
/// written once more into `scratch` and stored from there.
#[inline]
pub(crate) fn compose_in(
    pool: &mut BufferPool,
    scratch: &mut [u8],
    estimate: usize,
    write: impl Fn(&mut crate::message::Writer<'_>),
) -> Result<BufferRef, Full> {
    let in_place = pool.room(estimate).and_then(|(room, out)| {
        let mut writer = crate::message::Writer::new(out);
        write(&mut writer);
        Some((room, writer.finish().ok()?.len()))
    });
    match in_place {
        Some((room, length)) => Ok(pool.keep(room, length)),
        None => {
            let mut writer = crate::message::Writer::new(scratch);
            write(&mut writer);
            writer.finish().and_then(|bytes| pool.store(bytes))
        }
    }
}

/// Milliseconds of a table's column.
pub(crate) const fn millis(value: u32) -> core::time::Duration {
    core::time::Duration::from_millis(value as u64)
}
