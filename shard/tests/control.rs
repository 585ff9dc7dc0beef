//! Nodes on loopback and a control core: requests, replies, commands, and the journal.

mod echo;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use corelane_core::Counter;
use corelane_core::bus::{MEDIA_REQUEST_MAX, MediaOutcome, MediaReply, MediaRequest};
use corelane_core::engine::Command;
use corelane_core::steering::ShardIndex;
use corelane_shard::{ControlBus, Journals, Layout, Node};
use echo::{BOTH, Echo, echoes, ended, hear, layout, peer};

/// Records of the tests' journals.
const CAPACITY: u32 = 1_000;

/// Answers the next request, when it comes; the test fails when it does not.
fn answer(bus: &mut ControlBus, sdp: &[u8]) {
    let began = Instant::now();
    loop {
        let mut scratch = [0; MEDIA_REQUEST_MAX];
        if let Some((shard, bytes)) = bus.next_request(&mut scratch, |_| true) {
            let exchange = MediaRequest::read(bytes).expect("a request").exchange;
            assert!(bus.reply(shard, &MediaReply { exchange, outcome: MediaOutcome::Done, node: 7, sdp }));
            bus.wake();
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no request came");
        std::thread::yield_now();
    }
}

fn send(peer: &UdpSocket, text: &str, to: SocketAddr) {
    peer.send_to(text.as_bytes(), to).expect("loopback");
}

#[test]
fn a_reply_reaches_a_parked_shard() {
    for io in BOTH {
        let mut node = echoes(2, &["127.0.0.1:0"], io);
        let mut bus = node.take_bus().expect("nobody took it");
        assert!(node.take_bus().is_none());
        assert_eq!(bus.shards(), 2);
        let (peer, to) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
        for round in 0..200 {
            send(&peer, "ask 1", to);
            answer(&mut bus, format!("sdp {round}").as_bytes());
            let heard = hear(&peer);
            assert!(heard.ends_with(&format!(" Done 0 7 sdp {round}")), "{heard}");
        }
        node.stop();
        node.join().expect("a clean end");
    }
}

/// Nobody serves the control core's end: what does not fit is answered at once, and nothing else waits.
#[test]
fn a_control_core_that_stands_still_delays_nothing() {
    for io in BOTH {
        let mut node = echoes(1, &["127.0.0.1:0"], io);
        let mut bus = node.take_bus().expect("nobody took it");
        let (peer, to) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
        let mut refused = 0;
        for _ in 0..40 {
            send(&peer, "ask 20", to);
            send(&peer, "still there", to);
            loop {
                let heard = hear(&peer);
                if heard == "0 still there" {
                    break;
                }
                assert!(heard.starts_with("0 NoNode "), "{heard}");
                refused += 1;
            }
        }
        assert!((1..800).contains(&refused), "{refused}");
        let waiting =
            std::iter::from_fn(|| bus.next_request(&mut [0; MEDIA_REQUEST_MAX], |_| true).map(|_| ())).count();
        assert_eq!(waiting + refused, 800);
        node.stop();
        let counters = node.join().expect("a clean end");
        assert_eq!(counters[0].value(Counter::MediaRequestsRefused), refused as u64);
        assert_eq!(counters[0].value(Counter::BuffersLive), 0);
    }
}

#[test]
fn a_command_reaches_its_shard() {
    for io in BOTH {
        let node = echoes(1, &["127.0.0.1:0"], io);
        let (peer, to) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
        send(&peer, "hear", to);
        assert_eq!(hear(&peer), "0 hearing");
        for command in [Command::Drain(true), Command::HangUpAll, Command::HangUp { call_hash: 5, pass: 6 }] {
            node.command(ShardIndex(0), command).expect("the shard reads");
            assert_eq!(hear(&peer), format!("0 {command:?}"));
        }
        node.stop();
        node.join().expect("a clean end");
    }
}

#[test]
fn ended_calls_come_out_of_the_journal_and_new_ones_wait_for_room() {
    for io in BOTH {
        let directory = tempfile::tempdir().expect("a directory");
        let mut journals = Journals::open(directory.path(), 1, CAPACITY).expect("a journal");
        let layout = Layout { journals: journals.writers, ..layout(1, &["127.0.0.1:0"], io) };
        let node = Node::start_with(layout, |shard, _| move |_| Echo::new(shard).with_live(500));
        let node = node.expect("loopback");
        let (peer, to) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
        send(&peer, "hear", to);
        assert_eq!(hear(&peer), "0 hearing");
        // 1,000 places, 500 live calls, 256 that one turn may start: the 245th end leaves too little.
        for number in 1..=244 {
            send(&peer, &format!("end {number}"), to);
            if number % 32 == 0 {
                send(&peer, "so far", to);
                assert_eq!(hear(&peer), "0 so far");
            }
        }
        send(&peer, "still open", to);
        assert_eq!(hear(&peer), "0 still open");
        send(&peer, "end 245", to);
        assert_eq!(hear(&peer), "0 HoldNewCalls(true)");
        let reader = &mut journals.readers[0];
        for number in 1..=245 {
            assert_eq!(reader.next_record(), Some(Ok(ended(number))));
        }
        assert_eq!(reader.next_record(), None);
        reader.acknowledge();
        send(&peer, "a turn", to);
        let mut heard = [hear(&peer), hear(&peer)];
        heard.sort();
        assert_eq!(heard, ["0 HoldNewCalls(false)", "0 a turn"]);
        node.stop();
        let counters = node.join().expect("a clean end");
        let value = |counter| counters[0].value(counter);
        assert_eq!((value(Counter::RecordsWritten), value(Counter::RecordsLost)), (245, 0));
        assert_eq!((value(Counter::RecordsUnread), value(Counter::CallsHeldOff)), (0, 1));
    }
}

/// What a shard wrote is there for the next process, whatever became of the control core.
#[test]
fn the_journal_outlives_the_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let journals = Journals::open(directory.path(), 1, CAPACITY).expect("a journal");
    let layout = Layout { journals: journals.writers, ..layout(1, &["127.0.0.1:0"], BOTH[0]) };
    let node = Node::start_with(layout, |shard, _| move |_| Echo::new(shard)).expect("loopback");
    let (peer, to) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
    (1..=3).for_each(|number| send(&peer, &format!("end {number}"), to));
    send(&peer, "done", to);
    assert_eq!(hear(&peer), "0 done");
    drop(journals.readers);
    node.stop();
    node.join().expect("a clean end");
    let mut journals = Journals::open(directory.path(), 1, CAPACITY).expect("a journal");
    let found: Vec<_> = std::iter::from_fn(|| journals.readers[0].next_record()).collect();
    assert_eq!(found, [Ok(ended(1)), Ok(ended(2)), Ok(ended(3))]);
}
