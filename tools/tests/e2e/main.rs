//! End to end: the real `corelane` binary between real SIPp processes and raw sockets.
//!
//! ```text
//!   SIPp caller ──► corelane (N shards) ──► SIPp gateway        harness: process, site, corelane, sipp, peer, wire
//!   raw socket  ──►        │
//!                          └── counters: SIGUSR1, and once more at exit
//! ```
//!
//! Rules of this directory:
//!
//! - Nothing sleeps "until it is probably done": every wait polls a fact and has a deadline ([`process::wait_until`]).
//! - Every process is ended by its pid when its guard goes out of scope, whatever failed before.
//! - Every test has addresses of its own in 127.0.0.0/8 ([`site::Site`]), so that a stray of one cannot reach another. They still
//!   run one at a time ([`serial`]): SIPp on two cores next to another load says nothing about Corelane. Only a test that has nothing
//!   left but to wait for Corelane's last timers lets the next one start.
//! - A call is good when both its ends say so and every slab of every shard is empty again after the linger timers.

mod abandoned;
mod bad_input;
mod calls;
mod cancelling;
mod caps;
mod corelane;
mod drain;
mod hunting;
mod in_dialog;
mod listeners;
mod loss;
mod media;
mod numbers;
mod peer;
mod placement;
mod process;
mod refusals;
mod scenarios;
mod session;
mod sipp;
mod site;
mod soak;
mod wire;

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// This test's claim on the machine.
    static CLAIM: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Held by each test for its whole life.
struct Serial;

impl Drop for Serial {
    fn drop(&mut self) {
        let_others_run();
    }
}

/// Waits until no other test keeps the machine busy.
fn serial() -> Serial {
    claim();
    Serial
}

/// Takes the machine again after [`let_others_run`]. A test that failed must not fail the next, so poison is ignored.
fn claim() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    CLAIM.with_borrow_mut(|claim| {
        claim.get_or_insert_with(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    });
}

/// Leaves the machine to others while this test only waits for its last timers.
fn let_others_run() {
    CLAIM.take();
}
