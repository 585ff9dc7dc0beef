//! The routing images of a world: the same providers, gateways and slots over three generations, with other ways between them.

use corelane_core::routing::TimeoutMode;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{ProviderRecord, Redirect};

use super::network::{LISTENERS, Party, SECOND};
use super::plan::Plan;
use super::random::Random;

/// Carriers of a world: `single`, `all` and `shared`, in the order of their slots.
const CARRIERS: u8 = 3;

/// Generations of a world's image.
const GENERATIONS: u64 = 3;

/// What one peer may have at most.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Limit {
    /// Calls at the same time.
    pub(super) calls: Option<u32>,
    /// And in a second.
    pub(super) cps: Option<u32>,
}

impl Limit {
    /// In some worlds for some: around what the load asks for, now and then next to nothing.
    fn draw(plan: &Plan, random: &mut Random, of_peers: u64) -> Limit {
        let rate = u64::from(plan.calls_per_second);
        // A call stands for as long as its talk and some seconds of ringing.
        let load = rate * (plan.habits.talk_us() / SECOND + 3) / of_peers;
        let mut limit = |load: u64| {
            let around = load * random.between(60, 400) / 100 + 1;
            let drawn = if random.chance(80) { random.below(3) } else { around };
            random.chance(plan.capped_permille).then_some(drawn as u32)
        };
        let (calls, cps) = (limit(load), limit(2 * rate / of_peers));
        // What is refused for one limit alone can be told from the other.
        let both = random.chance(500);
        Limit { calls, cps: cps.filter(|_| both) }
    }
}

/// The limits of a world, the same in all generations of its image.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) providers: Vec<Limit>,
    pub(super) carriers: Vec<Limit>,
    pub(super) gateways: Vec<Limit>,
}

impl Limits {
    pub(super) fn draw(plan: &Plan, random: &mut Random) -> Limits {
        let mut some = |count: u8, of_peers: u8| {
            (0..count).map(|_| Limit::draw(plan, random, of_peers.into())).collect::<Vec<_>>()
        };
        Limits {
            providers: some(plan.callers, plan.callers),
            carriers: some(CARRIERS, CARRIERS),
            gateways: some(plan.gateways + 1, plan.gateways.div_ceil(2)),
        }
    }
}

/// The images of a plan.
pub(super) fn images(plan: &Plan, limits: &Limits, random: &mut Random) -> Vec<ImageBytes> {
    let far = random.bits();
    (0..GENERATIONS).map(|generation| image(plan, limits, generation, far, random)).collect()
}

/// Generation 0 knows all gateways; in later ones one is switched off, one more exists, and prefixes lead elsewhere.
fn image(plan: &Plan, limits: &Limits, generation: u64, far: u64, random: &mut Random) -> ImageBytes {
    let mut image = Builder::new();
    image.generation(generation + 1);
    if plan.media.as_ref().is_some_and(|media| media.has_nodes(generation)) {
        image.media_node(0);
    }
    let near_listener = image.listener(LISTENERS[0]);
    let far_listener = image.listener(LISTENERS[1]);
    for number in 0..plan.callers {
        let provider = image.provider_with(ProviderRecord {
            name: format!("caller-{number}"),
            enabled: true,
            routing_group: 1,
            refuse_code: random.pick(&[503, 480]),
            max_calls: limits.providers[usize::from(number)].calls,
            max_cps: limits.providers[usize::from(number)].cps,
            max_calls_day: of_day(plan, random),
            timeout_mode: match &plan.media {
                Some(media) if media.keeps(number) => TimeoutMode::Media,
                _ => TimeoutMode::Hard,
            },
            redirect: redirect(number),
            ..ProviderRecord::default()
        });
        image.address(provider, &address(Party::Caller(number)));
        if let Some(max_cps) = limits.providers[usize::from(number)].cps.map(|cps| cps + 1) {
            image.cap_address(max_cps);
        }
    }
    let count = plan.gateways + u8::from(generation > 0);
    let gateways: Vec<_> = (0..count)
        .map(|number| {
            let slot = image.gateway(&format!("gateway-{number}"), &Party::Gateway(number).text());
            let listener = if far >> number & 1 == 1 { far_listener } else { near_listener };
            let limit = limits.gateways[usize::from(number)];
            image.edit_gateway(slot, |gateway| {
                gateway.listener = Some(listener.0);
                (gateway.max_calls, gateway.max_cps) = (limit.calls, limit.cps);
            });
            slot
        })
        .collect();
    if generation > 0 && count > 1 {
        let off = gateways[random.below(count.into()) as usize];
        image.edit_gateway(off, |gateway| gateway.enabled = false);
    }
    let rotated = |by: usize| -> Vec<_> {
        (0..gateways.len()).map(|place| gateways[(place + by + generation as usize) % gateways.len()]).take(8).collect()
    };
    let single = image.carrier("single", &rotated(0)[..1]);
    let all = image.carrier("all", &rotated(1));
    let weighted: Vec<_> = rotated(2).into_iter().map(|slot| (slot, 0, 1 + slot.0)).collect();
    let shared = image.carrier_weighted("shared", &weighted);
    for (carrier, limit) in [single, all, shared].into_iter().zip(&limits.carriers) {
        image.edit_carrier(carrier, |carrier| (carrier.max_calls, carrier.max_cps) = (limit.calls, limit.cps));
    }
    image.route(1, "1", single).route(1, "2", all).route(1, "3", shared);
    image.route_weighted(1, "4", single, 0, 1).route_weighted(1, "4", all, 1, 1);
    image.finish()
}

/// Calls of a day, in some worlds for some: few of them run out of these.
fn of_day(plan: &Plan, random: &mut Random) -> Option<u32> {
    let share = u64::from(plan.calls) / u64::from(plan.callers);
    random.chance(plan.capped_permille / 3).then(|| random.between(share / 2, 4 * share) as u32)
}

/// Whether what a gateway says of another way goes to a caller as it is.
pub(super) fn passes_redirects(caller: u8) -> bool {
    redirect(caller) == Redirect::Pass
}

fn redirect(caller: u8) -> Redirect {
    [Redirect::Hunt, Redirect::Pass, Redirect::Recurse][usize::from(caller) % 3]
}

fn address(party: Party) -> String {
    party.endpoint().ip.to_string()
}
