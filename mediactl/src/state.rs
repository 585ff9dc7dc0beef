//! The state directory: what a node keeps over restarts.
//!
//! ```text
//! secret.key     16 bytes, mode 0600: key of tokens and steering, made at the first start, never changed
//! routes.image   the last good routing image
//! limits.day     what providers have used of their day (daily.rs)
//! node           id of this node and number of its last start, in decimal; then the numbers of earlier starts, a line each, newest first
//! journal.N      how the calls of shard N ended (corelane_shard::journal), unless `journal_dir` says where
//! media.sessions media sessions that are held or owed, likewise
//! lock           held (flock) by the one process that runs on this directory; holds its process id
//! ```
//!
//! The key is what makes a Via branch or Record-Route of ours believable; two nodes that stand in for each other share it,
//! and losing it ends all dialogs that it signed. So a key file that is unreadable or of the wrong size is an error and is never replaced
//! silently. The lock matters because `SO_REUSEPORT` would let a second process of the same user take half of the traffic unnoticed.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::problem::{Place, Problem};

/// Bytes of the node's secret.
pub const SECRET_BYTES: usize = 16;

const SECRET_FILE: &str = "secret.key";
const NODE_FILE: &str = "node";
const LOCK_FILE: &str = "lock";

/// Earlier starts that are remembered. What one of before has left on a media node is long over, unless all of these came within the hour.
const EARLIER_MAX: usize = 1_024;

/// Who this process is among all that share media nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Id of the node.
    pub node: u32,
    /// Number of this start: no two of a node have the same.
    pub boot: u64,
    /// Numbers of earlier ones on this directory, newest first.
    pub earlier: Vec<u64>,
}

/// A locked state directory. Dropping it gives the lock back; so does the end of the process, however it comes.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory where it is missing and locks it.
    ///
    /// # Errors
    /// When it cannot be made or written, or another process runs on it.
    pub fn open(path: &Path) -> Result<StateDir, Problem> {
        DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(|error| unusable(path, &error))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o640)
            .open(&lock_path)
            .map_err(|error| unusable(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Only for the message: an unreadable id is no second problem.
                let _ = lock.read_to_string(&mut owner);
                let owner = if owner.trim().is_empty() {
                    "another process".into()
                } else {
                    format!("process {}", owner.trim())
                };
                return Err(Problem::error(
                    Place::file(path),
                    format!("the state directory is in use by {owner}"),
                    "stop that process, or give this node a directory of its own with `--state-dir`",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(&lock_path, &error)),
        }
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|error| unusable(&lock_path, &error))?;
        Ok(StateDir { path: path.to_path_buf(), _lock: lock })
    }

    /// The node's secret; made of kernel randomness and made durable at the first start.
    ///
    /// # Errors
    /// When the file is unreadable or not 16 bytes long, or cannot be made.
    pub fn secret(&self) -> Result<[u8; SECRET_BYTES], Problem> {
        match read_secret(&self.path)? {
            Some(secret) => Ok(secret),
            None => self.make_secret().map_err(|error| unusable(&self.path.join(SECRET_FILE), &error)),
        }
    }

    /// Who this start of the node is; writes down that it was. The id is drawn at the first start unless `node` says it. The number of a
    /// start is not below the time in milliseconds, so that it is a new one also when the file was lost.
    ///
    /// # Errors
    /// When the file makes no sense, or cannot be read or written.
    pub fn identity(&self, node: Option<u32>, wall_ms: u64) -> Result<Identity, Problem> {
        let path = self.path.join(NODE_FILE);
        let last = match fs::read_to_string(&path) {
            Ok(text) => Some(parse_identity(&text).ok_or_else(|| {
                Problem::error(
                    Place::file(&path),
                    "this is no id and number of a start",
                    "remove it; media sessions that an earlier start left behind are then the media nodes' to end",
                )
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(&path, &error)),
        };
        let drawn = || {
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes).map(|()| u32::from_le_bytes(bytes).max(1)).map_err(io::Error::from)
        };
        let node = match node.or(last.as_ref().map(|last| last.node)) {
            Some(node) => node,
            None => drawn().map_err(|error| unusable(&path, &error))?,
        };
        let boot = last.as_ref().map_or(0, |last| last.boot.saturating_add(1)).max(wall_ms);
        let earlier = last.into_iter().flat_map(|last| [last.boot].into_iter().chain(last.earlier));
        let identity = Identity { node, boot, earlier: earlier.take(EARLIER_MAX).collect() };
        self.replace(NODE_FILE, identity.to_string().as_bytes()).map_err(|error| unusable(&path, &error))?;
        Ok(identity)
    }

    fn make_secret(&self) -> io::Result<[u8; SECRET_BYTES]> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(io::Error::from)?;
        self.replace(SECRET_FILE, &secret)?;
        Ok(secret)
    }

    /// Written beside and renamed, with file and directory synced: a crash leaves either the old file or the new one, whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.path.join(format!("{name}.new"));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }
}

