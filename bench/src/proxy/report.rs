//! Figures of many rounds, what they come to, and how one contender stands beside another. What was not measured is no figure. Pure.

use std::{collections::BTreeMap, time::Duration};

use self::columns::Column;
use super::{load::Answers, scenario::Scenario};

mod columns;
mod table;

/// One contender in one scenario in one round. `None` = there was nothing to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Good answers in a second.
    pub per_second: Option<f64>,
    /// Processor time for each of them, in microseconds.
    pub processor_us: Option<f64>,
    /// Processor time for each event of a stream, in microseconds.
    pub event_us: Option<f64>,
    /// How long half of the answers took at most, in milliseconds.
    pub p50_ms: Option<f64>,
    /// How long 99 of 100 took at most, in milliseconds.
    pub p99_ms: Option<f64>,
    /// How long half of the events were under way at most, in milliseconds.
    pub delay_ms: Option<f64>,
    /// Resident memory for each stream that is open, in KiB.
    pub stream_kib: Option<f64>,
    /// By how much resident memory grew while streams were only held, in KiB.
    pub growth_kib: Option<f64>,
    /// Resident memory before anything was sent, in MiB.
    pub start_mib: Option<f64>,
    /// Which share of the requests that were due was sent; `None` = none was due at any time.
    pub sent: Option<f64>,
    /// Answers that were not as they should be.
    pub bad: u64,
}

/// A gateway that was started from what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// From its start until it said that it is ready.
    pub ready: Duration,
    /// What it takes of memory then.
    pub resident_kib: u64,
}

/// The revisions that a gateway had to take in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Revisions {
    /// How many were committed in each second, while they were wanted.
    pub per_second: f64,
    /// The last of them.
    pub last: u64,
    /// Whether the data plane served that at the end.
    pub served: bool,
}

/// The contenders that the gateway is compared with: the first is what is aimed at.
const PEERS: [&str; 2] = ["nginx", "Envoy"];

/// The contender that is compared.
const GATEWAY: &str = "Signalbox";

/// The contender whose delays are not an addition.
const NOBODY: &str = "upstream itself";

/// Who was sent less than this share of what was due was not measured at the rate that is told.
const SENT: f64 = 0.99;

impl Figures {
    /// What a round came to.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nothing counted here reaches 2^53")]
    pub fn of(answers: &mut Answers) -> Self {
        let processor_us = answers.processor.as_secs_f64() * 1e6;
        let per = |count: u64| (count > 0).then(|| processor_us / count as f64);
        let ms = |us: u32| f64::from(us) / 1000.0;
        Self {
            per_second: (answers.good > 0).then(|| answers.good as f64 / answers.took.as_secs_f64()),
            processor_us: per(answers.good),
            event_us: per(answers.events),
            p50_ms: quantile(&mut answers.latencies_us, 50).map(ms),
            p99_ms: quantile(&mut answers.latencies_us, 99).map(ms),
            delay_ms: quantile(&mut answers.delays_us, 50).map(ms),
            sent: answers.sent,
            bad: answers.bad,
            ..Self::default()
        }
    }
}

/// The value that so many of a hundred do not exceed.
fn quantile(values: &mut [u32], percent: usize) -> Option<u32> {
    let at = (values.len() * percent).div_ceil(100).checked_sub(1)?;
    Some(*values.select_nth_unstable(at).1)
}

