//! Time windows in a call: the wall clock decides which prefix it leaves by.

use std::time::Duration;

use super::world::{CALLER, FAR_GATEWAY, GATEWAY, World, invite, ladder, response};

/// SPEC §3, *Route*: when no route of the longest prefix is inside its time window, the next shorter prefix.
#[test]
fn outside_its_window_a_route_leaves_the_number_to_a_shorter_prefix() {
    let mut world = World::new();
    let refused = |world: &mut World, call: &str, gateway: &str| {
        let sent = world.deliver(CALLER, &invite("43771234", call).text());
        assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{gateway} INVITE")], "{call}");
        let busy = response(&sent[1], 486, "busy", &[]);
        assert_eq!(ladder(&world.deliver(gateway, &busy)), [format!("{gateway} ACK"), format!("{CALLER} 486")]);
    };
    refused(&mut world, "in-the-hour", GATEWAY);
    world.advance(Duration::from_secs(3599));
    refused(&mut world, "in-its-last-second", GATEWAY);
    world.advance(Duration::from_secs(1));
    refused(&mut world, "after-it", FAR_GATEWAY);
    world.advance(Duration::from_secs(23 * 3600));
    refused(&mut world, "on-the-next-day", GATEWAY);
    world.settle();
}
