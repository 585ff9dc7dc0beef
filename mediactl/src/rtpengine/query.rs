//! What a node has heard of a session: the reply to `query`, of which two numbers count.
//!
//! ```text
//!   created ── seconds of the node's wall clock
//!   tags ─► tag ─► medias ─► medium ─► streams ─► stream: last packet, seconds of the same clock; flags: RTP, RTCP; stats: packets
//! ```
//!
//! A stream that is made counts as heard for rtpengine, so that only one with packets does here. RTCP alone is no RTP: a phone that was put
//! down without a word may go on to report that it hears nothing. Streams that say neither flags nor packets (a relay that is no rtpengine)
//! are taken by their last packet.
//!
//! **Clocks.** The node's is not ours. A session cannot be older than its call: where it is, the node's clock is behind by that much at least, and
//! its times are corrected by it. One that is ahead makes silence look younger: the call stays longer, by as much.

use corelane_core::bus::{MediaOutcome, MediaRequest};

use super::bencode::{Dictionary, List, Value};

/// Microseconds of a second.
const SECOND_US: u64 = 1_000_000;

/// What a node has heard.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// When it made the session, in seconds of its clock; 0 where it does not say.
    pub created_s: u64,
    /// When the newest RTP of all streams came, in seconds of its clock.
    pub last_packet_s: Option<u64>,
}

impl Heard {
    /// Reads a reply; `None` where it is none to `query`.
    #[must_use]
    pub fn read(reply: Dictionary<'_>) -> Option<Heard> {
        let tags = reply.find("tags")?.dictionary()?;
        let mut last_packet_s = None;
        for medium in tags.iter().filter_map(|(_, tag)| list(tag, "medias")).flat_map(|medias| medias.iter()) {
            let streams = list(medium, "streams").into_iter().flat_map(|streams| streams.iter());
            last_packet_s = streams.filter_map(Value::dictionary).filter_map(last_packet).max().max(last_packet_s);
        }
        Some(Heard { created_s: seconds(reply, "created").unwrap_or(0), last_packet_s })
    }

    /// The answer to whoever asked.
    #[must_use]
    pub fn outcome(&self, request: &MediaRequest<'_>) -> MediaOutcome {
        let behind_s = match self.created_s {
            0 => 0,
            created_s => (request.started_us / SECOND_US).saturating_sub(created_s),
        };
        // The whole of the second that it came in.
        let until_us = |last_s: u64| last_s.saturating_add(behind_s).saturating_add(1).saturating_mul(SECOND_US);
        match self.last_packet_s {
            Some(last_s) if until_us(last_s) > request.since_us => MediaOutcome::Done,
            _ => MediaOutcome::Silent,
        }
    }
}

fn list<'b>(of: Value<'b>, key: &str) -> Option<List<'b>> {
    of.dictionary()?.find(key)?.list()
}

/// When a stream was heard last, if it is one of RTP and was.
fn last_packet(stream: Dictionary<'_>) -> Option<u64> {
    let flags = stream.find("flags").and_then(Value::list);
    let is_rtp = flags.is_none_or(|flags| flags.iter().any(|flag| flag.text() == Some(b"RTP")));
    let packets = stream.find("stats").and_then(Value::dictionary).and_then(|stats| stats.find("packets"));
    let was_heard = packets.and_then(Value::integer) != Some(0);
    seconds(stream, "last packet").filter(|_| is_rtp && was_heard)
}

