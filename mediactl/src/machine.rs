//! What the machine offers: cores that this process may use, and memory.

use std::fs;

/// Cores that this process may run on (its affinity mask), sorted. Core 0 where the kernel does not say.
#[must_use]
pub fn cpus() -> Vec<usize> {
    let mut cpus: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    cpus.sort_unstable();
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// Bytes of memory that this process can ever get: the machine's, or the control group's limit where that is lower.
/// `None` where neither can be read.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_bytes(&text, "MemTotal"));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

/// Bytes that can be had now without swapping; `None` where the kernel does not say.
#[must_use]
pub fn memory_available_bytes() -> Option<u64> {
    meminfo_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// One line of `/proc/meminfo`, which counts in units of 1024 bytes whatever it calls them.
fn meminfo_bytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:       24584556 kB\nMemFree: 1 kB\nMemAvailable:   20 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(24_584_556 * 1024));
        assert_eq!(meminfo_bytes(text, "MemAvailable"), Some(20 * 1024));
        assert_eq!(meminfo_bytes(text, "Mem"), None);
        assert_eq!(meminfo_bytes("MemTotal: x kB", "MemTotal"), None);
    }

    #[test]
    fn finds_at_least_one_core() {
        let cpus = cpus();
        assert!(!cpus.is_empty() && cpus.is_sorted());
    }
}
