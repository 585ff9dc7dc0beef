//! Transaction records: what the tables of [`crate::transaction`] do not hold.

use core::num::NonZeroU32;

use crate::admission::GatewayHold;
use crate::call::session::Asked;
use crate::call::{CallRef, Side, media};
use crate::flow::Flow;
use crate::identity::Shown;
use crate::memory::{BufferRef, Ref, TimerWheel};
use crate::message::Method;
use crate::routing::Candidate;
use crate::time::Instant;
use crate::token::{BRANCH_LENGTH, Branch};
use crate::transaction::{Action, Change, Intervals, client, invite_client, invite_server, server};

use super::media::ExchangeRef;
use super::reason::Cause;

pub(crate) type ServerRef = Ref<ServerTransaction>;
pub(crate) type ClientRef = Ref<ClientTransaction>;

/// The two timers of a transaction: one that repeats a message, one that ends the state.
#[derive(Copy, Clone, Debug)]
pub(crate) struct TransactionTimers {
    pub(crate) retransmit_at: Instant,
    pub(crate) timeout_at: Instant,
    /// The interval that runs before `retransmit_at`, in microseconds.
    interval_us: u32,
}

impl TransactionTimers {
    const IDLE: TransactionTimers =
        TransactionTimers { retransmit_at: Instant::NEVER, timeout_at: Instant::NEVER, interval_us: 0 };

    /// Applies what a step said. `proceeding` is Timer E's special case (RFC 3261 §17.1.2.2).
    #[inline(always)]
    pub(crate) fn apply(&mut self, action: &Action, now: Instant, proceeding: bool, intervals: &Intervals) {
        match action.retransmit {
            Change::Keep => {}
            Change::Stop => self.retransmit_at = Instant::NEVER,
            Change::Start(timer) => self.repeat_after(intervals.first(timer, proceeding), now),
            Change::Again(timer) => {
                self.repeat_after(intervals.next(timer, self.interval_us.into(), proceeding), now);
            }
        }
        match action.timeout {
            Change::Keep => {}
            Change::Stop => self.timeout_at = Instant::NEVER,
            Change::Start(timer) | Change::Again(timer) => {
                let at = now.after_micros(intervals.first(timer, proceeding));
                // Nobody waits for those to the millisecond, and four of them fire in each call.
                self.timeout_at = if timer.lingers() { TimerWheel::coarse(at) } else { at };
            }
        }
    }

    #[inline]
    fn repeat_after(&mut self, interval: u64, now: Instant) {
        self.interval_us = interval.min(u32::MAX.into()) as u32;
        self.retransmit_at = now.after_micros(interval);
    }

    /// The earlier of the two.
    pub(crate) fn next(&self) -> Instant {
        self.retransmit_at.min(self.timeout_at)
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ServerState {
    Invite(invite_server::State),
    Other(server::State),
}

/// What can happen to a server transaction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ServerEvent {
    Request,
    Response(u16),
    Ack,
    Retransmit,
    Timeout,
}

impl ServerState {
    /// The tables' verdict, `None` where the event means nothing.
    pub(crate) fn step(self, event: ServerEvent, reliable: bool) -> Option<(ServerState, Action)> {
        match self {
            ServerState::Invite(state) => {
                let event = match event {
                    ServerEvent::Request => invite_server::Event::Request,
                    ServerEvent::Response(100..=199) => invite_server::Event::Provisional,
                    ServerEvent::Response(200..=299) => invite_server::Event::Success,
                    ServerEvent::Response(_) => invite_server::Event::Failure,
                    ServerEvent::Ack => invite_server::Event::Ack,
                    ServerEvent::Retransmit => invite_server::Event::Retransmit,
                    ServerEvent::Timeout => invite_server::Event::Timeout,
                };
                let (state, action) = invite_server::step(state, event, reliable)?;
                Some((ServerState::Invite(state), action))
            }
            ServerState::Other(state) => {
                let event = match event {
                    ServerEvent::Request => server::Event::Request,
                    ServerEvent::Response(100..=199) => server::Event::Provisional,
                    ServerEvent::Response(_) => server::Event::Final,
                    ServerEvent::Timeout => server::Event::Timeout,
                    ServerEvent::Ack | ServerEvent::Retransmit => return None,
                };
                let (state, action) = server::step(state, event, reliable)?;
                Some((ServerState::Other(state), action))
            }
        }
    }

    pub(crate) fn terminated(self) -> bool {
        matches!(
            self,
            ServerState::Invite(invite_server::State::Terminated) | ServerState::Other(server::State::Terminated)
        )
    }