fn parse_identity(text: &str) -> Option<Identity> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (node, boot) = lines.next()?.split_once(' ')?;
    let node = node.parse().ok().filter(|node| *node != 0)?;
    Some(Identity {
        node,
        boot: boot.parse().ok()?,
        earlier: lines.map(|boot| boot.parse().ok()).collect::<Option<_>>()?,
    })
}

/// As it is written down.
impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} {}", self.node, self.boot)?;
        self.earlier.iter().try_for_each(|boot| writeln!(out, "{boot}"))
    }
}

/// What would keep a node from running on this directory, found without changing it (for `check`): it may be missing as long
/// as it can be made.
#[must_use]
pub fn inspect(path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err((place, error)) = writable(path) {
        problems.push(unusable(&place, &error));
        if !path.is_dir() {
            return problems;
        }
    }
    match read_secret(path) {
        Ok(_) => problems.extend(secret_is_open(path)),
        Err(problem) => problems.push(problem),
    }
    problems
}

/// Whether files can be made in a directory, which may be missing as long as it can be made; finds out without leaving anything.
///
/// # Errors
/// What is in the way, and why.
pub fn writable(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let existing = path.ancestors().find(|ancestor| ancestor.as_os_str().is_empty() || ancestor.exists());
    let existing = existing.filter(|ancestor| !ancestor.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        return Err((existing.to_path_buf(), io::Error::from(io::ErrorKind::NotADirectory)));
    }
    // A file is the one honest test of "may I write here": permission bits do not know of root, ACLs or read-only mounts.
    probe(existing).map_err(|error| (existing.to_path_buf(), error))
}

/// A warning when others may read the secret.
#[must_use]
pub fn secret_is_open(path: &Path) -> Option<Problem> {
    let path = path.join(SECRET_FILE);
    let mode = fs::metadata(&path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Problem::warning(
            Place::file(&path),
            format!("other users may read the secret key (mode {mode:03o})"),
            format!("`chmod 600 {}`", path.display()),
        )
    })
}

/// Makes and removes a file in a directory.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".corelane-check-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)
}

