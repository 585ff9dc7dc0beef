//! The media task of the control core: it carries, and a sans-IO machine decides.
//!
//! ```text
//!   shards ── requests ──► ┐                          ┌ send ──► sockets ──► media nodes
//!   journals ── ends ────► │  turn: [`MediaMachine`] ─┤
//!   sockets ── replies ──► │                          └ reply ─► rings ────► shards, kept while one is full
//!   names, operator ─────► ┘   next_timeout ─► the one wait
//! ```
//!
//! One turn takes a bounded part of what there is, from every side, and wakes each shard at most once. It waits in one place, and only
//! when nothing is left. A record of the journal is acknowledged when the machine has taken it, so that a killed process meets it again. The end
//! of a call comes by another way than its requests, and must not overtake them, or its last offer would be owed by nobody: see [`Gate`].
//!
//! **Full.** Replies that a shard has no room for are kept; with [`KEPT_MAX`] of them no more of its requests are read, so that its ring fills
//! and it answers itself. A socket that takes nothing loses a datagram that is asked again.
//!
//! **Panic.** The task is started again with a new machine; requests that were pending are answered by the timers of who asked. The
//! record, request or datagram that it was about is not handled twice.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use corelane_core::Instant;
use corelane_core::bus::{ExchangeId, MEDIA_REQUEST_MAX, MediaOutcome, MediaReply, MediaRequest};
use corelane_core::steering::ShardIndex;
use corelane_shard::clock::Clock;
use corelane_shard::{ControlBus, JournalReader};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::counter::{Counter, Shared};
use super::machine::{MediaMachine, MediaNode, Outputs};
use super::nodes::Nodes;
use super::sockets::{Heard, REPLY_MAX, Sent, Sockets};
use super::{lists, names};
use crate::rtpengine::node::NodeConfig;

/// What one turn takes from each side.
const BATCH: usize = 256;
/// Replies kept for a shard that has no room; behind that, its requests wait in their ring.
const KEPT_MAX: usize = 1024;
/// How soon a kept reply is tried again: nobody says when a shard has read.
const KEPT_AGAIN: Duration = Duration::from_millis(1);
/// The longest wait: no shard rings for the end of a call, which on both sides would cost more than the call's last messages. A session at a
/// media node may be deleted that much later.
const JOURNAL_INTERVAL: Duration = Duration::from_millis(50);
/// How often counters are copied out.
const COPY_INTERVAL: Duration = Duration::from_secs(1);
/// From a panic to the next start of the task.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of the task waits for deletes that are due.
const STOP_DELETES: Duration = Duration::from_secs(2);
/// How often it looks meanwhile.
const STOP_LOOK: Duration = Duration::from_millis(2);
/// Names found and orders of the operator that may wait.
const NEWS_MAX: usize = 64;
/// Lists of sessions that may wait: they are large.
const LISTS_MAX: usize = 1;

/// What the task is made of.
pub struct MediaParts<M> {
    /// The way to the shards.
    pub bus: ControlBus,
    /// The ends of calls.
    pub journals: Vec<JournalReader>,
    /// The nodes.
    pub nodes: Vec<MediaNode>,
    /// Sockets towards each.
    pub sockets: u8,
    /// From one list of a node's sessions to the next.
    pub reconcile_interval: Duration,
    /// Makes the machine, at the start and after each panic; the one before is gone then.
    pub make: Box<dyn FnMut(Instant) -> io::Result<M> + Send>,
}

