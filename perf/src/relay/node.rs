//! One node: what it answers to a request, without sockets.
//!
//! ```text
//!   "cookie d7:command5:offer…e" ──► known cookie? the same reply ──► else command ──► session table ──► "cookie d6:result2:ok…e"
//! ```
//!
//! Words and reasons are rtpengine's. A load limit is told to whoever says `supports: ["load limit"]`; others get the error of old.

use std::net::IpAddr;

use super::bencode::{Dictionary, put_entry, put_number, put_string};
use super::counts::Counts;
use super::faults::Faults;
use super::replies::Replies;
use super::sdp;
use super::sessions::{Deleted, Sessions};
use crate::wire::put;

/// Call-ids that `list` names unless it is asked for more, as rtpengine does.
const LIST_DEFAULT: i64 = 32;

/// The refusal of one session too many.
const SESSION_LIMIT: &str = "Parallel session limit reached";
const LOAD_LIMIT: &str = "Load limit exceeded";

/// What time it is.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Now {
    /// Since the node's start, in nanoseconds.
    pub ns: u64,
    /// Of the wall clock, in seconds.
    pub wall_s: u64,
}

/// A node's memory.
pub struct Node {
    host: IpAddr,
    sessions: Sessions,
    replies: Replies,
    counts: Counts,
    /// What it does wrong.
    pub faults: Faults,
    draw: super::faults::Draw,
}

enum Refusal {
    Error(String),
    /// Told as a load limit to those who know of it.
    Limit(&'static str),
}

impl Refusal {
    fn error(reason: &str) -> Refusal {
        Refusal::Error(reason.to_owned())
    }
}

impl Node {
    /// A node whose media is at `host`, with room for `sessions_max`, that remembers a reply for `keep_ns`.
    #[must_use]
    pub fn new(host: IpAddr, sessions_max: usize, keep_ns: u64, seed: u64) -> Node {
        Node {
            host,
            sessions: Sessions::new(sessions_max),
            replies: Replies::new(keep_ns),
            counts: Counts::default(),
            faults: Faults::default(),
            draw: super::faults::Draw::new(seed),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { sessions: self.sessions.len() as u64, sessions_peak: self.sessions.peak as u64, ..self.counts.clone() }
    }

    /// Takes a line of [`Faults`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set(&mut self, line: &str) -> Result<(), String> {
        self.faults.set(line)?;
        if let Some(max) = self.faults.max_sessions {
            self.sessions.set_max(max);
        }
        Ok(())
    }

    /// Whether this one is among `share` of 1,000.
    pub fn draws(&mut self, share: u32) -> bool {
        self.draw.hits(share)
    }

    /// A request that a fault takes away.
    pub fn swallow(&mut self) {
        self.counts.swallowed += 1;
    }

    /// Appends the reply to a request. `false` when it is none: nobody answers that.
    pub fn answer(&mut self, now: Now, request: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((cookie, dictionary)) = split(request) else {
            self.counts.unreadable += 1;
            return false;
        };
        self.counts.requests += 1;
        if let Some(reply) = self.replies.find(now.ns, cookie) {
            self.counts.repeated += 1;
            out.extend_from_slice(reply);
            return true;
        }
        let start = out.len();
        put(out, &[cookie, b" "]);
        let body = out.len();
        if let Err(refusal) = self.obey(now, &dictionary, out) {
            out.truncate(body);
            let (key, result, reason) = match &refusal {
                Refusal::Limit(reason) if dictionary.lists("supports", "load limit") => {
                    ("message", "load limit", *reason)
                }
                Refusal::Limit(reason) => ("error-reason", "error", *reason),
                Refusal::Error(reason) => ("error-reason", "error", reason.as_str()),
            };
            *self.counts.refused.entry(format!("{result}: {reason}")).or_default() += 1;
            out.push(b'd');
            put_entry(out, key, reason.as_bytes());
            put_entry(out, "result", result.as_bytes());
            out.push(b'e');
        }
        self.replies.put(cookie, &out[start..]);
        true
    }

