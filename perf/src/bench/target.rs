//! The system under test as a child process: started, asked whether it is ready, ended by SIGTERM, its counters read.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Stand;
use crate::kernel;
use crate::sys::process;

/// How long a target may take to answer its first OPTIONS.
const READY_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The bare relay.
    Floor,
    /// The product.
    Corelane,
}

impl Kind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Corelane => "corelane",
        }
    }
}

/// Media nodes of one set and one weight; none for direct media.
#[derive(Copy, Clone)]
pub(crate) struct Fleet<'a> {
    /// Where they answer ng.
    pub(crate) nodes: &'a [SocketAddr],
    /// Sessions that each takes.
    pub(crate) max_sessions: u32,
}

impl Fleet<'_> {
    /// Direct media.
    pub(crate) const NONE: Fleet<'static> = Fleet { nodes: &[], max_sessions: 0 };
}

/// A running child. Dropping it kills it, so that a bench that fails leaves nothing behind.
pub(crate) struct Target {
    child: Child,
    kind: Kind,
    directory: PathBuf,
}

impl Drop for Target {
    fn drop(&mut self) {
        // After `stop` the child is gone and both say so; nothing is left to be done about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Target {
    /// The floor for these calls.
    pub(crate) fn floor(stand: &Stand) -> Result<Target, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", "--listen", &stand.target.to_string(), "--callee", &stand.uas_bind.to_string()]);
        Target::start(command, Kind::Floor, directory(stand)?)
    }

    /// Corelane with one route to the callee, its media through these nodes, or direct where there are none.
    pub(crate) fn corelane(stand: &Stand, cps: u32, media: Fleet<'_>) -> Result<Target, Box<dyn Error>> {
        let directory = directory(stand)?;
        let routes = directory.join("routes");
        fs::create_dir_all(&routes)?;
        for (name, text) in routing_set(stand, media) {
            fs::write(routes.join(name), text)?;
        }
        let command = corelane(stand, &routes, &directory, cps)?;
        Target::start(command, Kind::Corelane, directory)
    }

    /// Corelane on a routing directory that exists.
    pub(crate) fn corelane_on(stand: &Stand, cps: u32, routes: &Path) -> Result<Target, Box<dyn Error>> {
        let directory = directory(stand)?;
        let command = corelane(stand, routes, &directory, cps)?;
        Target::start(command, Kind::Corelane, directory)
    }

    fn start(mut command: Command, kind: Kind, directory: PathBuf) -> Result<Target, Box<dyn Error>> {
        let output = File::create(directory.join("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Target { child, kind, directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the target serves calls: the floor's socket is bound, Corelane answers OPTIONS with 200.
    pub(crate) fn wait_until_ready(&mut self, stand: &Stand) -> Result<(), Box<dyn Error>> {
        let mut prober = stand.uac_bind;
        prober.set_port(0);
        let prober = UdpSocket::bind(prober)?;
        prober.set_read_timeout(Some(POLL))?;
        let deadline = Instant::now() + READY_WITHIN;
        for attempt in 0u32.. {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended at its start with {status}:\n{}", self.kind.name(), self.output()).into());
            }
            let ready = match self.kind {
                Kind::Floor => {
                    thread::sleep(POLL);
                    kernel::socket_drops(&[stand.target]).is_some()
                }
                Kind::Corelane => answers(&prober, stand.target, attempt)?,
            };
            if ready {
                break;
            }
            if Instant::now() > deadline {
                let (name, output) = (self.kind.name(), self.output());
                return Err(format!("{name} was not ready within {} s:\n{output}", READY_WITHIN.as_secs()).into());
            }
        }
        Ok(())
    }

    /// Ends the target and reads the counters that it printed.
    pub(crate) fn stop(mut self, within: Duration) -> Result<Vec<(String, u64)>, Box<dyn Error>> {
        process::terminate(self.pid())?;
        let deadline = Instant::now() + within;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("{} did not end within {} s of SIGTERM", self.kind.name(), within.as_secs()).into());
            }
            thread::sleep(POLL);
        }
        Ok(counters(&self.output()))
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.join("output")).unwrap_or_default()
    }
}

