//! The ng client in worlds that are drawn from seeds: shards that ask, media nodes that lie, die and come back, an operator, kills and panics.
//!
//! ```text
//!   calls of several shards ─► Client ─► wire: lost, doubled, late, cut short, forged ─► nodes: up, frozen, gone, full, deaf, wrong
//!        ▲ one answer each       │ table outlives a kill, remains a panic                    sessions, replies by cookie
//! ```
//!
//! No socket, no clock, one thread. | when | what must hold |
//!
//! - each question: a cookie is one question for ever; no offer leaves without its record, none of a new call goes to a node that takes none
//! - each answer: one for a question, to its shard, in time; an SDP that a node made for this very question, at the node that is named
//! - each delete: of a call that is over, and of this Corelane
//! - the end, when all is healed: no node has a session of a call that is over, none of another's was touched, and the client has nothing left
//!
//! A failure prints its seed and what happened last. `CLIENT_WORLD=seed` runs that world alone, and prints all of it; `CLIENT_WORLDS=from-to` many.

mod call;
mod draw;
mod machine;
mod plan;
mod world;

use world::World;

/// The worlds of every run.
const SEEDS: std::ops::Range<u64> = 1..60;

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
    let seeds = match (std::env::var("CLIENT_WORLD"), std::env::var("CLIENT_WORLDS")) {
        (Ok(seed), _) => number(&seed)..number(&seed) + 1,
        (_, Ok(range)) => {
            let (from, to) = range.split_once('-').expect("from-to");
            number(from)..number(to)
        }
        _ => SEEDS,
    };
    let simulated: u64 = seeds.map(|seed| check(seed).unwrap_or_else(|fault| panic!("{fault}"))).sum();
    assert!(simulated > 0);
}