    fn obey(&mut self, now: Now, request: &Dictionary<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match request.string("command").unwrap_or_default() {
            b"ping" => {
                self.counts.pings += 1;
                out.extend_from_slice(b"d6:result4:ponge");
            }
            b"offer" => {
                self.counts.offers += 1;
                self.exchange(now, request, true, out)?;
            }
            b"answer" => {
                self.counts.answers += 1;
                self.exchange(now, request, false, out)?;
            }
            b"delete" => {
                let call_id = text(request, "call-id", "No call-id in message")?;
                if self.sessions.delete(call_id, request.string("to-tag")) == Deleted::Unknown {
                    self.counts.deletes_unknown += 1;
                    out.extend_from_slice(b"d6:result2:ok");
                    put_entry(out, "warning", b"Call-ID not found or tags didn't match");
                    out.push(b'e');
                } else {
                    self.counts.deletes += 1;
                    out.extend_from_slice(b"d6:result2:oke");
                }
            }
            b"query" => {
                self.counts.queries += 1;
                self.query(now, text(request, "call-id", "No call-id in message")?, out)?;
            }
            b"list" => {
                self.counts.lists += 1;
                let limit = usize::try_from(request.number("limit").unwrap_or(LIST_DEFAULT)).unwrap_or(0);
                out.extend_from_slice(b"d5:callsl");
                self.sessions.call_ids().take(limit).for_each(|call_id| put_string(out, call_id));
                out.extend_from_slice(b"e6:result2:oke");
            }
            b"statistics" => {
                self.counts.lists += 1;
                out.extend_from_slice(b"d6:result2:ok10:statisticsd17:currentstatisticsd");
                put_number(out, "sessionsown", self.sessions.len() as u64);
                put_number(out, "sessionstotal", self.sessions.len() as u64);
                out.extend_from_slice(b"eee");
            }
            _ => return Err(Refusal::error("Unrecognized command")),
        }
        Ok(())
    }

    fn exchange(&mut self, now: Now, request: &Dictionary<'_>, offer: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.draw.hits(self.faults.error) {
            return Err(Refusal::Error(self.faults.reason.clone()));
        }
        let body = text(request, "sdp", "No SDP body in message")?;
        let call_id = text(request, "call-id", "No call-id in message")?;
        let from_tag = text(request, "from-tag", "No from-tag in message")?;
        // Who gets the rewritten SDP of an offer sees the offerer's side; of an answer the answerer's (its `to-tag`).
        let port = if offer {
            if self.faults.load_limit {
                return Err(Refusal::Limit(LOAD_LIMIT));
            }
            self.sessions.offer(call_id, from_tag, now.wall_s).ok_or(Refusal::Limit(SESSION_LIMIT))?
        } else {
            let to_tag = text(request, "to-tag", "No to-tag in message")?;
            self.sessions.answer(call_id, to_tag).ok_or_else(|| Refusal::error("Unknown call-id"))?
        };
        let mut rewritten = Vec::with_capacity(body.len() + 64);
        sdp::rewrite(&mut rewritten, body, self.host, port).ok_or_else(|| Refusal::error("Failed to parse SDP"))?;
        out.extend_from_slice(b"d6:result2:ok");
        put_entry(out, "sdp", &rewritten);
        out.push(b'e');
        Ok(())
    }

