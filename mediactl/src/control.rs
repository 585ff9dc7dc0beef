//! The control core: one thread, pinned, with one tokio runtime that never blocks.
//!
//! ```text
//! signals ──► control core ──► Request ──► whoever called start (the main thread)
//!                 │
//!                 └ media task (media.rs) ◄──► shards: rings, journals      ◄──► media nodes: sockets, names
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `media.rs`, `machine.rs`, `client.rs` | the media task, who decides in it, and that the ng client does |
//! | `ends.rs`, `ways.rs`, `supervise.rs` | what the task reads of calls that ended, where what it says goes, and who runs it |
//! | `nodes.rs`, `sockets.rs`, `names.rs`, `lists.rs` | which media nodes there are, and the ways to them |
//! | [`counter`] | what is counted here |
//!
//! What it hears it hands on as [`Request`]s; the main thread acts on them, because printing to a pipe that nobody reads
//! blocks, and nothing here may. SIGTERM and SIGINT ask to stop, SIGUSR1 asks for a report, SIGUSR2 to drain,
//! SIGHUP to read the media nodes again.
//!
//! A panic of a task is counted, and the task starts again; calls go on meanwhile. A panic of the control core itself ends it: the main
//! thread sees the requests end. Slow work (slow.rs) is treated alike. Everywhere else a panic aborts the process ([`abort_on_panic`]): a shard whose engine is in an unknown state must not answer another datagram.

mod client;
pub mod counter;
mod ends;
mod lists;
mod machine;
mod media;
mod names;
mod nodes;
mod sockets;
mod supervise;
mod teller;
mod ways;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::process;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc as tokio_mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use self::teller::{Teller, Untold};
use crate::problem::{Place, Problem};
use crate::slow;

pub use client::{ClientSpec, Found};
pub use machine::{MediaMachine, MediaNode, NoNodes, Outputs};
pub use media::{MediaHandle, MediaParts};

/// Name of the control core's thread.
pub const THREAD_NAME: &str = "control";

/// What is to be done by who waits for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// End cleanly; the name of the signal.
    Stop(&'static str),
    /// Print counters and gauges.
    Report,
    /// Print a line of the control core's, which prints nothing itself.
    Tell(String),
    /// Read table `media_node` again.
    Reload,
    /// Take no new calls, or take them again.
    Drain,
}

/// Starts a task on the control core's thread; what it gives back is waited for there at the end.
type Service = Box<dyn FnOnce(Teller) -> Finish + Send>;
type Finish = Pin<Box<dyn Future<Output = ()>>>;

/// The running control core.
#[derive(Debug)]
pub struct ControlCore {
    requests: Receiver<Request>,
    services: tokio_mpsc::Sender<Service>,
    /// Lines that wait to be printed.
    untold: Untold,
    counters: Arc<counter::Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl ControlCore {
    /// Starts it on `cpu` (anywhere for `None`). When this returns every signal is caught.
    ///
    /// # Errors
    /// When the kernel gives no thread, runtime or signal handler.
    pub fn start(cpu: Option<usize>) -> Result<ControlCore, Problem> {
        let (requests_in, requests) = mpsc::channel();
        let (teller, untold) = Teller::new(requests_in.clone());
        let (started_in, started) = mpsc::channel();
        let (services_in, services) = tokio_mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let failed = |error: &io::Error| {
            Problem::error(
                Place::Machine,
                format!("the control core cannot start: {error}"),
                "look at the limits of the service (threads, open files)",
            )
        };
        let thread = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || {
                // Not pinned is slower, not wrong: the kernel refused a core that placement had seen.
                if let Some(id) = cpu
                    && !core_affinity::set_for_current(core_affinity::CoreId { id })
                {
                    teller.tell(format!(
                        "the control core cannot be pinned to CPU {id}, and runs wherever there is room"
                    ));
                }
                serve(&started_in, &requests_in, &teller, services, stopped);
            })
            .map_err(|error| failed(&error))?;
        match started.recv() {
            Ok(Ok(())) => {
                Ok(ControlCore { requests, services: services_in, untold, counters: Arc::default(), stop, thread })
            }
            Ok(Err(error)) => Err(failed(&error)),
            Err(mpsc::RecvError) => Err(failed(&io::Error::other("its thread ended"))),
        }
    }

