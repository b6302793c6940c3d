//! What client keys lose. Keys that are alike are one finding: what they may ask for and which redirects are for them is all that counts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use signalbox_proto::admin::v1::Finding;
use signalbox_routing::{ClientKey, Glob, Id, Kind, ResourceName};

use super::{
    Comparison, finding, listed,
    reach::{ANY, Reach, Reaches, Scope},
};
use crate::{ledger::Difference, message::Message, state::State};

/// Changed keys that are looked at: a file with more of them is somebody's automation, who knows what it is about.
const MAX_CHANGED: usize = 200;

/// Kinds of keys that are told apart at most.
const MAX_KINDS: usize = 1000;

/// Patterns of a key that are tried as though they were names, at most.
const MAX_PATTERNS: usize = 32;

/// Keys that lose the same.
#[derive(Debug, Default)]
struct Group<'a> {
    /// The first of them by name.
    first: BTreeSet<&'a Id>,
    count: usize,
}

impl<'a> Group<'a> {
    fn add(&mut self, id: &'a Id) {
        self.count += 1;
        self.first.insert(id);
        if self.first.len() > 3 {
            self.first.pop_last();
        }
    }
}

/// What changed keys lose: themselves, or models.
pub(super) fn changed(comparison: &Comparison<'_>, reaches: &mut Reaches<'_>) -> Vec<Finding> {
    let keys = || comparison.changes.iter().filter(|change| change.name.kind() == Kind::ClientKey);
    let mut findings: Vec<Finding> =
        keys().take(MAX_CHANGED).filter_map(|change| of_changed(comparison, reaches, change)).collect();
    let more = keys().count().saturating_sub(MAX_CHANGED);
    if more > 0 {
        let message = format!("{more} more client keys have changed, and were not looked at");
        findings.push(finding("", "NOT_CONSIDERED", message));
    }
    findings
}

fn of_changed(comparison: &Comparison<'_>, reaches: &mut Reaches<'_>, change: &Difference) -> Option<Finding> {
    let Comparison { before, after, now_ms, .. } = comparison;
    let name = &change.name;
    let id = name.id();
    let (before, after) = (key(before, name), key(after, name));
    let before = before.filter(|key| key.usable_at(*now_ms));
    let about = |code, message| Some(finding(name.as_str(), code, message));
    let Some(before) = before else {
        let new = after.filter(|key| key.usable_at(*now_ms))?;
        return has_none(reaches, &new).then(|| stranding(&[&new.id], 1));
    };
    let Some(after) = after else {
        return about("KEY_REVOKED", format!("client key {id} is refused from now on: it is gone"));
    };
    if after.disabled {
        return about("KEY_REVOKED", format!("client key {id} is refused from now on: it is disabled"));
    }
    if !after.usable_at(*now_ms) {
        return about("KEY_REVOKED", format!("client key {id} is refused from now on: it has expired"));
    }
    if before.sha256 != after.sha256 {
        return about("KEY_REPLACED", format!("client key {id} is another one: who presents the old one is refused"));
    }
    if after.expires_at_ms.is_some_and(|at| before.expires_at_ms.is_none_or(|before| at < before)) {
        let at = after.expires_at_ms.and_then(|at| Timestamp::from_millisecond(at).ok());
        let at = at.map_or_else(String::new, |at| at.to_string());
        return about("KEY_EXPIRES", format!("client key {id} is refused from {at} on"));
    }
    let lost = lost_by_change(reaches, &before, &after)?;
    losing(&[&after.id], 1, &lost, has_none(reaches, &after))
}

/// The models that a key whose own words have changed can no longer have.
fn lost_by_change(reaches: &mut Reaches<'_>, before: &ClientKey, after: &ClientKey) -> Option<Vec<String>> {
    let (old, new) = (reaches.scope(&before.labels), reaches.scope(&after.labels));
    let (old, new) = (reaches.of(&old)?, reaches.of(&new)?);
    let had = old.before.iter().map(|(name, _)| name).filter(|name| *name != ANY && before.allows(name));
    let lost = had.filter(|name| !after.allows(name) || !new.after.contains(*name));
    Some(lost.cloned().collect())
}

/// What keys lose that have not changed themselves, and strangers.
pub(super) fn unchanged(comparison: &Comparison<'_>, reaches: &mut Reaches<'_>) -> Vec<Finding> {
    let strangers = reaches.lost_by_strangers();
    let mut findings = Vec::new();
    if !strangers.is_empty() {
        let message = format!("callers without a client key lose {}", listed(&strangers, strangers.len()));
        findings.push(finding("", "MODEL_LOST", message));
    }
    let runtime = &comparison.after.runtime;
    if runtime.client_key_count() > comparison.most_keys {
        findings.extend(in_general(reaches, runtime.client_key_count()));
        return findings;
    }
    let changed: BTreeSet<&str> = comparison
        .changes
        .iter()
        .filter(|change| change.name.kind() == Kind::ClientKey)
        .map(|change| change.name.id())
        .collect();
    let keys = runtime.client_keys().filter(|key| key.usable_at(comparison.now_ms));
    let keys = keys.filter(|key| !changed.contains(key.id.as_str()));
    let (groups, more) = grouped(reaches, keys.map(|key| &**key), Reach::loses);
    for ((patterns, scope), group) in groups {
        let Some(reach) = reaches.of(&scope) else { continue };
        let lost = lost(reaches, &reach, patterns, &scope);
        let none = lost.1;
        findings.extend(losing(&group.first.iter().copied().collect::<Vec<_>>(), group.count, &lost.0, none));
    }
    findings.extend(more);
    findings
}

