//! Child processes that cannot outlive their test, and waiting for facts instead of for time.

use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How often a fact is asked for again. It bounds only how late we notice, never how long a thing may take.
const POLL: Duration = Duration::from_millis(5);

/// Asks `fact` again and again until it holds a value; `None` when `within` has passed.
pub(crate) fn poll<T>(within: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = fact() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Same; panics with `what` when `within` has passed.
pub(crate) fn wait_until<T>(what: &str, within: Duration, fact: impl FnMut() -> Option<T>) -> T {
    poll(within, fact).unwrap_or_else(|| panic!("waited {within:?} in vain: {what}"))
}

/// A child that is killed, by its own pid, when this value goes.
pub(crate) struct Process {
    child: Child,
    name: String,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; `name` is for messages.
    pub(crate) fn start(name: &str, command: &mut Command) -> Process {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Process { child, name: name.to_owned(), ended: None }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal by name, e.g. `TERM`. The shell's own `kill` saves this crate an unsafe call.
    pub(crate) fn signal(&mut self, signal: &str) {
        if self.exited().is_none() {
            let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status();
            // The child may have gone in between: that is what the caller finds out next.
            drop(status);
        }
    }

    /// The exit status, if it has ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap_or_else(|error| panic!("waiting for {}: {error}", self.name));
        }
        self.ended
    }

    /// Waits for the end; kills and says `None` when `within` has passed.
    pub(crate) fn finish(&mut self, within: Duration) -> Option<ExitStatus> {
        let status = poll(within, || self.exited());
        if status.is_none() {
            self.kill();
        }
        status
    }

    fn kill(&mut self) {
        if self.exited().is_none() {
            // Both can only fail when the child has gone already.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
