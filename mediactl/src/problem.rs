//! What an operator is told when something is wrong: where, what, and how to cure it.
//!
//! ```text
//! error: corelane.toml:4: unknown key `shard`
//!   cure: the key is `shards`
//! ```
//!
//! A check collects all problems before it gives up, so a bad installation is cured in one round. Whoever prints
//! decides the stream; nothing here prints.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value was set, or where a problem lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A line of a file, counted from 1.
    Line(PathBuf, u32),
    /// A file or directory as a whole.
    File(PathBuf),
    /// A command line flag, with its dashes.
    Flag(&'static str),
    /// Nobody set it: the default of this setting.
    Default(&'static str),
    /// The machine or its kernel.
    Machine,
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn file(path: &Path) -> Place {
        Place::File(path.to_path_buf())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(path, line) => write!(out, "{}:{line}", path.display()),
            Place::File(path) => write!(out, "{}", path.display()),
            Place::Flag(flag) => out.write_str(flag),
            Place::Default(setting) => write!(out, "default of `{setting}`"),
            Place::Machine => out.write_str("this machine"),
        }
    }
}

/// A value and where it was set, so that a later check can name the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub place: Place,
}

impl<T> Sourced<T> {
    /// A value with its place.
    pub const fn new(value: T, place: Place) -> Sourced<T> {
        Sourced { value, place }
    }
}

/// How bad it is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Corelane runs, but probably not as meant.
    Warning,
    /// Corelane does not start.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What, in one sentence without a full stop.
    pub what: String,
    /// What to do about it; may be empty where `what` says it already.
    pub cure: String,
}

impl Problem {
    /// Something that keeps Corelane from starting.
    pub fn error(place: Place, what: impl Into<String>, cure: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, place, what: what.into(), cure: cure.into() }
    }

    /// Something that an operator should know and may want.
    pub fn warning(place: Place, what: impl Into<String>, cure: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, place, what: what.into(), cure: cure.into() }
    }

    /// The same problem where it does not stop the start: a last good image stands in.
    #[must_use]
    pub fn as_warning(mut self) -> Problem {
        self.severity = Severity::Warning;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(out, "{severity}: {}: {}", self.place, self.what)?;
        if self.cure.is_empty() { Ok(()) } else { write!(out, "\n  cure: {}", self.cure) }
    }
}

impl std::error::Error for Problem {}

/// Whether any of these keeps Corelane from starting.
#[must_use]
pub fn any_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_what_and_cure() {
        let problem = Problem::error(Place::Line("a.toml".into(), 4), "unknown key `shard`", "the key is `shards`");
        assert_eq!(problem.to_string(), "error: a.toml:4: unknown key `shard`\n  cure: the key is `shards`");
        assert!(any_error(std::slice::from_ref(&problem)));
        let milder = problem.as_warning();
        assert!(milder.to_string().starts_with("warning: a.toml:4"));
        assert!(!any_error(&[milder]));
    }

    #[test]
    fn leaves_an_empty_cure_out() {
        assert_eq!(Problem::warning(Place::Flag("--io"), "x", "").to_string(), "warning: --io: x");
    }
}