/// The value in the middle, or between the two that are.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Every round of every contender.
#[derive(Debug, Clone, Default)]
pub struct Report {
    title: String,
    contenders: Vec<&'static str>,
    rounds: BTreeMap<(&'static str, Scenario), Vec<Figures>>,
    starts: Vec<(&'static str, Started)>,
    revisions: Vec<(&'static str, Revisions)>,
    lines_lost: Vec<(&'static str, u64)>,
}

/// How one contender stands beside another: by their medians, and at least and at most in any round.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Beside {
    median: f64,
    least: f64,
    most: f64,
}

impl Report {
    /// Nothing yet, from these contenders in the order in which they are told, under this title.
    #[must_use]
    pub fn new(title: String, contenders: Vec<&'static str>) -> Self {
        Self { title, contenders, ..Self::default() }
    }

    /// Adds a round.
    pub fn add(&mut self, contender: &'static str, scenario: Scenario, figures: Figures) {
        self.rounds.entry((contender, scenario)).or_default().push(figures);
    }

    /// Adds a start of a gateway.
    pub fn started(&mut self, contender: &'static str, started: Started) {
        self.starts.push((contender, started));
    }

    /// Adds what a gateway had to take in.
    pub fn changed(&mut self, contender: &'static str, revisions: Revisions) {
        self.revisions.push((contender, revisions));
    }

    /// Adds lines that a gateway did not write.
    pub fn lost(&mut self, contender: &'static str, lines: u64) {
        self.lines_lost.push((contender, lines));
    }

    /// What was not as it should be: answers, lines of a log that were not written, revisions that were never served.
    #[must_use]
    pub fn bad(&self) -> u64 {
        let answers: u64 = self.rounds.values().flatten().map(|figures| figures.bad).sum();
        let lines: u64 = self.lines_lost.iter().map(|(_, lines)| lines).sum();
        let revisions: u64 = self.revisions.iter().map(|(_, revisions)| u64::from(!revisions.served)).sum();
        answers + lines + revisions
    }

    fn bad_of(&self, contender: &str) -> u64 {
        let rounds = self.rounds.iter().filter(|((name, _), _)| *name == contender);
        rounds.flat_map(|(_, rounds)| rounds).map(|figures| figures.bad).sum()
    }

    /// A figure of each round. One round without it makes the others no fair sample.
    fn values(&self, contender: &'static str, column: &Column) -> Option<Vec<f64>> {
        self.rounds.get(&(contender, column.scenario))?.iter().map(column.value).collect()
    }

    fn median(&self, contender: &'static str, column: &Column) -> Option<f64> {
        median(self.values(contender, column)?)
    }

    /// As the table has it: what is added to the upstream's own where that is what the column says.
    fn shown(&self, contender: &'static str, column: &Column) -> Option<f64> {
        let value = self.median(contender, column)?;
        match column.is_added() {
            true if contender == NOBODY => None,
            true => Some(value - self.median(NOBODY, column)?),
            false => Some(value),
        }
    }

    /// One contender beside another; nothing where either has no figure, or `compare` makes nothing of them.
    fn beside(
        &self,
        own: &'static str,
        other: &'static str,
        column: &Column,
        compare: fn(f64, f64) -> Option<f64>,
    ) -> Option<Beside> {
        let (mut owns, mut others) = (self.values(own, column)?, self.values(other, column)?);
        // Rounds that an early end left to one of them alone are not compared.
        let both = owns.len().min(others.len());
        owns.truncate(both);
        others.truncate(both);
        let rounds: Option<Vec<_>> = owns.iter().zip(&others).map(|(own, other)| compare(*own, *other)).collect();
        let rounds = rounds?;
        Some(Beside {
            median: compare(median(owns)?, median(others)?)?,
            least: rounds.iter().copied().reduce(f64::min)?,
            most: rounds.iter().copied().reduce(f64::max)?,
        })
    }

    fn has(&self, contender: &str, scenario: Scenario) -> bool {
        self.rounds.keys().any(|(name, measured)| *name == contender && *measured == scenario)
    }
}

/// How many times the other. What costs nothing was not measured well enough to be compared.
fn ratio(own: f64, other: f64) -> Option<f64> {
    (own > 0.0 && other > 0.0).then(|| own / other)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a ratio does")]
fn difference(own: f64, other: f64) -> Option<f64> {
    Some(own - other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        assert_eq!(quantile(&mut [], 99), None);
        assert_eq!(quantile(&mut [7], 1), Some(7));
        let mut hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!((quantile(&mut hundred, 50), quantile(&mut hundred, 99)), (Some(50), Some(99)));
    }

    #[test]
    fn a_median_favours_nobody() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 9.0, 1.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 9.0, 1.0, 2.0]), Some(3.0));
    }

    #[test]
    fn only_rounds_that_both_had_are_compared() {
        let mut report = Report::new(String::new(), vec!["nginx", "Signalbox"]);
        for (contender, per_second) in [("nginx", 10.0), ("Signalbox", 20.0), ("nginx", 90.0)] {
            report.add(contender, Scenario::Chat, Figures { per_second: Some(per_second), ..Figures::default() });
        }
        let beside = report.beside("Signalbox", "nginx", &columns::COLUMNS[0], ratio);
        assert_eq!(beside, Some(Beside { median: 2.0, least: 2.0, most: 2.0 }));
    }

    #[test]
    fn a_round_without_good_answers_has_no_figures() {
        let mut answers = Answers { processor: Duration::from_millis(5), bad: 3, ..Answers::default() };
        assert_eq!(Figures::of(&mut answers), Figures { bad: 3, ..Figures::default() });
    }
}
