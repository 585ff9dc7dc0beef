//! Media control with real rtpengine nodes: what each side is told in SDP is the relay's, and sessions end with their calls.
//!
//! ```text
//!   caller (raw peer, RTP end) ──SIP──► corelane ──SIP──► gateway (raw peer, RTP end)
//!        └───────── RTP ────────► rtpengine ◄──── RTP ──────┘        ng: corelane's control core ──► rtpengine
//! ```
//!
//! Every SDP that an end sends names that end's own socket, so a test that looks at an SDP which arrived sees at once whether it came
//! through a relay (invariant I2). Each test ends with no session left on any node.

mod drain;
mod faults;
mod flags;
mod late;
mod positions;
mod reconcile;
mod rtp;
pub(crate) mod rtpengine;

use std::net::SocketAddr;

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::peer::{Dialog, Message, Peer, Request};
use crate::serial;
use crate::site::{Site, Tables};
use rtp::{Codec, RtpEnd, flows, media_address};
use rtpengine::Rtpengine;

/// The number that leads to the gateway.
const NUMBER: &str = "4912345";

/// Two peers with their media ends, a Corelane and its nodes.
struct Stage {
    corelane: Option<Corelane>,
    nodes: Vec<Rtpengine>,
    /// Where relays are, its own nodes or somebody else's.
    relays: Vec<SocketAddr>,
    options: Options,
    caller: Peer,
    gateway: Peer,
    /// The gateway that comes after it; nobody is there yet.
    then: SocketAddr,
    /// The caller's audio and the gateway's.
    ends: [RtpEnd; 2],
    /// Where Corelane listens.
    address: SocketAddr,
    tables: Tables,
    site: Site,
}

impl Stage {
    /// With this many nodes, all of one set and one weight.
    fn new(nodes: u8) -> Stage {
        Stage::with(nodes, &Options::default())
    }

    /// Same, and a Corelane run so.
    fn with(nodes: u8, options: &Options) -> Stage {
        let site = Site::new();
        let nodes: Vec<Rtpengine> = (0..nodes).map(|node| Rtpengine::start(&site, 41 + node)).collect();
        Stage::on(site, nodes, options)
    }

    /// Same, with nodes that are there.
    fn on(site: Site, nodes: Vec<Rtpengine>, options: &Options) -> Stage {
        let relays = nodes.iter().map(Rtpengine::address).collect();
        Stage { nodes, ..Stage::beside(site, relays, options) }
    }

    /// Same, with somebody else's nodes.
    fn beside(site: Site, relays: Vec<SocketAddr>, options: &Options) -> Stage {
        let (address, place) = (listener(&site), site.address(21));
        let then = site.address(22);
        let tables = Tables::new(address, site.caller()).gateway("49", place).then(then);
        let tables = relays.iter().fold(tables, |tables, relay| tables.media_node(*relay));
        let corelane = Some(Corelane::start(&site, &tables, options));
        let (caller, gateway) = (Peer::new(site.caller(), address), Peer::at(place, address));
        let ends = ends(&site, Codec::Pcma);
        let (nodes, options) = (Vec::new(), options.clone());
        Stage { corelane, nodes, relays, options, caller, gateway, then, address, ends, tables, site }
    }

    fn corelane(&mut self) -> &mut Corelane {
        self.corelane.as_mut().expect("it runs")
    }

    /// An INVITE with the caller's SDP.
    fn offer(&self) -> Request {
        self.caller.request("INVITE", NUMBER).content("application/sdp", &self.ends[0].sdp("sendrecv"))
    }

    /// The request of this CSeq in this call as the gateway gets it, its SDP being a relay's.
    fn relayed(&self, call_id: &str, method: &str, cseq: u32) -> (Message, SocketAddr) {
        let request = self.gateway.receive_request(call_id, method, cseq);
        let told = self.of_relay(&request);
        (request, told)
    }

    /// Where an SDP that arrived wants the audio: at one of the nodes.
    fn of_relay(&self, message: &Message) -> SocketAddr {
        let told = media_address(message);
        let of_node = self.relays.iter().any(|relay| relay.ip() == told.ip());
        assert!(of_node, "I2: an SDP did not come back from a node:\n{}", message.text());
        for end in &self.ends {
            let own = end.address();
            assert!(told != own, "I2: the other end's own address:\n{}", message.text());
        }
        told
    }

    /// A response of the gateway with its SDP.
    fn answer(&self, request: &Message, status: &str, headers: &[&str], direction: &str) {
        let sdp = self.ends[1].sdp(direction);
        self.gateway.send(request.answer_with(status, self.gateway.address(), headers, &sdp));
    }

    /// A response of the gateway without SDP.
    fn reply(&self, request: &Message, status: &str) {
        self.gateway.send(request.answer(status, self.gateway.address()));
    }

    /// A whole call set up, offer in the INVITE and answer in the 200: the dialog, and what caller and gateway were told.
    fn call(&self) -> (Dialog, [SocketAddr; 2]) {
        let Talk { dialog, told, .. } = self.talk();
        (dialog, told)
    }

