//! One media node as the client sees it: where it is, whether it may be asked, how it does.
//!
//! Its breaker (`breaker.rs`) is Closed, Open or HalfOpen. Closed takes calls; the others take none, and are asked only what belongs to sessions that they have. Two rules make the bound
//! [`SILENCE_MAX`] from a node's death to the last call that is given to it, whatever the load:
//!
//! - a node that was not heard for [`PING_AFTER`] is pinged, again at each such interval;
//! - a question that went without any word of the node for [`PATIENCE`] is a *timeout*; of those that run out within one
//!   [`PING_AFTER`] only the first counts, so that a hiccup under load is not taken for death.
//!
//! Lost datagrams alone open nothing: any valid reply starts the count anew.
//!
//! Nor does the kernel's word that nobody listens there (ICMP): a node that was started again may have caused it, and anybody can forge it. It makes a
//! *suspicion*: the node is pinged, at once and again, and given up when it says nothing for [`SUSPICION`]. One that says something was there all along: for
//! [`DISBELIEF`] its kernel is not believed any more, and silence alone counts. So a flood of forged ICMP costs a healthy node nothing.
//!
//! A node may also answer every ping and no offer: its workers hang. So exchanges that missed their whole deadline are counted apart, and only the
//! reply to an exchange starts that count anew. [`MISSES_TO_OPEN`] of them open the breaker for [`DEAF_PAUSE`], whatever the node says to pings; then it
//! is on trial: [`TRIAL_WINDOW`] exchanges at a time, until one is answered.

mod breaker;

use std::net::SocketAddr;
use std::time::Duration;

use corelane_core::Instant;

pub use self::breaker::{Act, Breaker, Event, step};

/// Timeouts in a row that open the breaker.
pub const TIMEOUTS_TO_OPEN: u8 = 3;
/// Silence after which a node is pinged, and the pace of its timeouts.
pub const PING_AFTER: Duration = Duration::from_millis(200);
/// How long a question may go without any word of its node.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// Exchanges in a row whose deadline passed, after which a node that answers pings is given up all the same.
pub const MISSES_TO_OPEN: u8 = 5;
/// How long it gets no calls then.
pub const DEAF_PAUSE: Duration = Duration::from_secs(10);
/// How many exchanges it gets at a time after that, until it has answered one.
pub const TRIAL_WINDOW: u32 = 4;
/// How long a node that its kernel calls unreachable has for a word, before it is given up.
pub const SUSPICION: Duration = Duration::from_millis(50);
/// How often it is pinged meanwhile.
const SUSPICION_PING: Duration = Duration::from_millis(10);
/// How long such a report means nothing once the node has belied one.
pub const DISBELIEF: Duration = Duration::from_secs(10);
/// The first pause before a probe of a node that was given up as unreachable; doubled until it is [`PROBE_INTERVAL`]. One that was only started again
/// is back soon.
pub const PROBE_SOON: Duration = Duration::from_millis(50);
/// Pause between two probes of a node that was given up.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// How often a node is asked for its count of sessions.
pub const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);
/// How many questions may wait for one node's replies before new calls pass it over.
pub const WINDOW: u32 = 512;
/// How many of them may be deletes that are owed, at least; more where more wait.
pub const DELETES_WINDOW: u32 = 32;

/// The longest from a node's death to the last call that is given to it.
pub const SILENCE_MAX: Duration =
    Duration::from_millis(PING_AFTER.as_millis() as u64 * TIMEOUTS_TO_OPEN as u64 + PATIENCE.as_millis() as u64);

const _: () = assert!(SILENCE_MAX.as_millis() < 1000, "no call is given to a node that has been dead for a second");
const _: () = assert!(PROBE_INTERVAL.as_millis() + PATIENCE.as_millis() < 2000, "a node is back in use within 2 s");

/// What the operator wants of a node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Admin {
    /// New calls.
    Enabled,
    /// No new calls; those that it has go on.
    Draining,
    /// The same, until nothing is held or owed there: no row names its address any more.
    Leaving,
}

/// A place where media nodes are asked: an address that a row of table `media_node` names, or has named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Number of the place; never 0, and never another address's.
    pub id: u32,
    /// Set that providers name.
    pub set: u32,
    /// Its ng socket.
    pub address: SocketAddr,
    /// Share of calls; 0 gets calls only when no other node can be used.
    pub weight: u16,
    /// Sessions at the same time.
    pub max_sessions: u32,
    /// Whether it takes new calls.
    pub admin: Admin,
}

/// What an operator is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// As configured.
    pub config: NodeConfig,
    /// Whether it answers.
    pub breaker: Breaker,
    /// Average time to a reply.
    pub latency: Duration,
    /// Questions that wait for its replies.
    pub in_flight: u32,
    /// Sessions that this process has or owes there.
    pub sessions: u32,
    /// Sessions that it reported last, whoever they belong to.
    pub reported: u32,
}

