//! Steering in the kernel: every message of a call meets one shard.
//!
//! Each listener has one UDP socket per shard, all bound to one address with `SO_REUSEPORT`: a **group**. An
//! `SK_REUSEPORT` program, attached to the group, finds the Call-ID in each datagram and selects the socket of the shard
//! that owns it, so that no datagram crosses from one shard to another in user space.
//!
//! ```text
//!                      ┌── scratch   one value per CPU: the message under the program's eyes
//!   program of group 0 ┤
//!                      ├── table     65,536 slots × the shard's number   ◄── one for all groups
//!                      └── sockets 0 the group's sockets by shard        ◄── one per group
//! ```
//!
//! [`attach`] does it all, in the only order that works: the sockets are bound (the caller), maps are made, programs
//! loaded, sockets placed (the kernel takes only a bound socket of a group), and last the programs attached, so that no
//! datagram meets a half-filled array. What fails is undone.
//!
//! The program belongs to the group, not to [`Attached`]: it stays until the group's last socket is closed. A datagram that shows
//! no Call-ID, or whose shard has no socket any more, goes where the kernel's own hash of addresses and ports sends it.
//!
//! Where the kernel does not allow it, shards forward to each other by the same [`Steering`].

mod direct;
mod error;
mod program;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corelane_core::steering::{SLOTS, Steering};

use crate::assembler::Program;
use crate::refusal;
use crate::sys::bpf::{self, Map, MapKind, ProgramKind};
pub use bpf::ProgramInfo;
pub use error::{SteerError, Step};
use program::{Maps, SCRATCH_SIZE, TABLE_SIZE};

/// Steering at work. Dropping it closes our descriptors and leaves the groups steered; [`detach`] ends it.
/// It holds no socket: one held open here would stay a member of its group, and be sent datagrams, after its shard is gone.
#[derive(Debug)]
pub struct Attached {
    table: Map,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    program: OwnedFd,
    _sockets: Map,
}

/// Steers `groups[listener][shard]`: bound UDP sockets with `SO_REUSEPORT`, those of a listener on one address.
///
/// # Errors
/// [`SteerError`] names the step, the kernel's errno and the cure; no group is steered then.
///
/// # Panics
/// When a group has no socket for a shard of the table: the caller built both from one number of shards.
pub fn attach(steering: &Steering, groups: &[Vec<BorrowedFd<'_>>]) -> Result<Attached, SteerError> {
    let create = |kind, name, value_size, entries| {
        Map::create(kind, name, value_size, entries).map_err(|error| SteerError::new(Step::CreateMap(name), error))
    };
    let scratch = create(MapKind::PerCpuArray, "steer_scratch", SCRATCH_SIZE, 1)?;
    let table = create(MapKind::Array, "steer_table", TABLE_SIZE, 1)?;
    let mut attached = Attached { table, groups: Vec::with_capacity(groups.len()) };
    attached.set_table(steering.table())?;

    let shards = steering.table().iter().max().map_or(0, |last| usize::from(*last) + 1);
    for (group, sockets) in groups.iter().enumerate() {
        assert!(sockets.len() >= shards, "listener {group} has {} sockets for {shards} shards", sockets.len());
        let places = create(MapKind::ReuseportSocketArray, "steer_sockets", 8, sockets.len())?;
        let maps = Maps { scratch: scratch.fd(), table: attached.table.fd(), sockets: places.fd() };
        let program = load(&program::steering(steering.key(), maps), Step::Load { group })?;
        for (shard, socket) in sockets.iter().enumerate() {
            places
                .update_socket(shard as u32, *socket)
                .map_err(|error| SteerError::new(Step::PlaceSocket { group, shard }, error))?;
        }
        attached.groups.push(Group { program, _sockets: places });
    }
    for (group, (sockets, steered)) in groups.iter().zip(&attached.groups).enumerate() {
        if let Err(error) = bpf::attach_to_group(sockets[0], steered.program.as_fd()) {
            detach(&groups[..group]);
            return Err(SteerError::new(Step::Attach { group }, error));
        }
    }
    Ok(attached)
}

/// Ends steering: the kernel's own hash chooses for these groups again. A group that is not steered stays as it is, which is
/// why no failure is told.
pub fn detach(groups: &[Vec<BorrowedFd<'_>>]) {
    for socket in groups.iter().filter_map(|sockets| sockets.first()) {
        let _ = bpf::detach_from_group(*socket);
    }
}

fn load(program: &Program, step: Step) -> Result<OwnedFd, SteerError> {
    refusal::load(ProgramKind::SkReuseport, program, "steer").map_err(|error| SteerError::new(step, error))
}

impl Attached {
    /// Writes another slot table, for all groups at once. While it is written a datagram meets the old or the new shard of its slot.
    ///
    /// # Errors
    /// [`SteerError`] with [`Step::WriteTable`].
    ///
    /// # Panics
    /// When `table` has not a shard for each slot.
    pub fn set_table(&self, table: &[u8]) -> Result<(), SteerError> {
        assert_eq!(table.len(), SLOTS, "a shard for each slot");
        self.table.update(0, table).map_err(|error| SteerError::new(Step::WriteTable, error))
    }

    /// What the programs cost, by listener.
    ///
    /// # Errors
    /// [`SteerError`] with [`Step::Statistics`].
    pub fn info(&self) -> Result<Vec<ProgramInfo>, SteerError> {
        self.groups.iter().map(|group| info(group.program.as_fd())).collect()
    }
}

fn info(program: BorrowedFd<'_>) -> Result<ProgramInfo, SteerError> {
    bpf::program_info(program).map_err(|error| SteerError::new(Step::Statistics, error))
}

/// The kernel's counting of runs and their time; it stops when this is dropped. Costs every program of the machine two readings
/// of the clock a run, so it is for measuring only.
#[derive(Debug)]
pub struct Measuring {
    _statistics: OwnedFd,
}

impl Measuring {
    /// Starts counting.
    ///
    /// # Errors
    /// [`SteerError`] with [`Step::Statistics`] (needs CAP_SYS_ADMIN).
    pub fn start() -> Result<Measuring, SteerError> {
        let statistics = bpf::enable_statistics().map_err(|error| SteerError::new(Step::Statistics, error))?;
        Ok(Measuring { _statistics: statistics })
    }
}

/// A program that selects nothing, attached to the group of `socket`: what the kernel's part of a run costs, to be taken off
/// the cost of steering.
///
/// # Errors
/// [`SteerError`] as for [`attach`].
pub fn attach_nothing(socket: BorrowedFd<'_>) -> Result<Nothing, SteerError> {
    let program = load(&program::nothing(), Step::Load { group: 0 })?;
    bpf::attach_to_group(socket, program.as_fd()).map_err(|error| SteerError::new(Step::Attach { group: 0 }, error))?;
    Ok(Nothing { program })
}

/// The empty program of [`attach_nothing`].
#[derive(Debug)]
pub struct Nothing {
    program: OwnedFd,
}

impl Nothing {
    /// What it costs.
    ///
    /// # Errors
    /// [`SteerError`] with [`Step::Statistics`].
    pub fn info(&self) -> Result<ProgramInfo, SteerError> {
        info(self.program.as_fd())
    }
}

/// The steering program as a listing for people; the key is not in it.
#[must_use]
pub fn listing(steering: &Steering) -> String {
    // A listing names maps, not descriptors; any open one will do.
    let any = std::io::stderr();
    let maps = Maps { scratch: any.as_fd(), table: any.as_fd(), sockets: any.as_fd() };
    program::steering(steering.key(), maps).to_string()
}
