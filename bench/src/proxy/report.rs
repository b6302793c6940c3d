//! Figures of many rounds as medians, and medians as Markdown tables with the ratios that are aimed at. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{load::Answers, scenario::Scenario};

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
    /// By how much resident memory grew while streams were only held, in KiB.
    pub growth_kib: f64,
    /// Resident memory before anything was sent, in MiB.
    pub start_mib: f64,
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

/// The contender that others are compared with.
const PLAIN: &str = "nginx";

/// The contender that is compared.
const GATEWAY: &str = "Signalbox";

/// The contender whose delays are not an addition.
const NOBODY: &str = "upstream itself";

/// How much worse a large or a changing configuration may be: within ten percent.
const TOLERANCE: f64 = 0.1;

/// Until a gateway without much to keep is ready, and what it takes then.
const READY: (Duration, f64) = (Duration::from_millis(100), 20.0);

/// Something that is said of each contender.
#[derive(Clone, Copy)]
struct Column {
    title: &'static str,
    scenario: Scenario,
    value: fn(&Figures) -> f64,
    digits: usize,
    /// At most so much, beside nginx.
    target: Target,
}

/// What a figure is compared by, and what is aimed at.
#[derive(Clone, Copy)]
enum Target {
    /// So many times nginx's, at least.
    AtLeast(f64),
    /// So many times nginx's, at most.
    AtMost(f64),
    /// So many milliseconds more than nginx's, at most; of what a contender adds to the upstream's own.
    Added(f64),
    /// What a contender adds to the upstream's own, in milliseconds; nothing is aimed at.
    Shown,
    /// Nothing.
    None,
}

const COLUMNS: [Column; 15] = [
    column("chat: requests/s", Scenario::Chat, |f| f.per_second, 0, Target::AtLeast(0.75)),
    column("chat: CPU us/request", Scenario::Chat, |f| f.processor_us, 1, Target::AtMost(1.5)),
    column("1,000/s: CPU us/request", Scenario::Steady, |f| f.processor_us, 1, Target::AtMost(2.2)),
    column("1,000/s: added p50 ms", Scenario::Steady, |f| f.p50_ms, 2, Target::Shown),
    column("1,000/s: added p99 ms", Scenario::Steady, |f| f.p99_ms, 2, Target::Added(0.2)),
    column("100 KB: CPU us/request", Scenario::LongPrompt, |f| f.processor_us, 0, Target::AtMost(1.6)),
    column("embeddings: CPU us/request", Scenario::Embeddings, |f| f.processor_us, 1, Target::AtMost(1.2)),
    column("paced: CPU us/event", Scenario::Paced, |f| f.event_us, 1, Target::AtMost(1.4)),
    column("paced: added delay p50 ms", Scenario::Paced, |f| f.delay_ms, 3, Target::Added(0.05)),
    column("burst: CPU us/event", Scenario::Burst, |f| f.event_us, 2, Target::AtMost(4.0)),
    column("burst: events/s", Scenario::Burst, |f| f.per_second * 200.0, 0, Target::None),
    column("idle: KiB/stream", Scenario::Idle, |f| f.stream_kib, 1, Target::AtMost(1.0)),
    column("idle: growth KiB", Scenario::Idle, |f| f.growth_kib, 0, Target::None),
    column("start: resident MiB", Scenario::Idle, |f| f.start_mib, 1, Target::None),
    column("chat: p99 ms", Scenario::Chat, |f| f.p99_ms, 2, Target::None),
];

const fn column(
    title: &'static str,
    scenario: Scenario,
    value: fn(&Figures) -> f64,
    digits: usize,
    target: Target,
) -> Column {
    Column { title, scenario, value, digits, target }
}

impl Figures {
    /// What a round came to.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nothing counted here reaches 2^53")]
    pub fn of(answers: &mut Answers) -> Self {
        let processor_us = answers.processor.as_secs_f64() * 1e6;
        let per = |count: u64| if count == 0 { 0.0 } else { processor_us / count as f64 };
        let ms = |us: u32| f64::from(us) / 1000.0;
        Self {
            per_second: answers.good as f64 / answers.took.as_secs_f64(),
            processor_us: per(answers.good),
            event_us: per(answers.events),
            p50_ms: ms(quantile(&mut answers.latencies_us, 50)),
            p99_ms: ms(quantile(&mut answers.latencies_us, 99)),
            delay_ms: ms(quantile(&mut answers.delays_us, 50)),
            bad: answers.bad,
            ..Self::default()
        }
    }
}

