//! Why steering could not be set up: the step, the errno, the verifier's last words, and the cure.

use std::fmt;

use crate::refusal::Refusal;

/// What was being done when the kernel refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Creating the map of that name.
    CreateMap(&'static str),
    /// Writing the slot table into its map.
    WriteTable,
    /// Loading the program of that group.
    Load {
        /// Place in the groups given to [`attach`](super::attach).
        group: usize,
    },
    /// Putting a socket into its group's array.
    PlaceSocket {
        /// Place in the groups given to [`attach`](super::attach).
        group: usize,
        /// The socket's place in its group.
        shard: usize,
    },
    /// Making the program choose for that group.
    Attach {
        /// Place in the groups given to [`attach`](super::attach).
        group: usize,
    },
    /// Counting runs or reading the counts.
    Statistics,
}

/// The kernel refused a step of steering. Nothing of it is left behind: every group is back with the kernel's own hash.
#[derive(Debug)]
pub struct SteerError {
    step: Step,
    refusal: Refusal,
}

impl SteerError {
    pub(super) fn new(step: Step, refusal: impl Into<Refusal>) -> SteerError {
        SteerError { step, refusal: refusal.into() }
    }

    /// The step that failed.
    #[must_use]
    pub const fn step(&self) -> Step {
        self.step
    }

    /// The kernel's error number, 0 if it gave none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.refusal.errno()
    }

    /// The end of the verifier's log, empty for any step but [`Step::Load`].
    #[must_use]
    pub fn verifier_log(&self) -> &str {
        self.refusal.verifier_log()
    }

    /// Whether this process may not do it, rather than this kernel cannot.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.refusal.is_permission()
    }

    fn cure(&self) -> &'static str {
        match (self.step, self.errno()) {
            (Step::PlaceSocket { .. } | Step::Attach { .. }, libc::EINVAL) => {
                "the socket must be UDP, with SO_REUSEPORT set before it is bound, and bound before it is steered"
            }
            (Step::PlaceSocket { .. }, libc::EBUSY) => "the socket is steered already",
            _ if self.is_permission() => {
                "run as root or give the binary CAP_BPF and CAP_NET_ADMIN (and let the container allow bpf(2)), or use --steering forward"
            }
            (_, libc::ENOSYS | libc::EINVAL) | (Step::Load { .. }, _) => {
                "this kernel cannot do it (Linux 5.15 or later, little endian); use --steering forward"
            }
            (_, libc::ENOMEM | libc::EMFILE | libc::ENFILE) => "free memory or descriptors, or use --steering forward",
            _ => "use --steering forward",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateMap(name) => write!(out, "cannot create the map {name:?}"),
            Step::WriteTable => write!(out, "cannot write the slot table"),
            Step::Load { group } => write!(out, "cannot load the program of listener {group}"),
            Step::PlaceSocket { group, shard } => {
                write!(out, "cannot place the socket of shard {shard}, listener {group}")
            }
            Step::Attach { group } => write!(out, "cannot attach the program to listener {group}"),
            Step::Statistics => write!(out, "cannot read the program's cost"),
        }
    }
}

impl fmt::Display for SteerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.write(out, format_args!("steering: {}", self.step), self.cure())
    }
}

impl std::error::Error for SteerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.refusal.source())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Refusal, SteerError, Step};

    #[test]
    fn says_step_errno_and_cure() {
        let error = SteerError::new(Step::CreateMap("table"), io::Error::from_raw_os_error(libc::EPERM));
        assert!(error.is_permission());
        let text = error.to_string();
        for part in ["\"table\"", "os error 1", "CAP_BPF", "--steering forward"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
    }

    #[test]
    fn keeps_the_end_of_the_verifier_log() {
        let log: String = (0..20).map(|line| format!("line {line}\n")).collect();
        let refusal = Refusal::from(io::Error::from_raw_os_error(libc::EACCES));
        let error = SteerError::new(Step::Load { group: 3 }, refusal.with_log(format!("{log}\0garbage").as_bytes()));
        assert!(!error.is_permission(), "the verifier also refuses with EACCES");
        assert_eq!(error.verifier_log().lines().next(), Some("line 12"));
        assert_eq!(error.verifier_log().lines().last(), Some("line 19"));
        assert!(error.to_string().contains("listener 3"));
    }
}
