//! Chance, settled by a seed: who comes first among equals.

use super::search::Step;

/// A small deterministic generator (SplitMix64); nothing that must not be guessed is drawn from it.
#[derive(Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    fn below(&mut self, limit: u64) -> u64 {
        let scaled = u128::from(self.next()) * u128::from(limit);
        u64::try_from(scaled >> 64).unwrap_or_default()
    }

    /// Orders targets, sorted by priority, within each priority: each place is drawn in proportion to weight among those left;
    /// those without weight come last, as they were written.
    pub(super) fn order(&mut self, targets: &mut [Step<'_>]) {
        for equals in targets.chunk_by_mut(|a, b| a.target.priority == b.target.priority) {
            self.order_equals(equals);
        }
    }

    fn order_equals(&mut self, mut left: &mut [Step<'_>]) {
        while left.len() > 1 {
            let total: u64 = left.iter().map(|step| u64::from(step.target.weight)).sum();
            if total == 0 {
                return;
            }
            let mut drawn = self.below(total);
            let won = left.iter().position(|step| match drawn.checked_sub(u64::from(step.target.weight)) {
                Some(less) => {
                    drawn = less;
                    false
                }
                None => true,
            });
            if let Some(before) = won.and_then(|won| left.get_mut(..=won)) {
                before.rotate_right(1);
            }
            left = left.split_first_mut().map_or(&mut [], |(_, others)| others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Destination, RedirectTarget};

    /// The names of targets in the order drawn, given as name, weight and priority.
    fn drawn(seed: u64, targets: &[(&str, u32, i32)]) -> String {
        let targets: Vec<RedirectTarget> = targets
            .iter()
            .map(|(name, weight, priority)| RedirectTarget {
                to: Destination::Model((*name).into()),
                weight: *weight,
                priority: *priority,
            })
            .collect();
        let mut steps: Vec<Step<'_>> = targets.iter().map(|target| Step { target, asked: "" }).collect();
        Draw::new(seed).order(&mut steps);
        let name = |step: &Step<'_>| match &step.target.to {
            Destination::Model(name) => name.to_string(),
            Destination::Provider { .. } => String::new(),
        };
        steps.iter().map(name).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_order() {
        let targets = [("a", 1, 0), ("b", 1, 0), ("c", 1, 0), ("d", 1, 0)];
        assert_eq!(drawn(7, &targets), drawn(7, &targets));
        assert!((0..50).any(|seed| drawn(seed, &targets) != drawn(7, &targets)));
    }

    #[test]
    fn weight_decides_how_often_a_target_is_first() {
        let firsts = (0..4000).filter(|seed| drawn(*seed, &[("a", 1, 0), ("b", 3, 0)]).starts_with('b')).count();
        assert!((2850..3150).contains(&firsts), "{firsts} of 4000");
    }

    #[test]
    fn priority_goes_before_weight_and_weightless_targets_come_last_as_written() {
        for seed in 0..100 {
            let order = drawn(seed, &[("a", 1, 2), ("z", 0, 1), ("b", 9, 1), ("y", 0, 1), ("c", 1, 1), ("d", 100, 0)]);
            assert!(order == "abczyd" || order == "acbzyd", "{order}");
        }
        assert_eq!(drawn(3, &[("a", 0, 0), ("b", 0, 0)]), "ab");
    }

    #[test]
    fn the_heaviest_weights_do_not_overflow() {
        assert_eq!(drawn(1, &[("a", u32::MAX, 0); 64]).len(), 64);
    }
}
