//! The control core with its media nodes, as a host of the world. It lies.
//!
//! ```text
//!   Effect::Media ─► read, watched ─► what comes of it is drawn ─┬► at its time: Input::Media ─► the engine
//!                    (audit.rs)                                  ├► late, twice, to nobody, refused, empty, far too large
//!                                                                └► never
//!   a freeze: nothing is answered until it thaws            owed: each call that offered anything, until its record says so
//!                                                           asked: each call at its default_timeout, and whether RTP was heard
//! ```
//!
//! It changes the addresses in a session description and nothing else (`sdp.rs`), so that it is seen in each message that leaves an
//! engine whose it was and whether it went through here. Its chance is its own: a world without media is the same world with or without
//! this file.

use std::collections::{HashMap, HashSet};

use corelane_core::bus::{ExchangeId, MEDIA_REQUEST_MAX, MediaCall, MediaOutcome, MediaReply, MediaRequest, Verb};
use corelane_core::engine::Command;
use corelane_core::{BufferRef, Input};

use super::ladder::{End, Fate, Line, NO_CALL};
use super::network::{Event, SECOND};
use super::nodes::{Nodes, Outcome};
use super::plan::{Every, Offers};
use super::random::Random;
use super::sdp::{self, Origin, Seen};
use super::world::World;
use crate::wire::{Message, Start};

/// How often a call is said to have RTP at most: each one ends.
pub(super) const HEARD_MAX: u8 = 5;

/// Bytes of a description that is large and fits all the same.
const LARGE: usize = 3000;

/// What a relay of a world is like.
#[derive(Clone, Debug)]
pub(super) struct MediaPlan {
    /// The longest that an honest answer takes.
    delay_us: u64,
    /// Wishes that are not just done.
    lies_permille: u32,
    /// Which lies, by weight.
    lies: [u8; Lie::KINDS.len()],
    /// How often it freezes.
    pub(super) freeze_every: Every,
    /// How often a node dies.
    pub(super) lose_node_every: Every,
    /// Bit by generation of the image: it has no media nodes.
    direct: u8,
    pub(super) offers: Offers,
    /// Bit by caller: `timeout_mode` is `media`.
    keeps: u8,
    /// Calls at their `default_timeout` that RTP still flows in.
    rtp_permille: u32,
}

impl MediaPlan {
    /// Whether the world of a seed has media, and what it is like.
    pub(super) fn draw(random: &mut Random) -> Option<MediaPlan> {
        let has = random.chance(500);
        let share = |random: &mut Random| random.pick(&[0, 100, 500]);
        let plan = MediaPlan {
            delay_us: random.pick(&[0, 1_000, 20_000, SECOND]),
            lies_permille: random.pick(&[0, 0, 20, 200, 1000]),
            lies: std::array::from_fn(|_| random.below(4) as u8).map(|weight| weight + 1),
            freeze_every: random.pick(&[None, None, Some(10 * SECOND), Some(60 * SECOND)]),
            lose_node_every: random.pick(&[None, None, Some(5 * SECOND), Some(30 * SECOND)]),
            direct: if random.chance(300) { random.below(8) as u8 } else { 0 },
            offers: Offers {
                delayed_permille: share(random),
                prack_permille: share(random),
                update_permille: share(random),
                fresh_permille: share(random),
                bare_permille: share(random),
            },
            keeps: if random.chance(500) { random.below(256) as u8 } else { 0 },
            rtp_permille: random.pick(&[0, 500, 900]),
        };
        has.then_some(plan)
    }

    /// Whether the image of a generation has media nodes.
    pub(super) fn has_nodes(&self, generation: u64) -> bool {
        self.direct >> generation & 1 == 0
    }

    /// Whether the calls of a caller outlive `default_timeout` while RTP flows.
    pub(super) fn keeps(&self, caller: u8) -> bool {
        self.keeps >> caller & 1 == 1
    }
}

/// What a relay does instead of what it is asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Lie {
    /// It does not take this description.
    Refused,
    /// No node can be used.
    NoNode,
    /// The ring is full: the host says so at once.
    RingFull,
    Failed,
    /// No answer at all.
    Lost,
    /// The answer comes twice.
    Twice,
    /// The answer comes when nobody waits any more.
    Late,
    /// The answer is for an exchange that is over, or never was.
    Stale,
    /// The answer comes, and the session is on another node now.
    Moved,
    /// Done, with a description ten times as large.
    Large,
    /// Done, with no description.
    Empty,
    /// Done, with one that fits into no message.
    Oversized,
    /// No RTP was heard, whatever was asked.
    Silent,
}

impl Lie {
    const KINDS: [Lie; 13] = {
        use Lie::*;
        [Refused, NoNode, RingFull, Failed, Lost, Twice, Late, Stale, Moved, Large, Empty, Oversized, Silent]
    };
}

