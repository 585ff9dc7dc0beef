//! Whole calls from SIPp through Corelane to SIPp, with every way to run it: shards, steering, I/O.

use std::thread::available_parallelism;

use crate::corelane::{Corelane, Options, listener};
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls of one run. With two gateways and four shards each pair sees about thirty.
const CALLS: u32 = 240;

/// In which they are placed: so few that a machine with other work to do is not overloaded.
const SECONDS: u32 = 4;

/// Two of three numbers go to the first gateway: the third is caught by the longer prefix.
const NUMBERS: [&str; 3] = ["493012345", "493098765", "498912345"];

/// Callers on many ports, two gateways by prefix, callees and callers hanging up: each shard must meet its own calls only.
fn whole_calls(shards: usize, steering: &'static str, io: &'static str) {
    let _serial = serial();
    let site = Site::new();
    let (address, first, second) = (listener(&site), site.address(21), site.address(22));
    let (third, fourth) = (site.address(23), site.address(24));
    let tables = Tables::new(address, site.caller())
        .gateway("49", first)
        .gateway("4989", second)
        .gateway("33", third)
        .gateway("34", fourth);
    let corelane = Corelane::start(&site, &tables, &Options { shards, steering, io, ..Options::default() });

    let gateways = [
        Sipp::uas(&site, "uas_basic", first).start(),
        Sipp::uas(&site, "uas_basic", second).start(),
        Sipp::uas(&site, "uas_hangs_up", third).start(),
        Sipp::uas(&site, "uas_reinvite", fourth).start(),
    ];
    let caller = |scenario: &str, numbers: &[&str], calls| {
        let rate = calls / SECONDS;
        Sipp::uac(&site, scenario, site.caller(), address).dial(numbers).calls(calls, rate).many_sockets().start()
    };
    let callers = [
        caller("uac_basic", &NUMBERS, CALLS),
        caller("uac_hungup", &["3312345"], CALLS / 4),
        caller("uac_reinvite", &["3412345"], CALLS / 4),
    ];
    for caller in callers {
        caller.complete();
    }
    let answered = gateways.map(|gateway| gateway.stop().successful);
    assert_eq!(
        answered,
        [CALLS * 2 / 3, CALLS / 3, CALLS / 4, CALLS / 4].map(u64::from),
        "calls that each gateway answered"
    );

    let calls = u64::from(CALLS + CALLS / 2);
    let counters = corelane.stop_empty();
    for name in ["calls_started", "calls_answered", "calls_ended"] {
        assert_eq!(counters.node(name), calls, "{name}");
    }
    let busy = (0..shards).filter(|&shard| counters.shard(shard, "calls_started") > 0).count();
    assert_eq!(busy, shards, "every shard takes its share of {calls} Call-IDs");
    for shard in 0..shards {
        assert_eq!(counters.shard(shard, "datagrams_foreign"), 0, "after steering, shard {shard} met calls of another");
    }
    if shards == 1 || steering == "bpf" {
        assert_eq!(counters.node("datagrams_forwarded"), 0, "nothing is forwarded where the kernel steers");
    } else {
        assert!(counters.node("datagrams_forwarded") > 0, "callers on many ports reach shards by chance");
    }
    assert_eq!(counters.node("forward_dropped") + counters.node("send_failed") + counters.node("parse_errors"), 0);
}

macro_rules! whole_calls {
    ($( $name:ident: $shards:literal, $steering:literal, $io:literal; )*) => {
        $( #[test] fn $name() { whole_calls($shards, $steering, $io); } )*
    };
}

whole_calls! {
    one_shard_bpf_mmsg: 1, "bpf", "mmsg";
    one_shard_bpf_ring: 1, "bpf", "ring";
    one_shard_forward_mmsg: 1, "forward", "mmsg";
    one_shard_forward_ring: 1, "forward", "ring";
    two_shards_bpf_mmsg: 2, "bpf", "mmsg";
    two_shards_bpf_ring: 2, "bpf", "ring";
    two_shards_forward_mmsg: 2, "forward", "mmsg";
    two_shards_forward_ring: 2, "forward", "ring";
    four_shards_bpf_mmsg: 4, "bpf", "mmsg";
    four_shards_bpf_ring: 4, "bpf", "ring";
    four_shards_forward_mmsg: 4, "forward", "mmsg";
    four_shards_forward_ring: 4, "forward", "ring";
}

/// More shards than cores is allowed, and said.
#[test]
fn more_shards_than_cores_is_warned_of() {
    let _serial = serial();
    let site = Site::new();
    let cores = available_parallelism().expect("the machine knows its cores").get();
    let tables = Tables::new(listener(&site), site.caller()).gateway("49", site.address(21));
    let options = Options { shards: cores + 1, ..Options::default() };
    let corelane = Corelane::start(&site, &tables, &options);
    let log = corelane.log().to_lowercase();
    assert!(log.lines().any(|line| line.contains("warn") && line.contains("shards")), "no warning in:\n{log}");
    corelane.stop_empty();
}
