//! A world: one clock, one queue of what happens next, and what is checked when it does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use corelane_core::bus::{ExchangeId, MediaCall, MediaOutcome, MediaReply, MediaRequest, Verb};
use corelane_core::{Instant, Now, WallTime};
use corelane_mediactl::rtpengine::bencode::Value;
use corelane_mediactl::rtpengine::client::{Client, ClientSettings, Outputs};
use corelane_mediactl::rtpengine::counter::Counter;
use corelane_mediactl::rtpengine::id::{Origin, SessionId};
use corelane_mediactl::rtpengine::node::{Admin, NodeConfig};
use corelane_mediactl::rtpengine::sessions::{RECORD, Records};

use super::call::Call;
use super::draw::Draw;
use super::machine::Machine;
use super::plan::{Plan, Trouble};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const NODE_ID: u32 = 7;
const DEADLINE: u64 = 2 * SECOND;
const LIST_INTERVAL: u64 = 20 * SECOND;
/// Machines that a row may mean.
const MACHINES: usize = 6;
/// What is long enough for every debt, once all is healed.
const QUIET: u64 = 240 * SECOND;

/// The bytes of a table. They outlive the client that had them, as a mapped file does.
struct Table {
    bytes: Vec<u8>,
    left: Rc<RefCell<Vec<u8>>>,
}

impl Records for Table {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.left.replace(std::mem::take(&mut self.bytes));
    }
}

/// What left the client in one step. A fuse ends the step with a panic, before or behind what leaves then.
#[derive(Default)]
struct Outbox {
    sent: Vec<(u32, u8, SocketAddr, Vec<u8>)>,
    replies: Vec<(u16, ExchangeId, MediaOutcome, u32, Vec<u8>)>,
    fuse: Option<u64>,
    blown: bool,
}

