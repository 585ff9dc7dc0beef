//! Threads are where they were put: each shard and the control core on a core of its own, slow work behind the others.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::corelane::{Corelane, Options, listener};
use crate::process::wait_until;
use crate::serial;
use crate::site::{Site, Tables};

/// What the kernel says of each thread, by its name: the CPUs that it may run on, and its niceness.
fn threads(pid: u32) -> BTreeMap<String, (String, i64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let thread = |task: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).ok();
        let status = read("status")?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        // Behind the name in parentheses the state is the third field of the line, niceness the nineteenth.
        let nice = read("stat")?.rsplit_once(") ")?.1.split(' ').nth(19 - 3)?.parse().ok()?;
        Some((field("Name:")?, (field("Cpus_allowed_list:")?, nice)))
    };
    tasks.filter_map(Result::ok).filter_map(thread).collect()
}

#[test]
fn shards_and_control_core_are_pinned_and_slow_work_steps_back() {
    let _serial = serial();
    let site = Site::new();
    let tables = Tables::new(listener(&site), site.caller()).gateway("49", site.address(21));
    let corelane = Corelane::start(&site, &tables, &Options { shards: 2, ..Options::default() });
    // A thread names itself, and steps back, as the first thing that it does.
    let threads = wait_until("slow work has stepped back", Duration::from_secs(20), || {
        let threads = threads(corelane.pid());
        threads.get("control-slow").is_some_and(|(_, nice)| *nice >= 10).then_some(threads)
    });
    // The executor adds a number of its own to a shard's name.
    let of = |name: &str| {
        let found =
            threads.iter().find(|(full, _)| full.strip_prefix(name).is_some_and(|rest| !rest.starts_with("-slow")));
        found.unwrap_or_else(|| panic!("no thread `{name}` in {threads:?}")).1.clone()
    };
    let pinned = ["shard-0", "shard-1", "control"].map(of);
    let slow = &threads["control-slow"];
    for (cpus, nice) in &pinned {
        assert!(cpus.parse::<u32>().is_ok(), "one core each: {threads:?}");
        assert!(*nice < slow.1, "slow work steps back: {threads:?}");
    }
    assert_ne!(pinned[0].0, pinned[1].0, "a core of its own for each shard: {threads:?}");
    corelane.stop_empty();
}