/// What the rest of the node has of the task.
#[derive(Clone, Debug)]
pub struct MediaHandle {
    news: mpsc::Sender<Vec<MediaNode>>,
    /// The machine's counters, at most a second old.
    pub(super) counters: Arc<Mutex<Vec<(&'static str, u64)>>>,
}

impl MediaHandle {
    /// Has these nodes from now on. Calls on a node that is drained, or gone, go on there. `false`: too many such orders wait; try again.
    #[must_use]
    pub fn take_nodes(&self, nodes: Vec<MediaNode>) -> bool {
        self.news.try_send(nodes).is_ok()
    }
}

/// What of a shard's journal may be read: the ends that were there before the requests that wait. Of each call the requests come first.
#[derive(Copy, Clone, Default)]
struct Gate {
    /// Ends up to this one may be read …
    ends: u64,
    /// … when so many more requests have been taken.
    requests: usize,
}

/// A reply that waits for room.
struct Kept {
    exchange: ExchangeId,
    outcome: MediaOutcome,
    node: u32,
    sdp: Box<[u8]>,
}

/// The task's state: all that a panic leaves as it is.
pub(super) struct Media<M> {
    /// Those of the shards, in their order, then what is left of other starts.
    journals: Vec<JournalReader>,
    gates: Box<[Gate]>,
    count: u8,
    make: Box<dyn FnMut(Instant) -> io::Result<M> + Send>,
    machine: Option<M>,
    nodes: Nodes,
    ways: Ways,
    bell: pipe::Receiver,
    clock: Clock,
    buffer: Box<[u8]>,
    request: Box<[u8]>,
    found: mpsc::Receiver<names::Found>,
    listed: mpsc::Receiver<lists::Listed>,
    news: mpsc::Receiver<Vec<MediaNode>>,
    shared: Arc<Shared>,
    copied: Arc<Mutex<Vec<(&'static str, u64)>>>,
    copy_at: Instant,
    /// The journal whose record is being handled: not handled again after a panic.
    handling: Option<usize>,
    /// The socket heard next, so that a busy one cannot starve the others.
    next_socket: usize,
    /// A node has an address and no sockets.
    unconnected: bool,
    /// The shards have gone: what lies in their rings is asked for nobody.
    ending: bool,
}

/// The ways out: what the machine wants done goes there at once.
struct Ways {
    bus: ControlBus,
    sockets: Sockets,
    kept: Vec<VecDeque<Kept>>,
    /// Nodes of which a send said that nobody listens there; the machine hears of it next.
    unreachable: Vec<u32>,
    shared: Arc<Shared>,
}

impl Outputs for Ways {
    fn send(&mut self, node: u32, socket: u8, _: SocketAddr, bytes: &[u8]) {
        match self.sockets.send(node, socket.into(), bytes) {
            Sent::Taken => {}
            Sent::Dropped => self.shared.add(Counter::SendsDropped, 1),
            Sent::Unreachable if self.unreachable.contains(&node) => {}
            Sent::Unreachable => self.unreachable.push(node),
        }
    }

    fn reply(&mut self, shard: u16, reply: MediaReply<'_>) {
        let kept = &mut self.kept[usize::from(shard)];
        if !kept.is_empty() || !self.bus.reply(ShardIndex(shard as u8), &reply) {
            let MediaReply { exchange, outcome, node, sdp } = reply;
            kept.push_back(Kept { exchange, outcome, node, sdp: sdp.into() });
            self.shared.add(Counter::RepliesKept, 1);
        }
    }
}

/// The two ends of the task's orders; made before the task, which lives on another thread.
pub(super) fn handle() -> (MediaHandle, MediaOrders) {
    let (news_in, news) = mpsc::channel(NEWS_MAX);
    let counters = Arc::default();
    (MediaHandle { news: news_in, counters: Arc::clone(&counters) }, MediaOrders { news, counters })
}

/// The task's end of its handle.
pub(super) struct MediaOrders {
    news: mpsc::Receiver<Vec<MediaNode>>,
    counters: Arc<Mutex<Vec<(&'static str, u64)>>>,
}

impl<M: MediaMachine + 'static> Media<M> {
    /// Starts to look names up and waits for nothing. Must run on the control core's runtime.
    pub(super) fn new(parts: MediaParts<M>, orders: MediaOrders, shared: Arc<Shared>) -> io::Result<Media<M>> {
        let (found_in, found) = mpsc::channel(NEWS_MAX);
        let MediaParts { bus, journals, nodes, sockets: count, reconcile_interval, make } = parts;
        let (listed_in, listed) = mpsc::channel(LISTS_MAX);
        let rows = nodes;
        let mut nodes = Nodes::new(reconcile_interval, found_in, listed_in);
        nodes.take(rows);
        // An eventfd is no pipe, but is read like one: eight bytes, or "not yet".
        let bell = pipe::Receiver::from_owned_fd_unchecked(bus.bell()?)?;
        let kept = (0..bus.shards()).map(|_| VecDeque::new()).collect();
        let gates = vec![Gate::default(); bus.shards()].into();
        let sockets = Sockets::default();
        Ok(Media {
            journals,
            gates,
            count,
            make,
            machine: None,
            nodes,
            ways: Ways { bus, sockets, kept, unreachable: Vec::new(), shared: Arc::clone(&shared) },
            bell,
            clock: Clock::start(),
            buffer: vec![0; REPLY_MAX].into(),
            request: vec![0; MEDIA_REQUEST_MAX].into(),
            found,
            listed,
            news: orders.news,
            shared,
            copied: orders.counters,
            copy_at: Instant::ZERO,
            handling: None,
            next_socket: 0,
            unconnected: false,
            ending: false,
        })
    }

