//! Client keys from the wire, one by one: they refer to nothing, and nothing but a digest can be disputed between them.

use std::{cmp::Ordering, num::NonZeroU64, panic::resume_unwind, sync::Arc, thread};

use signalbox_proto::config::v1 as config;

use super::{Step, decode, faults::Faults, supported, value};
use crate::{
    finding::{Effect, Fault},
    keys::Keys,
    name::ResourceName,
    resource::Resource,
    runtime::{ClientKey, Limits},
};

/// Most patterns in `allowed_models`, each of which is tried with every request.
const MAX_PATTERNS: usize = 1000;

/// Brings the keys up to date with some changes, at most one for each key.
pub(super) fn apply(keys: &mut Keys, changes: &[Step<'_>]) {
    if changes.is_empty() {
        return;
    }
    // All that is changed gives up its digest first, so that two keys may exchange theirs.
    changes.iter().for_each(|(name, _)| keys.remove(name));
    let denied: Vec<Resource> = keys.take_denied().collect();
    let mut due: Vec<&Resource> = denied.iter().chain(changes.iter().filter_map(|(_, after)| *after)).collect();
    due.sort_by(|a, b| older(a, b));
    let compiled = compile_all(&due);
    for (resource, compiled) in due.into_iter().zip(compiled) {
        if let Err(faults) = compiled.and_then(|key| insert(keys, key)) {
            let findings = faults.into_findings(&resource.name, Effect::Deny).collect();
            keys.deny(resource.clone(), findings);
        }
    }
}

/// Keys that are worth another thread.
const MANY: usize = 4096;

/// Compiles each key, on every core where there are many: none depends on another.
fn compile_all(due: &[&Resource]) -> Vec<Result<Arc<ClientKey>, Faults>> {
    let cores = if due.len() < MANY { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let (mine, others) = due.split_at(due.len().div_ceil(cores));
    let share = mine.len().max(1);
    let compile = |resource: &&Resource| compile(resource).map(Arc::new);
    thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(compile).collect::<Vec<_>>()))
            .collect();
        let mut compiled: Vec<_> = mine.iter().map(compile).collect();
        for thread in others {
            compiled.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        compiled
    })
}

fn older(a: &Resource, b: &Resource) -> Ordering {
    a.revision.cmp(&b.revision).then_with(|| a.name.cmp(&b.name))
}

fn insert(keys: &mut Keys, key: Arc<ClientKey>) -> Result<(), Faults> {
    keys.insert(key).map_err(|holder| Faults::one("sha256", Fault::Taken(ResourceName::client_key(&holder))))
}

fn compile(resource: &Resource) -> Result<ClientKey, Faults> {
    supported(resource)?;
    let config::ClientKey { id, sha256, allowed_models, expire_time, disabled, labels, limits } =
        decode(&resource.body)?;
    let mut faults = Faults::default();
    let id = faults.take("id", value::own_id(&id, &resource.name));
    let sha256 = match sha256.len() {
        0 => Err(Fault::Missing),
        _ => <[u8; 32]>::try_from(sha256.as_ref()).map_err(|_| Fault::OutOfRange("32 bytes")),
    };
    let sha256 = faults.take("sha256", sha256);
    if allowed_models.len() > MAX_PATTERNS {
        faults.add("allowed_models", Fault::OutOfRange("at most 1000 patterns"));
    }
    let patterns = allowed_models.iter().enumerate();
    let allowed_models = patterns
        .filter_map(|(at, text)| faults.take(format_args!("allowed_models[{at}]"), value::pattern(text)))
        .collect();
    let expires_at_ms = expire_time.and_then(|time| faults.take("expire_time", value::moment(time)));
    value::labels("labels", &labels, &mut faults);
    let limits = self::limits(limits.unwrap_or_default(), &mut faults);
    faults.finish(|| {
        let (id, sha256, labels, limits) = (id?, sha256?, labels.into(), limits?);
        Some(ClientKey { id, sha256, allowed_models, expires_at_ms, disabled, labels, limits })
    })
}

