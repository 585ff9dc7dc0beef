//! The four transaction machines of RFC 3261 §17 with RFC 6026 and RFC 4320: pure tables. The engine owns the records, the timers and
//! the buffers; a machine only says what an event means.

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod server;

/// The timers of RFC 3261 table 4 and RFC 6026 §7.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Timer {
    /// INVITE request retransmission: T1, doubling.
    A,
    /// INVITE client time-out: 64·T1.
    B,
    /// Wait for response retransmissions, INVITE client: at least 32 s, zero when reliable.
    D,
    /// Non-INVITE request retransmission: T1, doubling to T2.
    E,
    /// Non-INVITE client time-out: 64·T1.
    F,
    /// INVITE response retransmission: T1, doubling to T2.
    G,
    /// Wait for ACK: 64·T1.
    H,
    /// Wait for ACK retransmissions: T4, zero when reliable.
    I,
    /// Wait for non-INVITE request retransmissions: 64·T1, zero when reliable.
    J,
    /// Wait for response retransmissions, non-INVITE client: T4, zero when reliable.
    K,
    /// Wait for 2xx retransmissions at the server (RFC 6026): 64·T1.
    L,
    /// Wait for 2xx retransmissions at the client (RFC 6026): 64·T1.
    M,
}

/// What becomes of one of a transaction's two timers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// As it was.
    Keep,
    /// Stopped.
    Stop,
    /// Started from its first interval.
    Start(Timer),
    /// Fired and started again with its next interval (doubled, up to T2 for E and G; E is T2 straight away in Proceeding).
    Again(Timer),
}

/// What the transaction sends by itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Send {
    /// Nothing.
    Nothing,
    /// The message that the event brought (a new request, a response from the proxy core): it is stored too.
    New,
    /// The message sent last, again.
    Again,
    /// An ACK for the non-2xx final response that the event brought, built now and stored (RFC 3261 §17.1.1.3).
    Ack,
}

/// What the proxy core is told.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Tell {
    /// Nothing: the event was absorbed.
    Nothing,
    /// The message that the event brought.
    Message,
    /// The transaction timed out.
    Timeout,
    /// The transport failed.
    TransportError,
}

/// The consequence of an event.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// What is sent.
    pub send: Send,
    /// What the proxy core is told.
    pub tell: Tell,
    /// The retransmission timer (A, E, G).
    pub retransmit: Change,
    /// The timer that ends the state (B, D, F, H, I, J, K, L, M).
    pub timeout: Change,
}

impl Action {
    /// Nothing at all: the event is absorbed.
    pub const ABSORB: Action =
        Action { send: Send::Nothing, tell: Tell::Nothing, retransmit: Change::Keep, timeout: Change::Keep };
}
