//! The node's routing image: compiled from the tables at start, or the last good one, and verified in full either way.
//!
//! ```text
//! tables compile          ─► new routes.image ─► verify ─► its listeners
//! tables do not compile   ─► routes.image of an earlier start ─► verify ─► its listeners, every problem a warning
//!                            none there: every problem an error
//! ```

use std::path::{Path, PathBuf};

use corelane_core::routing::layout::ArchivedPlace;
use corelane_core::routing::{Image, ImageError};
use corelane_shard::{MapCause, MapError, MappedImage};

use crate::config::Config;
use crate::listeners::Declared;
use crate::problem::{Place, Problem, any_error};

/// A verified image.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Its listeners, by slot.
    pub listeners: Vec<Declared>,
    /// One line for the operator: what is in it.
    pub summary: String,
}

/// Compiles the tables and loads the result; when they do not compile, loads what an earlier start left. `None` when
/// there is no usable image; the reasons are among the problems then.
pub fn compile_or_last_good(config: &Config, problems: &mut Vec<Problem>) -> Option<Loaded> {
    let path = config.image();
    let found = match crate::routes::compile_to(&config.routes.value, &path) {
        Ok(warnings) => {
            problems.extend(warnings);
            return load(&path).map_err(|problem| problems.push(problem)).ok();
        }
        Err(found) => found,
    };
    if !path.exists() {
        problems.extend(found);
        return None;
    }
    match load(&path) {
        Ok(loaded) => {
            problems.extend(found.into_iter().map(Problem::as_warning));
            problems.push(Problem::warning(
                Place::file(&path),
                format!("the tables do not compile: starting with the last good image, {}", loaded.summary),
                "repair the tables, `corelane check`, and start again",
            ));
            Some(loaded)
        }
        Err(problem) => {
            problems.extend(found);
            problems.push(problem);
            None
        }
    }
}

/// Reads and checks the tables without writing anything: their listeners, or nothing and the reasons among the problems.
pub fn check_tables(directory: &Path, problems: &mut Vec<Problem>) -> Option<Vec<Declared>> {
    let (listeners, found) = crate::routes::check(directory);
    let good = !any_error(&found);
    problems.extend(found);
    listeners.filter(|_| good)
}

/// Maps an image and verifies all of it: checksum and every reference.
///
/// # Errors
/// When it is missing, no image, of another layout, or damaged.
pub fn load(path: &Path) -> Result<Loaded, Problem> {
    let mapped = open(path)?;
    let image = mapped.image();
    image.verify().map_err(|error| image_problem(path, error))?;
    Ok(Loaded { path: path.to_path_buf(), listeners: declared(image), summary: summary(image) })
}

/// Maps an image.
///
/// # Errors
/// As [`load`], but only the header and the sections' bounds are checked.
pub fn open(path: &Path) -> Result<MappedImage, Problem> {
    MappedImage::open(path).map_err(|MapError { cause, .. }| match cause {
        MapCause::Read(error) => Problem::error(
            Place::file(path),
            format!("the routing image cannot be read: {error}"),
            "`corelane routes compile` makes one from the tables",
        ),
        MapCause::Image(error) => image_problem(path, error),
    })
}

/// What an operator is told of an image that cannot be used.
fn image_problem(path: &Path, error: ImageError) -> Problem {
    let what = match error {
        ImageError::NotAnImage => "this is no routing image".to_owned(),
        ImageError::Layout { found, expected } => {
            format!("the routing image has layout {found}, this version reads layout {expected}")
        }
        ImageError::Truncated => "the routing image is cut short".to_owned(),
        ImageError::Checksum => "the routing image is damaged: its checksum is wrong".to_owned(),
        ImageError::Malformed => "the routing image is damaged: its structure is wrong".to_owned(),
    };
    Problem::error(
        Place::file(path),
        what,
        "`corelane routes compile` makes a new one from the tables; nothing is lost",
    )
}

/// The listeners of an image, by slot.
fn declared(image: &Image<'_>) -> Vec<Declared> {
    let places = image.tables().listeners.iter().enumerate();
    places
        .filter_map(|(slot, place)| match place {
            ArchivedPlace::Vacant { .. } => None,
            ArchivedPlace::Taken(record) => Some(Declared {
                slot: u16::try_from(slot).ok()?,
                id: record.id.to_native().to_string(),
                name: record.name.as_str().to_owned(),
                address: std::net::SocketAddr::new(record.address.as_ipaddr(), record.port.to_native()),
                advertise_host: record.advertise_host.as_ref().map(|host| host.as_str().to_owned()),
                advertise_port: record.advertise_port.as_ref().map(|port| port.to_native()),
            }),
        })
        .collect()
}

fn summary(image: &Image<'_>) -> String {
    let (tables, counts) = (image.tables(), image.counts());
    format!(
        "generation {}: {} providers, {} gateways, {} prefixes, {} routes",
        image.generation(),
        taken(&tables.providers),
        taken(&tables.gateways),
        counts.prefixes,
        counts.routes
    )
}

/// Records in a slot table, vacant places left out.
fn taken<T: rkyv::Archive>(places: &[ArchivedPlace<T>]) -> usize {
    places.iter().filter(|place| matches!(place, ArchivedPlace::Taken(_))).count()
}
