//! What a script does to a datagram before it arrives.

use super::compose;

/// A change that the next datagram suffers.
pub(super) enum Bend {
    Replace(u16, u8),
    Insert(u16, u8),
    Delete(u16, u8),
    Repeat(u16, u8),
    Cut,
    Transplant(&'static str, Vec<u8>),
}

impl Bend {
    /// The datagram, changed. Places are taken modulo its length.
    pub(super) fn apply(self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = |place: u16| usize::from(place) % bytes.len().max(1);
        match self {
            Bend::Replace(place, byte) => {
                let at = at(place);
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            Bend::Insert(place, byte) => {
                let at = at(place).min(bytes.len());
                bytes.insert(at, byte);
            }
            Bend::Delete(place, length) => {
                let at = at(place).min(bytes.len());
                let end = (at + usize::from(length)).min(bytes.len());
                bytes.drain(at..end);
            }
            Bend::Repeat(place, length) => {
                let at = at(place).min(bytes.len());
                let end = (at + usize::from(length)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(end..end, part);
            }
            Bend::Transplant(name, donor) => return compose::transplant(&bytes, name, &donor),
            Bend::Cut => {}
        }
        bytes
    }
}
