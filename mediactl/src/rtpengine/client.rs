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
//! Who drives it calls [`Client::on_timeout`] when [`Client::next_timeout`] has come, and sends what it says from the socket that it names. All
//! questions of one call leave by one socket, so that a delete does not overtake its offer.
//!
//! Never trusted: replies without a cookie of this process, from another address, node or socket than was asked, late, malformed, of the wrong
//! kind, or with an SDP larger than a message. Each is counted; the question goes on.

mod call;
mod debts;
mod kept;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;
use corelane_core::bus::{ExchangeId, MediaCall, MediaOutcome, MediaReply, MediaRequest, Verb};
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::message::Writer;

use self::call::Call;
use self::debts::{Owing, pause};
pub use self::kept::SESSION_BYTES;
use self::kept::{Kept, Room};
use super::bencode::Value;
use super::command::{Command, Exchanged};
use super::counter::{Counter, Counters};
use super::id::{Cookie, Origin, SessionId};
use super::node::{Act, DELETES_WINDOW, Node, NodeConfig, NodeStatus, PATIENCE, STATISTICS_INTERVAL, WINDOW};
use super::reconcile::Reconciler;
use super::reply::{self, Meaning, NoReply};
use super::select::select;
use super::sessions::{Debt, Records, Sessions};

/// How long one node has for a question.
pub const NODE_DEADLINE: Duration = Duration::from_secs(2);
/// Questions that may wait for replies.
pub const IN_FLIGHT_MAX: usize = 16_384;
/// First and longest pause before an unacknowledged delete is tried again.
pub const DELETE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a delete waits for an offer that was still on its way when the call ended.
const SETTLE: Duration = Duration::from_secs(1);

/// What the client wants done.
pub trait Outputs {
    /// Sends a datagram to a node from one of its sockets.
    fn send(&mut self, node: u32, socket: u8, to: SocketAddr, bytes: &[u8]);
    /// Gives a shard its reply.
    fn reply(&mut self, shard: u16, reply: MediaReply<'_>);
}

/// What a question is for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Purpose {
    /// A shard's wish, as it came.
    Media(Wish),
    /// What is owed, and how often it was asked for in vain.
    Delete(SessionId, u8),
    Ping,
    Statistics,
}

/// A shard's wish: the request in its own encoding.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wish {
    shard: u16,
    request: Vec<u8>,
    /// Until when any node may do it.
    deadline: Instant,
    /// Nodes that were tried.
    tried: Vec<u32>,
    /// Which half of a `Restore` is under way.
    restore: Option<Half>,
    /// This question put the record of its session.
    fresh: bool,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Half {
    Offer,
    Answer,
}

#[derive(Debug)]
struct Question {
    purpose: Purpose,
    node: u32,
    socket: u8,
    bytes: Vec<u8>,
    sent: Instant,
    tries: u8,
    due: Instant,
    deadline: Instant,
}

/// The machine.
#[derive(Debug)]
pub struct Client<R> {
    origin: Origin,
    sockets: u8,
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
    /// How long one node has for a question.
    deadline: Duration,
}

impl<R: Records> Client<R> {
    /// A client that asks each node from `sockets` sockets. What the table owes is paid from the first time-out on.
    pub fn new(now: Instant, origin: Origin, sockets: u8, nodes: Vec<NodeConfig>, table: R) -> Client<R> {
        let sessions = Sessions::open(table, origin);
        let room = Room::new(sessions.capacity().saturating_mul(SESSION_BYTES));
        let mut client = Client {
            room,
            origin,
            sockets: sockets.max(1),
            nodes: Vec::new(),
            sessions,
            reconciler: Reconciler::default(),
            calls: HashMap::new(),
            questions: HashMap::new(),
            timers: BinaryHeap::new(),
            debts: BinaryHeap::new(),
            ready: HashMap::new(),
            queued: HashSet::new(),
            next: 1,
            counters: Counters::default(),
            deadline: NODE_DEADLINE,
        };
        client.counters.set(Counter::RecordsDamaged, client.sessions.damaged());
        let owed = client.sessions.owed().count() as u64;
        client.counters.set(Counter::RecordsOwed, owed);
        client.configure(now, nodes);
        client
    }

