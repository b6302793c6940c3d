//! From samples to what a reader wants to know. Pure.

use std::fmt;

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Requests done so far.
    pub requests: u64,
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Open descriptors, connections and files alike.
    pub descriptors: usize,
}

/// By how many KiB memory grows over 1,000 requests, by least squares; `None` = there are not two points to draw a line through.
#[expect(clippy::cast_precision_loss, reason = "neither requests nor KiB reach 2^53")]
#[must_use]
pub fn slope(samples: &[Sample]) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.requests as f64 / 1000.0, sample.resident_kib as f64)).collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| together / spread)
}

/// Samples as a Markdown table, each with when it was taken.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a>(pub &'a [(&'a str, Sample)]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| when | streams so far | resident, KiB | descriptors |\n|---|---|---|---|")?;
        self.0.iter().try_for_each(|(when, Sample { requests, resident_kib, descriptors })| {
            writeln!(f, "| {when} | {requests} | {resident_kib} | {descriptors} |")
        })
    }
}

/// One thing that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What.
    pub what: String,
    /// What it should be; empty = it is not ours to say.
    pub target: &'static str,
    /// What it was.
    pub measured: String,
    /// Time on a core that the program took for it; empty = none of it was the program's.
    pub cpu: String,
}

/// Figures as a Markdown table.
#[derive(Debug, Clone, Copy)]
pub struct Figures<'a>(pub &'a [Figure]);

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | target | measured | CPU time |\n|---|---|---|---|")?;
        self.0.iter().try_for_each(|Figure { what, target, measured, cpu }| {
            writeln!(f, "| {what} | {target} | {measured} | {cpu} |")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(requests: u64, resident_kib: u64) -> Sample {
        Sample { requests, resident_kib, descriptors: 10 }
    }

    #[test]
    fn a_slope_is_per_thousand_requests() {
        let growing = [sample(0, 100), sample(10_000, 200), sample(20_000, 300)];
        assert!(slope(&growing).is_some_and(|slope| (slope - 10.0).abs() < 1e-9));
        let flat = [sample(0, 100), sample(10_000, 110), sample(20_000, 100)];
        assert!(slope(&flat).is_some_and(|slope| slope.abs() < 1e-9));
    }

    #[test]
    fn one_point_has_no_slope() {
        assert_eq!((slope(&[]), slope(&[sample(1, 1)])), (None, None));
    }
}
