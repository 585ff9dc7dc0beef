//! The caller of a simulated call: its INVITE, what it does with the answers, when it gives up.

use super::conduct::Seen;
use super::exchange::new_dialog;
use super::leg::{Call, Leg, Progress, Stage};
use super::network::{Act, LegIndex, Party, SECOND};
use super::script::{Acknowledge, HangUp, Moment};
use super::sdp;
use super::wire::{Branch, Method, Request, header, leading_number, tag, write_call_id};
use super::world::World;
use crate::wire::{Message, decimal, hex, put};

/// How long a caller who acknowledges late lets a 2xx be repeated.
const LATE_ACK: u64 = 3 * SECOND;

/// What a caller who hangs up before his ACK leaves between the two.
const ACK_AFTER_BYE: u64 = SECOND / 2;

impl World<'_> {
    /// The next call begins.
    pub(super) fn begin_call(&mut self) {
        let mischief = self.random.chance(self.plan.mischief_permille);
        let script = self.plan.habits.draw_caller(&mut self.random, self.plan.callers);
        let party = script.party;
        let host = self.host(party);
        if host.down.is_some() {
            // A host that is down calls nobody; the number stays without a call.
            self.tally.unborn += 1;
        }
        let vanish_us = script.vanish_us;
        let cancel = script.cancel;
        let unborn = host.down.is_some();
        let leg = Leg::new(party, host.life, None);
        self.calls.push(Call {
            script,
            legs: vec![leg],
            tampered: mischief,
            closing: false,
            relayed: false,
            direct: false,
            lied_to: false,
            open: false,
            seen: Seen::default(),
        });
        if unborn {
            return;
        }
        let at = LegIndex { call: self.calls.len() as u32 - 1, leg: 0 };
        let mut call_id = Vec::with_capacity(21);
        write_call_id(&mut call_id, self.seed, at.call);
        self.numbers.insert(self.steering.hash_call_id(&call_id), at.call);
        self.invite(at, 1);
        if let Some((Moment::Sent, after)) = cancel {
            self.act(at, after, Act::Cancel);
        }
        if let Some(after) = vanish_us {
            self.act(at, after, Act::Vanish);
        }
    }

    fn invite(&mut self, at: LegIndex, cseq: u32) {
        let script = &self.calls[at.call as usize].script;
        let mut uri = b"sip:".to_vec();
        put(&mut uri, &[&script.number, b"@10.0.0.1"]);
        let mut from = b"<sip:alice@192.0.2.1>;tag=c".to_vec();
        hex(&mut from, at.call);
        let to = [b"<", &uri[..], b">"].concat();
        let mut lines = Vec::new();
        let supported: &[u8] = match (script.supports_100rel, script.supports_timer) {
            (true, true) => b"Supported: 100rel, timer\r\n",
            (true, false) => b"Supported: 100rel\r\n",
            (false, true) => b"Supported: timer\r\n",
            (false, false) => b"",
        };
        lines.extend_from_slice(supported);
        if let Some(seconds) = script.session_expires {
            lines.extend_from_slice(b"Session-Expires: ");
            decimal(&mut lines, seconds.into());
            lines.extend_from_slice(b"\r\n");
        }
        if cseq > 1 {
            lines.extend_from_slice(b"Proxy-Authorization: Digest username=\"sim\"\r\n");
        }
        let party = script.party;
        let serial = self.leg(at).clients.len() as u32;
        let delayed = self.random.chance(self.plan.offers.delayed_permille);
        let body = (!delayed).then(|| self.describe(at));
        let request = Request {
            method: Method::Invite,
            uri: &uri,
            from_party: party,
            branch: Branch { call: at.call, leg: 0, serial },
            route: b"",
            from: &from,
            to: &to,
            seed: self.seed,
            cseq,
            lines: &lines,
            body,
        };
        let mut bytes = Vec::with_capacity(900);
        request.write(&mut bytes);
        self.open_client(at, Method::Invite, cseq, 0, None, bytes);
    }

    /// The caller gives up, if he still can.
    pub(super) fn give_up(&mut self, at: LegIndex) {
        let is_open = |client: &super::leg::Client| client.method == Method::Invite && client.dialog.is_none();
        let leg = self.leg(at);
        let cancelled = leg.clients.iter().any(|client| client.method == Method::Cancel);
        let Some(index) = leg.clients.iter().rposition(is_open).filter(|_| !cancelled) else { return };
        if leg.clients[index].progress != Progress::TimedOut {
            self.cancel(at, index);
        }
    }

    /// A response to an INVITE that opens a dialog.
    pub(super) fn on_invite_response(
        &mut self,
        at: LegIndex,
        index: usize,
        status: u16,
        first_final: bool,
        message: &Message<'_>,
    ) {
        if status < 200 {
            return self.on_progress(at, status, message);
        }
        if status < 300 {
            return self.on_answer(at, message);
        }
        let script = &self.calls[at.call as usize].script;
        let (acknowledge, credentials) = (script.acknowledge, script.credentials);
        if acknowledge != Acknowledge::Never {
            self.acknowledge_refusal(at, index, message);
        }
        let cseq = leading_number(message.cseq);
        if first_final && matches!(status, 401 | 407) && credentials && cseq == 1 {
            self.invite(at, 2);
        }
    }

    fn on_progress(&mut self, at: LegIndex, status: u16, message: &Message<'_>) {
        let moment = if status == 100 { Moment::Trying } else { Moment::Ringing };
        let script = &mut self.calls[at.call as usize].script;
        if let Some((_, after)) = script.cancel.take_if(|(when, _)| *when == moment) {
            self.act(at, after, Act::Cancel);
        }
        if status == 100 || tag(message.to).is_none() {
            return;
        }
        let Some(dialog) = self.learn(at, message) else { return };
        if let Some(number) = header(message.bytes, b"RSeq") {
            // RFC 3262 §4; a repeated one is acknowledged again, which a peer must bear.
            let mut lines = b"RAck: ".to_vec();
            put(&mut lines, &[number, b" ", message.cseq, b"\r\n"]);
            let sdp = self.prack_answers_or_offers(at, message).then(|| self.describe(at));
            self.ask_with(at, dialog, Method::Prack, &lines, sdp);
        }
    }

    /// Whether the PRACK of a response has a session description: as answer it must, as another offer it may (RFC 3262 §5).
    fn prack_answers_or_offers(&mut self, at: LegIndex, message: &Message<'_>) -> bool {
        let cseq = leading_number(message.cseq);
        let invites = &self.leg(at).clients;
        let offered =
            invites.iter().any(|client| client.method == Method::Invite && client.cseq == cseq && client.offers);
        let described = sdp::find(message.bytes).is_some();
        described && (!offered || self.random.chance(self.plan.offers.prack_permille))
    }

    /// The dialog of a response, early or not; none where the peer cannot have one.
    fn learn(&mut self, at: LegIndex, message: &Message<'_>) -> Option<u8> {
        let (own, other) = (tag(message.from)?, tag(message.to)?);
        let leg = self.leg(at);
        if let Some(known) = leg.find_dialog(own, other) {
            return Some(known as u8);
        }
        let dialog = new_dialog(leg.party, message.from.to_vec(), message, true);
        leg.dialogs.push(dialog);
        Some(leg.dialogs.len() as u8 - 1)
    }

    fn on_answer(&mut self, at: LegIndex, message: &Message<'_>) {
        let Some(dialog) = self.learn(at, message) else { return };
        let script = &mut self.calls[at.call as usize].script;
        if let Some((_, after)) = script.cancel.take_if(|(when, _)| *when == Moment::Answered) {
            self.act(at, after, Act::Cancel);
        }
        let script = &self.calls[at.call as usize].script;
        let (acknowledge, hang_up, talk_us, asks) = (script.acknowledge, script.hang_up, script.talk_us, script.asks);
        let cseq = leading_number(message.cseq);
        let leg = self.leg(at);
        let cancelled = leg.clients.iter().any(|client| client.method == Method::Cancel);
        let delayed =
            leg.clients.iter().any(|client| client.method == Method::Invite && client.cseq == cseq && !client.offers);
        let surplus = leg
            .dialogs
            .iter()
            .enumerate()
            .any(|(other, known)| other != usize::from(dialog) && known.stage >= Stage::Answered);
        let found = &mut leg.dialogs[usize::from(dialog)];
        let first = found.stage < Stage::Answered;
        found.owes_answer |= first && delayed && sdp::find(message.bytes).is_some();
        if first {
            found.stage = Stage::Answered;
        }
        match acknowledge {
            Acknowledge::Never => {
                self.calls[at.call as usize].closing = true;
                return;
            }
            Acknowledge::Late if first => {
                return self.act(at, LATE_ACK, Act::Ack { dialog });
            }
            Acknowledge::Late if found.ack_cseq != cseq => return,
            Acknowledge::Once | Acknowledge::Twice | Acknowledge::Late => {}
        }
        if first && hang_up == HangUp::BeforeAck {
            self.ask(at, dialog, Method::Bye);
            return self.act(at, ACK_AFTER_BYE, Act::Ack { dialog });
        }
        self.acknowledge(at, dialog, cseq, message);
        if !first {
            return;
        }
        if acknowledge == Acknowledge::Twice {
            self.acknowledge(at, dialog, cseq, message);
        }
        if surplus || cancelled {
            // RFC 3261 §13.2.2.4: one answer is enough, and who cancelled wants none.
            return self.ask(at, dialog, Method::Bye);
        }
        self.talk(at, dialog, hang_up, talk_us, asks);
    }

    /// The ACK that was held back.
    pub(super) fn late_ack(&mut self, at: LegIndex, dialog: u8) {
        let leg = self.leg(at);
        let Some(invite) =
            leg.clients.iter().rposition(|client| client.method == Method::Invite && client.dialog.is_none())
        else {
            return;
        };
        let bytes = leg.clients[invite].bytes.clone();
        let cseq = leg.clients[invite].cseq;
        // The INVITE itself has the Contact of nobody else: the target that the dialog learned stays.
        let Some(mut message) = Message::scan(&bytes) else { return };
        message.contact = b"";
        let was_open = self.leg(at).dialogs[usize::from(dialog)].stage < Stage::Over;
        self.acknowledge(at, dialog, cseq, &message);
        if was_open {
            let script = &self.calls[at.call as usize].script;
            let (hang_up, talk_us, asks) = (script.hang_up, script.talk_us, script.asks);
            self.talk(at, dialog, hang_up, talk_us, asks);
        }
    }

    fn talk(&mut self, at: LegIndex, dialog: u8, hang_up: HangUp, talk_us: u64, asks: super::script::Asks) {
        for (by_caller, after, method) in asks.into_iter().flatten() {
            if by_caller {
                self.act(at, after, Act::Ask { dialog, method });
            }
        }
        if matches!(hang_up, HangUp::Caller | HangUp::Both | HangUp::BeforeAck) {
            self.act(at, talk_us, Act::Ask { dialog, method: Method::Bye });
        }
    }

    /// A request reaches a caller's host.
    pub(super) fn on_caller_request(&mut self, party: Party, listener: u8, method: Method, message: &Message<'_>) {
        let at = LegIndex { call: message.call, leg: 0 };
        let life = self.host(party).life;
        let leg = self.leg(at);
        if leg.vanished || leg.party != party {
            return;
        }
        let knows = leg.life == life;
        if method == Method::Ack && knows && self.on_refusal_ack(at, super::wire::branch_text(message.vias()[0])) {
            return;
        }
        if !(knows && self.on_dialog_request(at, listener, method, message)) {
            self.deny(party, listener, method, message);
        }
    }
}
