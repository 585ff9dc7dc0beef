//! Whole calls through the engine alone: nothing allocated, nothing left, seven datagrams in and seven out.

use corelane_perf::engine_calls::{Plan, run};
use corelane_perf::sys::allocator::{Counting, taken};

// Without it the count of allocations would be 0 whatever the engine does.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_call_allocates_nothing_and_leaves_nothing() {
    let plan = Plan { calls: 2_000, warm_up: 500, prefixes: 100 };
    let outcome = run(&plan).expect("the engine passes calls through");
    assert_eq!(outcome.datagrams, (14_000, 14_000));
    assert_eq!(outcome.allocations, 0, "{outcome}");
    assert_eq!(outcome.left, [0; 5], "{outcome}");
    assert!(outcome.holds());
}

#[test]
fn the_allocator_counts_what_takes_memory() {
    let before = taken();
    let mut list: Vec<u64> = Vec::with_capacity(1);
    list.extend([1, 2, 3]);
    let boxed = Box::new(list.len());
    assert_eq!((taken() - before, *boxed), (3, 3), "one for the list, one for its growth, one for the box");
}
