//! The simulator: the real engine in a world that is drawn from a seed.
//!
//! ```text
//!   seed ─► plan ─► world:  callers ⇄ links ⇄ shards (corelane_core::Engine) ⇄ links ⇄ gateways      one clock, one thread
//!                    │                                                                              thousands of its seconds
//!                    └─► ledger each step · audit each second · promises each message · all empty     in one of ours
//! ```
//!
//! A run is a row of worlds with the seeds S, S + 1, …; each world has [`WORLD_CALLS`] calls. What a world does follows from its
//! seed alone, so that a fault is replayed by that one number. Which faults occur, how strong they are and how the peers behave is
//! drawn per world (`plan.rs`): some have no loss, some lose every fifth message; some have room for four calls.
//!
//! The peers have their own wire code (`sim/wire.rs`, and [`crate::wire`]): they share no parser and no writer with the engine. In half
//! of the worlds calls go through a media relay, which with the control core is one more host of the same network (`sim/media.rs`).
//!
//! What it refuses to do: forgive. There is no retry and no tolerance by number; what a promise does not cover is named where it
//! is checked (`audit.rs`).

mod acks;
mod audit;
mod caller;
mod caps;
mod conduct;
mod exchange;
mod gateway;
mod hosts;
mod ladder;
mod leg;
mod media;
mod mischief;
mod network;
mod nodes;
mod order;
mod plan;
mod pledges;
mod random;
mod routes;
mod script;
mod sdp;
mod tally;
mod traffic;
mod waits;
mod wire;
mod world;

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use corelane_core::{Counter, Image};

use audit::Fault;
use plan::Plan;
use random::Random;
use tally::Tally;
use world::World;

/// Calls of one world. Part of what a seed means: another number is another world.
pub const WORLD_CALLS: u32 = 1000;

/// What to simulate.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The seed of the first world; drawn, where none is given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Calls that are to reach an engine and end there, of all worlds together; one world, where a seed is given and this is not.
    #[arg(long)]
    pub calls: Option<u32>,
    /// Says what each world was.
    #[arg(long)]
    pub verbose: bool,
    /// Goes on after a failure and says the seed and the fault of each.
    #[arg(long)]
    pub keep_going: bool,
    /// Plants a leak of this kind, which the audit must find.
    #[cfg(feature = "canary")]
    #[arg(skip)]
    pub leak: Option<corelane_core::engine::Leak>,
}

impl Options {
    /// So many calls from a seed on.
    #[must_use]
    pub fn new(seed: u64, calls: u32) -> Options {
        Options {
            seed: Some(seed),
            calls: Some(calls),
            verbose: false,
            keep_going: false,
            #[cfg(feature = "canary")]
            leak: None,
        }
    }
}

/// What a green run met.
#[derive(Clone, Debug)]
pub struct Report {
    tally: Tally,
    took: Duration,
}

impl Report {
    /// Calls that got a record in an engine, all of which ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.tally.records
    }

    /// Those of them that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.tally.answered
    }

    /// Times that a request was refused for want of room.
    #[must_use]
    pub fn refused_for_room(&self) -> u64 {
        self.tally.refused_for_room
    }

    /// Wishes to the media relay of a world, how many of them it did not just do, how often it froze, and how often a node of it died.
    #[must_use]
    pub fn media(&self) -> [u64; 4] {
        [self.tally.wishes, self.tally.lies, self.tally.freezes, self.tally.nodes_lost]
    }

    /// Session descriptions that left an engine, each of them a relay's.
    #[must_use]
    pub fn relayed(&self) -> u64 {
        self.tally.relayed
    }

    /// First final responses of each class, 2xx to 6xx.
    #[must_use]
    pub fn finals(&self) -> [u64; 5] {
        let [_, _, finals @ ..] = self.tally.finals;
        finals
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let simulated = self.tally.simulated_us as f64 / 1e6;
        write!(out, "{}", self.tally)?;
        writeln!(
            out,
            "took         {seconds:.1} s: {:.0} calls and {:.0} simulated seconds per second",
            self.tally.calls as f64 / seconds,
            simulated / seconds
        )
    }
}

