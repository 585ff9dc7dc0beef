//! A call as its shard asks for it: offers, answers, branches that go, what is taken back, in an order that the engine may ask in.

use corelane_core::bus::{MediaCall, MediaOutcome, Verb};

use super::draw::Draw;

/// What the shard knows.
pub(crate) struct Call {
    pub(crate) call: MediaCall,
    pub(crate) shard: u16,
    pub(crate) set: u32,
    /// The node that has its session, as the last offer's reply said.
    pub(crate) node: u32,
    pub(crate) attempt: u8,
    /// The newest fork.
    fork: u8,
    /// Who offered what nobody has answered yet: both tags.
    open: Option<(String, String)>,
    /// Both sides have agreed once.
    stands: bool,
    /// It is over for its shard.
    pub(crate) over: bool,
}

/// A wish: verb, tags, whether somebody waits for what comes of it.
pub(crate) struct Wanted {
    pub(crate) verb: Verb,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) waits: bool,
}

impl Call {
    pub(crate) fn new(call: MediaCall, shard: u16, set: u32) -> Call {
        Call { call, shard, set, node: 0, attempt: 1, fork: 0, open: None, stands: false, over: false }
    }

    fn caller(&self) -> String {
        format!("a{}", self.call.call_hash % 97)
    }

    fn callee(&self) -> String {
        format!("b{}", self.fork)
    }

    /// What is asked next; nothing: the call ends.
    pub(crate) fn next(&mut self, draw: &mut Draw) -> Vec<Wanted> {
        let want = |verb, from: &str, to: &str| Wanted { verb, from: from.to_owned(), to: to.to_owned(), waits: true };
        let (a, b) = (self.caller(), self.callee());
        let Some((from, to)) = self.open.clone() else {
            if !self.stands {
                // The caller offers; or, where it did not, the callee does in its answer.
                let (from, to) = if draw.chance(850) { (a, String::new()) } else { (b, a) };
                self.open = Some((from.clone(), to.clone()));
                return vec![want(Verb::Offer, &from, &to)];
            }
            let (from, to) = if draw.chance(500) { (a, b) } else { (b, a) };
            return match draw.below(10) {
                0..=3 => {
                    self.open = Some((from.clone(), to.clone()));
                    vec![want(Verb::Offer, &from, &to)]
                }
                4 => {
                    // Both at once.
                    self.open = Some((to.clone(), from.clone()));
                    vec![want(Verb::Offer, &from, &to), want(Verb::Offer, &to, &from)]
                }
                5 => vec![want(Verb::Choose, &from, &to)],
                6 | 7 => vec![want(Verb::Query, "", "")],
                _ => Vec::new(),
            };
        };
        let answerer = if to.is_empty() { b.clone() } else { to.clone() };
        match draw.below(20) {
            0..=12 => {
                if to.is_empty() && draw.chance(150) {
                    // Another fork rings with SDP first.
                    self.fork += 1;
                    return vec![want(Verb::Answer, &from, &b)];
                }
                self.open = None;
                self.stands = true;
                vec![want(Verb::Answer, &from, &answerer)]
            }
            13..=15 if self.stands => {
                self.open = None;
                vec![Wanted { waits: draw.chance(500), ..want(Verb::Restore, &from, &to) }]
            }
            13..=16 if !self.stands && self.attempt < 5 => {
                // The next gateway: what answered so far goes, in the same breath.
                self.attempt += 1;
                self.fork += 1;
                self.open = Some((a.clone(), String::new()));
                let branch = Wanted { waits: draw.chance(500), ..want(Verb::DeleteBranch, &from, &answerer) };
                let mut wanted = vec![want(Verb::Offer, &a, "")];
                if self.node != 0 && draw.chance(700) {
                    wanted.insert(0, branch);
                }
                wanted
            }
            17 => vec![want(Verb::Query, "", "")],
            _ => Vec::new(),
        }
    }

    /// What came of a wish.
    pub(crate) fn heard(&mut self, verb: Verb, outcome: MediaOutcome, node: u32) {
        match (verb, outcome) {
            (Verb::Offer, MediaOutcome::Done) => self.node = node,
            // Nobody answers an offer that was not passed on.
            (Verb::Offer, _) => self.open = None,
            _ => {}
        }
    }
}
