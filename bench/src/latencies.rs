//! How long many calls took, as the two numbers that a reader asks for. Pure.

use std::{fmt, time::Duration};

/// How long calls took, the shortest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Of these calls, in whichever order they were made.
    #[must_use]
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self(took)
    }

    /// What so many in a hundred calls took at most; nothing where there were none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most] = [50, 99].map(|percent| millis(self.percentile(percent)));
        write!(f, "p50 {half}, p99 {most}, longest {}", millis(self.percentile(100)))
    }
}

/// A time in milliseconds, as exactly as it is worth.
#[must_use]
pub fn millis(time: Duration) -> String {
    let digits = if time < Duration::from_millis(100) { 1 } else { 0 };
    format!("{:.digits$} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_what_so_many_calls_took_at_most() {
        let latencies = Latencies::of((1..=200).rev().map(Duration::from_millis).collect());
        let told = [0, 50, 99, 100].map(|percent| latencies.percentile(percent).as_millis());
        assert_eq!(told, [1, 100, 198, 200]);
        assert_eq!(latencies.to_string(), "p50 100 ms, p99 198 ms, longest 200 ms");
    }

    #[test]
    fn no_calls_took_no_time() {
        assert_eq!(Latencies::default().percentile(99), Duration::ZERO);
    }
}
