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
//! | `debts.rs`, `walk.rs` | deletes that are owed, sessions that are looked for |
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
mod walk;
mod wish;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;
use corelane_core::bus::{MediaCall, MediaOutcome, MediaReply, MediaRequest};

use self::call::Call;
use self::debts::{Owing, pause};
use self::kept::Room;
use self::questions::{Purpose, Question};
use self::wish::Wish;
use super::bencode::Value;
use super::command::Command;
use super::counter::{Counter, Counters};
use super::id::{Origin, SessionId};
use super::node::{Act, Node, NodeConfig, NodeStatus, STATISTICS_INTERVAL};
use super::reconcile::Reconciler;
use super::reply::{self, Meaning, NoReply};
use super::sessions::{Debt, Records, Sessions};

pub use self::kept::SESSION_BYTES;
pub use self::walk::QUERIES;

/// Questions that may wait for replies.
pub const IN_FLIGHT_MAX: usize = 16_384;
/// First and longest pause before an unacknowledged delete is tried again.
pub const DELETE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a delete waits for an offer that was still on its way when the call ended.
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
    /// Room for the SDP that calls keep.
    room: Room,
    questions: HashMap<u64, Question>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    debts: BinaryHeap<Reverse<Owing>>,
    ready: HashMap<u32, VecDeque<(u8, SessionId)>>,
    queued: HashSet<Debt>,
    next: u64,
    counters: Counters,
}

impl<R: Records> Client<R> {
    /// A client of these nodes. What the table owes is paid from the first time-out on.
    ///
    /// Its cookies are numbered from the microseconds of `now` on: a client of the same boot before it, which a panic ended, has not asked a
    /// question each microsecond, and a node answers a cookie that it remembers with what it said then.
    pub fn new(now: Instant, settings: ClientSettings, nodes: Vec<NodeConfig>, table: R) -> Client<R> {
        let sessions = Sessions::open(table, settings.origin);
        let settings = ClientSettings { sockets: settings.sockets.max(1), ..settings };
        let room = Room::new((sessions.capacity() as usize).saturating_mul(SESSION_BYTES));
        let mut client = Client {
            room,
            settings,
            nodes: Vec::new(),
            sessions,
            reconciler: Reconciler::new(settings.orphan_age),
            calls: HashMap::new(),
            questions: HashMap::new(),
            timers: BinaryHeap::new(),
            debts: BinaryHeap::new(),
            ready: HashMap::new(),
            queued: HashSet::new(),
            next: now.as_micros(),
            counters: Counters::default(),
        };
        client.counters.set(Counter::RecordsDamaged, client.sessions.damaged());
        let owed: Vec<Debt> = client.sessions.owed().collect();
        client.counters.set(Counter::RecordsOwed, owed.len() as u64);
        for (node, session) in owed {
            client.owe(now, 0, node, session);
        }
        client.configure(now, nodes);
        client
    }

    /// The same, with room for that many bytes of SDP instead of [`SESSION_BYTES`] for each record of the table.
    #[must_use]
    pub fn with_room(self, bytes: usize) -> Client<R> {
        Client { room: Room::new(bytes), ..self }
    }

    /// Takes another list of nodes, also a drained or enabled one. Debts of nodes that are gone stay.
    pub fn configure(&mut self, now: Instant, nodes: Vec<NodeConfig>) {
        let mut old = std::mem::take(&mut self.nodes);
        for config in nodes {
            let node = match old.iter().position(|node| node.config.id == config.id) {
                Some(place) => {
                    let mut node = old.swap_remove(place);
                    node.configure(now, config);
                    node
                }
                None => Node::new(now, config),
            };
            self.nodes.push(node);
        }
    }

    /// Does what a shard asks. The reply comes now or later; exactly one for each request.
    pub fn submit(&mut self, now: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs) {
        self.counters.count(Counter::Requests);
        let wish = Wish::new(shard, request, now.after(2 * self.settings.deadline));
        match self.calls.get_mut(&request.call) {
            Some(call) if call.waiting.is_some() => call.next.push_back(wish),
            _ => self.go_on(now, wish, out),
        }
    }

    /// A call has ended: nothing more is asked for it, and all that nodes have of it is owed.
    pub fn ended(&mut self, now: Instant, call: MediaCall, out: &mut impl Outputs) {
        let session = SessionId { origin: self.settings.origin, call };
        // In the table before anything else, and from the table alone: another client of this boot may have made the session.
        let nodes = self.sessions.due(session);
        let mut at = now;
        if let Some(call) = self.calls.remove(&call) {
            let question = call.waiting.and_then(|number| self.drop_question(number));
            let asked = question.and_then(|question| match question.purpose {
                Purpose::Media(wish) => Some(wish),
                _ => None,
            });
            if asked.is_some() {
                at = now.after(SETTLE);
            }
            for wish in asked.into_iter().chain(call.next) {
                self.answer(&wish, MediaOutcome::Failed, 0, &[], out);
            }
        }
        for node in nodes {
            self.owe(at, 0, node, session);
        }
        self.pay(now, out);
    }