    /// Same, where the gateway has something to say too.
    fn talk(&self) -> Talk {
        let invite = self.offer();
        self.caller.send(invite.text());
        let (received, gateway_told) = self.relayed(invite.call_id(), "INVITE", 1);
        self.answer(&received, "200 OK", &[], "sendrecv");
        let dialog = self.caller.answered(invite);
        let caller_told = self.of_relay(dialog.answer());
        self.gateway.receive_request(dialog.call_id(), "ACK", 1);
        Talk { dialog, invite: received, told: [caller_told, gateway_told] }
    }

    /// One side offers within the call with its end of `ends`, the other answers: what caller and gateway were told. Direction and codec
    /// arrive as they were sent.
    fn reoffer(
        &self,
        talk: &Talk,
        side: Side,
        question: (&str, u32),
        ends: &[RtpEnd; 2],
        ways: [&str; 2],
    ) -> [SocketAddr; 2] {
        let (method, cseq) = question;
        let within = |method: &str| match side {
            Side::Caller => talk.dialog.request(method, cseq),
            Side::Gateway => self.gateway.request_within(&talk.invite, method, cseq),
        };
        let peers = [&self.caller, &self.gateway];
        let (own, far) = (side as usize, 1 - side as usize);
        let (asker, other) = (peers[own], peers[far]);
        let (offer, answer) = (&ends[own].sdp(ways[0]), &ends[far].sdp(ways[1]));
        let request = within(method).content("application/sdp", offer);
        asker.send(request.text());
        let received = other.receive_request(talk.dialog.call_id(), method, cseq);
        let other_told = self.of_relay_as(&received, offer);
        other.send(received.answer_with("200 OK", other.address(), &[], answer));
        let reply = asker.receive_final(&request);
        assert_eq!(reply.code(), Some(200), "{}", reply.text());
        let asker_told = self.of_relay_as(&reply, answer);
        if method == "INVITE" {
            asker.send(within("ACK").text());
            other.receive_request(talk.dialog.call_id(), "ACK", cseq);
        }
        let mut told = [asker_told; 2];
        told[far] = other_told;
        told
    }

    /// Where an SDP that arrived wants the audio, at one of the nodes; its attributes are those of the one that was sent.
    fn of_relay_as(&self, message: &Message, sent: &str) -> SocketAddr {
        for line in sent.lines().filter(|line| line.starts_with("a=")) {
            assert!(message.body().lines().any(|other| other == line), "no {line} in\n{}", message.text());
        }
        self.of_relay(message)
    }

    /// Audio goes both ways between ends that were told this.
    fn audio(&self, told: [SocketAddr; 2]) {
        flows(&self.ends[0], told[0], &self.ends[1], told[1]);
    }

    /// The caller hangs up.
    fn hang_up(&self, dialog: &Dialog) {
        self.hang_up_as(dialog, 2);
    }

    /// Same, where the dialog has had other requests: their number goes before.
    fn hang_up_as(&self, dialog: &Dialog, cseq: u32) {
        let bye = dialog.request("BYE", cseq);
        self.caller.send(bye.text());
        let received = self.gateway.receive_request(dialog.call_id(), "BYE", cseq);
        self.reply(&received, "200 OK");
        assert_eq!(self.caller.receive_final(&bye).code(), Some(200));
    }

    /// Corelane is killed: it gets to say and write nothing more.
    fn crash(&mut self) {
        self.corelane.take().expect("it runs").crash();
    }

    /// It starts again.
    fn restart(&mut self) {
        self.corelane = Some(Corelane::start(&self.site, &self.tables, &self.options));
    }

    /// Sessions on all nodes together.
    fn sessions(&self) -> usize {
        self.nodes.iter().map(|node| node.sessions().len()).sum()
    }

    /// Every delete that was owed was paid, and nothing is left in Corelane. What it counted.
    fn end(mut self) -> Counters {
        for node in &self.nodes {
            node.await_sessions(0);
        }
        self.corelane.take().expect("it runs").stop_empty()
    }
}

/// A call that stands: what each side needs to ask something within it.
struct Talk {
    dialog: Dialog,
    /// The INVITE as the gateway got it.
    invite: Message,
    /// What caller and gateway were told.
    told: [SocketAddr; 2],
}

/// Who asks; the place of its end too.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Side {
    Caller = 0,
    Gateway = 1,
}

/// Fresh ends of caller and gateway: what still comes from an earlier call is not theirs.
fn ends(site: &Site, codec: Codec) -> [RtpEnd; 2] {
    [(site.caller(), 0x11), (site.host(21), 0x22)].map(|(ip, sample)| RtpEnd::new(codec, ip, sample))
}

/// Without Corelane: when this fails the others say nothing.
#[test]
fn rtpengine_relays_audio_between_two_ends() {
    let _serial = serial();
    let site = Site::new();
    let node = Rtpengine::start(&site, 41);
    let ends = ends(&site, Codec::Pcma);
    let gateway_told = node.exchange("offer", "alone", &ends[0].sdp("sendrecv"));
    let caller_told = node.exchange("answer", "alone", &ends[1].sdp("sendrecv"));
    assert_eq!(node.sessions(), ["alone"]);
    assert_eq!(node.heard("alone").last_packet_s, None, "streams that were made and never heard");
    flows(&ends[0], caller_told, &ends[1], gateway_told);
    // What `timeout_mode` `media` lives by; at least the flow's first packet came in this second or later.
    let heard = node.heard("alone");
    assert!(heard.created_s > 0 && heard.last_packet_s >= Some(heard.created_s), "{heard:?}");
}
