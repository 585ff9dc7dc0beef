//! The media nodes of a run: stand-in relays as children, told what to do by their control sockets.

use std::error::Error;
use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::relay::counts;
use crate::sys::process;

/// How long a node may take to start or to end.
const WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// One stand-in. Dropping it kills it.
pub(super) struct Node {
    child: Option<Child>,
    ng: SocketAddr,
    sessions_max: u32,
    output: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        // What is left behind is one small file of the temporary directory.
        drop(fs::remove_file(&self.output));
    }
}

impl Node {
    /// A node that answers at `ng` for so many sessions; it runs where the calling thread runs.
    pub(super) fn start(ng: SocketAddr, sessions_max: u32) -> Result<Node, Box<dyn Error>> {
        let name = format!("corelane-perf-relay-{}-{}", std::process::id(), ng.ip());
        let mut node = Node { child: None, ng, sessions_max, output: std::env::temp_dir().join(name) };
        node.start_again()?;
        Ok(node)
    }

    /// Starts it where it was killed, without memory.
    pub(super) fn start_again(&mut self) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["relay", "--listen", &self.ng.to_string(), "--control", &self.control().to_string()]);
        command.args(["--sessions-max", &self.sessions_max.to_string()]);
        let output = File::create(&self.output)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        self.child = Some(command.spawn()?);
        let deadline = Instant::now() + WITHIN;
        while self.line("counters").is_err() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&self.output).unwrap_or_default();
                return Err(format!("the relay on {} did not start: {said}", self.ng).into());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Kills it at once.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it is gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Tells it something; its counters come back.
    ///
    /// # Errors
    /// What is wrong with the line, or no answer.
    pub(super) fn line(&self, line: &str) -> Result<String, Box<dyn Error>> {
        let socket = UdpSocket::bind((self.ng.ip(), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send_to(line.as_bytes(), self.control())?;
        let mut bytes = [0; 8192];
        let length = socket.recv(&mut bytes)?;
        let answer = String::from_utf8_lossy(&bytes[..length]).into_owned();
        match answer.strip_prefix("ok\n") {
            Some(counts) => Ok(counts.to_owned()),
            None => Err(answer.into()),
        }
    }

    /// Sessions that it has now.
    ///
    /// # Errors
    /// No answer.
    pub(super) fn sessions(&self) -> Result<u64, Box<dyn Error>> {
        counts::read(&self.line("counters")?, "sessions")
            .ok_or_else(|| "a relay that does not count its sessions".into())
    }

    /// Ends it and reads the counters that it printed: sessions left, and the most at once.
    pub(super) fn stop(mut self) -> Result<Left, Box<dyn Error>> {
        if let Some(child) = &mut self.child {
            process::terminate(child.id())?;
            let deadline = Instant::now() + WITHIN;
            while child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    return Err(format!("the relay on {} did not end", self.ng).into());
                }
                thread::sleep(POLL);
            }
        }
        let printed = fs::read_to_string(&self.output)?;
        let read = |name| counts::read(&printed, name).unwrap_or(0);
        Ok(Left {
            sessions: read("sessions"),
            peak: read("sessions_peak"),
            offers: read("offers"),
            repeated: read("repeated"),
        })
    }

    fn control(&self) -> SocketAddr {
        SocketAddr::new(self.ng.ip(), self.ng.port().saturating_add(1))
    }
}

/// What a node said at its end.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Left {
    /// Sessions that nobody had deleted.
    pub(super) sessions: u64,
    /// The most at once.
    pub(super) peak: u64,
    /// Offers since it was started last.
    pub(super) offers: u64,
    /// Requests that came more than once.
    pub(super) repeated: u64,
}