/// The node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: NodeConfig,
    pub(super) breaker: Breaker,
    timeouts: u8,
    /// When the last of them was counted.
    timeout_at: Instant,
    /// Exchanges in a row whose deadline passed.
    misses: u8,
    /// It was given up for them: no word but that on an exchange takes it back before.
    deaf_until: Instant,
    /// It was, and has not answered one since.
    on_trial: bool,
    /// Until when it has to say something, because the kernel called it unreachable; `NEVER`: it need not.
    pub(super) suspected_until: Instant,
    /// It has belied the kernel: until then that one is not believed.
    disbelieved_until: Instant,
    /// Probes since it was given up as unreachable; `None`: for another reason.
    refusals: Option<u8>,
    /// When it last said something valid.
    pub(super) heard_at: Instant,
    /// When it is pinged next, or probed.
    pub(super) ping_at: Instant,
    /// When it is asked for its count next.
    pub(super) statistics_at: Instant,
    latency_us: u64,
    /// Questions that wait for its replies, deletes among them.
    pub(super) in_flight: u32,
    pub(super) deletes: u32,
    pub(super) reported: u32,
    /// It gave no list of its sessions when last asked.
    pub(super) unlisted: bool,
    /// The next place of the table of sessions from which it is asked one by one.
    pub(super) walked: u32,
}

impl Node {
    pub(super) fn new(now: Instant, config: NodeConfig) -> Node {
        Node {
            config,
            breaker: Breaker::Closed,
            timeouts: 0,
            timeout_at: Instant::ZERO,
            misses: 0,
            deaf_until: Instant::ZERO,
            on_trial: false,
            suspected_until: Instant::NEVER,
            disbelieved_until: Instant::ZERO,
            refusals: None,
            heard_at: now,
            ping_at: now,
            statistics_at: now,
            latency_us: 0,
            in_flight: 0,
            deletes: 0,
            reported: 0,
            unlisted: false,
            walked: 0,
        }
    }

    /// The same node with what changed in its row; its address never does.
    pub(super) fn with(self, config: NodeConfig) -> Node {
        Node { config, ..self }
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.breaker == Breaker::Closed
    }

    /// Whether a new call may be given to it, as far as it alone knows; `own` are the sessions that this process has there.
    pub(super) fn takes_calls(&self, own: u32) -> bool {
        self.is_reachable() && self.config.admin == Admin::Enabled && own.max(self.reported) < self.config.max_sessions
    }

    /// How many questions may wait for its replies before new calls pass it over.
    pub(super) fn window(&self) -> u32 {
        // Its deletes are no exchanges.
        if self.on_trial { self.deletes + TRIAL_WINDOW } else { WINDOW }
    }

    /// How many deletes may wait for its replies while so many wait to be sent. A node that takes its time is asked for more at once, or what it is owed
    /// would grow until it seems full.
    pub(super) fn deletes_window(ready: usize) -> u32 {
        u32::try_from(ready / 8).unwrap_or(u32::MAX).clamp(DELETES_WINDOW, WINDOW / 2)
    }

    /// Any valid reply; `exchange`: to an offer, an answer or the like.
    pub(super) fn on_reply(&mut self, now: Instant, exchange: bool) -> Act {
        (self.heard_at, self.timeouts) = (now, 0);
        if self.suspected_until != Instant::NEVER || self.refusals.is_some() {
            (self.suspected_until, self.refusals) = (Instant::NEVER, None);
            self.disbelieved_until = now.after(DISBELIEF);
        }
        if exchange {
            (self.misses, self.on_trial, self.deaf_until) = (0, false, Instant::ZERO);
        } else if self.breaker != Breaker::Closed && now < self.deaf_until {
            self.ping_at = now.after(PROBE_INTERVAL).max(self.deaf_until);
            self.breaker = Breaker::Open;
            return Act::Nothing;
        }
        if self.breaker == Breaker::Closed {
            self.ping_at = now.after(PING_AFTER);
        }
        self.take(now, Event::Reply)
    }

    /// How long a reply took that was asked for once. The average follows an eighth of the way.
    pub(super) fn measure(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_us = if self.latency_us == 0 { took } else { self.latency_us - self.latency_us / 8 + took / 8 };
    }

