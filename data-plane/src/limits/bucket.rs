//! A bucket that leaks: what was used is forgotten at a steady rate, a limit's worth in a minute. It may hold more than fits.

use std::{num::NonZeroU64, time::Duration};

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// What was used and is not yet forgotten.
#[derive(Debug)]
pub(super) struct Bucket {
    used: u64,
    /// Up to when what was used is forgotten.
    at: Instant,
}

impl Bucket {
    /// Nothing was used.
    pub(super) fn new(now: Instant) -> Self {
        Self { used: 0, at: now }
    }

    /// How much was used.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Forgets what is due by now; everything, where there is no limit.
    pub(super) fn leak(&mut self, limit: Option<NonZeroU64>, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        let due = limit.map_or(u64::MAX, |limit| {
            let due = elapsed.as_nanos() * u128::from(limit.get()) / MINUTE.as_nanos();
            u64::try_from(due).unwrap_or(u64::MAX)
        });
        match limit {
            Some(limit) if due < self.used => {
                self.used -= due;
                self.at += lasting(due, limit);
            }
            Some(_) | None => (self.used, self.at) = (0, now),
        }
    }

    pub(super) fn add(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    pub(super) fn take(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount);
    }

    /// How long until there is room for one more; `None` = there is.
    pub(super) fn wait(&self, limit: NonZeroU64, now: Instant) -> Option<Duration> {
        let excess = self.used.checked_sub(limit.get())? + 1;
        Some(self.until_forgotten(excess, limit, now))
    }

    /// How long until nothing is used.
    pub(super) fn reset(&self, limit: NonZeroU64, now: Instant) -> Duration {
        self.until_forgotten(self.used, limit, now)
    }

    fn until_forgotten(&self, amount: u64, limit: NonZeroU64, now: Instant) -> Duration {
        lasting(amount, limit).saturating_sub(now.saturating_duration_since(self.at))
    }
}

/// How long it takes to forget that much, rounded up so that it is forgotten by then.
fn lasting(amount: u64, limit: NonZeroU64) -> Duration {
    let nanos = (u128::from(amount) * MINUTE.as_nanos()).div_ceil(u128::from(limit.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIX: NonZeroU64 = NonZeroU64::new(6).unwrap();

    #[test]
    fn what_was_used_is_forgotten_a_limits_worth_in_a_minute() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.add(9);
        for (seconds, used, wait, reset) in [
            (0, 9, Some(40), 90),
            (9, 9, Some(31), 81),
            (10, 8, Some(30), 80),
            (39, 6, Some(1), 51),
            (40, 5, None, 50),
            (90, 0, None, 0),
            (900, 0, None, 0),
        ] {
            let now = start + Duration::from_secs(seconds);
            bucket.leak(Some(SIX), now);
            assert_eq!(bucket.used(), used, "after {seconds} s");
            assert_eq!(bucket.wait(SIX, now), wait.map(Duration::from_secs), "after {seconds} s");
            assert_eq!(bucket.reset(SIX, now), Duration::from_secs(reset), "after {seconds} s");
        }
    }

    #[test]
    fn forgetting_often_is_forgetting_as_much() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.add(6);
        for millis in 0..=60_000 {
            bucket.leak(Some(SIX), start + Duration::from_millis(millis));
        }
        assert_eq!(bucket.used(), 0);
    }

    #[test]
    fn nothing_overflows() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.add(u64::MAX);
        bucket.add(1);
        let most = NonZeroU64::MAX;
        bucket.leak(Some(most), start + 1000 * MINUTE);
        assert_eq!(bucket.used(), 0);
        bucket.add(u64::MAX);
        assert_eq!(bucket.wait(SIX, start + 1000 * MINUTE), Some(Duration::from_nanos(u64::MAX)));
    }
}
