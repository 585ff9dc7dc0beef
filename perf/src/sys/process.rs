//! Where a thread runs, what it burned, how a child is told to end.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Restricts the calling thread, and what it starts from now on, to one CPU.
///
/// # Errors
/// The kernel's refusal; `InvalidInput` for a CPU number that its set cannot hold.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("CPU {cpu} is beyond the kernel's set")));
    }
    // SAFETY: `cpu_set_t` is an array of integers, for which all zero is a value; `CPU_SET` stays in it by the check above;
    // the call reads `size_of` bytes of a local.
    let refused = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPU time of the calling thread, user and system together.
#[must_use]
pub fn thread_cpu() -> Duration {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec` into a local.
    let refused = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent) };
    // Linux has this clock for every thread since 2.6.12: a refusal would be our bug.
    assert!(refused == 0, "CLOCK_THREAD_CPUTIME_ID exists");
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// Asks a process to end (SIGTERM).
///
/// # Errors
/// `ESRCH` when it is gone, `EPERM` when it is not ours.
pub fn terminate(pid: u32) -> io::Result<()> {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    };
    // SAFETY: `kill` touches no memory of ours. A positive number names exactly one process, never a group.
    let refused = unsafe { libc::kill(pid.max(1), libc::SIGTERM) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// From the first call on SIGTERM and SIGINT end nothing by themselves: they set what is returned here, and interrupt a wait.
#[must_use]
pub fn until_terminated() -> Arc<AtomicBool> {
    static TERMINATED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    extern "C" fn on_signal(_: libc::c_int) {
        // It was set before the handler was installed: this is a load and a store, both allowed in a handler.
        if let Some(terminated) = TERMINATED.get() {
            terminated.store(true, Ordering::Relaxed);
        }
    }
    let terminated = Arc::clone(TERMINATED.get_or_init(Arc::default));
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: the handler touches an atomic alone, which is async-signal-safe; both signals may be caught.
    unsafe {
        libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
        libc::signal(libc::SIGINT, handler as libc::sighandler_t);
    }
    terminated
}
