//! What a stand-in counted, as lines of text.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of one node since its start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Requests that were read, repeated ones included.
    pub requests: u64,
    /// Of these, whose cookie was known: answered from memory.
    pub repeated: u64,
    /// Offers, also refused ones.
    pub offers: u64,
    /// Answers, also refused ones.
    pub answers: u64,
    /// Deletes that took a session or a branch.
    pub deletes: u64,
    /// Deletes of what is not there.
    pub deletes_unknown: u64,
    /// Pings.
    pub pings: u64,
    /// Queries.
    pub queries: u64,
    /// Lists and statistics.
    pub lists: u64,
    /// Datagrams that are no ng request.
    pub unreadable: u64,
    /// Requests that a fault swallowed.
    pub swallowed: u64,
    /// Sessions now.
    pub sessions: u64,
    /// The most sessions at once.
    pub sessions_peak: u64,
    /// Requests that were answered with an error or a load limit, by what was said.
    pub refused: BTreeMap<String, u64>,
}

impl Counts {
    /// The counters by name, in the order of the fields.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("requests", self.requests),
            ("repeated", self.repeated),
            ("offers", self.offers),
            ("answers", self.answers),
            ("deletes", self.deletes),
            ("deletes_unknown", self.deletes_unknown),
            ("pings", self.pings),
            ("queries", self.queries),
            ("lists", self.lists),
            ("unreadable", self.unreadable),
            ("swallowed", self.swallowed),
            ("sessions", self.sessions),
            ("sessions_peak", self.sessions_peak),
        ]
    }
}

/// One line per counter: `relay sessions=7`, and `relay refused=7 Ran out of ports`.
impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.named() {
            writeln!(out, "relay {name}={value}")?;
        }
        for (reason, count) in &self.refused {
            writeln!(out, "relay refused={count} {reason}")?;
        }
        Ok(())
    }
}

/// Reads one counter back from what was printed.
#[must_use]
pub fn read(printed: &str, name: &str) -> Option<u64> {
    printed.lines().find_map(|line| line.strip_prefix("relay ")?.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Counts, read};

    #[test]
    fn what_is_printed_is_read() {
        let counts =
            Counts { sessions: 3, sessions_peak: 9, refused: [("x y".to_owned(), 2)].into(), ..Counts::default() };
        let text = counts.to_string();
        assert_eq!(
            (read(&text, "sessions"), read(&text, "sessions_peak"), read(&text, "sess")),
            (Some(3), Some(9), None)
        );
        assert!(text.ends_with("relay refused=2 x y\n"));
    }
}
