//! A search for a path that forgets the media node: random messages with SDP in random order on one call, random replies at random times.
//! [`World`] looks at every datagram that leaves (I2), audits after every step, and each search ends with nothing left.

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::bus::{MediaOutcome, Verb};

use super::through::{SECOND, answer, bare, offer, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, Request, Sent, World, response};

/// Small numbers, one seed each (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits >> 33) as usize % end
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }
}

/// What the peers of one call know of it.
struct Peers {
    invite: Request,
    /// Requests that reached a peer, with the peer: what it may answer.
    asked: Vec<(String, Sent)>,
    /// The last response that reached the caller with a tag.
    heard: Option<Sent>,
    cseq: u32,
}

impl Peers {
    fn take(&mut self, sent: Vec<Sent>) {
        for message in sent {
            if !message.start_line().starts_with("SIP/2.0") {
                self.asked.push((message.to.clone(), message));
            } else if message.to == CALLER && message.header("To").contains(";tag=") && message.status() < 300 {
                self.heard = Some(message);
            }
        }
    }

    /// A request inside the dialog that the caller heard of last, of either side.
    fn inside(&mut self, draw: &mut Draw, method: &'static str) -> Option<(String, Request)> {
        let ok = self.heard.clone()?;
        let (_, forwarded) = self.asked.iter().find(|(_, sent)| sent.start_line().starts_with("INVITE"))?.clone();
        let tag = ok.header("To").split(";tag=").nth(1)?.to_owned();
        let call = Answered { invite: self.invite.clone(), forwarded, ok };
        self.cseq += 1;
        let cseq = if method == "ACK" { 1 + draw.below(self.cseq as usize) as u32 } else { self.cseq };
        let branch = format!("s{}", self.cseq);
        Some(if method == "ACK" || draw.below(2) == 0 {
            (CALLER.into(), Request { to_tag: tag, ..call.caller_sends(method, &branch, cseq) })
        } else {
            (GATEWAY.into(), Request { from_tag: tag, ..call.callee_sends(method, &branch, cseq) })
        })
    }
}

/// The same message with its SDP where a reader may miss it, or find it where it is not looked for.
fn disguised(draw: &mut Draw, text: String) -> String {
    const TYPE: &str = "Content-Type: application/sdp\r\n";
    const ISUP: &str = "--b\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n";
    let Some((head, sdp)) = text.split_once("\r\n\r\n").filter(|(head, _)| head.contains(TYPE)) else { return text };
    let part = |headers: &str| format!("--b\r\n{headers}\r\n{sdp}\r\n");
    let mixed = "Content-Type: multipart/mixed;boundary=b\r\n";
    let (kind, body) = match draw.below(40) {
        0 => ("Content-Type: text/plain\r\nContent-Type: application/sdp\r\n", sdp.to_owned()),
        1 => ("c: application/sdp\r\nContent-Type: text/plain\r\n", sdp.to_owned()),
        2 => ("c:\r\n Application /\r\n\tSDP ;x=y\r\n", sdp.to_owned()),
        3 => ("", sdp.to_owned()),
        4 => ("Content-Type: text, application/sdp\r\n", sdp.to_owned()),
        5 => (mixed, format!("{}{ISUP}--b--\r\n", part("Content-Type:\r\n application/sdp\r\n"))),
        6 => (mixed, format!("{ISUP}{}--b--\r\n", part("content-TYPE : application\r\n /sdp\r\n"))),
        7 => (mixed, format!("{sdp}\r\n{ISUP}--b--\r\n")),
        8 => (mixed, format!("{ISUP}--b--\r\n{sdp}")),
        9 => (mixed, format!("{ISUP}--b--\r\n{}--b--\r\n", part(TYPE))),
        10 => (mixed, format!("{ISUP}{}", part("X: y\r\n \r\nContent-Type: application/sdp\r\n"))),
        11 => (mixed, format!("{}--b--\r\n", part("Content-Type: text/plain\r\nc: application/sdp\r\n"))),
        12 => (
            "Content-Type: multipart/mixed;x=\";boundary=c\";boundary=\"b\"\r\n",
            format!("--c\r\n\r\n--c--\r\n{}--b--\r\n", part(TYPE)),
        ),
        13 => ("Content-Type: multipart/mixed;boundary=c;boundary=b\r\n", format!("{}--b--\r\n", part(TYPE))),
        14 => ("Content-Type: multipart/mixed\r\n", format!("{}--b--\r\n", part(TYPE))),
        15 => (mixed, part("")),
        _ => return text,
    };
    let head = head.replace(TYPE, kind);
    let (start, end) = head.split_once("Content-Length: ").expect("the tests write one");
    let end = end.split_once("\r\n").map_or("", |(_, end)| end);
    format!("{start}Content-Length: {}\r\n{end}\r\n{body}", body.len())
}

