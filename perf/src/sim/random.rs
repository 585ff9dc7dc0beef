//! The one source of chance of a run: splitmix64 over the seed. Everything that is drawn comes from here and in one order, which is
//! what makes a seed replay.

/// A generator.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // The bias of a remainder of 64 bits shows in no run.
        self.bits() % limit
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `permille` times in a thousand. Draws nothing where that never or always is.
    pub(super) fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && (permille >= 1000 || self.below(1000) < u64::from(permille))
    }

    /// One of the choices.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A place in `weights`, drawn by weight; at least one of them is not 0.
    pub(super) fn weighted(&mut self, weights: &[u8]) -> usize {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = self.below(total);
        weights
            .iter()
            .position(|weight| {
                let here = left < u64::from(*weight);
                left = left.saturating_sub(u64::from(*weight));
                here
            })
            .unwrap_or_default()
    }
}

/// Spreads the bits of a number over all 64.
pub(super) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn weights_are_obeyed() {
        let mut random = Random::new(1);
        let mut counts = [0u32; 4];
        for _ in 0..9000 {
            counts[random.weighted(&[0, 1, 0, 2])] += 1;
        }
        assert_eq!((counts[0], counts[2]), (0, 0));
        assert!(counts[3] > counts[1] && counts[1] > 2000, "{counts:?}");
    }

    #[test]
    fn a_seed_repeats() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.bits(), random.between(5, 9), random.below(3)]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
