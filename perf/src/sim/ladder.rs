//! Who said what to whom: the log of a world, of which one call's part is printed when something breaks.

use std::fmt;

use corelane_core::bus::{MediaOutcome, Verb};
use corelane_core::call::EndReason;

use super::network::{Party, SECOND};
use super::wire::{Method, cseq_method};
use crate::wire::{Message, Start};

/// Calls that a world's log cannot name: what does not scan, or has another world's Call-ID.
pub(super) const NO_CALL: u32 = u32::MAX;

/// One end of an arrow.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    Engine(u8),
    Relay,
    Party(Party),
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Engine(shard) => write!(out, "shard {shard}"),
            End::Relay => out.write_str("relay"),
            End::Party(Party::Caller(number)) => write!(out, "caller {number}"),
            End::Party(Party::Gateway(number)) => write!(out, "gateway {number}"),
            End::Party(Party::Stranger(number)) => write!(out, "stranger {number}"),
        }
    }
}

/// The first line of a message, in short.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Request(Method, u32),
    Response(u16, Method, u32),
    Garbage,
    Unreachable,
    /// What is asked of a media node, and of which exchange.
    Wish(Verb, u32),
    /// What came of it.
    Reply(MediaOutcome, u32),
    /// The call ended at the engine, so and with this status.
    Ended(EndReason, u16),
}

impl Line {
    pub(super) fn of(message: Option<&Message<'_>>) -> Line {
        let Some(message) = message else { return Line::Garbage };
        let cseq = super::wire::leading_number(message.cseq);
        match message.start {
            Start::Request(name) => Line::Request(Method::of(name), cseq),
            Start::Response(status) => Line::Response(status, cseq_method(message), cseq),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |method: Method| String::from_utf8_lossy(method.name()).into_owned();
        match self {
            Line::Request(method, cseq) => write!(out, "{} ({cseq})", name(*method)),
            Line::Response(status, method, cseq) => write!(out, "{status} ({cseq} {})", name(*method)),
            Line::Garbage => out.write_str("(unreadable)"),
            Line::Unreachable => out.write_str("…unreachable"),
            Line::Wish(verb, exchange) => write!(out, "{verb:?} #{exchange}"),
            Line::Reply(outcome, exchange) => write!(out, "{outcome:?} #{exchange}"),
            Line::Ended(reason, status) => write!(out, "…ended: {reason:?}, {status}"),
        }
    }
}

/// What became of a message on the way.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Arrives at this time.
    Arrives(u64),
    /// Arrives twice.
    Doubled(u64, u64),
    Lost,
    /// Nothing to say.
    Done,
}

#[derive(Copy, Clone)]
struct Entry {
    at: u64,
    call: u32,
    from: End,
    to: End,
    line: Line,
    fate: Fate,
}

/// The log.
#[derive(Default)]
pub(super) struct Ladder {
    entries: Vec<Entry>,
}

/// Lines of a call that are printed at most: the last ones.
const LINES_MAX: usize = 120;

impl Ladder {
    pub(super) fn note(&mut self, at: u64, call: u32, from: End, to: End, line: Line, fate: Fate) {
        self.entries.push(Entry { at, call, from, to, line, fate });
    }

    /// The part of one call, as text.
    pub(super) fn print(&self, call: u32) -> String {
        use fmt::Write as _;
        let seconds = |at: u64| at as f64 / SECOND as f64;
        let of_call: Vec<&Entry> = self.entries.iter().filter(|entry| entry.call == call).collect();
        let mut text = String::new();
        let skipped = of_call.len().saturating_sub(LINES_MAX);
        if skipped > 0 {
            let _ = writeln!(text, "  … {skipped} earlier lines");
        }
        for entry in &of_call[skipped..] {
            let arrow = format!("{} → {}", entry.from, entry.to);
            let _ = write!(text, "  {:>12.6}  {arrow:<24} {}", seconds(entry.at), entry.line);
            let _ = match entry.fate {
                Fate::Arrives(at) => writeln!(text, "   ({:.6})", seconds(at)),
                Fate::Doubled(one, two) => writeln!(text, "   ({:.6}, {:.6})", seconds(one), seconds(two)),
                Fate::Lost => writeln!(text, "   lost"),
                Fate::Done => writeln!(text),
            };
        }
        text
    }
}
