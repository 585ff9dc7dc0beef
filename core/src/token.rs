//! What Corelane writes into messages and recognises when it comes back.
//!
//! ```text
//! Via branch      z9hG4bK · text( slot 16 | place 32 | generation 32 | loop hash 32 | MAC 32 )      7 + 24 characters
//! Record-Route    ;cl=1  · text( slot 16 | pass 32 | MAC 48 )                                       1 + 16 characters
//! ```
//!
//! Both MACs cover the keyed hash of the Call-ID as well, so that a token is worth nothing outside its call. The slot lets a peer
//! node or another shard count place the message without knowing the call. The place and generation of a branch are a hint:
//! a stale one misses, it never hits another transaction. The leading `1` is the layout's version.
//!
//! Each character carries six bits. All of the alphabet may stand in a Via branch (`token`, RFC 3261 §25.1) and in a URI parameter (`paramchar`),
//! unescaped.

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
pub const TOKEN_PARAMETER: &[u8; 4] = b";cl=";

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

/// The MACs of both tokens, as empty hashes under their keys.
#[derive(Clone, Debug)]
pub struct Tokens {
    branch: Hasher,
    dialog: Hasher,
}

impl Tokens {
    /// Keys derived from the node's secret.
    #[must_use]
    pub fn new(secret: Key) -> Tokens {
        Tokens {
            branch: Hasher::new(secret.derive(u64::from_le_bytes(*b"branch\0\0"))),
            dialog: Hasher::new(secret.derive(u64::from_le_bytes(*b"dialog\0\0"))),
        }
    }

    /// Writes a branch for a call whose Call-ID hashes to `call_hash`.
    #[must_use]
    pub fn branch(&self, call_hash: u64, parts: BranchParts) -> Branch {
        let BranchParts { place, generation, loop_hash } = parts;
        let mac = self.branch_mac(call_hash, parts);
        let words = [
            word(slot_of_hash(call_hash), place),
            u64::from(generation) << 16 | u64::from(loop_hash) >> 16,
            u64::from(loop_hash as u16) << 32 | u64::from(mac),
        ];
        let mut text = [0u8; BRANCH_LENGTH];
        text[..7].copy_from_slice(MAGIC_COOKIE);
        encode(words, &mut text[7..]);
        text
    }

    /// Reads a branch back: `None` when it is not ours or belongs to another Call-ID.
    #[must_use]
    pub fn read_branch(&self, call_hash: u64, text: &[u8]) -> Option<BranchParts> {
        let text: &Branch = text.try_into().ok()?;
        let [first, second, third] = decode(text.strip_prefix(MAGIC_COOKIE)?)?;
        let parts = BranchParts {
            place: first as u32,
            generation: (second >> 16) as u32,
            loop_hash: (second << 16) as u32 | (third >> 32) as u32,
        };
        let ours =
            first == word(slot_of_hash(call_hash), parts.place) && third as u32 == self.branch_mac(call_hash, parts);
        ours.then_some(parts)
    }

    /// The place and generation that a branch names, unchecked: for who compares the whole branch with what it knows.
    #[inline]
    #[must_use]
    pub fn branch_hint(text: &[u8]) -> Option<(u32, u32)> {
        let text: &Branch = text.try_into().ok()?;
        let [first, second] = decode(&text[7..23])?;
        Some((first as u32, (second >> 16) as u32))
    }

    /// Writes the dialog token of pass `pass` of a call.
    #[must_use]
    pub fn dialog(&self, call_hash: u64, pass: u32) -> DialogToken {
        let mut text = [VERSION; DIALOG_LENGTH];
        encode([word(slot_of_hash(call_hash), pass), self.dialog_mac(call_hash, pass)], &mut text[1..]);
        text
    }

    /// Reads a dialog token back: the pass, or `None` when it is not ours or belongs to another Call-ID.
    #[must_use]
    pub fn read_dialog(&self, call_hash: u64, text: &[u8]) -> Option<u32> {
        let text: &DialogToken = text.try_into().ok()?;
        let [VERSION, text @ ..] = text else { return None };
        let [first, mac] = decode(text)?;
        let pass = first as u32;
        (first == word(slot_of_hash(call_hash), pass) && mac == self.dialog_mac(call_hash, pass)).then_some(pass)
    }

    fn branch_mac(&self, call_hash: u64, parts: BranchParts) -> u32 {
        let mut hasher = self.branch;
        hasher.word(call_hash);
        hasher.word(u64::from(parts.place) << 32 | u64::from(parts.generation));
        hasher.word(u64::from(parts.loop_hash));
        hasher.finish() as u32
    }

    /// 48 bits.
    fn dialog_mac(&self, call_hash: u64, pass: u32) -> u64 {
        let mut hasher = self.dialog;
        hasher.word(call_hash);
        hasher.word(u64::from(pass));
        hasher.finish() & ((1 << WORD_BITS) - 1)
    }
}

/// The first word of both tokens.
fn word(slot: Slot, low: u32) -> u64 {
    u64::from(slot.0) << 32 | u64::from(low)
}

/// Bits of a word of a token: eight characters.
const WORD_BITS: u32 = 48;

/// Without `q`: peers look for the header `CSeq` by its letters alone, and one token in a million had them.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnoprstuvwxyz0123456789-_.";
/// Set in what is read of a character outside the alphabet.
const FOREIGN: u32 = 1 << 31;

/// What each character is at each of four places, the first one highest: 24 bits together.
static VALUES: [[u32; 256]; 4] = {
    let mut values = [[FOREIGN; 256]; 4];
    let mut at = 0;
    while at < 4 * 64 {
        let (place, value) = (at / 64, at % 64);
        values[place][ALPHABET[value] as usize] = (value as u32) << (18 - 6 * place);
        at += 1;
    }
    values
};

/// Each word, the highest bits first, as eight characters.
#[inline]
fn encode<const N: usize>(words: [u64; N], text: &mut [u8]) {
    for (word, eight) in words.iter().zip(text.as_chunks_mut::<8>().0) {
        for (place, out) in (1..).zip(eight) {
            *out = ALPHABET[(word >> (WORD_BITS - 6 * place)) as usize & 63];
        }
    }
}

/// Eight characters each to a word; `None` for another length or a character outside the alphabet.
#[inline]
fn decode<const N: usize>(text: &[u8]) -> Option<[u64; N]> {
    let (eights, []) = text.as_chunks() else { return None };
    let text: &[[u8; 8]; N] = eights.try_into().ok()?;
    let (mut words, mut seen) = ([0; N], 0);
    for (word, [a, b, c, d, e, f, g, h]) in words.iter_mut().zip(text) {
        let (high, low) = (four([a, b, c, d]), four([e, f, g, h]));
        seen |= high | low;
        *word = u64::from(high) << 24 | u64::from(low);
    }
    (seen & FOREIGN == 0).then_some(words)
}

/// Four characters, with [`FOREIGN`] where one is none of ours.
#[inline(always)]
fn four([a, b, c, d]: [&u8; 4]) -> u32 {
    let [first, second, third, fourth] = &VALUES;
    first[usize::from(*a)] | second[usize::from(*b)] | third[usize::from(*c)] | fourth[usize::from(*d)]
}

#[cfg(test)]
mod tests {
    use super::{BranchParts, NO_PLACE, Tokens};
    use crate::siphash::Key;

    const CALL: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn each_value_has_a_character_and_no_token_has_cseq() {
        let mut seen = super::ALPHABET.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 64);
        assert!(b"CSeq".iter().any(|byte| !seen.contains(byte)));
    }

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