    /// No final response was sent yet.
    pub(crate) fn pending(self) -> bool {
        match self {
            ServerState::Invite(state) => matches!(state, invite_server::State::Proceeding),
            ServerState::Other(state) => matches!(state, server::State::Trying | server::State::Proceeding),
        }
    }
}

/// A server transaction (RFC 3261 §17.2).
#[derive(Debug)]
pub(crate) struct ServerTransaction {
    pub(crate) state: ServerState,
    /// Its key in the server index.
    pub(crate) key: u64,
    /// Keyed hash of the Call-ID.
    pub(crate) call_hash: u64,
    /// Where responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub(crate) reply: Flow,
    /// The call, stale once that ended.
    pub(crate) call: Option<CallRef>,
    /// The branch that the request was forwarded on.
    pub(crate) client: Option<ClientRef>,
    /// The INVITE as it came, while an answer of our own may be due.
    pub(crate) request: Option<BufferRef>,
    /// Where the request came from, for the `received` and `rport` of an answer of our own.
    pub(crate) source: Flow,
    /// The response sent last.
    pub(crate) last: Option<BufferRef>,
    /// Its SDP is with a media node.
    pub(crate) exchange: Option<ExchangeRef>,
    pub(crate) timers: TransactionTimers,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ClientState {
    Invite(invite_client::State),
    Other(client::State),
}

/// What can happen to a client transaction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ClientEvent {
    Response(u16),
    Retransmit,
    Timeout,
}

impl ClientState {
    /// The tables' verdict, `None` where the event means nothing.
    pub(crate) fn step(self, event: ClientEvent, reliable: bool) -> Option<(ClientState, Action)> {
        match self {
            ClientState::Invite(state) => {
                let event = match event {
                    ClientEvent::Response(100..=199) => invite_client::Event::Provisional,
                    ClientEvent::Response(200..=299) => invite_client::Event::Success,
                    ClientEvent::Response(_) => invite_client::Event::Failure,
                    ClientEvent::Retransmit => invite_client::Event::Retransmit,
                    ClientEvent::Timeout => invite_client::Event::Timeout,
                };
                let (state, action) = invite_client::step(state, event, reliable)?;
                Some((ClientState::Invite(state), action))
            }
            ClientState::Other(state) => {
                let event = match event {
                    ClientEvent::Response(100..=199) => client::Event::Provisional,
                    ClientEvent::Response(_) => client::Event::Final,
                    ClientEvent::Retransmit => client::Event::Retransmit,
                    ClientEvent::Timeout => client::Event::Timeout,
                };
                let (state, action) = client::step(state, event, reliable)?;
                Some((ClientState::Other(state), action))
            }
        }
    }

    pub(crate) fn terminated(self) -> bool {
        matches!(
            self,
            ClientState::Invite(invite_client::State::Terminated) | ClientState::Other(client::State::Terminated)
        )
    }

    pub(crate) fn proceeding(self) -> bool {
        matches!(
            self,
            ClientState::Invite(invite_client::State::Proceeding) | ClientState::Other(client::State::Proceeding)
        )
    }

    /// The request may still have to be sent again, cancelled or acknowledged.
    pub(crate) fn needs_request(self) -> bool {
        match self {
            ClientState::Invite(state) => {
                matches!(state, invite_client::State::Calling | invite_client::State::Proceeding)
            }
            ClientState::Other(state) => matches!(state, client::State::Trying | client::State::Proceeding),
        }
    }
}

/// Whether and why an INVITE branch is being cancelled (RFC 3261 §9.1: a CANCEL waits for the first 1xx).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cancel {
    No,
    /// The caller gave up.
    ByCaller,
    /// A timer did (RFC 3261 §16.8): the caller gets 408, not the 487 that comes back.
    ByTimer,
    /// Another gateway is tried, or answered; or the operator ended the call.
    Abandoned,
    /// The call was answered on another branch.
    AnsweredElsewhere,
}

/// How far the INVITE branch of a call has come: which timer its deadline is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing came: `fr_timer`.
    Silent,
    /// A 100 came: `progress_timeout`.
    Trying,
    /// A 101–199 came: Timer C.
    Ringing,
    /// The CANCEL is out: 64·T1 (RFC 3261 §9.1).
    Cancelled,
}

/// A To tag, short: told apart within one branch only.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ShortTag(NonZeroU32);

impl ShortTag {
    pub(crate) const fn of(tag: u64) -> ShortTag {
        ShortTag(NonZeroU32::MIN.saturating_add(tag as u32 >> 1))
    }
}

/// The 2xx that came on an INVITE branch (RFC 6026 lets it live on for them).
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Answers {
    /// The one that went upstream, now acknowledged end to end. Inside a dialog: that one did.
    pub(crate) delivered: Option<ShortTag>,
    /// Those that nobody waited for: Corelane sent BYE.
    ended: [Option<ShortTag>; 2],
}

impl Answers {
    /// Whether an answer is one of those.
    pub(crate) fn has_ended(&self, tag: ShortTag) -> bool {
        self.ended.contains(&Some(tag))
    }

    /// Notes an answer that Corelane ends; false where both places are taken. Such a one is ended again when it comes again.
    pub(crate) fn end(&mut self, tag: ShortTag) -> bool {
        let place = self.ended.iter_mut().find(|place| place.is_none_or(|ended| ended == tag));
        place.map(|place| *place = Some(tag)).is_some()
    }
}

