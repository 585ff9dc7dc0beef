//! Tests of what the kernel may refuse to this process: they run where it may, and elsewhere say loudly that they did not.

use std::fmt::Display;
use std::io::Write;

/// What was asked of the kernel, or `None` where this process may not: then the error says so.
pub(crate) fn or_refused<T, E: Display>(asked: Result<T, E>, is_permission: impl FnOnce(&E) -> bool) -> Option<T> {
    match asked {
        Ok(given) => Some(given),
        Err(error) => {
            assert!(is_permission(&error), "{error}");
            assert!(error.to_string().contains("CAP_BPF"), "{error}");
            assert!(!is_root_with_all_capabilities(), "root was refused: {error}");
            // Not by a macro: the test harness would keep those lines of a test that passes.
            let line = format!("NOT TESTED: this process may not call bpf(2): {error}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

/// Whether `/proc/self/status` shows CAP_SYS_ADMIN (21) and CAP_BPF (39) as effective: then a refusal is a failure.
fn is_root_with_all_capabilities() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel shows capabilities");
    let capabilities = u64::from_str_radix(line.trim(), 16).unwrap();
    capabilities & (1 << 21 | 1 << 39) == 1 << 21 | 1 << 39
}
