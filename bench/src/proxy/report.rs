//! Figures of many rounds as medians, and medians as a Markdown table with the ratios that are aimed at. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{load::Answers, processor::Taken, scenario::Scenario};

/// One contender in one scenario in one round.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Good answers in a second.
    pub per_second: f64,
    /// Processor time for each of them, in microseconds.
    pub processor_us: f64,
    /// Processor time for each event of a stream, in microseconds.
    pub event_us: f64,
    /// How long half of the answers took at most, in milliseconds.
    pub p50_ms: f64,
    /// How long 99 of 100 took at most, in milliseconds.
    pub p99_ms: f64,
    /// How long half of the events were under way at most, in milliseconds.
    pub delay_ms: f64,
    /// Resident memory for each stream that is open, in KiB.
    pub stream_kib: f64,
    /// Resident memory before anything was sent, in MiB.
    pub start_mib: f64,
    /// Answers that were not as they should be.
    pub bad: f64,
}

/// Something that is said of each contender.
struct Column {
    title: &'static str,
    scenario: Scenario,
    value: fn(&Figures) -> f64,
    digits: usize,
    /// The upstream's own is taken off before ratios are taken; delays are compared by difference.
    added: bool,
    /// At most (or, for requests in a second, at least) so many times nginx's, or so many more milliseconds.
    target: Option<f64>,
}

const COLUMNS: [Column; 14] = [
    column("chat: requests/s", Scenario::Chat, |f| f.per_second, 0, Some(0.75)),
    column("chat: CPU us/request", Scenario::Chat, |f| f.processor_us, 1, Some(1.5)),
    column("1,000/s: CPU us", Scenario::Steady, |f| f.processor_us, 1, Some(2.2)),
    added("1,000/s: p50 ms", Scenario::Steady, |f| f.p50_ms, None),
    added("1,000/s: p99 ms", Scenario::Steady, |f| f.p99_ms, Some(0.2)),
    column("100 KB: CPU us", Scenario::LongPrompt, |f| f.processor_us, 0, Some(1.6)),
    column("embeddings: CPU us", Scenario::Embeddings, |f| f.processor_us, 1, Some(1.2)),
    column("paced: CPU us/event", Scenario::Paced, |f| f.event_us, 1, Some(1.4)),
    added("paced: delay p50 ms", Scenario::Paced, |f| f.delay_ms, Some(0.05)),
    column("burst: CPU us/event", Scenario::Burst, |f| f.event_us, 2, Some(4.0)),
    column("idle: KiB/stream", Scenario::Idle, |f| f.stream_kib, 1, Some(1.0)),
    column("start: RSS MiB", Scenario::Idle, |f| f.start_mib, 1, None),
    column("chat: p99 ms", Scenario::Chat, |f| f.p99_ms, 2, None),
    column("bad answers", Scenario::Chat, |f| f.bad, 0, None),
];

const fn column(
    title: &'static str,
    scenario: Scenario,
    value: fn(&Figures) -> f64,
    digits: usize,
    target: Option<f64>,
) -> Column {
    Column { title, scenario, value, digits, added: false, target }
}

const fn added(title: &'static str, scenario: Scenario, value: fn(&Figures) -> f64, target: Option<f64>) -> Column {
    Column { title, scenario, value, digits: 3, added: true, target }
}

impl Figures {
    /// What a round came to.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nothing counted here reaches 2^53")]
    pub fn of(answers: &mut Answers, took: Duration, before: Taken, after: Taken) -> Self {
        let processor_us = after.processor.saturating_sub(before.processor).as_secs_f64() * 1e6;
        let per = |count: u64| if count == 0 { 0.0 } else { processor_us / count as f64 };
        let ms = |us: u32| f64::from(us) / 1000.0;
        Self {
            per_second: answers.good as f64 / took.as_secs_f64(),
            processor_us: per(answers.good + answers.bad),
            event_us: per(answers.events),
            p50_ms: ms(quantile(&mut answers.latencies_us, 50)),
            p99_ms: ms(quantile(&mut answers.latencies_us, 99)),
            delay_ms: ms(quantile(&mut answers.delays_us, 50)),
            bad: answers.bad as f64,
            ..Self::default()
        }
    }
}

