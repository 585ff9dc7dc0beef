//! Hunting: the gateways of a call, one after the other, and the best answer so far (SPEC §3 *Hunt*, RFC 3261 §16.7).
//!
//! ```text
//!   candidates   [ g3  g7  g1  g9 ]       g3 answered 503, g7 was silent: best = 503
//!                          ▲ next         g1 is the branch that runs
//! ```
//!
//! Sequential: one branch runs at a time. A branch that was given up lives on as a transaction of its own, so that it is
//! cancelled when its 1xx comes late, and its 2xx is not lost.

use crate::memory::BufferRef;
use crate::routing::{Candidate, Candidates};

/// How a branch failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// A final response of this status, 300–699.
    Status(u16),
    /// Nothing came within `fr_timer`.
    Silent,
    /// Nothing but a 100 came within `progress_timeout`.
    NoProgress,
    /// ICMP said that nobody is there, or the kernel refused to send.
    Unreachable,
    /// It rang for `ring_timeout` (Timer C).
    RingTimeout,
    /// It was cancelled, and nothing came back (RFC 3261 §9.1).
    CancelUnanswered,
}

impl Failure {
    /// The status that stands for it when the best response is chosen (RFC 3261 §16.8: as if a 408 had come).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Failure::Status(status) => status,
            _ => 408,
        }
    }
}

/// What a failed branch means for the hunt, before the carrier's own list is asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The next gateway is tried, whatever the carrier says.
    Next,
    /// The next one is tried when the carrier's `failover_codes` have it.
    AskCarrier,
    /// A redirection: the provider's `redirect` decides.
    Redirected,
    /// The hunt is over: this answer is the callee's, or nobody else can better it.
    Over,
}

/// The rule of SPEC §3 *Hunt*.
#[must_use]
pub const fn verdict(failure: Failure) -> Verdict {
    match failure {
        Failure::Silent | Failure::NoProgress | Failure::Unreachable => Verdict::Next,
        // The callee was reached and did not answer: another gateway would ring the same telephone.
        Failure::RingTimeout | Failure::CancelUnanswered => Verdict::Over,
        Failure::Status(status) => match status {
            // A gateway that wants credentials of ours is misconfigured for us: another one may not.
            401 | 407 => Verdict::Next,
            300..=399 => Verdict::Redirected,
            // Busy, terminated, and an interval that only the caller can raise (RFC 4028 §6) are answers; 6xx is global.
            486 | 487 | 422 | 600.. => Verdict::Over,
            _ => Verdict::AskCarrier,
        },
    }
}

/// How good a failure is as an answer, lowest best (RFC 3261 §16.7 step 6): 6xx, then the lowest class; within a class, what tells
/// the caller how to do better.
#[must_use]
pub const fn rank(status: u16) -> u8 {
    match status {
        600.. => 0,
        401 | 407 | 415 | 420 | 484 => 1,
        // Ours, where nothing came: any other 4xx says more.
        408 => 3,
        400..=499 => 2,
        // RFC 3261 §16.7 step 6: a 503 is the gateway's own overload.
        503 => 6,
        // A 3xx that does not pass goes upstream as 500.
        _ => 5,
    }
}

/// [`rank`] of a failure that was not the last one. The challenge of a gateway that was passed over helps nobody to do better: its
/// credentials were wanted of us, and the caller has none for it. Any other 4xx says more.
#[must_use]
const fn rank_passed(status: u16) -> u8 {
    match status {
        401 | 407 => 4,
        _ => rank(status),
    }
}

/// The best failure so far.
#[derive(Copy, Clone, Debug)]
pub struct Best {
    /// Its status.
    pub status: u16,
    /// The response, as it would go upstream; none for a time-out.
    pub response: Option<BufferRef>,
}

/// The hunt of one call.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    candidates: Candidates,
    next: u8,
    /// Gateways that an INVITE was sent to.
    pub attempts: u8,
    /// Why the number could not be given to a gateway: the answer where none was asked.
    pub fault: Option<u16>,
    /// A redirection was followed: not again.
    pub recursed: bool,
    /// The best failure so far.
    pub best: Option<Best>,
}

impl Hunt {
    /// The candidates from now on: those of a route, or those of a redirection instead of what was left.
    pub fn aim(&mut self, candidates: Candidates) {
        self.candidates = candidates;
        self.next = 0;
    }

    /// The next candidate, each one once.
    pub fn take(&mut self) -> Option<Candidate> {
        let candidate = self.candidates.get(usize::from(self.next)).copied()?;
        self.next += 1;
        Some(candidate)
    }

