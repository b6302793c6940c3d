//! What the benchmark is told on its command line, and who and what takes part by that. Pure.

use clap::{Parser, ValueEnum, builder::RangedU64ValueParser};
use signalbox_bench::proxy::{gateway::Size, scenario::Scenario};

/// Rounds of the idle scenario at most: each starts everybody anew.
const IDLE_ROUNDS: usize = 3;

/// Measures the data plane beside plain proxies.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Rounds; each figure is the median of them
    #[arg(long, default_value_t = 5, value_parser = at_least_one())]
    pub(crate) rounds: usize,
    /// Seconds of each scenario for each contender in each round
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Streams that are open and silent
    #[arg(long, default_value_t = 4_000, value_parser = at_least_one())]
    pub(crate) idle: usize,
    /// How many seconds they are held; from a minute on, it is told by how much memory grew meanwhile
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) hold: u64,
    /// Client keys that the gateway holds besides the one that is used, with 1,000 redirects and 200 providers
    #[arg(long, default_value_t = 0)]
    keys: usize,
    /// Revisions that reach the gateway in each second
    #[arg(long, default_value_t = 0)]
    revisions: u32,
    /// Instead of plain proxies, compares Signalbox with itself: with 100,000 keys, and with ten revisions a second
    #[arg(long, conflicts_with_all = ["keys", "revisions", "only"])]
    configurations: bool,
    /// Only these contenders, besides the upstream itself
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    only: Vec<Who>,
    /// Only these scenarios
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    scenarios: Vec<Scenario>,
    /// Is the upstream
    #[arg(long, hide = true)]
    pub(crate) upstream: bool,
}

/// Who carries traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    Nginx,
    Envoy,
    Signalbox,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl Arguments {
    pub(crate) fn takes(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }

    pub(crate) fn wants(&self, who: Who) -> bool {
        let fits = who == Who::Signalbox || !self.configurations;
        fits && (self.only.is_empty() || self.only.contains(&who))
    }

    /// Whether somebody who is not installed may be left out: not if it was asked for.
    pub(crate) const fn may_miss(&self) -> bool {
        self.only.is_empty()
    }

    pub(crate) fn idle_rounds(&self) -> usize {
        if self.takes(Scenario::Idle) { self.rounds.min(IDLE_ROUNDS) } else { 0 }
    }

    pub(crate) fn gateways(&self) -> Vec<(&'static str, Size)> {
        let (keys, revisions) = (self.keys, self.revisions);
        if self.configurations {
            let large = Size { keys: 100_000, revisions: 0 };
            let changing = Size { keys: 0, revisions: 10 };
            vec![("Signalbox", Size::default()), ("Signalbox, large", large), ("Signalbox, changing", changing)]
        } else if self.wants(Who::Signalbox) {
            vec![("Signalbox", Size { keys, revisions })]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["data_plane"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn whoever_is_named_in_any_case_takes_part_alone() {
        let arguments = read("--only envoy,NGINX --scenarios Chat").unwrap();
        assert!(arguments.wants(Who::Envoy) && arguments.wants(Who::Nginx) && !arguments.may_miss());
        assert!(arguments.gateways().is_empty());
        assert!(arguments.takes(Scenario::Chat) && !arguments.takes(Scenario::Idle));
        assert_eq!(arguments.idle_rounds(), 0);
    }

    #[test]
    fn what_would_measure_nothing_or_something_else_is_refused() {
        let refused = [
            "--only envoi",
            "--rounds 0",
            "--seconds 0",
            "--idle 0",
            "--hold 0",
            "--configurations --keys 5",
            "--configurations --revisions 5",
            "--configurations --only nginx",
        ];
        for line in refused {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn everybody_takes_part_unless_the_gateway_is_compared_with_itself() {
        let arguments = read("").unwrap();
        assert!(arguments.wants(Who::Nginx) && arguments.may_miss());
        assert_eq!((arguments.gateways().len(), arguments.idle_rounds()), (1, 3));
        let arguments = read("--configurations --rounds 2").unwrap();
        assert!(!arguments.wants(Who::Nginx) && !arguments.wants(Who::Envoy));
        assert_eq!((arguments.gateways().len(), arguments.idle_rounds()), (3, 2));
    }
}
