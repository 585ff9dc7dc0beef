//! Datagrams on their way, what becomes of them there, and what must hold of each that leaves.

use super::super::machine::{State, text};
use super::*;

impl World {
    pub(super) fn way(&mut self) -> u64 {
        self.draw.between(100, 100 + self.plan.way)
    }

    /// How often a datagram arrives.
    pub(super) fn copies(&mut self) -> usize {
        if self.healed {
            return 1;
        }
        usize::from(!self.draw.chance(self.plan.loss)) + usize::from(self.draw.chance(self.plan.doubled))
    }

    pub(super) fn sent(&mut self, node: u32, socket: u8, to: SocketAddr, bytes: &[u8]) -> Checked {
        let machine = machine_at(to);
        if self.all[node as usize - 1] != machine {
            return Err(format!("node {node} is not at {to}"));
        }
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or("no cookie")?;
        let first = !self.cookies.contains_key(&bytes[..blank]);
        let before = self.cookies.entry(bytes[..blank].to_vec()).or_insert_with(|| bytes.to_vec());
        if before != bytes {
            return Err(format!("a cookie is one question: {}", bytes.escape_ascii()));
        }
        let command = Value::parse(&bytes[blank + 1..]).ok().and_then(Value::dictionary).ok_or("no command")?;
        let session = text(command, "call-id");
        if !session.is_empty() {
            log!(self, "  to {node} by {socket}: {}", bytes.escape_ascii());
        }
        match text(command, "command") {
            "offer" => self.offered(node, to, session, text(command, "sdp"), first)?,
            "delete" if text(command, "to-tag").is_empty() => {
                if self.live.contains(session) {
                    return Err(format!("{session} is deleted, and its call goes on"));
                }
                if self.foreign.iter().any(|foreign| foreign == session) {
                    return Err(format!("{session} is another's"));
                }
            }
            _ => {}
        }
        for _ in 0..self.copies() {
            let way = self.way();
            self.after(way, Event::ToMachine(machine, node, socket, bytes.to_vec()));
        }
        Ok(())
    }

    pub(super) fn offered(&self, node: u32, to: SocketAddr, session: &str, sdp: &str, first: bool) -> Checked {
        let id = SessionId::parse(session.as_bytes()).ok_or("a session that is not ours")?;
        if !self.client.as_ref().is_some_and(|client| client.sessions().has(to, id)) {
            return Err(format!("{session} is offered to {to} without a record"));
        }
        let asked = sdp.strip_prefix('x').and_then(|number| number.parse().ok());
        let asked = asked.and_then(|exchange: u32| self.pending.get(&exchange));
        if let Some(pending) = asked.filter(|pending| first && pending.node == 0) {
            let row = self.rows.iter().find(|row| row.place == node);
            if !row.is_some_and(|row| row.enabled && (pending.set == 0 || row.set == pending.set)) {
                return Err(format!("node {node} takes no new call of set {}", pending.set));
            }
        }
        Ok(())
    }

    pub(super) fn arrives(&mut self, name: usize, node: u32, socket: u8, bytes: Vec<u8>) {
        let machine = &mut self.machines[name];
        if machine.cut.0 {
            return;
        }
        match machine.state {
            State::Up => self.serve(name, socket, &bytes),
            State::Frozen if machine.waiting.len() < 200 => machine.waiting.push((socket, bytes)),
            State::Frozen => {}
            State::Down if self.draw.chance(700) => {
                let way = self.way();
                self.after(way, Event::Unreachable(node));
            }
            State::Down => {}
        }
    }

    pub(super) fn serve(&mut self, name: usize, socket: u8, bytes: &[u8]) {
        let Some(said) = self.machines[name].answer(self.now, bytes) else { return };
        if said.len() < 500 && bytes.windows(7).any(|part| part == b"call-id") {
            log!(self, "  machine {name}: {}", said.escape_ascii());
        }
        if self.machines[name].cut.1 {
            return;
        }
        for _ in 0..self.copies() {
            let mut said = said.clone();
            if !self.healed && self.draw.chance(self.plan.cut_short) {
                said.truncate(self.draw.below(said.len() as u64) as usize);
            }
            let way = self.way();
            self.after(way, Event::ToClient(socket, name, said));
        }
        if !self.healed && self.draw.chance(self.plan.forged) {
            self.forge(name, socket, &said);
        }
    }

    /// What nobody said: with the right cookie from elsewhere, or without one.
    pub(super) fn forge(&mut self, name: usize, socket: u8, said: &[u8]) {
        let blank = said.iter().position(|byte| *byte == b' ').unwrap_or(0);
        let forged = b" d3:sdp6:forged6:result2:oke";
        let way = self.draw.below(1 + self.plan.way);
        let (socket, from, bytes) = match self.draw.below(6) {
            0 => (socket, (name + 1) % MACHINES, [&said[..blank], forged].concat()),
            1 => (1 - socket, name, [&said[..blank], forged].concat()),
            2 => (socket, name, [b"7-0000000000000001-ffffffff", &forged[..]].concat()),
            3 => (socket, name, [b"8-0000000000000001-1", &forged[..]].concat()),
            4 => (socket, name, [&said[..blank], b" d3:sdp6:forgedi1ee"].concat()),
            _ => (socket, name, said[blank..].to_vec()),
        };
        self.after(way, Event::ToClient(socket, from, bytes));
    }

    pub(super) fn list(&self, machine: usize) -> Option<Vec<u8>> {
        let machine = &self.machines[machine];
        if machine.state != State::Up || !machine.listed || machine.cut != (false, false) {
            return None;
        }
        let ids: String = machine.sessions.iter().map(|id| format!("{}:{id}", id.len())).collect();
        Some(format!("d5:callsl{ids}e6:result2:oke").into_bytes())
    }
}
