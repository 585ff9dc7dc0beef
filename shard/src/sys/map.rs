//! Files mapped into memory: a routing image, a file of shared words (the journal), and a file of one owner (the table of media sessions).
//!
//! | type | who writes | what makes it sound |
//! | --- | --- | --- |
//! | [`MappedImage`] | nobody, once it has its name | written beside and renamed |
//! | [`MappedWords`] | threads of this process | every access is atomic; the file is locked against other processes |
//! | [`MappedFile`] | its one owner | borrowed like any slice; the file is locked against other processes |
//!
//! What is stored in the last two is in the page cache at once, so it outlives this process however it ends. A new file's blocks are
//! written with zeros before it is mapped: a store into a hole of a full disk would be a signal (SIGBUS), not an error. A file system that
//! writes each block to a new place (btrfs, ZFS; XFS with reflinks of the file) can still be full then; on a tmpfs the blocks stay ours.
//!
//! All are mapped with their pages at hand. They are *held*, so that the kernel does not take the pages of a file away when memory is short, where the
//! limit on locked memory allows it: [`hold`] and [`MappedWords::hold`].

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use corelane_core::Image;
use corelane_core::routing::ImageError;
use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

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
    /// Maps and opens the image at `path`, and reads it into memory where it is not there: the first look-up waits for no disk.
    ///
    /// # Errors
    /// [`MapError`]: the file cannot be read, or is no image that this program can use.
    pub fn open(path: &Path) -> Result<MappedImage, MapError> {
        let failed = |cause| MapError { path: path.to_owned(), cause };
        let file = File::open(path).map_err(|error| failed(MapCause::Read(error)))?;
        // SAFETY: the file is never written after it got its name (see the type), so the bytes do not change under the slice.
        let map = unsafe { MmapOptions::new().populate().map(&file) }.map_err(|error| failed(MapCause::Read(error)))?;
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

/// A file whose pages stay in memory as long as this lives, for all who map it.
#[derive(Debug)]
pub(crate) struct Held {
    _map: Mmap,
}

/// Holds the pages of a file.
///
/// # Errors
/// The limit on locked memory, or the file cannot be mapped.
pub(crate) fn hold(path: &Path) -> io::Result<Held> {
    let file = File::open(path)?;
    // SAFETY: nothing is ever read through this mapping.
    let map = unsafe { Mmap::map(&file) }?;
    map.lock()?;
    Ok(Held { _map: map })
}

/// Whether a file lies in memory and nowhere else: then a store into a mapping of it never waits for a disk.
pub(crate) fn is_in_memory(file: &File) -> io::Result<bool> {
    // SAFETY: all-zero bytes are a valid statfs.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the value is writable and lives across the call.
    super::checked(unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut found) })?;
    Ok(found.f_type == libc::TMPFS_MAGIC)
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

/// A file of 64-bit words that several threads read and write.
pub(crate) struct MappedWords {
    map: MmapRaw,
    words: usize,
    file: File,
}

impl MappedWords {
    /// Maps all of an open file; every page is touched now, so that no store waits for the disk later.
    ///
    /// # Errors
    /// The file is in use by another process, or cannot be mapped.
    pub(crate) fn of(file: File) -> io::Result<MappedWords> {
        lock(&file)?;
        let words = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)? / size_of::<AtomicU64>();
        let map = MmapOptions::new().len(words * size_of::<AtomicU64>()).populate().map_raw(&file)?;
        Ok(MappedWords { map, words, file })
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        let start = self.map.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping is page-aligned, is that many words long, and lives as long as `self`. Nobody forms another kind of
        // reference into it, and the lock keeps other processes from writing or cutting the file, so that all accesses are atomic.
        unsafe { std::slice::from_raw_parts(start, self.words) }
    }

    /// Holds the pages in memory until the mapping ends.
    ///
    /// # Errors
    /// The limit on locked memory.
    pub(crate) fn hold(&self) -> io::Result<()> {
        self.map.lock()
    }

    /// The file, for whoever makes it durable.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// A file in memory that one owner reads and writes.
#[derive(Debug)]
pub struct MappedFile {
    map: MmapMut,
    file: File,
}

