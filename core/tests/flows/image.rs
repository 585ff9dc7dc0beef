//! The routing image of the tests: one provider, two gateways, the second bound to the second listener; and a route that is there for an
//! hour.

use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{Schedule, WindowRow};

use super::world::{CALLER, FAR_GATEWAY, GATEWAY};

/// The hour in which the clock of a new world stands, 2027-01-15 08:00 UTC: numbers that start with 4377 have their own route in it.
const MORNING: WindowRow = WindowRow { from_s: 8 * 3600, to_s: 9 * 3600, ..WindowRow::EVERY_DAY };

pub(crate) fn image() -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let far = builder.listener("10.0.1.1:5070");
    let provider = builder.provider("acme", 1);
    builder.address(provider, CALLER.split(':').next().expect("an address"));
    let near_gateway = builder.gateway("near", GATEWAY);
    let far_gateway = builder.gateway("far", FAR_GATEWAY);
    builder.edit_gateway(far_gateway, |gateway| gateway.listener = Some(far.0));
    let near_carrier = builder.carrier("near", &[near_gateway]);
    let far_carrier = builder.carrier("far", &[far_gateway]);
    builder.route(1, "49", near_carrier);
    builder.route(1, "43", far_carrier);
    let window = builder.window(&[MORNING]);
    builder.route_at(1, "4377", near_carrier, Schedule { window, ..Schedule::ALWAYS });
    builder.finish()
}
