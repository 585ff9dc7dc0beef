//! The node's routing image: compiled from the tables at start, or the last good one, and verified in full either way.
//!
//! ```text
//! tables compile          ─► new routes.image ─► verify ─► its listeners
//! tables do not compile   ─► routes.image of an earlier start ─► verify ─► its listeners, every problem a warning
//!                            none there: every problem an error
//! ```

use std::path::{Path, PathBuf};
use std::{fs, io};

use corelane_core::WallTime;
use corelane_core::admission::CapsSize;
use corelane_core::routing::layout::ArchivedPlace;
use corelane_core::routing::{Image, ImageError, ProviderSlot};
use corelane_shard::{MapCause, MapError, MappedImage};

use crate::config::Config;
use crate::control::MediaNode;
use crate::daily;
use crate::listeners::Declared;
use crate::problem::{Place, Problem};
use crate::routes::{self, CompileError, FileError, Stat};

/// A verified image.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Its listeners, by slot.
    pub listeners: Vec<Declared>,
    /// Its providers, by slot.
    pub providers: Vec<daily::Provider>,
    /// Its media nodes.
    pub media_nodes: Vec<MediaNode>,
    /// Its enabled providers that name a set of media nodes, each with its set.
    pub media_sets: Vec<(u32, u32)>,
    /// Rows of the table of caps for it.
    pub caps: CapsSize,
    /// One line for the operator: what is in it.
    pub summary: String,
    /// Its age, where that matters.
    pub warnings: Vec<Problem>,
}

