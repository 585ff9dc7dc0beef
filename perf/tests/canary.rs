//! Leaks planted in the engine: the simulator must find each, or its silence means nothing. Only with the feature `canary`.

use corelane_core::engine::Leak;
use corelane_perf::sim::{Options, WORLD_CALLS, run};

/// A world without a fault of its own, in which media goes through nodes.
const SEED: u64 = 3;

fn fault_with(leak: Option<Leak>) -> Option<String> {
    let options = Options { leak, ..Options::new(SEED, WORLD_CALLS) };
    run(&options, &mut |_| {}).err().map(|failure| failure.what)
}

#[test]
fn a_world_without_a_leak_is_clean() {
    assert_eq!(fault_with(None), None);
}

#[test]
fn each_leak_is_found() {
    for (leak, rule) in [
        (Leak::Buffer, "a buffer is in use that nobody holds"),
        (Leak::Timer, "a timer runs that belongs to no record"),
        (Leak::IndexEntry, "the server index is not one to one with the server transactions"),
        (Leak::Exchange, "left of ExchangesLive when all is over"),
        (Leak::Detour, "a message came to its writer without having been to a media node"),
        (Leak::Description, "left with the session description that its endpoint wrote"),
    ] {
        let fault = fault_with(Some(leak)).unwrap_or_else(|| panic!("{leak:?} was not found"));
        assert!(fault.contains(rule), "{leak:?} was found as: {fault}");
    }
}
