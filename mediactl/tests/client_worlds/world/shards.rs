//! The shards: calls that ask, and what must hold of each answer.

use super::super::call::{Call, Wanted};
use super::super::machine::rewritten;
use super::*;

impl World {
    pub(super) fn new_call(&mut self) -> Checked {
        if self.healed {
            return Ok(());
        }
        let pause = self.draw.below(2 * self.plan.pause);
        self.after(pause, Event::NewCall);
        if self.client.is_none() {
            return Ok(());
        }
        self.next_call += 1;
        // A Call-ID may pass more than once.
        let (hash, pass) = (Draw::new(self.next_call / 4).next(), self.next_call % 4);
        let call = MediaCall { call_hash: hash, pass: pass as u32 };
        let shard = hash % self.plan.shards;
        let set = self.draw.below(3) as u32;
        self.calls.insert(call, Call::new(call, shard as u16, set));
        self.live.insert(self.name(call));
        self.ask_next(call)
    }

    pub(super) fn ask_next(&mut self, call: MediaCall) -> Checked {
        let Some(known) = self.calls.get_mut(&call).filter(|known| !known.over) else { return Ok(()) };
        let wanted = known.next(&mut self.draw);
        if wanted.is_empty() {
            self.end(call);
        }
        let nobody_waits = wanted.iter().all(|wish| !wish.waits);
        for wish in wanted {
            self.ask(call, &wish)?;
        }
        if nobody_waits || self.draw.chance(30) {
            // It goes on without waiting, and may end while something is asked.
            let pause = self.draw.below(3 * SECOND);
            self.after(pause, Event::Step(call));
        }
        Ok(())
    }

    pub(super) fn end(&mut self, call: MediaCall) {
        let Some(known) = self.calls.get_mut(&call).filter(|known| !known.over) else { return };
        known.over = true;
        let way = self.draw.below(50 * MS);
        self.after(way, Event::End(call));
    }

    pub(super) fn ask(&mut self, call: MediaCall, wish: &Wanted) -> Checked {
        let Some(known) = self.calls.get(&call) else { return Ok(()) };
        self.exchange += 1;
        let number = self.exchange;
        let sdp = format!("x{number}");
        let exchange = if wish.waits { ExchangeId { index: number, generation: 1 } } else { ExchangeId::NOBODY };
        let (shard, set, node, attempt) = (known.shard, known.set, known.node, known.attempt);
        let (from, verb) = (wish.from.clone(), wish.verb);
        if wish.waits {
            let until = self.now + 2 * DEADLINE + self.plan.late + MS;
            self.deadlines.insert((until, number));
            let pending = Pending { shard, call, verb, set, node, from, sdp: sdp.clone(), until };
            self.pending.insert(number, pending);
        }
        log!(self, "ask {number}: {verb:?} {} {}>{} of node {node}", self.name(call), wish.from, wish.to);
        let request = MediaRequest {
            exchange,
            call,
            started_us: 0,
            since_us: 0,
            set,
            node,
            verb,
            attempt,
            from_tag: wish.from.as_bytes(),
            to_tag: wish.to.as_bytes(),
            flags: b"",
            sdp: if matches!(verb, Verb::Offer | Verb::Answer) { sdp.as_bytes() } else { b"" },
        };
        self.client(|client, now, out| client.submit(now, shard, &request, out))
    }

    pub(super) fn heard(
        &mut self,
        shard: u16,
        exchange: ExchangeId,
        outcome: MediaOutcome,
        node: u32,
        sdp: &[u8],
    ) -> Checked {
        let number = exchange.index;
        let Some(pending) = self.pending.remove(&number) else {
            return Err(format!("exchange {number} waits for nothing, and is answered"));
        };
        self.deadlines.remove(&(pending.until, number));
        log!(self, "  answer to {number}: {outcome:?} by node {node}, {} bytes", sdp.len());
        if (exchange.generation, shard) != (1, pending.shard) {
            return Err(format!("exchange {number} is answered to shard {shard}"));
        }
        let exchanged = matches!(pending.verb, Verb::Offer | Verb::Answer) && outcome == MediaOutcome::Done;
        if exchanged {
            let machine = self.all[node as usize - 1];
            let verb = if pending.verb == Verb::Offer { "offer" } else { "answer" };
            let made = rewritten(machine, &self.name(pending.call), verb, &pending.from, &pending.sdp);
            if sdp != made.as_bytes() {
                return Err(format!("exchange {number} got {}, not {made}", sdp.escape_ascii()));
            }
        } else if !sdp.is_empty() {
            return Err(format!("exchange {number} got an SDP with {outcome:?}"));
        }
        self.goes_on(pending.call, pending.verb, outcome, node);
        Ok(())
    }

    pub(super) fn goes_on(&mut self, call: MediaCall, verb: Verb, outcome: MediaOutcome, node: u32) {
        let Some(known) = self.calls.get_mut(&call).filter(|known| !known.over) else { return };
        known.heard(verb, outcome, node);
        let done = matches!(outcome, MediaOutcome::Done | MediaOutcome::Silent);
        if !done && self.draw.chance(500) {
            return self.end(call);
        }
        let pause = self.draw.pick(&[1, 200 * MS, 5 * SECOND, 20 * SECOND]);
        let pause = self.draw.below(pause);
        self.after(pause, Event::Step(call));
    }
}
