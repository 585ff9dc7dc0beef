//! Why shedding in the kernel cannot be had: the step, the errno, the verifier's last words, and the cure.

use std::fmt;

use crate::refusal::Refusal;

/// What was being done when the kernel refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Creating a map.
    CreateMap,
    /// Mapping the table into this process.
    ShareMap,
    /// Loading the program.
    Load,
    /// Attaching the program to a socket.
    Attach,
    /// Reading what the program costs.
    Statistics,
}

/// The kernel refused a step. Shards shed all the same, at the price of an answer for each refused call.
#[derive(Debug)]
pub struct ShedError {
    step: Step,
    refusal: Refusal,
}

impl ShedError {
    pub(super) fn new(step: Step, refusal: impl Into<Refusal>) -> ShedError {
        ShedError { step, refusal: refusal.into() }
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

    /// Whether this process may not do it, rather than this kernel cannot.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.refusal.is_permission()
    }

    fn cure(&self) -> &'static str {
        if self.is_permission() {
            "run as root or give the binary CAP_BPF (and let the container allow bpf(2)), or say `shed_in_kernel = false`"
        } else {
            "Linux 5.15 or later can do it, with memory and descriptors to spare; or say `shed_in_kernel = false`"
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Step::CreateMap => "cannot create a map",
            Step::ShareMap => "cannot map the table into memory",
            Step::Load => "cannot load the program",
            Step::Attach => "cannot attach the program to a socket",
            Step::Statistics => "cannot read the program's cost",
        })
    }
}

impl fmt::Display for ShedError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.write(out, format_args!("shedding: {}", self.step), self.cure())
    }
}

impl std::error::Error for ShedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.refusal.source())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Refusal, ShedError, Step};

    #[test]
    fn says_step_errno_cure_and_the_verifiers_last_words() {
        let error = ShedError::new(Step::CreateMap, io::Error::from_raw_os_error(libc::EPERM));
        assert!(error.is_permission());
        let text = error.to_string();
        for part in ["cannot create a map", "os error 1", "CAP_BPF", "shed_in_kernel = false"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
        let log: String = (0..20).map(|line| format!("line {line}\n")).collect();
        let refusal = Refusal::from(io::Error::from_raw_os_error(libc::EACCES));
        let error = ShedError::new(Step::Load, refusal.with_log(format!("{log}\0garbage").as_bytes()));
        assert!(!error.is_permission(), "the verifier also refuses with EACCES");
        assert!(error.to_string().ends_with("line 18\nline 19"), "{error}");
    }
}
