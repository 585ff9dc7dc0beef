//! What Corelane writes into messages and recognises when it comes back.
//!
//! ```text
//! Via branch      z9hG4bK · base64( slot 16 | place 32 | generation 32 | loop hash 32 | MAC 32 )      7 + 24 characters
//! Record-Route    ;cl=1  · base64( slot 16 | pass 32 | MAC 48 )                                       1 + 16 characters
//! ```
//!
//! Both MACs cover the keyed hash of the Call-ID as well, so that a token is worth nothing outside its call. The slot lets a peer
//! node or another shard count place the message without knowing the call. The place and generation of a branch are a hint:
//! a stale one misses, it never hits another transaction. The leading `1` is the layout's version.
//!
//! The alphabet is that of RFC 4648 §5 without padding: all of it may stand in a Via branch (`token`, RFC 3261 §25.1) and in a URI
//! parameter (`unreserved`).

use crate::siphash::{Hasher, Key};
use crate::steering::{Slot, slot_of_hash};

/// The cookie that marks a branch as RFC 3261's (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8; 7] = b"z9hG4bK";

/// Characters of a branch.
pub const BRANCH_LENGTH: usize = MAGIC_COOKIE.len() + 24;

/// Characters of a dialog token, its version included.
pub const DIALOG_LENGTH: usize = 1 + 16;

/// The URI parameter of a Record-Route that carries the dialog token.
pub const TOKEN_NAME: &[u8] = b"cl";

/// The same as it is written: behind `lr`, before the token.
pub const TOKEN_PARAMETER: &[u8] = b";cl=";

const VERSION: u8 = b'1';

/// A branch as text.
pub type Branch = [u8; BRANCH_LENGTH];

/// A dialog token as text.
pub type DialogToken = [u8; DIALOG_LENGTH];

/// What a branch says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BranchParts {
    /// Place of the client transaction, or [`NO_PLACE`] for a request that has none (ACK for 2xx).
    pub place: u32,
    /// Generation of that place.
    pub generation: u32,
    /// Hash of all that routing looked at (RFC 5393 §4.2.1).
    pub loop_hash: u32,
}

/// The place of a request without a client transaction.
pub const NO_PLACE: u32 = u32::MAX;

/// The keys of both tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    branch: Key,
    dialog: Key,
}

impl Tokens {
    /// Keys derived from the node's secret.
    #[must_use]
    pub fn new(secret: Key) -> Tokens {
        Tokens {
            branch: secret.derive(u64::from_le_bytes(*b"branch\0\0")),
            dialog: secret.derive(u64::from_le_bytes(*b"dialog\0\0")),
        }
    }

    /// Writes a branch for a call whose Call-ID hashes to `call_hash`.
    #[must_use]
    pub fn branch(&self, call_hash: u64, parts: BranchParts) -> Branch {
        let slot = slot_of_hash(call_hash);
        let mut raw = [0u8; 18];
        raw[0..2].copy_from_slice(&slot.0.to_be_bytes());
        raw[2..6].copy_from_slice(&parts.place.to_be_bytes());
        raw[6..10].copy_from_slice(&parts.generation.to_be_bytes());
        raw[10..14].copy_from_slice(&parts.loop_hash.to_be_bytes());
        raw[14..18].copy_from_slice(&self.branch_mac(call_hash, parts).to_be_bytes());
        let mut text = [0u8; BRANCH_LENGTH];
        text[..7].copy_from_slice(MAGIC_COOKIE);
        encode(&raw, &mut text[7..]);
        text
    }

    /// Reads a branch back: `None` when it is not ours or belongs to another Call-ID.
    #[must_use]
    pub fn read_branch(&self, call_hash: u64, text: &[u8]) -> Option<BranchParts> {
        let text = text.strip_prefix(MAGIC_COOKIE)?;
        let raw: [u8; 18] = decode(text)?;
        let parts = BranchParts { place: word(&raw, 2), generation: word(&raw, 6), loop_hash: word(&raw, 10) };
        let slot = Slot(u16::from_be_bytes([raw[0], raw[1]]));
        (slot == slot_of_hash(call_hash) && word(&raw, 14) == self.branch_mac(call_hash, parts)).then_some(parts)
    }

    /// The place and generation that a branch names, unchecked: for who compares the whole branch with what it knows.
    #[must_use]
    pub fn branch_hint(text: &[u8]) -> Option<(u32, u32)> {
        let text: &Branch = text.try_into().ok()?;
        let raw: [u8; 12] = decode(&text[7..23])?;
        Some((word(&raw, 2), word(&raw, 6)))
    }