/// Compiles the tables and loads the result; when they do not compile, loads what an earlier start left. `None` when
/// there is no usable image; the reasons are among the problems then.
pub(crate) fn compile_or_last_good(config: &Config, problems: &mut Vec<Problem>) -> Option<Loaded> {
    let path = config.image();
    let found = match compile(&config.routes.value, &path) {
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
            problems.extend(loaded.warnings.iter().cloned());
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

/// Compiles a directory of tables into an image file; answers what is legal and looks wrong.
///
/// # Errors
/// Everything that is wrong with the tables, or why the file could not be written. The image that was there stays.
pub fn compile(directory: &Path, path: &Path) -> Result<Vec<Problem>, Vec<Problem>> {
    directory_exists(directory)?;
    match routes::compile_to(directory, path) {
        Ok(compiled) => {
            let mut warnings: Vec<Problem> =
                compiled.warnings.iter().map(|row| row_problem(directory, row).as_warning()).collect();
            warnings.extend(compiled.previous_unusable.map(|error| Problem {
                cure: "a new one was made; slots (places of counters and caps) start anew".to_owned(),
                ..image_problem(path, error).as_warning()
            }));
            Ok(warnings)
        }
        Err(CompileError::Problems(rows)) => Err(rows.iter().map(|row| row_problem(directory, row)).collect()),
        Err(CompileError::Unsound(error)) => Err(vec![unsound(directory, error)]),
        Err(CompileError::File { error, .. }) => Err(vec![Problem::error(
            Place::file(path),
            format!("the routing image cannot be written: {error}"),
            "name a directory that exists and can be written",
        )]),
    }
}

/// What a start with some tables would have of them.
pub(crate) struct Read {
    pub(crate) listeners: Vec<Declared>,
    pub(crate) caps: CapsSize,
    /// Whether there are media nodes.
    pub(crate) relays: bool,
}

/// Reads, checks and compiles the tables without writing anything. `None` where they do not compile; the reasons are among the problems then.
pub(crate) fn check_tables(config: &Config, problems: &mut Vec<Problem>) -> Option<Read> {
    let directory = &config.routes.value;
    // Slots are those that a start would give: they go on from the image that is there, and the table of caps is as large as they are.
    let before = open(&config.image()).ok();
    let before = before.as_ref().map(MappedImage::image).filter(|image| image.verify().is_ok());
    let compiled = directory_exists(directory).and_then(|()| {
        let told = |rows: Vec<routes::Problem>| rows.iter().map(|row| row_problem(directory, row)).collect::<Vec<_>>();
        let tables = routes::load(directory).map_err(told)?;
        problems.extend(routes::warnings(&tables).iter().map(|row| row_problem(directory, row).as_warning()));
        routes::compile(&tables, before).map_err(told)
    });
    match compiled {
        Ok(bytes) => {
            let opened = Image::open(&bytes).and_then(|image| image.verify().map(|()| image));
            let image = opened.map_err(|error| problems.push(unsound(directory, error))).ok()?;
            let relays = !image.tables().media_nodes.is_empty();
            Some(Read { listeners: declared(&image), caps: CapsSize::for_image(&image), relays })
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// A bug of the compiler's, seen before its image replaced the last good one.
fn unsound(directory: &Path, error: ImageError) -> Problem {
    let what = format!("the tables make an image that cannot be used: {error}; the one before stays");
    Problem::error(Place::file(directory), what, "report this with the tables; take back what was last changed in them")
}

/// A missing directory is one problem, not one for each table.
fn directory_exists(directory: &Path) -> Result<(), Vec<Problem>> {
    fs::read_dir(directory).map(drop).map_err(|error| {
        vec![Problem::error(
            Place::file(directory),
            format!("the directory of the routing tables cannot be read: {error}"),
            "name it with `--routes`; docs/data-model.md describes its files",
        )]
    })
}

/// A problem with a row, which says `why; cure` in one sentence.
pub(crate) fn row_problem(directory: &Path, row: &routes::Problem) -> Problem {
    let path = directory.join(&row.file);
    let place = match row.line.and_then(|line| u32::try_from(line).ok()) {
        Some(line) => Place::Line(path, line),
        None => Place::File(path),
    };
    let (reason, cure) = row.reason.split_once("; ").unwrap_or((&row.reason, ""));
    let what = match row.column {
        Some(column) if row.value.is_empty() => format!("{column}: {reason}"),
        Some(column) => format!("{column} `{}`: {reason}", row.value),
        None => reason.to_owned(),
    };
    Problem::error(place, what, cure)
}

/// Maps an image and verifies all of it: checksum and every reference.
///
/// # Errors
/// When it is missing, no image, of another layout, or damaged.
pub fn load(path: &Path) -> Result<Loaded, Problem> {
    let mapped = open(path)?;
    let image = mapped.image();
    image.verify().map_err(|error| image_problem(path, error))?;
    let warnings = zones_end(path, routes::zones_until(image), routes::wall_now()).into_iter().collect();
    Ok(Loaded {
        path: path.to_path_buf(),
        listeners: declared(image),
        providers: providers(image),
        media_nodes: media_nodes(image),
        media_sets: media_sets(image),
        caps: CapsSize::for_image(image),
        summary: summary(image),
        warnings,
    })
}

/// Maps an image.
///
/// # Errors
/// As [`load`], but only the header and the sections' bounds are checked.
pub fn open(path: &Path) -> Result<MappedImage, Problem> {
    MappedImage::open(path).map_err(|MapError { cause, .. }| match cause {
        MapCause::Read(error) => unreadable(path, &error),
        MapCause::Image(error) => image_problem(path, error),
    })
}

/// What is in an image, and what its age is to be warned of.
///
/// # Errors
/// As [`open`].
pub fn stat(path: &Path) -> Result<(Stat, Vec<Problem>), Problem> {
    let stat = routes::stat(path).map_err(|error| match error {
        FileError::Read { error, .. } => unreadable(path, &error),
        FileError::Image { error, .. } => image_problem(path, error),
    })?;
    let warnings = zones_end(path, stat.zones_until, routes::wall_now()).into_iter().collect();
    Ok((stat, warnings))
}

/// Warns when the clocks of an image's zones are known for less than a year: behind that, daylight saving stays as it was last.
fn zones_end(path: &Path, until: Option<i64>, now: WallTime) -> Option<Problem> {
    const YEAR_S: i64 = 366 * 86_400;
    let until = until?;
    let left = until.saturating_sub((now.0 / 1_000_000) as i64);
    (left < YEAR_S).then(|| {
        Problem::warning(
            Place::file(path),
            format!("daylight saving is known for another {} days only", left.max(0) / 86_400),
            "`corelane routes compile` writes it for ten years from today",
        )
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::error(
        Place::file(path),
        format!("the routing image cannot be read: {error}"),
        "`corelane routes compile` makes one from the tables",
    )
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

/// The providers of an image, by slot.
fn providers(image: &Image<'_>) -> Vec<daily::Provider> {
    let slots = (0..image.tables().providers.len()).map_while(|slot| u16::try_from(slot).ok()).map(ProviderSlot);
    slots.filter_map(|slot| image.provider(slot).map(|provider| (provider.id, slot))).collect()
}

/// The enabled providers of an image that name a set of media nodes.
fn media_sets(image: &Image<'_>) -> Vec<(u32, u32)> {
    let providers = image.tables().providers.iter().filter_map(|place| match place {
        ArchivedPlace::Taken(record) if record.enabled => Some(record),
        _ => None,
    });
    providers.filter_map(|row| Some((row.id.to_native(), row.media_set.as_ref()?.to_native()))).collect()
}

fn media_nodes(image: &Image<'_>) -> Vec<MediaNode> {
    let rows = image.tables().media_nodes.iter();
    rows.map(|row| MediaNode {
        id: row.id.to_native(),
        set: row.set.to_native(),
        host: row.host.as_str().to_owned(),
        port: row.port.to_native(),
        weight: row.weight.to_native(),
        max_sessions: row.max_sessions.to_native(),
        enabled: row.enabled,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_whose_zones_end_within_a_year_is_warned_about() {
        let at = |day: u64| WallTime(day * 86_400_000_000);
        let told = |until, now| zones_end(Path::new("r.image"), until, at(now)).map(|problem| problem.to_string());
        let until = Some(1_000 * 86_400);
        assert_eq!([told(until, 0), told(until, 634), told(None, 2_000)], [None, None, None]);
        for (now, days) in [(635, "another 365 days"), (999, "another 1 days"), (1_001, "another 0 days")] {
            let told = told(until, now).expect("within a year");
            assert!(
                told.starts_with("warning: r.image: daylight saving is known for") && told.contains(days),
                "{told}"
            );
        }
    }
}
