//! What the peers of one call are going to do, drawn when it begins (the caller) and when an INVITE arrives (the gateway).

use super::network::{Party, SECOND};
use super::random::Random;
use super::wire::Method;

const MILLISECOND: u64 = 1_000;

/// How often each kind of behaviour occurs in a world, by weight; 0 is never.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    answer: [u8; Answering::KINDS.len()],
    hang_up: [u8; HangUp::KINDS.len()],
    acknowledge: [u8; Acknowledge::KINDS.len()],
    on_cancel: [u8; OnCancel::KINDS.len()],
    cancel_permille: u32,
    ask_permille: u32,
    refuse_permille: u32,
    vanish_permille: u32,
    reliable_permille: u32,
    unrouted_permille: u32,
    session_permille: u32,
    talk_us: u64,
}

impl Habits {
    pub(super) fn draw(random: &mut Random) -> Habits {
        Habits {
            answer: answers(random),
            hang_up: weights(random),
            acknowledge: weights(random),
            on_cancel: weights(random),
            cancel_permille: random.pick(&[0, 50, 300]),
            ask_permille: random.pick(&[0, 100, 500]),
            refuse_permille: random.pick(&[0, 0, 100, 500]),
            vanish_permille: random.pick(&[0, 0, 10, 100]),
            reliable_permille: random.pick(&[0, 300, 1000]),
            session_permille: random.pick(&[0, 200, 700]),
            unrouted_permille: random.pick(&[0, 20, 50]),
            talk_us: random.pick(&[100 * MILLISECOND, 2 * SECOND, 20 * SECOND, 90 * SECOND]),
        }
    }
}

/// The first kind is the plain one and occurs in all worlds; the others in half of them.
fn weights<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut weights = [0; N];
    for (place, weight) in weights.iter_mut().enumerate() {
        let on = place == 0 || random.chance(500);
        let drawn = random.between(1, 6) as u8;
        *weight = if on { drawn } else { 0 };
    }
    weights
}

/// The plain call is the most frequent one by far, so that most calls of a world are answered: what befalls a call that stands is met
/// only by those that do.
fn answers<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut weights = weights(random);
    weights[0] += random.pick(&[60, 100, 140]);
    weights
}

/// What a gateway does with a new INVITE.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Answering {
    Ring,
    AtOnce,
    RingLong,
    Busy,
    NotFound,
    Unavailable,
    ServerError,
    Decline,
    Challenge,
    Redirect,
    TooBrief,
    Silent,
    TryingOnly,
    ProgressOnly,
    Forks,
    ForksAnswer,
    Reliable,
    FailAfterRinging,
    AnswerLost,
    TwoFinals,
    AnswerThenRing,
}

impl Answering {
    const KINDS: [Answering; 21] = {
        use Answering::*;
        [
            Ring,
            AtOnce,
            RingLong,
            Busy,
            NotFound,
            Unavailable,
            ServerError,
            Decline,
            Challenge,
            Redirect,
            TooBrief,
            Silent,
            TryingOnly,
            ProgressOnly,
            Forks,
            ForksAnswer,
            Reliable,
            FailAfterRinging,
            AnswerLost,
            TwoFinals,
            AnswerThenRing,
        ]
    };
}

/// One response of a gateway's schedule.
#[derive(Copy, Clone, Debug)]
pub(super) struct Step {
    /// After the INVITE came.
    pub(super) after_us: u64,
    pub(super) status: u16,
    /// Whose To tag it has.
    pub(super) fork: u8,
    /// With RSeq, where the caller supports it (RFC 3262).
    pub(super) reliable: bool,
    /// The first copy is lost.
    pub(super) lost: bool,
}

/// What a gateway does when a CANCEL comes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum OnCancel {
    /// 200 and 487.
    Obey,
    /// Nothing at all.
    Ignore,
    /// 200 to the CANCEL, and 200 to the INVITE all the same.
    Answer,
    /// 481, and the schedule goes on.
    Deny,
}

impl OnCancel {
    const KINDS: [OnCancel; 4] = [OnCancel::Obey, OnCancel::Ignore, OnCancel::Answer, OnCancel::Deny];
}

