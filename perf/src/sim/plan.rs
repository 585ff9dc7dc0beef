//! What a seed makes of a world: its size, which faults are on and how strong, how its peers behave.
//!
//! Each fault is on in some worlds only, and then between mild and brutal. A bug that needs the absence of loss and a full pool is as
//! likely to be met as one that needs both; one mixture for all runs would meet neither.

use std::time::Duration;

use corelane_core::engine::{Budget, Policy, Timers, UnknownSource};

use super::media::MediaPlan;
use super::network::SECOND;
use super::random::Random;
use super::script::Habits;

/// What the links do.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Faults {
    pub(super) loss_permille: u32,
    pub(super) double_permille: u32,
    pub(super) reorder_permille: u32,
    pub(super) delay_us: u64,
    pub(super) jitter_us: u64,
}

/// Which records are few.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Scarce {
    Nothing,
    /// Call records only: the calls that exist must not notice.
    Calls,
    /// Everything, in some proportion: only the books must balance.
    Everything,
}

/// Who offers and who answers. All 0: the INVITE offers, each response with a tag answers the same.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Offers {
    /// INVITEs and re-INVITEs without an offer.
    pub(super) delayed_permille: u32,
    /// PRACKs with another offer.
    pub(super) prack_permille: u32,
    /// UPDATEs with one.
    pub(super) update_permille: u32,
    /// Responses with another answer than the one before.
    pub(super) fresh_permille: u32,
    /// Provisional responses that do not answer yet.
    pub(super) bare_permille: u32,
}

/// How often something happens: the mean time between two, none where it is off.
pub(super) type Every = Option<u64>;

/// A world.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) calls: u32,
    pub(super) calls_per_second: u32,
    pub(super) shards: u8,
    pub(super) callers: u8,
    pub(super) gateways: u8,
    /// One per party, callers first.
    pub(super) links: Vec<Faults>,
    /// Datagrams that reach another shard than their owner.
    pub(super) misrouted_permille: u32,
    /// Of those handed to their owner, the ones lost on the way.
    pub(super) inbox_loss_permille: u32,
    /// The longest that the kernel keeps a buffer.
    pub(super) release_us: u64,
    /// The latest that a due timer is noticed.
    pub(super) late_us: u64,
    /// The longest that a datagram waits for its shard.
    pub(super) queued_us: u64,
    pub(super) timers: Timers,
    pub(super) scarce: Scarce,
    pub(super) budget: Budget,
    pub(super) unknown_source: UnknownSource,
    pub(super) policy: Policy,
    pub(super) swap_every: Every,
    pub(super) step_every: Every,
    pub(super) crash_every: Every,
    pub(super) noise_every: Every,
    pub(super) command_every: Every,
    /// Providers, carriers and gateways with limits.
    pub(super) capped_permille: u32,
    /// Calls whose messages are mutilated, repeated wrongly or forged.
    pub(super) mischief_permille: u32,
    pub(super) habits: Habits,
    pub(super) offers: Offers,
    /// The media relay, where calls go through one.
    pub(super) media: Option<MediaPlan>,
}

