//! What a media node says, and what it means for whoever asked.
//!
//! | `result` | reason or content | meaning |
//! | --- | --- | --- |
//! | `ok` | `sdp` | [`Meaning::Sdp`] |
//! | `ok` | `calls` | [`Meaning::List`] |
//! | `ok` | `statistics` | [`Meaning::Statistics`] |
//! | `ok` | `tags` | [`Meaning::Heard`] |
//! | `ok` | else, also with `warning` (delete of a session that is gone) | [`Meaning::Done`] |
//! | `pong` | | [`Meaning::Pong`] |
//! | `load limit` | | [`Meaning::Full`]: try another node, nothing was made here |
//! | `error` | one of the [`Limit`]s | [`Meaning::Full`], see [`Limit::before_creation`] |
//! | `error` | `Unknown call-id` | [`Meaning::Unknown`] |
//! | `error` | about the SDP | [`Meaning::Refused`]: no other node would take it |
//! | `error` | anything else | [`Meaning::Failed`] |
//!
//! The texts are rtpengine's own, and compared without regard to case. A reply is never trusted for more than its
//! question: who reads it knows the cookie, the node, and what was asked.

use super::bencode::{BencodeError, Dictionary, List, Value};
use super::id::{Cookie, Origin};
use super::query::Heard;

/// The longest cookie that is looked at: ten digits, sixteen, sixteen, and their hyphens.
const COOKIE_MAX: usize = 44;

/// Why a node takes no more.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Its `max-sessions`.
    Sessions,
    /// Its port range.
    Ports,
    /// Its CPU.
    Cpu,
    /// Its load average.
    Load,
    /// Its bandwidth.
    Bandwidth,
}

impl Limit {
    const TEXTS: [(&'static str, Limit); 5] = [
        ("Parallel session limit reached", Limit::Sessions),
        ("Ran out of ports", Limit::Ports),
        ("CPU usage limit exceeded", Limit::Cpu),
        ("Load limit exceeded", Limit::Load),
        ("Bandwidth limit exceeded", Limit::Bandwidth),
    ];

    fn of(reason: &[u8]) -> Option<Limit> {
        let known = |(text, _): &&(&str, Limit)| reason.eq_ignore_ascii_case(text.as_bytes());
        Limit::TEXTS.iter().find(known).map(|(_, limit)| *limit)
    }

    /// Whether the node looks at this limit before it makes a session, so that none is left behind.
    #[must_use]
    pub const fn before_creation(self) -> bool {
        !matches!(self, Limit::Ports)
    }
}

/// Reasons that are about the SDP: the beginnings of rtpengine's texts.
const SDP_REASONS: [&str; 6] =
    ["Failed to parse SDP", "Incomplete SDP", "No SDP body", "Error rewriting SDP", "Unsupported SDP", "Invalid SDP"];

/// What a reply means.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Meaning<'b> {
    /// Done; this is the rewritten SDP.
    Sdp(&'b [u8]),
    /// Done.
    Done {
        /// Whether the node knew nothing of what was to be done (a session that is gone).
        unknown: bool,
    },
    /// The node lives.
    Pong,
    /// The node takes no more: another one may.
    Full(Limit),
    /// The node takes no such SDP: none would.
    Refused,
    /// The node did not do it.
    Failed,
    /// The ids of its sessions.
    List(List<'b>),
    /// Sessions that the node has, whoever they belong to.
    Statistics(u32),
    /// What it has heard of a session.
    Heard(Heard),
    /// It has no such session.
    Unknown,
}

/// Why a datagram is no reply.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NoReply {
    /// No cookie of this process.
    Foreign,
    /// Behind the cookie is no dictionary of a reply: truncated, or not bencode.
    Malformed(BencodeError),
    /// A dictionary without a result.
    NoResult,
}

/// Splits a datagram into cookie and dictionary; the dictionary is not looked at.
///
/// # Errors
/// [`NoReply::Foreign`].
pub fn cookie(datagram: &[u8], origin: Origin) -> Result<(u64, &[u8]), NoReply> {
    let blank = datagram.iter().take(COOKIE_MAX + 1).position(|byte| *byte == b' ').ok_or(NoReply::Foreign)?;
    match Cookie::parse(&datagram[..blank]) {
        Some(cookie) if cookie.origin == origin => Ok((cookie.number, &datagram[blank + 1..])),
        _ => Err(NoReply::Foreign),
    }
}

/// The dictionary behind the cookie of a reply that comes in parts, once all of it has come; neither is looked at.
#[must_use]
pub fn whole(reply: &[u8]) -> Option<&[u8]> {
    let blank = reply.iter().position(|byte| *byte == b' ')?;
    let body = &reply[blank + 1..];
    // Only its own end is looked at twice: each part would be read from the start again.
    (body.last() == Some(&b'e') && Value::parse(body).is_ok()).then_some(body)
}

/// Reads the dictionary of a reply.
///
/// # Errors
/// [`NoReply::Malformed`], [`NoReply::NoResult`].
pub fn parse(body: &[u8]) -> Result<Meaning<'_>, NoReply> {
    let value = Value::parse(body).map_err(NoReply::Malformed)?;
    let reply = value.dictionary().ok_or(NoReply::NoResult)?;
    match reply.text("result").ok_or(NoReply::NoResult)? {
        b"ok" => Ok(done(reply)),
        b"pong" => Ok(Meaning::Pong),
        b"load limit" => {
            // The reason is for people; whatever it says, nothing was made.
            let reason = reply.text("message").and_then(Limit::of).filter(|limit| limit.before_creation());
            Ok(Meaning::Full(reason.unwrap_or(Limit::Load)))
        }
        _ => Ok(error(reply.text("error-reason").unwrap_or_default())),
    }
}

