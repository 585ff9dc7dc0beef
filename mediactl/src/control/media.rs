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
//! when nothing is left. How the ends of calls are read says `ends.rs`, what becomes of what the machine wants done `ways.rs`, and who runs the task, over
//! its panics and to its end, `supervise.rs`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use corelane_core::bus::{MEDIA_REQUEST_MAX, MediaRequest};
use corelane_core::{Instant, Now};
use corelane_shard::clock::Clock;
use corelane_shard::{ControlBus, JournalReader};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::counter::{Counter, Shared};
use super::ends::Ends;
use super::machine::{MediaMachine, MediaNode};
use super::nodes::Nodes;
use super::sockets::{Heard, REPLY_MAX};
use super::teller::Teller;
use super::ways::Ways;
use super::{lists, names};
use crate::rtpengine::node::NodeConfig;

/// What one turn takes from each side.
const BATCH: usize = 256;
/// How soon a kept reply is tried again: nobody says when a shard has read.
const KEPT_AGAIN: Duration = Duration::from_millis(1);
/// The longest wait: no shard rings for the end of a call, which on both sides would cost more than the call's last messages. A session at a
/// media node may be deleted that much later.
const JOURNAL_INTERVAL: Duration = Duration::from_millis(50);
/// How often counters are copied out.
const COPY_INTERVAL: Duration = Duration::from_secs(1);
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
    pub make: Box<dyn FnMut(Now) -> io::Result<M> + Send>,
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

/// The task's state: all that a panic leaves as it is.
pub(super) struct Media<M: MediaMachine> {
    ends: Ends,
    count: u8,
    make: Box<dyn FnMut(Now) -> io::Result<M> + Send>,
    pub(super) machine: Option<M>,
    /// The machine that a panic has ended, and what of it the next one goes on with.
    ended: Option<M>,
    remains: Option<M::Remains>,
    nodes: Nodes,
    pub(super) ways: Ways,
    bell: pipe::Receiver,
    pub(super) clock: Clock,
    buffer: Box<[u8]>,
    request: Box<[u8]>,
    found: mpsc::Receiver<names::Found>,
    listed: mpsc::Receiver<lists::Listed>,
    news: mpsc::Receiver<Vec<MediaNode>>,
    shared: Arc<Shared>,
    pub(super) teller: Teller,
    copied: Arc<Mutex<Vec<(&'static str, u64)>>>,
    copy_at: Instant,
    /// The socket heard next, so that a busy one cannot starve the others.
    next_socket: usize,
    /// A node has an address and no sockets.
    unconnected: bool,
    /// The shards have gone: what lies in their rings is asked for nobody.
    ending: bool,
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
    pub(super) fn new(
        parts: MediaParts<M>,
        orders: MediaOrders,
        shared: Arc<Shared>,
        teller: Teller,
    ) -> io::Result<Media<M>> {
        let (found_in, found) = mpsc::channel(NEWS_MAX);
        let MediaParts { bus, journals, nodes, sockets: count, reconcile_interval, make } = parts;
        let (listed_in, listed) = mpsc::channel(LISTS_MAX);
        let rows = nodes;
        let mut nodes = Nodes::new(reconcile_interval, teller.clone(), found_in, listed_in);
        nodes.take(rows);
        // An eventfd is no pipe, but is read like one: eight bytes, or "not yet".
        let bell = pipe::Receiver::from_owned_fd_unchecked(bus.bell()?)?;
        Ok(Media {
            ends: Ends::new(journals, bus.shards()),
            count,
            make,
            machine: None,
            ended: None,
            remains: None,
            nodes,
            ways: Ways::new(bus, Arc::clone(&shared)),
            bell,
            clock: Clock::start(),
            buffer: vec![0; REPLY_MAX].into(),
            request: vec![0; MEDIA_REQUEST_MAX].into(),
            found,
            listed,
            news: orders.news,
            shared,
            teller,
            copied: orders.counters,
            copy_at: Instant::ZERO,
            next_socket: 0,
            unconnected: false,
            ending: false,
        })
    }

    /// Makes the machine and tells it of the nodes.
    fn begin(&mut self) -> io::Result<()> {
        self.ends.pass_over();
        // Whatever of this panics in its turn is not tried again.
        if let Some(mut ended) = self.ended.take() {
            self.remains = Some(ended.remains());
        }
        let now = self.clock.now();
        let mut machine = (self.make)(now)?;
        if let Some(remains) = self.remains.take() {
            machine.take_up(remains);
        }
        // Those of an earlier start that no row means any more.
        self.nodes.adopt(&machine.holds());
        self.machine = Some(machine);
        self.configure(now.monotonic);
        Ok(())
    }

    /// A panic has ended the machine.
    pub(super) fn on_panic(&mut self) {
        self.ended = self.machine.take();
        self.shared.add(Counter::Panics, 1);
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
        for NodeConfig { id, address, .. } in self.nodes.configs() {
            if let Err(error) = self.ways.sockets.open(id, address, usize::from(self.count)) {
                self.unconnected = true;
                if !told {
                    self.teller.tell(format!("media node at {address}: no socket towards it: {error}"));
                }
            }
        }
    }

    /// One turn; says whether there was anything to do.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        if self.machine.is_none() {
            self.begin()?;
        }
        let now = self.clock.monotonic();
        let mut done = self.hear_news(now) + self.hear_nodes(now);
        self.ends.open_gates(&self.ways.bus);
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
        self.ways.offer_kept();
        self.ways.bus.wake();
        if done > 0 {
            self.shared.add(Counter::Turns, 1);
        }
        if now >= self.copy_at {
            self.forget_nodes(now);
            self.tell(now);
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
        let gone = self.nodes.forget(&machine.holds());
        gone.iter().for_each(|node| self.ways.sockets.close(*node));
        if !gone.is_empty() {
            self.configure(now);
        }
    }

