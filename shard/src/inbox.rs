//! From shard to shard, and from the control side to a shard.
//!
//! ```text
//!            heads  ▭▭▭▭   (kind, flow, times, length)
//!   shard a ─────────────────────────────► shard b        one pair of rings per ordered pair of shards,
//!            bytes  ▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭                      one writer and one reader each: no lock, no retry
//! ```
//!
//! The bytes are written before the head, so whoever sees a head finds its bytes. A full ring refuses, and the datagram is lost
//! and counted: a shard that cannot keep up must not stop its neighbours, and SIP sends again.

use std::sync::Arc;

use corelane_core::engine::Command;
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::steering::ShardIndex;
use corelane_core::{Flow, Instant};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::sys::event::EventFd;
use crate::waker::Waker;

/// Shards of one node: rings grow with the square, and a program's map of sockets is made for as many.
pub const SHARDS_MAX: usize = 64;

/// Bytes of datagrams that may wait for one shard, shared among the shards that write to it.
const INBOX_BYTES: usize = 1 << 20;
/// The least that one writer gets: a few of the largest messages.
const PAIR_BYTES_MIN: usize = 3 * MESSAGE_SIZE_MAX;
/// A SIP message is rarely smaller; heads are as many as the bytes hold of this size.
const SMALL_MESSAGE: usize = 256;
/// Orders that may wait for one shard.
const ORDERS_MAX: usize = 16;

/// From the control side to a shard. Later: a new routing image.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Finish the turn and end.
    Stop,
    /// What the engine is told.
    Command(Command),
}

/// What a record is about.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A datagram that arrived at another shard.
    Datagram {
        /// It was cut at the largest message.
        truncated: bool,
    },
    /// The network says that this flow's peer cannot be reached; the bytes are the start of what was sent there.
    Unreachable,
}

/// The fixed part of a record.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// The listener has the same index on every shard, so the owner answers from its own socket of the same address.
    pub(crate) flow: Flow,
    pub(crate) received_at: Instant,
    /// When it was written here.
    pub(crate) handed_at: Instant,
    length: u16,
}

impl Head {
    pub(crate) fn new(kind: Kind, flow: Flow, received_at: Instant, handed_at: Instant) -> Head {
        Head { kind, flow, received_at, handed_at, length: 0 }
    }
}

/// The target's ring has no room.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct InboxFull;

struct Sender {
    heads: Producer<Head>,
    bytes: Producer<u8>,
    waker: Arc<Waker>,
    /// Something was written since the last wake.
    dirty: bool,
}

/// What a shard writes to the others.
pub(crate) struct Outbox {
    /// By target; `None` at the shard's own place.
    senders: Box<[Option<Sender>]>,
}

impl Outbox {
    /// Hands a record to another shard; it is woken by the next [`Outbox::wake`].
    ///
    /// # Errors
    /// [`InboxFull`]: the target has not kept up; nothing was written.
    pub(crate) fn push(&mut self, target: ShardIndex, mut head: Head, bytes: &[u8]) -> Result<(), InboxFull> {
        let sender = self.senders[usize::from(target.0)].as_mut().expect("nobody forwards to itself");
        debug_assert!(bytes.len() <= MESSAGE_SIZE_MAX);
        if sender.heads.is_full() {
            return Err(InboxFull);
        }
        head.length = bytes.len() as u16;
        sender.bytes.push_entire_slice(bytes).map_err(|_| InboxFull)?;
        sender.heads.push(head).map_err(|_| InboxFull)?;
        sender.dirty = true;
        Ok(())
    }

    /// Hands a record without bytes to every other shard; says how many had no room.
    pub(crate) fn push_to_all(&mut self, head: Head, bytes: &[u8]) -> u64 {
        let targets = (0..self.senders.len()).filter(|target| self.senders[*target].is_some());
        let targets: arrayvec::ArrayVec<u8, SHARDS_MAX> = targets.map(|target| target as u8).collect();
        targets.iter().filter(|target| self.push(ShardIndex(**target), head, bytes).is_err()).count() as u64
    }

