//! The media of a call: what a shard knows of the session at a media node, and what an SDP means where it stands.
//!
//! ```text
//!                     ┌────────┐ SDP in a response: answer   ┌────────┐◄─┐ SDP in a response:
//!   request with SDP ►│ Offered├────────────────────────────►│ Agreed ├──┘ answer (a fork, another SDP)
//!                     └────────┘                             └────────┘
//!                     ┌──────┐ SDP in a response: offer  ┌──────────┐ SDP in PRACK or ACK: answer  ┌─────────┐
//!   INVITE without ──►│ Open ├──────────────────────────►│ Returned ├─────────────────────────────►│ Settled │
//!                     └──────┘                           └─▲────────┘                              └────┬────┘
//!                                                          └───────── SDP in a response: offer ─────────┘
//!   ┌────────┐
//!   │ Closed │◄─ PRACK or UPDATE without an offer: no SDP may come back
//!   └────────┘
//! ```
//!
//! The figure is that of one INVITE, PRACK or UPDATE (RFC 3264, RFC 3262 §5, RFC 3311 §5.1, RFC 6337 §2), held by its client
//! transaction; those of a PRACK and of an ACK feed that of their INVITE. A PRACK whose INVITE has nothing to be answered brings an offer of
//! its own and leaves the INVITE's figure alone. A refused offer is taken back, so that what was agreed before it holds again.
//!
//! Of an INVITE without an offer each fork offers for itself, and its PRACK answers that (RFC 3262 §5): there the figure is that of the fork that moved it
//! last, and its call has a bit for each fork that was answered.

use crate::engine::{ClientRef, ExchangeRef};
use crate::limits::EARLY_DIALOGS_MAX;
use crate::memory::BufferRef;

const _: () = assert!(EARLY_DIALOGS_MAX <= u8::BITS as usize, "a bit for each fork");

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// No SDP so far: the other side offers.
    Open,
    /// The request has an offer.
    Offered,
    /// A response had an offer.
    Returned,
    /// The request's offer was answered.
    Agreed,
    /// The response's offer was answered.
    Settled,
    /// Nobody offers here.
    Closed,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// SDP in a 101–299.
    Response,
    /// SDP in a PRACK of this INVITE.
    Prack,
    /// SDP in the ACK of this INVITE.
    Ack,
    /// A final response other than a 2xx.
    Refused,
}

/// What is to be asked of the media node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// The SDP is an offer.
    Offer,
    /// The SDP is an answer.
    Answer,
    /// An offer of this transaction is off.
    Restore,
}

/// The figure of a new request.
#[must_use]
pub const fn start(invite: bool, offers: bool) -> State {
    match (invite, offers) {
        (_, true) => State::Offered,
        (true, false) => State::Open,
        (false, false) => State::Closed,
    }
}

/// The figure as a table. `None`: the event means nothing in this state; an SDP then has no business there.
#[must_use]
pub const fn step(state: State, event: Event) -> Option<(State, Act)> {
    use Event::{Ack, Prack, Refused, Response};
    use State::{Agreed, Closed, Offered, Open, Returned, Settled};
    Some(match (state, event) {
        (Offered | Agreed, Response) => (Agreed, Act::Answer),
        // Of several forks each offers; a 2xx may offer anew what its reliable 1xx offered.
        (Open | Returned | Settled, Response) => (Returned, Act::Offer),
        // A repeated ACK or PRACK may have to be asked for again.
        (Returned, Prack) | (Returned | Settled, Ack) => (Settled, Act::Answer),
        (Open | Offered | Agreed | Settled, Prack) => (state, Act::Offer),
        (Offered | Returned | Agreed | Settled, Refused) => (Closed, Act::Restore),
        _ => return None,
    })
}

/// What a call that goes through a media node knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    /// Which nodes may serve it.
    pub(crate) set: u32,
    /// The id of the node that has the session; 0: none was asked.
    pub(crate) node: u32,
    /// Number of the hunted attempt that is made: the `via-branch`. Once answered, that of the answer.
    pub(crate) attempt: u8,
    /// While gateways are tried: the last number that was given out. From the ACK on: how often its node was asked whether RTP flows, since
    /// `default_timeout` was over. One place, because a call at rest has no byte to spare.
    pub(crate) count: u8,
    /// Something was offered: a delete is owed.
    pub(crate) owed: bool,
    /// The relay's SDP for the caller's offer, while gateways are tried.
    pub(crate) offered: Option<BufferRef>,
    /// Hash of the flags that it was asked with.
    pub(crate) flags: u32,
    /// Of the attempt that is made, where the caller offered: whether an answer came, so that the next gateway needs another offer. Where the forks
    /// offer: a bit for each of their early dialogs whose offer a PRACK answered, by its place.
    pub(crate) answered: u8,
    /// What of it is with a node: until the answer the offer to the next gateway, then an ACK.
    pub(crate) waits: Option<ExchangeRef>,
    /// The INVITE that was sent last: PRACK and ACK may answer what its responses offered.
    pub(crate) invite: Option<ClientRef>,
}