fn seconds(of: Dictionary<'_>, key: &str) -> Option<u64> {
    u64::try_from(of.find(key)?.integer()?).ok()
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::{ExchangeId, MediaCall, Verb};

    use super::*;

    fn read(body: &str) -> Option<Heard> {
        Heard::read(Value::parse(body.as_bytes()).expect("bencode").dictionary().expect("a dictionary"))
    }

    fn asked(started_s: u64, since_s: u64) -> MediaRequest<'static> {
        MediaRequest {
            exchange: ExchangeId::NOBODY,
            call: MediaCall::default(),
            started_us: started_s * SECOND_US,
            since_us: since_s * SECOND_US,
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

    /// As rtpengine 10.5 says it, a side after its answer: five packets of RTP, none of RTCP.
    const SIDE: &str = "d3:tag1:a7:createdi1795444439e13:subscriptionsld3:tag1:b4:type12:offer/answeree11:subscribersld3:tag1:b4:type\
        12:offer/answeree6:mediasld5:indexi1e4:type5:audio8:protocol7:RTP/AVP5:codec9:PCMA/80007:streamsld10:local porti30020e\
        13:local address9:127.0.0.16:family4:IPv48:endpointd6:family4:IPv47:address9:127.0.0.14:porti41000ee\
        19:advertised endpointd6:family4:IPv47:address9:127.0.0.14:porti41000ee11:last packeti1795444441e5:flagsl3:RTP6:fillede\
        4:SSRCi16909060e5:statsd7:packetsi5e5:bytesi860e6:errorsi0eeed10:local porti30021e13:local address9:127.0.0.1\
        6:family4:IPv48:endpointde11:last packeti1795444499e5:flagsl4:RTCP6:fillede5:statsd7:packetsi9e5:bytesi0e6:errorsi0eeee\
        5:flagsl11:initialized4:send4:recveeee";

    #[test]
    fn the_newest_rtp_of_all_sides_counts() {
        let other = SIDE.replace("1795444441", "1795444440");
        let silent = SIDE.replace("packetsi5e", "packetsi0e").replace("1795444441", "1795444450");
        let reply = |sides: &[&str]| {
            let sides: Vec<String> =
                sides.iter().enumerate().map(|(number, side)| format!("1:{number}{side}")).collect();
            read(&format!(
                "d7:createdi1795444439e10:created_usi192940e11:last signali1795444439e4:SSRCde4:tagsd{}e6:totalsde6:result2:oke",
                sides.concat()
            ))
        };
        let heard = |last_packet_s| Some(Heard { created_s: 1_795_444_439, last_packet_s });
        assert_eq!(reply(&[SIDE, &other]), heard(Some(1_795_444_441)));
        assert_eq!(
            reply(&[&other, SIDE, &silent]),
            heard(Some(1_795_444_441)),
            "a stream that was made and never heard"
        );
        assert_eq!(reply(&[&silent]), heard(None));
        assert_eq!(reply(&[]), heard(None));
        assert_eq!(read("d6:result2:oke"), None);
        assert_eq!(read("d4:tagsl1:xee"), None);
        let bare =
            read("d4:tagsd1:ad6:mediaslee1:bd6:mediasld7:streamsld11:last packeti7eei4ed11:last packeti-9eeeei3eeeee");
        assert_eq!(bare, Some(Heard { created_s: 0, last_packet_s: Some(7) }));
    }

    #[test]
    fn silence_is_what_is_older_than_was_asked_for() {
        let heard = |created_s, last_packet_s| Heard { created_s, last_packet_s };
        let outcome = |heard: Heard, started, since| heard.outcome(&asked(started, since));
        assert_eq!(
            outcome(heard(100, Some(1840)), 100, 1840),
            MediaOutcome::Done,
            "a second is as fine as a node says"
        );
        assert_eq!(outcome(heard(100, Some(1839)), 100, 1840), MediaOutcome::Silent);
        assert_eq!(outcome(heard(100, None), 100, 0), MediaOutcome::Silent);
        // A node an hour behind: its session is an hour older than the call.
        assert_eq!(outcome(heard(6_402, Some(8_230)), 10_000, 11_830), MediaOutcome::Silent);
        assert_eq!(outcome(heard(6_402, Some(8_233)), 10_000, 11_830), MediaOutcome::Done);
        // One ahead keeps the call.
        assert_eq!(outcome(heard(13_602, Some(14_000)), 10_000, 11_830), MediaOutcome::Done);
        assert_eq!(outcome(heard(0, Some(1)), 10_000, 11_830), MediaOutcome::Silent, "no time to correct by");
        assert_eq!(outcome(heard(1, Some(u64::MAX)), u64::MAX / SECOND_US, 0), MediaOutcome::Done, "nothing overflows");
    }
}