/// The value that so many of a hundred do not exceed; 0 of nothing.
fn quantile(values: &mut [u32], percent: usize) -> u32 {
    let Some(at) = (values.len() * percent).div_ceil(100).checked_sub(1) else { return 0 };
    *values.select_nth_unstable(at).1
}

fn middle<T: Copy>(mut values: Vec<T>, order: impl FnMut(&T, &T) -> std::cmp::Ordering) -> Option<T> {
    values.sort_by(order);
    values.get(values.len() / 2).copied()
}

/// Every round of every contender.
#[derive(Debug, Clone, Default)]
pub struct Report {
    contenders: Vec<&'static str>,
    rounds: BTreeMap<(&'static str, Scenario), Vec<Figures>>,
    starts: Vec<(&'static str, Started)>,
}

impl Report {
    /// Adds a round.
    pub fn add(&mut self, contender: &'static str, scenario: Scenario, figures: Figures) {
        if !self.contenders.contains(&contender) {
            self.contenders.push(contender);
        }
        self.rounds.entry((contender, scenario)).or_default().push(figures);
    }

    /// Adds a start of a gateway.
    pub fn started(&mut self, contender: &'static str, started: Started) {
        self.starts.push((contender, started));
    }

    /// Answers that were not as they should be.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.rounds.values().flatten().map(|figures| figures.bad).sum()
    }

    fn bad_of(&self, contender: &str) -> u64 {
        let rounds = self.rounds.iter().filter(|((name, _), _)| *name == contender);
        rounds.flat_map(|(_, rounds)| rounds).map(|figures| figures.bad).sum()
    }

    fn median(&self, contender: &'static str, column: &Column) -> Option<f64> {
        let rounds = self.rounds.get(&(contender, column.scenario))?;
        middle(rounds.iter().map(column.value).collect(), f64::total_cmp)
    }

    /// As the table has it: what is added to the upstream's own where that is what the column says.
    fn shown(&self, contender: &'static str, column: &Column) -> Option<f64> {
        let value = self.median(contender, column)?;
        match column.target {
            Target::Added(_) | Target::Shown if contender == NOBODY => None,
            Target::Added(_) | Target::Shown => Some(value - self.median(NOBODY, column)?),
            Target::AtLeast(_) | Target::AtMost(_) | Target::None => Some(value),
        }
    }

    fn has(&self, contender: &str) -> bool {
        self.contenders.contains(&contender)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = COLUMNS.iter().filter(|column| self.median(NOBODY, column).is_some()).collect();
        write!(f, "| |")?;
        columns.iter().try_for_each(|column| write!(f, " {} |", column.title))?;
        writeln!(f, " bad answers |\n|---|{}", "---|".repeat(columns.len() + 1))?;
        for contender in &self.contenders {
            write!(f, "| {contender} |")?;
            for column in &columns {
                match self.shown(contender, column) {
                    Some(value) => write!(f, " {value:.*} |", column.digits)?,
                    None => write!(f, " - |")?,
                }
            }
            writeln!(f, " {} |", self.bad_of(contender))?;
        }
        if self.has(PLAIN) && self.has(GATEWAY) {
            self.beside_plain(f)?;
        }
        let others = self.contenders.iter().filter(|name| name.starts_with(GATEWAY) && **name != GATEWAY);
        others.copied().try_for_each(|other| self.beside_itself(f, other))?;
        self.starts(f)
    }
}

impl Report {
    /// The gateway beside nginx, with what is aimed at.
    fn beside_plain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| {GATEWAY} beside {PLAIN} | | target |\n|---|---|---|")?;
        for column in &COLUMNS {
            let Some((own, plain)) = self.median(GATEWAY, column).zip(self.median(PLAIN, column)) else { continue };
            let (text, aim, reached) = match column.target {
                Target::AtLeast(least) => {
                    (format!("{:.2}x", own / plain), format!(">= {least}x"), own >= plain * least)
                }
                Target::AtMost(most) => (format!("{:.2}x", own / plain), format!("<= {most}x"), own <= plain * most),
                Target::Added(most) => {
                    (format!("{:+.3} ms", own - plain), format!("<= {most:+} ms"), own - plain <= most)
                }
                Target::Shown | Target::None => continue,
            };
            writeln!(f, "| {} | {text} | {aim}: {} |", column.title, verdict(reached))?;
        }
        Ok(())
    }