impl Outbox {
    fn burn(&mut self) {
        match &mut self.fuse {
            Some(0) => {
                self.blown = true;
                // No hook: it is on purpose.
                resume_unwind(Box::new("on purpose"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }
}

impl Outputs for Outbox {
    fn send(&mut self, node: u32, socket: u8, to: SocketAddr, bytes: &[u8]) {
        self.burn();
        self.sent.push((node, socket, to, bytes.to_vec()));
        self.burn();
    }

    fn reply(&mut self, shard: u16, reply: MediaReply<'_>) {
        self.burn();
        self.replies.push((shard, reply.exchange, reply.outcome, reply.node, reply.sdp.to_vec()));
        self.burn();
    }
}

#[derive(Debug)]
enum Event {
    NewCall,
    Step(MediaCall),
    End(MediaCall),
    ToMachine(usize, u32, u8, Vec<u8>),
    ToClient(u8, usize, Vec<u8>),
    Unreachable(u32),
    List(u32, usize),
    Listed(u32, Option<Vec<u8>>),
    Trouble,
    Mend(usize),
    Begin,
    Forget,
}

/// A question of a shard that waits for its answer.
struct Pending {
    shard: u16,
    call: MediaCall,
    verb: Verb,
    set: u32,
    node: u32,
    from: String,
    sdp: String,
    until: u64,
}

/// A row of the table of media nodes.
struct Row {
    place: u32,
    set: u32,
    weight: u16,
    max: u32,
    enabled: bool,
}

pub(crate) struct World {
    draw: Draw,
    plan: Plan,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    client: Option<Client<Table>>,
    table: Rc<RefCell<Vec<u8>>>,
    boot: u64,
    machines: Vec<Machine>,
    rows: Vec<Row>,
    /// Number and machine of every place, and of those that are configured.
    all: Vec<usize>,
    places: Vec<u32>,
    calls: BTreeMap<MediaCall, Call>,
    /// Names of the sessions of calls that go on as the client knows it.
    live: HashSet<String>,
    pending: BTreeMap<u32, Pending>,
    deadlines: BTreeSet<(u64, u32)>,
    exchange: u32,
    cookies: HashMap<Vec<u8>, Vec<u8>>,
    foreign: Vec<String>,
    fuse: Option<u64>,
    panics: u64,
    /// Sessions that no record knew, of all clients.
    orphans: u64,
    /// When the client wants its timer, and how late it is told.
    fires: (u64, u64),
    next_call: u64,
    healed: bool,
    log: Option<Vec<String>>,
}

type Checked = Result<(), String>;

fn address(machine: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, machine as u8 + 1], 2223))
}

fn machine_at(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { unreachable!("a world has IPv4") };
    usize::from(address.ip().octets()[3]) - 1
}

/// Formats a line only where somebody reads it.
macro_rules! log {
    ($world:expr, $($what:tt)*) => {
        if $world.log.is_some() {
            let line = format!($($what)*);
            $world.note(&line);
        }
    };
}

mod operator;
mod shards;
mod wire;

impl World {
    pub(crate) fn new(seed: u64, logs: bool) -> World {
        let mut draw = Draw::new(seed);
        let plan = Plan::new(&mut draw);
        let foreign: Vec<String> = vec![
            "8-0000000000000001-0000000000000005-00000001".to_owned(),
            "7-00000000000f0f0f-0000000000000005-00000001".to_owned(),
            "07-0000000000000001-0000000000000005-00000001".to_owned(),
            "someone@example.com".to_owned(),
        ];
        let mut machines: Vec<Machine> = (0..MACHINES).map(|name| Machine::new(name, plan.listed)).collect();
        machines.iter_mut().for_each(|machine| machine.sessions.extend(foreign.iter().cloned()));
        let table = Rc::new(RefCell::new(vec![0; plan.records * RECORD]));
        let mut world = World {
            draw,
            now: SECOND,
            queue: BTreeMap::new(),
            sequence: 0,
            client: None,
            table,
            boot: 0,
            machines,
            rows: Vec::new(),
            all: Vec::new(),
            places: Vec::new(),
            calls: BTreeMap::new(),
            live: HashSet::new(),
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            exchange: 0,
            cookies: HashMap::new(),
            foreign,
            fuse: None,
            panics: 0,
            orphans: 0,
            fires: (0, 0),
            next_call: 0,
            healed: false,
            log: logs.then(Vec::new),
            plan,
        };
        let plan = format!("{:?}", world.plan);
        log!(world, "{plan}");
        for machine in 0..world.plan.nodes {
            let place = world.place_for(machine);
            let row = Row {
                place,
                set: 1 + world.draw.below(2) as u32,
                weight: world.draw.below(4) as u16,
                max: if world.draw.chance(150) { 20 } else { 1_000 },
                enabled: true,
            };
            world.rows.push(row);
        }
        world.after(0, Event::Begin);
        world.after(SECOND, Event::NewCall);
        world.after(SECOND, Event::Forget);
        if !world.plan.troubles.is_empty() {
            world.after(5 * SECOND, Event::Trouble);
        }
        world
    }

    pub(crate) fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    fn note(&mut self, line: &str) {
        let now = self.now;
        if let Some(log) = &mut self.log {
            log.push(format!("{:>11.6} {line}", now as f64 / 1e6));
        }
    }

    fn after(&mut self, wait: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }

    /// Lives; how many seconds.
    ///
    /// # Errors
    /// What did not hold.
    pub(crate) fn run(&mut self) -> Result<u64, String> {
        let load_ends = self.now + self.plan.load;
        while self.step(load_ends)? {}
        self.heal()?;
        let quiet_ends = self.now + QUIET;
        while self.step(quiet_ends)? {}
        // Between two pings there are moments without any, where ways are short.
        (self.plan.way, self.plan.late) = (0, 0);
        let settled = self.now + 4 * SECOND;
        while self.step(settled)? {}
        for _ in 0..10_000 {
            let on_the_way =
                self.queue.values().any(|event| matches!(event, Event::ToMachine(..) | Event::ToClient(..)));
            if !on_the_way && self.counter(Counter::InFlight) == 0 {
                break;
            }
            let soon = self.now + MS;
            while self.step(soon)? {}
        }
        self.at_the_end()?;
        Ok(self.now / SECOND)
    }

