//! The ng client in worlds that are drawn from seeds: shards that ask, media nodes that lie, die and come back, an operator, kills and panics.
//!
//! ```text
//!   calls of several shards ─► Client ─► wire: lost, doubled, late, cut short, forged ─► nodes: up, frozen, gone, full, deaf, wrong
//!        ▲ one answer each       │ table outlives a kill, remains a panic                    sessions, replies by cookie
//! ```
//!
//! | when | what must hold |
//! | --- | --- |
//! | each step | no timer that is due stays due |
//! | each question to a node | a cookie is one question for ever; no offer leaves without its record, none of a new call goes to a node that takes none |
//! | each answer to a shard | one for a question, to its shard, in time; an SDP that a node made for this very question, at the node that is named |
//! | each delete | of a call that is over, and of this Corelane |
//! | the end, when all is healed | no node has a session of a call that is over; the client holds, owes, asks and keeps nothing; where no node forgot anything, no session was ever in no record |
//!
//! No socket, no clock, one thread. What is drawn says `plan.rs`; a shard that waits for what a panic has lost goes on as after a failure.
//!
//! A failure prints its seed and what happened last. `CLIENT_WORLD=seed` runs that world alone, and prints all of it; `CLIENT_WORLDS=from-to` many.

mod call;
mod draw;
mod machine;
mod plan;
mod world;

use world::World;

/// The worlds of every run, and those of them that found something once: an offer that was played again without a record, a delete that overtook the
/// offer of a client before, an answer behind its time, a delete that overtook an offer which was given up.
const SEEDS: std::ops::Range<u64> = 1..50;
const FOUND: [u64; 4] = [20, 66, 119, 1647];

fn check(seed: u64) -> Result<u64, String> {
    World::new(seed, false).run().map_err(|fault| {
        let mut again = World::new(seed, true);
        let found = again.run().err();
        let log = again.log();
        let tail = if std::env::var("CLIENT_WORLD").is_ok() { 0 } else { log.len().saturating_sub(80) };
        assert_eq!(found.as_deref(), Some(&*fault), "a seed is a world");
        format!("{}\nworld {seed}: {fault}\nCLIENT_WORLD={seed} prints all of it", log[tail..].join("\n"))
    })
}

#[test]
fn worlds() {
    let number = |text: &str| text.parse().expect("a seed is a number");
    let seeds: Vec<u64> = match (std::env::var("CLIENT_WORLD"), std::env::var("CLIENT_WORLDS")) {
        (Ok(seed), _) => vec![number(&seed)],
        (_, Ok(range)) => {
            let (from, to) = range.split_once('-').expect("from-to");
            (number(from)..number(to)).collect()
        }
        _ => FOUND.into_iter().chain(SEEDS).collect(),
    };
    let simulated: u64 = seeds.into_iter().map(|seed| check(seed).unwrap_or_else(|fault| panic!("{fault}"))).sum();
    assert!(simulated > 0);
}