impl Plan {
    /// The world of a seed.
    pub(super) fn draw(calls: u32, random: &mut Random, of_media: &mut Random) -> Plan {
        let media = MediaPlan::draw(of_media);
        let shards = random.pick(&[1, 1, 2, 3, 4]);
        let callers = random.between(1, 6) as u8;
        let gateways = random.between(1, 8) as u8;
        let mildest = draw_faults(random);
        let links = (0..callers + gateways)
            .map(|_| {
                let own = draw_faults(random);
                if random.chance(300) { own } else { mildest }
            })
            .collect();
        let calls_per_second = random.pick(&[5, 20, 50, 100, 300]);
        let mut timers = draw_timers(random);
        if media.is_some() {
            timers.media_timeout = Duration::from_secs(of_media.pick(&[5, 5, 2, 10]));
            timers.media_idle = Duration::from_secs(of_media.pick(&[60, 60, 5]));
        }
        let scarce =
            random.pick(&[Scarce::Nothing, Scarce::Calls, Scarce::Nothing, Scarce::Everything, Scarce::Nothing]);
        let scarce = if random.chance(500) { scarce } else { Scarce::Nothing };
        Plan {
            calls,
            calls_per_second,
            shards,
            callers,
            gateways,
            links,
            misrouted_permille: random.pick(&[0, 100, 500, 1000]),
            inbox_loss_permille: random.pick(&[0, 0, 0, 20]),
            release_us: random.pick(&[0, 0, 1_000, 50_000, 2 * SECOND]),
            late_us: random.pick(&[0, 0, 2_000, 40_000, 3 * SECOND]),
            queued_us: random.pick(&[0, 0, 1_000, 30_000]),
            timers,
            scarce,
            budget: draw_budget(random, scarce, calls, calls_per_second, media.is_some(), &timers),
            unknown_source: random.pick(&[UnknownSource::Drop, UnknownSource::Forbid]),
            policy: Policy {
                hunt_after_ringing: random.chance(700),
                remap_503: random.chance(700),
                bye_on_expiry: random.chance(700),
                shed_in_kernel: true,
            },
            swap_every: draw_every(random),
            step_every: draw_every(random),
            crash_every: draw_every(random),
            noise_every: draw_every(random),
            command_every: if random.chance(250) { Some(10 * SECOND) } else { None },
            capped_permille: random.pick(&[0, 0, 300, 1000]),
            mischief_permille: random.pick(&[0, 0, 50, 300]),
            habits: Habits::draw(random),
            offers: media.as_ref().map(|media| media.offers).unwrap_or_default(),
            media,
        }
    }
}

fn draw_faults(random: &mut Random) -> Faults {
    Faults {
        loss_permille: random.pick(&[0, 0, 0, 10, 50, 200]),
        double_permille: random.pick(&[0, 0, 20, 200]),
        reorder_permille: random.pick(&[0, 0, 20, 200]),
        delay_us: random.between(100, 80_000),
        jitter_us: random.pick(&[0, 2_000, 50_000, 800_000]),
    }
}

fn draw_timers(random: &mut Random) -> Timers {
    let seconds = Duration::from_secs;
    Timers {
        fr_timer: seconds(random.pick(&[4, 4, 2, 10])),
        progress_timeout: seconds(random.pick(&[10, 10, 3])),
        invite_timeout: seconds(random.pick(&[30, 30, 8, 90])),
        early_timeout: seconds(random.pick(&[300, 300, 40])),
        ring_timeout: seconds(random.pick(&[180, 180, 60, 20])),
        noack_timeout: seconds(random.pick(&[60, 60, 20, 90])),
        default_timeout: seconds(random.pick(&[1800, 1800, 300, 60])),
        ..Timers::default()
    }
}

fn draw_every(random: &mut Random) -> Every {
    random.pick(&[None, None, Some(SECOND), Some(5 * SECOND), Some(30 * SECOND)])
}

fn draw_budget(
    random: &mut Random,
    scarce: Scarce,
    calls: u32,
    calls_per_second: u32,
    media: bool,
    timers: &Timers,
) -> Budget {
    // Twice the rate, because forks, refreshes and repeated requests with credentials come on top; with a relay, what waits for it.
    let rate = calls_per_second * if media { 4 } else { 2 } + 20;
    let ample = Budget::for_shard(calls + 64, rate, 1, timers);
    let few = |random: &mut Random, ample: u32| ample.min(random.between(4, 200) as u32);
    match scarce {
        Scarce::Nothing => ample,
        Scarce::Calls => Budget { calls: few(random, ample.calls), ..ample },
        Scarce::Everything => Budget {
            calls: few(random, ample.calls),
            server_transactions: few(random, ample.server_transactions),
            client_transactions: few(random, ample.client_transactions),
            buffers: ample.buffers.map(|count| few(random, count)),
            exchanges: if media { few(random, ample.exchanges) } else { ample.exchanges },
            ..ample
        },
    }
}
