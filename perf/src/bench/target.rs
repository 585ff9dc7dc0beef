//! The system under test as a child process: started, asked whether it is ready, ended by SIGTERM, its counters read.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
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

/// A running child. Dropping it kills it, so that a bench that fails leaves nothing behind.
pub(super) struct Target {
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
    pub(super) fn start(settings: &Settings, kind: Kind, cps: u32) -> Result<Target, Box<dyn Error>> {
        let directory = std::env::temp_dir().join(format!("corelane-perf-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let mut command = match kind {
            Kind::Corelane => {
                let binary = match &settings.corelane {
                    Some(binary) => binary.clone(),
                    None => std::env::current_exe()?.with_file_name("corelane"),
                };
                corelane(settings, &binary, &directory, cps)?
            }
            Kind::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["floor", "--listen", &settings.target.to_string()]);
                command.args(["--callee", &settings.uas_bind.to_string()]);
                command
            }
        };
        let output = File::create(directory.join("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Target { child, kind, directory })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the target serves calls: the floor's socket is bound, Corelane answers OPTIONS with 200.
    pub(super) fn wait_until_ready(&mut self, settings: &Settings) -> Result<(), Box<dyn Error>> {
        let mut prober = settings.uac_bind;
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
                    kernel::socket_drops(&[settings.target]).is_some()
                }
                Kind::Corelane => answers(&prober, settings.target, attempt)?,
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
    pub(super) fn stop(mut self, within: Duration) -> Result<Vec<(String, u64)>, Box<dyn Error>> {
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

fn corelane(settings: &Settings, binary: &Path, directory: &Path, cps: u32) -> io::Result<Command> {
    let routes = match &settings.routes {
        Some(routes) => routes.clone(),
        None => {
            let routes = directory.join("routes");
            fs::create_dir_all(&routes)?;
            for (name, text) in routing_set(settings) {
                fs::write(routes.join(name), text)?;
            }
            routes
        }
    };
    // Calls in progress, twice over, with room for what hangs in a bad run.
    let in_progress = u64::from(cps) * (settings.ring_ms + settings.hold_ms) / 1000;
    let mut command = Command::new(binary);
    command.arg("run").arg("--routes").arg(routes).arg("--state-dir").arg(directory.join("state"));
    command.args(["--shards", "1", "--cpus", &settings.target_cpu.to_string()]);
    command.args(["--control-cpu", &settings.target_cpu.to_string()]);
    command.args(["--calls-max", &(in_progress * 2 + 10_000).to_string()]);
    command.args(["--cps-max", &(u64::from(cps) * 5 / 4 + 100).to_string()]);
    command.args(&settings.corelane_arg);
    Ok(command)
}

/// One provider (the caller), one gateway (the callee), one route for what the generator dials, and some neighbours.
fn routing_set(settings: &Settings) -> [(&'static str, String); 7] {
    let Settings { target, uac_bind, uas_bind, .. } = settings;
    let (host, port) = (target.ip(), target.port());
    let bits = if uac_bind.is_ipv4() { 32 } else { 128 };
    [
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
    ]
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
