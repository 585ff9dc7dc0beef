//! Starting and stopping the shards of one node.
//!
//! Order of a start, each step before the next: map the image for every shard, open all sockets, attach the steering, start the
//! threads (each makes its own engine and I/O, so that memory is touched first on the core that uses it), wait until all say
//! that they run. No listener opens without an image.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use arrayvec::ArrayVec;
use corelane_core::limits::LISTENERS_MAX;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{Counters, Effects, Endpoint, Engine, Instant, engine};
use glommio::ExecutorJoinHandle;

use crate::bus::{self, BusEnd, ControlBus};
use crate::clock::Clock;
use crate::error::{ShardFailed, StartError};
use crate::inbox::{self, Ends, Order, Orders, SHARDS_MAX};
use crate::io::mmsg::Mmsg;
use crate::io::ring::Uring;
use crate::io::{Io, IoKind};
use crate::journal::JournalWriter;
use crate::pin;
use crate::protocol::{Protocol, Routed};
use crate::run::{self, Shard, Shedding};
use crate::shed::Filter;
use crate::snapshot::Snapshot;
use crate::socket::{self, ShardSockets};
use crate::steer::{self, Attached};
use crate::sys::map::{self, Held, MappedImage};

/// Who decides which shard gets a datagram.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum SteeringMode {
    /// The kernel where it allows that, else the shards.
    #[default]
    Auto,
    /// The kernel, or the node does not start.
    Bpf,
    /// The shard that happens to receive it hands it to the owner.
    Forward,
}

/// Who does decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SteeringInUse {
    /// There is one shard.
    Single,
    /// The kernel.
    Bpf,
    /// The shards; with the reason why the kernel does not, where it was asked.
    Forward {
        /// What the kernel said.
        why: Option<String>,
    },
}

/// Whether the kernel drops a share of new calls while a shard sheds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SheddingInUse {
    /// It does.
    Kernel,
    /// The shards refuse each call themselves; with the reason why the kernel drops none, where it was asked.
    Shards {
        /// What the kernel said.
        why: Option<String>,
    },
}

/// One shard of a node.
pub struct ShardSpec {
    /// Its engine.
    pub settings: engine::Settings,
    /// Its core; unpinned when `None` or when the machine has no such core ([`pin::has_cpu`]).
    pub cpu: Option<usize>,
}

/// A shard has not yet read the commands that were given before.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Busy;

/// A node of engines.
pub struct NodeSpec {
    /// The shards, in the order of [`ShardIndex`]. All have the same steering.
    pub shards: Vec<ShardSpec>,
    /// Addresses to listen on, in the order of `ListenerIndex`.
    pub listeners: Vec<SocketAddr>,
    /// The routing image.
    pub image: PathBuf,
    /// Who steers.
    pub steering: SteeringMode,
    /// How the shards talk to the kernel.
    pub io: IoKind,
    /// Where the ends of calls go: one for each shard, in their order; with none they go nowhere.
    pub journals: Vec<JournalWriter>,
}

/// A node apart from what its shards run.
pub struct Layout {
    /// The core of each shard.
    pub cpus: Vec<Option<usize>>,
    /// Addresses to listen on, in the order of `ListenerIndex`.
    pub listeners: Vec<SocketAddr>,
    /// Who owns what.
    pub table: Steering,
    /// Who steers.
    pub steering: SteeringMode,
    /// How the shards talk to the kernel.
    pub io: IoKind,
    /// The kernel is asked to drop what [`Effect::Shed`](corelane_core::Effect::Shed) says; where it does not allow that, nobody does.
    pub shed_in_kernel: bool,
    /// Where the ends of calls go: one for each shard, in their order; with none they go nowhere.
    pub journals: Vec<JournalWriter>,
}

/// A running node. Dropping it stops the shards without waiting for them.
pub struct Node {
    addresses: Vec<SocketAddr>,
    steering: SteeringInUse,
    shedding: SheddingInUse,
    /// Keeps the steering program while the sockets live.
    _attached: Option<Attached>,
    /// The routing image, where there is one; or why its pages are not held in memory.
    held: Option<io::Result<Held>>,
    shards: Vec<Running>,
    /// Until somebody takes it.
    bus: Option<ControlBus>,
}

