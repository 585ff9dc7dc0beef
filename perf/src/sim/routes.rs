//! The routing images of a world: the same providers, gateways and slots over three generations, with other ways between them.

use corelane_core::routing::TimeoutMode;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{ProviderRecord, Redirect};

use super::network::{LISTENERS, Party};
use super::plan::Plan;
use super::random::Random;

/// Generations of a world's image.
const GENERATIONS: u64 = 3;

/// The images of a plan.
pub(super) fn images(plan: &Plan, random: &mut Random) -> Vec<ImageBytes> {
    let far = random.bits();
    (0..GENERATIONS).map(|generation| image(plan, generation, far, random)).collect()
}

/// Generation 0 knows all gateways; in later ones one is switched off, one more exists, and prefixes lead elsewhere.
fn image(plan: &Plan, generation: u64, far: u64, random: &mut Random) -> ImageBytes {
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
            max_calls: cap(plan, random),
            max_cps: cap(plan, random),
            max_calls_day: cap(plan, random).map(|calls| calls * 10),
            timeout_mode: match &plan.media {
                Some(media) if media.keeps(number) => TimeoutMode::Media,
                _ => TimeoutMode::Hard,
            },
            redirect: redirect(number),
            ..ProviderRecord::default()
        });
        image.address(provider, &address(Party::Caller(number)));
        if let Some(max_cps) = cap(plan, random) {
            image.cap_address(max_cps);
        }
    }
    let count = plan.gateways + u8::from(generation > 0);
    let gateways: Vec<_> = (0..count)
        .map(|number| {
            let slot = image.gateway(&format!("gateway-{number}"), &Party::Gateway(number).text());
            let listener = if far >> number & 1 == 1 { far_listener } else { near_listener };
            let (max_calls, max_cps) = (cap(plan, random), cap(plan, random));
            image.edit_gateway(slot, |gateway| {
                gateway.listener = Some(listener.0);
                (gateway.max_calls, gateway.max_cps) = (max_calls, max_cps);
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
    image.route(1, "1", single).route(1, "2", all).route(1, "3", shared);
    image.route_weighted(1, "4", single, 0, 1).route_weighted(1, "4", all, 1, 1);
    image.finish()
}

/// A limit, in some worlds for some: now and then none at all may pass.
fn cap(plan: &Plan, random: &mut Random) -> Option<u32> {
    random.chance(plan.capped_permille).then(|| random.below(40) as u32)
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
