//! Resources for tests: each one right, until the test makes of it what it is about.

use prost::Message;
use sha2::{Digest as _, Sha256};
use signalbox_proto::config::v1 as config;

use crate::{
    compile::Compiled,
    endpoint::Endpoint,
    name::{Id, ResourceName},
    plan::{Caller, Plan, Request},
    resource::{Change, Resource},
    runtime::{ClientKey, Runtime},
};

pub(crate) fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

pub(crate) fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

pub(crate) fn upsert(resource: &str, body: impl Into<bytes::Bytes>) -> Change {
    let (name, required_features, body) = (name(resource), Vec::new(), body.into());
    Change::Upsert(Resource { name, revision: 1, required_features, body })
}

pub(crate) fn remove(resource: &str) -> Change {
    Change::Remove(name(resource))
}

/// The same change in another revision.
pub(crate) fn at(revision: u64, change: Change) -> Change {
    match change {
        Change::Upsert(resource) => Change::Upsert(Resource { revision, ..resource }),
        removal @ Change::Remove(_) => removal,
    }
}

/// The same change, which now needs a capability.
pub(crate) fn requiring(feature: &str, change: Change) -> Change {
    match change {
        Change::Upsert(resource) => {
            Change::Upsert(Resource { required_features: vec![feature.to_owned()], ..resource })
        }
        removal @ Change::Remove(_) => removal,
    }
}

pub(crate) fn provider(id: &str, edit: impl FnOnce(&mut config::Provider)) -> Change {
    let mut wire = config::Provider {
        id: id.to_owned(),
        dialect: config::Dialect::Openai.into(),
        base_url: format!("https://{id}.example/v1"),
        model_prefix: id.to_owned(),
        ..config::Provider::default()
    };
    edit(&mut wire);
    upsert(&format!("providers/{id}"), wire.encode_to_vec())
}

/// A provider with a fixed list of models.
pub(crate) fn listing(id: &str, models: &[&str]) -> Change {
    provider(id, |provider| provider.models = models.iter().map(ToString::to_string).collect())
}

pub(crate) fn credential(provider: &str, id: &str, edit: impl FnOnce(&mut config::Credential)) -> Change {
    let mut wire = config::Credential {
        id: id.to_owned(),
        provider: provider.to_owned(),
        source: Some(config::credential::Source::Secret(format!("sk-{provider}-{id}"))),
        ..config::Credential::default()
    };
    edit(&mut wire);
    upsert(&format!("providers/{provider}/credentials/{id}"), wire.encode_to_vec())
}

pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A key whose secret is its id.
pub(crate) fn client_key(id: &str, edit: impl FnOnce(&mut config::ClientKey)) -> Change {
    let sha256 = digest(id).to_vec().into();
    let mut wire = config::ClientKey { id: id.to_owned(), sha256, ..config::ClientKey::default() };
    edit(&mut wire);
    upsert(&format!("clientKeys/{id}"), wire.encode_to_vec())
}

/// A target as `provider`, `provider:model` or `:model`.
pub(crate) fn target(text: &str) -> config::redirect::Target {
    let (provider, model) = text.split_once(':').unwrap_or((text, ""));
    config::redirect::Target { provider: provider.to_owned(), model: model.to_owned(), weight: None, priority: 0 }
}

pub(crate) fn redirect(id: &str, from: &str, targets: &[&str], edit: impl FnOnce(&mut config::Redirect)) -> Change {
    let mut wire = config::Redirect {
        id: id.to_owned(),
        from: from.to_owned(),
        targets: targets.iter().copied().map(target).collect(),
        ..config::Redirect::default()
    };
    edit(&mut wire);
    upsert(&format!("redirects/{id}"), wire.encode_to_vec())
}

pub(crate) fn route(id: &str, edit: impl FnOnce(&mut config::Route)) -> Change {
    let mut wire = config::Route {
        id: id.to_owned(),
        segment: id.to_owned(),
        destination: Some(config::route::Destination::TargetUrl(format!("https://{id}.example"))),
        ..config::Route::default()
    };
    edit(&mut wire);
    upsert(&format!("routes/{id}"), wire.encode_to_vec())
}

pub(crate) fn settings(edit: impl FnOnce(&mut config::Settings)) -> Change {
    let mut wire = config::Settings::default();
    edit(&mut wire);
    upsert("settings", wire.encode_to_vec())
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

/// A configuration made of these changes at once.
pub(crate) fn compile(changes: &[Change]) -> Compiled {
    Runtime::default().apply(changes)
}

/// A configuration in which nothing is wrong.
pub(crate) fn runtime(changes: &[Change]) -> Runtime {
    let Compiled { runtime, findings } = compile(changes);
    assert_eq!(findings, []);
    runtime
}

/// What is wrong, each as `resource field REASON`.
pub(crate) fn faults(changes: &[Change]) -> Vec<String> {
    faults_of(&compile(changes))
}

pub(crate) fn faults_of(compiled: &Compiled) -> Vec<String> {
    let findings = compiled.findings.iter();
    findings.map(|finding| format!("{} {} {}", finding.resource, finding.field, finding.fault.reason())).collect()
}

pub(crate) fn key<'a>(runtime: &'a Runtime, id: &str) -> Option<&'a ClientKey> {
    Some(runtime.client_key(&digest(id))?)
}

/// A plan for a chat without a key.
pub(crate) fn plan(runtime: &Runtime, model: &str) -> Option<Plan> {
    plan_for(runtime, None, model)
}

pub(crate) fn plan_for(runtime: &Runtime, key: Option<&ClientKey>, model: &str) -> Option<Plan> {
    runtime
        .plan(&Request {
            caller: key.map_or(Caller::Operator, Caller::Key),
            model,
            endpoint: Endpoint::ChatCompletions,
            seed: 1,
        })
        .ok()
}

/// The targets of a plan in order, each as `provider:model`.
pub(crate) fn targets(plan: Option<Plan>) -> Vec<String> {
    let Some(Plan { first, rest, .. }) = plan else { return Vec::new() };
    std::iter::once(first).chain(rest).map(|target| format!("{}:{}", target.provider.id, target.model)).collect()
}