struct Running {
    orders: Mutex<Orders>,
    snapshot: Arc<Snapshot>,
    thread: ExecutorJoinHandle<Result<Counters, String>>,
}

impl Node {
    /// Starts a node of engines; returns when every shard runs.
    ///
    /// An engine's listener whose bound port is 0 learns the port that it got.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running or open then.
    pub fn start(spec: NodeSpec) -> Result<Node, StartError> {
        let NodeSpec { shards, listeners, image, steering, io, journals } = spec;
        let Some(first) = shards.first() else { return Err(StartError::Shards { count: 0 }) };
        let layout = Layout {
            cpus: shards.iter().map(|shard| shard.cpu).collect(),
            table: first.settings.steering.clone(),
            shed_in_kernel: first.settings.policy.shed_in_kernel,
            listeners,
            steering,
            io,
            journals,
        };
        let mut parts = Vec::with_capacity(shards.len());
        for shard in shards {
            parts.push((shard.settings, MappedImage::open(&image).map_err(StartError::Image)?));
        }
        let mut parts = parts.into_iter();
        let mut node = Node::start_with(layout, |_, addresses| {
            let (mut settings, image) = parts.next().expect("as many as shards");
            for (listener, address) in settings.listeners.iter_mut().zip(addresses) {
                learn_port(listener, *address);
            }
            move |now| Routed { engine: Engine::new(settings, now), image }
        })?;
        // Once for all shards, and only now: where the limit on locked memory is low, what the shards' rings need comes first.
        node.held = Some(map::hold(&image));
        Ok(node)
    }

