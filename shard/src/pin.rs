//! Which core a shard runs on, and who steps back for it. glommio places the thread and runs its executor; the shard's loop is the executor's only task.

use std::future::Future;

pub use crate::sys::cpu::step_back;
use glommio::{CpuSet, ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement};

/// glommio reserves this much per executor for storage I/O, which a shard never does: its least, where its default is 10 MiB.
const IO_MEMORY: usize = 64 << 10;
/// Entries of each of glommio's own rings. The shard's loop never uses them.
const RING_DEPTH: usize = 8;

/// Whether this machine has the core, so that a caller can warn before it starts.
#[must_use]
pub fn has_cpu(cpu: usize) -> bool {
    CpuSet::online().is_ok_and(|online| online.into_iter().any(|location| location.cpu == cpu))
}

/// Runs a future on a thread of its own, pinned to `cpu`; unpinned when there is none or the machine lacks it.
///
/// # Errors
/// The thread or the executor's rings cannot be made.
pub(crate) fn spawn<F, T>(
    name: &str,
    cpu: Option<usize>,
    future: impl FnOnce() -> F + Send + 'static,
) -> Result<ExecutorJoinHandle<T>, GlommioError<()>>
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let placement = match cpu {
        Some(cpu) if has_cpu(cpu) => Placement::Fixed(cpu),
        _ => Placement::Unbound,
    };
    LocalExecutorBuilder::new(placement).name(name).io_memory(IO_MEMORY).ring_depth(RING_DEPTH).spawn(future)
}