fn step(world: &mut World, peers: &mut Peers, draw: &mut Draw) {
    let name = draw.of(&["a", "b", "c"]);
    let sent = match draw.below(12) {
        0..4 if !peers.asked.is_empty() => {
            let (peer, request) = peers.asked[draw.below(peers.asked.len())].clone();
            if request.start_line().starts_with("ACK") {
                return;
            }
            let status = [180, 183, 183, 200, 200, 200, 486, 488, 503][draw.below(9)];
            let tag = draw.of(&["x", "y"]);
            let reliable: &[&str] = if draw.below(2) == 0 { &["RSeq: 1", "Require: 100rel"] } else { &[] };
            let other = ["BYE", "CANCEL"].iter().any(|method| request.start_line().starts_with(method));
            let text = match draw.below(3) {
                _ if other => response(&request, status, tag, &[]),
                0 => response(&request, status, tag, reliable),
                _ => disguised(draw, answer(&request, status, tag, name, reliable)),
            };
            world.deliver(&peer, &text)
        }
        4..8 => {
            let method = [("INVITE"), ("UPDATE"), ("PRACK"), ("ACK"), ("ACK"), ("BYE")][draw.below(6)];
            let Some((peer, request)) = peers.inside(draw, method) else { return };
            let plain = method == "BYE" || draw.below(3) == 0;
            let text = if plain { request.text() } else { disguised(draw, with_sdp(&request, name).text()) };
            world.deliver(&peer, &text)
        }
        8 if draw.below(6) == 0 => world.deliver(CALLER, &peers.invite.hop("CANCEL").text()),
        9 => world.advance(Duration::from_millis([1, 400, 4_100, 6_000][draw.below(4)])),
        _ if !world.wishes.is_empty() => {
            let place = draw.below(world.wishes.len());
            let wish = world.wishes.remove(place).expect("there");
            let outcome = [MediaOutcome::Refused, MediaOutcome::NoNode, MediaOutcome::Failed][draw.below(3)];
            if draw.below(4) == 0 {
                world.node().says = vec![(wish.verb, outcome)];
            }
            let sent = world.reply(&wish);
            world.node().says.clear();
            sent
        }
        _ => return,
    };
    peers.take(sent);
}

#[test]
fn no_sdp_leaves_that_did_not_come_back() {
    let mut done = 0;
    let (mut offers, mut answers, mut restored) = (0, 0, 0);
    for seed in 0..600 {
        let mut draw = Draw(seed);
        let mut world = world();
        world.hold();
        let call = format!("search{seed}");
        let invite = if draw.below(3) == 0 { bare(&call) } else { offer(&call) };
        let mut peers = Peers { invite: invite.clone(), asked: Vec::new(), heard: None, cseq: 1 };
        let text = if draw.below(3) == 0 { disguised(&mut draw, invite.text()) } else { invite.text() };
        peers.take(world.deliver(CALLER, &text));
        for _ in 0..60 {
            step(&mut world, &mut peers, &mut draw);
        }
        done += world.count(Counter::MediaDone);
        let asked = world.asked();
        let of = |verb: Verb| asked.iter().filter(|word| word.starts_with(&format!("{verb:?}"))).count();
        (offers, answers, restored) =
            (offers + of(Verb::Offer), answers + of(Verb::Answer), restored + of(Verb::Restore));
        assert!(peers.asked.iter().all(|(peer, _)| [CALLER, GATEWAY, SECOND].contains(&peer.as_str())));
        world.settle();
    }
    // The search went where it should.
    assert!(done > 400 && offers > 400 && answers > 200 && restored > 50, "{done} {offers} {answers} {restored}");
}
