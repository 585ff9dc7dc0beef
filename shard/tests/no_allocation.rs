//! A shard allocates nothing once it runs: counted by the allocator itself, over every kind of turn.

#![allow(unsafe_code, reason = "an allocator that counts is the named exception")]

mod echo;

use std::alloc::{GlobalAlloc, Layout as Shape, System};
use std::cell::Cell;

use corelane_core::{BufferRef, Counter, Counters, Effects, Input, Instant, Now};
use corelane_shard::{Journals, Layout, Node, Protocol};
use echo::{BOTH, Echo, hear, layout, peer};

thread_local! {
    /// Allocations and frees of this thread while it is watched; `None` while it is not.
    static SEEN: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

fn note() {
    // A thread that ends has no locals any more, and is not watched.
    let _ = SEEN.try_with(|seen| seen.set(seen.get().map(|count| count + 1)));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, shape: Shape) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(shape) }
    }
    unsafe fn dealloc(&self, place: *mut u8, shape: Shape) {
        note();
        // SAFETY: as above.
        unsafe { System.dealloc(place, shape) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An echo whose thread is watched from its first datagram on; the sum ends in a counter.
struct Watched {
    echo: Echo,
    inputs: u64,
}

impl Protocol for Watched {
    fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        if self.inputs == 0 {
            SEEN.set(Some(0));
        }
        self.inputs += 1;
        self.echo.handle(now, input, effects);
    }
    fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.echo.buffer(buffer)
    }
    fn release(&mut self, buffer: BufferRef) {
        self.echo.release(buffer);
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.echo.next_timeout()
    }
    fn counters(&mut self) -> &mut Counters {
        let counters = self.echo.counters();
        counters.set(Counter::TimersLive, SEEN.get().unwrap_or(0));
        counters
    }
}

#[test]
fn a_running_shard_never_allocates() {
    for io in BOTH {
        let directory = tempfile::tempdir().expect("a directory");
        let journals = Journals::open(directory.path(), 2, 10_000).expect("journals");
        let layout = Layout { journals: journals.writers, ..layout(2, &["127.0.0.1:0", "[::1]:0"], io) };
        let node = Node::start_with(layout, |shard, _| move |_| Watched { echo: Echo::new(shard), inputs: 0 })
            .expect("loopback");
        for (address, local) in node.local_addresses().iter().zip(["127.0.0.1:0", "[::1]:0"]) {
            let peers: Vec<_> = (0..8).map(|_| peer(local)).collect();
            for call in 0..200 {
                for peer in &peers {
                    let datagram = format!("hello\r\nCall-ID: call-{call}\r\n\r\n");
                    peer.send_to(datagram.as_bytes(), address).expect("loopback");
                    assert!(hear(peer).ends_with("hello"));
                }
            }
            // A burst that empties the ring's buffers, a timer, sends beyond one flush.
            for _ in 0..15 {
                peers[0].send_to(b"many 10", address).expect("loopback");
            }
            (0..150).for_each(|_| assert!(hear(&peers[0]).ends_with("many 10")));
            // Ends of calls, and requests that nobody reads until the ring is full.
            for number in 0..100 {
                peers[2].send_to(format!("end {number}").as_bytes(), address).expect("loopback");
                peers[2].send_to(b"ask 10", address).expect("loopback");
                peers[2].send_to(b"so far", address).expect("loopback");
                while !hear(&peers[2]).ends_with("so far") {}
            }
            peers[1].send_to(b"later 1", address).expect("loopback");
            assert!(hear(&peers[1]).ends_with("time"));
        }
        node.stop();
        let counters = node.join().expect("a clean end");
        assert!(counters.iter().map(|counters| counters.value(Counter::DatagramsForwarded)).sum::<u64>() > 0);
        assert!(counters.iter().map(|counters| counters.value(Counter::MediaRequestsRefused)).sum::<u64>() > 0);
        assert_eq!(counters.iter().map(|counters| counters.value(Counter::RecordsWritten)).sum::<u64>(), 200);
        for counters in counters {
            assert!(counters.value(Counter::DatagramsIn) > 0);
            assert_eq!(counters.value(Counter::TimersLive), 0, "allocations and frees of {io:?}");
        }
    }
}
