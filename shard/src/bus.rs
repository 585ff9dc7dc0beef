//! Between each shard and the control core: requests one way, replies the other, both bounded, plain data, no lock.
//!
//! ```text
//!             heads ▭▭▭▭  bytes ▭▭▭▭▭▭▭▭▭▭
//!   shard ───────────── requests ──────────────► control core      one bell for all shards, rung only when it waits
//!         ◄───────────── replies ───────────────                    the shard's own wake-up, shared with its inbox
//! ```
//!
//! | what | full ring |
//! | --- | --- |
//! | a request | refused: the shard answers itself with `NoNode` and counts it; it never waits. A quarter is kept from first offers |
//! | a reply | kept by the control core until there is room; the shard reads before it parks |
//! | the end of a call | goes through the [journal](crate::journal), which keeps room for it, and rings no bell |
//!
//! The bytes are written before the head, so whoever sees a head finds its bytes. Wake-ups are batched: one at the end of a shard's
//! turn, one at the end of the control core's, and each only where the other side is parked (`waker.rs`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use corelane_core::bus::{ExchangeId, MEDIA_REQUEST_MAX, MediaOutcome, MediaReply, MediaRequest};
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::steering::ShardIndex;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::waker::Waker;

/// Bytes of requests that may wait for the control core, for each shard: what 10,000 calls a second ask in a tenth of a second.
const REQUEST_BYTES: usize = 2 << 20;
/// Bytes of replies that may wait for a shard.
const REPLY_BYTES: usize = 2 << 20;
/// Requests and replies carry SDP, which is rarely smaller; heads are as many as the bytes hold of this size.
const SMALL_BODY: usize = 256;

/// One part in so many of a ring is kept from offers that open a call, so that calls in progress find room (I8).
const KEPT_FOR_CALLS: usize = 4;

/// Bytes that both rings of one shard take, for the memory bill.
pub const BUS_BYTES: usize = REQUEST_BYTES
    + REPLY_BYTES
    + REQUEST_BYTES / SMALL_BODY * size_of::<u16>()
    + REPLY_BYTES / SMALL_BODY * size_of::<ReplyHead>();

/// The fixed part of a reply.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct ReplyHead {
    exchange: ExchangeId,
    node: u32,
    length: u16,
    outcome: MediaOutcome,
}

/// The control core has not kept up; nothing was written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct BusFull;

/// A shard's end.
pub(crate) struct BusEnd {
    requests: Producer<u16>,
    request_bytes: Producer<u8>,
    replies: Consumer<ReplyHead>,
    reply_bytes: Consumer<u8>,
    /// Where a reply's SDP is put together: in the ring it may wrap around.
    scratch: Box<[u8]>,
    bell: Arc<Waker>,
    /// Something was written since the bell was last rung.
    dirty: bool,
}

impl BusEnd {
    /// Hands a request over; the control core hears of it by the next [`BusEnd::wake`].
    ///
    /// # Errors
    /// [`BusFull`]: nothing was written.
    pub(crate) fn push(&mut self, request: &[u8]) -> Result<(), BusFull> {
        debug_assert!(request.len() <= MEDIA_REQUEST_MAX);
        let kept = if MediaRequest::opens(request) { KEPT_FOR_CALLS } else { usize::MAX };
        let heads = REQUEST_BYTES / SMALL_BODY;
        if self.requests.slots() <= heads / kept || self.request_bytes.slots() < REQUEST_BYTES / kept + request.len() {
            return Err(BusFull);
        }
        self.request_bytes.push_entire_slice(request).map_err(|_| BusFull)?;
        self.requests.push(request.len() as u16).map_err(|_| BusFull)?;
        self.dirty = true;
        Ok(())
    }

