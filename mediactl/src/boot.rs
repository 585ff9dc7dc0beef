//! From a configuration to a running node, in the one order that is safe.
//!
//! ```text
//! lock the state directory ─► secret key, identity ─► compile the tables ─► verify the image ─► listeners ─► memory bill
//!        (prepare: nothing is open yet, every problem is collected)                                     │
//!                                                                    open sockets, start shards  ◄──────┘
//!                                                                    (start: SPEC I7)
//! ```
//!
//! A listener opens only when a verified image is there, so no call meets a cold cache. When the tables do not compile, the last
//! good image stands in and all problems become warnings: bad rows must not keep a node down that ran yesterday.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrayvec::{ArrayString, ArrayVec};
use corelane_core::admission::Caps;
use corelane_core::engine::{Command, Listener, Settings};
use corelane_core::routing::ListenerSlot;
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{Counter, Counters, Endpoint};
use corelane_shard::journal::{self, JournalError};
use corelane_shard::{JournalReader, Journals, Node, NodeSpec, ShardFailed, ShardSpec, SheddingInUse, SteeringInUse};

use crate::config::choice::io_word;
use crate::config::{self, Config};
use crate::control::counter::Shared;
use crate::control::{ClientSpec, ControlCore, Found, MediaHandle, MediaParts, NoNodes};
use crate::daily;
use crate::image::{self, Loaded};
use crate::listeners::{self, Bound, InUse};
use crate::machine;
use crate::problem::{Place, Problem, any_error};
use crate::reload::{MediaTable, Reloaded};
use crate::report::Bill;
use crate::routes;
use crate::rtpengine::client::ClientSettings;
use crate::rtpengine::id::Origin;
use crate::slow::{SlowWork, Task};
use crate::state::{Identity, SECRET_BYTES, StateDir, secret_is_open};

/// A node that could start: everything is checked, nothing is open.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    state: StateDir,
    secret: [u8; SECRET_BYTES],
    identity: Identity,
    image: Loaded,
    listeners: Vec<Bound>,
    bill: Bill,
}

/// Does everything that can be done before a socket opens. The second part of the result are warnings.
///
/// # Errors
/// All problems, warnings among them, when at least one keeps the node from starting.
pub fn prepare(config: Config) -> Result<(Prepared, Vec<Problem>), Vec<Problem>> {
    let mut problems = Vec::new();
    let state = keep(StateDir::open(&config.state_dir.value), &mut problems);
    let secret = state.as_ref().and_then(|state| keep(state.secret(), &mut problems));
    problems.extend(secret_is_open(&config.state_dir.value));
    let wall_ms = routes::wall_now().0 / 1_000;
    let identity = state.as_ref().and_then(|state| keep(state.identity(config.node_id, wall_ms), &mut problems));
    // Without a state directory there is no place for an image; the tables are read all the same, for their problems.
    let image = match &state {
        Some(_) => image::compile_or_last_good(&config, &mut problems),
        None => {
            image::check_tables(&config, &mut problems);
            None
        }
    };
    let mut bound = Vec::new();
    if let Some(image) = &image {
        let found;
        (bound, found) = listeners::bind(&image.listeners, &config);
        problems.extend(found);
        problems.extend(listeners::try_bind(&bound, InUse::Error));
    }
    let bill = Bill::of(&config, image.as_ref().map(|image| (image.caps, !image.media_nodes.is_empty())));
    problems.extend(bill.against(&config, machine::memory_bytes(), machine::memory_available_bytes()));
    match (state, secret, identity, image) {
        (Some(state), Some(secret), Some(identity), Some(image)) if !any_error(&problems) => {
            Ok((Prepared { config, state, secret, identity, image, listeners: bound, bill }, problems))
        }
        _ => Err(problems),
    }
}

