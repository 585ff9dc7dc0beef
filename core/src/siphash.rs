//! SipHash-1-3, the keyed hash for everything that a peer chooses.
//!
//! It is written here rather than taken from a crate because the steering program computes the same function in eBPF, and
//! a differential test holds the two equal instruction by instruction; a crate is free to change its input framing.

/// A 128-bit key. It lives in the state directory, so that tokens survive a restart.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Key {
    /// First half, little endian.
    pub k0: u64,
    /// Second half, little endian.
    pub k1: u64,
}

impl Key {
    /// The key in 16 bytes of secret.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Key {
        let half = |from: usize| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&secret[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        Key { k0: half(0), k1: half(8) }
    }

    /// A key for another purpose, so that no value of one purpose says anything of another.
    #[must_use]
    pub fn derive(self, purpose: u64) -> Key {
        let mut first = Hasher::new(self);
        first.word(purpose);
        let mut second = Hasher::new(self);
        second.word(!purpose);
        Key { k0: first.finish(), k1: second.finish() }
    }

    /// The hash of one byte string.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> u64 {
        Hasher::new(self).hash(bytes)
    }
}

/// Keys are secrets: they never reach a log.
impl core::fmt::Debug for Key {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Key(..)")
    }
}

/// The running state; of an empty hash it is all that the key is needed for, so whoever hashes often keeps one. Each [`Hasher::bytes`] absorbs whole words and closes with a word that holds the tail and the
/// length, so that `("ab", "c")` and `("a", "bc")` differ.
#[derive(Copy, Clone)]
pub struct Hasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

/// Its state is as secret as the key.
impl core::fmt::Debug for Hasher {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Hasher(..)")
    }
}

impl Hasher {
    /// An empty hash under `key`.
    #[must_use]
    pub const fn new(key: Key) -> Hasher {
        Hasher {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    /// The four words of the state, v0 to v3 (the steering program starts with those of an empty hash).
    #[must_use]
    pub const fn state(&self) -> [u64; 4] {
        [self.v0, self.v1, self.v2, self.v3]
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    /// Absorbs one word.
    #[inline]
    pub fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Absorbs a byte string and its length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let last = match (tail.len(), bytes.last_chunk::<8>()) {
            (0, _) => 0,
            // The tail is the end of the last eight bytes: shifted down, no copy of unknown length is needed.
            (length, Some(block)) => u64::from_le_bytes(*block) >> (64 - 8 * length),
            (_, None) => tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        self.word(last | (bytes.len() as u64) << 56);
    }

    /// The hash of what was absorbed and one byte string more.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = *self;
        hasher.bytes(bytes);
        hasher.finish()
    }

    /// The hash of all that was absorbed.
    #[inline]
    #[must_use]
    pub fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use core::hash::Hasher as _;

    /// The standard library's default hasher is SipHash-1-3 under the zero key.
    #[test]
    fn agrees_with_the_standard_library() {
        let input: std::vec::Vec<u8> = (0..=255).collect();
        for length in 0..input.len() {
            let mut reference = std::hash::DefaultHasher::new();
            reference.write(&input[..length]);
            assert_eq!(Key { k0: 0, k1: 0 }.hash(&input[..length]), reference.finish(), "length {length}");
        }
    }
}