/// What every key loses that may ask for everything, where there are too many keys to look at each.
fn in_general(reaches: &mut Reaches<'_>, keys: usize) -> Option<Finding> {
    let reach = reaches.of(&Scope::new())?;
    let lost: Vec<&String> =
        reach.before.iter().filter(|(name, still)| !still && name != ANY).map(|(name, _)| name).collect();
    let message = || {
        let lost = listed(&lost, lost.len());
        format!(
            "client keys that may ask for everything lose {lost}; which of the {keys} that are, a dry run of the same says"
        )
    };
    (!lost.is_empty()).then(|| finding("", "MODEL_LOST", message()))
}

/// Keys with no usable model, whatever led there.
pub(super) fn stranded(state: &State, reaches: &mut Reaches<'_>, now_ms: i64) -> Vec<Finding> {
    let keys = state.runtime.client_keys().filter(|key| key.usable_at(now_ms));
    let (groups, more) = grouped(reaches, keys.map(|key| &**key), |_| true);
    let mut findings = Vec::new();
    for ((patterns, scope), group) in groups {
        let Some(reach) = reaches.of(&scope) else { continue };
        if lost(reaches, &reach, patterns, &scope).1 {
            findings.push(stranding(&group.first.iter().copied().collect::<Vec<_>>(), group.count));
        }
    }
    findings.extend(more);
    findings
}

type Kinds<'a> = BTreeMap<(&'a [Glob], Scope), Group<'a>>;

/// Keys by what they may ask for and which redirects are for them, as far as the latter's reach is of interest.
fn grouped<'a>(
    reaches: &mut Reaches<'_>,
    keys: impl Iterator<Item = &'a ClientKey>,
    of_interest: impl Fn(&Reach) -> bool,
) -> (Kinds<'a>, Option<Finding>) {
    let (mut kinds, mut more) = (Kinds::new(), 0_usize);
    for key in keys {
        let scope = reaches.scope(&key.labels);
        if !reaches.of(&scope).is_some_and(|reach| of_interest(&reach)) {
            continue;
        }
        let kind = (&*key.allowed_models, scope);
        if kinds.len() < MAX_KINDS || kinds.contains_key(&kind) {
            kinds.entry(kind).or_default().add(&key.id);
        } else {
            more += 1;
        }
    }
    let message = || format!("{more} more client keys were not looked at: they are of too many kinds");
    (kinds, (more > 0).then(|| finding("", "NOT_CONSIDERED", message())))
}

/// The models that keys of a kind lose, and whether none is left.
fn lost(reaches: &Reaches<'_>, reach: &Reach, patterns: &[Glob], scope: &Scope) -> (Vec<String>, bool) {
    let allows = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name));
    let had = reach.before.iter().filter(|(name, _)| name != ANY && allows(name));
    let mut lost: Vec<String> = had.filter(|(_, still)| !still).map(|(name, _)| name.clone()).collect();
    let mut none = !reach.after.iter().any(|name| allows(name));
    if let Some(holder) = super::reach::holder(scope) {
        // A pattern stands for whatever it lets through, where a provider takes any name.
        for pattern in patterns.iter().take(MAX_PATTERNS).map(Glob::as_str) {
            let (before, after) = reaches.has(&holder, pattern);
            none &= !after;
            if before && !after && pattern != ANY && !lost.iter().any(|name| name == pattern) {
                lost.push(pattern.to_owned());
            }
        }
    }
    (lost, none)
}

/// Whether there is no model that the key could be used for.
fn has_none(reaches: &mut Reaches<'_>, key: &ClientKey) -> bool {
    let scope = reaches.scope(&key.labels);
    reaches.of(&scope).is_some_and(|reach| lost(reaches, &reach, &key.allowed_models, &scope).1)
}

fn losing(ids: &[&Id], count: usize, lost: &[String], none_left: bool) -> Option<Finding> {
    let first = ids.first()?;
    if lost.is_empty() {
        return None;
    }
    let (models, verb) = (listed(lost, lost.len()), if count == 1 { "loses" } else { "lose" });
    let mut message = format!("{} {verb} {models}", keys(ids, count));
    if none_left {
        message.push_str(if count == 1 { ", and has no usable model left" } else { ", and have no usable model left" });
    }
    let code = if none_left { "NO_USABLE_MODEL" } else { "MODEL_LOST" };
    Some(finding(ResourceName::client_key(first).as_str(), code, message))
}

fn stranding(ids: &[&Id], count: usize) -> Finding {
    let resource = ids.first().map(|id| ResourceName::client_key(id));
    let verb = if count == 1 { "has" } else { "have" };
    let message = format!("{} {verb} no usable model", keys(ids, count));
    finding(resource.as_ref().map_or("", ResourceName::as_str), "NO_USABLE_MODEL", message)
}

fn keys(ids: &[&Id], count: usize) -> String {
    let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    format!("client key{} {}", if count == 1 { "" } else { "s" }, listed(&ids, count))
}

/// The key as data planes have it.
fn key(state: &State, name: &ResourceName) -> Option<ClientKey> {
    let Message::ClientKey(key) = state.get(name)?.message() else { return None };
    state.runtime.client_key(key.sha256()).map(|key| (**key).clone())
}