/// How the caller acknowledges a 2xx.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Acknowledge {
    Once,
    Twice,
    Late,
    Never,
}

impl Acknowledge {
    const KINDS: [Acknowledge; 4] = [Acknowledge::Once, Acknowledge::Twice, Acknowledge::Late, Acknowledge::Never];
}

/// Who ends an answered call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum HangUp {
    Caller,
    Callee,
    /// Both in the same moment.
    Both,
    /// The caller, before his ACK.
    BeforeAck,
    Nobody,
}

impl HangUp {
    const KINDS: [HangUp; 5] = [HangUp::Caller, HangUp::Callee, HangUp::Both, HangUp::BeforeAck, HangUp::Nobody];
}

/// When a caller gives up, if he does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    Sent,
    Trying,
    Ringing,
    Answered,
}

/// Requests inside a dialog: by the caller or not, after how many microseconds, which.
pub(super) type Asks = [Option<(bool, u64, Method)>; 3];

/// What the caller is going to do.
#[derive(Clone, Debug)]
pub(super) struct CallerScript {
    pub(super) party: Party,
    pub(super) number: [u8; 8],
    pub(super) cancel: Option<(Moment, u64)>,
    pub(super) acknowledge: Acknowledge,
    pub(super) hang_up: HangUp,
    pub(super) talk_us: u64,
    pub(super) asks: Asks,
    pub(super) supports_100rel: bool,
    pub(super) supports_timer: bool,
    pub(super) session_expires: Option<u32>,
    /// Comes again with credentials after a challenge.
    pub(super) credentials: bool,
    pub(super) vanish_us: Option<u64>,
}

/// What a gateway is going to do.
#[derive(Clone, Debug)]
pub(super) struct CalleeScript {
    pub(super) steps: [Option<Step>; 6],
    pub(super) on_cancel: OnCancel,
    /// The Session-Expires of its 2xx, and whether the caller is to refresh (RFC 4028).
    pub(super) session: Option<(u32, bool)>,
    pub(super) vanish_us: Option<u64>,
}

impl Habits {
    /// How long an answered call stands, in the mean.
    pub(super) fn talk_us(&self) -> u64 {
        self.talk_us
    }

    /// How often a request in a dialog is refused.
    pub(super) fn refuses(&self) -> u32 {
        self.refuse_permille
    }

    /// A new call of one of `callers`.
    pub(super) fn draw_caller(&self, random: &mut Random, callers: u8) -> CallerScript {
        let talk_us = random.between(MILLISECOND, self.talk_us * 2);
        let mut number = *b"49300000";
        // The image routes 1 to 4 to sets of gateways; 9 leads nowhere.
        number[0] = if random.chance(self.unrouted_permille) { b'9' } else { random.pick(b"1234") };
        for digit in &mut number[3..] {
            *digit = b'0' + random.below(10) as u8;
        }
        let moment = random.pick(&[Moment::Sent, Moment::Trying, Moment::Ringing, Moment::Answered]);
        let delay = random.pick(&[0, MILLISECOND, 100 * MILLISECOND, SECOND, 10 * SECOND]);
        let ask = |random: &mut Random| {
            let method = random.pick(&[Method::Invite, Method::Update, Method::Info, Method::Invite]);
            random.chance(self.ask_permille).then(|| (random.chance(500), random.below(talk_us + 1), method))
        };
        let mut asks = [ask(random), ask(random), None];
        if let Some((by_caller, after, method)) = asks[0].filter(|_| random.chance(300)) {
            // Both in the same moment: glare (RFC 3261 §14.1).
            asks[2] = Some((!by_caller, after, method));
        }
        CallerScript {
            party: Party::Caller(random.below(callers.into()) as u8),
            number,
            cancel: random.chance(self.cancel_permille).then_some((moment, delay)),
            acknowledge: Acknowledge::KINDS[random.weighted(&self.acknowledge)],
            hang_up: HangUp::KINDS[random.weighted(&self.hang_up)],
            talk_us,
            asks,
            supports_100rel: random.chance(self.reliable_permille),
            supports_timer: random.chance(self.session_permille),
            session_expires: random
                .chance(self.session_permille)
                .then(|| random.pick(&[1, 89, 90, 90, 90, 120, 120, 600, 1800, 4_000_000_000])),
            credentials: random.chance(700),
            vanish_us: random.chance(self.vanish_permille).then(|| random.below(talk_us + 5 * SECOND)),
        }
    }

