//! What a thread has cost, and how much it may take from others.

use std::time::Duration;

/// CPU time that the calling thread has used so far, in user and kernel together. A measurement's clock: no shard reads it while
/// it serves calls.
#[must_use]
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a local that lives across the call. The clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Makes the calling thread step back behind others by that many steps of niceness; says whether the kernel did it.
#[must_use]
pub fn step_back(nice: i32) -> bool {
    // SAFETY: no pointers. Process 0 is the calling thread: on Linux niceness is a thread's.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
}

#[cfg(test)]
mod tests {
    use super::{step_back, thread_cpu};

    #[test]
    fn one_thread_steps_back_and_no_other() {
        // The nineteenth field of a thread's line (proc_pid_stat(5)), the seventeenth behind its name.
        let nice = || {
            let line = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread has one");
            let (_, fields) = line.rsplit_once(") ").expect("its name is in parentheses");
            fields.split(' ').nth(16).and_then(|field| field.parse::<i32>().ok()).expect("a number")
        };
        let before = nice();
        let stepped = std::thread::spawn(move || (step_back(19), nice())).join().expect("no panic");
        assert_eq!((stepped, nice()), ((true, 19), before));
    }

    #[test]
    fn work_costs_time() {
        let before = thread_cpu();
        let mut sum = 0u64;
        while thread_cpu() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(thread_cpu() > before);
    }
}