    /// The candidate that was taken last comes again.
    pub fn give_back(&mut self) {
        self.next = self.next.saturating_sub(1);
    }

    /// Whether one is left.
    #[must_use]
    pub fn has_next(&self) -> bool {
        usize::from(self.next) < self.candidates.len()
    }

    /// Whether the last failure is a better answer than those before it. Of equals the first one stays.
    #[must_use]
    pub fn improves(&self, status: u16) -> bool {
        self.best.is_none_or(|best| rank(status) < rank_passed(best.status))
    }

    /// Whether a failure after which the hunt goes on is better than those before it. Of equals the first one stays.
    #[must_use]
    pub fn keeps(&self, status: u16) -> bool {
        self.best.is_none_or(|best| rank_passed(status) < rank_passed(best.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_each_status() {
        let of = |status| verdict(Failure::Status(status));
        for (status, expected) in [
            (302, Verdict::Redirected),
            (400, Verdict::AskCarrier),
            (401, Verdict::Next),
            (404, Verdict::AskCarrier),
            (407, Verdict::Next),
            (408, Verdict::AskCarrier),
            (422, Verdict::Over),
            (480, Verdict::AskCarrier),
            (486, Verdict::Over),
            (487, Verdict::Over),
            (500, Verdict::AskCarrier),
            (503, Verdict::AskCarrier),
            (600, Verdict::Over),
            (603, Verdict::Over),
            (699, Verdict::Over),
        ] {
            assert_eq!(of(status), expected, "{status}");
        }
        for (failure, expected) in [
            (Failure::Silent, Verdict::Next),
            (Failure::NoProgress, Verdict::Next),
            (Failure::Unreachable, Verdict::Next),
            (Failure::RingTimeout, Verdict::Over),
            (Failure::CancelUnanswered, Verdict::Over),
        ] {
            assert_eq!(verdict(failure), expected, "{failure:?}");
            assert_eq!(failure.status(), 408, "RFC 3261 §16.8");
        }
    }

    /// RFC 3261 §16.7 step 6.
    #[test]
    fn the_best_response() {
        let best = |statuses: &[u16]| {
            let mut hunt = Hunt::default();
            let (last, passed) = statuses.split_last().expect("there is one");
            for status in passed.iter().filter(|status| **status != 0) {
                if hunt.keeps(*status) {
                    hunt.best = Some(Best { status: *status, response: None });
                }
            }
            if *last != 0 && hunt.improves(*last) { Some(*last) } else { hunt.best.map(|best| best.status) }
        };
        assert_eq!(best(&[503, 404, 500]), Some(404), "the lowest class");
        assert_eq!(best(&[503, 500]), Some(500), "a 503 is the last resort");
        assert_eq!(best(&[404, 603]), Some(603), "a 6xx decides");
        assert_eq!(best(&[480, 407]), Some(407), "what tells how to do better");
        assert_eq!(best(&[401, 404]), Some(404), "a challenge that was passed over does not");
        assert_eq!(best(&[404, 401, 480]), Some(404), "likewise");
        assert_eq!(best(&[401, 408]), Some(408), "silence is nearer to the truth");
        assert_eq!(best(&[401, 503, 500]), Some(401), "it is a 4xx");
        assert_eq!(best(&[401, 407, 0]), Some(401), "it is all there is, and the others were not asked");
        assert_eq!(best(&[401, 407]), Some(407), "the last one's is the caller's to answer");
        assert_eq!(best(&[408, 480]), Some(480), "an answer beats silence");
        assert_eq!(best(&[480, 404]), Some(480), "the first of equals");
        assert_eq!(best(&[408, 500]), Some(408), "a lower class");
        assert_eq!(best(&[302, 404]), Some(404), "a redirection that nobody follows is no answer");
    }

    #[test]
    fn each_candidate_once() {
        use crate::routing::{CarrierSlot, GatewaySlot};
        let candidate = |gateway| Candidate { gateway: GatewaySlot(gateway), carrier: CarrierSlot(0) };
        let mut hunt = Hunt::default();
        hunt.aim([candidate(1), candidate(2)].into_iter().collect());
        assert_eq!(hunt.take(), Some(candidate(1)));
        assert!(hunt.has_next());
        hunt.aim([candidate(7)].into_iter().collect());
        assert_eq!(hunt.take(), Some(candidate(7)));
        assert!(!hunt.has_next());
        assert_eq!(hunt.take(), None);
    }
}
