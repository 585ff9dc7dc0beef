//! What is wrong with a table, told so that it can be put right: file, line, column, reason and cure.

use std::fmt;

/// One thing that is wrong, or that looks wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// File name within the directory.
    pub file: String,
    /// Line in it, from 1; `None`: the file as a whole.
    pub line: Option<u64>,
    /// Column by name.
    pub column: Option<&'static str>,
    /// What was written there.
    pub value: String,
    /// Why it cannot stand, then what to do about it.
    pub reason: String,
}

impl Problem {
    /// A problem with a whole file.
    pub(super) fn file(file: impl Into<String>, reason: impl Into<String>) -> Problem {
        Problem { file: file.into(), line: None, column: None, value: String::new(), reason: reason.into() }
    }

    /// A problem with a value.
    pub(super) fn value(
        file: impl Into<String>,
        line: u64,
        column: &'static str,
        value: impl fmt::Display,
        reason: impl Into<String>,
    ) -> Problem {
        Problem {
            file: file.into(),
            line: Some(line),
            column: Some(column),
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}

/// `route.csv:12: carrier_id 7: no such carrier; add it to carrier.csv or correct the id`
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        match self.column {
            Some(column) if self.value.is_empty() => write!(out, ": {column}: {}", self.reason),
            Some(column) => write!(out, ": {column} {}: {}", self.value, self.reason),
            None => write!(out, ": {}", self.reason),
        }
    }
}