/// What `corelane check` does: the same checks, all of them, without touching the state directory or a running node.
/// The last part of the result describes the node for the operator, when it could start.
#[must_use]
pub fn check(config: &Config) -> (Vec<Problem>, Option<String>) {
    let mut problems = crate::state::inspect(&config.state_dir.value);
    if let Some(directory) = &config.journal_dir {
        let problem = |(path, error): (PathBuf, io::Error)| no_journal(&path, &error);
        problems.extend(crate::state::writable(&directory.value).map_err(problem).err());
    }
    let tables = image::check_tables(config, &mut problems);
    let (bound, found) = tables.as_ref().map_or_else(Default::default, |read| listeners::bind(&read.listeners, config));
    problems.extend(found);
    // A running corelane holds its ports: that is no reason to refuse its next configuration.
    problems.extend(listeners::try_bind(&bound, InUse::Warning));
    let bill = Bill::of(config, tables.map(|read| (read.caps, read.relays)));
    problems.extend(bill.against(config, machine::memory_bytes(), machine::memory_available_bytes()));
    let summary = (!any_error(&problems)).then(|| summary(&bill, &bound));
    (problems, summary)
}

/// What is about to be taken and opened.
fn summary(bill: &Bill, listeners: &[Bound]) -> String {
    let lines = listeners.iter().map(|listener| format!("{listener}\n"));
    std::iter::once(bill.to_string()).chain(lines).collect()
}