    /// Wakes those that were written to, once per turn rather than per datagram.
    pub(crate) fn wake(&mut self) {
        for sender in self.senders.iter_mut().flatten() {
            if std::mem::take(&mut sender.dirty) {
                sender.waker.wake();
            }
        }
    }
}

/// What others write to a shard.
pub(crate) struct Inbox {
    receivers: Box<[(Consumer<Head>, Consumer<u8>)]>,
    orders: Consumer<Order>,
    waker: Arc<Waker>,
    /// Where a record's bytes are put together: in the ring they may wrap around.
    scratch: Box<[u8]>,
    /// The writer served next, so that a busy one cannot starve the others.
    next: usize,
}

impl Inbox {
    /// The next record, round robin over the writers.
    pub(crate) fn pop(&mut self) -> Option<(Head, &[u8])> {
        for _ in 0..self.receivers.len() {
            let index = self.next;
            self.next = (self.next + 1) % self.receivers.len();
            let (heads, bytes) = &mut self.receivers[index];
            if let Ok(head) = heads.pop() {
                let into = &mut self.scratch[..usize::from(head.length)];
                bytes.pop_entire_slice(into).expect("the bytes are written before the head");
                return Some((head, into));
            }
        }
        None
    }

    /// The next order of the control side.
    pub(crate) fn order(&mut self) -> Option<Order> {
        self.orders.pop().ok()
    }

    /// Declares the wish to park: `false` when something has come, and then the shard must not. `nothing_else` looks at what others than
    /// shards write.
    pub(crate) fn may_park(&self, nothing_else: impl FnOnce() -> bool) -> bool {
        self.waker.about_to_park();
        let empty =
            self.orders.is_empty() && self.receivers.iter().all(|(heads, _)| heads.is_empty()) && nothing_else();
        if !empty {
            self.awake();
        }
        empty
    }

    /// After the wait: nobody needs to wake this shard until it parks again.
    pub(crate) fn awake(&self) {
        self.waker.awake();
    }

    /// What wakes this shard.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The event that ends this shard's wait.
    pub(crate) fn event(&self) -> Arc<EventFd> {
        Arc::clone(&self.waker.event)
    }
}

/// The control side's end towards one shard.
pub(crate) struct Orders {
    ring: Producer<Order>,
    waker: Arc<Waker>,
}

impl Orders {
    /// Hands over an order; `false` when the ring is full. One place is kept for [`Order::Stop`], which may be repeated.
    pub(crate) fn give(&mut self, order: Order) -> bool {
        let room = order == Order::Stop || self.ring.slots() > 1;
        let given = room && self.ring.push(order).is_ok();
        self.waker.wake();
        given
    }
}

/// One shard's ends of everything.
pub(crate) struct Ends {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) orders: Orders,
}

