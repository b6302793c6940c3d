//! What a change comes to: field by field for whoever reviews it, and in its consequences for clients. It compares what two
//! configurations answer and decides nothing; no secret gets into what it says.

use std::time::{SystemTime, UNIX_EPOCH};

use signalbox_proto::admin::v1::Finding;
use signalbox_routing::{Kind, ResourceName};

use crate::{ledger::Difference, state::State};

mod fields;
mod keys;
mod reach;
mod traffic;

pub(crate) use fields::{field_changes, with_secrets};
use reach::Reaches;

/// Findings that are told at most; how many more there are is told too.
const MAX_FINDINGS: usize = 100;

/// Client keys that are looked at one by one with a commit: its answer is waited for by whoever writes next.
const KEYS_PER_COMMIT: usize = 1000;

/// Two configurations, and the moment at which they are compared.
struct Comparison<'a> {
    before: &'a State,
    after: &'a State,
    changes: &'a [Difference],
    /// In milliseconds since the Unix epoch.
    now_ms: i64,
    /// Client keys that are looked at although they have not changed.
    most_keys: usize,
}

/// What the change means for clients. All keys are looked at, which takes a fraction of a second where there are a hundred thousand.
pub(crate) fn impact(before: &State, after: &State, changes: &[Difference]) -> Vec<Finding> {
    let now_ms = now_ms();
    compare(&Comparison { before, after, changes, now_ms, most_keys: usize::MAX })
}

/// The same for a commit, which must cost next to nothing: of more than a thousand keys it says only what they lose in general.
pub(crate) fn impact_of_commit(before: &State, after: &State, changes: &[Difference]) -> Vec<Finding> {
    let now_ms = now_ms();
    compare(&Comparison { before, after, changes, now_ms, most_keys: KEYS_PER_COMMIT })
}

/// What clients of a configuration would miss, whatever led there.
pub(crate) fn standing(state: &State) -> Vec<Finding> {
    let now_ms = now_ms();
    let mut findings: Vec<Finding> = traffic::troubles(state).into_iter().map(finding_of).collect();
    findings.extend(keys::stranded(state, &mut Reaches::new(&state.runtime, &state.runtime), now_ms));
    bounded(findings)
}

fn compare(comparison: &Comparison<'_>) -> Vec<Finding> {
    let Comparison { before, after, changes, .. } = comparison;
    if changes.is_empty() {
        return Vec::new();
    }
    let mut reaches = Reaches::new(&before.runtime, &after.runtime);
    let mut findings = keys::changed(comparison, &mut reaches);
    if changes.iter().any(|change| change.name.kind() != Kind::ClientKey) {
        findings.extend(traffic::lost(&before.runtime, &after.runtime));
        let known = traffic::troubles(before);
        let new = traffic::troubles(after).into_iter().filter(|(place, _)| !known.contains_key(place));
        findings.extend(new.map(finding_of));
        findings.extend(keys::unchanged(comparison, &mut reaches));
    }
    findings.extend(reaches.shortfall());
    bounded(findings)
}

/// What is wrong, by the resource and the code of it.
type Trouble = ((ResourceName, &'static str), String);

fn finding_of(((resource, code), message): Trouble) -> Finding {
    finding(resource.as_str(), code, message)
}

fn finding(resource: &str, code: &str, message: String) -> Finding {
    Finding { resource: resource.to_owned(), field: String::new(), code: code.to_owned(), message, blocking: false }
}

fn bounded(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    if more > 0 {
        findings.truncate(MAX_FINDINGS);
        findings.push(finding("", "MORE_FINDINGS", format!("there are {more} findings more")));
    }
    findings
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The first few of some names, and how many more there are.
fn listed<T: AsRef<str>>(names: &[T], total: usize) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match (total.saturating_sub(shown.len()), shown.split_last()) {
        (0, Some((last, []))) => (*last).to_owned(),
        (0, Some((last, others))) => format!("{} and {last}", others.join(", ")),
        (more, _) => format!("{} and {more} more", shown.join(", ")),
    }
}
