//! Shedding in the kernel: a share of an overloading peer's new calls never reaches the shard's socket.
//!
//! A refused INVITE costs a shard three datagrams (INVITE, 503, ACK) of the fourteen that a carried call takes, whatever the engine does
//! with it. So while a shard sheds, a socket filter drops most of what the engine would refuse, before it is queued; the engine refuses the
//! rest and goes on measuring (`core/src/admission/thinning.rs` sets the shares).
//!
//! ```text
//!   engine ── Effect::Shed { source, pass } ──► Filter::set: two stores         ┌─ table, mapped by the shard ─┐
//!                                                     └────────────────────────►│ source's key, pass, expiry   │
//!   network ─► UDP ─► filter of the shard's socket ─── reads ──────────────────►│ … 4,096 entries              │
//!                 │        │ drop: counted, silence                             │ how many were dropped        │
//!                 │        └ pass ─► receive queue ─► shard                     └──────────────────────────────┘
//!                 └ the choice of the socket (steer/) came before
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `program.rs` | what is dropped, and the program that decides it |
//! | `table.rs` | the entries: how a source finds its own, and how long one lives |
//! | `error.rs` | why this process or kernel cannot |
//!
//! A filter is loaded at the start and **attached only while its shard sheds**: otherwise a datagram pays nothing. An entry that is not
//! refreshed for a second is dead, so that nothing is dropped on behalf of a shard that has other things to do, or is gone.
//!
//! Refused here: answering (a filter cannot), and dropping anything that belongs to a call in progress.

mod error;
mod program;
mod table;

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use corelane_core::siphash::Key;

use crate::refusal;
use crate::sys::bpf::{self, Map, MapKind, ProgramInfo, ProgramKind};
pub use error::{ShedError, Step};
use program::{Maps, SCRATCH_SIZE};
use table::{Hash, TABLE_WORDS, Table};

/// One shard's filter and its table. Dropping it leaves the program at the sockets that have it, whose entries die within a second.
#[derive(Debug)]
pub struct Filter {
    program: OwnedFd,
    table: Table,
}

impl Filter {
    /// Loads the program; nothing is attached yet. `key` makes the draws: two nodes on the way of a call should not draw the same.
    ///
    /// # Errors
    /// [`ShedError`]: this process may not, or this kernel cannot.
    pub fn load(key: Key) -> Result<Filter, ShedError> {
        let failed = |step| move |error| ShedError::new(step, error);
        let scratch =
            Map::create(MapKind::PerCpuArray, "shed_scratch", SCRATCH_SIZE, 1).map_err(failed(Step::CreateMap))?;
        let map = Map::create_shared("shed_table", TABLE_WORDS).map_err(failed(Step::CreateMap))?;
        let hash = Hash::new(key);
        let program = program::shedding(hash, Maps { scratch: scratch.fd(), table: map.fd() });
        let program = refusal::load(ProgramKind::SocketFilter, &program, "shed")
            .map_err(|error| ShedError::new(Step::Load, error))?;
        let table = Table::new(map.share().map_err(failed(Step::ShareMap))?, hash);
        Ok(Filter { program, table })
    }

    /// Has the program look at what comes to `socket`, instead of any filter that was there.
    ///
    /// # Errors
    /// [`ShedError`] with [`Step::Attach`].
    pub fn attach(&self, socket: impl AsFd) -> Result<(), ShedError> {
        bpf::attach_filter(socket.as_fd(), self.program.as_fd()).map_err(|error| ShedError::new(Step::Attach, error))
    }

    /// Of the new calls of `source` lets `pass` in 65,536 through, for a second from now. Two stores; no kernel call.
    #[inline]
    pub fn set(&self, source: IpAddr, pass: u16) {
        self.table.set(source, pass, bpf::monotonic_ns());
    }

    /// How many datagrams were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.table.dropped()
    }

    /// What the program costs; runs are counted while [`steer::Measuring`](crate::steer::Measuring) lives.
    ///
    /// # Errors
    /// [`ShedError`] with [`Step::Statistics`].
    pub fn cost(&self) -> Result<ProgramInfo, ShedError> {
        bpf::program_info(self.program.as_fd()).map_err(|error| ShedError::new(Step::Statistics, error))
    }
}

/// Lets `socket` take everything again. A socket without a filter stays as it is, which is why no failure is told.
pub fn detach(socket: impl AsFd) {
    let _ = bpf::detach_filter(socket.as_fd());
}

/// The program as a listing for people; the draws' key is not in it.
#[must_use]
pub fn listing() -> String {
    // A listing names maps, not descriptors; any open one will do.
    let any = std::io::stderr();
    program::shedding(Hash::new(Key::new([0; 16])), Maps { scratch: any.as_fd(), table: any.as_fd() }).to_string()
}
