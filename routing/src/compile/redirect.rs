//! A redirect from the wire.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use signalbox_proto::config::v1::{self as config, redirect::Target};

use super::{Claims, Sources, chain::Takers, decode, faults::Faults, value};
use crate::{
    finding::Fault,
    glob::Glob,
    name::ResourceName,
    runtime::{AnswerModel, Destination, Redirect, RedirectTarget},
};

/// Most targets of one redirect.
const MAX_TARGETS: usize = 64;

/// What only one redirect may be for: a pattern and the labels of the keys.
pub(super) type Scope = (Glob, BTreeMap<String, String>);

/// What a redirect stands among.
pub(super) struct Around<'a> {
    pub(super) sources: &'a Sources,
    pub(super) takers: &'a Takers<'a>,
    pub(super) scopes: &'a Claims<Scope>,
}

pub(super) fn compile(name: &ResourceName, body: &Bytes, around: &Around<'_>) -> Result<Redirect, Faults> {
    let config::Redirect { id, from, targets, answer_model, client_key_labels } = decode(body)?;
    let mut faults = Faults::default();
    let id = faults.take("id", value::own_id(&id, name));
    value::labels("client_key_labels", &client_key_labels, &mut faults);
    let scope = value::pattern(&from).and_then(|from| free((from, client_key_labels), around.scopes));
    let scope = faults.take("from", scope);
    let targets = self::targets(targets, around, &mut faults);
    let answer_model = faults.take("answer_model", self::answer_model(answer_model));
    faults.finish(|| {
        let (from, client_key_labels) = scope?;
        Some(Redirect { id: id?, from, targets, answer_model: answer_model?, client_key_labels })
    })
}

/// The pattern of a redirect, whatever else is wrong with it.
pub(super) fn from(body: &Bytes) -> Option<Glob> {
    let redirect: config::Redirect = decode(body).ok()?;
    value::pattern(&redirect.from).ok()
}

fn free(scope: Scope, taken: &Claims<Scope>) -> Result<Scope, Fault> {
    match taken.get(&scope) {
        Some(holder) => Err(Fault::Taken(holder.clone())),
        None => Ok(scope),
    }
}

fn targets(wire: Vec<Target>, around: &Around<'_>, faults: &mut Faults) -> Vec<RedirectTarget> {
    match wire.len() {
        0 => faults.add("targets", Fault::Missing),
        1..=MAX_TARGETS => {}
        _ => faults.add("targets", Fault::OutOfRange("1 to 64 targets")),
    }
    let written = wire.into_iter().enumerate();
    let mut targets: Vec<RedirectTarget> =
        written.filter_map(|(at, target)| self::target(&format!("targets[{at}]"), &target, around, faults)).collect();
    targets.sort_by_key(|target| Reverse(target.priority));
    targets
}

fn target(field: &str, wire: &Target, around: &Around<'_>, faults: &mut Faults) -> Option<RedirectTarget> {
    let Target { provider, model, weight, priority } = wire;
    let weight = faults.take(format_args!("{field}.weight"), value::weight(*weight));
    let model = (!model.is_empty()).then(|| faults.take(format_args!("{field}.model"), value::model(model)));
    let to = if provider.is_empty() {
        // Without a provider there must be a model.
        let model: Arc<str> =
            model.unwrap_or_else(|| faults.take(format_args!("{field}.provider"), Err(Fault::Missing)))?;
        if !around.takers.take(&model) {
            faults.add(format_args!("{field}.model"), value::refused(&model, UNTAKEN));
        }
        Destination::Model(model)
    } else {
        let known = |name: &ResourceName| around.sources.contains_key(name);
        let id = faults.take(format_args!("{field}.provider"), value::provider(provider, known))?;
        Destination::Provider { id, model: model.flatten() }
    };
    Some(RedirectTarget { to, weight: weight?, priority: *priority })
}

const UNTAKEN: &str = "no redirect, provider or default provider takes it";

