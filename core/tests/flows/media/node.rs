//! A stand-in for the control core and its media nodes: takes wishes, gives back SDP that names the relay.

use std::collections::BTreeSet;

use corelane_core::Input;
use corelane_core::bus::{ExchangeId, MediaCall, MediaOutcome, MediaReply, MediaRequest, Verb};

use crate::world::{Sent, World};

/// Whatever an endpoint writes into its SDP has this in it; what the relay writes has not.
pub(crate) const ENDPOINT: &str = "endpoint";

/// A wish, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) exchange: ExchangeId,
    pub(crate) since_us: u64,
    pub(crate) call: MediaCall,
    pub(crate) verb: Verb,
    pub(crate) attempt: u8,
    pub(crate) set: u32,
    pub(crate) node: u32,
    pub(crate) from_tag: String,
    pub(crate) to_tag: String,
    pub(crate) flags: String,
    pub(crate) sdp: String,
}

impl Wish {
    pub(crate) fn read(bytes: &[u8]) -> Wish {
        let request = MediaRequest::read(bytes).expect("the engine writes what can be read");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text in tests");
        Wish {
            exchange: request.exchange,
            since_us: request.since_us,
            call: request.call,
            verb: request.verb,
            attempt: request.attempt,
            set: request.set,
            node: request.node,
            from_tag: text(request.from_tag),
            to_tag: text(request.to_tag),
            flags: text(request.flags),
            sdp: text(request.sdp),
        }
    }

    /// `verb attempt from>to`, for short assertions.
    pub(crate) fn word(&self) -> String {
        format!("{:?} {} {}>{}", self.verb, self.attempt, self.from_tag, self.to_tag)
    }
}

/// The control core of a test.
#[derive(Default)]
pub(crate) struct Node {
    /// It answers when the test says so.
    pub(crate) held: bool,
    /// What it says instead of done, by verb: the first that fits, taken out.
    pub(crate) says: Vec<(Verb, MediaOutcome)>,
    /// All wishes so far, as words.
    pub(crate) asked: Vec<String>,
    /// Descriptions that it has given.
    pub(crate) given: BTreeSet<String>,
    /// Makes what it gives so much longer.
    pub(crate) padding: usize,
}

/// What the relay makes of an SDP: its own address, and the session's name to tell them apart.
fn relayed(sdp: &str, padding: usize) -> String {
    let name = sdp.lines().find_map(|line| line.strip_prefix("s=")).unwrap_or("-");
    let name = name.replace(ENDPOINT, "relay");
    let pad = if padding == 0 { String::new() } else { format!("a=pad:{}\r\n", "x".repeat(padding)) };
    format!(
        "v=0\r\no=- 1 1 IN IP4 203.0.113.9\r\ns={name}\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\n{pad}"
    )
}

/// An endpoint's SDP of this name.
pub(crate) fn sdp(name: &str) -> String {
    format!(
        "v=0\r\no=- 7 7 IN IP4 10.9.9.9\r\ns={ENDPOINT}-{name}\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
    )
}

/// The name of the SDP that a message brings, `relay-…` or `endpoint-…`; empty without one.
pub(crate) fn session(sent: &Sent) -> &str {
    let body = sent.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let length: usize = sent.header("Content-Length").parse().expect("a length");
    assert_eq!(body.len(), length, "Content-Length is right:\n{}", sent.text);
    body.lines().find_map(|line| line.strip_prefix("s=")).unwrap_or("")
}

impl World {
    /// A world whose calls go through media nodes, with a control core that answers.
    pub(crate) fn with_node(mut self) -> World {
        self.node = Some(Node::default());
        self
    }

    /// The control core of this world.
    pub(crate) fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("a world with a node")
    }

    /// Wishes from now on wait until they are answered by the test.
    pub(crate) fn hold(&mut self) {
        self.node().held = true;
    }

    /// The oldest wish that waits is answered, done.
    pub(crate) fn answer_wish(&mut self) -> Vec<Sent> {
        let wish = self.wishes.pop_front().expect("a wish");
        self.reply(&wish)
    }

    /// The words of the wishes since the last time.
    pub(crate) fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.node().asked)
    }

    /// Answers a wish as the control core does.
    pub(crate) fn reply(&mut self, wish: &Wish) -> Vec<Sent> {
        let node = self.node.as_mut().expect("a world with a node");
        node.asked.push(wish.word());
        if wish.exchange == ExchangeId::NOBODY {
            let next = if node.held { None } else { self.wishes.pop_front() };
            return next.map(|wish| self.reply(&wish)).unwrap_or_default();
        }
        let said = node.says.iter().position(|(verb, _)| *verb == wish.verb).map(|place| node.says.remove(place).1);
        let outcome = said.unwrap_or(MediaOutcome::Done);
        let describes = outcome == MediaOutcome::Done && wish.verb != Verb::Query;
        let text = if describes { relayed(&wish.sdp, node.padding) } else { String::new() };
        node.given.insert(text.clone());
        let exchange = wish.exchange;
        self.handle(Input::Media(MediaReply { exchange, outcome, node: 3, sdp: text.as_bytes() }))
    }
}
