//! The smoke run of the simulator: worlds of all kinds, in which nothing may break. `make sim` runs many more.

use corelane_perf::sim::{Options, run};

/// The first of the worlds: any would do, these are many kinds in few.
const FIRST_SEED: u64 = 1;

/// Calls that end in them, some fifty worlds.
const CALLS: u32 = 30_000;

#[test]
fn fifty_worlds_end_clean() {
    let report = match run(&Options::new(FIRST_SEED, CALLS), &mut |_| {}) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    };
    // A world that meets nothing proves nothing.
    assert!(report.ended() >= u64::from(CALLS), "{report}");
    // What befalls a call that stands is met only by those that were answered.
    assert!(report.answered() > report.ended() / 2, "{report}");
    assert!(report.refused_for_room() > 0, "{report}");
    assert!(report.finals().iter().all(|finals| *finals > 0), "{report}");
    let [wishes, lies, freezes, nodes_lost] = report.media();
    assert!(wishes > 1000 && lies > 100 && freezes > 0 && nodes_lost > 0, "{report}");
    assert!(report.relayed() > wishes / 2, "{report}");
}

#[test]
fn a_seed_replays() {
    let met = || {
        let mut text = String::new();
        let mut options = Options::new(3, 1);
        options.verbose = true;
        run(&options, &mut |line| text.push_str(line)).unwrap_or_else(|failure| panic!("{failure}"));
        // The first line says how long it took.
        text.split_once('\n').map(|(_, counts)| counts.to_owned())
    };
    assert_eq!(met(), met());
}
