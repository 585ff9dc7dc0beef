//! The `corelane` command: what the operator types.
//!
//! ```text
//! corelane run       start a node                        exit 0 after SIGTERM, 1 when it cannot start
//! corelane check     all problems of a configuration     exit 0 when it would start, else 1
//! corelane routes    compile, verify, stat, lookup       exit 0 or 1
//! ```
//!
//! A wrong command line exits 2. Problems go to stderr, results to stdout.

mod check;
mod output;
mod routes;
mod run;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SIP signalling data plane of a session border controller.
#[derive(Parser)]
#[command(name = "corelane", version, arg_required_else_help = true)]
struct Corelane {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a node; SIGTERM ends it, SIGUSR1 prints its counters, SIGUSR2 drains it, SIGHUP reads its media nodes again.
    Run(Box<settings::SettingsArgs>),
    /// Report everything that keeps a node from starting, and what looks wrong.
    Check(Box<settings::SettingsArgs>),
    /// Compile and look into routing images.
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
}

fn main() -> ExitCode {
    match Corelane::parse().command {
        Command::Run(settings) => run::run(*settings),
        Command::Check(settings) => check::check(*settings),
        Command::Routes(command) => routes::routes(command),
    }
}