    /// The same, with another deadline than [`NODE_DEADLINE`] for each node; all nodes together have twice that for an offer.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Client<R> {
        Client { deadline, ..self }
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
        let owed: Vec<Debt> = self.sessions.owed().collect();
        for (node, session) in owed {
            self.owe(now, 0, node, session);
        }
    }

    /// Does what a shard asks. The reply comes now or later; exactly one for each request.
    pub fn submit(&mut self, now: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs) {
        self.counters.count(Counter::Requests);
        let texts = request.from_tag.len() + request.to_tag.len() + request.flags.len() + request.sdp.len();
        let mut bytes = vec![0; 64 + texts];
        let mut writer = Writer::new(&mut bytes);
        request.write(&mut writer);
        let length = writer.finish().map_or(0, <[u8]>::len);
        bytes.truncate(length);
        let wish = Wish {
            shard,
            request: bytes,
            deadline: now.after(2 * self.deadline),
            tried: Vec::new(),
            restore: (request.verb == Verb::Restore).then_some(Half::Offer),
            fresh: false,
        };
        self.ask(now, wish, out);
    }

    /// A call has ended: nothing more is asked for it, and all that nodes have of it is owed.
    pub fn ended(&mut self, now: Instant, call: MediaCall, out: &mut impl Outputs) {
        let Some(state) = self.calls.remove(&call) else { return };
        let mut at = now;
        for number in state.waiting {
            let Some(question) = self.drop_question(number) else { continue };
            at = now.after(SETTLE);
            if let Purpose::Media(wish) = question.purpose {
                self.answer(&wish, MediaOutcome::Failed, 0, &[], out);
            }
        }
        let session = SessionId { origin: self.origin, call };
        for node in state.nodes {
            if self.sessions.due(node, session) {
                self.owe(at, 0, node, session);
            }
        }
        self.pay(now, out);
    }

    /// A node's list of all its sessions, as it came: what is ours there and known to nobody is owed a delete.
    pub fn on_list(&mut self, now: Instant, node: u32, list: Option<&[u8]>, out: &mut impl Outputs) {
        let Some(Ok(Meaning::List(ids))) = list.map(reply::parse) else {
            return self.counters.count(Counter::ListsMissed);
        };
        self.counters.count(Counter::Lists);
        let ids = ids.iter().filter_map(Value::text);
        for orphan in self.reconciler.on_list(now, self.origin.node, node, ids, &self.sessions) {
            self.delete_orphan(now, node, orphan);
        }
        self.pay(now, out);
    }

    /// A datagram came in.
    pub fn on_datagram(&mut self, now: Instant, socket: u8, from: SocketAddr, bytes: &[u8], out: &mut impl Outputs) {
        let (number, body) = match reply::cookie(bytes, self.origin) {
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
        if self.nodes[place].on_reply(now) == Act::TakeBack {
            self.counters.count(Counter::BreakersClosed);
        }
        match question.purpose {
            Purpose::Media(wish) => self.on_media(now, wish, id, meaning, out),
            Purpose::Delete(session, tries) => match meaning {
                Meaning::Done { unknown } => {
                    self.counters.count(if unknown { Counter::DeletesUnknown } else { Counter::DeletesPaid });
                    self.sessions.take(id, session);
                }
                _ => {
                    self.counters.count(Counter::DeletesRetried);
                    self.owe(now.after(pause(tries)), tries.saturating_add(1), id, session);
                }
            },
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
            let id = self.nodes[place].config.id;
            if self.nodes[place].ping_at <= now && self.nodes[place].on_ping_due(now) {
                self.send_new(now, Purpose::Ping, id, 0, &Command::Ping, out);
            }
            if self.nodes[place].statistics_at <= now {
                self.nodes[place].statistics_at = now.after(STATISTICS_INTERVAL);
                if self.nodes[place].is_reachable() {
                    self.send_new(now, Purpose::Statistics, id, 0, &Command::Statistics, out);
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
        let (mut due, mut stranded) = (0, 0);
        for (node, _) in self.sessions.owed() {
            due += 1;
            stranded += u64::from(self.nodes.iter().all(|known| known.config.id != node));
        }
        self.counters.set(Counter::SessionsDue, due);
        self.counters.set(Counter::SessionsStranded, stranded);
        self.counters.set(Counter::SessionsHeld, self.sessions.live() as u64 - due);
        self.counters.set(Counter::SdpKept, self.room.used() as u64);
        self.counters.set(Counter::InFlight, self.questions.len() as u64);
        &self.counters
    }

    /// The nodes as an operator is shown them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeStatus> {
        self.nodes.iter().map(|node| node.status(self.sessions.of_node(node.config.id)))
    }

    /// The table, for the reconciler.
    pub fn sessions(&self) -> &Sessions<R> {
        &self.sessions
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.config.id == id)
    }

    /// Finds a node for a wish and asks it, or says that there is none.
    fn ask(&mut self, now: Instant, mut wish: Wish, out: &mut impl Outputs) {
        let bytes = std::mem::take(&mut wish.request);
        let Some(request) = MediaRequest::read(&bytes) else { return };
        let session = SessionId { origin: self.origin, call: request.call };
        let movable = may_move(&request);
        let full = self.questions.len() >= IN_FLIGHT_MAX;
        if full {
            self.counters.count(Counter::InFlightFull);
        }
        let node = if full || now >= wish.deadline {
            None
        } else if movable {
            self.choose(&request, &wish.tried)
        } else {
            Some(request.node).filter(|id| !wish.tried.contains(id) && self.place(*id).is_some())
        };
        let none = if movable { MediaOutcome::NoNode } else { MediaOutcome::Failed };
        let Some(node) = node else { return self.answer_to(wish.shard, request.exchange, none, 0, &[], out) };
        if request.verb == Verb::Offer {
            match self.sessions.put(node, session) {
                Ok(fresh) => wish.fresh = fresh,
                Err(_) => {
                    self.counters.count(Counter::RecordsFull);
                    return self.answer_to(wish.shard, request.exchange, none, 0, &[], out);
                }
            }
            let call = self.calls.entry(request.call).or_default();
            if !call.nodes.contains(&node) {
                call.nodes.push(node);
            }
        }
        let kept;
        let (command, socket) = {
            let socket = (request.call.call_hash % u64::from(self.sockets)) as u8;
            let source = match wish.restore {
                None => request,
                Some(half) => {
                    let agreed = self.calls.get(&request.call).and_then(|call| call.agreed_by(&request));
                    let Some((offer, answer)) = agreed else {
                        return self.answer_to(wish.shard, request.exchange, MediaOutcome::Failed, node, &[], out);
                    };
                    kept = if half == Half::Offer { offer.clone() } else { answer.clone() };
                    match MediaRequest::read(&kept) {
                        Some(read) => read,
                        None => return,
                    }
                }
            };
            let exchanged = Exchanged {
                session,
                from_tag: source.from_tag,
                to_tag: source.to_tag,
                attempt: source.attempt,
                flags: source.flags,
                sdp: source.sdp,
            };
            let command = match source.verb {
                Verb::Offer => Command::Offer(exchanged),
                Verb::DeleteBranch => {
                    Command::DeleteBranch { session, from_tag: source.from_tag, to_tag: source.to_tag }
                }
                Verb::Answer | Verb::Restore => Command::Answer(exchanged),
            };
            (command, socket)
        };
        let call = request.call;
        wish.tried.push(node);
        wish.request = bytes.clone();
        let number = self.send_new(now, Purpose::Media(wish), node, socket, &command, out);
        if let (Some(number), Some(call)) = (number, self.calls.get_mut(&call)) {
            call.waiting.push(number);
        }
    }

    fn choose(&mut self, request: &MediaRequest<'_>, tried: &[u32]) -> Option<u32> {
        let sessions = &self.sessions;
        // Set 0: the provider names none, and any node will do.
        let serves = |node: &Node| request.set == 0 || node.config.set == request.set;
        let usable = |node: &&Node| {
            let id = node.config.id;
            let known = id == request.node && node.is_reachable();
            !tried.contains(&id) && serves(node) && (known || node.takes_calls(sessions.of_node(id)))
        };
        let windowed = self.nodes.iter().filter(usable).any(|node| node.in_flight >= WINDOW);
        let mut candidates = self.nodes.iter().filter(usable).filter(|node| node.in_flight < WINDOW);
        let pinned = candidates.clone().find(|node| node.config.id == request.node).map(|node| node.config.id);
        let chosen = pinned.or_else(|| {
            let rows = candidates.by_ref().map(|node| (node.config.id, node.config.id, node.config.weight));
            select(request.call.call_hash, rows)
        });
        if windowed {
            self.counters.count(Counter::Windowed);
        }
        chosen
    }

    fn on_media(&mut self, now: Instant, mut wish: Wish, node: u32, meaning: Meaning<'_>, out: &mut impl Outputs) {
        let bytes = wish.request.clone();
        let Some(request) = MediaRequest::read(&bytes) else { return };
        let session = SessionId { origin: self.origin, call: request.call };
        if let Some(call) = self.calls.get_mut(&request.call) {
            call.waiting.retain(|number| self.questions.contains_key(number));
        }
        let (outcome, sdp): (MediaOutcome, &[u8]) = match (request.verb, meaning) {
            (_, Meaning::Full(limit)) => {
                self.counters.count(Counter::Limits);
                if wish.fresh && limit.before_creation() {
                    self.sessions.take(node, session);
                    if let Some(call) = self.calls.get_mut(&request.call) {
                        call.nodes.retain(|other| *other != node);
                    }
                }
                if is_movable(&wish) {
                    self.counters.count(Counter::Moved);
                }
                return self.ask(now, wish, out);
            }
            (Verb::Restore, Meaning::Sdp(_)) if wish.restore == Some(Half::Offer) => {
                wish.restore = Some(Half::Answer);
                wish.tried.clear();
                return self.ask(now, wish, out);
            }
            (Verb::Restore, Meaning::Sdp(_)) | (Verb::DeleteBranch, Meaning::Done { .. }) => (MediaOutcome::Done, &[]),
            (Verb::Offer | Verb::Answer, Meaning::Sdp(sdp)) if sdp.len() > MESSAGE_SIZE_MAX => {
                self.counters.count(Counter::RepliesOversized);
                (MediaOutcome::Refused, &[])
            }
            (Verb::Offer, Meaning::Sdp(sdp)) => {
                let kept = self.keep(&bytes);
                self.calls.entry(request.call).or_default().offered = kept;
                (MediaOutcome::Done, sdp)
            }
            (Verb::Answer, Meaning::Sdp(sdp)) => {
                let kept = self.keep(&bytes);
                self.calls.entry(request.call).or_default().agree(kept);
                (MediaOutcome::Done, sdp)
            }
            // Without a rewritten SDP there is nothing to forward (I2).
            (Verb::Offer | Verb::Answer, Meaning::Refused | Meaning::Done { .. }) => (MediaOutcome::Refused, &[]),
            (_, Meaning::Failed | Meaning::Refused) => (MediaOutcome::Failed, &[]),
            _ => {
                self.counters.count(Counter::RepliesUnfitting);
                (MediaOutcome::Failed, &[])
            }
        };
        self.answer(&wish, outcome, node, sdp, out);
    }

    /// Keeps a shard's wish for as long as somebody may want it said again.
    fn keep(&mut self, wish: &[u8]) -> Option<Kept> {
        let kept = self.room.keep(wish);
        if kept.is_none() {
            self.counters.count(Counter::SdpUnkept);
        }
        kept
    }

    /// A question went without a reply for its interval: asked again, or over.
    fn on_silence(&mut self, now: Instant, number: u64, out: &mut impl Outputs) {
        let Some(question) = self.questions.get_mut(&number) else { return };
        let (node, sent) = (question.node, question.sent);
        let again = matches!(question.purpose, Purpose::Media(_) | Purpose::Delete(..)) && now < question.deadline;
        let mut act = Act::Nothing;
        let place = self.nodes.iter().position(|known| known.config.id == node);
        let mut address = None;
        if let Some(place) = place {
            address = self.nodes[place].config.address;
            // Whatever the breaker does, one unanswered question says it once, at its first interval.
            if question.tries == 1 {
                act = self.nodes[place].on_timeout(now, sent);
            }
        }
        if again {
            let pause = PATIENCE * (1 << question.tries.min(4));
            question.tries += 1;
            question.due = now.after(pause).min(question.deadline);
            self.timers.push(Reverse((question.due, number)));
            if let Some(address) = address {
                out.send(node, question.socket, address, &question.bytes);
                self.counters.count(Counter::Sent);
                self.counters.count(Counter::Retransmissions);
            }
        } else if let Some(question) = self.drop_question(number) {
            self.fail(now, question, false, out);
        }
        if act == Act::GiveUp {
            self.give_up(now, node, false, out);
        }
    }

    /// The breaker opened: offers that another node could do go there; on refusal what is bound to the node fails, too.
    fn give_up(&mut self, now: Instant, node: u32, refused: bool, out: &mut impl Outputs) {
        self.counters.count(Counter::BreakersOpened);
        let leaves = |question: &Question| match &question.purpose {
            Purpose::Media(wish) => refused || is_movable(wish),
            Purpose::Delete(..) => true,
            Purpose::Ping | Purpose::Statistics => false,
        };
        let mut numbers: Vec<u64> =
            self.questions.iter().filter(|(_, q)| q.node == node && leaves(q)).map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(question) = self.drop_question(number) {
                self.fail(now, question, true, out);
            }
        }
    }

    /// A node did not answer.
    fn fail(&mut self, now: Instant, question: Question, given_up: bool, out: &mut impl Outputs) {
        match question.purpose {
            Purpose::Media(wish) => {
                if is_movable(&wish) {
                    self.counters.count(Counter::Moved);
                } else if MediaRequest::read(&wish.request).is_some_and(|request| request.verb == Verb::DeleteBranch) {
                    self.counters.count(Counter::BranchesLost);
                }
                self.ask(now, wish, out);
            }
            Purpose::Delete(session, tries) => {
                self.counters.count(Counter::DeletesRetried);
                // Asked again as soon as a node that was given up is back: that was not the debt's fault.
                let wait = if given_up { Duration::ZERO } else { pause(tries) };
                self.owe(now.after(wait), tries.saturating_add(1), question.node, session);
            }
            Purpose::Ping | Purpose::Statistics => {}
        }
    }

    fn answer(&mut self, wish: &Wish, outcome: MediaOutcome, node: u32, sdp: &[u8], out: &mut impl Outputs) {
        let Some(exchange) = MediaRequest::read(&wish.request).map(|request| request.exchange) else { return };
        self.answer_to(wish.shard, exchange, outcome, node, sdp, out);
    }

    fn answer_to(
        &mut self,
        shard: u16,
        exchange: ExchangeId,
        outcome: MediaOutcome,
        node: u32,
        sdp: &[u8],
        out: &mut impl Outputs,
    ) {
        self.counters.count(match outcome {
            MediaOutcome::Done => Counter::Done,
            MediaOutcome::Refused => Counter::Refused,
            MediaOutcome::NoNode => Counter::NoNode,
            MediaOutcome::Failed => Counter::Failed,
        });
        if exchange != ExchangeId::NOBODY {
            out.reply(shard, MediaReply { exchange, outcome, node, sdp });
        }
    }

    /// Asks something new under a cookie of its own.
    fn send_new(
        &mut self,
        now: Instant,
        purpose: Purpose,
        id: u32,
        socket: u8,
        command: &Command<'_>,
        out: &mut impl Outputs,
    ) -> Option<u64> {
        let place = self.place(id)?;
        let number = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        command.write(Cookie { origin: self.origin, number }, &mut bytes);
        let node = &mut self.nodes[place];
        node.in_flight += 1;
        node.deletes += u32::from(matches!(purpose, Purpose::Delete(..)));
        if let Some(address) = node.config.address {
            out.send(id, socket, address, &bytes);
            self.counters.count(Counter::Sent);
        }
        let due = now.after(PATIENCE);
        let deadline = match &purpose {
            Purpose::Media(wish) => now.after(self.deadline).min(wish.deadline),
            _ => now.after(self.deadline),
        };
        self.questions
            .insert(number, Question { purpose, node: id, socket, bytes, sent: now, tries: 1, due, deadline });
        self.timers.push(Reverse((due, number)));
        Some(number)
    }

    fn drop_question(&mut self, number: u64) -> Option<Question> {
        let question = self.questions.remove(&number)?;
        if let Some(place) = self.place(question.node) {
            let node = &mut self.nodes[place];
            node.in_flight = node.in_flight.saturating_sub(1);
            node.deletes = node.deletes.saturating_sub(u32::from(matches!(question.purpose, Purpose::Delete(..))));
        }
        Some(question)
    }
}

fn is_movable(wish: &Wish) -> bool {
    MediaRequest::read(&wish.request).is_some_and(|request| may_move(&request))
}

/// Whether any node will do: for an offer of which no node knows more than earlier attempts. A delayed offer has both tags and no node yet.
fn may_move(request: &MediaRequest<'_>) -> bool {
    request.verb == Verb::Offer && (request.to_tag.is_empty() || request.node == 0)
}

#[cfg(test)]
mod tests;
