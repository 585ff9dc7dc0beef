//! What ends the repetition of a response, and what gives up a request: ACK, PRACK, CANCEL (RFC 3261 §9.1, §13.2.2.4, §17.1.1.3;
//! RFC 3262).

use super::exchange::{ACK_SERIAL, listener_of};
use super::leg::{RequestHead, Server, Stage, Waits};
use super::network::LegIndex;
use super::sdp;
use super::wire::{Branch, Method, header};
use super::world::World;
use crate::wire::Message;

impl World<'_> {
    /// PRACK ends the repetition of the provisional response.
    pub(super) fn on_prack(&mut self, at: LegIndex) {
        for server in &mut self.leg(at).servers {
            if server.waits == Waits::Prack {
                server.waits = Waits::Nothing;
            }
        }
    }

    /// The ACK of a 2xx.
    pub(super) fn on_ack(&mut self, at: LegIndex, dialog: usize, cseq: u32) {
        let now = self.now_us;
        let leg = self.leg(at);
        for server in &mut leg.servers {
            let answered = (200..300).contains(&server.status) && server.dialog == Some(dialog as u8);
            if server.method == Method::Invite && answered && server.cseq == cseq {
                server.waits = Waits::Nothing;
            }
        }
        let found = &mut leg.dialogs[dialog];
        if found.stage < Stage::Confirmed {
            found.stage = Stage::Confirmed;
            found.confirmed_at = now;
            self.on_callee_confirmed(at, dialog as u8);
        }
    }

    /// The ACK of a refusal, which belongs to the INVITE's transaction.
    pub(super) fn on_refusal_ack(&mut self, at: LegIndex, branch: &[u8]) -> bool {
        let of_branch = |server: &&mut Server| server.method == Method::Invite && server.branch == branch;
        let Some(server) = self.leg(at).servers.iter_mut().find(of_branch) else { return false };
        if server.status >= 300 {
            server.waits = Waits::Nothing;
        }
        true
    }

    /// The ACK of a 2xx: written once, sent for each copy that comes (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledge(&mut self, at: LegIndex, dialog: u8, cseq: u32, answer: &Message<'_>) {
        let (seed, now) = (self.seed, self.now_us);
        let leg = self.leg(at);
        let party = leg.party;
        let invite = leg.clients.iter().rfind(|client| client.method == Method::Invite && client.cseq == cseq);
        let delayed = invite.is_some_and(|client| !client.offers);
        let found = &leg.dialogs[usize::from(dialog)];
        let owes = delayed && (found.owes_answer || sdp::find(answer.bytes).is_some());
        let sdp = (owes && found.ack_cseq != cseq).then(|| self.describe(at));
        let found = &mut self.leg(at).dialogs[usize::from(dialog)];
        if found.ack_cseq != cseq {
            found.owes_answer = false;
            if !answer.contact.is_empty() {
                found.target = answer.contact.to_vec();
            }
            let serial = ACK_SERIAL | cseq << 8 | u32::from(dialog);
            let head = RequestHead { party, branch: Branch { call: at.call, leg: at.leg, serial }, seed, cseq, sdp };
            let mut bytes = Vec::with_capacity(500);
            found.request(Method::Ack, &head, b"").write(&mut bytes);
            (found.ack, found.ack_cseq) = (bytes, cseq);
        }
        if found.stage < Stage::Confirmed {
            (found.stage, found.confirmed_at) = (Stage::Confirmed, now);
        }
        let listener = listener_of(&found.route);
        let bytes = std::mem::take(&mut found.ack);
        self.send(at, listener, &bytes);
        self.leg(at).dialogs[usize::from(dialog)].ack = bytes;
    }

    /// The ACK of a refusal: on the INVITE's branch, with its Request-URI (RFC 3261 §17.1.1.3).
    pub(super) fn acknowledge_refusal(&mut self, at: LegIndex, index: usize, answer: &Message<'_>) {
        let client = &self.leg(at).clients[index];
        let listener = client.listener;
        let mut bytes = Vec::with_capacity(400);
        write_hop(&mut bytes, &client.bytes, Method::Ack, client.cseq, Some(answer.to));
        self.send(at, listener, &bytes);
    }

    /// Gives up an INVITE: CANCEL on its branch (RFC 3261 §9.1).
    pub(super) fn cancel(&mut self, at: LegIndex, index: usize) {
        let client = &self.leg(at).clients[index];
        let (listener, cseq) = (client.listener, client.cseq);
        let mut bytes = Vec::with_capacity(400);
        write_hop(&mut bytes, &client.bytes, Method::Cancel, cseq, None);
        self.open_client(at, Method::Cancel, cseq, listener, None, bytes);
    }
}

/// An ACK or CANCEL that belongs hop by hop to an INVITE: its first line, Via, Route, From, To, Call-ID.
fn write_hop(out: &mut Vec<u8>, invite: &[u8], method: Method, cseq: u32, to: Option<&[u8]>) {
    let Some(message) = Message::scan(invite) else { return };
    let uri = invite.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    crate::wire::put(out, &[method.name(), b" ", uri, b" SIP/2.0\r\nVia: ", message.vias()[0], b"\r\n"]);
    if let Some(route) = header(invite, b"Route") {
        crate::wire::put(out, &[b"Route: ", route, b"\r\n"]);
    }
    let to = to.unwrap_or(message.to);
    crate::wire::put(out, &[b"Max-Forwards: 70\r\nFrom: ", message.from, b"\r\nTo: ", to, b"\r\nCall-ID: "]);
    crate::wire::put(out, &[message.call_id, b"\r\nCSeq: "]);
    crate::wire::decimal(out, cseq.into());
    crate::wire::put(out, &[b" ", method.name(), b"\r\nContent-Length: 0\r\n\r\n"]);
}
