//! The client: from a shard's wish to a media node's word, without waiting for anybody.
//!
//! ```text
//!   submit ─► choose a node ─► note the session ─► send ─► again after 250, 500, 1000 ms, same cookie ─► reply to the shard
//!                 ▲                                             │
//!                 └── the node is full, unreachable, given up, ─┘   first offers only; whatever else belongs to a session
//!                     or silent for its deadline                    stays on its node, and fails there
//!   ended  ─► every session of the call is due ─► delete, retried with growing pauses until a node acknowledges it
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `wish.rs`, `call.rs` | what a shard asked for, what is known of a call |
//! | `exchange.rs` | from a wish to a node and to the answer |
//! | `questions.rs` | cookies, retransmissions, deadlines, nodes that are given up |
//! | `kept.rs`, `remains.rs` | what both sides agreed on, and what of it outlives a panic |
//! | `debts.rs`, `walk.rs` | deletes that are owed, sessions that are looked for |
//!
//! What a session costs is owed to the address that its offer went to ([`super::sessions`]). An address never changes: a row that means another
//! machine now is another node here, and the one of before leaves.
//!
//! Who drives it calls [`Client::on_timeout`] when [`Client::next_timeout`] has come, and sends what it says from the socket that it names. All
//! questions of one call leave by one socket, so that a delete does not overtake its offer.
//!
//! Never trusted: replies without a cookie of this process, from another address, node or socket than was asked, late, malformed, of the wrong
//! kind, or with an SDP larger than a message. Each is counted; the question goes on.

mod call;
mod debts;
mod exchange;
mod kept;
mod questions;
mod remains;
mod walk;
mod wish;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::bus::{MediaCall, MediaOutcome, MediaReply, MediaRequest};

use corelane_core::{Instant, Now};

use self::call::Call;
use self::debts::{Owing, SWEEP_INTERVAL, pause};
use self::kept::Room;
use self::questions::{Purpose, Question};
use self::wish::Wish;
use super::bencode::Value;
use super::command::Command;
use super::counter::{Counter, Counters};
use super::id::{Origin, SessionId};
use super::node::{Act, Admin, Node, NodeConfig, NodeStatus, STATISTICS_INTERVAL};
use super::reconcile::Reconciler;
use super::reply::{self, Meaning, NoReply};
use super::sessions::{Debt, Records, Sessions};

pub use self::kept::SESSION_BYTES;
pub use self::remains::Remains;
pub use self::walk::QUERIES;

/// Questions that may wait for replies.
pub const IN_FLIGHT_MAX: usize = 16_384;
/// First and longest pause before an unacknowledged delete is tried again.
pub const DELETE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a delete waits for an offer that was still on its way when the call ended, or when the client before this one did.
const SETTLE: Duration = Duration::from_secs(1);

/// Who asks, and how.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ClientSettings {
    /// Who this is to media nodes.
    pub origin: Origin,
    /// Sockets towards each node.
    pub sockets: u8,
    /// How long one node has for a question; all nodes together have twice that for an offer.
    pub deadline: Duration,
    /// How long a session is seen on a node without a record before it is deleted.
    pub orphan_age: Duration,
    /// How old a debt grows that nobody acknowledges.
    pub debt_age: Duration,
}

