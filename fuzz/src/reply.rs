//! A reply of a media node: a datagram behind its cookie, a stream, or the dictionary alone.
//!
//! Bencode has one spelling for each value here, so that what was read and is written again is the very same bytes; and no value begins with another, so
//! that a part of a reply is never taken for all of it.

use corelane_core::bus::{ExchangeId, MediaCall, MediaOutcome, MediaRequest, Verb};

use crate::ng::bencode::{DEPTH_MAX, Value, Writer};
use crate::ng::id::{Cookie, Origin, SessionId};
use crate::ng::reply::{self, Meaning};

/// The process that the made part of the corpus answers.
const ORIGIN: Origin = Origin { node: 7, boot: 9 };
/// Cuts of an input that are tried.
const CUTS_MAX: usize = 64;

/// Reads it in every way.
///
/// # Panics
/// When a reader did, or read what is not there.
pub fn check(bytes: &[u8]) {
    body(bytes);
    if let Ok((number, rest)) = reply::cookie(bytes, ORIGIN) {
        let cookie = Cookie { origin: ORIGIN, number }.to_string();
        assert_eq!(bytes.strip_prefix(cookie.as_bytes()).and_then(|behind| behind.strip_prefix(b" ")), Some(rest));
        body(rest);
    }
    if let Some(rest) = reply::whole(bytes) {
        assert!(bytes.ends_with(rest) && Value::parse(rest).is_ok(), "all of it, to the end");
        for cut in cuts(bytes) {
            assert_eq!(reply::whole(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}

fn body(bytes: &[u8]) {
    let meaning = reply::parse(bytes);
    let Ok(value) = Value::parse(bytes) else {
        assert!(meaning.is_err(), "a meaning without a value");
        return;
    };
    let mut again = Vec::with_capacity(bytes.len());
    write(value, 0, &mut again);
    assert!(again == bytes, "one spelling: {} was {}", again.escape_ascii(), bytes.escape_ascii());
    for cut in cuts(bytes) {
        assert!(Value::parse(&bytes[..cut]).is_err(), "a value begins with another: cut at {cut}");
    }
    match meaning {
        Ok(Meaning::Sdp(sdp)) => assert!(bytes.as_ptr_range().start <= sdp.as_ptr() && sdp.len() < bytes.len()),
        Ok(Meaning::List(ids)) => {
            for id in ids.iter().filter_map(Value::text) {
                if let Some(session) = SessionId::parse(id) {
                    assert_eq!(session.to_string().as_bytes(), id, "one spelling");
                }
            }
        }
        Ok(Meaning::Heard(heard)) => {
            for (started_us, since_us) in [(0, 0), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
                let outcome = heard.outcome(&asked(started_us, since_us));
                assert!(matches!(outcome, MediaOutcome::Done | MediaOutcome::Silent));
                assert!(heard.last_packet_s.is_some() || outcome == MediaOutcome::Silent, "nothing was heard");
            }
        }
        _ => {}
    }
}

/// Writes a value again as it was read.
fn write(value: Value<'_>, depth: u32, out: &mut Vec<u8>) {
    assert!(depth <= DEPTH_MAX, "deeper than what is read");
    match value {
        Value::Integer(integer) => drop(Writer::new(out).integer(integer)),
        Value::Text(text) => drop(Writer::new(out).text(text)),
        Value::List(list) => {
            Writer::new(out).list();
            list.iter().for_each(|item| write(item, depth + 1, out));
            Writer::new(out).close();
        }
        Value::Dictionary(dictionary) => {
            Writer::new(out).dictionary();
            for (key, value) in dictionary.iter() {
                Writer::new(out).text(key);
                write(value, depth + 1, out);
            }
            Writer::new(out).close();
        }
    }
}

/// Places to cut at: all of a short input, some of a long one.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    (0..bytes.len()).rev().step_by(bytes.len() / CUTS_MAX + 1)
}

fn asked(started_us: u64, since_us: u64) -> MediaRequest<'static> {
    MediaRequest {
        exchange: ExchangeId::NOBODY,
        call: MediaCall::default(),
        started_us,
        since_us,
        set: 0,
        node: 1,
        verb: Verb::Query,
        attempt: 1,
        from_tag: b"",
        to_tag: b"",
        flags: b"",
        sdp: b"",
    }
}