fn done(reply: Dictionary<'_>) -> Meaning<'_> {
    if let Some(sdp) = reply.text("sdp") {
        Meaning::Sdp(sdp)
    } else if let Some(calls) = reply.find("calls").and_then(Value::list) {
        Meaning::List(calls)
    } else if let Some(sessions) = sessions(reply) {
        Meaning::Statistics(sessions)
    } else if let Some(heard) = Heard::read(reply) {
        Meaning::Heard(heard)
    } else {
        Meaning::Done { unknown: reply.find("warning").is_some() }
    }
}

fn sessions(reply: Dictionary<'_>) -> Option<u32> {
    let current = reply.find("statistics")?.dictionary()?.find("currentstatistics")?.dictionary()?;
    u32::try_from(current.find("sessionstotal")?.integer()?).ok()
}

fn error(reason: &[u8]) -> Meaning<'static> {
    let begins = |text: &&str| reason.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()));
    match Limit::of(reason) {
        Some(limit) => Meaning::Full(limit),
        None if reason.eq_ignore_ascii_case(b"Unknown call-id") => Meaning::Unknown,
        None if SDP_REASONS.iter().any(begins) => Meaning::Refused,
        None => Meaning::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { node: 7, boot: 0x192 };

    /// Replies as rtpengine 10.5 sent them.
    #[test]
    fn replies_of_a_real_node() {
        let error = |reason: &str| format!("d6:result5:error12:error-reason{}:{reason}e", reason.len());
        let cases = [
            ("d6:result4:ponge".to_owned(), Meaning::Pong),
            ("d3:sdp5:v=0\r\n6:result2:oke".to_owned(), Meaning::Sdp(b"v=0\r\n")),
            ("d6:result2:oke".to_owned(), Meaning::Done { unknown: false }),
            (
                "d7:warning38:Call-ID not found or tags didn't match6:result2:oke".to_owned(),
                Meaning::Done { unknown: true },
            ),
            (
                "d6:result10:load limit7:message30:Parallel session limit reachede".to_owned(),
                Meaning::Full(Limit::Sessions),
            ),
            ("d6:result10:load limite".to_owned(), Meaning::Full(Limit::Load)),
            (error("Parallel session limit reached"), Meaning::Full(Limit::Sessions)),
            (error("Ran out of ports"), Meaning::Full(Limit::Ports)),
            (error("CPU usage limit exceeded"), Meaning::Full(Limit::Cpu)),
            (error("Load limit exceeded"), Meaning::Full(Limit::Load)),
            (error("Bandwidth limit exceeded"), Meaning::Full(Limit::Bandwidth)),
            (error("Failed to parse SDP"), Meaning::Refused),
            (error("Incomplete SDP specification"), Meaning::Refused),
            (error("No SDP body in message"), Meaning::Refused),
            (error("Unknown call-id"), Meaning::Unknown),
            (error("Unrecognized command"), Meaning::Failed),
            (
                "d10:statisticsd17:currentstatisticsd11:sessionsowni3e13:sessionstotali4eee6:result2:oke".to_owned(),
                Meaning::Statistics(4),
            ),
        ];
        for (body, meaning) in &cases {
            assert_eq!(parse(body.as_bytes()), Ok(*meaning), "{body}");
        }
        let Ok(Meaning::List(list)) = parse(b"d5:callsl2:x11:ye6:result2:oke") else { panic!("a list") };
        assert!(list.iter().map(|id| id.text().unwrap()).eq([&b"x1"[..], b"y"]));
    }

    #[test]
    fn what_is_no_reply() {
        assert_eq!(parse(b"d3:sdp5:v=0\r\n6:result2:ok"), Err(NoReply::Malformed(BencodeError::Truncated)));
        assert_eq!(parse(b""), Err(NoReply::Malformed(BencodeError::Truncated)));
        assert_eq!(parse(b"4:pong"), Err(NoReply::NoResult));
        assert_eq!(parse(b"d3:sdp5:v=0\r\ne"), Err(NoReply::NoResult));
        assert_eq!(parse(b"d6:resulti1ee"), Err(NoReply::NoResult));
    }

    #[test]
    fn cookies_of_others_are_told_from_ours() {
        assert_eq!(cookie(b"7-0000000000000192-2a d6:result4:ponge", ORIGIN), Ok((42, &b"d6:result4:ponge"[..])));
        let longest = format!("{}-{:016x}-{:x} de", u32::MAX, u64::MAX, u64::MAX);
        assert_eq!(longest.len(), COOKIE_MAX + 3);
        assert_eq!(cookie(longest.as_bytes(), Origin { node: u32::MAX, boot: u64::MAX }), Ok((u64::MAX, &b"de"[..])));
        let others: [&[u8]; 6] = [
            b"",
            b"7-0000000000000192-2a",
            b"7-0000000000000193-2a de",
            b"8-0000000000000192-2a de",
            b" de",
            b"7777777777777777777777777777777777777777777777777777777777777777777777",
        ];
        for other in others {
            assert_eq!(cookie(other, ORIGIN), Err(NoReply::Foreign));
        }
    }
}