impl Prepared {
    /// Tells the operator what is about to start: image, node, memory bill, listeners.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        let Identity { node, boot, .. } = self.identity;
        writeln!(out, "routes: {}\nnode: id {node}, start {boot}", self.image.summary)?;
        write!(out, "{}", summary(&self.bill, &self.listeners))
    }

    /// Opens journals and listeners, starts the shards, and has the control core serve them. The second part of the result are warnings.
    ///
    /// # Errors
    /// When a journal cannot be made, or the kernel refuses a socket, a ring, a thread or the steering program.
    pub fn start(self, control: &ControlCore) -> Result<(Running, Vec<Problem>), Problem> {
        let caps = Arc::new(Caps::new(self.image.caps));
        let state_dir = &self.config.state_dir.value;
        let mut warnings = daily::restore(state_dir, &self.image.providers, &caps);
        let journals = self.journals(&mut warnings)?;
        let mut shards = Vec::with_capacity(self.config.placement.shards.len());
        for (index, cpu) in self.config.placement.shards.iter().enumerate() {
            let index = u8::try_from(index).expect("the number of shards was checked when it was read");
            shards.push(ShardSpec { settings: self.settings(ShardIndex(index), &caps)?, cpu: *cpu });
        }
        let client = self.client();
        if !self.image.media_nodes.is_empty() || client.path().exists() {
            // Opened again by whoever serves it; but what is wrong with it is told now.
            let found = client.survey().map_err(|error| no_sessions(client.path(), &error))?;
            warnings.extend(left_behind(client.path(), &found));
        }
        let Journals { writers, readers, .. } = journals;
        let tasks = vec![
            daily::keeper(state_dir, self.image.providers.clone(), Arc::clone(&caps)),
            syncer(&readers, client.path()).map_err(|error| no_journal(self.config.journal_dir(), &error))?,
        ];
        let spec = NodeSpec {
            journals: writers,
            shards,
            listeners: self.listeners.iter().map(|listener| listener.address).collect(),
            image: self.image.path.clone(),
            steering: self.config.steering.value,
            io: self.config.io.value,
        };
        let mut node = Node::start(spec)
            .map_err(|error| Problem::error(Place::Machine, format!("the shards cannot start: {error}"), ""))?;
        let bus = node.take_bus().expect("a new node has it");
        warnings.extend(not_held(&node, &readers));
        let nodes = self.image.media_nodes;
        let config::Media { sockets, reconcile_interval, .. } = self.config.media;
        let table = MediaTable::new(&self.config.routes.value, nodes.clone(), self.image.media_sets);
        // Nodes that were taken out of the tables may still be owed something.
        let media = if nodes.is_empty() && !client.path().exists() {
            control.serve_media(MediaParts {
                bus,
                journals: readers,
                nodes,
                sockets,
                reconcile_interval,
                make: Box::new(|_| Ok(NoNodes)),
            })?
        } else {
            let make = Box::new(move |now| client.make(now));
            control.serve_media(MediaParts { bus, journals: readers, nodes, sockets, reconcile_interval, make })?
        };
        let slow = SlowWork::start(tasks, control.shared())?;
        Ok((Running { node, media, table, slow, config: self.config, _state: self.state }, warnings))
    }

    /// How this start asks media nodes.
    fn client(&self) -> ClientSpec {
        let Identity { node, boot, ref earlier } = self.identity;
        let config::Media { deadline, sockets, orphan_age, debt_age, .. } = self.config.media;
        let directory = self.config.journal_dir();
        let settings = ClientSettings { origin: Origin { node, boot }, sockets, deadline, orphan_age, debt_age };
        ClientSpec::new(directory, self.config.calls_max.value, settings, earlier.clone())
    }

    fn journals(&self, warnings: &mut Vec<Problem>) -> Result<Journals, Problem> {
        let directory = self.config.journal_dir();
        fs::create_dir_all(directory).map_err(|error| no_journal(directory, &error))?;
        let records = journal::capacity(self.bill.budget.calls);
        let journals = Journals::open(directory, self.config.placement.shards.len(), records)
            .map_err(|JournalError { path, error }| no_journal(&path, &error))?;
        warnings.extend(on_a_disk(&journals.readers, &self.config));
        warnings.extend(journals.damaged.iter().map(|path| {
            let what = "a journal was damaged, and was put aside here; what it held is lost";
            Problem::warning(Place::file(path), what, "look at the disk; the file may be removed")
        }));
        Ok(journals)
    }

    fn settings(&self, shard: ShardIndex, caps: &Arc<Caps>) -> Result<Settings, Problem> {
        let secret = Key::new(self.secret);
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| {
            Problem::error(Place::Machine, format!("the kernel gives no random numbers: {error}"), "")
        })?;
        let listeners: ArrayVec<Listener, _> = self
            .listeners
            .iter()
            .map(|listener| Listener {
                slot: ListenerSlot(listener.slot),
                bound: Endpoint::from(listener.address),
                advertised: ArrayString::from(&listener.advertised).expect("the host's length was checked"),
            })
            .collect();
        Ok(Settings {
            shard,
            steering: Steering::even(secret, self.config.shards()),
            listeners,
            secret,
            seed: u64::from_le_bytes(seed),
            timers: self.config.timers,
            unknown_source: self.config.unknown_source.value,
            policy: self.config.policy,
            budget: self.bill.budget,
            caps: Arc::clone(caps),
        })
    }
}

/// A node that takes calls. It holds the lock on its state directory.
pub struct Running {
    node: Node,
    media: MediaHandle,
    /// The media nodes in force.
    table: MediaTable,
    slow: SlowWork,
    config: Config,
    _state: StateDir,
}

impl Running {
    /// Why the kernel does not steer although it was asked; costs a hand-over for most datagrams.
    #[must_use]
    pub fn steering_warning(&self) -> Option<Problem> {
        let SteeringInUse::Forward { why: Some(why) } = self.node.steering_in_use() else { return None };
        Some(Problem::warning(
            self.config.steering.place.clone(),
            format!("the kernel does not steer, shards forward to each other: {why}"),
            "allow it (CAP_BPF and CAP_NET_ADMIN), or say `steering = \"forward\"`",
        ))
    }

