//! Writes the part of the corpus that is made and not found: torture messages, call flows, damaged images, replies of media
//! nodes.
//!
//! ```text
//! seeds [FOLDER]     into FOLDER/message, FOLDER/engine, FOLDER/image and FOLDER/reply [fuzz/corpus]
//! ```
//!
//! Each file is named for what it holds; files of other names (what fuzzing found) are left alone.

use std::fs;
use std::io;
use std::path::Path;

use corelane_core::routing::layout::SECTIONS;

// The messages are those of the engine's own tests.
#[path = "../../core/tests/message/torture_4475/refused.rs"]
mod refused;
#[path = "../../core/tests/message/torture_4475/valid.rs"]
mod valid;

/// Messages with what the torture messages lack: other schemes, spellings, lists.
const MESSAGES: [(&str, &str); 4] = [
    (
        "lists",
        "INVITE sip:+1;phone-context=x:p@[2001:db8::1]:5060;lr;x=y SIP/2.0\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport;received=192.0.2.1, SIP/2.0/TCP g\n\
         Route: <sip:a;lr>, \"q, \\\"\" <sip:b?x=y,z>;p=\"v,w\"\nRecord-Route: <sip:r;lr>\nMax-Forwards: 70\nFrom: \"A \\\" B\" <sip:a@h>;tag=1\n\
         To: sip:b@h;x=y\nCall-ID: c1@h\nCSeq: 7 INVITE\nContact: <sip:c@h>;q=0.5, *\nSubject: a\n folded\nContent-Length: 5\n\nv=0\n",
    ),
    (
        "compact",
        "SIP/2.0 180 Ringing\nv: SIP / 2.0 / UDP h : 1 ; branch = x , SIP/2.0/UDP [::1];rport=1\nf: <tel:+1>;tag=1\nt: <sips:b@h>;tag=2\n\
         i: c1\nCSeq: 7 INVITE\nk: timer,100rel\nl:0\n\n",
    ),
    (
        "bare",
        "\nBYE tel:+1-201;ext=1 SIP/2.0\nCSeq: 9 BYE\ni :\n c2\nTo : B <sip:b@h> ; tag = 2\nfRoM: A <sip:a@h>;tag=1\nRoute: <sip:x>\nX: ;;,,\n\
         Route: <sip:y>,<sip:z>\nVia: SIP/2.0/UDP h\n\n",
    ),
    (
        "six",
        "INVITE sip:user@[2001:db8:::192.0.2.1] SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;received=[2001:db8::9:255];branch=z9hG4bKas3\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKj;received=2001:db8::9\nTimestamp: 54 1\nTo: sip:user@example.com\n\
         From: sip:user@example.com;tag=81x2\nCall-ID: S@h\nMax-Forwards: 255\nCSeq: 4294967295 INVITE\nContent-Length: 0\n\n",
    ),
];

/// A world with room, and one without.
const ROOMY: [u8; 3] = [0xff, 0, 1];
const CRAMPED: [u8; 3] = [0x00, 1, 2];
// With a media node that the script answers for, and with one that answers at once.
const NODES: [u8; 3] = [0xff, 0x80, 0];
const PROMPT_NODES: [u8; 3] = [0xff, 0x80, 1];

// Steps as `corelane_fuzz::engine` reads them.
const INVITE: [u8; 4] = [0x00, 0, 0, 4];
const RING: [u8; 3] = [0x01, 2, 0];
const ANSWER: [u8; 3] = [0x01, 4, 0];
const ACK: [u8; 3] = [0x03, 0, 0];
const HANG_UP: [u8; 3] = [0x03, 1, 1];
const CALLEE_HANGS_UP: [u8; 3] = [0x24, 1, 1];
const REINVITE: [u8; 3] = [0x03, 2, 1];
const CANCEL: [u8; 2] = [0x02, 0];
const BUSY: [u8; 3] = [0x01, 15, 0];
const UNAVAILABLE: [u8; 3] = [0x01, 19, 0];
const TERMINATED: [u8; 3] = [0x11, 16, 0];
const AGAIN: [u8; 1] = [0x05];
const AN_HOUR: [u8; 1] = [0xf6];
const THIRTY_SECONDS: [u8; 1] = [0xa6];
const NEXT_TIMER: [u8; 1] = [0x0f];
const NO_HOST: [u8; 1] = [0x07];
const SLOW_RING: [u8; 1] = [0x08];
const SWAP: [u8; 1] = [0x1b];
const OFFER: [u8; 4] = [0x00, 0, 0, 4];
const RING_WITH_SDP: [u8; 3] = [0x01, 2, 0x10];
const ANSWER_WITH_SDP: [u8; 3] = [0x01, 4, 0x10];
const REOFFER: [u8; 3] = [0x03, 2, 0x21];
const CALLEE_REOFFERS: [u8; 3] = [0x24, 2, 0x21];
const RELAYED: [u8; 1] = [0x0d];
const RELAY_REFUSES: [u8; 1] = [0x8d];
const NO_NODE: [u8; 1] = [0x9d];
const RELAY_FAILS: [u8; 1] = [0xad];
const RELAYED_AGAIN: [u8; 1] = [0xfd];