    /// Makes the machine and tells it of the nodes.
    fn begin(&mut self) -> io::Result<()> {
        self.machine = None;
        if let Some(journal) = self.handling.take() {
            self.journals[journal].acknowledge();
        }
        let now = self.clock.monotonic();
        self.machine = Some((self.make)(now)?);
        self.configure(now);
        Ok(())
    }

    /// Tells sockets and machine what is known of the nodes.
    fn configure(&mut self, now: Instant) {
        self.unconnected = false;
        self.connect();
        let configs = self.nodes.configs();
        if let Some(machine) = &mut self.machine {
            machine.configure(now, configs);
        }
    }

    /// Has sockets towards every node of which the address is known. Where the kernel gives none (its way there may come later) it is told once, and
    /// tried again.
    fn connect(&mut self) {
        let told = self.unconnected;
        self.unconnected = false;
        self.nodes.show();
        for NodeConfig { id, address, .. } in &self.nodes.configs() {
            if let Err(error) = self.ways.sockets.point(*id, *address, usize::from(self.count)) {
                self.unconnected = true;
                if !told {
                    eprintln!("corelane: media node {id}: no socket towards it: {error}");
                }
            }
        }
    }

    /// One turn; says whether there was anything to do.
    fn turn(&mut self) -> io::Result<bool> {
        if self.machine.is_none() {
            self.begin()?;
        }
        let now = self.clock.monotonic();
        let mut done = self.hear_news(now) + self.hear_nodes(now);
        self.open_gates();
        done += self.hear_shards(now) + self.read_journals(now);
        if let Some(machine) = &mut self.machine {
            if machine.next_timeout() <= now {
                machine.on_timeout(now, &mut self.ways);
                done += 1;
            }
            while let Some(node) = self.ways.unreachable.pop() {
                machine.on_unreachable(now, node, &mut self.ways);
                done += 1;
            }
        }
        self.offer_kept();
        self.ways.bus.wake();
        if done > 0 {
            self.shared.add(Counter::Turns, 1);
        }
        if now >= self.copy_at {
            self.forget_nodes(now);
            self.tell_silent(now);
            self.copy_counters();
            if self.unconnected {
                self.connect();
            }
            self.copy_at = now.after(COPY_INTERVAL);
        }
        Ok(done > 0)
    }

    fn hear_news(&mut self, now: Instant) -> usize {
        let mut heard = 0;
        while let Ok(found) = self.found.try_recv() {
            heard += 1;
            self.on_found(now, found);
        }
        while let Ok(rows) = self.news.try_recv() {
            heard += 1;
            self.on_rows(now, rows);
        }
        if let Some(machine) = &mut self.machine
            && let Ok((node, list)) = self.listed.try_recv()
        {
            heard += 1;
            machine.on_list(now, node, list.as_deref(), &mut self.ways);
        }
        heard
    }

    fn on_found(&mut self, now: Instant, found: names::Found) {
        if self.nodes.on_found(found) {
            self.configure(now);
        }
    }

    fn on_rows(&mut self, now: Instant, rows: Vec<MediaNode>) {
        self.nodes.take(rows);
        self.configure(now);
    }

