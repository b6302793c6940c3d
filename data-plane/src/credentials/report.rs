//! How a pool and its keys are, for a page that people and programs read. It names keys and never shows one.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use tokio::time::Instant;

use super::{Member, Record, Trouble};

/// How a pool is.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Keys that can be sent.
    total: usize,
    /// Those of them that the next attempt may take.
    usable: usize,
    /// Those that were refused, or failed too often.
    set_aside: usize,
    /// Those that wait for their limit to pass.
    cooling: usize,
    /// Attempts under way with any of them.
    in_flight: u32,
    /// Attempts begun with any of them.
    attempts: u64,
    /// Those of them that failed.
    failures: u64,
    /// Each key, by its id.
    credentials: BTreeMap<String, Standing>,
}

/// How a key is.
#[derive(Debug, Serialize)]
struct Standing {
    state: State,
    in_flight: u32,
    attempts: u64,
    failures: u64,
    /// Seconds until it is usable again; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovers_in_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Usable,
    SetAside,
    Cooling,
}

impl Report {
    /// The report on these keys.
    pub(super) fn of<'a>(keys: impl Iterator<Item = (&'a Arc<Member>, Record)>, now: Instant) -> Self {
        let mut report = Self::default();
        for (member, record) in keys {
            let standing = Standing::of(record, now);
            report.total += 1;
            match standing.state {
                State::Usable => report.usable += 1,
                State::SetAside => report.set_aside += 1,
                State::Cooling => report.cooling += 1,
            }
            report.in_flight += record.in_flight;
            report.attempts += record.uses;
            report.failures += record.failures;
            report.credentials.insert(member.credential.id.to_string(), standing);
        }
        report
    }
}

impl Standing {
    fn of(record: Record, now: Instant) -> Self {
        let (state, until) = match record.trouble_at(now) {
            None => (State::Usable, None),
            Some(Trouble::Refused { until }) => (State::SetAside, Some(until)),
            Some(Trouble::Cooling { until }) => (State::Cooling, Some(until)),
        };
        let Record { in_flight, uses, failures, .. } = record;
        let recovers_in_seconds =
            until.map(|until| (until - now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
        Self { state, in_flight, attempts: uses, failures, recovers_in_seconds }
    }
}