/// What the client wants done.
pub trait Outputs {
    /// Sends a datagram to a node from one of its sockets.
    fn send(&mut self, node: u32, socket: u8, to: SocketAddr, bytes: &[u8]);
    /// Gives a shard its reply.
    fn reply(&mut self, shard: u16, reply: MediaReply<'_>);
}

/// The machine.
#[derive(Debug)]
pub struct Client<R> {
    settings: ClientSettings,
    nodes: Vec<Node>,
    sessions: Sessions<R>,
    reconciler: Reconciler,
    calls: HashMap<MediaCall, Call>,
    /// The call that is being dealt with, and may be half changed should that panic.
    touched: Option<MediaCall>,
    /// Room for the SDP that calls keep.
    room: Room,
    questions: HashMap<u64, Question>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    debts: BinaryHeap<Reverse<Owing>>,
    ready: HashMap<SocketAddr, VecDeque<(u8, SessionId)>>,
    /// What is in either of them, and still wanted.
    queued: HashSet<Debt>,
    /// When this client began, and the second of the wall clock at the origin of the other.
    began: Instant,
    epoch_s: u64,
    /// From when on a delete overtakes nothing that another client has sent before this one.
    settled_at: Instant,
    /// When the table is next looked at for debts that are too old, and from which place on.
    sweep_at: Instant,
    swept: u32,
    next: u64,
    counters: Counters,
}

impl<R: Records> Client<R> {
    /// A client of these nodes. What the table owes is paid from the first time-out on.
    ///
    /// Its cookies are numbered from the microseconds of `at` on: a client of the same boot before it, which a panic ended, has not asked a
    /// question each microsecond, and a node answers a cookie that it remembers with what it said then.
    pub fn new(at: Now, settings: ClientSettings, nodes: Vec<NodeConfig>, table: R) -> Client<R> {
        let now = at.monotonic;
        let epoch_s = (at.wall.0 / 1_000_000).saturating_sub(now.as_micros() / 1_000_000);
        let sessions = Sessions::open(table, settings.origin, wall_s(epoch_s, now));
        let settings = ClientSettings { sockets: settings.sockets.max(1), ..settings };
        // A table in which nothing lies is nobody's debt.
        let settled_at = if sessions.live() > 0 { now.after(SETTLE) } else { now };
        let room = Room::new((sessions.capacity() as usize).saturating_mul(SESSION_BYTES));
        let mut client = Client {
            room,
            settings,
            nodes: Vec::new(),
            sessions,
            reconciler: Reconciler::new(settings.origin, settings.orphan_age),
            calls: HashMap::new(),
            touched: None,
            questions: HashMap::new(),
            timers: BinaryHeap::new(),
            debts: BinaryHeap::new(),
            ready: HashMap::new(),
            queued: HashSet::new(),
            began: now,
            epoch_s,
            settled_at,
            sweep_at: now.after(SWEEP_INTERVAL),
            swept: 0,
            next: now.as_micros(),
            counters: Counters::default(),
        };
        client.counters.set(Counter::RecordsDamaged, client.sessions.damaged());
        let owed: Vec<Debt> = client.sessions.owed().collect();
        client.counters.set(Counter::RecordsOwed, owed.len() as u64);
        for (address, session) in owed {
            client.owe(client.settled_at, 0, address, session);
        }
        client.configure(now, nodes);
        client
    }

    /// The same, with room for that many bytes of SDP instead of [`SESSION_BYTES`] for each record of the table.
    #[must_use]
    pub fn with_room(self, bytes: usize) -> Client<R> {
        Client { room: Room::new(bytes), ..self }
    }

    /// The same, where these starts were this node's as well: sessions that they have left behind are its to end.
    #[must_use]
    pub fn with_boots(mut self, boots: &[u64]) -> Client<R> {
        self.reconciler.remember(boots.iter().copied());
        self
    }

    /// Takes another list of nodes, also a drained or enabled one. What was learned of those that stay is kept, and so are the debts of those that
    /// are gone.
    pub fn configure(&mut self, now: Instant, nodes: Vec<NodeConfig>) {
        let mut old = std::mem::take(&mut self.nodes);
        for config in nodes {
            let node = match old.iter().position(|node| node.config.id == config.id) {
                Some(place) => old.swap_remove(place).with(config),
                None => Node::new(now, config),
            };
            self.nodes.push(node);
        }
        let nodes = &self.nodes;
        self.reconciler.retain(|address| nodes.iter().any(|node| node.config.address == address));
    }

    /// Sessions on media nodes that carry this node's id and are another's.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.reconciler.foreign()
    }

    /// Does what a shard asks. The reply comes now or later; exactly one for each request.
    pub fn submit(&mut self, now: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs) {
        self.counters.count(Counter::Requests);
        self.touched = Some(request.call);
        let wish = Wish::new(shard, request, now.after(2 * self.settings.deadline));
        match self.calls.get_mut(&request.call) {
            Some(call) if call.waiting.is_some() => call.next.push_back(wish),
            _ => self.go_on(now, wish, out),
        }
    }

