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

use super::call::{Call, Wanted};
use super::draw::Draw;
use super::machine::{MOODS, Machine, Mood, State, rewritten, text};
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

macro_rules! log {
    ($world:expr, $($what:tt)*) => {
        if $world.log.is_some() {
            let line = format!($($what)*);
            $world.note(line);
        }
    };
}

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

    fn note(&mut self, line: String) {
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
            let on_the_way = self.queue.values().any(|event| matches!(event, Event::ToMachine(..) | Event::ToClient(..)));
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
            if self.panics == panics && self.client.as_ref().is_some_and(|client| client.next_timeout().as_micros() <= self.now) {
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

    // ---- the operator

    fn place_for(&mut self, machine: usize) -> u32 {
        let leaving = |place: &&u32| self.all[**place as usize - 1] == machine && !self.is_meant(**place);
        if let Some(place) = self.places.iter().find(leaving) {
            return *place;
        }
        self.all.push(machine);
        let place = self.all.len() as u32;
        self.places.push(place);
        self.after(LIST_INTERVAL, Event::List(place, machine));
        place
    }

    fn is_meant(&self, place: u32) -> bool {
        self.rows.iter().any(|row| row.place == place)
    }

    fn configure(&mut self) -> Checked {
        let config = |place: &u32| {
            let row = self.rows.iter().find(|row| row.place == *place);
            let admin = row.map_or(Admin::Leaving, |row| if row.enabled { Admin::Enabled } else { Admin::Draining });
            NodeConfig {
                id: *place,
                set: row.map_or(0, |row| row.set),
                address: address(self.all[*place as usize - 1]),
                weight: row.map_or(0, |row| row.weight),
                max_sessions: row.map_or(0, |row| row.max),
                admin,
            }
        };
        let configs: Vec<NodeConfig> = self.places.iter().map(config).collect();
        self.client(|client, now, _| client.configure(now, configs))
    }

    /// Places that no row means, and that nothing is held or owed at, go.
    fn forget(&mut self) -> Checked {
        self.after(SECOND, Event::Forget);
        let Some(client) = &self.client else { return Ok(()) };
        let held: Vec<usize> = client.sessions().counts().map(|(address, _)| machine_at(address)).collect();
        let before = self.places.len();
        let (all, rows) = (&self.all, &self.rows);
        let meant = |place: u32| rows.iter().any(|row| row.place == place);
        self.places.retain(|place| meant(*place) || held.contains(&all[*place as usize - 1]));
        if self.places.len() < before { self.configure() } else { Ok(()) }
    }

    fn trouble(&mut self) -> Checked {
        if self.healed {
            return Ok(());
        }
        let pause = self.draw.below(2 * self.plan.trouble_pause);
        self.after(pause, Event::Trouble);
        let trouble = self.draw.pick(&self.plan.troubles);
        let machine = self.draw.below(MACHINES as u64) as usize;
        let row = self.draw.below(self.rows.len() as u64) as usize;
        let lasts = self.draw.pick(&[50 * MS, 500 * MS, 3 * SECOND, 20 * SECOND]);
        let lasts = 1 + self.draw.below(lasts);
        log!(self, "trouble {trouble:?}: machine {machine}, row {row}, for {lasts} µs");
        let free = !self.rows.iter().any(|row| self.all[row.place as usize - 1] == machine);
        match trouble {
            Trouble::Freeze if self.machines[machine].state == State::Up => self.machines[machine].state = State::Frozen,
            Trouble::Crash => self.machines[machine].crash(),
            Trouble::Mood => self.machines[machine].mood = self.draw.pick(&MOODS),
            Trouble::Cut => self.machines[machine].cut = (self.draw.chance(500), self.draw.chance(500)),
            Trouble::Drain => self.rows[row].enabled ^= true,
            Trouble::Move if free => self.rows[row].place = self.place_for(machine),
            Trouble::Remove if self.rows.len() > 1 => drop(self.rows.remove(row)),
            Trouble::Add if free && self.rows.len() < 4 => {
                let place = self.place_for(machine);
                self.rows.push(Row { place, set: 1, weight: 1, max: 1_000, enabled: true });
            }
            Trouble::Kill if self.client.is_some() => {
                self.kill();
                return Ok(());
            }
            Trouble::Panic => self.fuse = Some(self.draw.below(6)),
            Trouble::Icmp => {
                let node = self.draw.pick(&self.places);
                self.after(0, Event::Unreachable(node));
            }
            _ => return Ok(()),
        }
        match trouble {
            Trouble::Freeze | Trouble::Crash | Trouble::Mood | Trouble::Cut => self.after(lasts, Event::Mend(machine)),
            Trouble::Drain | Trouble::Move | Trouble::Remove | Trouble::Add => return self.configure(),
            _ => {}
        }
        Ok(())
    }

    fn mend(&mut self, name: usize) {
        log!(self, "machine {name} mends");
        let machine = &mut self.machines[name];
        (machine.state, machine.mood, machine.cut) = (State::Up, Mood::Sound, (false, false));
        for (socket, bytes) in std::mem::take(&mut machine.waiting) {
            self.serve(name, socket, &bytes);
        }
    }

    // ---- the wire

    fn way(&mut self) -> u64 {
        self.draw.between(100, 100 + self.plan.way)
    }

    /// How often a datagram arrives.
    fn copies(&mut self) -> usize {
        if self.healed {
            return 1;
        }
        usize::from(!self.draw.chance(self.plan.loss)) + usize::from(self.draw.chance(self.plan.doubled))
    }

    fn sent(&mut self, node: u32, socket: u8, to: SocketAddr, bytes: &[u8]) -> Checked {
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

    fn offered(&self, node: u32, to: SocketAddr, session: &str, sdp: &str, first: bool) -> Checked {
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

    fn arrives(&mut self, name: usize, node: u32, socket: u8, bytes: Vec<u8>) {
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

    fn serve(&mut self, name: usize, socket: u8, bytes: &[u8]) {
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
    fn forge(&mut self, name: usize, socket: u8, said: &[u8]) {
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

    fn list(&self, machine: usize) -> Option<Vec<u8>> {
        let machine = &self.machines[machine];
        if machine.state != State::Up || !machine.listed || machine.cut != (false, false) {
            return None;
        }
        let ids: String = machine.sessions.iter().map(|id| format!("{}:{id}", id.len())).collect();
        Some(format!("d5:callsl{ids}e6:result2:oke").into_bytes())
    }

    // ---- the shards

    fn new_call(&mut self) -> Checked {
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

    fn ask_next(&mut self, call: MediaCall) -> Checked {
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

    fn end(&mut self, call: MediaCall) {
        let Some(known) = self.calls.get_mut(&call).filter(|known| !known.over) else { return };
        known.over = true;
        let way = self.draw.below(50 * MS);
        self.after(way, Event::End(call));
    }

    fn ask(&mut self, call: MediaCall, wish: &Wanted) -> Checked {
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

    fn heard(&mut self, shard: u16, exchange: ExchangeId, outcome: MediaOutcome, node: u32, sdp: &[u8]) -> Checked {
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

    fn goes_on(&mut self, call: MediaCall, verb: Verb, outcome: MediaOutcome, node: u32) {
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
