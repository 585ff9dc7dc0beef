//! Slow work: what may wait for a disk, on one thread that steps back for everybody else.
//!
//! ```text
//!   days (limits.day)   every 5 s ┐
//!   journals to disk    every 1 s ┼──► thread `control-slow`, niceness 10, one task after the other
//!                                 ┘
//! ```
//!
//! A task runs at its interval and once more when the node ends. A task that panics is told and counted, and runs again at its next
//! interval: none of them is worth a call. A disk that hangs delays the tasks behind it and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corelane_shard::pin;

use crate::control::counter::{Counter, Shared};
use crate::problem::{Place, Problem};

/// Name of the thread.
pub const THREAD_NAME: &str = "control-slow";
/// How far it steps back.
const NICE: i32 = 10;

/// Something that is done again and again.
pub struct Task {
    /// From one start to the next.
    pub every: Duration,
    /// One run.
    pub run: Box<dyn FnMut() + Send>,
}

/// The running thread.
#[derive(Debug)]
pub struct SlowWork {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl SlowWork {
    /// Starts the thread. Panics are counted in `counters`.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn start(tasks: Vec<Task>, counters: Arc<Shared>) -> Result<SlowWork, Problem> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || {
                // Not to step back is ruder, not wrong.
                let _ = pin::step_back(NICE);
                work(tasks, &stopped, &counters);
            })
            .map_err(|error| {
                Problem::error(Place::Machine, format!("there is no thread for slow work: {error}"), "")
            })?;
        Ok(SlowWork { stop, thread })
    }

    /// Lets every task run for the last time and ends.
    pub fn stop(self) {
        // Fails only when the thread has ended before.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn work(mut tasks: Vec<Task>, stopped: &mpsc::Receiver<()>, counters: &Shared) {
    let run = |task: &mut Task| {
        // A task's own state is all that a panic can leave half done.
        if catch_unwind(AssertUnwindSafe(&mut task.run)).is_err() {
            counters.add(Counter::SlowPanics, 1);
        }
    };
    let began = Instant::now();
    let mut due: Vec<Instant> = tasks.iter().map(|task| began + task.every).collect();
    loop {
        let now = Instant::now();
        for (task, due) in tasks.iter_mut().zip(&mut due).filter(|(_, due)| **due <= now) {
            run(task);
            *due = now + task.every;
        }
        let next = due.iter().min().map_or(Duration::from_secs(1), |due| due.saturating_duration_since(Instant::now()));
        if stopped.recv_timeout(next) != Err(RecvTimeoutError::Timeout) {
            tasks.iter_mut().for_each(run);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_at_their_interval_and_once_at_the_end() {
        let (done, hear) = mpsc::channel();
        let task = |name: &'static str, every| {
            let done = done.clone();
            Task { every, run: Box::new(move || done.send(name).expect("the test listens")) }
        };
        let tasks = vec![task("often", Duration::from_millis(1)), task("seldom", Duration::from_secs(3_600))];
        let slow = SlowWork::start(tasks, Arc::default()).expect("a thread");
        for _ in 0..3 {
            assert_eq!(hear.recv(), Ok("often"));
        }
        slow.stop();
        drop(done);
        assert_eq!(hear.iter().filter(|name| *name == "seldom").count(), 1, "at the end");
    }

    #[test]
    fn a_panic_is_counted_and_survived() {
        let (done, hear) = mpsc::channel();
        let mut runs = 0;
        let run = move || {
            runs += 1;
            done.send(runs).expect("the test listens");
            assert!(runs != 2, "on purpose");
        };
        let counters: Arc<Shared> = Arc::default();
        let tasks = vec![Task { every: Duration::from_millis(1), run: Box::new(run) }];
        let slow = SlowWork::start(tasks, Arc::clone(&counters)).expect("a thread");
        assert!(hear.iter().any(|run| run == 4));
        assert_eq!(counters.value(Counter::SlowPanics), 1);
        slow.stop();
    }
}
