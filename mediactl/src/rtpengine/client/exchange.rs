//! A shard's wish on its way to the reply: which node is asked, what its word means, and where else to go.
//!
//! ```text
//!   wish ──► ask: choose a node, note the session, send ──► reply ──► the shard's answer; the call's next wish
//!              ▲                                              │
//!              └── full, silent, given up: another node ◄─────┘
//! ```

use std::net::SocketAddr;

use corelane_core::Instant;
use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply, MediaRequest, Verb};
use corelane_core::limits::MESSAGE_SIZE_MAX;

use super::super::command::{Command, Exchanged};
use super::super::counter::Counter;
use super::super::id::SessionId;
use super::super::node::Node;
use super::super::reply::Meaning;
use super::super::select::select;
use super::super::sessions::{NoRecord, Records};
use super::questions::Purpose;
use super::wish::{Part, Wish};
use super::{Client, IN_FLIGHT_MAX, Outputs};

impl<R: Records> Client<R> {
    /// Asks for a wish, and for those of its call that wait behind it as long as each is answered at once.
    pub(super) fn go_on(&mut self, now: Instant, wish: Wish, out: &mut impl Outputs) {
        let call = wish.request.view().call;
        self.touched = Some(call);
        let mut next = Some(wish);
        while let Some(wish) = next {
            if let Some(call) = self.calls.get_mut(&call) {
                call.waiting = None;
            }
            if self.ask(now, wish, out) {
                return;
            }
            next = self.calls.get_mut(&call).and_then(|call| call.next.pop_front());
        }
    }

    /// Asks a node; where none can be asked, says what comes of it. Whether a question is out.
    fn ask(&mut self, now: Instant, mut wish: Wish, out: &mut impl Outputs) -> bool {
        let (place, bytes) = match self.prepare(now, &mut wish) {
            Ok(prepared) => prepared,
            Err((outcome, node)) => {
                self.answer(&wish, outcome, node, &[], out);
                return false;
            }
        };
        let request = wish.request.view();
        let (call, verb) = (request.call, request.verb);
        let socket = self.socket_of(call);
        let number = self.send(now, Purpose::Media(wish), (place, socket), bytes, out);
        let call = self.calls.entry(call).or_default();
        if verb == Verb::Offer {
            call.settle();
        }
        (call.waiting, call.asked) = (Some(number), number);
        true
    }

    /// Finds a node for a wish, writes the datagram, and notes the session before it leaves.
    fn prepare(&mut self, now: Instant, wish: &mut Wish) -> Result<(usize, Vec<u8>), (MediaOutcome, u32)> {
        let request = wish.request.view();
        let (session, verb) = (SessionId { origin: self.settings.origin, call: request.call }, request.verb);
        let movable = wish.may_move();
        // A part is kept for calls that have a node (I8).
        let most = if verb == Verb::Offer && request.node == 0 { IN_FLIGHT_MAX / 4 * 3 } else { IN_FLIGHT_MAX };
        let full = self.questions.len() >= most;
        if full {
            self.counters.count(Counter::InFlightFull);
        }
        let node = if full || now >= wish.deadline {
            None
        } else if movable {
            self.choose(&request, &wish.tried)
        } else {
            Some(request.node).filter(|id| !wish.tried.contains(id))
        };
        let none = if movable { MediaOutcome::NoNode } else { MediaOutcome::Failed };
        let (node, place) = node.and_then(|node| Some((node, self.place(node)?))).ok_or((none, 0))?;
        if let Some(known) = self.calls.get_mut(&request.call)
            && verb == Verb::Restore
            && wish.replay == Some(Part::Offer)
        {
            known.take_back(&request);
            if known.agreed_by(&request).is_none() {
                // Of a call that has agreed on nothing yet.
                wish.replay = Some(Part::Open);
            }
        }
        if verb == Verb::Choose && self.calls.get(&request.call).is_some_and(|known| known.ends_with(&request)) {
            return Err((MediaOutcome::Done, node));
        }
        // No command: there is nothing to restore.
        let command = self.command(wish, session).ok_or((MediaOutcome::Failed, node))?;
        let bytes = self.datagram(&command);
        let offers = matches!(command, Command::Offer(_));
        wish.fresh = false;
        // Also one that is played again: where the node has lost the session it makes another.
        if offers {
            wish.fresh = self.sessions.put(self.nodes[place].config.address, session).map_err(|why| match why {
                NoRecord::Full => {
                    self.counters.count(Counter::RecordsFull);
                    (none, 0)
                }
                NoRecord::Due => (MediaOutcome::Failed, 0),
            })?;
        }
        wish.tried.push(node);
        Ok((place, bytes))
    }

    /// What a wish asks a node; of one that plays again what was said, the part that is its turn.
    fn command<'w>(&'w self, wish: &'w Wish, session: SessionId) -> Option<Command<'w>> {
        let mut source = wish.request.view();
        if let Some(part) = wish.replay {
            let known = self.calls.get(&source.call)?;
            let pair = || if source.verb == Verb::Choose { known.pair_of(&source) } else { known.agreed_by(&source) };
            source = match part {
                Part::Open => known.open_between(&source)?.view(),
                Part::Offer if source.verb == Verb::Choose => {
                    let since = known.open_between(&source).map(|offer| offer.view());
                    since.filter(|offer| offer.from_tag == source.from_tag).unwrap_or(pair()?.offer.view())
                }
                Part::Offer => pair()?.offer.view(),
                Part::Answer => pair()?.answer.view(),
            };
        }
        let MediaRequest { from_tag, to_tag, attempt, flags, sdp, .. } = source;
        let exchanged = Exchanged { session, from_tag, to_tag, attempt, flags, sdp };
        Some(match source.verb {
            Verb::Offer => Command::Offer(exchanged),
            Verb::DeleteBranch => Command::DeleteBranch { session, from_tag, to_tag },
            Verb::Query => Command::Query(session),
            Verb::Answer | Verb::Restore | Verb::Choose => Command::Answer(exchanged),
        })
    }