fn limits(wire: config::Limits, faults: &mut Faults) -> Option<Limits> {
    let config::Limits { requests_per_minute, tokens_per_minute, max_in_flight } = wire;
    let requests = value::limit(requests_per_minute, u32::MAX, "1 or more");
    let requests_per_minute = faults.take("limits.requests_per_minute", requests);
    let tokens = tokens_per_minute.map(|tokens| NonZeroU64::new(tokens).ok_or(Fault::OutOfRange("1 or more")));
    let tokens_per_minute = faults.take("limits.tokens_per_minute", tokens.transpose());
    let in_flight = value::limit(max_in_flight, u32::MAX, "1 or more");
    let max_in_flight = faults.take("limits.max_in_flight", in_flight);
    Some(Limits {
        requests_per_minute: requests_per_minute?,
        tokens_per_minute: tokens_per_minute?,
        max_in_flight: max_in_flight?,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        fixture::{
            at, client_key, compile, digest, faults, faults_of, id, key, labels, provider, remove, runtime, upsert,
        },
        glob::Glob,
        runtime::Runtime,
    };

    #[test]
    fn a_key_is_found_by_its_digest_whatever_its_state() {
        let runtime = runtime(&[client_key("k", |k| {
            k.allowed_models = vec!["gpt-*".into()];
            k.expire_time = Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 });
            k.disabled = true;
            k.labels = labels(&[("team", "")]);
            k.limits = Some(config::Limits {
                requests_per_minute: Some(1),
                tokens_per_minute: Some(2),
                max_in_flight: Some(3),
            });
        })]);
        let expected = ClientKey {
            id: id("k"),
            sha256: digest("k"),
            allowed_models: [Glob::new("gpt-*")].into(),
            expires_at_ms: Some(1500),
            disabled: true,
            labels: labels(&[("team", "")]).into(),
            limits: Limits {
                requests_per_minute: NonZeroU32::new(1),
                tokens_per_minute: NonZeroU64::new(2),
                max_in_flight: NonZeroU32::new(3),
            },
        };
        assert_eq!(key(&runtime, "k"), Some(&expected));
        assert_eq!(key(&runtime, "other"), None);
    }

    #[test]
    fn a_key_is_usable_until_it_expires_or_is_disabled() {
        let runtime = runtime(&[
            client_key("ever", |_| {}),
            client_key("until", |k| k.expire_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 })),
            client_key("off", |k| k.disabled = true),
        ]);
        for (id, now_ms, expected) in
            [("ever", i64::MAX, true), ("until", 999, true), ("until", 1000, false), ("off", 0, false)]
        {
            assert_eq!(key(&runtime, id).unwrap().usable_at(now_ms), expected, "{id} at {now_ms}");
        }
    }

    #[test]
    fn a_change_leaves_the_configuration_that_it_was_made_from_as_it_was() {
        let before = runtime(&[client_key("a", |_| {}), client_key("b", |_| {})]);
        let after = before.apply(&[remove("clientKeys/a"), client_key("c", |_| {})]).runtime;
        let present = |runtime: &Runtime| ["a", "b", "c"].map(|id| key(runtime, id).is_some());
        assert_eq!(present(&before), [true, true, false]);
        assert_eq!(present(&after), [false, true, true]);
        assert!(Arc::ptr_eq(&before.traffic, &after.traffic));
    }

    #[test]
    fn a_key_that_does_not_compile_is_denied_and_so_is_what_it_was() {
        let good = runtime(&[client_key("k", |_| {}), client_key("other", |_| {})]);
        for bad in [upsert("clientKeys/k", "garbage"), client_key("k", |k| k.sha256 = vec![1; 31].into())] {
            let compiled = good.apply(&[bad]);
            assert_eq!(compiled.findings[0].effect, Effect::Deny);
            assert!(key(&compiled.runtime, "k").is_none());
            assert!(key(&compiled.runtime, "other").is_some());
            // It is said again with every later change, until it is put right.
            let later = compiled.runtime.apply(&[provider("p", |_| {})]);
            assert_eq!(later.findings, compiled.findings);
            assert_eq!(later.runtime.apply(&[remove("clientKeys/k")]).findings, []);
            assert!(key(&later.runtime.apply(&[client_key("k", |_| {})]).runtime, "k").is_some());
        }
    }

    #[test]
    fn a_digest_belongs_to_the_older_key_until_that_is_gone() {
        let shared = |k: &mut config::ClientKey| k.sha256 = digest("shared").to_vec().into();
        let compiled = compile(&[at(3, client_key("a", shared)), at(2, client_key("b", shared))]);
        assert_eq!(faults_of(&compiled), ["clientKeys/a sha256 ALREADY_TAKEN"]);
        assert_eq!(key(&compiled.runtime, "shared").unwrap().id, id("b"));
        let later = compiled.runtime.apply(&[remove("clientKeys/b")]);
        assert_eq!(later.findings, []);
        assert_eq!(key(&later.runtime, "shared").unwrap().id, id("a"));
    }

    #[test]
    fn two_keys_may_exchange_their_digests() {
        let with = |secret: &'static str| move |k: &mut config::ClientKey| k.sha256 = digest(secret).to_vec().into();
        let before = runtime(&[client_key("a", with("x")), client_key("b", with("y"))]);
        let after = before.apply(&[client_key("a", with("y")), client_key("b", with("x"))]);
        assert_eq!(after.findings, []);
        assert_eq!(key(&after.runtime, "x").unwrap().id, id("b"));
        assert_eq!(key(&after.runtime, "y").unwrap().id, id("a"));
    }

    #[test]
    fn every_fault_is_found() {
        let faults = faults(&[client_key("k", |k| {
            k.id = String::new();
            k.sha256.clear();
            k.allowed_models = vec!["ok".into(), String::new(), "a\nb".into()];
            k.expire_time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
            k.labels = labels(&[("", "x")]);
            k.limits = Some(config::Limits {
                requests_per_minute: Some(0),
                tokens_per_minute: Some(0),
                max_in_flight: Some(0),
            });
        })]);
        assert_eq!(
            faults,
            [
                "clientKeys/k id FIELD_REQUIRED",
                "clientKeys/k sha256 FIELD_REQUIRED",
                "clientKeys/k allowed_models[1] FIELD_REQUIRED",
                "clientKeys/k allowed_models[2] INVALID_TEXT",
                "clientKeys/k expire_time OUT_OF_RANGE",
                "clientKeys/k labels[\"\"] FIELD_REQUIRED",
                "clientKeys/k limits.requests_per_minute OUT_OF_RANGE",
                "clientKeys/k limits.tokens_per_minute OUT_OF_RANGE",
                "clientKeys/k limits.max_in_flight OUT_OF_RANGE",
            ]
        );
    }
}
