//! What a message costs in instructions: parse, forward, answer, as many times as the argument says.
//!
//! ```text
//! cargo build --release -p corelane-core --example message_cost
//! valgrind --tool=callgrind --callgrind-out-file=cost.out target/release/examples/message_cost 1000 parse
//! ```
//!
//! Run it with 1000 and with 2000 rounds: the difference divided by 1000 is the cost of one, without start and stop.

use std::hint::black_box;

use corelane_core::Transport;
use corelane_core::message::{
    Answer, Message, OwnRoute, OwnVia, RequestEdits, Rewrite, Writer, write_ack, write_answer, write_request,
    write_response,
};

const INVITE: &[u8] = b"INVITE sip:+14155550100@198.51.100.20:5060;user=phone SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---7a2f61c9d0b34e15;rport\r\n\
Max-Forwards: 70\r\n\
Contact: <sip:alice@192.0.2.10:5060;transport=udp>\r\n\
To: <sip:+14155550100@198.51.100.20;user=phone>\r\n\
From: \"Alice\" <sip:+12025550123@192.0.2.10>;tag=9fxced76sl\r\n\
Call-ID: 3848276298220188511@pc33.atlanta.example.com\r\n\
CSeq: 314159 INVITE\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE\r\n\
Supported: timer, 100rel\r\n\
User-Agent: Softswitch/4.2\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 139\r\n\
\r\n\
v=0\r\no=- 20518 0 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 49170 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n";

const RINGING: &[u8] = b"SIP/2.0 180 Ringing\r\n\
Via: SIP/2.0/UDP 198.51.100.20:5060;branch=z9hG4bK0a1b2c3d4e5f60718293a4b5\r\n\
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---7a2f61c9d0b34e15;rport=5060;received=192.0.2.10\r\n\
Record-Route: <sip:198.51.100.20:5060;lr;t=0a1b2c3d4e5f6071>\r\n\
To: <sip:+14155550100@198.51.100.20;user=phone>;tag=8321234356\r\n\
From: \"Alice\" <sip:+12025550123@192.0.2.10>;tag=9fxced76sl\r\n\
Call-ID: 3848276298220188511@pc33.atlanta.example.com\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:bob@203.0.113.4:5060>\r\n\
Content-Length: 0\r\n\
\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: u32 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let what = arguments.next().unwrap_or_default();
    let invite = Message::parse(INVITE).expect("well-formed");
    let ringing = Message::parse(RINGING).expect("well-formed");
    let edits = RequestEdits {
        request_uri: Some(b"sip:14155550100@203.0.113.4:5060"),
        via: OwnVia {
            transport: Transport::Udp,
            sent_by: b"198.51.100.20:5060",
            branch: b"z9hG4bK0a1b2c3d4e5f60718293a4b5",
        },
        received: Some([192, 0, 2, 10].into()),
        rport: Some(5060),
        record_routes: &[OwnRoute { sent_by: b"198.51.100.20:5060", token: b"0a1b2c3d4e5f60711" }],
        strip_routes: 0,
        drop_last_route: false,
        max_forwards: 69,
        max_breadth: true,
        rewrite: Rewrite::NOTHING,
    };
    let answer = Answer {
        status: 100,
        reason: b"Trying",
        to_tag: None,
        received: edits.received,
        rport: edits.rport,
        lines: b"",
    };
    let mut out = [0; 2048];
    for _ in 0..rounds {
        let mut writer = Writer::new(&mut out);
        match &*what {
            "parse" => read(INVITE),
            "parse-response" => read(RINGING),
            "request" => write_request(black_box(&invite), &edits, &mut writer),
            "response" => write_response(black_box(&ringing), &mut writer),
            "answer" => write_answer(black_box(&invite), &answer, &mut writer),
            "ack" => write_ack(black_box(&invite), black_box(&ringing), &mut writer),
            _ => panic!("parse, parse-response, request, response, answer or ack"),
        }
        black_box(writer.finish().expect("fits"));
    }
}

/// As the engine does: read where it stays.
fn read(datagram: &[u8]) {
    let mut message = Message::unread();
    assert!(message.read_in_place(black_box(datagram)).is_ok());
    black_box(&message);
}