    /// Waits for the next request; `None` when the control core is gone.
    #[must_use]
    pub fn next(&self) -> Option<Request> {
        self.requests.recv().ok().inspect(|request| self.heard(request))
    }

    /// The same, for `wait` at most.
    ///
    /// # Errors
    /// When that was too short, or the control core is gone.
    pub fn next_within(&self, wait: Duration) -> Result<Request, RecvTimeoutError> {
        self.requests.recv_timeout(wait).inspect(|request| self.heard(request))
    }

    fn heard(&self, request: &Request) {
        if let Request::Tell(_) = request {
            self.untold.told();
        }
    }

    /// Serves a node's media: its shards' requests and journals, and its media nodes.
    ///
    /// # Errors
    /// When the control core is gone, or has not yet taken the last one.
    pub fn serve_media<M: MediaMachine + 'static>(&self, parts: MediaParts<M>) -> Result<MediaHandle, Problem> {
        let (handle, orders) = media::handle();
        let shared = Arc::clone(&self.counters);
        let service = move |teller: Teller| -> Finish {
            match media::Media::new(parts, orders, shared, teller.clone()) {
                Ok(media) => {
                    let media = Rc::new(RefCell::new(media));
                    drop(spawn_local(supervise::supervise(Rc::clone(&media))));
                    Box::pin(supervise::finish(media))
                }
                Err(error) => {
                    // New calls get 503 from their shards: the rings fill and nobody reads them.
                    teller.tell(format!("media control cannot start: {error}"));
                    Box::pin(async {})
                }
            }
        };
        let given = self.services.try_send(Box::new(service));
        given.map_err(|_| Problem::error(Place::Machine, "the control core does not take media control", ""))?;
        Ok(handle)
    }

    /// What the control core has counted.
    #[must_use]
    pub fn counters(&self) -> &counter::Shared {
        &self.counters
    }

    /// The same, for whoever counts there too.
    #[must_use]
    pub fn shared(&self) -> Arc<counter::Shared> {
        Arc::clone(&self.counters)
    }

    /// Ends the control core and waits for its thread; what it counted.
    #[must_use]
    pub fn stop(self) -> Arc<counter::Shared> {
        // Both fail only when the thread has ended before; a panic of it was told when it happened.
        let _ = self.stop.send(());
        let _ = self.thread.join();
        self.counters
    }
}

impl MediaHandle {
    /// The machine's counters, at most a second old.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    started: &Sender<io::Result<()>>,
    requests: &Sender<Request>,
    teller: &Teller,
    mut services: tokio_mpsc::Receiver<Service>,
    mut stopped: oneshot::Receiver<()>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error))),
    };
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok(()));
        let mut finish = Vec::new();
        loop {
            tokio::select! {
                request = signals.next() => if requests.send(request).is_err() { break },
                Some(service) = services.recv() => finish.push(service(teller.clone())),
                _ = &mut stopped => break,
            }
        }
        for finish in finish {
            finish.await;
        }
    });
    drop(tasks);
    // A look-up that hangs holds a thread of the runtime, and nobody waits for it.
    runtime.shutdown_background();
}

/// The signals that mean something to us.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    report: Signal,
    reload: Signal,
    drain: Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            report: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
            drain: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Request::Stop("SIGINT"),
            _ = self.report.recv() => Request::Report,
            _ = self.reload.recv() => Request::Reload,
            _ = self.drain.recv() => Request::Drain,
        }
    }
}

/// From here on a panic on any thread but those of the control core aborts the process, after the usual message.
pub fn abort_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if name != THREAD_NAME && name != slow::THREAD_NAME {
            eprintln!("corelane: a panic on thread `{name}` leaves it in an unknown state: aborting");
            process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_without_a_signal() {
        let control = ControlCore::start(None).expect("a thread, a runtime and four signals");
        assert_eq!(control.stop().value(counter::Counter::Panics), 0);
    }
}
