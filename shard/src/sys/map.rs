//! A routing image mapped from its file.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use corelane_core::Image;
use corelane_core::routing::ImageError;
use memmap2::Mmap;

/// A mapped routing image. Each shard opens its own, so that a swap on one never unmaps under another.
///
/// What makes a mapping sound is a promise about the file: an image file is written beside its place and renamed, never
/// rewritten or cut under a mapping. The old file lives on, nameless, until the last mapping of it is gone.
pub struct MappedImage {
    // Declared, hence dropped, before the mapping that it borrows from.
    image: Image<'static>,
    _map: Mmap,
}

impl MappedImage {
    /// Maps and opens the image at `path`: O(1) in its size.
    ///
    /// # Errors
    /// [`MapError`]: the file cannot be read, or is no image that this program can use.
    pub fn open(path: &Path) -> Result<MappedImage, MapError> {
        let failed = |cause| MapError { path: path.to_owned(), cause };
        let file = File::open(path).map_err(|error| failed(MapCause::Read(error)))?;
        // SAFETY: the file is never written after it got its name (see the type), so the bytes do not change under the slice.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| failed(MapCause::Read(error)))?;
        let bytes: &[u8] = &map;
        // SAFETY: the slice is in the mapping, which does not move when `map` does and is unmapped after `image` is gone (field
        // order); `image()` hands out a view no longer than `self`.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        let image = Image::open(bytes).map_err(|error| failed(MapCause::Image(error)))?;
        Ok(MappedImage { image, _map: map })
    }

    /// The image, for as long as the mapping lives.
    #[must_use]
    pub fn image(&self) -> &Image<'_> {
        &self.image
    }
}

/// Why an image could not be mapped.
#[derive(Debug)]
pub struct MapError {
    /// The file.
    pub path: PathBuf,
    /// What was wrong.
    pub cause: MapCause,
}

/// What was wrong with an image file.
#[derive(Debug)]
pub enum MapCause {
    /// It cannot be opened or mapped.
    Read(io::Error),
    /// It is no image, damaged, or of another layout.
    Image(ImageError),
}

impl fmt::Display for MapError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            MapCause::Read(error) => {
                write!(out, "routing image {path}: {error}; compile one with `corelane routes compile`")
            }
            MapCause::Image(ImageError::Layout { found, expected }) => write!(
                out,
                "routing image {path}: layout {found}, this program reads {expected}; compile it again with `corelane routes compile`"
            ),
            MapCause::Image(error) => {
                let what = match error {
                    ImageError::NotAnImage => "this is no routing image",
                    ImageError::Truncated => "the file is cut short",
                    ImageError::Checksum => "the checksum does not match",
                    _ => "a section is malformed",
                };
                write!(out, "routing image {path}: {what}; compile it again with `corelane routes compile`")
            }
        }
    }
}

impl std::error::Error for MapError {}

#[cfg(test)]
mod tests {
    use super::{MapCause, MappedImage};

    #[test]
    fn a_missing_file_is_named_with_its_cure() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("routes.image");
        let Err(error) = MappedImage::open(&path) else { panic!("nothing is there") };
        assert!(matches!(error.cause, MapCause::Read(_)));
        let text = error.to_string();
        assert!(text.contains("routes.image") && text.contains("routes compile"), "{text}");
    }
}
