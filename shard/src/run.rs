//! The loop of a shard. It is the only task of its executor, never yields, and waits in one place only.
//!
//! ```text
//!        ┌─────────────────────────────────────────────────────────────────────────────────────────────────┐
//!        ▼                                                                                                 │
//!   read the clock ► receive ≤ 64 ► inbox ► replies ► faults ► due timers ► order ► flush sends ► wake ► park
//!                      │  not mine? to its owner's inbox                     neighbours, control core     until the next timer,
//!                      └► handle ► effects, in order ► outgoing, bus, journal                             one second, or a wake-up
//! ```
//!
//! A shard that is never done in a turn does not park; so that it hears of every socket all the same, it looks at them every few
//! turns, without a wait (`LOOK_TURNS`).
//!
//! Invariants: all effects of an input are taken before the next input; a buffer is released when its send is done; the clock is
//! read once per turn; a timer does not overtake a datagram that arrived before it was due; what a datagram waited is counted from when the kernel got it, also when another shard hands it over; after the start nothing is allocated, locked or waited for except in `park`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply, MediaRequest};
use corelane_core::call::CallRecord;
use corelane_core::engine::Command;
use corelane_core::limits::EFFECTS_MAX;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{BufferRef, Counter, Counters, Effect, Effects, Flow, Input, Instant, Now, WallTime};

use crate::bus::BusEnd;
use crate::clock::Clock;
use crate::inbox::{Head, Inbox, Kind, Order, Outbox};
use crate::io::fault::FaultSource;
use crate::io::{Io, OUTGOING_MAX, RECEIVE_BATCH, Received};
use crate::journal::{JournalFull, JournalWriter};
use crate::protocol::Protocol;
use crate::shed::{self, Filter};
use crate::snapshot::Snapshot;

/// How often the counters are copied out, hence the longest wait.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// How much later than asked timers may fire while nothing else happens, so that those of neighbouring milliseconds share a wake-up.
const TIMER_SLACK: Duration = Duration::from_millis(4);
/// Turns in a row without a wait after which a shard looks what has come to any of its sockets. A look is one kernel call, for what may be
/// four turns of 64 datagrams: less than the hundredth part of them. A shard at low load parks before, and never looks.
const LOOK_TURNS: u32 = 4;
/// Records taken from the inbox in one turn, and as many replies from the bus.
const INBOX_BATCH: usize = 64;
/// How long a filter stays at the sockets after it was last written to: it costs each datagram a little, and coming and going more.
const FILTER_REST: Duration = Duration::from_secs(5);
/// Exchanges that can wait for word that the ring had no room: the effects of one input, and of the refusals themselves.
const REFUSED_MAX: usize = 2 * EFFECTS_MAX;

/// One shard, ready to run.
pub(crate) struct Shard<P, I> {
    pub(crate) index: ShardIndex,
    pub(crate) protocol: P,
    pub(crate) io: I,
    /// Who owns what; `None` where there is one shard.
    pub(crate) steering: Option<Steering>,
    /// Whether a datagram may have come to the wrong shard: the kernel does not steer.
    pub(crate) forwards: bool,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) bus: BusEnd,
    pub(crate) ends: Ends,
    pub(crate) shedding: Shedding,
    pub(crate) clock: Clock,
    pub(crate) snapshot: Arc<Snapshot>,
    /// The effects of the input at hand; empty between two inputs.
    pub(crate) effects: Effects,
    /// Sends that wait for the flush.
    pub(crate) outgoing: ArrayVec<(Flow, BufferRef), OUTGOING_MAX>,
    /// Who asked for media and found the ring full; told before the next input.
    pub(crate) refused: Refused,
}

/// See [`Shard::refused`].
#[derive(Default)]
pub(crate) struct Refused {
    waiting: ArrayVec<ExchangeId, REFUSED_MAX>,
    total: u64,
}

/// The filter that keeps a share of new calls away while they are shed.
#[derive(Default)]
pub(crate) struct Shedding {
    /// `None`: not wanted, or the kernel does not allow it.
    filter: Option<Filter>,
    /// Until when it stays at the sockets; `None`: it is not there.
    attached_until: Option<Instant>,
}

/// Where the ends of calls go.
#[derive(Default)]
pub(crate) struct Ends {
    /// `None` for a stand-in.
    pub(crate) journal: Option<JournalWriter>,
    holding: bool,
    written: u64,
    lost: u64,
    held_off: u64,
}

impl Shedding {
    pub(crate) fn of(filter: Option<Filter>) -> Shedding {
        Shedding { filter, attached_until: None }
    }
}

