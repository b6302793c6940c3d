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
    let config::Redirect { from, .. } = decode(body).ok()?;
    value::pattern(&from).ok()
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
        Err(_) => Err(value::refused(&wire.to_string(), "a choice that this build knows")),
    }
}