    /// A node's list of all its sessions, as it came: what is ours there and known to nobody is owed a delete. A node without a list is asked
    /// for some of those that the table has.
    pub fn on_list(&mut self, now: Instant, node: u32, list: Option<&[u8]>, out: &mut impl Outputs) {
        let Some(Ok(Meaning::List(ids))) = list.map(reply::parse) else {
            self.counters.count(Counter::ListsMissed);
            return self.walk(now, node, out);
        };
        self.counters.count(Counter::Lists);
        if let Some(place) = self.place(node) {
            self.nodes[place].unlisted = false;
        }
        let ids = ids.iter().filter_map(Value::text);
        for orphan in self.reconciler.on_list(now, self.settings.origin.node, node, ids, &self.sessions) {
            self.delete_orphan(now, node, orphan);
        }
        self.pay(now, out);
    }

    /// A datagram came in.
    pub fn on_datagram(&mut self, now: Instant, socket: u8, from: SocketAddr, bytes: &[u8], out: &mut impl Outputs) {
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
        let (id, sent, tries) = (question.node, question.sent, question.tries);
        let Some(place) = self.place(id) else { return self.counters.count(Counter::RepliesMisplaced) };
        if self.nodes[place].config.address != Some(from) || question.socket != socket {
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
            Purpose::Media(wish) => self.on_media(now, wish, id, meaning, out),
            Purpose::Delete(session, tries) => match meaning {
                Meaning::Done { unknown: false } => {
                    self.counters.count(Counter::DeletesPaid);
                    self.sessions.take(id, session);
                }
                Meaning::Done { unknown: true } | Meaning::Unknown => {
                    self.counters.count(Counter::DeletesUnknown);
                    self.sessions.take(id, session);
                }
                _ => {
                    self.counters.count(Counter::DeletesRetried);
                    self.owe(now.after(pause(tries)), tries.saturating_add(1), id, session);
                }
            },
            Purpose::Query(session) => self.on_query(number, id, session, meaning),
            Purpose::Statistics => {
                if let Meaning::Statistics(sessions) = meaning {
                    self.nodes[place].reported = sessions;
                }
            }
            Purpose::Ping => {}
        }
        self.pay(now, out);
    }

    /// The kernel says that nobody listens at a node's address.
    pub fn on_unreachable(&mut self, now: Instant, node: u32, out: &mut impl Outputs) {
        let Some(place) = self.place(node) else { return };
        self.counters.count(Counter::Unreachable);
        if self.nodes[place].on_unreachable(now) == Act::GiveUp {
            self.give_up(now, node, true, out);
        }
    }

    /// When [`Client::on_timeout`] is wanted next.
    #[must_use]
    pub fn next_timeout(&self) -> Instant {
        let timer = self.timers.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at);
        let debt = self.debts.peek().map_or(Instant::NEVER, |Reverse((at, ..))| *at);
        self.nodes.iter().map(|node| node.ping_at.min(node.statistics_at)).fold(timer.min(debt), Instant::min)
    }

    /// Does what is due: retransmissions, deadlines, pings, debts.
    pub fn on_timeout(&mut self, now: Instant, out: &mut impl Outputs) {
        while let Some(Reverse((at, number))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.timers.pop();
            if self.questions.get(&number).is_some_and(|question| question.due == at) {
                self.on_silence(now, number, out);
            }
        }
        for place in 0..self.nodes.len() {
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
        self.pay(now, out);
    }

    /// The counters; gauges are as of now.
    pub fn counters(&mut self) -> &Counters {
        let usable = self.nodes.iter().filter(|node| node.takes_calls(self.sessions.of_node(node.config.id)));
        let (nodes, capacity) =
            usable.fold((0, 0), |(nodes, capacity), node| (nodes + 1, capacity + u64::from(node.config.max_sessions)));
        self.counters.set(Counter::NodesUsable, nodes);
        self.counters.set(Counter::Capacity, capacity);
        let unlisted = self.nodes.iter().filter(|node| node.unlisted).count();
        self.counters.set(Counter::NodesUnlisted, unlisted as u64);
        let (mut held, mut due, mut stranded) = (0, 0, 0);
        for (node, count) in self.sessions.counts() {
            held += u64::from(count.held);
            due += u64::from(count.due);
            if self.place(node).is_none() {
                stranded += u64::from(count.due);
            }
        }
        self.counters.set(Counter::SessionsHeld, held);
        self.counters.set(Counter::SessionsDue, due);
        self.counters.set(Counter::SessionsStranded, stranded);
        self.counters.set(Counter::SdpKept, self.room.used() as u64);
        self.counters.set(Counter::InFlight, self.questions.len() as u64);
        &self.counters
    }

    /// The nodes as an operator is shown them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeStatus> {
        self.nodes.iter().map(|node| node.status(self.sessions.of_node(node.config.id)))
    }

    /// The table.
    pub fn sessions(&self) -> &Sessions<R> {
        &self.sessions
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.config.id == id)
    }

    /// All questions of one call leave by one socket.
    fn socket_of(&self, call: MediaCall) -> u8 {
        (call.call_hash % u64::from(self.settings.sockets)) as u8
    }
}

#[cfg(test)]
mod tests;