    /// Why the kernel does not help to shed although it was asked. No warning: nothing is lost before an overload, and then some goodput.
    #[must_use]
    pub fn shedding_note(&self) -> Option<String> {
        let SheddingInUse::Shards { why: Some(why) } = self.node.shedding_in_use() else { return None };
        Some(format!("overload: shards refuse each call themselves, the kernel drops none: {why}"))
    }

    /// Tells the operator, and whoever polls, that calls are taken: one line for each listener, then `ready`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_ready(&self, out: &mut dyn Write) -> io::Result<()> {
        let shards = self.config.shards();
        let steering = match self.node.steering_in_use() {
            SteeringInUse::Single => "single",
            SteeringInUse::Bpf => "bpf",
            SteeringInUse::Forward { .. } => "forward",
        };
        let io = io_word(self.config.io.value);
        for address in self.node.local_addresses() {
            writeln!(out, "listening on udp:{address} (shards {shards}, steering {steering}, io {io})")?;
        }
        writeln!(out, "ready")?;
        out.flush()
    }

    /// Media control: takes nodes out of new calls and back in, and has its counters.
    #[must_use]
    pub fn media(&self) -> &MediaHandle {
        &self.media
    }

    /// Reads table `media_node` again; calls go on meanwhile. May wait for the disk.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing has changed then.
    pub fn reload(&mut self) -> Result<Reloaded, Vec<Problem>> {
        self.table.reload(&self.media)
    }

    /// Takes no new calls, or takes them again.
    ///
    /// # Errors
    /// When a shard does not take the order.
    pub fn drain(&self, on: bool) -> Result<(), Problem> {
        self.command(Command::Drain(on))
    }

    /// Ends all calls with BYE both ways, and those that ring with a CANCEL. It goes on when this returns, for as long as
    /// [`Running::hangs_up`] says, but no longer than [`Running::hang_up_time`].
    ///
    /// # Errors
    /// When a shard does not take the order.
    pub fn hang_up_all(&self) -> Result<(), Problem> {
        self.command(Command::HangUpAll)
    }

    /// Whether there is a call, or a BYE that waits for its answer; as of a second ago.
    #[must_use]
    pub fn hangs_up(&self) -> bool {
        let busy =
            |shard: &Counters| shard.value(Counter::CallsLive) + shard.value(Counter::ClientTransactionsLive) > 0;
        self.counters().iter().any(busy)
    }

    /// What a peer that does not answer its BYE takes (RFC 3261 §17.1.2.2, Timer F), and the steps in which a full node does it.
    #[must_use]
    pub fn hang_up_time(&self) -> Duration {
        self.config.timers.t1 * 64 + Duration::from_secs(10)
    }

    /// Gives every shard an order.
    fn command(&self, command: Command) -> Result<(), Problem> {
        /// A shard that runs takes its orders with each turn, so one that has no room for so long does not run.
        const TRIES: u32 = 5_000;
        for shard in (0..self.config.shards()).map(ShardIndex) {
            let given = (0..TRIES).any(|_| {
                self.node.command(shard, command).inspect_err(|_| thread::sleep(Duration::from_millis(1))).is_ok()
            });
            if !given {
                let what = format!("shard {} takes no orders", shard.0);
                return Err(Problem::error(Place::Machine, what, "look whether its core is taken by something else"));
            }
        }
        Ok(())
    }

    /// The counters of every shard, at most a second old.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        (0..self.config.shards()).map(|shard| self.node.counters(ShardIndex(shard))).collect()
    }

    /// Stops the shards, then who reads what they have left behind. The state directory is given back last: whoever takes it next finds all debts
    /// in their table.
    #[must_use]
    pub fn stop(self, control: ControlCore) -> Stopped {
        self.node.stop();
        let shards = self.node.join();
        // After the shards: their last calls count, too.
        self.slow.stop();
        let control = control.stop();
        Stopped { shards, control, media: self.media.counters() }
    }
}