impl Ends {
    pub(crate) fn of(journal: Option<JournalWriter>) -> Ends {
        Ends { journal, ..Ends::default() }
    }
}

impl<P: Protocol, I: Io> Shard<P, I> {
    /// Runs until the order to stop.
    ///
    /// # Errors
    /// Those of the wait and the submit: the kernel refuses what it once allowed, and no call can be served any more.
    pub(crate) fn run(mut self) -> io::Result<Counters> {
        let mut snapshot_due = self.clock.monotonic().after(SNAPSHOT_INTERVAL);
        // Turns since the kernel was last asked what has arrived, and whether it was right before this turn.
        let mut unseen_turns = 0;
        let mut looked = false;
        loop {
            let now = self.clock.now();
            let received = self.io.receive()?;
            let mut heard_until = now.monotonic;
            for index in 0..received {
                let arrived = self.on_datagram(now, index)?;
                if index + 1 == RECEIVE_BATCH {
                    heard_until = arrived;
                }
            }
            self.io.recycle();
            let (handed, handed_until) = self.on_inbox(now)?;
            let heard = handed + self.on_replies(now)?;
            self.on_faults(now)?;
            // A timer fires when what arrived before it was due has been heard. To a shard that stood still everything is due, and the answers
            // lie in its sockets: it would give up calls that were answered in time.
            heard_until = heard_until.min(handed_until);
            while looked && self.protocol.next_timeout().is_some_and(|due| due <= heard_until) {
                self.handle(now, Input::Timeout, None)?;
            }
            self.keep_room(now)?;
            let order = self.inbox.order();
            if let Some(Order::Command(command)) = order {
                self.handle(now, Input::Command(command), None)?;
            }
            self.flush()?;
            self.outbox.wake();
            self.bus.wake();
            if now.monotonic >= snapshot_due {
                self.publish();
                self.rest(now.monotonic);
                snapshot_due = now.monotonic.after(SNAPSHOT_INTERVAL);
            }
            if order == Some(Order::Stop) {
                break;
            }
            looked = received == 0 && heard == 0 && self.park(snapshot_due)?;
            unseen_turns = if looked { 0 } else { unseen_turns + 1 };
            if !looked && self.protocol.next_timeout().is_some_and(|due| due <= now.monotonic) {
                self.io.park(Duration::ZERO)?;
                (looked, unseen_turns) = (true, 0);
            } else if unseen_turns == LOOK_TURNS {
                self.io.look()?;
                unseen_turns = 0;
            }
        }
        self.publish();
        Ok(self.protocol.counters().clone())
    }

    /// Copies the counters out, those that are kept here among them.
    fn publish(&mut self) {
        let dropped = self.shedding.filter.as_ref().map_or(0, Filter::dropped);
        let unread = self.ends.journal.as_mut().map_or(0, JournalWriter::unread);
        let counters = self.protocol.counters();
        for (counter, value) in [
            (Counter::MediaRequestsRefused, self.refused.total),
            (Counter::RecordsWritten, self.ends.written),
            (Counter::RecordsLost, self.ends.lost),
            (Counter::RecordsUnread, unread),
            (Counter::CallsHeldOff, self.ends.held_off),
            (Counter::ShedInKernel, dropped),
        ] {
            counters.set(counter, value);
        }
        self.snapshot.publish(counters);
    }

    /// One input and all that follows from it at once. `index` is its place in the batch when it was received here.
    fn handle(&mut self, now: Now, input: Input<'_>, index: Option<usize>) -> io::Result<()> {
        self.protocol.handle(now, input, &mut self.effects);
        self.accept(now, index)
    }

    /// Takes a datagram of the batch; says when it arrived.
    fn on_datagram(&mut self, now: Now, index: usize) -> io::Result<Instant> {
        let Some(datagram) = self.io.datagram(index) else { return Ok(now.monotonic) };
        let Received { flow, stamp, bytes, truncated } = datagram;
        let received_at = instant_of(stamp, now);
        // A datagram without a Call-ID stays with the shard that received it.
        if let Some(steering) = self.steering.as_ref().filter(|_| self.forwards)
            && let Some(slot) = steering.slot_of_datagram(bytes)
            && steering.owner(slot) != self.index
        {
            let head = Head::new(Kind::Datagram { truncated }, flow, received_at, now.monotonic);
            let counter = match self.outbox.push(steering.owner(slot), head, bytes) {
                Ok(()) => Counter::DatagramsForwarded,
                Err(_) => Counter::ForwardDropped,
            };
            self.protocol.counters().count(counter);
            return Ok(received_at);
        }
        let input = Input::Datagram { flow, received_at, bytes, truncated, handed_over: None };
        self.protocol.handle(now, input, &mut self.effects);
        self.accept(now, Some(index))?;
        Ok(received_at)
    }