    /// What comes next, if it comes until then.
    fn step(&mut self, until: u64) -> Result<bool, String> {
        let queued = self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let timer = self.client.as_ref().map_or(u64::MAX, |client| client.next_timeout().as_micros());
        if self.fires.0 != timer {
            // One draw for each time that it is set to.
            self.fires = (timer, self.draw.below(1 + self.plan.late));
        }
        let timer = timer.saturating_add(self.fires.1).max(self.now);
        let next = queued.min(timer);
        if next > until {
            self.now = until;
            return Ok(false);
        }
        self.now = next;
        if let Some((until, exchange)) = self.deadlines.first()
            && *until < self.now
        {
            return Err(format!("exchange {exchange} was not answered until {until}"));
        }
        if timer <= queued {
            let panics = self.panics;
            self.client(|client, now, out| client.on_timeout(now, out))?;
            if self.panics == panics
                && self.client.as_ref().is_some_and(|client| client.next_timeout().as_micros() <= self.now)
            {
                return Err("a timer that is due stays due".to_owned());
            }
        } else if let Some((_, event)) = self.queue.pop_first() {
            self.happen(event)?;
        }
        Ok(true)
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::NewCall => self.new_call(),
            Event::Step(call) => self.ask_next(call),
            Event::End(call) => {
                log!(self, "end {call:?}");
                self.live.remove(&self.name(call));
                self.client(|client, now, out| client.ended(now, call, out))
            }
            Event::ToMachine(machine, node, socket, bytes) => {
                self.arrives(machine, node, socket, bytes);
                Ok(())
            }
            Event::ToClient(socket, machine, bytes) => {
                self.client(|client, now, out| client.on_datagram(now, socket, address(machine), &bytes, out))
            }
            Event::Unreachable(node) => self.client(|client, now, out| client.on_unreachable(now, node, out)),
            Event::List(node, machine) => {
                if self.places.contains(&node) {
                    let list = self.list(machine);
                    let takes = self.draw.below(2 * SECOND);
                    self.after(takes, Event::Listed(node, list));
                    self.after(LIST_INTERVAL, Event::List(node, machine));
                }
                Ok(())
            }
            Event::Listed(node, list) => {
                self.client(|client, now, out| client.on_list(now, node, list.as_deref(), out))
            }
            Event::Trouble => self.trouble(),
            Event::Mend(machine) => {
                self.mend(machine);
                Ok(())
            }
            Event::Begin => self.begin(),
            Event::Forget => self.forget(),
        }
    }

    fn name(&self, call: MediaCall) -> String {
        SessionId { origin: Origin { node: NODE_ID, boot: self.boot }, call }.to_string()
    }

    // ---- the client

    fn make(&mut self) -> Client<Table> {
        let settings = ClientSettings {
            origin: Origin { node: NODE_ID, boot: self.boot },
            sockets: 2,
            deadline: Duration::from_micros(DEADLINE),
            orphan_age: Duration::from_secs(60),
            debt_age: Duration::from_secs(3_900),
        };
        let now = Now { monotonic: Instant::from_micros(self.now), wall: WallTime(86_400 * SECOND + self.now) };
        let table = Table { bytes: self.table.take(), left: Rc::clone(&self.table) };
        Client::new(now, settings, Vec::new(), table).with_boots(&(1..self.boot).collect::<Vec<u64>>())
    }

    /// Another process.
    fn begin(&mut self) -> Checked {
        self.boot += 1;
        log!(self, "boot {}", self.boot);
        let client = self.make();
        self.go_on_with(client)
    }

