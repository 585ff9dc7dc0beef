//! What the kernel says when it refuses a program, or a step on the way to one. Steering and shedding add which step it was, and the cure.

use std::os::fd::OwnedFd;
use std::{fmt, io};

use crate::assembler::Program;
use crate::sys::bpf::{self, ProgramKind};

/// The verifier's log of a refused program; the kernel keeps what fits and we keep the end.
const VERIFIER_LOG_SIZE: usize = 16 << 20;
/// Lines of it that are kept: the reason is the last but a few of counts.
const LOG_LINES: usize = 8;

/// So often a program is loaded whose verification signals end.
const LOADS_MAX: u32 = 20;

/// The kernel's error, and for a program the verifier's last words.
#[derive(Debug)]
pub(crate) struct Refusal {
    source: io::Error,
    log: String,
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Refusal {
        Refusal { source, log: String::new() }
    }
}

impl Refusal {
    /// With the end of a verifier's log, which a NUL closes.
    pub(crate) fn with_log(mut self, log: &[u8]) -> Refusal {
        let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        self.log = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        self
    }

    /// The kernel's error number, 0 if it gave none.
    pub(crate) fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    /// The end of the verifier's log, empty for any step but loading.
    pub(crate) fn verifier_log(&self) -> &str {
        &self.log
    }

    /// Whether this process may not do it, rather than this kernel cannot: the verifier, too, refuses with EACCES.
    pub(crate) fn is_permission(&self) -> bool {
        matches!(self.errno(), libc::EPERM | libc::EACCES) && self.log.is_empty()
    }

    /// The kernel's error.
    pub(crate) fn source(&self) -> &io::Error {
        &self.source
    }

    /// The whole text: what was being done, the error, the cure, the log.
    pub(crate) fn write(&self, out: &mut fmt::Formatter<'_>, what: fmt::Arguments<'_>, cure: &str) -> fmt::Result {
        write!(out, "{what}: {}; {cure}", self.source)?;
        if !self.log.is_empty() {
            write!(out, "\nthe kernel's verifier ended with:\n{}", self.log)?;
        }
        Ok(())
    }
}

/// Loads a program.
///
/// # Errors
/// With the end of the verifier's log, but where this process may not load any.
pub(crate) fn load(kind: ProgramKind, program: &Program, name: &str) -> Result<OwnedFd, Refusal> {
    let load = |log: &mut [u8]| bpf::load_program(kind, program.words(), name, log);
    undisturbed(|| load(&mut [])).map_err(|error| {
        let refusal = Refusal::from(error);
        if refusal.errno() == libc::EPERM {
            return refusal;
        }
        // Again, for the log alone: the verifier writes hundreds of lines, so not at every start.
        let mut log = vec![0; VERIFIER_LOG_SIZE];
        let _ = load(&mut log);
        refusal.with_log(&log)
    })
}

/// Tries again what a signal ended: the verifier gives up, with EAGAIN, when one comes for its thread, also one that nobody handles, and
/// a start is when an operator's tools send some.
fn undisturbed<T>(mut load: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut loads = 1;
    loop {
        match load() {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && loads < LOADS_MAX => loads += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LOADS_MAX, undisturbed};
    use std::io;

    /// How often it was tried and what came of it, where so many tries end with this error.
    fn tried(fail: u32, errno: i32) -> (u32, Option<i32>) {
        let mut tries = 0;
        let result = undisturbed(|| {
            tries += 1;
            if tries <= fail { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
        });
        (tries, result.err().and_then(|error| error.raw_os_error()))
    }

    #[test]
    fn a_load_that_a_signal_ended_is_tried_again_and_no_other() {
        assert_eq!(tried(0, libc::EAGAIN), (1, None));
        assert_eq!(tried(3, libc::EAGAIN), (4, None));
        assert_eq!(tried(u32::MAX, libc::EAGAIN), (LOADS_MAX, Some(libc::EAGAIN)), "not for ever");
        assert_eq!(tried(1, libc::EPERM), (1, Some(libc::EPERM)));
        assert_eq!(tried(1, libc::E2BIG), (1, Some(libc::E2BIG)));
    }
}
