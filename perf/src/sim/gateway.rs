//! The gateways: what they do with an INVITE, a CANCEL, and what they answer when they have forgotten.

use super::exchange::new_dialog;
use super::leg::{Leg, Stage, Waits};
use super::network::{Act, LegIndex, Party};
use super::script::{HangUp, OnCancel, Step};
use super::sdp;
use super::wire::{Method, Response, branch_text, header, read_gateway_tag, tag, write_gateway_tag};
use super::world::World;
use crate::wire::Message;

impl World<'_> {
    /// A request reaches a gateway's host.
    pub(super) fn on_gateway_request(&mut self, party: Party, listener: u8, method: Method, message: &Message<'_>) {
        let life = self.host(party).life;
        let branch = branch_text(message.vias()[0]);
        let call = message.call;
        let by_branch = |leg: &Leg| {
            let here = leg.party == party && leg.life == life;
            here && leg.servers.first().is_some_and(|server| server.branch == branch)
        };
        let of_branch = self.calls[call as usize].legs.iter().position(by_branch);
        let at = |leg: usize| LegIndex { call, leg: leg as u16 };
        match (method, of_branch) {
            (Method::Invite | Method::Cancel | Method::Ack, Some(leg)) if self.leg(at(leg)).vanished => {}
            (Method::Invite, Some(leg)) => self.answer_again(at(leg), 0),
            (Method::Cancel, Some(leg)) => self.on_cancel(at(leg), listener, message),
            (Method::Ack, Some(leg)) => {
                self.on_refusal_ack(at(leg), branch);
            }
            (Method::Invite, None) if tag(message.to).is_none() => self.on_invite(party, listener, message),
            _ => {
                let named = tag(message.to).and_then(read_gateway_tag).map(|(_, leg, _)| usize::from(leg));
                let Some(leg) = named.filter(|leg| *leg < self.calls[call as usize].legs.len()) else {
                    return self.deny(party, listener, method, message);
                };
                let found = self.leg(at(leg));
                let knows = found.party == party && found.life == life;
                if knows && found.vanished {
                    return;
                }
                let refused_ack = method == Method::Ack && knows && self.on_refusal_ack(at(leg), branch);
                let served = refused_ack || knows && self.on_dialog_request(at(leg), listener, method, message);
                if !served {
                    self.deny(party, listener, method, message);
                }
            }
        }
    }

    /// 481 to a request that nobody here knows of; an ACK gets nothing (RFC 3261 §12.2.2).
    pub(super) fn deny(&mut self, party: Party, listener: u8, method: Method, message: &Message<'_>) {
        if method == Method::Ack {
            return;
        }
        let status = if method == Method::Options { 200 } else { 481 };
        if status == 481 {
            self.calls[message.call as usize].closing = true;
        }
        let mut bytes = Vec::with_capacity(500);
        Response { status, to_tag: b"unknown", lines: b"", contact: None, body: None }.write(&mut bytes, message);
        self.transmit(party, listener, &bytes, message.call);
    }

    fn on_invite(&mut self, party: Party, listener: u8, message: &Message<'_>) {
        let script = self.plan.habits.draw_callee(&mut self.random);
        let life = self.host(party).life;
        let (steps, vanish_us) = (script.steps, script.vanish_us);
        let legs = &mut self.calls[message.call as usize].legs;
        legs.push(Leg::new(party, life, Some(script)));
        let at = LegIndex { call: message.call, leg: legs.len() as u16 - 1 };
        let index = self.open_server(at, listener, Method::Invite, message);
        let now = self.now_us;
        let leg = self.leg(at);
        leg.servers[usize::from(index)].request = message.bytes.to_vec();
        leg.heard.began_us = now;
        for (number, step) in (0u8..).zip(steps) {
            if let Some(step) = step {
                self.act(at, step.after_us, Act::Answer(number));
            }
        }
        if let Some(after) = vanish_us {
            self.act(at, after, Act::Vanish);
        }
    }

    /// A step of the schedule is due.
    pub(super) fn answer_step(&mut self, at: LegIndex, number: u8) {
        let step = self.leg(at).script.as_ref().and_then(|script| script.steps[usize::from(number)]);
        if let Some(step) = step {
            self.answer_invite(at, step);
        }
    }

    fn answer_invite(&mut self, at: LegIndex, step: Step) {
        let leg = self.leg(at);
        let party = leg.party;
        let Party::Gateway(host) = party else { return };
        let mut index = 0;
        let request = std::mem::take(&mut leg.servers[0].request);
        let Some(message) = Message::scan(&request) else { return };
        let mut own_tag = Vec::with_capacity(9);
        write_gateway_tag(&mut own_tag, host, at.leg, step.fork);
        let dialog = (step.status > 100 && step.status < 300).then(|| self.open_dialog(at, &own_tag, &message));
        if let Some(dialog) = dialog
            && step.status >= 200
        {
            let leg = self.leg(at);
            leg.dialogs[usize::from(dialog)].stage = leg.dialogs[usize::from(dialog)].stage.max(Stage::Answered);
            // Each fork that answers repeats its own 2xx.
            if leg.servers[0].status >= 200 && leg.servers[0].waits == Waits::Ack {
                let listener = leg.servers[0].listener;
                index = self.open_server(at, listener, Method::Invite, &message);
            }
        }
        let reliable =
            step.reliable && header(&request, b"Supported").is_some_and(|value| value.starts_with(b"100rel"));
        let session =
            self.leg(at).script.as_ref().and_then(|script| script.session).map(session_lines).unwrap_or_default();
        let lines: &[u8] = match step.status {
            101..200 if reliable => b"Require: 100rel\r\nRSeq: 7\r\n",
            401 => b"WWW-Authenticate: Digest realm=\"sim\"\r\n",
            407 => b"Proxy-Authenticate: Digest realm=\"sim\"\r\n",
            422 => b"Min-SE: 90\r\n",
            503 => b"Retry-After: 5\r\n",
            200..300 => &session,
            _ => b"",
        };
        let describes = match dialog {
            None => false,
            Some(_) if sdp::find(&request).is_some() => {
                let bare = step.status < 200 && self.random.chance(self.plan.offers.bare_permille);
                !bare
            }
            // An INVITE without an offer gets one in the first reliable response (RFC 3261 §13.2.1).
            Some(_) => (reliable || step.status >= 200) && !self.leg(at).offered,
        };
        let body = describes.then(|| self.describe_fork(at, step.fork));
        self.leg(at).offered |= describes && step.status < 200;
        let contact = matches!(step.status, 101..400).then_some(party);
        let response = Response {
            status: step.status,
            to_tag: if step.status == 100 { b"" } else { &own_tag },
            lines,
            contact,
            body,
        };
        self.leg(at).servers[usize::from(index)].dialog = dialog;
        self.respond(at, index, &response, &message, step.lost);
        self.leg(at).servers[0].request = request;
    }

    fn open_dialog(&mut self, at: LegIndex, own_tag: &[u8], message: &Message<'_>) -> u8 {
        let leg = self.leg(at);
        let other = tag(message.from).unwrap_or_default();
        if let Some(known) = leg.find_dialog(own_tag, other) {
            return known as u8;
        }
        let local = [message.to, b";tag=", own_tag].concat();
        let dialog = new_dialog(leg.party, local, message, false);
        leg.dialogs.push(dialog);
        leg.dialogs.len() as u8 - 1
    }

    fn on_cancel(&mut self, at: LegIndex, listener: u8, message: &Message<'_>) {
        let leg = self.leg(at);
        let branch = branch_text(message.vias()[0]);
        let again = leg.servers.iter().position(|server| server.method == Method::Cancel && server.branch == branch);
        if let Some(index) = again {
            return self.answer_again(at, index);
        }
        let pending = leg.servers[0].status < 200;
        let Some(script) = leg.script.as_mut() else { return };
        let how = script.on_cancel;
        if matches!(how, OnCancel::Obey | OnCancel::Answer) && pending {
            script.steps = [None; 6];
        }
        if how == OnCancel::Ignore {
            return;
        }
        let index = self.open_server(at, listener, Method::Cancel, message);
        let status = if how == OnCancel::Deny { 481 } else { 200 };
        let response = Response { status, to_tag: b"cancelled", lines: b"", contact: None, body: None };
        self.respond(at, index, &response, message, false);
        if pending && how != OnCancel::Deny {
            let status = if how == OnCancel::Obey { 487 } else { 200 };
            self.answer_invite(at, Step { after_us: 0, status, fork: 0, reliable: false, lost: false });
        }
    }

    /// The ACK came: the gateway's part of the talk begins.
    pub(super) fn on_callee_confirmed(&mut self, at: LegIndex, dialog: u8) {
        let script = &self.calls[at.call as usize].script;
        let (hang_up, talk_us, asks) = (script.hang_up, script.talk_us, script.asks);
        if at.leg == 0 {
            return;
        }
        for (by_caller, after, method) in asks.into_iter().flatten() {
            if !by_caller {
                self.act(at, after, Act::Ask { dialog, method });
            }
        }
        if matches!(hang_up, HangUp::Callee | HangUp::Both) {
            self.act(at, talk_us, Act::Ask { dialog, method: Method::Bye });
        }
    }
}

/// What a 2xx says of its session timer (RFC 4028 §9).
fn session_lines((seconds, by_caller): (u32, bool)) -> Vec<u8> {
    let refresher = if by_caller { "uac\r\nRequire: timer" } else { "uas" };
    format!("Session-Expires: {seconds};refresher={refresher}\r\n").into_bytes()
}