/// Name, world, steps.
type Flow = (&'static str, [u8; 3], &'static [&'static [u8]]);

/// Call flows.
const FLOWS: &[Flow] = &[
    ("nothing", ROOMY, &[]),
    ("call", ROOMY, &[&INVITE, &RING, &ANSWER, &ACK, &HANG_UP, &ANSWER, &AN_HOUR]),
    ("callee-hangs-up", ROOMY, &[&INVITE, &RING, &ANSWER, &ACK, &CALLEE_HANGS_UP, &ANSWER]),
    ("cancelled", ROOMY, &[&INVITE, &RING, &CANCEL, &ANSWER, &TERMINATED, &THIRTY_SECONDS]),
    ("cancel-crosses-answer", ROOMY, &[&INVITE, &CANCEL, &RING, &ANSWER, &ACK, &HANG_UP, &ANSWER]),
    ("busy", ROOMY, &[&INVITE, &BUSY, &[0x02, 3], &AN_HOUR]),
    ("hunt", ROOMY, &[&INVITE, &UNAVAILABLE, &NO_HOST, &RING, &UNAVAILABLE, &ANSWER, &ACK]),
    ("nobody-answers", ROOMY, &[&INVITE, &NEXT_TIMER, &NEXT_TIMER, &THIRTY_SECONDS, &AN_HOUR]),
    ("reinvite", ROOMY, &[&INVITE, &ANSWER, &ACK, &REINVITE, &ANSWER, &ACK, &REINVITE, &BUSY, &AN_HOUR]),
    ("forks", ROOMY, &[&INVITE, &[0x01, 2, 0], &[0x01, 2, 1], &[0x01, 4, 2], &[0x01, 4, 0], &ACK, &AN_HOUR]),
    ("retransmissions", ROOMY, &[&INVITE, &AGAIN, &RING, &AGAIN, &ANSWER, &AGAIN, &ACK, &AGAIN, &HANG_UP, &AGAIN]),
    ("slow-ring", ROOMY, &[&SLOW_RING, &INVITE, &RING, &ANSWER, &ACK, &HANG_UP, &ANSWER, &AN_HOUR, &[0x18]]),
    ("no-room", CRAMPED, &[&INVITE, &[0x10, 0, 0, 4], &[0x20, 0, 0, 4], &RING, &ANSWER, &ACK, &HANG_UP, &AN_HOUR]),
    ("image-swapped", ROOMY, &[&INVITE, &RING, &SWAP, &ANSWER, &ACK, &[0x10, 0, 0, 4], &HANG_UP, &ANSWER]),
    ("far-listener", ROOMY, &[&[0x00, 0, 1, 4], &RING, &ANSWER, &ACK, &HANG_UP, &ANSWER]),
    ("six", ROOMY, &[&[0x00, 4, 4, 4], &RING, &ANSWER, &ACK, &CALLEE_HANGS_UP]),
    ("session-timer", ROOMY, &[&[0x00, 0, 0x10, 4], &[0x01, 4, 0x10], &ACK, &[0x03, 3, 0x21], &ANSWER, &AN_HOUR]),
    ("spiral", ROOMY, &[&INVITE, &[0x0e, 0x0e], &RING, &ANSWER, &ANSWER, &ACK, &ACK, &HANG_UP, &AN_HOUR]),
    ("loop", ROOMY, &[&INVITE, &[0x0e, 0], &[0x0e, 4], &AN_HOUR]),
    ("strangers", ROOMY, &[&[0x00, 7, 0, 4], &[0x00, 0xef, 0, 0], &[0x6a, 4, 13, 10, 13, 10]]),
    ("bent", ROOMY, &[&[0x09, 40, 0, 0], &INVITE, &INVITE, &[0x0c, 3], &RING, &[0xf9, 0, 0, 0], &ANSWER, &AN_HOUR]),
    ("large", ROOMY, &[&[0x00, 0, 0, 0x1c], &[0x10, 0, 0, 0x14], &RING, &ANSWER, &ACK]),
    (
        "two-shards",
        [0xff, 0x32, 3],
        &[&INVITE, &[0x10, 0, 0, 4], &[0x20, 0, 0, 4], &[0x30, 0, 0, 4], &RING, &ANSWER, &AN_HOUR],
    ),
    ("clock-steps", ROOMY, &[&INVITE, &[0xad], &ANSWER, &ACK, &[0xfd], &HANG_UP, &[0x5d], &ANSWER]),
    ("media", NODES, &[&OFFER, &RELAYED, &RING, &ANSWER_WITH_SDP, &RELAYED, &ACK, &HANG_UP, &ANSWER, &AN_HOUR]),
    (
        "media-order",
        NODES,
        &[&OFFER, &RELAYED, &RING_WITH_SDP, &RING, &ANSWER_WITH_SDP, &RELAYED, &RELAYED, &ACK, &AN_HOUR],
    ),
    ("media-refused", NODES, &[&OFFER, &RELAY_REFUSES, &[0x10, 0, 0, 4], &NO_NODE, &RELAYED_AGAIN, &AN_HOUR]),
    (
        "media-cancelled",
        NODES,
        &[&OFFER, &CANCEL, &RELAYED, &[0x10, 0, 0, 4], &RELAYED, &RING_WITH_SDP, &CANCEL, &AN_HOUR],
    ),
    ("media-silent", NODES, &[&OFFER, &NEXT_TIMER, &NEXT_TIMER, &RELAYED, &AN_HOUR]),
    (
        "media-reinvite",
        PROMPT_NODES,
        &[&OFFER, &ANSWER_WITH_SDP, &ACK, &REOFFER, &ANSWER_WITH_SDP, &ACK, &CALLEE_REOFFERS, &BUSY, &AN_HOUR],
    ),
    (
        "media-answer-fails",
        NODES,
        &[&OFFER, &RELAYED, &ANSWER_WITH_SDP, &RELAY_FAILS, &ANSWER, &ANSWER_WITH_SDP, &RELAYED, &AN_HOUR],
    ),
    ("media-delayed", PROMPT_NODES, &[&[0x00, 0, 0, 0x0c], &ANSWER_WITH_SDP, &[0x03, 0, 0x20], &HANG_UP, &AN_HOUR]),
    ("strict-router", ROOMY, &[&INVITE, &ANSWER, &ACK, &[0x03, 5, 0x11], &ANSWER, &[0x03, 4, 9], &[0x03, 1, 5]]),
];

/// Replies as rtpengine gives them, behind the cookie of the process that `corelane_fuzz::reply` is.
const REPLIES: [(&str, &str); 12] = [
    ("pong", "d6:result4:ponge"),
    ("sdp", "d3:sdp5:v=0\r\n6:result2:oke"),
    ("done", "d6:result2:oke"),
    ("warning", "d7:warning38:Call-ID not found or tags didn't match6:result2:oke"),
    ("load-limit", "d6:result10:load limit7:message19:Load limit exceedede"),
    ("ports", "d6:result5:error12:error-reason16:Ran out of portse"),
    ("unknown", "d6:result5:error12:error-reason15:Unknown call-ide"),
    ("bad-sdp", "d6:result5:error12:error-reason19:Failed to parse SDPe"),
    ("list", "d5:callsl44:7-0000000000000009-0000000000000005-0000000119:someone@example.come6:result2:oke"),
    ("statistics", "d6:result2:ok10:statisticsd17:currentstatisticsd13:sessionstotali17eeee"),
    (
        "heard",
        "d7:createdi1795444439e4:tagsd1:ad3:tag1:a6:mediasld5:indexi1e7:streamsld10:local porti30020e11:last packeti1795444441e\
         5:flagsl3:RTP6:fillede5:statsd7:packetsi5e5:bytesi860eeed11:last packeti1795444499e5:flagsl4:RTCPeeeeeee6:result2:oke",
    ),
    ("deep", "d1:alllllllllllli-1eeeeeeeeeeeee6:result2:oke"),
];

fn main() -> io::Result<()> {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into());
    let root = Path::new(&root);
    let messages = root.join("message");
    fs::create_dir_all(&messages)?;
    for (section, name, text) in valid::PARSES {
        write(&messages, &format!("rfc4475-{section}-{name}"), wire(text))?;
    }
    for (section, name, .., text) in refused::REFUSED {
        write(&messages, &format!("rfc4475-{section}-{name}"), wire(text))?;
    }
    for (name, text) in MESSAGES {
        write(&messages, name, wire(text))?;
    }

    let flows = root.join("engine");
    fs::create_dir_all(&flows)?;
    for (name, world, steps) in FLOWS {
        write(&flows, name, [&world[..], &steps.concat()].concat())?;
    }

    let images = root.join("image");
    fs::create_dir_all(&images)?;
    for (name, image) in ["first", "second", "many-nodes"].into_iter().zip(corelane_fuzz::image::images()) {
        write(&images, name, image)?;
    }
    // One change to each section: a wild number, a neighbour's number.
    for image in [0, 2u8] {
        for section in 0..=SECTIONS as u8 {
            let changes: [[u8; 8]; 2] =
                [[section, 2, 8, 0, 0xff, 0xff, 0xff, 0x7f], [section, 0x1a, 16, 0, 4, 0, 0, 0]];
            for (kind, change) in changes.iter().enumerate() {
                write(&images, &format!("change-{image}-{section}-{kind}"), [&[image], &change[..]].concat())?;
            }
        }
    }

    let replies = root.join("reply");
    fs::create_dir_all(&replies)?;
    for (number, (name, body)) in REPLIES.into_iter().enumerate() {
        write(&replies, name, format!("7-0000000000000009-{number:x} {body}"))?;
        write(&replies, &format!("{name}-alone"), body)?;
    }
    Ok(())
}

/// Written with LF for readability, as it goes over the wire.
fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    fs::write(folder.join(name), bytes)
}