/// What a node counted to its end.
#[derive(Debug)]
pub struct Stopped {
    /// Of each shard; or the one that had ended before it was told to.
    pub shards: Result<Vec<Counters>, ShardFailed>,
    /// Of the control core.
    pub control: Arc<Shared>,
    /// Of media control.
    pub media: Vec<(&'static str, u64)>,
}

/// Brings journals and media sessions to the disk once a second: what the process has written outlives it anyway, and the machine's end only so.
fn syncer(journals: &[JournalReader], sessions: &Path) -> io::Result<Task> {
    let mut files = journals.iter().map(JournalReader::file).collect::<io::Result<Vec<_>>>()?;
    if sessions.exists() {
        files.push(fs::File::open(sessions)?);
    }
    let mut failing = false;
    let run = move || {
        let failed = files.iter().find_map(|file| file.sync_data().err());
        if let Some(error) = failed.as_ref().filter(|_| !failing) {
            // Told once for each time that it begins to fail.
            eprintln!("corelane: the journals do not reach the disk: {error}");
        }
        failing = failed.is_some();
    };
    Ok(Task { every: Duration::from_secs(1), run: Box::new(run) })
}

/// What it costs that the journals lie on a disk. No directory in memory can be chosen unasked: what a container has of that ends with the process,
/// and with it what the process owes.
fn on_a_disk(journals: &[JournalReader], config: &Config) -> Option<Problem> {
    if journals.iter().all(|journal| journal.is_in_memory().unwrap_or(true)) {
        return None;
    }
    let place = config.journal_dir.as_ref().map_or(&config.state_dir.place, |directory| &directory.place);
    Some(Problem::warning(
        place.clone(),
        format!("the journals in {} are on a disk: while it hangs, calls hang with it", config.journal_dir().display()),
        "let `journal_dir` be on a tmpfs that outlives the process, such as /run/corelane of the machine",
    ))
}

/// What the limit on locked memory leaves to chance.
fn not_held(node: &Node, journals: &[JournalReader]) -> Option<Problem> {
    let journal =
        journals.iter().find_map(|journal| journal.hold().err()).map(|error| ("the journals", error.to_string()));
    let image = node.image_not_held().map(|error| ("the routing image", error.to_string()));
    let (what, why) = image.or(journal)?;
    Some(Problem::warning(
        Place::Machine,
        format!("{what} cannot be held in memory: {why}; when memory is short, calls wait for the disk"),
        "raise the limit on locked memory (`LimitMEMLOCK=infinity`, `--ulimit memlock=-1`), or give the binary CAP_IPC_LOCK",
    ))
}

fn no_sessions(path: &Path, error: &io::Error) -> Problem {
    Problem::error(
        Place::file(path),
        format!("the table of media sessions cannot be kept here: {error}"),
        "make its directory one with room for it, see the memory bill, or name another with `--journal-dir`",
    )
}

/// What is told of a table that could not be read whole.
fn left_behind(path: &Path, found: &Found) -> Option<Problem> {
    let elsewhere =
        "corelane ends such sessions at nodes whose rtpengine has `listen-tcp-ng`, time-outs of rtpengine do at others";
    match found {
        Found::Good => None,
        Found::Torn(records) => Some(Problem::warning(
            Place::file(path),
            format!("{records} records of media sessions are damaged, and the deletes that they owe are not known"),
            format!("{elsewhere}; look at the disk, unless the machine lost its power"),
        )),
        Found::Other(aside) => Some(Problem::warning(
            Place::file(aside),
            "the table of media sessions was no table of this version, and was put aside here; the deletes in it are not known",
            format!("{elsewhere}; the file may be removed"),
        )),
    }
}

fn no_journal(path: &Path, error: &io::Error) -> Problem {
    Problem::error(
        Place::file(path),
        format!("the journal of ended calls cannot be kept here: {error}"),
        "make it a directory with room for the journals, see the memory bill, or name another with `--journal-dir`",
    )
}

/// The value, or its problem on the list.
fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}
