//! What the kernel knows of a run: datagrams it dropped, CPU time a process took, the machine itself.
//!
//! All of it is read from `/proc`; no figure here comes from the processes being measured. CPU time is the sum over a
//! process's threads of `schedstat`'s first field (nanoseconds on a CPU); `stat`'s ticks of 10 ms would be too coarse for
//! a run of seconds. Where the kernel does not account interrupt time apart, a loopback sender also pays for the softirq
//! that delivers its datagrams: for the floor and for Corelane alike.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Drop counters of the whole network namespace.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct UdpErrors {
    /// Datagrams lost because a receive buffer was full.
    pub receive_buffer: u64,
    /// Datagrams received in error, full buffers included.
    pub in_errors: u64,
    /// Sends lost because a send buffer was full.
    pub send_buffer: u64,
}

impl UdpErrors {
    /// The counters now, IPv4 and IPv6 together. A file that cannot be read counts as zero.
    #[must_use]
    pub fn now() -> UdpErrors {
        let mut errors = parse_snmp(&fs::read_to_string("/proc/net/snmp").unwrap_or_default());
        for line in fs::read_to_string("/proc/net/snmp6").unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            let value = value.parse().unwrap_or(0);
            match name {
                "Udp6RcvbufErrors" => errors.receive_buffer += value,
                "Udp6InErrors" => errors.in_errors += value,
                "Udp6SndbufErrors" => errors.send_buffer += value,
                _ => {}
            }
        }
        errors
    }

    /// What came on top of `before`.
    #[must_use]
    pub fn since(self, before: UdpErrors) -> UdpErrors {
        UdpErrors {
            receive_buffer: self.receive_buffer.saturating_sub(before.receive_buffer),
            in_errors: self.in_errors.saturating_sub(before.in_errors),
            send_buffer: self.send_buffer.saturating_sub(before.send_buffer),
        }
    }
}

fn parse_snmp(text: &str) -> UdpErrors {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return UdpErrors::default() };
    let value = |wanted: &str| {
        names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find(|(name, _)| *name == wanted)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(0)
    };
    UdpErrors {
        receive_buffer: value("RcvbufErrors"),
        in_errors: value("InErrors"),
        send_buffer: value("SndbufErrors"),
    }
}

/// How often the tables of sockets are looked through for one that is not found.
const LOOKS: u32 = 10;

/// Datagrams that the sockets bound to these addresses dropped since they were opened; `None` when one of the ports is not
/// bound by anyone. Sockets of the same port count together whatever their address, shards with `SO_REUSEPORT` included.
#[must_use]
pub fn socket_drops(addresses: &[SocketAddr]) -> Option<u64> {
    let look = || {
        let mut tables = fs::read_to_string("/proc/net/udp").unwrap_or_default();
        tables.push_str(&fs::read_to_string("/proc/net/udp6").unwrap_or_default());
        parse_socket_drops(&tables, addresses)
    };
    // A table is read a page at a time, and goes on at the place of a line: where somebody's socket is closed in between, one is passed over.
    (0..LOOKS).find_map(|_| look())
}

fn parse_socket_drops(tables: &str, addresses: &[SocketAddr]) -> Option<u64> {
    let mut drops = 0;
    let mut bound = vec![false; addresses.len()];
    for line in tables.lines() {
        let mut words = line.split_whitespace();
        let Some(port) =
            words.nth(1).and_then(|local| local.rsplit(':').next()).and_then(|hex| u16::from_str_radix(hex, 16).ok())
        else {
            continue;
        };
        let mut ours = false;
        for (address, bound) in addresses.iter().zip(&mut bound) {
            if address.port() == port {
                *bound = true;
                ours = true;
            }
        }
        if ours {
            drops += words.next_back().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    bound.iter().all(|bound| *bound).then_some(drops)
}

/// CPU time that all threads of a process took so far; `None` when it is gone.
#[must_use]
pub fn process_cpu(pid: u32) -> Option<Duration> {
    let mut spent = 0;
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        spent += text.split_whitespace().next()?.parse::<u64>().ok()?;
        threads += 1;
    }
    (threads > 0).then(|| Duration::from_nanos(spent))
}

/// CPU time that each thread of a process took so far, by its name; threads of one name count together. Empty when it is gone.
#[must_use]
pub fn thread_cpu(pid: u32) -> BTreeMap<String, Duration> {
    let mut spent = BTreeMap::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return spent };
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        // A thread may end between the listing and the look.
        let Some((name, text)) = read("comm").zip(read("schedstat")) else { continue };
        let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        *spent.entry(name.trim_end().to_owned()).or_default() += Duration::from_nanos(nanoseconds);
    }
    spent
}

/// Where a figure was taken.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPU model name.
    pub cpu: String,
    /// CPUs that the kernel runs.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the working tree, with a mark when it was changed.
    pub commit: String,
}

impl Machine {
    /// This machine and the commit of the current directory; what cannot be learned is "unknown".
    #[must_use]
    pub fn here() -> Machine {
        let unknown = || "unknown".to_owned();
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        Machine {
            cpu: model.map_or_else(unknown, |name| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            commit: git(&["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]).unwrap_or_else(unknown),
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{UdpErrors, parse_snmp, parse_socket_drops, process_cpu, thread_cpu};

    #[test]
    fn snmp_counters_are_found_by_name() {
        let text = "Ip: A B\nIp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 9 8 7 6 5 4\n\
                    UdpLite: InErrors\nUdpLite: 99\n";
        assert_eq!(parse_snmp(text), UdpErrors { receive_buffer: 5, in_errors: 7, send_buffer: 4 });
        assert_eq!(parse_snmp(""), UdpErrors::default());
    }

    #[test]
    fn drops_of_our_ports_only_and_only_when_all_are_bound() {
        let table = "  sl  local_address rem_address st\n\
            1: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 3\n\
            2: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 4\n\
            3: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 50\n";
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(parse_socket_drops(table, &[at(5060)]), Some(7));
        assert_eq!(parse_socket_drops(table, &[at(5060), at(5061)]), None);
    }

    #[test]
    fn a_process_that_lives_has_cpu_time_and_one_that_cannot_exist_has_none() {
        assert!(process_cpu(std::process::id()).is_some());
        assert!(process_cpu(u32::MAX).is_none());
    }

    #[test]
    fn threads_are_known_by_their_names() {
        let (told, asked) = std::sync::mpsc::channel::<()>();
        let thread =
            std::thread::Builder::new().name("counted".to_owned()).spawn(move || asked.recv()).expect("a thread");
        // The name is set by the thread itself, once it runs.
        while !thread_cpu(std::process::id()).contains_key("counted") {
            std::thread::yield_now();
        }
        drop(told);
        assert!(thread.join().expect("it ends").is_err(), "nobody told it anything");
        assert!(thread_cpu(u32::MAX).is_empty());
    }
}