    /// Rings the bell, once per turn rather than per request.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.bell.wake();
        }
    }

    /// The next reply.
    pub(crate) fn pop(&mut self) -> Option<MediaReply<'_>> {
        let head = self.replies.pop().ok()?;
        let sdp = &mut self.scratch[..usize::from(head.length)];
        self.reply_bytes.pop_entire_slice(sdp).expect("the bytes are written before the head");
        Some(MediaReply { exchange: head.exchange, outcome: head.outcome, node: head.node, sdp })
    }

    /// Whether a reply waits.
    pub(crate) fn has_reply(&self) -> bool {
        !self.replies.is_empty()
    }
}

/// The control core's end towards one shard.
struct Line {
    requests: Consumer<u16>,
    request_bytes: Consumer<u8>,
    replies: Producer<ReplyHead>,
    reply_bytes: Producer<u8>,
    shard: Arc<Waker>,
    /// Something was written since the shard was last woken.
    dirty: bool,
}

/// The control core's end: all shards of a node.
///
/// The turn of whoever holds it: [`ControlBus::next_request`] until there is none, [`ControlBus::reply`] as replies come, then
/// [`ControlBus::wake`]; before a wait [`ControlBus::may_park`], after it [`ControlBus::awake`].
pub struct ControlBus {
    lines: Box<[Line]>,
    bell: Arc<Waker>,
    /// The shard served next, so that a busy one cannot starve the others.
    next: usize,
}

impl ControlBus {
    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.lines.len()
    }

    /// Requests of a shard that wait.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn waiting(&self, shard: ShardIndex) -> usize {
        self.lines[usize::from(shard.0)].requests.slots()
    }

    /// The next request, round robin over the shards of which `wanted` says so: bytes of a
    /// [`MediaRequest`], put together in `scratch`, because in the ring they may wrap around.
    ///
    /// # Panics
    /// When `scratch` is shorter than [`MEDIA_REQUEST_MAX`].
    pub fn next_request<'b>(
        &mut self,
        scratch: &'b mut [u8],
        wanted: impl Fn(ShardIndex) -> bool,
    ) -> Option<(ShardIndex, &'b [u8])> {
        for _ in 0..self.lines.len() {
            let index = self.next;
            self.next = (self.next + 1) % self.lines.len();
            if !wanted(ShardIndex(index as u8)) {
                continue;
            }
            let line = &mut self.lines[index];
            if let Ok(length) = line.requests.pop() {
                let into = &mut scratch[..usize::from(length)];
                line.request_bytes.pop_entire_slice(into).expect("the bytes are written before the head");
                return Some((ShardIndex(index as u8), into));
            }
        }
        None
    }

    /// Hands a reply to a shard; `false` when its ring has no room, and then the caller keeps it and tries again later. A longer SDP
    /// than any message can carry is refused for good: the caller must have looked.
    ///
    /// # Panics
    /// When there is no such shard, or the SDP is larger than [`MESSAGE_SIZE_MAX`].
    #[must_use]
    pub fn reply(&mut self, shard: ShardIndex, reply: &MediaReply<'_>) -> bool {
        assert!(reply.sdp.len() <= MESSAGE_SIZE_MAX, "no message could carry it");
        let line = &mut self.lines[usize::from(shard.0)];
        if line.replies.is_full() || line.reply_bytes.push_entire_slice(reply.sdp).is_err() {
            return false;
        }
        let head = ReplyHead {
            exchange: reply.exchange,
            node: reply.node,
            length: reply.sdp.len() as u16,
            outcome: reply.outcome,
        };
        line.dirty = true;
        line.replies.push(head).is_ok()
    }

    /// Wakes the shards that were written to; says how many kernel calls that took.
    pub fn wake(&mut self) -> usize {
        let mut calls = 0;
        for line in &mut self.lines {
            if std::mem::take(&mut line.dirty) {
                calls += usize::from(line.shard.wake());
            }
        }
        calls
    }

    /// Declares the wish to wait for the bell: `false` when a request has come, and then there is no wait.
    #[must_use]
    pub fn may_park(&self) -> bool {
        self.bell.about_to_park();
        let empty = self.lines.iter().all(|line| line.requests.is_empty());
        if !empty {
            self.awake();
        }
        empty
    }

    /// After the wait.
    pub fn awake(&self) {
        self.bell.awake();
    }

    /// An eventfd that becomes readable when a shard has written something while this end was parked. Reading it never blocks, and takes
    /// what is pending, so that the next ring is news again.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn bell(&self) -> io::Result<OwnedFd> {
        self.bell.event.as_fd().try_clone_to_owned()
    }
}