    /// Takes what the control core answered; says how much.
    fn on_replies(&mut self, now: Now) -> io::Result<usize> {
        for count in 0..INBOX_BATCH {
            let Some(reply) = self.bus.pop() else { return Ok(count) };
            self.protocol.handle(now, Input::Media(reply), &mut self.effects);
            self.accept(now, None)?;
        }
        Ok(INBOX_BATCH)
    }

    /// Takes what other shards handed over; says how much, and up to when it had arrived if there may be more.
    fn on_inbox(&mut self, now: Now) -> io::Result<(usize, Instant)> {
        let mut received_at = now.monotonic;
        for count in 0..INBOX_BATCH {
            let Some((head, bytes)) = self.inbox.pop() else { return Ok((count, now.monotonic)) };
            let flow = head.flow;
            // The other shard may have read its clock after this turn began.
            received_at = head.received_at.min(now.monotonic);
            let input = match head.kind {
                Kind::Datagram { truncated } => {
                    let handed_over = Some(head.handed_at.min(now.monotonic));
                    Input::Datagram { flow, received_at, bytes, truncated, handed_over }
                }
                Kind::Unreachable => Input::Unreachable { flow, sent: bytes },
            };
            self.protocol.handle(now, input, &mut self.effects);
            self.accept(now, None)?;
        }
        Ok((INBOX_BATCH, received_at))
    }

    fn on_faults(&mut self, now: Now) -> io::Result<()> {
        while let Some(fault) = self.io.fault() {
            if fault.source == FaultSource::Network {
                // The kernel tells one socket of the group, chosen by addresses: whose call it is says the Call-ID of what did not arrive, and
                // where that is not in what came back of it, all have to hear of it.
                let head = Head::new(Kind::Unreachable, fault.flow, now.monotonic, now.monotonic);
                let steering = self.steering.as_ref();
                let owner = steering.and_then(|steering| Some(steering.owner(steering.slot_of_start(&fault.quote)?)));
                let lost = match owner {
                    Some(owner) if owner == self.index => 0,
                    Some(owner) => u64::from(self.outbox.push(owner, head, &fault.quote).is_err()),
                    None => self.outbox.push_to_all(head, &fault.quote),
                };
                self.protocol.counters().add(Counter::ForwardDropped, lost);
                if owner.is_some_and(|owner| owner != self.index) {
                    continue;
                }
            }
            self.protocol.handle(now, Input::Unreachable { flow: fault.flow, sent: &fault.quote }, &mut self.effects);
            self.accept(now, None)?;
        }
        Ok(())
    }

    /// Takes all effects of one input, and those of the refusals that it met; `index` is its place in the batch when it was received here.
    fn accept(&mut self, now: Now, index: Option<usize>) -> io::Result<()> {
        self.take_effects(now, index)?;
        while let Some(exchange) = self.refused.waiting.pop() {
            let reply = MediaReply { exchange, outcome: MediaOutcome::NoNode, node: 0, sdp: b"" };
            self.protocol.handle(now, Input::Media(reply), &mut self.effects);
            self.take_effects(now, None)?;
        }
        Ok(())
    }

    fn take_effects(&mut self, now: Now, index: Option<usize>) -> io::Result<()> {
        for place in 0..self.effects.len() {
            match self.effects[place] {
                Effect::Send { flow, buffer } => self.outgoing.push((flow, buffer)),
                Effect::Forward { shard } => self.forward(now, index, shard),
                Effect::Media { buffer } => self.ask(buffer),
                Effect::Ended(record) => self.end(&record),
                Effect::Shed { source, pass } => self.shed(now.monotonic, source, pass),
            }
        }
        self.effects.clear();
        if self.outgoing.remaining_capacity() < EFFECTS_MAX { self.flush() } else { Ok(()) }
    }

    /// Hands an input over that the engine found to be another shard's. What was handed over once stays: two engines that
    /// disagree about an owner must not play ball with a datagram.
    fn forward(&mut self, now: Now, index: Option<usize>, owner: ShardIndex) {
        let pushed = index.and_then(|index| self.io.datagram(index)).map(|datagram| {
            let Received { flow, stamp, bytes, truncated } = datagram;
            let head = Head::new(Kind::Datagram { truncated }, flow, instant_of(stamp, now), now.monotonic);
            self.outbox.push(owner, head, bytes)
        });
        if pushed != Some(Ok(())) {
            self.protocol.counters().count(Counter::ForwardDropped);
        }
    }