    fn tell(&mut self, now: Instant) {
        let Some(machine) = &self.machine else { return };
        let foreign = self.nodes.tell_foreign(now, machine.foreign());
        let silent = self.nodes.tell(now, |node| machine.answers(node));
        silent.into_iter().chain(foreign).for_each(|line| self.teller.tell(line));
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

    fn hear_shards(&mut self, now: Instant) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let mut heard = 0;
        while let Some((shard, bytes)) = self.ways.next_request(&mut self.request) {
            heard += 1;
            self.ends.taken(shard);
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

    /// Hands the ends of calls to the machine.
    fn read_journals(&mut self, now: Instant) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let (ends, ways) = (&mut self.ends, &mut self.ways);
        ends.read(BATCH, &self.shared, |record| machine.on_ended(now, record, ways))
    }

    pub(super) fn copy_counters(&mut self) {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        copied.clear();
        if let Some(machine) = &mut self.machine {
            machine.counters(&mut |name, value| copied.push((name, value)));
        }
    }

    /// How long there is nothing to do if nobody comes; `None`: somebody has come.
    pub(super) fn rest(&self) -> Option<Duration> {
        let full = self.ways.any_kept();
        // While replies are kept requests may lie in the rings unread.
        if !self.ways.bus.may_park() && !full {
            return None;
        }
        let due = self.machine.as_ref().map_or(self.copy_at, |machine| machine.next_timeout().min(self.copy_at));
        let rest = due.since(self.clock.monotonic());
        Some(rest.min(if full { KEPT_AGAIN } else { JOURNAL_INTERVAL }))
    }

    /// Whether anybody has come; wakes the context else.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> bool {
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
    pub(super) fn read_all(&mut self, now: Instant) {
        self.ending = true;
        if self.machine.is_some() {
            self.ends.open_all();
            while self.read_journals(now) > 0 {}
        }
    }
}
