//! Image files: read whole and aligned, replaced never in place.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use corelane_core::routing::build::ImageBytes;

/// Reads a file to where an image can be opened in place.
pub(super) fn read(path: &Path) -> io::Result<ImageBytes> {
    let mut file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = ImageBytes::with_capacity(len);
    bytes.resize(len, 0);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes beside `path`, syncs, renames. Whoever has the old file mapped keeps the old file; a crash leaves the old or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = beside(path);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| {
        // What is left of a failed write is in nobody's way, but it takes room. That it cannot be removed is no second error.
        let _ = fs::remove_file(&beside);
    })
}

/// The temporary name: in the same directory, so that a rename is possible, and of this process, so that two compilers do not meet.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}
