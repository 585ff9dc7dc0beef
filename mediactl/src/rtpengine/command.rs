//! What Corelane asks of a media node: one bencoded dictionary behind a cookie, one datagram.
//!
//! ```text
//!   7-00000192f3a4b5c6-2a d7:command5:offer7:call-id44:7-…8:from-tag1:a…10:via-branch3:1.a3:sdp…8:supportsl10:load limite…e
//!   └ cookie, one blank ┘ └ dictionary
//! ```
//!
//! `from-tag` is the tag of whoever sent the *offer*, also in the answer. `via-branch` is the number of the hunted attempt and that tag: under the number
//! alone two forks that each offer take the same side of the caller from each other, and neither is heard. A session
//! is deleted at once (`delete delay` 0 for the versions that know no flag `fast`, which is said as well): the default keeps its ports
//! for 30 s. A branch is deleted by its to-tag alone: rtpengine deletes the offerer's side, and with it the session, where it
//! finds no to-tag.

use std::io::Write as _;

use arrayvec::ArrayString;

use super::bencode::Writer;
use super::flags;
use super::id::{Cookie, SESSION_MAX, SessionId};

/// The most ids that are asked for by `list`: a node's sessions, with room.
pub const LIST_LIMIT: i64 = 1_000_000;

/// Both sides of a session as an offer or an answer names them.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Exchanged<'c> {
    /// The session.
    pub session: SessionId,
    /// Tag of whoever sent the offer.
    pub from_tag: &'c [u8],
    /// Tag of the other side; empty while it is not known.
    pub to_tag: &'c [u8],
    /// Number of the hunted attempt.
    pub attempt: u8,
    /// Column `media_flags`.
    pub flags: &'c [u8],
    /// The SDP as it came.
    pub sdp: &'c [u8],
}

/// A question to a media node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Command<'c> {
    /// Rewrites an offer; makes the session where there is none.
    Offer(Exchanged<'c>),
    /// Rewrites the answer.
    Answer(Exchanged<'c>),
    /// Ends a session with all its branches.
    Delete(SessionId),
    /// Ends an answered branch.
    DeleteBranch {
        /// The session.
        session: SessionId,
        /// Tag of whoever sent the offer.
        from_tag: &'c [u8],
        /// Tag of whoever answered.
        to_tag: &'c [u8],
    },
    /// What the node knows of a session.
    Query(SessionId),
    /// The ids of all sessions, whoever they belong to. Over UDP only for a few of them: the reply is one datagram.
    List,
    /// How many sessions there are, among much else.
    Statistics,
    /// Whether the node lives.
    Ping,
}

/// Room for what is around the texts of a command: names of keys, call-id, flags.
const HEAD: usize = 512;

impl Command<'_> {
    /// Bytes of its texts.
    fn texts(&self) -> usize {
        match self {
            Command::Offer(exchanged) | Command::Answer(exchanged) => exchanged.sdp.len() + exchanged.flags.len(),
            _ => 0,
        }
    }

    /// Writes the datagram in place of what `out` holds.
    pub fn write(&self, cookie: Cookie, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.texts() + HEAD);
        // A vector takes all that is written.
        let _ = write!(out, "{cookie} ");
        let mut ng = Writer::new(out);
        ng.dictionary();
        match self {
            Command::Offer(exchanged) => {
                ng.pair("command", b"offer");
                exchanged.write(exchanged.to_tag.is_empty(), &mut ng);
            }
            Command::Answer(exchanged) => {
                ng.pair("command", b"answer");
                exchanged.write(false, &mut ng);
            }
            Command::Delete(session) => {
                ng.pair("command", b"delete");
                name(*session, &mut ng);
                at_once(&mut ng);
            }
            Command::DeleteBranch { session, from_tag, to_tag } => {
                ng.pair("command", b"delete");
                name(*session, &mut ng);
                ng.pair("from-tag", from_tag).pair("to-tag", to_tag);
                at_once(&mut ng);
            }
            Command::Query(session) => {
                ng.pair("command", b"query");
                name(*session, &mut ng);
            }
            Command::List => {
                ng.pair("command", b"list").text(b"limit").integer(LIST_LIMIT);
            }
            Command::Statistics => {
                ng.pair("command", b"statistics");
            }
            Command::Ping => {
                ng.pair("command", b"ping");
            }
        }
        ng.close();
    }
}