    /// Media of every tag "was heard of" just now, or when the session was made, for whoever asks whether a call lives.
    fn query(&mut self, now: Now, call_id: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.draw.hits(self.faults.error) {
            return Err(Refusal::Error(self.faults.reason.clone()));
        }
        let silent = self.draw.hits(self.faults.silent);
        let session = self.sessions.find(call_id).ok_or_else(|| Refusal::error("Unknown call-id"))?;
        let heard_s = if silent { session.created_s } else { now.wall_s };
        out.push(b'd');
        put_number(out, "created", session.created_s);
        put_number(out, "last signal", session.created_s);
        put_entry(out, "result", b"ok");
        out.extend_from_slice(b"4:tagsd");
        let mut tags: Vec<&[u8]> = session.tags().collect();
        tags.sort_unstable();
        for tag in tags {
            put_string(out, tag);
            out.extend_from_slice(b"d6:mediasld5:indexi1e7:streamsld");
            put_number(out, "last packet", heard_s);
            out.extend_from_slice(b"eeee");
            put_entry(out, "tag", tag);
            out.push(b'e');
        }
        out.extend_from_slice(b"ee");
        Ok(())
    }
}

/// A cookie and what is asked under it.
fn split(request: &[u8]) -> Option<(&[u8], Dictionary<'_>)> {
    let space = memchr::memchr(b' ', request).filter(|space| *space > 0)?;
    Some((&request[..space], Dictionary::parse(&request[space + 1..])?))
}

fn text<'r>(request: &Dictionary<'r>, key: &str, otherwise: &str) -> Result<&'r [u8], Refusal> {
    request.string(key).filter(|text| !text.is_empty()).ok_or_else(|| Refusal::error(otherwise))
}

#[cfg(test)]
mod tests {
    use super::super::bencode::{Dictionary, put_entry};
    use super::{Node, Now};

    const SDP: &str =
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
    const NOW: Now = Now { ns: 1, wall_s: 1_795_392_000 };

    fn node() -> Node {
        Node::new("127.0.0.9".parse().expect("an address"), 2, 1_000_000_000, 1)
    }

    fn request(cookie: &str, entries: &[(&str, &str)], supports: bool) -> Vec<u8> {
        let mut out = format!("{cookie} d").into_bytes();
        entries.iter().for_each(|(key, value)| put_entry(&mut out, key, value.as_bytes()));
        if supports {
            out.extend_from_slice(b"8:supportsl10:load limite");
        }
        out.push(b'e');
        out
    }

    /// The values of these keys in the reply; `-` for one that is missing.
    fn say(node: &mut Node, request: &[u8], keys: &[&str]) -> Vec<String> {
        let mut out = Vec::new();
        assert!(node.answer(NOW, request, &mut out), "an answer");
        let space = out.iter().position(|byte| *byte == b' ').expect("a cookie");
        let reply = Dictionary::parse(&out[space + 1..]).expect("bencode");
        let value =
            |key: &&str| reply.string(key).map_or("-".to_owned(), |text| String::from_utf8_lossy(text).into_owned());
        keys.iter().map(value).collect()
    }

    fn offer(cookie: &str, call_id: &str, supports: bool) -> Vec<u8> {
        request(cookie, &[("call-id", call_id), ("command", "offer"), ("from-tag", "a"), ("sdp", SDP)], supports)
    }

    #[test]
    fn a_call_is_offered_answered_and_deleted() {
        let mut node = node();
        let rewritten = say(&mut node, &offer("1", "c", true), &["result", "sdp"]);
        assert_eq!(rewritten[0], "ok");
        assert!(
            rewritten[1].contains("\r\nc=IN IP4 127.0.0.9\r\n") && !rewritten[1].contains("4000"),
            "{}",
            rewritten[1]
        );
        let answer = request(
            "2",
            &[("call-id", "c"), ("command", "answer"), ("from-tag", "a"), ("sdp", SDP), ("to-tag", "b")],
            true,
        );
        let answered = say(&mut node, &answer, &["result", "sdp"]);
        assert!(answered[0] == "ok" && answered[1] != rewritten[1], "each side has a port of its own");
        let ask = |cookie: &str, command: &str| request(cookie, &[("call-id", "c"), ("command", command)], true);
        assert_eq!(say(&mut node, &ask("3", "query"), &["result"]), ["ok"]);
        assert_eq!(say(&mut node, &ask("4", "delete"), &["result", "warning"]), ["ok", "-"]);
        assert_eq!(say(&mut node, &ask("5", "delete"), &["result"]), ["ok"], "and a warning");
        assert_eq!(say(&mut node, &ask("6", "query"), &["error-reason"]), ["Unknown call-id"]);
        let counts = node.counts();
        assert_eq!((counts.offers, counts.answers, counts.deletes, counts.deletes_unknown), (1, 1, 1, 1));
        assert_eq!((counts.sessions, counts.sessions_peak), (0, 1));
    }