impl Media {
    /// A call before its first offer.
    pub(crate) const fn new(set: u32) -> Media {
        Media {
            set,
            node: 0,
            attempt: 0,
            count: 0,
            owed: false,
            offered: None,
            flags: 0,
            answered: 0,
            waits: None,
            invite: None,
        }
    }

    /// A branch of this attempt was answered: what was kept for others goes back, and the offer that another one waits for is nobody's.
    pub(crate) fn settle(&mut self, attempt: u8, invite: ClientRef) -> (Option<BufferRef>, Option<ExchangeRef>) {
        if self.attempt != attempt {
            // The forks of another gateway.
            self.answered = 0;
        }
        self.attempt = attempt;
        self.invite = Some(invite);
        (self.offered.take(), self.waits.take())
    }

    /// Whether the offer of the fork in this place was answered.
    pub(crate) const fn has_answered(&self, fork: usize) -> bool {
        self.answered >> fork & 1 != 0
    }

    /// Notes whether it was.
    pub(crate) const fn note_answered(&mut self, fork: usize, answered: bool) {
        self.answered = self.answered & !(1 << fork) | (answered as u8) << fork;
    }

    /// A fork's early dialog is gone: those behind it move up.
    pub(crate) const fn forget_fork(&mut self, fork: usize) {
        let before = (1 << fork) - 1;
        self.answered = self.answered & before | self.answered >> 1 & !before;
    }

    /// The number of the next attempt, never 0.
    pub(crate) fn next_attempt(&mut self) -> u8 {
        self.count = self.count.saturating_add(1);
        self.attempt = self.count;
        self.answered = 0;
        self.attempt
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;
    use std::format;
    use std::string::String;

    use super::*;

    const STATES: [State; 6] =
        [State::Open, State::Offered, State::Returned, State::Agreed, State::Settled, State::Closed];
    const EVENTS: [Event; 4] = [Event::Response, Event::Prack, Event::Ack, Event::Refused];

    #[test]
    fn matrix() {
        let mut out = String::new();
        for state in STATES {
            writeln!(out, "{state:?}").unwrap();
            for event in EVENTS {
                match step(state, event) {
                    Some((then, act)) => {
                        let (event, then) = (format!("{event:?}"), format!("{then:?}"));
                        writeln!(out, "  {event:<10} {then:<10} {act:?}").unwrap();
                    }
                    None => writeln!(out, "  {:<10} ·", format!("{event:?}")).unwrap(),
                }
            }
        }
        insta::assert_snapshot!(out);
    }

    #[test]
    fn each_fork_has_a_bit() {
        let mut media = Media::new(0);
        for fork in [0, 2, 7] {
            media.note_answered(fork, true);
        }
        media.forget_fork(1);
        assert_eq!([0, 1, 2, 6, 7].map(|fork| media.has_answered(fork)), [true, true, false, true, false]);
        media.forget_fork(0);
        media.note_answered(5, false);
        assert_eq!(media.answered, 1);
        media.note_answered(7, true);
        media.forget_fork(7);
        assert_eq!(media.answered, 1);
        // The same attempt answers, then that of another gateway.
        let invite = ClientRef::from_parts(1, 1);
        media.settle(0, invite);
        assert_eq!(media.answered, 1);
        media.settle(1, invite);
        assert_eq!(media.answered, 0);
    }

    /// An answer needs an offer of the other side: from start to end no path answers twice in a row from different sides.
    #[test]
    fn an_answer_follows_an_offer() {
        for (invite, offers) in [(true, true), (true, false), (false, true), (false, false)] {
            let state = start(invite, offers);
            let first = step(state, Event::Response).map(|(_, act)| act);
            let expected = match (invite, offers) {
                (_, true) => Some(Act::Answer),
                (true, false) => Some(Act::Offer),
                (false, false) => None,
            };
            assert_eq!(first, expected);
            assert_eq!(step(state, Event::Ack), None, "nothing was offered that an ACK could answer");
        }
        assert_eq!(step(State::Agreed, Event::Ack), None);
    }
}