    /// A question of `sent` went [`PATIENCE`] without a reply.
    pub(super) fn on_timeout(&mut self, now: Instant, sent: Instant) -> Act {
        let silent = self.heard_at <= sent;
        let paced = self.timeouts == 0 || now.since(self.timeout_at) >= PING_AFTER;
        if self.breaker == Breaker::Closed && !(silent && paced) {
            return Act::Nothing;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        self.timeout_at = now;
        self.take(now, Event::Timeout { last: self.timeouts >= TIMEOUTS_TO_OPEN })
    }

    /// An exchange missed its whole deadline.
    pub(super) fn on_missed(&mut self, now: Instant) -> Act {
        self.misses = self.misses.saturating_add(1);
        if self.breaker != Breaker::Closed || self.misses < MISSES_TO_OPEN {
            return Act::Nothing;
        }
        (self.misses, self.on_trial, self.deaf_until) = (0, true, now.after(DEAF_PAUSE));
        self.take(now, Event::Timeout { last: true })
    }

    /// The kernel says that nobody listens there. [`Act::Probe`]: only a word of its own can say whether that is so.
    pub(super) fn on_unreachable(&mut self, now: Instant) -> Act {
        match self.breaker {
            Breaker::Closed if self.suspected_until != Instant::NEVER || now < self.disbelieved_until => Act::Nothing,
            Breaker::Closed => {
                (self.suspected_until, self.ping_at) = (now.after(SUSPICION), now.after(SUSPICION_PING));
                Act::Probe
            }
            Breaker::HalfOpen | Breaker::Open => self.take(now, Event::Unreachable),
        }
    }

    /// Time passed: a node that was suspected and has said nothing is gone.
    pub(super) fn on_suspicion_due(&mut self, now: Instant) -> Act {
        if now < self.suspected_until {
            return Act::Nothing;
        }
        self.refusals = Some(0);
        self.take(now, Event::Unreachable)
    }

    /// Its ping or probe is due: whether one goes out.
    pub(super) fn on_ping_due(&mut self, now: Instant) -> bool {
        match self.breaker {
            Breaker::Closed if self.suspected_until != Instant::NEVER => {
                self.ping_at = now.after(SUSPICION_PING);
                true
            }
            Breaker::Closed => {
                self.ping_at = now.after(PING_AFTER);
                now.since(self.heard_at) >= PING_AFTER
            }
            Breaker::Open | Breaker::HalfOpen => self.take(now, Event::ProbeDue) == Act::Probe,
        }
    }

    /// From now to the next probe.
    fn pause(&mut self) -> Duration {
        let Some(probes) = &mut self.refusals else { return PROBE_INTERVAL };
        let pause = PROBE_INTERVAL.min(PROBE_SOON * (1 << u32::from(*probes).min(8)));
        *probes = probes.saturating_add(1);
        pause
    }

    fn take(&mut self, now: Instant, event: Event) -> Act {
        let Some((then, act)) = step(self.breaker, event) else { return Act::Nothing };
        if then != self.breaker {
            self.ping_at = match then {
                Breaker::Closed => now.after(PING_AFTER),
                Breaker::Open => now.after(self.pause()),
                // The probe's own timeout leads out of this state.
                Breaker::HalfOpen => Instant::NEVER,
            };
            (self.timeouts, self.suspected_until) = (0, Instant::NEVER);
            self.breaker = then;
        }
        act
    }

    pub(super) fn status(&self, sessions: u32) -> NodeStatus {
        NodeStatus {
            config: self.config.clone(),
            breaker: self.breaker,
            latency: Duration::from_micros(self.latency_us),
            in_flight: self.in_flight,
            sessions,
            reported: self.reported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let address = "192.0.2.1:2223".parse().unwrap();
        let config = NodeConfig { id: 1, set: 1, address, weight: 1, max_sessions: 10, admin: Admin::Enabled };
        Node::new(Instant::ZERO, config)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_node_that_answers_pings_alone_is_given_up_and_tried_again_with_few() {
        let mut node = node();
        for missed in 1..MISSES_TO_OPEN {
            assert_eq!(node.on_reply(at(u64::from(missed)), false), Act::Nothing);
            assert_eq!(node.on_missed(at(u64::from(missed))), Act::Nothing);
        }
        assert_eq!(node.on_missed(at(100)), Act::GiveUp);
        assert_eq!((node.on_ping_due(at(600)), node.on_reply(at(601), false)), (true, Act::Nothing));
        assert_eq!((node.breaker, node.ping_at), (Breaker::Open, at(10_100)));
        assert!(node.on_ping_due(at(10_100)));
        assert_eq!((node.on_reply(at(10_101), false), node.window()), (Act::TakeBack, TRIAL_WINDOW));
        assert_eq!((node.on_reply(at(10_200), true), node.window()), (Act::Nothing, WINDOW));
        assert_eq!((0..MISSES_TO_OPEN).map(|_| node.on_missed(at(20_000))).last(), Some(Act::GiveUp));
        assert_eq!(node.on_reply(at(20_100), true), Act::TakeBack, "it answers exchanges: nothing else counts");
    }

    #[test]
    fn more_deletes_are_asked_for_where_more_wait() {
        assert_eq!([0, 300, 1_000, 1 << 20].map(Node::deletes_window), [32, 37, 125, 256]);
    }

    #[test]
    fn three_timeouts_in_a_row_open_and_a_reply_closes() {
        let mut node = node();
        assert_eq!(node.on_timeout(at(250), at(0)), Act::Nothing);
        assert_eq!(node.on_timeout(at(251), at(1)), Act::Nothing, "the same silence");
        assert_eq!(node.on_timeout(at(450), at(200)), Act::Nothing);
        assert_eq!(node.on_reply(at(460), false), Act::Nothing);
        assert_eq!(node.on_timeout(at(660), at(410)), Act::Nothing, "heard since it was asked");
        assert_eq!(node.on_timeout(at(711), at(461)), Act::Nothing);
        assert_eq!(node.on_timeout(at(911), at(661)), Act::Nothing);
        assert!(node.takes_calls(0));
        assert_eq!(node.on_timeout(at(1111), at(861)), Act::GiveUp);
        assert!(!node.takes_calls(0));
        assert_eq!(node.ping_at, at(1611));
        assert!(node.on_ping_due(at(1611)));
        assert_eq!((node.breaker, node.on_timeout(at(1861), at(1611))), (Breaker::HalfOpen, Act::Nothing));
        assert!(node.on_ping_due(at(2361)));
        assert_eq!(node.on_reply(at(2362), false), Act::TakeBack);
        assert!(node.takes_calls(0));
    }

    #[test]
    fn an_idle_node_that_dies_is_given_up_within_the_bound() {
        let mut node = node();
        let _ = node.on_reply(at(1000), false);
        let (mut pings, mut opened) = (Vec::new(), None);
        for now in (1000..2100).map(at) {
            if now >= node.ping_at && node.on_ping_due(now) {
                pings.push(now);
            }
            for sent in &pings {
                if now == sent.after(PATIENCE) && node.on_timeout(now, *sent) == Act::GiveUp {
                    opened = Some(now);
                }
            }
        }
        assert_eq!(opened.map(|now| now.since(at(1000))), Some(SILENCE_MAX));
    }

    #[test]
    fn a_refusal_of_the_kernel_opens_when_the_node_says_nothing_either() {
        let mut node = node();
        assert_eq!(node.on_unreachable(at(5)), Act::Probe);
        assert_eq!(node.on_unreachable(at(6)), Act::Nothing, "it is suspected already");
        assert_eq!(node.suspected_until, at(55));
        assert_eq!(node.on_suspicion_due(at(54)), Act::Nothing);
        assert!(node.takes_calls(0));
        assert_eq!(node.on_suspicion_due(at(55)), Act::GiveUp);
        // It may only have been started again: probes come soon, and then more seldom.
        for probe in [105, 205, 405, 805, 1305, 1805] {
            assert_eq!((node.breaker, node.ping_at), (Breaker::Open, at(probe)));
            assert!(node.on_ping_due(at(probe)));
            assert_eq!(node.on_unreachable(at(probe)), Act::Nothing);
        }
        assert_eq!(node.on_reply(at(2000), false), Act::TakeBack, "whatever it was asked");
        assert_eq!(node.on_unreachable(at(2001)), Act::Nothing, "it was just heard");
    }

    #[test]
    fn a_node_that_belies_its_kernel_is_up() {
        let mut node = node();
        for start in [0, 10_001, 20_002] {
            assert_eq!(node.on_unreachable(at(start)), Act::Probe);
            assert_eq!(node.on_reply(at(start + 1), false), Act::Nothing, "it was never given up");
            for flood in start + 1..start + 10_001 {
                assert_eq!(node.on_unreachable(at(flood)), Act::Nothing);
                assert_eq!(node.on_suspicion_due(at(flood)), Act::Nothing);
            }
        }
        assert!(node.takes_calls(0));
        // And silence gives it up, whatever is said of it.
        for sent in [30_100, 30_300, 30_500] {
            let _ = node.on_timeout(at(sent + 250), at(sent));
        }
        assert!(!node.takes_calls(0));
    }

    #[test]
    fn full_and_drained_nodes_take_no_calls() {
        let mut node = node();
        assert!(node.takes_calls(9) && !node.takes_calls(10));
        node.reported = 10;
        assert!(!node.takes_calls(0), "the larger of both counts");
        node.reported = 0;
        for admin in [Admin::Draining, Admin::Leaving] {
            node.config.admin = admin;
            assert!(!node.takes_calls(0) && node.is_reachable());
        }
    }

    #[test]
    fn the_average_follows() {
        let mut node = node();
        node.measure(Duration::from_micros(800));
        node.measure(Duration::from_micros(1600));
        assert_eq!(node.status(0).latency, Duration::from_micros(900));
    }
}