    /// A call has ended: nothing more is asked for it, and all that nodes have of it is owed.
    pub fn ended(&mut self, now: Instant, call: MediaCall, out: &mut impl Outputs) {
        self.touched = Some(call);
        let session = SessionId { origin: self.settings.origin, call };
        // In the table before anything else, and from the table alone: another client of this boot may have made the session.
        let addresses = self.sessions.due(session, self.wall_s(now));
        let mut at = now.max(self.settled_at);
        if let Some(call) = self.calls.remove(&call) {
            let question = call.waiting.and_then(|number| self.drop_question(number));
            let asked = question.and_then(|question| match question.purpose {
                Purpose::Media(wish) => Some(wish),
                _ => None,
            });
            if asked.is_some() || call.given_up.is_some_and(|at| now.since(at) < SETTLE) {
                at = now.after(SETTLE);
            }
            for wish in asked.into_iter().chain(call.next) {
                self.answer(&wish, MediaOutcome::Failed, 0, &[], out);
            }
        }
        for address in addresses {
            self.owe(at, 0, address, session);
        }
        self.pay(now, out);
    }

    /// A node's list of all its sessions, as it came: what is ours there and known to nobody is owed a delete. A node without a list is asked
    /// for some of those that the table has.
    pub fn on_list(&mut self, now: Instant, node: u32, list: Option<&[u8]>, out: &mut impl Outputs) {
        self.touched = None;
        let Some(Ok(Meaning::List(ids))) = list.map(reply::parse) else {
            self.counters.count(Counter::ListsMissed);
            return self.walk(now, node, out);
        };
        let Some(place) = self.place(node) else { return };
        self.counters.count(Counter::Lists);
        self.nodes[place].unlisted = false;
        let address = self.nodes[place].config.address;
        let ids = ids.iter().filter_map(Value::text);
        for orphan in self.reconciler.on_list(now, address, ids, &self.sessions) {
            self.delete_orphan(now, address, orphan);
        }
        self.pay(now, out);
    }

    /// A datagram came in.
    pub fn on_datagram(&mut self, now: Instant, socket: u8, from: SocketAddr, bytes: &[u8], out: &mut impl Outputs) {
        self.touched = None;
        let (number, body) = match reply::cookie(bytes, self.settings.origin) {
            Ok(found) => found,
            Err(_) => return self.counters.count(Counter::RepliesForeign),
        };
        let Some(question) = self.questions.get(&number) else {
            return self.counters.count(if number < self.next {
                Counter::RepliesLate
            } else {
                Counter::RepliesForeign
            });
        };
        let (id, address, sent, tries) = (question.node, question.address, question.sent, question.tries);
        let Some(place) = self.place(id) else { return self.counters.count(Counter::RepliesMisplaced) };
        if address != from || question.socket != socket {
            return self.counters.count(Counter::RepliesMisplaced);
        }
        let meaning = match reply::parse(body) {
            Ok(meaning) => meaning,
            Err(NoReply::Foreign | NoReply::Malformed(_) | NoReply::NoResult) => {
                return self.counters.count(Counter::RepliesMalformed);
            }
        };
        let Some(question) = self.drop_question(number) else { return };
        if tries == 1 {
            self.nodes[place].measure(now.since(sent));
        }
        let exchange = matches!(question.purpose, Purpose::Media(_));
        if self.nodes[place].on_reply(now, exchange) == Act::TakeBack {
            self.counters.count(Counter::BreakersClosed);
            // Who was full before may be empty now.
            self.nodes[place].statistics_at = now;
        }
        match question.purpose {
            Purpose::Media(wish) => self.on_media(now, wish, (id, address), meaning, out),
            Purpose::Delete(session, tries) => match meaning {
                Meaning::Done { unknown: false } => {
                    self.counters.count(Counter::DeletesPaid);
                    self.sessions.take(address, session);
                }
                Meaning::Done { unknown: true } | Meaning::Unknown => {
                    self.counters.count(Counter::DeletesUnknown);
                    self.sessions.take(address, session);
                }
                _ => self.owe_again(now.after(pause(tries)), tries, address, session),
            },
            Purpose::Query(session) => self.on_query(number, address, session, meaning),
            Purpose::Statistics => {
                if let Meaning::Statistics(sessions) = meaning {
                    self.nodes[place].reported = sessions;
                }
            }
            Purpose::Ping => {}
        }
        self.pay(now, out);
    }