/// An answer under way.
#[derive(Clone, Debug)]
struct Reply {
    exchange: ExchangeId,
    outcome: MediaOutcome,
    node: u32,
    sdp: Vec<u8>,
    /// The call that it is about, and its session.
    call: u32,
    of: MediaCall,
    /// It says whether RTP of this call flows.
    heard: Option<MediaCall>,
}

/// A call at its `default_timeout`.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Asked {
    /// How often it was said to have RTP, and when an engine heard so last.
    times: u8,
    pub(super) heard_us: Option<u64>,
}

/// The host.
pub(super) struct Relay {
    pub(super) random: Random,
    frozen_until: u64,
    replies: Vec<Option<Reply>>,
    /// Calls that have offered something and not ended.
    pub(super) owed: HashSet<MediaCall>,
    pub(super) nodes: Nodes,
    /// Calls that it was asked about whether RTP flows, until they end.
    pub(super) asked: HashMap<MediaCall, Asked>,
}

impl Relay {
    pub(super) fn new(seed: u64) -> Relay {
        Relay {
            random: Random::new(seed),
            frozen_until: 0,
            replies: Vec::new(),
            owed: HashSet::new(),
            nodes: Nodes::default(),
            asked: HashMap::new(),
        }
    }
}

impl Relay {
    /// Whether RTP of a call flows, as far as this is known.
    fn hears(&mut self, call: MediaCall, permille: u32) -> MediaOutcome {
        let asked = self.asked.entry(call).or_default();
        if asked.times < HEARD_MAX && self.random.chance(permille) {
            asked.times += 1;
            MediaOutcome::Done
        } else {
            MediaOutcome::Silent
        }
    }
}