fn answers(prober: &UdpSocket, target: SocketAddr, attempt: u32) -> io::Result<bool> {
    let local = prober.local_addr()?;
    let options = format!(
        "OPTIONS sip:{target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKready{attempt};rport\r\n\
         From: <sip:probe@{local}>;tag=probe\r\nTo: <sip:{target}>\r\nCall-ID: ready-{attempt}@{local}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    prober.send_to(options.as_bytes(), target)?;
    let mut answer = [0; 2048];
    match prober.recv(&mut answer) {
        Ok(length) => Ok(answer[..length].starts_with(b"SIP/2.0 200 ")),
        // Nothing yet.
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A directory of this process for one target at a time.
fn directory(stand: &Stand) -> io::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("corelane-perf-{}-{}", std::process::id(), stand.target.port()));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn corelane(stand: &Stand, routes: &Path, directory: &Path, cps: u32) -> io::Result<Command> {
    let binary = match &stand.corelane {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("corelane"),
    };
    // Calls in progress, twice over, with room for what hangs in a bad run.
    let in_progress = u64::from(cps) * (stand.ring_ms + stand.hold_ms) / 1000;
    let mut command = Command::new(binary);
    command.arg("run").arg("--routes").arg(routes).arg("--state-dir").arg(directory.join("state"));
    command.args(["--shards", "1", "--cpus", &stand.target_cpu.to_string()]);
    command.args(["--control-cpu", &stand.target_cpu.to_string()]);
    command.args(["--calls-max", &(in_progress * 2 + 10_000).to_string()]);
    command.args(["--cps-max", &(u64::from(cps) * 5 / 4 + 100).to_string()]);
    command.args(&stand.corelane_arg);
    Ok(command)
}

/// One provider (the caller), one gateway (the callee), one route for what the generator dials, and some neighbours; media nodes of one
/// set and one weight, if any.
fn routing_set(stand: &Stand, media: Fleet<'_>) -> Vec<(&'static str, String)> {
    let Stand { target, uac_bind, uas_bind, .. } = stand;
    let (host, port) = (target.ip(), target.port());
    let bits = if uac_bind.is_ipv4() { 32 } else { 128 };
    let mut tables = vec![
        ("listener.csv", format!("id,name,address,port,transport\n1,bench,{host},{port},udp\n")),
        ("provider.csv", "id,name,enabled,routing_group\n1,caller,true,1\n".to_owned()),
        ("provider_address.csv", format!("provider_id,cidr\n1,{}/{bits}\n", uac_bind.ip())),
        ("gateway.csv", format!("id,name,host,port\n1,callee,{},{}\n", uas_bind.ip(), uas_bind.port())),
        ("carrier.csv", "id,name\n1,bench\n".to_owned()),
        ("carrier_gateway.csv", "carrier_id,gateway_id,priority,weight\n1,1,1,100\n".to_owned()),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,priority,weight\n1,1,49,1,1,100\n2,1,4930,1,1,100\n".to_owned(),
        ),
    ];
    if !media.nodes.is_empty() {
        tables[1].1 = "id,name,enabled,routing_group,media_set\n1,caller,true,1,1\n".to_owned();
        let mut nodes = "id,set,host,port,weight,max_sessions,enabled\n".to_owned();
        for (place, node) in media.nodes.iter().enumerate() {
            nodes.push_str(&format!("{},1,{},{},100,{},1\n", place + 1, node.ip(), node.port(), media.max_sessions));
        }
        tables.push(("media_node.csv", nodes));
    }
    tables
}

/// The lines `counter shard=N name=value`, summed over shards, in the order of their first appearance.
fn counters(output: &str) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for line in output.lines() {
        let Some(pair) =
            line.strip_prefix("counter shard=").and_then(|rest| rest.split_once(' ')).map(|(_, pair)| pair)
        else {
            continue;
        };
        let Some((name, Ok(value))) = pair.trim().split_once('=').map(|(name, value)| (name, value.parse::<u64>()))
        else {
            continue;
        };
        match sums.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += value,
            None => sums.push((name.to_owned(), value)),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::counters;

    #[test]
    fn counters_are_summed_over_shards() {
        let output = "listening\ncounter shard=0 datagrams_in=7\ncounter shard=1 datagrams_in=5\ncounter shard=0 full=0\ncounter x\n";
        assert_eq!(counters(output), [("datagrams_in".to_owned(), 12), ("full".to_owned(), 0)]);
    }
}