    /// The kernel says that nobody listens at a node's address: the node is asked whether that is so.
    pub fn on_unreachable(&mut self, now: Instant, node: u32, out: &mut impl Outputs) {
        let Some(place) = self.place(node) else { return };
        self.counters.count(Counter::Unreachable);
        if self.nodes[place].on_unreachable(now) == Act::Probe {
            self.send_command(now, Purpose::Ping, (place, 0), &Command::Ping, out);
        }
    }

    /// When [`Client::on_timeout`] is wanted next.
    #[must_use]
    pub fn next_timeout(&self) -> Instant {
        let timer = self.timers.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at);
        let debt = self.debts.peek().map_or(Instant::NEVER, |Reverse((at, ..))| *at);
        let of_node = |node: &Node| node.ping_at.min(node.statistics_at).min(node.suspected_until);
        self.nodes.iter().map(of_node).fold(timer.min(debt).min(self.sweep_at), Instant::min)
    }

    /// Does what is due: retransmissions, deadlines, pings, debts.
    pub fn on_timeout(&mut self, now: Instant, out: &mut impl Outputs) {
        self.touched = None;
        while let Some(Reverse((at, number))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.timers.pop();
            if self.questions.get(&number).is_some_and(|question| question.due == at) {
                self.on_silence(now, number, out);
            }
        }
        for place in 0..self.nodes.len() {
            if self.nodes[place].on_suspicion_due(now) == Act::GiveUp {
                self.give_up(now, self.nodes[place].config.id, true, out);
            }
            if self.nodes[place].ping_at <= now && self.nodes[place].on_ping_due(now) {
                self.send_command(now, Purpose::Ping, (place, 0), &Command::Ping, out);
            }
            if self.nodes[place].statistics_at <= now {
                self.nodes[place].statistics_at = now.after(STATISTICS_INTERVAL);
                if self.nodes[place].is_reachable() {
                    self.send_command(now, Purpose::Statistics, (place, 0), &Command::Statistics, out);
                }
            }
        }
        if self.sweep_at <= now {
            self.sweep(now);
        }
        self.pay(now, out);
    }

    /// The counters; gauges are as of now.
    pub fn counters(&mut self) -> &Counters {
        let usable = self.nodes.iter().filter(|node| node.takes_calls(self.sessions.at(node.config.address)));
        let (nodes, capacity) =
            usable.fold((0, 0), |(nodes, capacity), node| (nodes + 1, capacity + u64::from(node.config.max_sessions)));
        self.counters.set(Counter::NodesUsable, nodes);
        self.counters.set(Counter::Capacity, capacity);
        let unlisted = self.nodes.iter().filter(|node| node.unlisted).count();
        self.counters.set(Counter::NodesUnlisted, unlisted as u64);
        let (mut held, mut due, mut stranded) = (0, 0, 0);
        for (address, count) in self.sessions.counts() {
            held += u64::from(count.held);
            due += u64::from(count.due);
            let stays = |node: &Node| node.config.address == address && node.config.admin != Admin::Leaving;
            if !self.nodes.iter().any(stays) {
                stranded += u64::from(count.due);
            }
        }
        self.counters.set(Counter::SessionsHeld, held);
        self.counters.set(Counter::SessionsDue, due);
        let tally = self.sessions.tally();
        self.counters.set(Counter::SessionsAcquired, tally.acquired);
        self.counters.set(Counter::SessionsReleased, tally.released);
        self.counters.set(Counter::SessionsStranded, stranded);
        self.counters.set(Counter::SessionsForeign, self.reconciler.foreign());
        self.counters.set(Counter::SdpKept, self.room.used() as u64);
        self.counters.set(Counter::InFlight, self.questions.len() as u64);
        &self.counters
    }

    /// The nodes as an operator is shown them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeStatus> {
        self.nodes.iter().map(|node| node.status(self.sessions.at(node.config.address)))
    }

    /// The table.
    pub fn sessions(&self) -> &Sessions<R> {
        &self.sessions
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.config.id == id)
    }

    /// This second of the wall clock, as its client was told it.
    fn wall_s(&self, now: Instant) -> u32 {
        wall_s(self.epoch_s, now)
    }

    /// All questions of one call leave by one socket.
    fn socket_of(&self, call: MediaCall) -> u8 {
        (call.call_hash % u64::from(self.settings.sockets)) as u8
    }
}

fn wall_s(epoch_s: u64, now: Instant) -> u32 {
    u32::try_from(epoch_s.saturating_add(now.as_micros() / 1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