/// What a branch is for. It is read before the record may go.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Role {
    pub(crate) method: Method,
    /// The gateway, for the INVITE that opens the call; none inside a dialog.
    pub(crate) candidate: Option<Candidate>,
    pub(crate) cancel: Cancel,
    /// The call, stale once that ended.
    pub(crate) call: Option<CallRef>,
    /// Whom the responses are for; none for a CANCEL of our own.
    pub(crate) server: Option<ServerRef>,
    /// Inside a dialog: which one (callee's tag), and whose request it is. For the INVITE of a call: the call's pass.
    pub(crate) dialog: u64,
    pub(crate) sender: Side,
    /// Number of its CSeq: that of the ACK of an INVITE.
    pub(crate) cseq: u32,
    /// How the gateway knows the caller: by this INVITE, or for the answer to its own request.
    pub(crate) shown: Shown,
    /// What the request asks for of the session timer.
    pub(crate) asked: Asked,
    /// Number of the hunted attempt at the media node (`via-branch`); 0: what SDP it brings goes from end to end.
    pub(crate) attempt: u8,
}

impl Role {
    /// It is the INVITE that opens the call.
    pub(crate) const fn opens(&self) -> bool {
        self.candidate.is_some()
    }
}

/// A client transaction (RFC 3261 §17.1): one branch.
#[derive(Debug)]
pub(crate) struct ClientTransaction {
    pub(crate) state: ClientState,
    pub(crate) role: Role,
    pub(crate) branch: Branch,
    /// Keyed hash of the Call-ID.
    pub(crate) call_hash: u64,
    /// Where the request goes.
    pub(crate) flow: Flow,
    /// The CANCEL of this INVITE, which shares its branch.
    pub(crate) cancel_branch: Option<ClientRef>,
    /// For the INVITE of a call: how far it has come, and its 2xx.
    pub(crate) progress: Progress,
    pub(crate) answers: Answers,
    /// What it holds of its carrier and gateway.
    pub(crate) hold: GatewayHold,
    /// Why the caller cancelled, for our own CANCEL (RFC 3326 §2).
    pub(crate) callers_cause: Option<Cause>,
    /// Offer and answer of this request.
    pub(crate) media: media::State,
    /// The INVITE of the call that was sent before this one: inside the dialog its ACK may come later, in the hunt its answer.
    pub(crate) before: Option<ClientRef>,
    /// Its responses that wait for a media node, in order.
    pub(crate) parked: Option<ExchangeRef>,
    /// The relay's SDP of its last response, and of its ACK: they may come again.
    pub(crate) kept: [Option<BufferRef>; 2],
    /// The request as it was sent; in state Completed of an INVITE, the ACK.
    pub(crate) sent: Option<BufferRef>,
    pub(crate) timers: TransactionTimers,
}

impl ClientTransaction {
    /// A transaction before its message is written.
    pub(crate) const fn new(
        state: ClientState,
        role: Role,
        call_hash: u64,
        flow: Flow,
        timers: TransactionTimers,
    ) -> ClientTransaction {
        ClientTransaction {
            state,
            role,
            branch: [0; BRANCH_LENGTH],
            call_hash,
            flow,
            cancel_branch: None,
            progress: Progress::Silent,
            answers: Answers { delivered: None, ended: [None; 2] },
            hold: GatewayHold::NONE,
            callers_cause: None,
            media: media::State::Closed,
            before: None,
            parked: None,
            kept: [None; 2],
            sent: None,
            timers,
        }
    }
}

impl TransactionTimers {
    pub(crate) const fn idle() -> TransactionTimers {
        TransactionTimers::IDLE
    }
}

/// The places of the timer wheel: server transactions, then client transactions, then calls, then exchanges with media nodes.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Places {
    clients_from: u32,
    calls_from: u32,
    exchanges_from: u32,
}

/// Whose timer a place is.
pub(crate) enum Owner {
    Server(u32),
    Client(u32),
    Call(u32),
    Exchange(u32),
}

impl Places {
    pub(crate) const fn new(servers: u32, clients: u32, calls: u32) -> Places {
        let calls_from = servers + clients;
        Places { clients_from: servers, calls_from, exchanges_from: calls_from + calls }
    }

    pub(crate) fn server(self, at: ServerRef) -> u32 {
        at.index()
    }

    pub(crate) fn client(self, at: ClientRef) -> u32 {
        self.clients_from + at.index()
    }

    pub(crate) fn call(self, at: CallRef) -> u32 {
        self.calls_from + at.index()
    }

    pub(crate) fn exchange(self, at: ExchangeRef) -> u32 {
        self.exchanges_from + at.index()
    }

    pub(crate) fn owner(self, place: u32) -> Owner {
        if place < self.clients_from {
            Owner::Server(place)
        } else if place < self.calls_from {
            Owner::Client(place - self.clients_from)
        } else if place < self.exchanges_from {
            Owner::Call(place - self.calls_from)
        } else {
            Owner::Exchange(place - self.exchanges_from)
        }
    }
}
