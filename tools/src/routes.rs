//! `corelane routes`: compile the tables into an image, and look into one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use corelane_core::routing::{Digits, Image, NoCandidate, PrefixNumber, ProviderSlot};
use corelane_mediactl::config::{ROUTES_DEFAULT, STATE_DIR_DEFAULT};
use corelane_mediactl::problem::any_error;
use corelane_mediactl::{Place, Problem, image, routes};

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
    /// Say where a number goes: prefix, routes, and gateways in the order in which a call would try them
    Lookup {
        #[command(flatten)]
        image: ImageArgs,
        /// The number as it is dialled
        number: String,
        /// Look the number up as this provider dials it (id or name): its routing group, strip and prepend
        #[arg(long, value_name = "ID", required_unless_present = "group", conflicts_with = "group")]
        provider: Option<String>,
        /// Look the number up in this routing group as it is
        #[arg(long, value_name = "N")]
        group: Option<u32>,
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
        self.image.unwrap_or_else(|| PathBuf::from(STATE_DIR_DEFAULT).join("routes.image"))
    }
}

/// Exit 0 when it went well; 1 with all problems on stderr.
pub(crate) fn routes(command: RoutesCommand) -> ExitCode {
    let answer = match command {
        RoutesCommand::Compile { routes, image } => compile(&routes, image.path()),
        RoutesCommand::Verify(image) => {
            image::load(&image.path()).map(|image| format!("ok: {}\n", image.summary)).map_err(one)
        }
        RoutesCommand::Stat(image) => stat(image.path()),
        RoutesCommand::Lookup { image, number, provider, group } => lookup(image.path(), &number, provider, group),
    };
    match answer {
        Ok(text) => output::status(io::stdout().lock().write_all(text.as_bytes()), true),
        Err(problems) => {
            output::problems(&problems);
            ExitCode::FAILURE
        }
    }
}

fn one(problem: Problem) -> Vec<Problem> {
    vec![problem]
}

fn compile(tables: &std::path::Path, path: PathBuf) -> Result<String, Vec<Problem>> {
    let warnings = routes::compile_to(tables, &path)?;
    debug_assert!(!any_error(&warnings), "an error does not compile");
    output::problems(&warnings);
    let loaded = image::load(&path).map_err(one)?;
    Ok(format!("{}: {}\n", loaded.path.display(), loaded.summary))
}

fn stat(path: PathBuf) -> Result<String, Vec<Problem>> {
    let loaded = image::load(&path).map_err(one)?;
    let mapped = image::open(&path).map_err(one)?;
    let counts = mapped.image().counts();
    let mut text = format!("{}\n", loaded.summary);
    for (name, count) in [
        ("listeners", loaded.listeners.len()),
        ("routing groups", counts.groups),
        ("prefixes", counts.prefixes),
        ("routes", counts.routes),
        ("distinct route sets", counts.route_sets),
        ("trie slots", counts.trie_slots),
        ("trie words", counts.trie_words),
        ("source networks", counts.networks),
        ("source rows", counts.source_rows),
    ] {
        text += &format!("{name:<20} {count:>10}\n");
    }
    Ok(text)
}

fn lookup(path: PathBuf, number: &str, provider: Option<String>, group: Option<u32>) -> Result<String, Vec<Problem>> {
    let mapped = image::open(&path).map_err(one)?;
    let image = mapped.image();
    let (group, number) = match (provider, group) {
        (Some(wanted), _) => as_dialled_by(image, &wanted, number).map_err(one)?,
        (None, group) => (group.unwrap_or_default(), number.as_bytes().to_vec()),
    };
    let shown = String::from_utf8_lossy(&number).into_owned();
    let refused = |what: String, cure: &str| vec![Problem::error(Place::file(&path), what, cure)];
    let prefix = image.longest_prefix(group, Digits::leading(&number)).ok_or_else(|| {
        refused(format!("no prefix of {shown} is routed in group {group}: 404"), "add a row to route.csv")
    })?;
    // Equals are shuffled by weight at each call; one draw shows one possible order.
    let candidates = image.select(group, &number, 0).map_err(|why| match why {
        NoCandidate::NoRoute => {
            refused(format!("no route of {shown} is open: 404"), "look at time windows and validity")
        }
        NoCandidate::NoneUsable => {
            refused(format!("no gateway for {shown} is usable: 503"), "enable a gateway or carrier")
        }
    })?;
    let mut text = format!("number {shown} in routing group {group}: {}\n", prefix_text(image, prefix, &number));
    for (route, id, _) in image.routes(prefix) {
        let carrier = image
            .carrier(route.carrier)
            .map_or(String::new(), |carrier| format!("{} ({})", carrier.id(), carrier.name()));
        text += &format!("route {id}: priority {}, weight {}, carrier {carrier}\n", route.priority, route.weight);
    }
    for (place, candidate) in candidates.iter().enumerate() {
        if let Some(gateway) = image.gateway(candidate.gateway) {
            text += &format!("try {}: gateway {} ({}) {}\n", place + 1, gateway.id, gateway.name, gateway.endpoint);
        }
    }
    Ok(text)
}

/// Routing group and number after the provider's strip and prepend.
fn as_dialled_by(image: &Image<'_>, wanted: &str, number: &str) -> Result<(u32, Vec<u8>), Problem> {
    let all = (0..=u16::MAX)
        .map_while(|slot| (usize::from(slot) < image.tables().providers.len()).then_some(ProviderSlot(slot)));
    let providers: Vec<_> = all.filter_map(|slot| image.provider(slot)).collect();
    let by_id = providers.iter().find(|provider| provider.id.to_string() == wanted);
    let provider = by_id.or_else(|| providers.iter().find(|provider| provider.name == wanted)).ok_or_else(|| {
        let names: Vec<String> =
            providers.iter().map(|provider| format!("{} ({})", provider.id, provider.name)).collect();
        Problem::error(
            Place::Flag("--provider"),
            format!("no provider has the id or name `{wanted}`"),
            format!("the providers are {}", names.join(", ")),
        )
    })?;
    let rest = number.as_bytes().get(usize::from(provider.strip)..).unwrap_or_default();
    Ok((provider.routing_group, [provider.prepend, rest].concat()))
}

fn prefix_text(image: &Image<'_>, prefix: PrefixNumber, number: &[u8]) -> String {
    match usize::from(image.prefix_len(prefix)) {
        0 => "the group's default route".to_owned(),
        len => format!("prefix {}", String::from_utf8_lossy(number.get(..len).unwrap_or(number))),
    }
}