/// All rings between the control core and the shards whose wakers these are.
///
/// # Errors
/// No descriptor left for the bell.
pub(crate) fn lines(shards: Vec<Arc<Waker>>) -> io::Result<(Vec<BusEnd>, ControlBus)> {
    let bell = Arc::new(Waker::for_control()?);
    let (ends, lines): (Vec<_>, Vec<_>) = shards
        .into_iter()
        .map(|shard| {
            let (request_in, requests) = RingBuffer::new(REQUEST_BYTES / SMALL_BODY);
            let (request_bytes_in, request_bytes) = RingBuffer::new(REQUEST_BYTES);
            let (reply_in, replies) = RingBuffer::new(REPLY_BYTES / SMALL_BODY);
            let (reply_bytes_in, reply_bytes) = RingBuffer::new(REPLY_BYTES);
            let end = BusEnd {
                requests: request_in,
                request_bytes: request_bytes_in,
                replies,
                reply_bytes,
                scratch: vec![0; MESSAGE_SIZE_MAX].into(),
                bell: Arc::clone(&bell),
                dirty: false,
            };
            let line =
                Line { requests, request_bytes, replies: reply_in, reply_bytes: reply_bytes_in, shard, dirty: false };
            (end, line)
        })
        .unzip();
    let bus = ControlBus { lines: lines.into(), bell, next: 0 };
    Ok((ends, bus))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn two() -> (Vec<Arc<Waker>>, Vec<BusEnd>, ControlBus) {
        let wakers: Vec<_> = (0..2).map(|_| Arc::new(Waker::for_shard().expect("descriptors"))).collect();
        let (ends, bus) = lines(wakers.clone()).expect("descriptors");
        (wakers, ends, bus)
    }

    fn reply(index: u32, sdp: &[u8]) -> MediaReply<'_> {
        MediaReply { exchange: ExchangeId { index, generation: 1 }, outcome: MediaOutcome::Done, node: index + 1, sdp }
    }

    /// Whether an eventfd has something to read, without taking it.
    fn rung(fd: &impl AsFd) -> bool {
        let mut set = crate::sys::event::PollSet::new([fd.as_fd()].into_iter());
        set.wait(std::time::Duration::ZERO).expect("a look at one descriptor");
        set.readiness(0).readable
    }

    #[test]
    fn requests_and_replies_keep_order_and_bytes_around_the_wrap() {
        let (_, mut ends, mut bus) = two();
        // An odd size, three at a time, so that the wrap falls at ever different places.
        for round in 0..1_500u32 {
            let bytes: Vec<u8> = (0..6007u32).map(|at| at.wrapping_mul(round) as u8).collect();
            for shard in [0, 1, 0] {
                ends[shard].push(&bytes).expect("room");
            }
            let taken: Vec<u8> = std::iter::from_fn(|| {
                let mut scratch = [0; MEDIA_REQUEST_MAX];
                let (shard, found) = bus.next_request(&mut scratch, |_| true)?;
                assert_eq!(found, bytes);
                assert!(bus.reply(shard, &reply(round, &bytes)));
                Some(shard.0)
            })
            .collect();
            assert_eq!(taken.iter().filter(|shard| **shard == 0).count(), 2, "{taken:?}");
            for shard in [0, 1, 0] {
                assert_eq!(ends[shard].pop(), Some(reply(round, &bytes)));
            }
            assert!(ends.iter().all(|end| !end.has_reply()));
        }
    }

    #[test]
    fn full_rings_refuse_and_lose_nothing_that_they_took() {
        let (_, mut ends, mut bus) = two();
        let bytes = [7u8; MEDIA_REQUEST_MAX];
        let pushed = (0..).take_while(|_| ends[0].push(&bytes).is_ok()).count();
        assert!(pushed >= 64, "{pushed}");
        assert_eq!(ends[0].push(&bytes), Err(BusFull));
        assert_eq!(ends[1].push(b"x"), Ok(()), "one shard's full ring is no other's");
        let mut taken = [0, 0];
        while let Some((shard, _)) = bus.next_request(&mut [0; MEDIA_REQUEST_MAX], |_| true) {
            taken[usize::from(shard.0)] += 1;
        }
        assert_eq!(taken, [pushed, 1]);

        let answered = (0..).take_while(|index| bus.reply(ShardIndex(1), &reply(*index, &bytes))).count();
        assert!(answered >= 64, "{answered}");
        for index in 0..answered as u32 {
            assert_eq!(ends[1].pop(), Some(reply(index, &bytes)));
        }
        assert!(bus.reply(ShardIndex(1), &reply(9, &bytes)), "the shard has read: there is room again");
    }

    #[test]
    fn a_part_of_the_ring_is_kept_from_first_offers() {
        let (_, mut ends, _bus) = two();
        let mut bytes = [0; 1000];
        bytes[36] = corelane_core::bus::Verb::Offer as u8;
        assert!(MediaRequest::opens(&bytes));
        let first = (0..).take_while(|_| ends[0].push(&bytes).is_ok()).count();
        assert_eq!(first, REQUEST_BYTES * 3 / 4 / bytes.len());
        bytes[32] = 1;
        let later = (0..).take_while(|_| ends[0].push(&bytes).is_ok()).count();
        assert_eq!(first + later, REQUEST_BYTES / bytes.len(), "the rest is for calls that have a node");
    }

    #[test]
    fn many_small_replies_are_refused_by_their_number() {
        let (_, _ends, mut bus) = two();
        let taken = (0..u32::MAX).take_while(|index| bus.reply(ShardIndex(0), &reply(*index, b""))).count();
        assert_eq!(taken, REPLY_BYTES / SMALL_BODY);
    }

    #[test]
    fn the_bell_is_rung_once_and_only_for_who_waits() {
        let (_, mut ends, mut bus) = two();
        let bell = bus.bell().expect("descriptors");
        ends[0].push(b"x").expect("room");
        ends[0].wake();
        assert!(!rung(&bell), "nobody waits");
        assert_eq!((bus.waiting(ShardIndex(0)), bus.waiting(ShardIndex(1))), (1, 0));
        assert!(bus.next_request(&mut [0; MEDIA_REQUEST_MAX], |shard| shard.0 == 1).is_none(), "not asked for");
        assert!(!bus.may_park(), "there is a request");
        assert!(bus.next_request(&mut [0; MEDIA_REQUEST_MAX], |_| true).is_some());
        assert!(bus.may_park());
        ends[0].wake();
        assert!(!rung(&bell), "nothing was written since");
        for end in &mut ends {
            end.push(b"x").expect("room");
            end.wake();
        }
        assert!(rung(&bell));
        let mut count = [0; 8];
        assert_eq!(File::from(bell.try_clone().expect("descriptors")).read(&mut count).expect("it was rung"), 8);
        assert_eq!(u64::from_ne_bytes(count), 1, "once for both shards");
        assert!(!rung(&bell));
        bus.awake();
        ends[1].push(b"x").expect("room");
        ends[1].wake();
        assert!(!rung(&bell));
    }

    #[test]
    fn a_parked_shard_is_woken_once_for_many_replies() {
        let (wakers, ends, mut bus) = two();
        wakers[1].about_to_park();
        assert!(!ends[1].has_reply());
        for index in 0..5 {
            assert!(bus.reply(ShardIndex(0), &reply(index, b"")) && bus.reply(ShardIndex(1), &reply(index, b"")));
        }
        assert_eq!((bus.wake(), bus.wake()), (1, 0), "shard 0 does not wait");
        assert!(rung(&*wakers[1].event) && !rung(&*wakers[0].event));
        assert!(ends[1].has_reply());
    }
}