    /// Forgets nodes whose rows are gone, once nothing is held or owed there.
    fn forget_nodes(&mut self, now: Instant) {
        let Some(machine) = self.machine.as_ref().filter(|_| self.nodes.any_leaves()) else { return };
        let gone = self.nodes.forget(|node| machine.holds(node));
        for node in &gone {
            // Nothing is opened, so nothing fails.
            let _ = self.ways.sockets.point(*node, None, 0);
        }
        if !gone.is_empty() {
            self.configure(now);
        }
    }

    fn tell_silent(&mut self, now: Instant) {
        let Some(machine) = &self.machine else { return };
        for line in self.nodes.tell(now, |node| machine.answers(node)) {
            eprintln!("corelane: {line}");
        }
    }

    fn hear_nodes(&mut self, now: Instant) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let count = self.ways.sockets.count();
        let (mut silent, mut heard) = (0, 0);
        while heard < BATCH && silent < count {
            self.next_socket = (self.next_socket + 1) % count;
            let Some((from, socket, what)) = self.ways.sockets.hear(self.next_socket, &mut self.buffer) else {
                silent += 1;
                continue;
            };
            (silent, heard) = (0, heard + 1);
            match what {
                Heard::Datagram(bytes) => machine.on_datagram(now, socket as u8, from.1, bytes, &mut self.ways),
                Heard::Unreachable => machine.on_unreachable(now, from.0, &mut self.ways),
            }
        }
        heard
    }

    /// Lets through the ends that are there now, where all before have been read.
    fn open_gates(&mut self) {
        for (shard, (gate, journal)) in self.gates.iter_mut().zip(&self.journals).enumerate() {
            if journal.read() == gate.ends {
                // In this order: what the shard asked before it wrote an end that is seen here is seen in its ring.
                gate.ends = journal.written();
                gate.requests = self.ways.bus.waiting(ShardIndex(shard as u8));
            }
        }
    }

    fn hear_shards(&mut self, now: Instant) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let mut heard = 0;
        loop {
            let kept = &self.ways.kept;
            let has_room = |shard: ShardIndex| kept[usize::from(shard.0)].len() < KEPT_MAX;
            let Some((shard, bytes)) = self.ways.bus.next_request(&mut self.request, has_room) else { break };
            heard += 1;
            let gate = &mut self.gates[usize::from(shard.0)];
            gate.requests = gate.requests.saturating_sub(1);
            match MediaRequest::read(bytes) {
                Some(_) if self.ending => {}
                Some(request) => machine.on_request(now, shard.0.into(), &request, &mut self.ways),
                None => self.shared.add(Counter::RequestsMalformed, 1),
            }
            if heard == BATCH {
                break;
            }
        }
        heard
    }

