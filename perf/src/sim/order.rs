//! Responses of one branch leave an engine in the order in which they came to it (SPEC §3 *Answers*).
//!
//! ```text
//!   X-Order: <branch> <number>      written by whoever answers; the engine copies what it does not know
//!
//!   came to the engine   1 2 2 3 1        each copy that arrived, repetitions and doubles too
//!   left the engine      1   2 3 1        what leaves must be found in what came, behind what left before it
//! ```
//!
//! So a response may be absorbed or lost, and one that came again may leave again; none may overtake. What the engine sends twice by
//! itself (RFC 3261 §17.2.1: an INVITE that comes again gets the last response once more) is the response that left last.

use super::network::{LegIndex, Party};
use super::wire::{header, leading_number};
use super::world::World;
use crate::wire::{Message, Start, decimal, put};

/// The header that names a response.
const NAME: &[u8] = b"X-Order";

/// What came to an engine on one branch, and how much of it has left.
#[derive(Default)]
pub(super) struct Order {
    /// Number of the next response.
    next: u32,
    came: Vec<u32>,
    /// Of what came, this many have left or will not.
    left: usize,
}

impl Order {
    fn leaves(&mut self, number: u32) -> bool {
        // The engine repeats it, whether or not another copy of it waits.
        if self.left > 0 && self.came[self.left - 1] == number {
            return true;
        }
        let Some(ahead) = self.came[self.left..].iter().position(|came| *came == number) else { return false };
        self.left += ahead + 1;
        true
    }
}

impl World<'_> {
    /// The order of a new branch, which whoever answers on it keeps.
    pub(super) fn open_order(&mut self) -> u32 {
        self.orders.push(Order::default());
        self.orders.len() as u32 - 1
    }

    /// Names a response of a branch, below its first line.
    pub(super) fn mark(&mut self, branch: u32, response: &mut Vec<u8>) {
        let Some(order) = self.orders.get_mut(branch as usize) else { return };
        order.next += 1;
        let mut line = Vec::with_capacity(24);
        put(&mut line, &[NAME, b": "]);
        decimal(&mut line, branch.into());
        line.push(b' ');
        decimal(&mut line, order.next.into());
        line.extend_from_slice(b"\r\n");
        let below = memchr::memchr(b'\n', response).map_or(0, |end| end + 1);
        response.splice(below..below, line);
    }

    /// A response comes to the engine that owns its call.
    pub(super) fn note_order(&mut self, message: &Message<'_>) {
        if let Some((branch, number)) = read(message)
            && let Some(order) = self.orders.get_mut(branch)
        {
            order.came.push(number);
        }
    }

    /// A response leaves the engine.
    pub(super) fn watch_order(&mut self, to: Party, call: u32, message: &Message<'_>) {
        if let Some((branch, number)) = read(message)
            && self.orders.get_mut(branch).is_some_and(|order| !order.leaves(number))
        {
            self.break_promise(&format!("a response to {to:?} overtook another one of its branch"), call);
        }
    }

    /// The branch of a leg's server transaction: the forks of a gateway answer on one.
    pub(super) fn order_of(&mut self, at: LegIndex, branch: &[u8]) -> u32 {
        let known = self.leg(at).servers.iter().find(|server| server.branch == branch).map(|server| server.order);
        known.unwrap_or_else(|| self.open_order())
    }
}

/// The branch and the number of a response.
fn read(message: &Message<'_>) -> Option<(usize, u32)> {
    let Start::Response(_) = message.start else { return None };
    let value = header(message.bytes, NAME)?;
    let blank = memchr::memchr(b' ', value)?;
    Some((leading_number(value) as usize, leading_number(&value[blank + 1..])))
}

#[cfg(test)]
mod tests {
    use super::Order;

    fn all_leave(came: &[u32], left: &[u32]) -> bool {
        let mut order = Order { came: came.to_vec(), ..Order::default() };
        left.iter().all(|number| order.leaves(*number))
    }

    #[test]
    fn what_leaves_keeps_its_order() {
        assert!(all_leave(&[1, 2, 3], &[1, 2, 3]));
        assert!(all_leave(&[1, 2, 2, 3], &[1, 3]), "absorbed");
        assert!(all_leave(&[1, 2, 1], &[1, 2, 1]), "it came again");
        assert!(all_leave(&[1, 2], &[1, 1, 2]), "the engine repeats what left last");
        assert!(all_leave(&[1, 2, 1], &[1, 1, 2]), "also where it came again");
        assert!(all_leave(&[1, 2, 1], &[1, 1, 2, 1]), "and it came again meanwhile");
        assert!(!all_leave(&[1, 2], &[2, 1]), "overtaken");
        assert!(!all_leave(&[1, 2, 3], &[1, 3, 2]), "overtaken");
        assert!(!all_leave(&[1], &[2]), "nobody sent it");
    }
}