    /// A gateway with more to do beside the one without.
    fn beside_itself(&self, f: &mut fmt::Formatter<'_>, other: &'static str) -> fmt::Result {
        writeln!(f, "\n| {other}, beside {GATEWAY} | | within 10 % |\n|---|---|---|")?;
        for column in &COLUMNS {
            let Some((own, plain)) = self.median(other, column).zip(self.median(GATEWAY, column)) else { continue };
            let reached = match column.target {
                Target::AtLeast(_) => own >= plain * (1.0 - TOLERANCE),
                Target::AtMost(_) | Target::Added(_) | Target::Shown => own <= plain * (1.0 + TOLERANCE),
                Target::None => continue,
            };
            writeln!(f, "| {} | {:.2}x | {} |", column.title.replace("added ", ""), own / plain, verdict(reached))?;
        }
        Ok(())
    }

    /// Gateways that were started from what they keep.
    fn starts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for contender in &self.contenders {
            let starts = self.starts.iter().filter(|(name, _)| name == contender);
            let (ready, resident): (Vec<_>, Vec<_>) =
                starts.map(|(_, start)| (start.ready, start.resident_kib)).unzip();
            let (Some(ready), Some(kib)) = (middle(ready, Ord::cmp), middle(resident, Ord::cmp)) else { continue };
            let (most, most_mib) = READY;
            let mib = f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
            // What is aimed at is aimed at where there is not much to keep.
            let aim = |most: String, reached| match *contender {
                GATEWAY => format!(" (<= {most}: {})", verdict(reached)),
                _ => String::new(),
            };
            writeln!(
                f,
                "\n{contender}, started from its cache without a control plane: ready after {} ms{}, {mib:.1} MiB resident{}.",
                ready.as_millis(),
                aim(most.as_millis().to_string(), ready <= most),
                aim(most_mib.to_string(), mib <= most_mib),
            )?;
        }
        Ok(())
    }
}

const fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
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
        let rounds = [
            ("upstream itself", [7.0, 7.0, 7.0]),
            ("nginx", [10.0, 90.0, 20.0]),
            ("Signalbox", [30.0, 28.0, 1000.0]),
            ("Signalbox, large", [34.0, 34.0, 34.0]),
        ];
        for (contender, values) in rounds {
            for processor_us in values {
                let figures = Figures { processor_us, per_second: 100.0, bad: 1, ..Figures::default() };
                report.add(contender, Scenario::Chat, figures);
            }
        }
        let text = report.to_string();
        assert!(text.contains("| chat: CPU us/request | 1.50x | <= 1.5x: reached |"), "{text}");
        assert!(text.contains("| chat: requests/s | 1.00x | >= 0.75x: reached |"), "{text}");
        assert!(text.contains("| chat: CPU us/request | 1.13x | **missed** |"), "{text}");
        assert!(!text.contains("100 KB"), "nothing is said of what was not measured: {text}");
        assert_eq!(report.bad(), 12);
    }

    #[test]
    fn a_delay_is_what_is_added_to_the_upstreams_own() {
        let mut report = Report::default();
        for (contender, p99_ms) in [("upstream itself", 0.5), ("nginx", 0.75), ("Signalbox", 1.0)] {
            report.add(contender, Scenario::Steady, Figures { p99_ms, ..Figures::default() });
        }
        report.started("Signalbox", Started { ready: Duration::from_millis(30), resident_kib: 30 * 1024 });
        let text = report.to_string();
        assert!(text.contains("| nginx | 0.0 | 0.00 | 0.25 | 0 |"), "{text}");
        assert!(text.contains("| 1,000/s: added p99 ms | +0.250 ms | <= +0.2 ms: **missed** |"), "{text}");
        assert!(text.contains("ready after 30 ms (<= 100: reached), 30.0 MiB resident (<= 20: **missed**)."), "{text}");
    }
}