/// A world in which something broke.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// Inputs that the engine had been given.
    pub step: u64,
    /// When, in microseconds of the world.
    pub at_us: u64,
    /// What broke.
    pub what: String,
    /// What the call in question did.
    pub ladder: String,
    /// What the world was like.
    pub plan: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_us as f64 / 1e6;
        writeln!(out, "{}", self.what)?;
        writeln!(out, "seed {}, step {}, second {seconds:.6}", self.seed, self.step)?;
        writeln!(out, "world: {}", self.plan)?;
        if !self.ladder.is_empty() {
            writeln!(out, "the call:\n{}", self.ladder)?;
        }
        write!(out, "replay: make sim SEED={}", self.seed)
    }
}

impl Error for Failure {}

/// Runs the worlds. `say` hears of each where that is asked for.
///
/// # Errors
/// The first world in which something broke.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, Box<Failure>> {
    let seed = options.seed.unwrap_or_else(drawn_seed);
    // One world has at least one call that reached its engine; many have no more than half of theirs (silence, shedding, full pools).
    let wanted = options.calls.unwrap_or(if options.seed.is_some() { 1 } else { 100 * WORLD_CALLS });
    let worlds_max = u64::from(wanted.div_ceil(WORLD_CALLS)).max(1) * 4;
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut first = None;
    for world in 0..worlds_max {
        if tally.records >= u64::from(wanted) {
            break;
        }
        let seed = seed.wrapping_add(world);
        let before = Instant::now();
        let met = match live(seed, options) {
            Ok(met) => met,
            Err(failure) if options.keep_going => {
                say(&format!("seed {seed}: {}", failure.what));
                first.get_or_insert(failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if options.verbose {
            say(&format!("seed {seed}: {:.3} s\n{met}", before.elapsed().as_secs_f64()));
        }
        tally += &met;
    }
    match first {
        None => Ok(Report { tally, took: start.elapsed() }),
        Some(failure) => Err(failure),
    }
}

/// The life of one world.
fn live(seed: u64, options: &Options) -> Result<Tally, Box<Failure>> {
    let mut random = Random::new(seed);
    let plan = Plan::draw(WORLD_CALLS, &mut random, &mut Random::new(random::mix(!seed)));
    let limits = routes::Limits::draw(&plan, &mut random);
    let bytes = routes::images(&plan, &limits, &mut random);
    let images: Vec<Image<'_>> = bytes.iter().map(|bytes| Image::open(bytes).expect("a built image opens")).collect();
    let mut world = World::new(seed, plan, random, &images, limits);
    plant(&mut world, options);
    // A panic is a bug of the engine or of the world; either wants its seed to be known.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let outcome = outcome.unwrap_or_else(|_| Err(Fault::new("a panic (see above)", world.last_call)));
    match outcome {
        Ok(()) => Ok(settle(&mut world)),
        Err(fault) => Err(Box::new(Failure {
            seed,
            step: world.step,
            at_us: world.now_us,
            what: fault.to_string(),
            ladder: world.ladder.print(fault.call),
            plan: format!("{:?}", world.plan),
        })),
    }
}

#[cfg(feature = "canary")]
fn plant(world: &mut World<'_>, options: &Options) {
    if let Some(leak) = options.leak {
        world.nodes.iter_mut().for_each(|node| node.engine.plant(leak, 100));
    }
}

#[cfg(not(feature = "canary"))]
fn plant(_world: &mut World<'_>, _options: &Options) {}

/// Reads what the engines counted.
fn settle(world: &mut World<'_>) -> Tally {
    let refused_for_room = world.count(Counter::Full);
    let handed_over = world.count(Counter::DatagramsForeign);
    Tally {
        worlds: 1,
        calls: world.calls.len() as u64,
        simulated_us: world.now_us,
        steps: world.step,
        refused_for_room,
        handed_over,
        ..std::mem::take(&mut world.tally)
    }
}

/// A seed that nobody chose. Short, because people type it.
fn drawn_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    random::mix(now.as_nanos() as u64) % 1_000_000_000
}
