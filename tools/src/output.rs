//! Results to stdout, problems to stderr.

use std::io::{self, Write};
use std::process::ExitCode;

use corelane_mediactl::{Problem, Severity};

/// Prints problems, errors first, and says how many there are.
pub(crate) fn problems(problems: &[Problem]) {
    let mut err = io::stderr().lock();
    let of = |severity| problems.iter().filter(move |problem: &&Problem| problem.severity == severity);
    for problem in of(Severity::Error).chain(of(Severity::Warning)) {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(err, "{problem}");
    }
}

/// `3 errors, 1 warning`.
pub(crate) fn tally(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", plural(errors, "error"), plural(problems.len() - errors, "warning"))
}

/// The exit status of a command whose output may have been cut off by whoever read it.
pub(crate) fn status(written: io::Result<()>, good: bool) -> ExitCode {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "error: stdout: {error}");
            ExitCode::FAILURE
        }
        _ if good => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
