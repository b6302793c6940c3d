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