    fn go_on_with(&mut self, client: Client<Table>) -> Checked {
        // Addresses that only an earlier start knew.
        let held: Vec<usize> = client.sessions().counts().map(|(address, _)| machine_at(address)).collect();
        for machine in held {
            if !self.places.iter().any(|place| self.all[*place as usize - 1] == machine) {
                self.place_for(machine);
            }
        }
        self.client = Some(client);
        self.configure()
    }

    fn kill(&mut self) {
        log!(self, "kill");
        self.count_orphans();
        self.client = None;
        self.calls.clear();
        self.live.clear();
        self.pending.clear();
        self.deadlines.clear();
        self.fuse = None;
        let gap = self.draw.between(SECOND, 4 * SECOND);
        self.after(gap, Event::Begin);
    }

    fn on_panic(&mut self) -> Checked {
        log!(self, "panic");
        self.panics += 1;
        self.count_orphans();
        let Some(mut ended) = self.client.take() else { return Ok(()) };
        let remains = ended.remains();
        drop(ended);
        let mut client = self.make();
        client.take_up(remains);
        // The shards have timers of their own.
        for pending in std::mem::take(&mut self.pending).into_values() {
            self.goes_on(pending.call, pending.verb, MediaOutcome::Failed, 0);
        }
        self.deadlines.clear();
        self.go_on_with(client)
    }

    /// One call of the client, and what comes of it.
    fn client(&mut self, what: impl FnOnce(&mut Client<Table>, Instant, &mut Outbox)) -> Checked {
        let now = Instant::from_micros(self.now);
        let Some(client) = &mut self.client else { return Ok(()) };
        let mut out = Outbox { fuse: self.fuse.take(), ..Outbox::default() };
        let panicked = catch_unwind(AssertUnwindSafe(|| what(client, now, &mut out))).is_err();
        if panicked && !out.blown {
            return Err("the client panicked".to_owned());
        }
        for (node, socket, to, bytes) in std::mem::take(&mut out.sent) {
            self.sent(node, socket, to, &bytes)?;
        }
        for (shard, exchange, outcome, node, sdp) in std::mem::take(&mut out.replies) {
            self.heard(shard, exchange, outcome, node, &sdp)?;
        }
        if panicked {
            return self.on_panic();
        }
        self.fuse = out.fuse;
        Ok(())
    }

    fn counter(&mut self, counter: Counter) -> u64 {
        self.client.as_mut().map_or(0, |client| client.counters().value(counter))
    }

    fn count_orphans(&mut self) {
        self.orphans += self.counter(Counter::OrphansFound);
    }

    // ---- the end

    /// The load is over, and nothing is broken any more.
    fn heal(&mut self) -> Checked {
        log!(self, "healed");
        self.healed = true;
        self.fuse = None;
        for machine in 0..MACHINES {
            self.mend(machine);
            self.machines[machine].listed = true;
        }
        let calls: Vec<MediaCall> = self.calls.keys().copied().collect();
        calls.into_iter().for_each(|call| self.end(call));
        Ok(())
    }

    fn at_the_end(&mut self) -> Checked {
        if let Some(number) = self.pending.keys().next() {
            return Err(format!("exchange {number} is never answered"));
        }
        for machine in &self.machines {
            let left = machine.sessions.iter().find(|id| !self.foreign.contains(id));
            if let Some(left) = left {
                return Err(format!("machine {} has {left} still", machine.name));
            }
        }
        // Where no node forgot anything, what a node has was always in the table.
        self.count_orphans();
        let orphans = self.orphans;
        if orphans != 0 && !self.plan.troubles.contains(&Trouble::Crash) {
            return Err(format!("{orphans} sessions were in no record"));
        }
        for counter in [
            Counter::InFlight,
            Counter::SdpKept,
            Counter::SessionsHeld,
            Counter::SessionsDue,
            Counter::SessionsStranded,
            Counter::DeletesAbandoned,
            Counter::RecordsDamaged,
        ] {
            let value = self.counter(counter);
            if value != 0 {
                return Err(format!("{counter:?} is {value} at the end"));
            }
        }
        Ok(())
    }
}
