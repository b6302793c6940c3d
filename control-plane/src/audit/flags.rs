//! The flags that say how much of the audit is kept, for every program that has them.

use std::time::Duration;

use clap::Args;

use super::Keep;
use crate::ledger::length_of_time;

/// How much is kept.
// A program may have other structs of flags by this name, and clap knows groups by the struct's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Flags {
    /// How many audit entries are kept at most
    #[arg(long, value_name = "ENTRIES", env = "SIGNALBOX_KEEP_AUDIT", default_value = "100000")]
    keep_audit: u64,
    /// How long an audit entry is kept at most, such as 400d or 12h
    #[arg(long, value_name = "TIME", env = "SIGNALBOX_KEEP_AUDIT_FOR", default_value = "400d", value_parser = length_of_time)]
    keep_audit_for: Duration,
}

impl Flags {
    /// How much is kept.
    #[must_use]
    pub const fn keep(self) -> Keep {
        Keep { entries: self.keep_audit, age: self.keep_audit_for }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self { entries: 100_000, age: Duration::from_hours(400 * 24) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn what_is_kept_can_be_said_and_has_its_defaults() {
        let keep = |words: &[&str]| {
            let words = ["program"].iter().chain(words);
            Program::try_parse_from(words).map(|program| program.flags.keep()).map_err(|error| error.exit_code())
        };
        assert_eq!(keep(&[]), Ok(Keep::default()));
        let some = keep(&["--keep-audit", "7", "--keep-audit-for", "12h"]);
        assert_eq!(some, Ok(Keep { entries: 7, age: Duration::from_hours(12) }));
        for bad in ["-1d", "often", "", "7"] {
            assert_eq!(keep(&[&format!("--keep-audit-for={bad}")]), Err(2), "{bad}");
        }
    }
}
