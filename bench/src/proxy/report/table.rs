//! A report as Markdown: the figures, the gateway beside its peers and beside itself, and what is to be said besides. Pure.

use std::{fmt, time::Duration};

use super::{
    Beside, GATEWAY, NOBODY, PEERS, Report, SENT,
    columns::{COLUMNS, Target},
    difference, median, ratio,
};
use crate::proxy::scenario::Scenario;

/// Until a gateway without much to keep is ready, and what it takes then.
const READY: (Duration, f64) = (Duration::from_millis(100), 20.0);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = COLUMNS.iter().filter(|column| self.has(NOBODY, column.scenario)).collect();
        write!(f, "{}\n\n| |", self.title)?;
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
        self.beside_peers(f)?;
        let others = self.contenders.iter().filter(|name| name.starts_with(GATEWAY) && **name != GATEWAY);
        others.copied().try_for_each(|other| self.beside_itself(f, other))?;
        self.unsent(f)?;
        self.besides(f)?;
        self.starts(f)
    }
}

impl Report {
    /// The gateway beside the proxies that were measured, with what is aimed at beside the first.
    fn beside_peers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<_> = PEERS.into_iter().filter(|peer| self.contenders.contains(peer)).collect();
        if peers.is_empty() || !self.contenders.contains(&GATEWAY) {
            return Ok(());
        }
        let aimed = |peer: &str| PEERS.first() == Some(&peer);
        write!(f, "\n| {GATEWAY} beside |")?;
        for peer in &peers {
            write!(f, " {peer} | rounds |{}", if aimed(peer) { " target |" } else { "" })?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(peers.iter().map(|peer| if aimed(peer) { 3 } else { 2 }).sum()))?;
        for column in COLUMNS.iter().filter(|column| self.has(GATEWAY, column.scenario)) {
            let (compare, unit): (fn(f64, f64) -> _, _) = match column.target {
                Target::AtLeast(_) | Target::AtMost(_) => (ratio, Unit::Times),
                Target::Added(_) => (difference, Unit::Ms),
                Target::Shown | Target::None => continue,
            };
            write!(f, "| {} |", column.title)?;
            for peer in &peers {
                let beside = self.beside(GATEWAY, peer, column, compare);
                write!(f, " {} |", Cells(beside, unit))?;
                if aimed(peer) {
                    match beside.and_then(|beside| column.target.is_reached(beside)) {
                        Some(reached) => write!(f, " {}: {} |", column.target, verdict(reached))?,
                        None => write!(f, " {} |", column.target)?,
                    }
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// A gateway with more to do beside the one without.
    fn beside_itself(&self, f: &mut fmt::Formatter<'_>, other: &'static str) -> fmt::Result {
        writeln!(f, "\n| {other}, beside {GATEWAY} | | rounds | within 10 % |\n|---|---|---|---|")?;
        for column in COLUMNS.iter().filter(|column| self.has(other, column.scenario)) {
            if matches!(column.target, Target::None) {
                continue;
            }
            let (title, beside) = (column.title.replace("added ", ""), self.beside(other, GATEWAY, column, ratio));
            let within = beside.and_then(|beside| column.is_within(beside)).map_or("-", verdict);
            writeln!(f, "| {title} | {} | {within} |", Cells(beside, Unit::Times))?;
        }
        Ok(())
    }

    /// Who could not be asked as often as the table says.
    fn unsent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for contender in &self.contenders {
            let rounds = self.rounds.get(&(*contender, Scenario::Steady)).into_iter().flatten();
            let least = rounds.filter_map(|figures| figures.sent).reduce(f64::min);
            if let Some(least) = least.filter(|least| *least < SENT) {
                let percent = least * 100.0;
                writeln!(f, "\n{contender} did **not** keep up with 1,000/s: in a round, {percent:.1} % were sent.")?;
            }
        }
        Ok(())
    }

    /// Revisions, and lines that were lost.
    fn besides(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (contender, revisions) in &self.revisions {
            let (per_second, last) = (revisions.per_second, revisions.last);
            let served = if revisions.served { "served" } else { "did **not** serve" };
            writeln!(
                f,
                "\n{contender}: {per_second:.1} revisions a second were committed, and at the end it {served} the last, {last}."
            )?;
        }
        for (contender, lines) in self.lines_lost.iter().filter(|(_, lines)| *lines > 0) {
            writeln!(f, "\n{contender} **lost** {lines} lines of its log: its figures are too good.")?;
        }
        Ok(())
    }

    /// Gateways that were started from what they keep.
    fn starts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for contender in &self.contenders {
            let starts = self.starts.iter().filter(|(name, _)| name == contender);
            let (ready, resident): (Vec<_>, Vec<_>) = starts
                .map(|(_, start)| {
                    let kib = u32::try_from(start.resident_kib).unwrap_or(u32::MAX);
                    (start.ready.as_secs_f64() * 1000.0, f64::from(kib) / 1024.0)
                })
                .unzip();
            let (Some(ms), Some(mib)) = (median(ready), median(resident)) else { continue };
            let (most, most_mib) = READY;
            let most_ms = most.as_secs_f64() * 1000.0;
            // What is aimed at is aimed at where there is not much to keep.
            let aim = |most: f64, reached| match *contender {
                GATEWAY => format!(" (<= {most}: {})", verdict(reached)),
                _ => String::new(),
            };
            writeln!(
                f,
                "\n{contender}, started from its cache without a control plane: ready after {ms:.0} ms{}, {mib:.1} MiB resident{}.",
                aim(most_ms, ms <= most_ms),
                aim(most_mib, mib <= most_mib),
            )?;
        }
        Ok(())
    }
}

/// What one is compared with the other in.
#[derive(Clone, Copy)]
enum Unit {
    Times,
    Ms,
}

/// How one stands beside the other, and in which bounds that was in every round: two cells of a table.
struct Cells(Option<Beside>, Unit);

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(beside, unit) = self;
        let Some(Beside { median, least, most }) = beside else { return write!(f, "- | -") };
        match unit {
            Unit::Times => write!(f, "{median:.2}x | {least:.2}–{most:.2}x"),
            Unit::Ms => write!(f, "{median:+.3} ms | {least:+.3} to {most:+.3} ms"),
        }
    }
}

const fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::report::{Figures, Revisions, Started};

    fn report(contenders: &[&'static str]) -> Report {
        Report::new("two cores".to_owned(), contenders.to_vec())
    }

    #[test]
    fn medians_are_of_rounds_and_ratios_of_medians() {
        let rounds = [
            ("upstream itself", [7.0, 7.0, 7.0]),
            ("nginx", [10.0, 90.0, 20.0]),
            ("Envoy", [60.0, 60.0, 60.0]),
            ("Signalbox", [30.0, 28.0, 1000.0]),
            ("Signalbox, large", [34.0, 34.0, 34.0]),
        ];
        let mut report = report(&rounds.map(|(contender, _)| contender));
        for (contender, values) in rounds {
            for value in values {
                let (processor_us, per_second) = (Some(value), Some(100.0));
                report.add(
                    contender,
                    Scenario::Chat,
                    Figures { processor_us, per_second, bad: 1, ..Figures::default() },
                );
            }
        }
        let text = report.to_string();
        assert!(text.starts_with("two cores\n\n| | chat: requests/s |"), "{text}");
        assert!(
            text.contains(
                "\n| Signalbox beside | nginx | rounds | target | Envoy | rounds |\n|---|---|---|---|---|---|\n"
            ),
            "{text}"
        );
        let chat = "| chat: CPU us/request | 1.50x | 0.31–50.00x | <= 1.5x: reached | 0.50x | 0.47–16.67x |";
        assert!(text.contains(chat), "{text}");
        assert!(text.contains("| chat: requests/s | 1.00x | 1.00–1.00x | >= 0.75x: reached |"), "{text}");
        assert!(text.contains("| chat: CPU us/request | 1.13x | 0.03–1.21x | **missed** |"), "{text}");
        assert!(!text.contains("100 KB"), "nothing is said of what was not measured: {text}");
        assert_eq!(report.bad(), 15);
    }

    #[test]
    fn nothing_is_neither_reached_nor_missed() {
        let mut report = report(&["upstream itself", "nginx", "Signalbox", "Signalbox, large"]);
        for (contender, processor_us) in
            [("upstream itself", Some(7.0)), ("nginx", Some(0.0)), ("Signalbox", Some(9.0))]
        {
            report.add(contender, Scenario::Chat, Figures { processor_us, ..Figures::default() });
        }
        // A round without a good answer.
        report.add("Signalbox", Scenario::Chat, Figures { bad: 64, ..Figures::default() });
        report.add("Signalbox, large", Scenario::Chat, Figures { processor_us: Some(9.0), ..Figures::default() });
        let text = report.to_string();
        assert!(text.contains("| Signalbox | - | - | - | 64 |"), "{text}");
        assert!(text.contains("| chat: CPU us/request | - | - | <= 1.5x |"), "{text}");
        assert!(text.contains("| chat: CPU us/request | - | - | - |"), "{text}");
        assert!(!text.contains("reached") && !text.contains("missed") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn a_delay_is_what_is_added_to_the_upstreams_own() {
        let mut report = report(&["upstream itself", "nginx", "Signalbox"]);
        for (contender, p99_ms) in [("upstream itself", 0.5), ("nginx", 0.75), ("Signalbox", 1.0)] {
            let (p99_ms, p50_ms) = (Some(p99_ms), Some(0.25));
            report.add(contender, Scenario::Steady, Figures { p99_ms, p50_ms, ..Figures::default() });
        }
        for ready in [30, 40] {
            report.started("Signalbox", Started { ready: Duration::from_millis(ready), resident_kib: 30 * 1024 });
        }
        let text = report.to_string();
        assert!(text.contains("| nginx | - | 0.00 | 0.25 | 0 |"), "{text}");
        let added = "| 1,000/s: added p99 ms | +0.250 ms | +0.250 to +0.250 ms | <= +0.2 ms: **missed** |";
        assert!(text.contains(added), "{text}");
        assert!(text.contains("ready after 35 ms (<= 100: reached), 30.0 MiB resident (<= 20: **missed**)."), "{text}");
    }

    #[test]
    fn what_makes_figures_worth_less_is_said() {
        let mut report = report(&["upstream itself", "Signalbox"]);
        for sent in [1.0, 0.875] {
            report.add("Signalbox", Scenario::Steady, Figures { sent: Some(sent), ..Figures::default() });
            report.add("upstream itself", Scenario::Steady, Figures { sent: Some(0.999), ..Figures::default() });
        }
        report.lost("Signalbox", 0);
        report.changed("Signalbox", Revisions { per_second: 9.96, last: 123, served: true });
        let text = report.to_string();
        assert!(
            text.contains("\nSignalbox did **not** keep up with 1,000/s: in a round, 87.5 % were sent.\n"),
            "{text}"
        );
        assert!(!text.contains("upstream itself did") && !text.contains("lost"), "{text}");
        let changed = "\nSignalbox: 10.0 revisions a second were committed, and at the end it served the last, 123.\n";
        assert!(text.contains(changed), "{text}");
        assert_eq!(report.bad(), 0);

        report.lost("Signalbox", 40);
        report.changed("Signalbox", Revisions { per_second: 9.96, last: 123, served: false });
        let text = report.to_string();
        assert!(text.contains("\nSignalbox **lost** 40 lines of its log: its figures are too good.\n"), "{text}");
        assert!(text.contains("it did **not** serve the last, 123."), "{text}");
        assert_eq!(report.bad(), 41);
    }
}
