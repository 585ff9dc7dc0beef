//! The only `unsafe` of the shipped crates: kernel calls and memory that the kernel writes.
//!
//! Each file wraps one kernel facility in a safe type, so that nothing outside this folder can hand the kernel a pointer that
//! does not live long enough. The rule that makes this possible: **no pointer that was given to the kernel outlives the call that
//! gave it**, except into memory which the same type owns ([`ring`] keeps its receive buffers for as long as the kernel may
//! write them).

pub(crate) mod address;
pub(crate) mod bpf;
pub(crate) mod cpu;
pub(crate) mod error_queue;
pub(crate) mod event;
pub(crate) mod map;
pub(crate) mod mmsg;
pub(crate) mod ring;
pub(crate) mod socket;
pub(crate) mod stamp;

/// A datagram as the kernel filled it in.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Filled<'a> {
    /// The sender; `None`: not an address.
    pub(crate) peer: Option<corelane_core::Endpoint>,
    /// When the kernel got it; `None`: it did not say.
    pub(crate) stamp: Option<corelane_core::WallTime>,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// It was longer than they are.
    pub(crate) truncated: bool,
}

/// The result of a kernel call that answers −1 on failure.
fn checked(result: libc::c_int) -> std::io::Result<libc::c_int> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
