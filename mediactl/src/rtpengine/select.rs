//! Which node gets a call: weighted rendezvous hashing.
//!
//! Each node draws a number from the call's hash and its own id, divided by its weight; the highest draw wins:
//!
//! ```text
//!   score = weight / -ln(u)      u in (0, 1) = hash(call, node)
//! ```
//!
//! So calls fall on nodes in proportion to their weights, the same call always on the same node, and when a node goes or is
//! excluded only its own calls move, spread over the others by *their* weights. Nothing is remembered for it.
//!
//! A node of weight 0 draws only when no other can.

/// The key of the node with the highest draw; `None` when there is none. Candidates are key, id and weight.
pub fn select<K>(call_hash: u64, candidates: impl Iterator<Item = (K, u32, u16)>) -> Option<K> {
    let mut best: Option<(f64, u32, K)> = None;
    for (key, id, weight) in candidates {
        let score = score(call_hash, id, weight);
        // Equal draws are as good as impossible; the id settles them, so that the order of the candidates never matters.
        let better = best.as_ref().is_none_or(|(high, other, _)| (score, id) > (*high, *other));
        if better {
            best = Some((score, id, key));
        }
    }
    best.map(|(_, _, key)| key)
}

fn score(call_hash: u64, id: u32, weight: u16) -> f64 {
    let bits = mix(call_hash ^ mix(u64::from(id) + 1)) >> 11;
    // 53 bits, moved off both ends of the interval.
    let u = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    let draw = -1.0 / u.ln();
    // Below every draw of a node with weight: those are above 1/37, and these are negative.
    if weight == 0 { -1.0 / draw } else { f64::from(weight) * draw }
}

/// The call's hash is keyed already, so that nobody outside can aim; this only spreads it (the finalizer of SplitMix64).
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(call: u64, nodes: &[(u32, u16)]) -> Option<u32> {
        select(call, nodes.iter().map(|(id, weight)| (*id, *id, *weight)))
    }

    fn calls() -> impl Iterator<Item = u64> {
        (0..40_000).map(|n| mix(n + 0x9e37_79b9))
    }

    #[test]
    fn calls_fall_by_weight() {
        let nodes = [(1, 1), (2, 2), (9, 5), (4, 0)];
        let mut count = [0u32; 10];
        calls().for_each(|call| count[chosen(call, &nodes).unwrap() as usize] += 1);
        for (id, share) in [(1, 5000), (2, 10_000), (9, 25_000)] {
            assert!(count[id].abs_diff(share) < 400, "node {id}: {} of {share}", count[id]);
        }
        assert_eq!(count[4], 0, "weight 0 waits");
    }

    #[test]
    fn a_lost_node_moves_its_own_calls_only_and_spreads_them() {
        let all = [(1, 10), (2, 10), (3, 20), (4, 10)];
        let left = [(1, 10), (2, 10), (4, 10)];
        let mut moved = [0u32; 5];
        for call in calls() {
            let (before, after) = (chosen(call, &all).unwrap(), chosen(call, &left).unwrap());
            if before == 3 {
                moved[after as usize] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        let total: u32 = moved.iter().sum();
        assert!(total.abs_diff(16_000) < 400, "{total}");
        for id in [1, 2, 4] {
            assert!(moved[id].abs_diff(total / 3) < 400, "{moved:?}");
        }
    }

    #[test]
    fn weight_zero_serves_when_no_other_can() {
        assert_eq!(chosen(7, &[]), None);
        assert_eq!(chosen(7, &[(3, 0)]), Some(3));
        let both = [(3, 0), (5, 0)];
        let third = calls().filter(|call| chosen(*call, &both) == Some(3)).count();
        assert!(third.abs_diff(20_000) < 600, "{third}");
    }

    proptest! {
        #[test]
        fn the_order_of_the_candidates_does_not_matter(call: u64, nodes in prop::collection::btree_map(1u32..100, 0u16..9, 1..8)) {
            let mut nodes: Vec<(u32, u16)> = nodes.into_iter().collect();
            let one = chosen(call, &nodes);
            nodes.reverse();
            prop_assert_eq!(chosen(call, &nodes), one);
            prop_assert!(one.is_some());
        }
    }
}