fn read_secret(directory: &Path) -> Result<Option<[u8; SECRET_BYTES]>, Problem> {
    let path = directory.join(SECRET_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Problem::error(
                Place::file(&path),
                format!("the secret key cannot be read: {error}"),
                "make it readable to the user that runs corelane",
            ));
        }
    };
    <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()).map(Some).map_err(|_| {
        Problem::error(
            Place::file(&path),
            format!("the secret key has {} bytes instead of {SECRET_BYTES}", bytes.len()),
            "restore it from a backup or a peer node; or remove it: a new one is made, and calls in progress over a restart are lost",
        )
    })
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    Problem::error(
        Place::file(path),
        format!("the state directory cannot be used: {error}"),
        "make it a directory that the user who runs corelane may write, or name another with `--state-dir`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_secret_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let first = StateDir::open(&path).unwrap().secret().unwrap();
        let second = StateDir::open(&path).unwrap().secret().unwrap();
        assert_eq!(first, second);
        assert_ne!(first, [0; SECRET_BYTES]);
        let mode = fs::metadata(path.join(SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "key and lock, nothing beside: {names:?}");
        assert_eq!(inspect(&path), []);
    }

    #[test]
    fn no_two_starts_of_a_node_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let first = state.identity(None, 5_000).unwrap();
        assert_eq!(first.boot, 5_000);
        assert_ne!(first.node, 0);
        let is = |node, boot, earlier: &[u64]| Identity { node, boot, earlier: earlier.to_vec() };
        assert_eq!(state.identity(None, 6_000).unwrap(), is(first.node, 6_000, &[5_000]));
        assert_eq!(state.identity(None, 1_000).unwrap(), is(first.node, 6_001, &[6_000, 5_000]), "the clock went back");
        assert_eq!(state.identity(Some(9), 1_000).unwrap(), is(9, 6_002, &[6_001, 6_000, 5_000]));
        assert_eq!(state.identity(None, 0).unwrap().node, 9, "it was told, and is kept");
        fs::write(directory.path().join(NODE_FILE), "9 7000\n").unwrap();
        assert_eq!(state.identity(None, 0).unwrap(), is(9, 7_001, &[7_000]), "a file that knows no earlier ones");
        let full: Vec<u64> = (0..EARLIER_MAX as u64).map(|start| 8_000 - start).collect();
        fs::write(directory.path().join(NODE_FILE), is(9, 8_001, &full).to_string()).unwrap();
        let many = state.identity(None, 0).unwrap().earlier;
        assert_eq!(
            (many.len(), many[0], &many[1..]),
            (EARLIER_MAX, 8_001, &full[..EARLIER_MAX - 1]),
            "the oldest is forgotten"
        );
        for damaged in ["", "9", "0 1\n", "x 1\n", "9 1", "9 2\nx\n", "9 2\n\n"] {
            fs::write(directory.path().join(NODE_FILE), damaged).unwrap();
            let problem = state.identity(None, 0).unwrap_err();
            assert!(problem.what.contains("no id and number"), "{damaged:?}: {problem}");
        }
    }

    #[test]
    fn survives_a_crash_in_the_middle_of_making_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("secret.key.new"), b"half").unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        assert_eq!(state.secret().unwrap(), state.secret().unwrap());
    }

    #[test]
    fn refuses_a_key_of_the_wrong_size_and_leaves_it() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join(SECRET_FILE);
        fs::write(&key, b"short").unwrap();
        let problem = StateDir::open(directory.path()).unwrap().secret().unwrap_err();
        assert!(problem.what.contains("has 5 bytes instead of 16"), "{problem}");
        assert_eq!(fs::read(&key).unwrap(), b"short");
        assert!(inspect(directory.path()).contains(&problem));
    }

    #[test]
    fn warns_of_a_key_that_others_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join(SECRET_FILE);
        fs::write(&key, [7; SECRET_BYTES]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = inspect(directory.path());
        assert!(warnings[0].to_string().contains("(mode 644)"), "{warnings:?}");
    }

    #[test]
    fn lets_one_process_run_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateDir::open(directory.path()).unwrap();
        let problem = StateDir::open(directory.path()).unwrap_err();
        assert!(problem.what.contains(&format!("in use by process {}", std::process::id())), "{problem}");
        drop(held);
        assert!(StateDir::open(directory.path()).is_ok());
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(StateDir::open(&file.join("state")).is_err());
        assert!(inspect(&file.join("state"))[0].what.contains("not a directory"));
        assert_eq!(inspect(&directory.path().join("not/yet")), [], "it can be made");
    }
}