fn answer_model(wire: i32) -> Result<AnswerModel, Fault> {
    match config::AnswerModel::try_from(wire) {
        Ok(config::AnswerModel::Unspecified | config::AnswerModel::Requested) => Ok(AnswerModel::Requested),
        Ok(config::AnswerModel::Served) => Ok(AnswerModel::Served),
        Err(_) => Err(value::refused(&wire.to_string(), "must be a choice that this build knows")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, faults, id, labels, listing, provider, redirect, runtime, target};

    #[test]
    fn targets_come_by_priority_and_otherwise_as_written() {
        let runtime = runtime(&[
            provider("p", |_| {}),
            redirect("r", "m", &["p:low", "p:high", "p", ":p/x"], |r| {
                r.targets[0].priority = -1;
                r.targets[0].weight = Some(0);
                r.targets[1].priority = 9;
            }),
        ]);
        let redirect = runtime.traffic.redirects.iter().next().unwrap();
        let at = |model: Option<&str>| Destination::Provider { id: id("p"), model: model.map(Into::into) };
        let target = |to, weight, priority| RedirectTarget { to, weight, priority };
        assert_eq!(
            redirect.targets,
            [
                target(at(Some("high")), 1, 9),
                target(at(None), 1, 0),
                target(Destination::Model("p/x".into()), 1, 0),
                target(at(Some("low")), 0, -1),
            ]
        );
    }

    #[test]
    fn every_fault_is_found() {
        let faults = faults(&[
            redirect("bad", "", &["gone:m", "Bad:m", ":", ":nobody", ":a*"], |r| {
                r.id = "other".into();
                r.targets[0].weight = Some(1_000_001);
                r.answer_model = 9;
                r.client_key_labels = labels(&[("", "")]);
            }),
            redirect("empty", "m", &[], |_| {}),
        ]);
        let expected = [
            "bad id INVALID_TEXT",
            "bad client_key_labels[\"\"] FIELD_REQUIRED",
            "bad from FIELD_REQUIRED",
            "bad targets[0].weight OUT_OF_RANGE",
            "bad targets[0].provider DANGLING_REFERENCE",
            "bad targets[1].provider INVALID_ID",
            "bad targets[2].provider FIELD_REQUIRED",
            "bad targets[3].model INVALID_TEXT",
            "bad targets[4].model INVALID_TEXT",
            "bad answer_model INVALID_TEXT",
            "empty targets FIELD_REQUIRED",
        ];
        assert_eq!(faults, expected.map(|fault| format!("redirects/{fault}")));
    }

    #[test]
    fn a_model_may_be_redirected_once_for_the_same_keys() {
        let team = |team: &'static str| move |r: &mut config::Redirect| r.client_key_labels = labels(&[("team", team)]);
        let faults = faults(&[
            provider("p", |_| {}),
            at(2, redirect("a", "m", &["p"], |_| {})),
            at(1, redirect("b", "m", &["p"], |_| {})),
            redirect("c", "m", &["p"], team("x")),
            redirect("d", "m", &["p"], team("y")),
            redirect("e", "m", &["p"], team("y")),
        ]);
        assert_eq!(faults, ["redirects/a from ALREADY_TAKEN", "redirects/e from ALREADY_TAKEN"]);
    }

    #[test]
    fn a_redirect_has_a_bounded_number_of_targets() {
        let many = |count| redirect("r", "m", &[], |r| r.targets = vec![target("p:x"); count]);
        assert_eq!(faults(&[provider("p", |_| {}), many(64)]), [""; 0]);
        assert_eq!(faults(&[provider("p", |_| {}), many(65)]), ["redirects/r targets OUT_OF_RANGE"]);
    }

    #[test]
    fn a_model_without_a_provider_must_be_taken_by_somebody() {
        let configuration = [
            listing("fixed", &["m", "org/n"]),
            provider("open", |p| p.disabled = true),
            redirect("other", "pat-*", &["open"], |r| r.client_key_labels = labels(&[("a", "b")])),
        ];
        for (model, taken) in [
            (":m", true),
            (":fixed/m", true),
            (":fixed/org/n", true),
            (":org/n", true),
            (":open/anything", true),
            (":pat-1", true),
            (":fixed/unknown", false),
            (":unknown", false),
            (":open/", false),
        ] {
            let redirect = redirect("r", "from", &[model], |_| {});
            let changes: Vec<_> = configuration.iter().cloned().chain([redirect]).collect();
            assert_eq!(faults(&changes).is_empty(), taken, "{model}");
        }
    }
}
