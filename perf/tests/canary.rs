//! Leaks planted in the engine: the simulator must find each, or its silence means nothing. Only with the feature `canary`.

use corelane_core::engine::Leak;
use corelane_perf::sim::{Options, WORLD_CALLS, run};

/// The first of some worlds without a fault of their own, among them ones in which media goes through nodes.
const SEED: u64 = 3;

/// Worlds in a row, of which one has caps for what the first has not.
const WORLDS: u32 = 12;

fn fault_with(leak: Option<Leak>) -> Option<String> {
    let options = Options { leak, ..Options::new(SEED, WORLDS * WORLD_CALLS) };
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
        // It is found where it belongs to nobody, or to whoever has its place now.
        (Leak::Timer, "timer"),
        (Leak::IndexEntry, "the server index is not one to one with the server transactions"),
        (Leak::Exchange, "left of ExchangesLive when all is over"),
        (Leak::Detour, "a message came to its writer without having been to a media node"),
        (Leak::Description, "left with the session description that its endpoint wrote"),
        (Leak::Hold, "no record holds a place that was taken of caps"),
        (Leak::Record, "not each call that ended gave one record"),
    ] {
        let fault = fault_with(Some(leak)).unwrap_or_else(|| panic!("{leak:?} was not found"));
        assert!(fault.contains(rule), "{leak:?} was found as: {fault}");
    }
}