    /// Writes the dialog token of pass `pass` of a call.
    #[must_use]
    pub fn dialog(&self, call_hash: u64, pass: u32) -> DialogToken {
        let mut raw = [0u8; 12];
        raw[0..2].copy_from_slice(&slot_of_hash(call_hash).0.to_be_bytes());
        raw[2..6].copy_from_slice(&pass.to_be_bytes());
        raw[6..12].copy_from_slice(&self.dialog_mac(call_hash, pass).to_be_bytes()[2..]);
        let mut text = [VERSION; DIALOG_LENGTH];
        encode(&raw, &mut text[1..]);
        text
    }

    /// Reads a dialog token back: the pass, or `None` when it is not ours or belongs to another Call-ID.
    #[must_use]
    pub fn read_dialog(&self, call_hash: u64, text: &[u8]) -> Option<u32> {
        let [VERSION, text @ ..] = text else { return None };
        let raw: [u8; 12] = decode(text)?;
        let pass = word(&raw, 2);
        let slot = Slot(u16::from_be_bytes([raw[0], raw[1]]));
        let mac = &self.dialog_mac(call_hash, pass).to_be_bytes()[2..];
        (slot == slot_of_hash(call_hash) && raw[6..12] == *mac).then_some(pass)
    }

    fn branch_mac(&self, call_hash: u64, parts: BranchParts) -> u32 {
        let mut hasher = Hasher::new(self.branch);
        hasher.word(call_hash);
        hasher.word(u64::from(parts.place) << 32 | u64::from(parts.generation));
        hasher.word(u64::from(parts.loop_hash));
        hasher.finish() as u32
    }

    fn dialog_mac(&self, call_hash: u64, pass: u32) -> u64 {
        let mut hasher = Hasher::new(self.dialog);
        hasher.word(call_hash);
        hasher.word(u64::from(pass));
        hasher.finish()
    }
}

fn word(raw: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NOT_IN_ALPHABET: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [NOT_IN_ALPHABET; 256];
    let mut at = 0;
    while at < 64 {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

/// Three bytes to four characters; `raw` is a multiple of three long.
#[inline]
fn encode(raw: &[u8], text: &mut [u8]) {
    for (three, four) in raw.as_chunks::<3>().0.iter().zip(text.as_chunks_mut::<4>().0) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for (place, out) in four.iter_mut().enumerate() {
            *out = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
        }
    }
}

/// Four characters to three bytes; `None` for another length or a character outside the alphabet.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N / 3 * 4 {
        return None;
    }
    let mut raw = [0u8; N];
    let mut seen = 0;
    for (four, three) in text.as_chunks::<4>().0.iter().zip(raw.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = four.map(|character| VALUES[usize::from(character)]);
        seen |= a | b | c | d;
        *three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    // All bits of a value outside the alphabet are set, and no value of the alphabet has the highest.
    (seen != NOT_IN_ALPHABET && seen < 64).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::{BranchParts, NO_PLACE, Tokens};
    use crate::siphash::Key;

    const CALL: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn branches_come_back() {
        let tokens = Tokens::new(Key { k0: 1, k1: 2 });
        for parts in [
            BranchParts { place: 0, generation: 0, loop_hash: 0 },
            BranchParts { place: NO_PLACE, generation: 7, loop_hash: u32::MAX },
        ] {
            let text = tokens.branch(CALL, parts);
            assert_eq!(tokens.read_branch(CALL, &text), Some(parts));
            assert_eq!(Tokens::branch_hint(&text), Some((parts.place, parts.generation)));
            assert_eq!(tokens.read_branch(CALL ^ 1, &text), None, "another call");
        }
    }

    #[test]
    fn a_changed_character_is_noticed() {
        let tokens = Tokens::new(Key { k0: 1, k1: 2 });
        let branch = tokens.branch(CALL, BranchParts { place: 3, generation: 9, loop_hash: 5 });
        for at in 7..branch.len() {
            let mut forged = branch;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.read_branch(CALL, &forged), None, "character {at}");
        }
        let token = tokens.dialog(CALL, 77);
        assert_eq!(tokens.read_dialog(CALL, &token), Some(77));
        for at in 0..token.len() {
            let mut forged = token;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.read_dialog(CALL, &forged), None, "character {at}");
        }
    }

    #[test]
    fn foreign_text_is_refused() {
        let tokens = Tokens::new(Key { k0: 1, k1: 2 });
        for text in [&b""[..], b"z9hG4bK", b"z9hG4bKabc", b"1", b"z9hG4bK%%%%%%%%%%%%%%%%%%%%%%%%"] {
            assert_eq!(tokens.read_branch(CALL, text), None);
            assert_eq!(Tokens::branch_hint(text), None);
            assert_eq!(tokens.read_dialog(CALL, text), None);
        }
    }
}
