//! Transactions and dialogs of an endpoint, the same on both sides of a call: asking, answering, repeating, acknowledging
//! (RFC 3261 §12, §13, §17, as a peer of the engine lives them).

use super::leg::{Client, Dialog, Leg, Progress, RequestHead, Server, Stage, Waits};
use super::network::{Act, Event, LegIndex, Party, SECOND};
use super::sdp::{self, Sdp};
use super::wire::{Branch, Method, Response, branch_text, leading_number, tag};
use super::world::World;
use crate::wire::{Message, Start};

/// RFC 3261 T1 of all endpoints.
pub(super) const T1: u64 = SECOND / 2;
/// RFC 3261 T2.
pub(super) const T2: u64 = 4 * SECOND;
/// 64 × T1: Timers B, F, H, and how long a 2xx is repeated.
pub(super) const GIVE_UP: u64 = 64 * T1;

/// Serials from here on are of ACKs, which get no response.
pub(super) const ACK_SERIAL: u32 = 0x8000_0000;

impl World<'_> {
    pub(super) fn leg(&mut self, at: LegIndex) -> &mut Leg {
        &mut self.calls[at.call as usize].legs[usize::from(at.leg)]
    }

    /// Whether a leg still lives: its host is up and remembers it.
    pub(super) fn alive(&self, at: LegIndex) -> bool {
        let leg = &self.calls[at.call as usize].legs[usize::from(at.leg)];
        let host = self.host(leg.party);
        !leg.vanished && host.life == leg.life && host.down.is_none()
    }

    /// Opens a client transaction with a request that is written already, and sends it.
    pub(super) fn open_client(
        &mut self,
        at: LegIndex,
        method: Method,
        cseq: u32,
        listener: u8,
        dialog: Option<u8>,
        bytes: Vec<u8>,
    ) {
        let now = self.now_us;
        let leg = self.leg(at);
        let index = leg.clients.len() as u16;
        let offers = sdp::find(&bytes).is_some();
        self.send(at, listener, &bytes);
        self.leg(at).clients.push(Client {
            method,
            cseq,
            bytes,
            listener,
            progress: Progress::Trying,
            interval_us: T1,
            give_up_at: now + GIVE_UP,
            dialog,
            offers,
            reached: false,
            passed_on: false,
            answered: false,
            trying_us: 0,
            final_status: 0,
            retry_after: false,
            last_status: 0,
        });
        self.act(at, T1, Act::RepeatRequest(index));
    }

    /// Schedules what a leg does later.
    pub(super) fn act(&mut self, at: LegIndex, after_us: u64, act: Act) {
        self.network.schedule(self.now_us + after_us, Event::Act { at, act });
    }

    /// Sends a request inside a dialog, a re-INVITE or UPDATE with an offer or without one.
    pub(super) fn ask(&mut self, at: LegIndex, dialog: u8, method: Method) {
        let offers = match method {
            Method::Invite => !self.random.chance(self.plan.offers.delayed_permille),
            Method::Update => self.random.chance(self.plan.offers.update_permille),
            _ => false,
        };
        let sdp = offers.then(|| self.describe(at));
        self.ask_with(at, dialog, method, b"", sdp);
    }

    /// Sends a request inside a dialog.
    pub(super) fn ask_with(&mut self, at: LegIndex, dialog: u8, method: Method, lines: &[u8], sdp: Option<Sdp>) {
        let seed = self.seed;
        let leg = self.leg(at);
        let serial = leg.clients.len() as u32;
        let party = leg.party;
        let Some(found) = leg.dialogs.get_mut(usize::from(dialog)) else { return };
        if found.stage == Stage::Over {
            return;
        }
        found.cseq += 1;
        let cseq = found.cseq;
        let head = RequestHead { party, branch: Branch { call: at.call, leg: at.leg, serial }, seed, cseq, sdp };
        let mut bytes = Vec::with_capacity(700);
        found.request(method, &head, lines).write(&mut bytes);
        let listener = listener_of(&found.route);
        if method == Method::Bye {
            found.stage = Stage::Over;
            self.calls[at.call as usize].closing = true;
        }
        self.open_client(at, method, cseq, listener, Some(dialog), bytes);
    }

    /// Timers A and E, B and F of a request.
    pub(super) fn repeat_request(&mut self, at: LegIndex, index: u16) {
        let now = self.now_us;
        let client = &mut self.leg(at).clients[usize::from(index)];
        let waits = match client.progress {
            Progress::Trying => true,
            Progress::Proceeding => client.method != Method::Invite,
            Progress::Completed | Progress::TimedOut => false,
        };
        if !waits {
            return;
        }
        if now >= client.give_up_at {
            client.progress = Progress::TimedOut;
            client.bytes = Vec::new();
            // RFC 3261 §12.2.1.2: who gets no answer in a dialog gives it up.
            if let Some(dialog) = client.dialog {
                self.calls[at.call as usize].closing = true;
                self.ask(at, dialog, Method::Bye);
            }
            return;
        }
        client.interval_us *= 2;
        if client.method != Method::Invite {
            client.interval_us = client.interval_us.min(T2);
        }
        let (interval, listener) = (client.interval_us.min(client.give_up_at - now), client.listener);
        let bytes = std::mem::take(&mut client.bytes);
        self.send(at, listener, &bytes);
        self.leg(at).clients[usize::from(index)].bytes = bytes;
        self.act(at, interval, Act::RepeatRequest(index));
    }

    /// A 2xx, a refused INVITE or a reliable provisional response that nobody acknowledged yet.
    pub(super) fn repeat_response(&mut self, at: LegIndex, index: u16) {
        let now = self.now_us;
        let server = &mut self.leg(at).servers[usize::from(index)];
        if server.waits == Waits::Nothing || server.repeat_at != now {
            return;
        }
        if now >= server.give_up_at {
            server.waits = Waits::Nothing;
            let (status, dialog) = (server.status, server.dialog);
            if let Some(dialog) = dialog.filter(|_| (200..300).contains(&status)) {
                // RFC 3261 §13.3.1.4: no ACK came.
                self.ask(at, dialog, Method::Bye);
            }
            return;
        }
        let listener = server.listener;
        let bytes = std::mem::take(&mut server.response);
        self.send(at, listener, &bytes);
        let server = &mut self.leg(at).servers[usize::from(index)];
        server.response = bytes;
        server.interval_us = (server.interval_us * 2).min(T2);
        server.repeat_at = (now + server.interval_us).min(server.give_up_at.max(now + 1));
        let repeat_at = server.repeat_at;
        self.network.schedule(repeat_at, Event::Act { at, act: Act::RepeatResponse(index) });
    }

    /// Sends a response on a server transaction; `lost` leaves it to the repetition.
    pub(super) fn respond(
        &mut self,
        at: LegIndex,
        index: u16,
        response: &Response<'_>,
        request: &Message<'_>,
        lost: bool,
    ) {
        let now = self.now_us;
        let mut bytes = Vec::with_capacity(700);
        response.write(&mut bytes, request);
        let order = self.leg(at).servers[usize::from(index)].order;
        self.mark(order, &mut bytes);
        let server = &mut self.leg(at).servers[usize::from(index)];
        let listener = server.listener;
        server.status = response.status;
        server.waits = match (server.method, response.status) {
            (Method::Invite, 200..) => Waits::Ack,
            (Method::Invite, 101..) if !response.lines.is_empty() => Waits::Prack,
            _ => Waits::Nothing,
        };
        if server.waits != Waits::Nothing {
            server.interval_us = T1;
            server.repeat_at = now + T1;
            server.give_up_at = now + GIVE_UP;
            self.act(at, T1, Act::RepeatResponse(index));
        }
        if !lost {
            self.send(at, listener, &bytes);
        }
        self.leg(at).servers[usize::from(index)].response = bytes;
    }

    /// A request that came again gets what it got before.
    pub(super) fn answer_again(&mut self, at: LegIndex, index: usize) {
        let server = &mut self.leg(at).servers[index];
        if server.response.is_empty() {
            return;
        }
        let listener = server.listener;
        let bytes = std::mem::take(&mut server.response);
        self.send(at, listener, &bytes);
        self.leg(at).servers[index].response = bytes;
    }

    /// Remembers a request.
    pub(super) fn open_server(&mut self, at: LegIndex, listener: u8, method: Method, message: &Message<'_>) -> u16 {
        let branch = branch_text(message.vias()[0]);
        let order = self.order_of(at, branch);
        let leg = self.leg(at);
        leg.servers.push(Server {
            branch: branch.to_vec(),
            order,
            method,
            cseq: leading_number(message.cseq),
            listener,
            request: Vec::new(),
            response: Vec::new(),
            status: 0,
            waits: Waits::Nothing,
            interval_us: T1,
            repeat_at: 0,
            give_up_at: 0,
            dialog: None,
        });
        leg.servers.len() as u16 - 1
    }

    /// A request reaches a leg in whose dialog, or in one of whose transactions, it belongs. False where it belongs in none.
    pub(super) fn on_dialog_request(
        &mut self,
        at: LegIndex,
        listener: u8,
        method: Method,
        message: &Message<'_>,
    ) -> bool {
        let branch = branch_text(message.vias()[0]);
        let leg = self.leg(at);
        let of_transaction = leg.servers.iter().position(|server| server.branch == branch && server.method == method);
        if let Some(index) = of_transaction {
            self.answer_again(at, index);
            return true;
        }
        let (Some(own), Some(other)) = (tag(message.to), tag(message.from)) else { return false };
        let Some(dialog) = leg.find_dialog(own, other) else { return false };
        let cseq = leading_number(message.cseq);
        let found = &mut leg.dialogs[dialog];
        if method == Method::Ack {
            self.on_ack(at, dialog, cseq);
            return true;
        }
        let stale = cseq <= found.remote_cseq;
        found.remote_cseq = found.remote_cseq.max(cseq);
        let over = found.stage == Stage::Over;
        if method == Method::Bye {
            found.stage = Stage::Over;
            self.calls[at.call as usize].closing = true;
        }
        let glare = method == Method::Invite && self.asks_invite(at);
        let index = self.open_server(at, listener, method, message);
        let refuses = {
            let permille = self.plan.habits.refuses();
            self.random.chance(permille)
        };
        let status = match method {
            // RFC 3261 §12.2.2: out of order; §14.2: glare.
            _ if stale => 500,
            Method::Bye if refuses => self.random.pick(&[481, 500, 401, 0]),
            Method::Bye => 200,
            _ if over => 481,
            Method::Invite if glare => 491,
            Method::Prack => 200,
            _ if refuses => self.random.pick(&[488, 488, 491, 481, 408, 503, 0]),
            _ => 200,
        };
        if matches!(status, 481 | 408 | 0) {
            self.calls[at.call as usize].closing = true;
        }
        if method == Method::Prack {
            self.on_prack(at);
        }
        if status == 0 {
            return true;
        }
        let party = self.leg(at).party;
        let answers = match method {
            Method::Invite => true,
            Method::Update => sdp::find(message.bytes).is_some(),
            // One whose INVITE had no offer brings the answer itself.
            Method::Prack => sdp::find(message.bytes).is_some() && self.was_invited_with_offer(at),
            _ => false,
        };
        let body = (answers && status == 200).then(|| self.describe(at));
        self.leg(at).servers[usize::from(index)].dialog = Some(dialog as u8);
        let contact = (status == 200 && matches!(method, Method::Invite | Method::Update)).then_some(party);
        let response = Response { status, to_tag: b"", lines: b"", contact, body };
        self.respond(at, index, &response, message, false);
        true
    }

    fn asks_invite(&mut self, at: LegIndex) -> bool {
        self.leg(at).clients.iter().any(|client| {
            client.method == Method::Invite
                && client.dialog.is_some()
                && matches!(client.progress, Progress::Trying | Progress::Proceeding)
        })
    }

    /// A response reaches the leg that asked.
    pub(super) fn on_response(&mut self, at: LegIndex, serial: u32, message: &Message<'_>) {
        let Start::Response(status) = message.start else { return };
        let method = super::wire::cseq_method(message);
        let cseq = leading_number(message.cseq);
        let leg = self.leg(at);
        let matches = |(index, client): &(usize, &Client)| {
            client.method == method && client.cseq == cseq && (method == Method::Cancel || *index == serial as usize)
        };
        let Some((index, client)) = leg.clients.iter().enumerate().find(matches) else { return };
        let (before, dialog) = (client.progress, client.dialog);
        let client = &mut leg.clients[index];
        client.progress = match (before, status) {
            (Progress::TimedOut, _) => return,
            (Progress::Completed, _) => Progress::Completed,
            (_, 100..200) => Progress::Proceeding,
            _ => Progress::Completed,
        };
        let first_final = before != Progress::Completed && status >= 200;
        if first_final && method != Method::Invite {
            client.bytes = Vec::new();
        }
        match (method, dialog) {
            (Method::Invite, None) => self.on_invite_response(at, index, status, first_final, message),
            (Method::Invite, Some(dialog)) if status >= 200 => {
                if status < 300 {
                    self.acknowledge(at, dialog, cseq, message);
                } else {
                    self.acknowledge_refusal(at, index, message);
                }
            }
            _ => {}
        }
        // RFC 3261 §12.2.1.2: the dialog is over.
        if matches!(status, 481 | 408) && dialog.is_some() && method != Method::Bye {
            self.calls[at.call as usize].closing = true;
            if first_final && let Some(dialog) = dialog {
                self.ask(at, dialog, Method::Bye);
            }
        }
    }
}

/// The listener that a route set leads to.
pub(super) fn listener_of(route: &[u8]) -> u8 {
    u8::from(route.get(5..).is_some_and(|rest| rest.starts_with(super::network::LISTENERS[1].as_bytes())))
}

/// A dialog as one side learns it from a message of the other.
pub(super) fn new_dialog(party: Party, local: Vec<u8>, message: &Message<'_>, by_caller: bool) -> Dialog {
    let mut route = Vec::new();
    let remote = if by_caller {
        message.write_route_set(&mut route);
        message.to
    } else {
        for value in message.record_routes() {
            if !route.is_empty() {
                route.extend_from_slice(b", ");
            }
            route.extend_from_slice(value);
        }
        message.from
    };
    let target = if message.contact.is_empty() {
        format!("sip:peer@{}", party.text()).into_bytes()
    } else {
        message.contact.to_vec()
    };
    Dialog {
        local,
        remote: remote.to_vec(),
        route,
        target,
        cseq: if by_caller { leading_number(message.cseq) } else { 100 },
        remote_cseq: if by_caller { 0 } else { leading_number(message.cseq) },
        stage: Stage::Early,
        confirmed_at: 0,
        ack: Vec::new(),
        ack_cseq: 0,
        owes_answer: false,
    }
}