impl Exchanged<'_> {
    fn write(&self, first_offer: bool, ng: &mut Writer<'_>) {
        name(self.session, ng);
        ng.pair("from-tag", self.from_tag);
        if !self.to_tag.is_empty() {
            ng.pair("to-tag", self.to_tag);
        }
        let attempt = digits::<3>(format_args!("{}", self.attempt));
        ng.pair("via-branch", &[attempt.as_bytes(), b".", self.from_tag].concat());
        ng.pair("sdp", self.sdp);
        // Without it a node that is full or busy answers like one that is broken.
        ng.text(b"supports").list().text(b"load limit").close();
        flags::write(self.flags, first_offer, ng);
    }
}

/// What is written, without an allocation; `N` bytes hold it.
fn digits<const N: usize>(what: std::fmt::Arguments<'_>) -> ArrayString<N> {
    let mut text = ArrayString::new();
    std::fmt::Write::write_fmt(&mut text, what).expect("the length was counted");
    text
}

fn name(session: SessionId, ng: &mut Writer<'_>) {
    ng.pair("call-id", digits::<SESSION_MAX>(format_args!("{session}")).as_bytes());
}

fn at_once(ng: &mut Writer<'_>) {
    ng.text(b"delete delay").integer(0);
    ng.text(b"flags").list().text(b"fast").close();
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::MediaCall;

    use super::super::bencode::Value;
    use super::super::id::Origin;
    use super::*;

    const ORIGIN: Origin = Origin { node: 7, boot: 0x192 };
    const SESSION: SessionId = SessionId { origin: ORIGIN, call: MediaCall { call_hash: 0xabcd, pass: 1 } };
    const NAME: &str = "7:call-id44:7-0000000000000192-000000000000abcd-00000001";

    fn written(command: Command<'_>) -> String {
        let mut out = b"something older".to_vec();
        command.write(Cookie { origin: ORIGIN, number: 42 }, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (cookie, body) = text.split_once(' ').unwrap();
        assert_eq!(cookie, "7-0000000000000192-2a");
        assert!(Value::parse(body.as_bytes()).is_ok(), "{body}");
        body.to_owned()
    }

    #[test]
    fn offer_and_answer() {
        let offer = Exchanged {
            session: SESSION,
            from_tag: b"a",
            to_tag: b"",
            attempt: 2,
            flags: b"direction=in,out symmetric",
            sdp: b"v=0\r\n",
        };
        assert_eq!(
            written(Command::Offer(offer)),
            format!(
                "d7:command5:offer{NAME}8:from-tag1:a10:via-branch3:2.a3:sdp5:v=0\r\n8:supportsl10:load limite\
                 7:replacel6:origin18:session-connectione9:directionl2:in3:oute5:flagsl9:symmetricee"
            )
        );
        assert_eq!(
            written(Command::Answer(Exchanged { to_tag: b"b", ..offer })),
            format!(
                "d7:command6:answer{NAME}8:from-tag1:a6:to-tag1:b10:via-branch3:2.a3:sdp5:v=0\r\n8:supportsl10:load limite\
                 7:replacel6:origin18:session-connectione5:flagsl9:symmetricee"
            )
        );
        let again = written(Command::Offer(Exchanged { to_tag: b"b", ..offer }));
        assert!(!again.contains("direction"), "an offer inside a dialog may come from either side: {again}");
    }

    #[test]
    fn deletes_do_not_linger() {
        let at_once = "12:delete delayi0e5:flagsl4:fastee";
        assert_eq!(written(Command::Delete(SESSION)), format!("d7:command6:delete{NAME}{at_once}"));
        let branch = Command::DeleteBranch { session: SESSION, from_tag: b"a", to_tag: b"b" };
        assert_eq!(written(branch), format!("d7:command6:delete{NAME}8:from-tag1:a6:to-tag1:b{at_once}"));
    }

    #[test]
    fn the_small_ones() {
        assert_eq!(written(Command::Ping), "d7:command4:pinge");
        assert_eq!(written(Command::List), "d7:command4:list5:limiti1000000ee");
        assert_eq!(written(Command::Statistics), "d7:command10:statisticse");
        assert_eq!(written(Command::Query(SESSION)), format!("d7:command5:query{NAME}e"));
    }
}
