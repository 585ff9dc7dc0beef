//! Steering in the kernel: which socket of a group gets a datagram.

use std::fmt;
use std::os::fd::BorrowedFd;

use corelane_core::steering::Steering;

/// The attached program; detaching is dropping it.
pub struct Attached(());

/// Why the kernel does not steer.
#[derive(Debug)]
pub struct SteerError(&'static str);

impl fmt::Display for SteerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for SteerError {}

/// Attaches the program to each reuseport group; `groups[listener][shard]` are its bound sockets.
///
/// # Errors
/// The kernel refuses, or this program was built without it.
pub fn attach(_steering: &Steering, _groups: &[Vec<BorrowedFd<'_>>]) -> Result<Attached, SteerError> {
    Err(SteerError("not built"))
}