    /// Starts a node whose shards run something else than the engine (a floor, a test). `make` is called for each shard with the
    /// bound addresses; what it returns makes the protocol, on the shard's own thread.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_with<P, M>(
        layout: Layout,
        mut make: impl FnMut(ShardIndex, &[SocketAddr]) -> M,
    ) -> Result<Node, StartError>
    where
        P: Protocol + 'static,
        M: FnOnce(Instant) -> P + Send + 'static,
    {
        let Layout { cpus, listeners, table, steering, io, shed_in_kernel, journals } = layout;
        if cpus.is_empty() || cpus.len() > SHARDS_MAX {
            return Err(StartError::Shards { count: cpus.len() });
        }
        if listeners.is_empty() || listeners.len() > LISTENERS_MAX {
            return Err(StartError::Listeners { count: listeners.len() });
        }
        let (addresses, sockets) = socket::open_all(&listeners, cpus.len())?;
        let (in_use, attached) = choose_steering(steering, &table, &sockets)?;
        let (shedding, filters) = choose_shedding(shed_in_kernel, &table, cpus.len());
        let forwards = matches!(in_use, SteeringInUse::Forward { .. });
        let steering = (in_use != SteeringInUse::Single).then_some(&table);
        let ends = inbox::mesh(cpus.len()).map_err(StartError::Wakers)?;
        let wakers = ends.iter().map(|ends| ends.inbox.waker()).collect();
        let (bus_ends, control_bus) = bus::lines(wakers).map_err(StartError::Wakers)?;
        let clock = Clock::start();
        let (ready, readiness) = mpsc::channel();
        let mut node = Node {
            addresses,
            steering: in_use,
            shedding,
            _attached: attached,
            held: None,
            shards: Vec::new(),
            bus: Some(control_bus),
        };
        let journals = journals.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let filters = filters.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let links = ends.into_iter().zip(bus_ends).zip(journals).zip(filters);
        for (place, ((cpu, sockets), (((ends, bus), journal), filter))) in
            cpus.into_iter().zip(sockets).zip(links).enumerate()
        {
            let index = ShardIndex(place as u8);
            let Ends { inbox, outbox, orders } = ends;
            let snapshot = Arc::new(Snapshot::new());
            let make = make(index, &node.addresses);
            let birth = Birth {
                index,
                sockets,
                io,
                steering: steering.cloned(),
                forwards,
                inbox,
                outbox,
                bus,
                journal,
                filter,
                clock,
                snapshot: Arc::clone(&snapshot),
                ready: ready.clone(),
            };
            match pin::spawn(&format!("shard-{place}"), cpu, move || live(birth, make)) {
                Ok(thread) => node.shards.push(Running { orders: Mutex::new(orders), snapshot, thread }),
                Err(error) => {
                    node.stop();
                    // They have just begun: how they end says nothing that the error does not.
                    let _ = node.join();
                    return Err(StartError::Shard { shard: place, what: "thread", reason: error.to_string() });
                }
            }
        }
        drop(ready);
        // A thread whose executor cannot be made never speaks: its end of the channel is gone then.
        let running = readiness.iter().count();
        if running < node.shards.len() {
            node.stop();
            let failed = node.join().err();
            let (shard, reason) = failed.map_or((0, String::from("it ended")), |failed| (failed.shard, failed.reason));
            return Err(StartError::Shard { shard, what: "I/O", reason });
        }
        Ok(node)
    }

    /// The bound addresses, in the order of the listeners.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Who decides which shard gets a datagram, and why.
    #[must_use]
    pub fn steering_in_use(&self) -> &SteeringInUse {
        &self.steering
    }

    /// Whether the kernel helps to shed, and why not.
    #[must_use]
    pub fn shedding_in_use(&self) -> &SheddingInUse {
        &self.shedding
    }

    /// Why the routing image is not held in memory; it is used all the same, and a look-up may wait for the disk when memory is short.
    #[must_use]
    pub fn image_not_held(&self) -> Option<&io::Error> {
        self.held.as_ref()?.as_ref().err()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// A shard's counters as of at most a second ago.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn counters(&self, shard: ShardIndex) -> Counters {
        self.shards[usize::from(shard.0)].snapshot.read()
    }

    /// The control core's end of the rings; `None` when it was taken before. Until somebody serves it, requests wait and then are refused.
    pub fn take_bus(&mut self) -> Option<ControlBus> {
        self.bus.take()
    }

    /// Gives a shard a command. Returns at once: it is carried out in the shard's next turn.
    ///
    /// # Errors
    /// [`Busy`]: try again.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn command(&self, shard: ShardIndex, command: engine::Command) -> Result<(), Busy> {
        let mut orders = self.shards[usize::from(shard.0)].orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.give(Order::Command(command)).then_some(()).ok_or(Busy)
    }

    /// Tells every shard to finish its turn and end. Returns at once; may be called again.
    pub fn stop(&self) {
        for shard in &self.shards {
            // No room: it was told already.
            let _ = shard.orders.lock().unwrap_or_else(PoisonError::into_inner).give(Order::Stop);
        }
    }

    /// Waits until all shards have ended; their last counters.
    ///
    /// # Errors
    /// The first shard that ended for another reason than [`Node::stop`].
    pub fn join(mut self) -> Result<Vec<Counters>, ShardFailed> {
        let mut counters = Vec::new();
        let mut failed = None;
        for (shard, running) in self.shards.drain(..).enumerate() {
            let result = running.thread.join().map_err(|error| error.to_string()).and_then(|result| result);
            match result {
                Ok(last) => counters.push(last),
                Err(reason) => failed = failed.or(Some(ShardFailed { shard, reason })),
            }
        }
        failed.map_or(Ok(counters), Err)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn choose_steering(
    mode: SteeringMode,
    table: &Steering,
    sockets: &[ShardSockets],
) -> Result<(SteeringInUse, Option<Attached>), StartError> {
    if sockets.len() == 1 {
        return Ok((SteeringInUse::Single, None));
    }
    if mode == SteeringMode::Forward {
        return Ok((SteeringInUse::Forward { why: None }, None));
    }
    let listeners = sockets[0].len();
    let groups: Vec<Vec<_>> =
        (0..listeners).map(|listener| sockets.iter().map(|sockets| sockets[listener].as_fd()).collect()).collect();
    match steer::attach(table, &groups) {
        Ok(attached) => Ok((SteeringInUse::Bpf, Some(attached))),
        Err(error) if mode == SteeringMode::Auto => Ok((SteeringInUse::Forward { why: Some(error.to_string()) }, None)),
        Err(error) => Err(StartError::Steering(error)),
    }
}

/// A filter for each shard, where that is wanted and allowed: all or none.
fn choose_shedding(wanted: bool, table: &Steering, shards: usize) -> (SheddingInUse, Vec<Filter>) {
    if !wanted {
        return (SheddingInUse::Shards { why: None }, Vec::new());
    }
    let key = table.key().derive(u64::from_le_bytes(*b"shedding"));
    match (0..shards).map(|_| Filter::load(key)).collect() {
        Ok(filters) => (SheddingInUse::Kernel, filters),
        Err(error) => (SheddingInUse::Shards { why: Some(error.to_string()) }, Vec::new()),
    }
}

/// Writes the port that a listener got into what the engine says of itself.
fn learn_port(listener: &mut engine::Listener, address: SocketAddr) {
    if listener.bound.port != 0 {
        return;
    }
    listener.bound = Endpoint { port: address.port(), ..listener.bound };
    if let Some(host) = listener.advertised.strip_suffix(":0").map(str::len) {
        listener.advertised.truncate(host);
        // Room for any port is part of the type.
        let _ = std::fmt::Write::write_fmt(&mut listener.advertised, format_args!(":{}", address.port()));
    }
}

/// What a shard's thread is given.
struct Birth {
    index: ShardIndex,
    sockets: ArrayVec<std::os::fd::OwnedFd, LISTENERS_MAX>,
    io: IoKind,
    steering: Option<Steering>,
    forwards: bool,
    inbox: inbox::Inbox,
    outbox: inbox::Outbox,
    bus: BusEnd,
    journal: Option<JournalWriter>,
    filter: Option<Filter>,
    clock: Clock,
    snapshot: Arc<Snapshot>,
    ready: mpsc::Sender<()>,
}

/// The one task of a shard's executor. It never yields: the first poll returns when the shard ends.
async fn live<P: Protocol>(mut birth: Birth, make: impl FnOnce(Instant) -> P) -> Result<Counters, String> {
    let _guard = AbortOnPanic;
    let sockets = std::mem::take(&mut birth.sockets);
    let wake = birth.inbox.event();
    match birth.io {
        IoKind::Mmsg => run(birth, Mmsg::new(sockets, wake), make),
        IoKind::Ring => match Uring::new(sockets, wake) {
            Ok(ring) => run(birth, ring, make),
            Err(error) => Err(format!("io_uring: {error}")),
        },
    }
}

fn run<P: Protocol>(birth: Birth, io: impl Io, make: impl FnOnce(Instant) -> P) -> Result<Counters, String> {
    let Birth { index, steering, forwards, inbox, outbox, bus, journal, filter, clock, snapshot, ready, .. } = birth;
    let protocol = make(clock.monotonic());
    let effects = Effects::new();
    let outgoing = ArrayVec::new();
    let (ends, refused, shedding) = (run::Ends::of(journal), run::Refused::default(), Shedding::of(filter));
    let shard = Shard {
        index,
        protocol,
        io,
        steering,
        forwards,
        inbox,
        outbox,
        bus,
        ends,
        shedding,
        clock,
        snapshot,
        effects,
        outgoing,
        refused,
    };
    // Whoever starts the node listens until all have spoken or gone.
    let _ = ready.send(());
    drop(ready);
    // A shard that ends by itself would leave its calls unserved in silence: its node goes down, and is started again.
    Ok(shard.run().unwrap_or_else(|error| panic!("shard {}: its wait or its sends failed: {error}", index.0)))
}

/// A panic on a shard is our bug, and a node that lost a shard would go on losing its share of the calls: the process ends, and
/// whoever supervises it starts it again.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