/// The value that so many of a hundred do not exceed; 0 of nothing.
fn quantile(values: &mut [u32], percent: usize) -> u32 {
    let Some(at) = (values.len() * percent).div_ceil(100).checked_sub(1) else { return 0 };
    *values.select_nth_unstable(at).1
}

/// Every round of every contender.
#[derive(Debug, Clone, Default)]
pub struct Report {
    contenders: Vec<&'static str>,
    rounds: BTreeMap<(&'static str, Scenario), Vec<Figures>>,
}

impl Report {
    /// Adds a round.
    pub fn add(&mut self, contender: &'static str, scenario: Scenario, figures: Figures) {
        if !self.contenders.contains(&contender) {
            self.contenders.push(contender);
        }
        self.rounds.entry((contender, scenario)).or_default().push(figures);
    }

    /// Answers of this contender that were not as they should be.
    #[must_use]
    pub fn bad(&self, contender: &str) -> f64 {
        self.rounds
            .iter()
            .filter(|((name, _), _)| *name == contender)
            .flat_map(|(_, rounds)| rounds)
            .map(|f| f.bad)
            .sum()
    }

    fn median(&self, contender: &'static str, column: &Column) -> Option<f64> {
        if column.title == "bad answers" {
            return Some(self.bad(contender));
        }
        let rounds = self.rounds.get(&(contender, column.scenario))?;
        let mut values: Vec<f64> = rounds.iter().map(column.value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn against(&self, contender: &'static str, base: &'static str, column: &Column) -> Option<f64> {
        let (own, base) = (self.median(contender, column)?, self.median(base, column)?);
        if column.added { Some(own - base) } else { (base > 0.0).then(|| own / base) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        COLUMNS.iter().try_for_each(|column| write!(f, " {} |", column.title))?;
        writeln!(f, "\n|---|{}", "---|".repeat(COLUMNS.len()))?;
        for contender in &self.contenders {
            write!(f, "| {contender} |")?;
            for column in &COLUMNS {
                match self.median(contender, column) {
                    Some(value) => write!(f, " {value:.*} |", column.digits)?,
                    None => write!(f, " - |")?,
                }
            }
            writeln!(f)?;
        }
        self.ratios(f)
    }
}

impl Report {
    /// The gateway beside nginx, with what is aimed at.
    fn ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.contenders.contains(&"nginx") || !self.contenders.contains(&"Signalbox") {
            return Ok(());
        }
        writeln!(f, "\n| Signalbox beside nginx | | target |\n|---|---|---|")?;
        for column in &COLUMNS {
            let Some((ratio, target)) = self.against("Signalbox", "nginx", column).zip(column.target) else { continue };
            let reached = if column.title.ends_with("requests/s") { ratio >= target } else { ratio <= target };
            let (unit, relation) = match (column.added, column.title.ends_with("requests/s")) {
                (true, _) => (" ms more", "<="),
                (false, true) => ("x", ">="),
                (false, false) => ("x", "<="),
            };
            let verdict = if reached { "reached" } else { "**not reached**" };
            writeln!(f, "| {} | {ratio:.2}{unit} | {relation} {target}{unit}: {verdict} |", column.title)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        assert_eq!(quantile(&mut [], 99), 0);
        assert_eq!(quantile(&mut [7], 1), 7);
        let mut hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!((quantile(&mut hundred, 50), quantile(&mut hundred, 99)), (50, 99));
    }

    #[test]
    fn medians_are_of_rounds_and_ratios_of_medians() {
        let mut report = Report::default();
        for (contender, values) in [("nginx", [10.0, 90.0, 20.0]), ("Signalbox", [30.0, 28.0, 1000.0])] {
            for processor_us in values {
                report.add(
                    contender,
                    Scenario::Chat,
                    Figures { processor_us, per_second: 100.0, ..Figures::default() },
                );
            }
        }
        let text = report.to_string();
        assert!(text.contains("| chat: CPU us/request | 1.50x | <= 1.5x: reached |"), "{text}");
        assert!(text.contains("| chat: requests/s | 1.00x | >= 0.75x: reached |"), "{text}");
        assert!(!text.contains("\n| 100 KB"), "nothing is said of what was not measured: {text}");
    }
}