/// All rings between `shards` shards, and from the control side to each.
///
/// # Errors
/// No descriptor left for an eventfd.
pub(crate) fn mesh(shards: usize) -> std::io::Result<Vec<Ends>> {
    let bytes = (INBOX_BYTES / shards.saturating_sub(1).max(1)).max(PAIR_BYTES_MIN);
    let wakers = (0..shards).map(|_| Waker::for_shard().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let mut receivers: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
    let mut senders: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
    for (source, senders) in senders.iter_mut().enumerate() {
        for (target, waker) in wakers.iter().enumerate() {
            senders.push((source != target).then(|| {
                let (head_in, head_out) = RingBuffer::new(bytes / SMALL_MESSAGE);
                let (byte_in, byte_out) = RingBuffer::new(bytes);
                receivers[target].push((head_out, byte_out));
                Sender { heads: head_in, bytes: byte_in, waker: Arc::clone(waker), dirty: false }
            }));
        }
    }
    let ends = receivers.into_iter().zip(senders).zip(wakers);
    Ok(ends
        .map(|((receivers, senders), waker)| {
            let (order_in, order_out) = RingBuffer::new(ORDERS_MAX);
            Ends {
                inbox: Inbox {
                    receivers: receivers.into(),
                    orders: order_out,
                    waker: Arc::clone(&waker),
                    scratch: vec![0; MESSAGE_SIZE_MAX].into(),
                    next: 0,
                },
                outbox: Outbox { senders: senders.into() },
                orders: Orders { ring: order_in, waker },
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{Head, InboxFull, Kind, Order, mesh};
    use corelane_core::limits::MESSAGE_SIZE_MAX;
    use corelane_core::steering::ShardIndex;
    use corelane_core::{Endpoint, Flow, Instant, ListenerIndex, Transport};
    use std::net::{IpAddr, Ipv4Addr};

    fn head(port: u16) -> Head {
        let peer = Endpoint::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let flow = Flow { peer, listener: ListenerIndex(3), transport: Transport::Udp };
        let at = Instant::from_micros(u64::from(port));
        Head::new(Kind::Datagram { truncated: false }, flow, at, at)
    }

    #[test]
    fn records_keep_order_and_bytes_around_the_wrap() {
        let mut ends = mesh(2).expect("descriptors");
        let mut second = ends.pop().expect("two shards");
        let mut first = ends.pop().expect("two shards");
        // An odd size, three at a time, so that the wrap falls at ever different places.
        for round in 0..500u16 {
            let bytes: Vec<u8> = (0..6007).map(|at| (at as u16).wrapping_mul(round) as u8).collect();
            for port in 0..3 {
                first.outbox.push(ShardIndex(1), head(round + port), &bytes).expect("room");
            }
            for port in 0..3 {
                let (found, taken) = second.inbox.pop().expect("three were written");
                assert_eq!((found.flow, found.received_at), (head(round + port).flow, head(round + port).received_at));
                assert_eq!(taken, bytes);
            }
            assert!(second.inbox.pop().is_none());
        }
    }

    #[test]
    fn a_full_ring_refuses_and_loses_nothing_that_it_took() {
        let mut ends = mesh(16).expect("descriptors");
        let bytes = [7u8; MESSAGE_SIZE_MAX];
        let mut taken = 0;
        while ends[0].outbox.push(ShardIndex(15), head(taken), &bytes).is_ok() {
            taken += 1;
        }
        assert!(taken >= 3, "room for a few of the largest");
        assert_eq!(ends[0].outbox.push(ShardIndex(15), head(0), &bytes), Err(InboxFull));
        for port in 0..taken {
            let (found, got) = ends[15].inbox.pop().expect("as many as were taken");
            assert_eq!((found.flow.peer.port, got.len()), (port, MESSAGE_SIZE_MAX));
        }
        assert!(ends[15].inbox.pop().is_none());
    }

    #[test]
    fn nobody_parks_over_a_record_or_an_order() {
        let mut ends = mesh(3).expect("descriptors");
        assert!(ends[2].inbox.may_park(|| true));
        ends[2].inbox.awake();
        ends[1].outbox.push(ShardIndex(2), head(1), b"x").expect("room");
        assert!(!ends[2].inbox.may_park(|| true));
        assert!(ends[2].inbox.pop().is_some());
        assert!(ends[2].orders.give(Order::Stop));
        assert!(!ends[2].inbox.may_park(|| true));
        assert_eq!(ends[2].inbox.order(), Some(Order::Stop));
        assert!(ends[2].inbox.may_park(|| true));
    }

    #[test]
    fn a_shard_can_be_stopped_behind_any_number_of_commands() {
        let mut ends = mesh(1).expect("descriptors");
        let command = Order::Command(corelane_core::engine::Command::Drain(true));
        let taken = (0..100).take_while(|_| ends[0].orders.give(command)).count();
        assert!((1..100).contains(&taken));
        assert!(ends[0].orders.give(Order::Stop));
        assert_eq!((0..taken).filter(|_| ends[0].inbox.order() == Some(command)).count(), taken);
        assert_eq!(ends[0].inbox.order(), Some(Order::Stop));
    }

    #[test]
    fn a_broadcast_reaches_all_but_the_sender() {
        let mut ends = mesh(4).expect("descriptors");
        assert_eq!(ends[1].outbox.push_to_all(Head { kind: Kind::Unreachable, ..head(9) }, b"sent"), 0);
        for (shard, ends) in ends.iter_mut().enumerate() {
            let found = ends.inbox.pop().map(|(head, bytes)| (head.kind, bytes.len()));
            assert_eq!(found, (shard != 1).then_some((Kind::Unreachable, 4)));
        }
    }
}