    /// A gateway's part, for an INVITE that has just come.
    pub(super) fn draw_callee(&self, random: &mut Random) -> CalleeScript {
        let kind = Answering::KINDS[random.weighted(&self.answer)];
        CalleeScript {
            steps: steps(kind, random),
            session: random
                .chance(self.session_permille / 2)
                .then(|| (random.pick(&[1, 90, 120, 1800]), random.chance(500))),
            on_cancel: OnCancel::KINDS[random.weighted(&self.on_cancel)],
            vanish_us: random.chance(self.vanish_permille).then(|| random.below(self.talk_us + 5 * SECOND)),
        }
    }
}

fn steps(kind: Answering, random: &mut Random) -> [Option<Step>; 6] {
    let soon = random.below(50 * MILLISECOND);
    let ring = soon + random.below(300 * MILLISECOND);
    let pick_up = ring + random.pick(&[0, 10 * MILLISECOND, SECOND, 5 * SECOND]) + random.below(SECOND);
    let long = ring + random.between(10, 250) * SECOND;
    let at = |after_us, status, fork| Some(Step { after_us, status, fork, reliable: false, lost: false });
    let refuse = |status| [at(soon, 100, 0), at(pick_up.min(ring + SECOND), status, 0), None, None, None, None];
    match kind {
        Answering::Ring => [at(soon, 100, 0), at(ring, 180, 0), at(pick_up, 200, 0), None, None, None],
        Answering::AtOnce => [at(soon, 200, 0), None, None, None, None, None],
        Answering::RingLong => [at(ring, 180, 0), at(long, 200, 0), None, None, None, None],
        Answering::Busy => refuse(random.pick(&[486, 486, 600])),
        Answering::NotFound => refuse(404),
        Answering::Unavailable => refuse(503),
        Answering::ServerError => refuse(random.pick(&[500, 502, 504, 408])),
        Answering::Decline => refuse(603),
        Answering::Challenge => refuse(random.pick(&[401, 407])),
        Answering::Redirect => refuse(302),
        Answering::TooBrief => refuse(422),
        Answering::Silent => [None; 6],
        Answering::TryingOnly => [at(soon, 100, 0), None, None, None, None, None],
        Answering::ProgressOnly => [at(soon, 100, 0), at(ring, 183, 0), None, None, None, None],
        Answering::Forks => [
            at(soon, 100, 0),
            at(ring, 180, 0),
            at(ring + soon, 183, 1),
            at(ring + soon, 180, 2),
            at(pick_up + soon, 200, 1),
            None,
        ],
        Answering::ForksAnswer => [
            at(ring, 180, 0),
            at(ring, 180, 1),
            at(pick_up, 200, 0),
            at(pick_up + soon, 200, 1),
            at(pick_up + 2 * soon, 200, 2),
            None,
        ],
        Answering::Reliable => {
            let reliable = |after_us, status| Some(Step { after_us, status, fork: 0, reliable: true, lost: false });
            [reliable(ring, 183), reliable(ring + SECOND, 180), at(pick_up + SECOND, 200, 0), None, None, None]
        }
        Answering::FailAfterRinging => {
            let status = random.pick(&[480, 408, 487, 503, 500]);
            [at(ring, 180, 0), at(pick_up, status, 0), None, None, None, None]
        }
        Answering::AnswerLost => {
            let lost = Step { after_us: pick_up, status: 200, fork: 0, reliable: false, lost: true };
            [at(ring, 180, 0), Some(lost), None, None, None, None]
        }
        Answering::TwoFinals => {
            let other = random.pick(&[200, 404, 503]);
            [at(ring, 180, 0), at(pick_up, 486, 0), at(pick_up + soon, other, 0), None, None, None]
        }
        Answering::AnswerThenRing => {
            [at(soon, 200, 0), at(ring, 180, 0), at(ring, 183, 1), at(pick_up, 486, 0), None, None]
        }
    }
}