    fn choose(&mut self, request: &MediaRequest<'_>, tried: &[u32]) -> Option<u32> {
        let sessions = &self.sessions;
        // Set 0: the provider names none, and any node will do.
        let serves = |node: &Node| request.set == 0 || node.config.set == request.set;
        let usable = |node: &&Node| {
            let id = node.config.id;
            let known = id == request.node && node.is_reachable();
            !tried.contains(&id) && serves(node) && (known || node.takes_calls(sessions.at(node.config.address)))
        };
        let windowed = self.nodes.iter().filter(usable).any(|node| node.in_flight >= node.window());
        let mut candidates = self.nodes.iter().filter(usable).filter(|node| node.in_flight < node.window());
        // The window is for new calls: of one that has a node, other attempts are there.
        let pinned = self.nodes.iter().filter(usable).find(|node| node.config.id == request.node);
        let pinned = pinned.map(|node| node.config.id);
        let chosen = pinned.or_else(|| {
            let rows = candidates.by_ref().map(|node| (node.config.id, node.config.id, node.config.weight));
            select(request.call.call_hash, rows)
        });
        if windowed {
            self.counters.count(Counter::Windowed);
        }
        chosen
    }

    /// A node's word on a wish.
    pub(super) fn on_media(
        &mut self,
        now: Instant,
        mut wish: Wish,
        (node, address): (u32, SocketAddr),
        meaning: Meaning<'_>,
        out: &mut impl Outputs,
    ) {
        let request = wish.request.view();
        let (call, verb) = (request.call, request.verb);
        self.touched = Some(call);
        let (outcome, sdp): (MediaOutcome, &[u8]) = match (verb, meaning) {
            (_, Meaning::Full(limit)) => {
                self.counters.count(Counter::Limits);
                if wish.fresh && limit.before_creation() {
                    self.sessions.take(address, SessionId { origin: self.settings.origin, call });
                }
                if wish.may_move() {
                    self.counters.count(Counter::Moved);
                }
                return self.go_on(now, wish, out);
            }
            (Verb::Restore | Verb::Choose, Meaning::Sdp(_)) if let Some(next) = self.next_part(&wish) => {
                wish.replay = Some(next);
                wish.tried.clear();
                return self.go_on(now, wish, out);
            }
            (Verb::Restore | Verb::Choose, Meaning::Sdp(_)) | (Verb::DeleteBranch, Meaning::Done { .. }) => {
                (MediaOutcome::Done, &[])
            }
            (Verb::Offer | Verb::Answer, Meaning::Sdp(sdp)) if sdp.len() > MESSAGE_SIZE_MAX => {
                self.counters.count(Counter::RepliesOversized);
                (MediaOutcome::Refused, &[])
            }
            (Verb::Offer | Verb::Answer, Meaning::Sdp(sdp)) => (MediaOutcome::Done, sdp),
            (Verb::Offer | Verb::Answer, Meaning::Refused) => (MediaOutcome::Refused, &[]),
            (Verb::Query, Meaning::Heard(heard)) => (heard.outcome(&request), &[]),
            (Verb::Query, Meaning::Unknown) => (MediaOutcome::Silent, &[]),
            (_, Meaning::Failed | Meaning::Refused | Meaning::Unknown) => (MediaOutcome::Failed, &[]),
            // Among them an `ok` without an SDP: there is nothing to forward (I2).
            _ => {
                self.counters.count(Counter::RepliesUnfitting);
                (MediaOutcome::Failed, &[])
            }
        };
        self.answer(&wish, outcome, node, sdp, out);
        let Some(known) = self.calls.get_mut(&call) else { return };
        known.waiting = None;
        if outcome == MediaOutcome::Done && matches!(verb, Verb::Offer | Verb::Answer) {
            let answered = match verb {
                Verb::Offer => {
                    known.forget_offer(&request);
                    None
                }
                _ => known.offer_of(&request),
            };
            let kept = self.room.keep(wish.request);
            if kept.is_none() {
                self.counters.count(Counter::SdpUnkept);
            }
            if verb == Verb::Offer { known.offer(kept) } else { known.agree(answered, kept) }
        }
        if let Some(next) = known.next.pop_front() {
            self.go_on(now, next, out);
        }
    }

    /// What is played behind the part that a node has just taken.
    fn next_part(&self, wish: &Wish) -> Option<Part> {
        let request = wish.request.view();
        match wish.replay? {
            Part::Offer => Some(Part::Answer),
            Part::Answer if request.verb == Verb::Restore => {
                self.calls.get(&request.call)?.open_between(&request).map(|_| Part::Open)
            }
            Part::Answer | Part::Open => None,
        }
    }

    /// Tells the shard what came of its wish.
    pub(super) fn answer(&mut self, wish: &Wish, outcome: MediaOutcome, node: u32, sdp: &[u8], out: &mut impl Outputs) {
        self.counters.count(match outcome {
            MediaOutcome::Done => Counter::Done,
            MediaOutcome::Refused => Counter::Refused,
            MediaOutcome::NoNode => Counter::NoNode,
            MediaOutcome::Failed => Counter::Failed,
            MediaOutcome::Silent => Counter::Silent,
        });
        let exchange = wish.request.view().exchange;
        if exchange != ExchangeId::NOBODY {
            out.reply(wish.shard, MediaReply { exchange, outcome, node, sdp });
        }
    }
}