impl MappedFile {
    /// Opens the file at `path` and maps it; a missing one is made, with zeros. A file that is shorter than `bytes` grows, one that is
    /// longer stays as it is.
    ///
    /// # Errors
    /// It cannot be opened, made, grown, locked (another process has it) or mapped.
    pub fn open(path: &Path, bytes: usize) -> io::Result<MappedFile> {
        if !path.exists() {
            make(path, b"", bytes)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        let length = usize::try_from(file.seek(SeekFrom::End(0))?).map_err(io::Error::other)?;
        write_zeros(&mut file, bytes.saturating_sub(length))?;
        // SAFETY: the bytes change only through this value: the lock keeps every other opening of the file out, here and elsewhere.
        let map = unsafe { MmapOptions::new().len(bytes.max(length)).populate().map_mut(&file)? };
        Ok(MappedFile { map, file })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The bytes, to change. What is stored here outlives the process at once; [`File::sync_data`] on [`MappedFile::file`] makes it
    /// outlive the machine.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }

    /// The same file once more, for a thread that may wait for the disk.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl AsMut<[u8]> for MappedFile {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

/// Makes a file that starts with `head` and is `bytes` long: written beside and renamed, so that it is whole or not there; what there was no room for
/// is not left to fill the disk.
pub(crate) fn make(path: &Path, head: &[u8], bytes: usize) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(&beside)?;
    let made = file
        .write_all(head)
        .and_then(|()| write_zeros(&mut file, bytes.saturating_sub(head.len())))
        .and_then(|()| fs::rename(&beside, path));
    if made.is_err() {
        // That it cannot be removed either says nothing new.
        let _ = fs::remove_file(&beside);
    }
    made
}

fn write_zeros(file: &mut File, mut count: usize) -> io::Result<()> {
    const PAGES: [u8; 1 << 14] = [0; 1 << 14];
    while count > 0 {
        let part = count.min(PAGES.len());
        file.write_all(&PAGES[..part])?;
        count -= part;
    }
    Ok(())
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process has it open"),
        TryLockError::Error(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::{MapCause, MappedFile, MappedImage, hold, is_in_memory, make};

    #[test]
    fn a_missing_file_is_named_with_its_cure() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("routes.image");
        let Err(error) = MappedImage::open(&path) else { panic!("nothing is there") };
        assert!(matches!(error.cause, MapCause::Read(_)));
        let text = error.to_string();
        assert!(text.contains("routes.image") && text.contains("routes compile"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_made_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The name is taken by a folder, so that the last step fails.
        let path = folder.path().join("journal.0");
        fs::create_dir(&path).expect("a folder");
        make(&path, b"head", 100_000).expect_err("a folder is no file");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "the folder alone");
    }

    #[test]
    fn a_file_in_memory_is_told_from_others() {
        let own = fs::File::open("/proc/self/status").expect("procfs");
        assert!(!is_in_memory(&own).expect("an open file"));
        // Where there is none, nothing can be shown.
        if let Ok(file) = tempfile::tempfile_in("/dev/shm") {
            assert!(is_in_memory(&file).expect("an open file"));
        }
    }

    #[test]
    fn what_is_held_is_locked_memory() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("image");
        fs::write(&path, vec![1; 300 << 10]).expect("room");
        let locked_kib = || {
            let status = fs::read_to_string("/proc/self/status").expect("procfs");
            let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("a line");
            line.trim_end_matches(" kB").trim().parse::<u64>().expect("a number")
        };
        match hold(&path) {
            Ok(held) => {
                assert!(locked_kib() >= 300);
                drop(held);
            }
            Err(error) => assert!(
                [io::ErrorKind::OutOfMemory, io::ErrorKind::PermissionDenied].contains(&error.kind())
                    || error.raw_os_error() == Some(libc::EAGAIN),
                "{error}"
            ),
        }
    }

    #[test]
    fn what_is_stored_is_in_the_file_and_found_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("table");
        let mut map = MappedFile::open(&path, 10_000).expect("a new file");
        assert!(map.bytes().iter().all(|byte| *byte == 0));
        map.bytes_mut()[9_999] = 7;
        assert_eq!(MappedFile::open(&path, 10).expect_err("it is locked").kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(fs::read(&path).expect("a file")[9_999], 7, "before the mapping ends");
        drop(map);
        let map = MappedFile::open(&path, 10).expect("it is there");
        assert_eq!((map.bytes().len(), map.bytes()[9_999]), (10_000, 7), "a longer file stays");
        drop(map);
        let map = MappedFile::open(&path, 50_001).expect("it is there");
        assert_eq!((map.bytes().len(), map.bytes()[9_999], map.bytes()[50_000]), (50_001, 7, 0), "a shorter one grows");
    }
}
