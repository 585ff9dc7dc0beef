//! `corelane routes`: compile the tables into an image, and look into one.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use corelane_core::{Endpoint, WallTime};
use corelane_mediactl::config::{ROUTES_DEFAULT, STATE_DIR_DEFAULT};
use corelane_mediactl::routes::{self, Outcome, Source};
use corelane_mediactl::{Problem, image};

use crate::output;

#[derive(Subcommand)]
pub(crate) enum RoutesCommand {
    /// Compile the CSV tables into an image; on any error all are told and the old image stays
    Compile {
        /// Directory of the routing tables (CSV)
        #[arg(long, value_name = "DIR", default_value = ROUTES_DEFAULT)]
        routes: PathBuf,
        #[command(flatten)]
        image: ImageArgs,
    },
    /// Read an image in full: checksum and every reference
    Verify(ImageArgs),
    /// Say what an image contains
    Stat(ImageArgs),
    /// Say where a number goes, step by step; exit 1 when it goes nowhere
    Lookup {
        #[command(flatten)]
        image: ImageArgs,
        #[command(flatten)]
        from: FromArgs,
        /// Listener (id) that the source came in on
        #[arg(long, value_name = "ID", requires = "source")]
        listener: Option<u32>,
        /// Decides between equals, as the random number of a call does
        #[arg(long, value_name = "N", default_value_t = 0)]
        draw: u64,
        /// When, as 2026-12-31T23:30:00+01:00 [default: now]
        #[arg(long, value_name = "TIME", value_parser = routes::moment)]
        at: Option<WallTime>,
        /// The number as it is dialled
        number: String,
    },
}

#[derive(Args)]
pub(crate) struct ImageArgs {
    /// The image [default: routes.image in /var/lib/corelane]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
}

impl ImageArgs {
    fn path(self) -> PathBuf {
        self.image.unwrap_or_else(|| Path::new(STATE_DIR_DEFAULT).join("routes.image"))
    }
}

/// Where a look-up starts.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct FromArgs {
    /// At a routing group; the number is taken as it is
    #[arg(long, value_name = "N")]
    group: Option<u32>,
    /// At a provider, by id; its strip and prepend are applied
    #[arg(long, value_name = "ID")]
    provider: Option<u32>,
    /// At an address, whose provider is recognised first
    #[arg(long, value_name = "ADDR:PORT")]
    source: Option<SocketAddr>,
}

/// Exit 0 when it went well; 1 with all problems on stderr.
pub(crate) fn routes(command: RoutesCommand) -> ExitCode {
    let answer = match command {
        RoutesCommand::Compile { routes, image } => compile(&routes, &image.path()),
        RoutesCommand::Verify(image) => verify(&image.path()),
        RoutesCommand::Stat(image) => stat(&image.path()),
        RoutesCommand::Lookup { image, from, listener, draw, at, number } => {
            let source = match (from.group, from.provider, from.source) {
                (Some(group), _, _) => Source::Group(group),
                (_, Some(provider), _) => Source::Provider(provider),
                (_, _, Some(peer)) => Source::Peer(Endpoint::from(peer), listener),
                (None, None, None) => unreachable!("clap requires one of the group"),
            };
            lookup(&image.path(), source, &number, at, draw)
        }
    };
    match answer {
        Ok((text, good)) => output::status(io::stdout().lock().write_all(text.as_bytes()), good),
        Err(problems) => {
            output::problems(&problems);
            ExitCode::FAILURE
        }
    }
}

/// What a command prints, and whether that is good news.
type Answer = Result<(String, bool), Vec<Problem>>;

fn compile(tables: &Path, path: &Path) -> Answer {
    output::problems(&image::compile(tables, path)?);
    let loaded = image::load(path).map_err(|problem| vec![problem])?;
    Ok((format!("{}: {}\n", path.display(), loaded.summary), true))
}

fn verify(path: &Path) -> Answer {
    let loaded = image::load(path).map_err(|problem| vec![problem])?;
    output::problems(&loaded.warnings);
    Ok((format!("ok: {}\n", loaded.summary), true))
}

fn stat(path: &Path) -> Answer {
    let (stat, warnings) = image::stat(path).map_err(|problem| vec![problem])?;
    output::problems(&warnings);
    Ok((stat.to_string(), true))
}

fn lookup(path: &Path, source: Source, number: &str, at: Option<WallTime>, draw: u64) -> Answer {
    let mapped = image::open(path).map_err(|problem| vec![problem])?;
    let at = at.unwrap_or_else(routes::wall_now);
    let found = routes::lookup(mapped.image(), source, number, at, draw);
    Ok((found.to_string(), matches!(found.outcome, Outcome::Candidates(_))))
}
