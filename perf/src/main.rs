//! `corelane-perf`: floor, load, bench, media, relay, engine, sim.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};
use corelane_perf::{bench, engine_calls, floor, load, media, relay, sim, sys};

// The engine bench reads its counts; elsewhere it costs one thread-local increment per allocation.
#[global_allocator]
static ALLOCATOR: sys::allocator::Counting = sys::allocator::Counting;

/// Measures what a call through Corelane costs, as a ratio to what it must cost.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Run on this CPU only.
    #[arg(long, global = true)]
    cpu: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The least that any proxy can cost: a relay of the same datagrams, unread. Ends with SIGTERM.
    Floor {
        /// Where to listen.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
        /// Where everything goes that does not come from there.
        #[arg(long, value_name = "ADDR:PORT")]
        callee: SocketAddr,
    },
    /// Places calls through a target, as caller and callee, and reports counts and latencies.
    Load(load::Plan),
    /// Floor and Corelane in turn under the same load; prints the ratio of their CPU per call.
    Bench(bench::Settings),
    /// Direct media against media through stand-in relays, and what their faults cost.
    Media(media::Settings),
    /// A stand-in for rtpengine: answers ng for many sessions, fails as told. Ends with SIGTERM and prints its counters.
    Relay(relay::Settings),
    /// The engine alone, without sockets: full calls, allocations counted.
    Engine(engine_calls::Plan),
    /// The engine in simulated worlds full of faults; a failure prints its seed.
    Sim(sim::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("corelane-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command. `false`: it ran, but what it found may not be quoted or does not hold.
fn run(arguments: Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    if let Some(cpu) = arguments.cpu {
        sys::process::pin(cpu)?;
    }
    match arguments.command {
        Command::Floor { listen, callee } => {
            let floor = floor::Floor::bind(listen, callee)?;
            say(&format!("floor on {} for {callee}", floor.address()?));
            // Nobody sets this: the command ends by SIGTERM.
            floor.run(&AtomicBool::new(false))?;
            Ok(true)
        }
        Command::Load(plan) => {
            let report = load::run(&plan)?;
            say(report.to_string().trim_end());
            Ok(report.faults().is_empty())
        }
        Command::Bench(settings) => bench::run(&settings, &mut say),
        Command::Media(settings) => media::run(&settings, &mut say),
        Command::Relay(settings) => {
            let node = relay::Relay::bind(&settings)?;
            say(&format!("relay on {}, control on {}", node.address()?, node.control_address()?));
            let counts = node.run(&sys::process::until_terminated())?;
            say(counts.to_string().trim_end());
            Ok(true)
        }
        Command::Engine(plan) => {
            let outcome = engine_calls::run(&plan)?;
            say(outcome.to_string().trim_end());
            Ok(outcome.holds())
        }
        Command::Sim(options) => {
            let report = sim::run(&options, &mut say)?;
            say(report.to_string().trim_end());
            Ok(true)
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is what the command is for")]
fn say(text: &str) {
    println!("{text}");
}