    /// Hands the ends of calls to the machine, one by one, and acknowledges each when it has taken it.
    fn read_journals(&mut self, now: Instant) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let mut read = 0;
        for (place, journal) in self.journals.iter_mut().enumerate() {
            // What is left of another start has no requests.
            let gate = self.gates.get(place).copied().unwrap_or(Gate { ends: u64::MAX, requests: 0 });
            for _ in 0..BATCH {
                if gate.requests > 0 || journal.read() >= gate.ends {
                    break;
                }
                let Some(record) = journal.next_record() else { break };
                read += 1;
                self.shared.add(Counter::RecordsRead, 1);
                self.handling = Some(place);
                match record {
                    Ok(record) => machine.on_ended(now, &record, &mut self.ways),
                    Err(_) => self.shared.add(Counter::RecordsUnreadable, 1),
                }
                journal.acknowledge();
                self.handling = None;
            }
        }
        if read > 0 {
            // What is left of another start goes when it is read. A file that cannot be removed is found, and empty, at the next one.
            self.journals.retain(|journal| !journal.remove_if_left().unwrap_or(false));
        }
        read
    }

    /// Tries kept replies again, oldest first.
    fn offer_kept(&mut self) {
        let mut waiting = 0;
        for (shard, kept) in self.ways.kept.iter_mut().enumerate() {
            while let Some(Kept { exchange, outcome, node, sdp }) = kept.front() {
                let reply = MediaReply { exchange: *exchange, outcome: *outcome, node: *node, sdp };
                if !self.ways.bus.reply(ShardIndex(shard as u8), &reply) {
                    break;
                }
                kept.pop_front();
            }
            waiting += kept.len();
        }
        self.shared.set(Counter::RepliesWaiting, waiting as u64);
    }

    fn copy_counters(&mut self) {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        copied.clear();
        if let Some(machine) = &mut self.machine {
            machine.counters(&mut |name, value| copied.push((name, value)));
        }
    }

    /// How long there is nothing to do if nobody comes; `None`: somebody has come.
    fn rest(&self) -> Option<Duration> {
        let full = self.ways.kept.iter().any(|kept| !kept.is_empty());
        // While replies are kept requests may lie in the rings unread.
        if !self.ways.bus.may_park() && !full {
            return None;
        }
        let due = self.machine.as_ref().map_or(self.copy_at, |machine| machine.next_timeout().min(self.copy_at));
        let rest = due.since(self.clock.monotonic());
        Some(rest.min(if full { KEPT_AGAIN } else { JOURNAL_INTERVAL }))
    }

    /// Whether anybody has come; wakes the context else.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let mut heard = self.ways.sockets.poll_heard(context);
        let mut rung = [0; 8];
        heard |= Pin::new(&mut self.bell).poll_read(context, &mut ReadBuf::new(&mut rung)).is_ready();
        // What these say is taken by the turn: they are only asked to wake.
        if let Poll::Ready(Some(found)) = self.found.poll_recv(context) {
            self.on_found(self.clock.monotonic(), found);
            heard = true;
        }
        if let Poll::Ready(Some(rows)) = self.news.poll_recv(context) {
            self.on_rows(self.clock.monotonic(), rows);
            heard = true;
        }
        // A list can wait for its turn, which is never a second away; its answer is deletes.
        heard
    }

    /// Takes what the shards have left behind, at the end.
    fn read_all(&mut self, now: Instant) {
        self.ending = true;
        if self.machine.is_some() {
            // Requests that nobody has taken leave no debts.
            self.gates.fill(Gate { ends: u64::MAX, requests: 0 });
            while self.read_journals(now) > 0 {}
        }
    }
}

/// The end of the task, after that of the shards: takes what they have left behind, and stays until the deletes that are due are acknowledged;
/// no longer than [`STOP_DELETES`], and not for nodes that are given up. What is left then stays in the table for the next start.
pub(super) async fn finish<M: MediaMachine + 'static>(media: Rc<RefCell<Media<M>>>) {
    let began = media.borrow().clock.monotonic();
    let until = began.after(STOP_DELETES);
    media.borrow_mut().read_all(began);
    loop {
        let pays = {
            let media = media.borrow();
            let pays = media.machine.as_ref().is_some_and(|machine| machine.pays(until));
            pays && media.clock.monotonic() < until
        };
        if !pays {
            break;
        }
        // The task itself goes on meanwhile: it hears the nodes, and asks again.
        sleep(STOP_LOOK).await;
    }
    media.borrow_mut().copy_counters();
}

/// Runs the task, and again whenever it panics.
pub(super) async fn supervise<M: MediaMachine + 'static>(media: Rc<RefCell<Media<M>>>) {
    let mut told = false;
    loop {
        match spawn_local(run(Rc::clone(&media))).await {
            Err(failed) if failed.is_panic() => {
                let mut media = media.borrow_mut();
                media.machine = None;
                media.shared.add(Counter::Panics, 1);
            }
            Ok(Err(error)) if !told => {
                eprintln!("corelane: media control cannot start, and tries again: {error}");
                told = true;
            }
            Ok(Err(_)) => {}
            // Cancelled: the runtime ends.
            Ok(Ok(())) | Err(_) => return,
        }
        sleep(RESTART_PAUSE).await;
    }
}

async fn run<M: MediaMachine + 'static>(media: Rc<RefCell<Media<M>>>) -> io::Result<()> {
    loop {
        if media.borrow_mut().turn()? {
            // Signals and names have their turn, too.
            yield_now().await;
            continue;
        }
        let Some(rest) = media.borrow().rest() else { continue };
        let mut timer = pin!(sleep(rest));
        poll_fn(|context| {
            let heard = media.borrow_mut().poll(context);
            let due = timer.as_mut().poll(context).is_ready();
            if heard || due { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        media.borrow().ways.bus.awake();
    }
}
