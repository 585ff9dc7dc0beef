//! What an endpoint remembers of a call: its transactions and its dialogs. Plain data; what is done with it is in
//! [`exchange`](super::exchange), [`caller`](super::caller) and [`gateway`](super::gateway).

use super::network::Party;
use super::script::CalleeScript;
use super::sdp::Sdp;
use super::wire::{Method, Request};

/// A call as the world knows it.
pub(super) struct Call {
    pub(super) script: super::script::CallerScript,
    /// The caller, then each gateway leg.
    pub(super) legs: Vec<Leg>,
    /// Somebody sent messages of it that no endpoint would: what is promised to honest peers is not promised here.
    pub(super) tampered: bool,
    /// Something happened by which the call may rightly be over: a BYE, a 481, a peer that fell silent.
    pub(super) closing: bool,
    /// An INVITE of it met an image with media nodes, and one an image without: it may be either, where both are true.
    pub(super) relayed: bool,
    pub(super) direct: bool,
    /// The media relay did not just do what was asked for it.
    pub(super) lied_to: bool,
    /// The engine took it, and has handed out no record of it since.
    pub(super) open: bool,
    /// What the engine did for it.
    pub(super) seen: super::conduct::Seen,
}

/// One end of a call.
pub(super) struct Leg {
    pub(super) party: Party,
    /// The life of the host in which the leg began; a restarted host has forgotten it.
    pub(super) life: u16,
    /// Fell silent.
    pub(super) vanished: bool,
    /// A gateway's part; none at the caller.
    pub(super) script: Option<CalleeScript>,
    /// What the engine knows of a gateway's branch.
    pub(super) heard: Heard,
    /// Session descriptions that it has given out.
    pub(super) descriptions: u16,
    /// An INVITE without one was answered with a reliable offer: a 2xx has none then.
    pub(super) offered: bool,
    pub(super) clients: Vec<Client>,
    pub(super) servers: Vec<Server>,
    pub(super) dialogs: Vec<Dialog>,
}

impl Leg {
    pub(super) fn new(party: Party, life: u16, script: Option<CalleeScript>) -> Leg {
        let (clients, servers, dialogs) = (Vec::new(), Vec::new(), Vec::new());
        Leg {
            party,
            life,
            vanished: false,
            script,
            heard: Heard::default(),
            descriptions: 0,
            offered: false,
            clients,
            servers,
            dialogs,
        }
    }

    /// The dialog whose other side has this tag, or whose own side has.
    pub(super) fn find_dialog(&self, own_tag: &[u8], other_tag: &[u8]) -> Option<usize> {
        self.dialogs.iter().position(|dialog| {
            super::wire::tag(&dialog.local) == Some(own_tag) && super::wire::tag(&dialog.remote) == Some(other_tag)
        })
    }
}

/// What of a gateway's branch reached the engine, and what the engine did about it.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Heard {
    /// When the INVITE came.
    pub(super) began_us: u64,
    /// A provisional response arrived while the engine still waited for one.
    pub(super) progress: bool,
    /// A final response arrived.
    pub(super) answer: bool,
    /// The engine sent a CANCEL.
    pub(super) cancelled: bool,
    /// When the first response of any kind arrived, and the last 101–199 while the engine waited; 0 before.
    pub(super) first_us: u64,
    pub(super) rang_us: u64,
}

/// Where a client transaction stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Sent; nothing came.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came.
    Completed,
    /// Timer B or F.
    TimedOut,
}

/// A request that was sent.
pub(super) struct Client {
    pub(super) method: Method,
    pub(super) cseq: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) listener: u8,
    pub(super) progress: Progress,
    pub(super) interval_us: u64,
    pub(super) give_up_at: u64,
    /// The dialog that it was sent in; none where it opens one.
    pub(super) dialog: Option<u8>,
    /// It has a session description.
    pub(super) offers: bool,
    /// It reached the engine, whole and by itself.
    pub(super) reached: bool,
    /// It left the engine on the other side; watched where media goes through a relay.
    pub(super) passed_on: bool,
    /// The engine answered anything.
    pub(super) answered: bool,
    /// When it sent the first 100 of a call that it took; 0 before.
    pub(super) trying_us: u64,
    /// The first final response that the engine gave, 0 before.
    pub(super) final_status: u16,
    /// It said when to come again.
    pub(super) retry_after: bool,
    /// The last one: a stateless refusal may stand before another answer.
    pub(super) last_status: u16,
}

/// What a sent response waits for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    Nothing,
    Ack,
    Prack,
}

/// A request that came.
pub(super) struct Server {
    /// The branch of its top Via.
    pub(super) branch: Vec<u8>,
    /// Where the order of its responses is kept.
    pub(super) order: u32,
    pub(super) method: Method,
    pub(super) cseq: u32,
    pub(super) listener: u8,
    /// The request, where more than one response may be due.
    pub(super) request: Vec<u8>,
    /// The response sent last.
    pub(super) response: Vec<u8>,
    pub(super) status: u16,
    pub(super) waits: Waits,
    pub(super) interval_us: u64,
    pub(super) repeat_at: u64,
    pub(super) give_up_at: u64,
    pub(super) dialog: Option<u8>,
}

/// Where a dialog stands on one side.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    Early,
    /// A 2xx was sent or came.
    Answered,
    /// Its ACK was sent or came.
    Confirmed,
    Over,
}

/// One side of a dialog (RFC 3261 §12). Values are as they stand in the headers.
pub(super) struct Dialog {
    pub(super) local: Vec<u8>,
    pub(super) remote: Vec<u8>,
    pub(super) route: Vec<u8>,
    pub(super) target: Vec<u8>,
    /// The CSeq of the last own request.
    pub(super) cseq: u32,
    /// The highest CSeq of the other side.
    pub(super) remote_cseq: u32,
    pub(super) stage: Stage,
    pub(super) confirmed_at: u64,
    /// The ACK that was sent last, and for which CSeq.
    pub(super) ack: Vec<u8>,
    pub(super) ack_cseq: u32,
    /// The 2xx offered, so that the ACK answers.
    pub(super) owes_answer: bool,
}

impl Dialog {
    /// A request of this side.
    pub(super) fn request<'d>(&'d self, method: Method, head: &RequestHead, lines: &'d [u8]) -> Request<'d> {
        Request {
            method,
            uri: &self.target,
            from_party: head.party,
            branch: head.branch,
            route: &self.route,
            from: &self.local,
            to: &self.remote,
            seed: head.seed,
            cseq: head.cseq,
            lines,
            body: head.sdp,
        }
    }
}

/// What a request has beside its dialog.
pub(super) struct RequestHead {
    pub(super) party: Party,
    pub(super) branch: super::wire::Branch,
    pub(super) seed: u64,
    pub(super) cseq: u32,
    pub(super) sdp: Option<Sdp>,
}
