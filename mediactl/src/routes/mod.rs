//! Routing tables: from a directory of CSV files to the image that shards map.
//!
//! ```text
//!   *.csv ──sheet, fields──► tables ──references──► checked tables ──slots, zones──► compile ──► bytes ──file──► image
//! ```
//!
//! [`load`] reports everything that is wrong, not the first thing. A compile that fails leaves the last good image as it is;
//! one that succeeds replaces it by a rename. What each column means: `docs/data-model.md`.

use std::fmt;
use std::path::Path;

use corelane_core::routing::{Image, ImageError};

mod compile;
mod fields;
mod file;
mod lookup;
mod media;
mod problem;
mod references;
mod sheet;
mod slots;
mod stat;
mod tables;
mod zones;

pub use compile::{compile, compile_at, wall_now};
pub use lookup::{Lookup, Outcome, Source, lookup};
pub use media::{idle, media_nodes, serves};
pub use problem::Problem;
pub use references::warnings;
pub use stat::Stat;
pub(crate) use stat::zones_until;
pub use tables::{Row, Tables};
pub use zones::moment;

/// Reads and checks a directory of tables.
///
/// # Errors
/// Every problem of every file.
pub fn load(dir: &Path) -> Result<Tables, Vec<Problem>> {
    let mut problems = Vec::new();
    let tables = tables::read_all(dir, &mut problems);
    references::check(&tables, &mut problems);
    if problems.is_empty() { Ok(tables) } else { Err(problems) }
}

/// What a compile did.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The new image's generation.
    pub generation: u64,
    /// Its size.
    pub bytes: usize,
    /// What is in it.
    pub stat: Stat,
    /// What is legal and looks wrong.
    pub warnings: Vec<Problem>,
    /// Why the image that was there could not give its slots: it is replaced, and slots start anew.
    pub previous_unusable: Option<ImageError>,
}

/// Why there is no new image. The one that was there is untouched.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The tables are wrong.
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
    /// What was compiled is no sound image: the compiler and the reader disagree, which is a bug.
    #[error("the tables make an image that cannot be used: {0}")]
    Unsound(ImageError),
    /// The image could not be read or written.
    #[error("{path}: {error}; check that the directory exists and can be written")]
    File {
        /// The image.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Loads, compiles with the slots of the image that is at `image`, and replaces it.
///
/// # Errors
/// [`CompileError`]; the image that was there stays in force.
pub fn compile_to(dir: &Path, image: &Path) -> Result<Compiled, CompileError> {
    let tables = load(dir).map_err(CompileError::Problems)?;
    let file_error = |error| CompileError::File { path: image.display().to_string(), error };
    let before = match file::read(image) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(file_error(error)),
    };
    let (previous, previous_unusable) = match before.as_ref().map(|bytes| open_verified(bytes)) {
        None => (None, None),
        Some(Ok(previous)) => (Some(previous), None),
        Some(Err(error)) => (None, Some(error)),
    };
    // Reading back what is about to be trusted costs milliseconds and catches a broken compiler before the last good image is gone.
    let bytes = compile(&tables, previous.as_ref()).map_err(CompileError::Problems)?;
    let compiled = open_verified(&bytes).map_err(CompileError::Unsound)?;
    let stat = Stat::of(&compiled, bytes.len());
    file::replace(image, &bytes).map_err(file_error)?;
    let generation = compiled.generation();
    Ok(Compiled { generation, bytes: bytes.len(), stat, warnings: warnings(&tables), previous_unusable })
}

/// Why an image file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {error}; name the image that `routes compile` wrote")]
    Read {
        /// The image.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no sound image.
    #[error("{path}: {error}")]
    Image {
        /// The image.
        path: String,
        /// What is wrong.
        error: ImageError,
    },
}

fn open_verified(bytes: &[u8]) -> Result<Image<'_>, ImageError> {
    let image = Image::open(bytes)?;
    image.verify().map(|()| image)
}

/// Reads a whole image and checks checksum and structure.
///
/// # Errors
/// [`FileError`].
pub fn verify(path: &Path) -> Result<Stat, FileError> {
    with_image(path, |image, size| image.verify().map(|()| Stat::of(image, size)))
}

/// What is in an image.
///
/// # Errors
/// [`FileError`].
pub fn stat(path: &Path) -> Result<Stat, FileError> {
    with_image(path, |image, size| Ok(Stat::of(image, size)))
}

/// Reads and opens an image file and gives it to `look`.
///
/// # Errors
/// [`FileError`], also where `look` finds the image unsound.
pub fn with_image<T>(
    path: &Path,
    look: impl FnOnce(&Image<'_>, usize) -> Result<T, ImageError>,
) -> Result<T, FileError> {
    let shown = || path.display().to_string();
    let bytes = file::read(path).map_err(|error| FileError::Read { path: shown(), error })?;
    let looked = Image::open(&bytes).and_then(|image| look(&image, bytes.len()));
    looked.map_err(|error| FileError::Image { path: shown(), error })
}

impl fmt::Display for Compiled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.previous_unusable {
            writeln!(out, "the image before gave no slots: {error}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        write!(out, "{}", self.stat)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
#[cfg(test)]
mod told_tests;