    #[test]
    fn a_query_says_when_rtp_came_last() {
        let mut node = node();
        say(&mut node, &offer("1", "c", true), &[]);
        let later = Now { ns: 2, wall_s: NOW.wall_s + 100 };
        let mut heard = |cookie: &str, line: &str| {
            node.set(line).expect("a good line");
            let mut out = Vec::new();
            let query = request(cookie, &[("call-id", "c"), ("command", "query")], true);
            assert!(node.answer(later, &query, &mut out), "an answer");
            String::from_utf8(out).expect("text")
        };
        let last = |seconds: u64| format!("11:last packeti{seconds}e");
        assert!(heard("2", "silent 0").contains(&last(later.wall_s)));
        assert!(heard("3", "silent 1000").contains(&last(NOW.wall_s)), "when it was made");
        assert!(heard("4", "error 1000 Internal error").contains("14:Internal error"));
    }

    #[test]
    fn a_known_cookie_gets_the_same_reply_whatever_it_asks() {
        let mut node = node();
        let first = say(&mut node, &offer("1", "c", true), &["sdp"]);
        assert_eq!(say(&mut node, &request("1", &[("command", "ping")], false), &["sdp"]), first);
        assert_eq!(node.counts().repeated, 1);
    }

    #[test]
    fn limits_are_told_as_such_to_those_who_know_of_them() {
        let mut node = node();
        say(&mut node, &offer("1", "c", true), &[]);
        say(&mut node, &offer("2", "d", true), &[]);
        let keys = ["result", "message", "error-reason"];
        assert_eq!(
            say(&mut node, &offer("3", "e", true), &keys),
            ["load limit", "Parallel session limit reached", "-"]
        );
        assert_eq!(say(&mut node, &offer("4", "e", false), &keys), ["error", "-", "Parallel session limit reached"]);
        node.set("load-limit on").expect("a good line");
        assert_eq!(say(&mut node, &offer("5", "c", true), &keys), ["load limit", "Load limit exceeded", "-"]);
        node.set("load-limit off").expect("a good line");
        node.set("error 1000 Ran out of ports").expect("a good line");
        assert_eq!(say(&mut node, &offer("6", "c", true), &keys), ["error", "-", "Ran out of ports"]);
        assert_eq!(node.counts().refused.values().sum::<u64>(), 4);
    }

    #[test]
    fn what_cannot_be_served_is_refused_and_what_is_no_request_is_not_answered() {
        let mut node = node();
        let refused = |node: &mut Node, cookie: &str, entries: &[(&str, &str)]| {
            say(node, &request(cookie, entries, true), &["error-reason"]).remove(0)
        };
        let bad = [("call-id", "c"), ("command", "offer"), ("from-tag", "a"), ("sdp", "no SDP")];
        assert_eq!(refused(&mut node, "1", &bad), "Failed to parse SDP");
        assert_eq!(refused(&mut node, "2", &bad[..3]), "No SDP body in message");
        assert_eq!(refused(&mut node, "3", &[("command", "dance")]), "Unrecognized command");
        let answer = [("call-id", "x"), ("command", "answer"), ("from-tag", "a"), ("sdp", SDP), ("to-tag", "b")];
        assert_eq!(refused(&mut node, "4", &answer), "Unknown call-id");
        for bytes in [&b""[..], b"1", b" d1:a1:be", b"1 hello", b"1 d7:command4:ping"] {
            assert!(!node.answer(NOW, bytes, &mut Vec::new()), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(node.counts().unreadable, 5);
    }
}
