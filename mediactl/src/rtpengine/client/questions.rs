//! Questions on their way: each under a cookie of its own, asked again under the same, given up in time.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;

use super::super::command::Command;
use super::super::counter::Counter;
use super::super::id::{Cookie, SessionId};
use super::super::node::{Act, PATIENCE};
use super::super::sessions::Records;
use super::debts::pause;
use super::wish::Wish;
use super::{Client, Outputs};
use corelane_core::bus::Verb;

/// What a question is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A shard's wish.
    Media(Wish),
    /// What is owed, and how often it was asked for in vain.
    Delete(SessionId, u8),
    /// Whether a node still has what the table says.
    Query(SessionId),
    Ping,
    Statistics,
}

/// A question that waits for its reply.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) purpose: Purpose,
    pub(super) node: u32,
    /// Where that is.
    pub(super) address: SocketAddr,
    pub(super) socket: u8,
    bytes: Vec<u8>,
    pub(super) sent: Instant,
    pub(super) tries: u8,
    pub(super) due: Instant,
    deadline: Instant,
}

impl<R: Records> Client<R> {
    /// The datagram of the next question.
    pub(super) fn datagram(&self, command: &Command<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        command.write(Cookie { origin: self.settings.origin, number: self.next }, &mut bytes);
        bytes
    }

    /// Asks a node, whose place this is, something new.
    pub(super) fn send(
        &mut self,
        now: Instant,
        purpose: Purpose,
        (place, socket): (usize, u8),
        bytes: Vec<u8>,
        out: &mut impl Outputs,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let node = &mut self.nodes[place];
        node.in_flight += 1;
        node.deletes += u32::from(matches!(purpose, Purpose::Delete(..)));
        let (id, address) = (node.config.id, node.config.address);
        out.send(id, socket, address, &bytes);
        self.counters.count(Counter::Sent);
        let (mut due, mut deadline) = (now.after(PATIENCE), now.after(self.settings.deadline));
        if let Purpose::Media(wish) = &purpose {
            // One that waited behind others of its call may have less time left than an interval.
            (due, deadline) = (due.min(wish.deadline), deadline.min(wish.deadline));
        }
        let question = Question { purpose, node: id, address, socket, bytes, sent: now, tries: 1, due, deadline };
        self.questions.insert(number, question);
        self.timers.push(Reverse((due, number)));
        number
    }

    /// Same, of what concerns a node alone or one of its sessions.
    pub(super) fn send_command(
        &mut self,
        now: Instant,
        purpose: Purpose,
        to: (usize, u8),
        command: &Command<'_>,
        out: &mut impl Outputs,
    ) {
        let bytes = self.datagram(command);
        self.send(now, purpose, to, bytes, out);
    }

    pub(super) fn drop_question(&mut self, number: u64) -> Option<Question> {
        let question = self.questions.remove(&number)?;
        if let Some(place) = self.place(question.node) {
            let node = &mut self.nodes[place];
            node.in_flight = node.in_flight.saturating_sub(1);
            node.deletes = node.deletes.saturating_sub(u32::from(matches!(question.purpose, Purpose::Delete(..))));
        }
        Some(question)
    }

    /// A question went without a reply for its interval: asked again, or over.
    pub(super) fn on_silence(&mut self, now: Instant, number: u64, out: &mut impl Outputs) {
        let Some(question) = self.questions.get_mut(&number) else { return };
        let (node, sent) = (question.node, question.sent);
        let in_time = now < question.deadline;
        let again = in_time && matches!(question.purpose, Purpose::Media(_) | Purpose::Delete(..));
        // Of a second node, which had less time, nothing is said.
        let missed = !in_time
            && matches!(question.purpose, Purpose::Media(_))
            && question.deadline.since(question.sent) >= self.settings.deadline;
        let mut act = Act::Nothing;
        let mut known_still = false;
        if let Some(known) = self.nodes.iter_mut().find(|known| known.config.id == node) {
            known_still = true;
            // Whatever the breaker does, one unanswered question says it once, at its first interval; one that had no whole interval says nothing.
            if question.tries == 1 && now.since(sent) >= PATIENCE {
                act = known.on_timeout(now, sent);
            }
            if missed && act == Act::Nothing {
                act = known.on_missed(now);
            }
        }
        if again {
            let pause = PATIENCE * (1 << question.tries.min(4));
            question.tries += 1;
            question.due = now.after(pause).min(question.deadline);
            self.timers.push(Reverse((question.due, number)));
            if known_still {
                out.send(node, question.socket, question.address, &question.bytes);
                self.counters.count(Counter::Sent);
                self.counters.count(Counter::Retransmissions);
            }
        } else if in_time {
            // A late word on it is a word all the same: a node that takes its time is not dead.
            question.tries += 1;
            question.due = question.deadline;
            self.timers.push(Reverse((question.due, number)));
        } else if let Some(question) = self.drop_question(number) {
            self.fail(now, question, false, out);
        }
        if act == Act::GiveUp {
            self.give_up(now, node, false, out);
        }
    }

    /// The breaker opened: offers that another node could do go there; on refusal what is bound to the node fails, too.
    pub(super) fn give_up(&mut self, now: Instant, node: u32, refused: bool, out: &mut impl Outputs) {
        self.counters.count(Counter::BreakersOpened);
        let leaves = |question: &Question| match &question.purpose {
            Purpose::Media(wish) => refused || wish.may_move(),
            Purpose::Delete(..) => true,
            Purpose::Query(_) | Purpose::Ping | Purpose::Statistics => false,
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
                if wish.may_move() {
                    self.counters.count(Counter::Moved);
                } else if wish.request.view().verb == Verb::DeleteBranch {
                    self.counters.count(Counter::BranchesLost);
                }
                if let Some(call) = self.calls.get_mut(&wish.request.view().call) {
                    call.given_up = Some(now);
                }
                self.go_on(now, wish, out);
            }
            Purpose::Delete(session, tries) => {
                // Asked again as soon as a node that was given up is back: that was not the debt's fault.
                let wait = if given_up { Duration::ZERO } else { pause(tries) };
                self.owe_again(now.after(wait), tries, question.address, session);
            }
            Purpose::Query(_) | Purpose::Ping | Purpose::Statistics => {}
        }
    }
}