    /// Puts a request into the ring, or notes who has to be told that there is no room.
    fn ask(&mut self, buffer: BufferRef) {
        let request = self.protocol.buffer(buffer);
        if self.bus.push(request).is_err() {
            self.refused.total += 1;
            let exchange = MediaRequest::read(request).map_or(ExchangeId::NOBODY, |request| request.exchange);
            if exchange != ExchangeId::NOBODY {
                // One that finds no place here is told by its own timer.
                let _ = self.refused.waiting.try_push(exchange);
            }
        }
        self.protocol.release(buffer);
    }

    /// Puts the record of a call that ended into the journal, where the control core looks from time to time: nobody is woken for it.
    fn end(&mut self, record: &CallRecord) {
        let Some(journal) = &mut self.ends.journal else { return };
        match journal.push(record) {
            Ok(()) => self.ends.written += 1,
            Err(JournalFull) => self.ends.lost += 1,
        }
    }

    /// Lets a share of a source's new calls through from now on. The first one puts the filter at the sockets.
    fn shed(&mut self, now: Instant, source: IpAddr, pass: u16) {
        let Some(filter) = &self.shedding.filter else { return };
        filter.set(source, pass);
        if self.shedding.attached_until.replace(now.after(FILTER_REST)).is_none()
            && self.io.sockets().iter().any(|socket| filter.attach(socket).is_err())
        {
            // What the kernel allowed at the start it refuses now: the engine goes on refusing each call itself.
            self.io.sockets().iter().for_each(shed::detach);
            self.shedding.filter = None;
        }
    }

    /// Takes the filter from the sockets when nothing was shed for a while.
    fn rest(&mut self, now: Instant) {
        if self.shedding.attached_until.take_if(|until| *until <= now).is_some() {
            self.io.sockets().iter().for_each(shed::detach);
        }
    }

    /// Once per turn: new calls are taken only while the journal has room for the ends of all.
    fn keep_room(&mut self, now: Now) -> io::Result<()> {
        let Some(journal) = &mut self.ends.journal else { return Ok(()) };
        let hold = !journal.has_room(self.protocol.live_calls());
        if hold == self.ends.holding {
            return Ok(());
        }
        self.ends.holding = hold;
        self.ends.held_off += u64::from(hold);
        self.handle(now, Input::Command(Command::HoldNewCalls(hold)), None)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let refused = self.io.send(self.outgoing.len(), |index| {
            let (flow, buffer) = self.outgoing[index];
            (flow, self.protocol.buffer(buffer))
        })?;
        for (_, buffer) in self.outgoing.drain(..) {
            self.protocol.release(buffer);
        }
        self.protocol.counters().add(Counter::SendFailed, refused as u64);
        Ok(())
    }

    /// Waits for the next timer, the next snapshot, a datagram or a wake-up; `false`: something had come meanwhile, so there was no wait.
    fn park(&mut self, snapshot_due: Instant) -> io::Result<bool> {
        if !self.inbox.may_park(|| !self.bus.has_reply()) {
            return Ok(false);
        }
        let until = self.protocol.next_timeout().map_or(snapshot_due, |due| due.after(TIMER_SLACK).min(snapshot_due));
        let result = self.io.park(until.since(self.clock.monotonic()));
        self.inbox.awake();
        result.map(|()| true)
    }
}

/// A stamp of the wall clock as an instant, by the distance of both clocks in this turn; never later than now. A wall clock that steps makes
/// the datagrams that wait at that moment look older or younger, once.
fn instant_of(stamp: Option<WallTime>, now: Now) -> Instant {
    let waited = stamp.map_or(0, |stamp| now.wall.0.saturating_sub(stamp.0));
    Instant::from_micros(now.monotonic.as_micros().saturating_sub(waited))
}

#[cfg(test)]
mod tests {
    use super::{Instant, Now, WallTime, instant_of};

    #[test]
    fn a_stamp_is_as_long_ago_as_the_wall_clock_says() {
        let now = Now { monotonic: Instant::from_micros(5_000), wall: WallTime(1_700_000_000_000_000) };
        let at = |wall| instant_of(Some(WallTime(wall)), now).as_micros();
        assert_eq!(at(now.wall.0 - 1_200), 3_800);
        assert_eq!(at(now.wall.0 + 7), 5_000, "it came after the clock was read");
        assert_eq!(at(0), 0, "the wall clock stepped");
        assert_eq!(instant_of(None, now), now.monotonic);
    }
}