impl World<'_> {
    /// Whether a call goes through the relay for sure: its INVITEs met no image without media nodes.
    pub(super) fn is_relayed(&self, call: u32) -> bool {
        let call = &self.calls[call as usize];
        call.relayed && !call.direct
    }

    /// An INVITE that would open a call meets an image. One of a call with mischief may be any of its INVITEs.
    pub(super) fn note_way(&mut self, shard: usize, message: &Message<'_>) {
        if self.plan.media.is_none() || message.start != Start::Request(b"INVITE") {
            return;
        }
        let has_nodes = self.images[self.nodes[shard].image].has_media();
        let Some(call) = self.call_of(message).map(|call| &mut self.calls[call as usize]) else { return };
        if call.tampered || !message.has_to_tag() {
            call.relayed |= has_nodes;
            call.direct |= !has_nodes;
        }
    }

    /// The control core takes a wish out of the ring.
    pub(super) fn wish(&mut self, shard: usize, buffer: BufferRef) {
        let bytes = self.nodes[shard].engine.buffer(buffer).to_vec();
        self.release_later(shard, buffer, &bytes);
        let Some(request) = MediaRequest::read(&bytes) else {
            return self.break_promise("a wish to the control core cannot be read", self.last_call);
        };
        let call = self.numbers.get(&request.call.call_hash).copied().unwrap_or(NO_CALL);
        let line = Line::Wish(request.verb, request.exchange.index);
        self.ladder.note(self.now_us, call, End::Engine(shard as u8), End::Relay, line, Fate::Done);
        self.tally.wishes += 1;
        self.watch_wish(&request, call);
        self.note_wait(shard as u8, &request, call);
        if request.verb == Verb::Offer {
            self.relay.owed.insert(request.call);
        }
        self.answer_wish(shard as u8, &request, call);
    }

    fn answer_wish(&mut self, shard: u8, request: &MediaRequest<'_>, call: u32) {
        let Some(plan) = &self.plan.media else {
            return self.break_promise("a relay was asked where there is none", call);
        };
        let Relay { random, nodes, .. } = &mut self.relay;
        let lie = random.chance(plan.lies_permille).then(|| Lie::KINDS[random.weighted(&plan.lies)]);
        // What did not fit into the ring no node hears of.
        let heard = lie != Some(Lie::RingFull);
        let Outcome { outcome, node, after_us } =
            if heard { nodes.serve(request, self.now_us, random) } else { Outcome::none(request.node) };
        let mut after = after_us + random.below(plan.delay_us + 1);
        if lie.is_some() || outcome != MediaOutcome::Done {
            self.tally.lies += u64::from(lie.is_some());
            self.calls.get_mut(call as usize).into_iter().for_each(|call| call.lied_to = true);
        }
        let mut reply =
            Reply { exchange: request.exchange, outcome, node, sdp: Vec::new(), call, of: request.call, heard: None };
        // What no endpoint of the world wrote comes from mischief; the relay has something to say all the same.
        let nobody = Origin { call: NO_CALL, leg: 0, number: 0 };
        let of = sdp::find(request.sdp).map_or(nobody, |seen: Seen| seen.of);
        if request.verb == Verb::Query {
            reply.heard = Some(request.call);
            if outcome == MediaOutcome::Done {
                reply.outcome = self.relay.hears(request.call, plan.rtp_permille);
            }
            self.tally.queries += 1;
        } else {
            sdp::relay(&mut reply.sdp, of, node as u8);
        }
        let fail = |reply: &mut Reply, outcome| {
            (reply.outcome, reply.node) = (outcome, request.node);
            reply.sdp.clear();
        };
        if reply.outcome != MediaOutcome::Done {
            reply.sdp.clear();
        }
        let timeout_us = self.plan.timers.media_timeout.as_micros() as u64;
        match lie {
            None => {}
            Some(Lie::Refused) => fail(&mut reply, MediaOutcome::Refused),
            Some(Lie::NoNode) => fail(&mut reply, MediaOutcome::NoNode),
            Some(Lie::RingFull) => after = 0,
            Some(Lie::Failed) => fail(&mut reply, MediaOutcome::Failed),
            Some(Lie::Silent) => fail(&mut reply, MediaOutcome::Silent),
            Some(Lie::Lost) => return,
            Some(Lie::Twice) => {
                let again = self.relay.random.below(2 * timeout_us);
                self.reply_after(shard, again, reply.clone());
            }
            Some(Lie::Late) => after = timeout_us + self.relay.random.below(60 * SECOND),
            Some(Lie::Stale) => {
                let generation = reply.exchange.generation.wrapping_sub(1);
                let index = self.relay.random.pick(&[reply.exchange.index, u32::MAX]);
                reply.exchange = ExchangeId { index, generation };
            }
            Some(Lie::Moved) => {
                let Relay { random, nodes, .. } = &mut self.relay;
                reply.node = nodes.take_over(request.call, random);
            }
            Some(Lie::Large) => reply.sdp.resize(LARGE, b' '),
            Some(Lie::Empty) => reply.sdp.clear(),
            Some(Lie::Oversized) => reply.sdp.resize(MEDIA_REQUEST_MAX, b' '),
        }
        self.reply_after(shard, after, reply);
    }

    fn reply_after(&mut self, shard: u8, after_us: u64, reply: Reply) {
        let place = self.relay.replies.len() as u32;
        self.relay.replies.push(Some(reply));
        self.network.schedule(self.now_us + after_us, Event::Media { shard, reply: place });
    }

    /// An answer is due.
    pub(super) fn reply(&mut self, shard: u8, place: u32) {
        let frozen_until = self.relay.frozen_until;
        let Some(reply) = self.relay.replies[place as usize].take() else { return };
        if self.now_us < frozen_until {
            if let Some(call) = self.calls.get_mut(reply.call as usize) {
                call.lied_to = true;
            }
            self.relay.replies[place as usize] = Some(reply);
            return self.network.schedule(frozen_until, Event::Media { shard, reply: place });
        }
        let Reply { exchange, outcome, node, ref sdp, call, of, heard } = reply;
        self.last_call = call;
        if outcome == MediaOutcome::Done
            && let Some(asked) = heard.and_then(|heard| self.relay.asked.get_mut(&heard))
        {
            asked.heard_us = Some(self.now_us);
        }
        let line = Line::Reply(outcome, exchange.index);
        self.ladder.note(self.now_us, call, End::Relay, End::Engine(shard), line, Fate::Done);
        self.obliged = outcome == MediaOutcome::Done;
        let wait = self.end_wait(shard, exchange);
        let before = wait.map_or(0, |wait| self.status_of(wait));
        self.waits.settling = (exchange != ExchangeId::NOBODY).then_some((of, node));
        self.handle(shard.into(), Input::Media(MediaReply { exchange, outcome, node, sdp }));
        self.obliged = false;
        if let Some(wait) = wait {
            self.watch_answered(wait, outcome, before);
        }
    }

    /// For a while nothing is answered.
    pub(super) fn freeze(&mut self) {
        let lasts = self.relay.random.pick(&[SECOND / 2, 3 * SECOND, 20 * SECOND]);
        self.relay.frozen_until = self.relay.frozen_until.max(self.now_us + lasts);
        self.tally.freezes += 1;
    }

    /// The control core wants something of a shard: drain, or drain no more, and now and then the end of all its calls.
    pub(super) fn command(&mut self) {
        let shard = self.random.below(self.nodes.len() as u64) as usize;
        let command = match self.random.below(5) {
            0 => Command::HangUpAll,
            1 => Command::Drain(true),
            _ => Command::Drain(false),
        };
        self.tally.commands += 1;
        if command == Command::HangUpAll {
            self.calls.iter_mut().for_each(|call| call.closing = true);
        }
        self.handle(shard, Input::Command(command));
    }
}
