//! Who is where, what is on its way, and what the way does to it.
//!
//! One event queue in order of time, and of entry where times are equal. A link (one per party) loses, doubles, delays and
//! reorders; how much was drawn when the run began. No message is under way longer than [`DELAY_MAX`], which is below T4: RFC 3261
//! sizes its timers by that, and its promises hold under it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};

use corelane_core::{BufferRef, Endpoint};

use super::plan::Faults;
use super::random::Random;
use super::wire::Method;

/// Microseconds of a second.
pub(super) const SECOND: u64 = 1_000_000;

/// The longest that a message is under way.
pub(super) const DELAY_MAX: u64 = 3 * SECOND;

/// Where all of them listen.
const PORT: u16 = 5060;

/// The engine's listeners.
pub(super) const LISTENERS: [&str; 2] = ["10.0.0.1:5060", "10.0.1.1:5070"];

/// One host of the world.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Party {
    /// A provider's softswitch.
    Caller(u8),
    /// A gateway.
    Gateway(u8),
    /// Somebody whom the image does not know.
    Stranger(u8),
}

impl Party {
    /// Its address.
    pub(super) fn endpoint(self) -> Endpoint {
        let ip = match self {
            Party::Caller(number) => Ipv4Addr::new(192, 0, 2, number + 1),
            Party::Gateway(number) => Ipv4Addr::new(198, 51, 100, number + 1),
            Party::Stranger(number) => Ipv4Addr::new(203, 0, 113, number + 1),
        };
        Endpoint::new(IpAddr::V4(ip), PORT)
    }

    /// Who has an address; the port does not matter.
    pub(super) fn at(endpoint: Endpoint) -> Option<Party> {
        let IpAddr::V4(ip) = endpoint.ip else { return None };
        let [.., last] = ip.octets();
        let number = last.checked_sub(1)?;
        match ip.octets() {
            [192, 0, 2, _] => Some(Party::Caller(number)),
            [198, 51, 100, _] => Some(Party::Gateway(number)),
            [203, 0, 113, _] => Some(Party::Stranger(number)),
            _ => None,
        }
    }

    /// `address:port`, as it stands in Via and Contact.
    pub(super) fn text(self) -> String {
        self.endpoint().to_string()
    }
}

/// A datagram under way. Its bytes go back to the network's store.
#[derive(Debug, Default)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) truncated: bool,
}

/// One end of a call: 0 is the caller, the others are the gateways that its INVITE reached, in order.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct LegIndex {
    pub(super) call: u32,
    pub(super) leg: u16,
}

/// What a leg does at a time that it has set itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// A step of a gateway's schedule.
    Answer(u8),
    /// The caller gives up.
    Cancel,
    /// The ACK of a 2xx, late.
    Ack { dialog: u8 },
    /// A request in a dialog.
    Ask { dialog: u8, method: Method },
    /// Both timers of a client transaction.
    RepeatRequest(u16),
    /// Both timers of a server transaction that waits for ACK or PRACK.
    RepeatResponse(u16),
    /// The leg falls silent for good.
    Vanish,
}

/// What happens at a time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A datagram reaches a listener; `shard` where another shard handed it over.
    ToEngine { from: Party, listener: u8, packet: u32, shard: Option<u8> },
    /// A datagram reaches a party.
    ToParty { to: Party, listener: u8, packet: u32, shard: u8 },
    /// The kernel reports that a party cannot be reached.
    Unreachable { to: Party, listener: u8, packet: u32, shard: u8 },
    /// The kernel took a buffer.
    Release { shard: u8, buffer: BufferRef, digest: u32 },
    /// The control core answers a wish.
    Media { shard: u8, reply: u32 },
    /// The media relay freezes; it thaws by itself.
    Freeze,
    /// A media node dies, or all of them.
    LoseNode,
    /// A media node is back.
    NodeBack(u8),
    /// A leg acts.
    Act { at: LegIndex, act: Act },
    /// The next call begins.
    Call,
    /// A shard takes another image.
    SwapImage,
    /// The wall clock jumps.
    StepClock,
    /// A host goes down; it comes back by itself.
    Crash,
    /// A host comes back and has forgotten everything.
    Restart(Party),
    /// Somebody unknown sends something.
    Noise,
    /// The control core wants something.
    Command,
}

struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        // The heap gives the greatest first.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

/// Everything that is going to happen.
#[derive(Default)]
pub(super) struct Network {
    queue: BinaryHeap<Scheduled>,
    order: u64,
    packets: Vec<Packet>,
    free: Vec<u32>,
}

impl Network {
    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Scheduled { at, order: self.order, event });
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|scheduled| scheduled.at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop().map(|scheduled| scheduled.event)
    }

    /// The buffers of a shard that the kernel has not taken yet.
    pub(super) fn in_flight(&self, of: u8) -> impl Iterator<Item = BufferRef> {
        self.queue.iter().filter_map(move |scheduled| match scheduled.event {
            Event::Release { shard, buffer, .. } if shard == of => Some(buffer),
            _ => None,
        })
    }

    /// Stores a copy of a datagram.
    pub(super) fn store(&mut self, bytes: &[u8], truncated: bool) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.packets.push(Packet::default());
            self.packets.len() as u32 - 1
        });
        let packet = &mut self.packets[at as usize];
        packet.bytes.extend_from_slice(bytes);
        packet.truncated = truncated;
        at
    }

    /// Takes a datagram out; give it to [`Network::recycle`] afterwards.
    pub(super) fn take(&mut self, at: u32) -> Packet {
        self.free.push(at);
        std::mem::take(&mut self.packets[at as usize])
    }

    /// Takes the memory of a datagram back.
    pub(super) fn recycle(&mut self, mut packet: Packet) {
        packet.bytes.clear();
        if let Some(at) = self.free.last() {
            self.packets[*at as usize] = packet;
        }
    }
}

/// How long a datagram takes over a link, once for each copy that arrives; nothing where it is lost.
pub(super) fn travel(faults: &Faults, random: &mut Random) -> [Option<u64>; 2] {
    let mut delay = || {
        let mut delay = faults.delay_us + random.below(faults.jitter_us + 1);
        if random.chance(faults.reorder_permille) {
            delay += random.below(SECOND);
        }
        let lost = random.chance(faults.loss_permille);
        (!lost).then_some(delay.min(DELAY_MAX))
    };
    let first = delay();
    let second = delay();
    [first, second.filter(|_| random.chance(faults.double_permille))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_entry() {
        let mut network = Network::default();
        network.schedule(5, Event::Call);
        network.schedule(3, Event::Noise);
        network.schedule(5, Event::Crash);
        assert_eq!(network.next_at(), Some(3));
        let order: Vec<_> = std::iter::from_fn(|| network.pop()).collect();
        assert_eq!(order, [Event::Noise, Event::Call, Event::Crash]);
    }

    #[test]
    fn packets_are_recycled() {
        let mut network = Network::default();
        let first = network.store(b"one", false);
        let packet = network.take(first);
        assert_eq!(packet.bytes, b"one");
        network.recycle(packet);
        assert_eq!(network.store(b"two", true), first);
    }

    #[test]
    fn addresses_lead_back() {
        for party in [Party::Caller(0), Party::Gateway(7), Party::Stranger(3)] {
            assert_eq!(Party::at(party.endpoint()), Some(party));
        }
    }
}
