//! What providers, redirects and routes leave undone: what was there and is not, and what is there and leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_proto::admin::v1::Finding;
use signalbox_routing::{Caller, CredentialSource, Id, Provider, Redirect, ResourceName, Runtime};

use super::{finding, reach::holder};
use crate::state::State;

/// What goes with the change: providers, the default one among them, and routes.
pub(super) fn lost(before: &Runtime, after: &Runtime) -> Vec<Finding> {
    let mut findings = Vec::new();
    let left: BTreeSet<&Id> = after.providers().map(|provider| &provider.id).collect();
    for provider in before.providers().filter(|provider| !left.contains(&provider.id)) {
        let message = format!(
            "provider {} is not used any more: what is asked for as `{}/...` is answered 404",
            provider.id, provider.prefix
        );
        findings.push(finding(ResourceName::provider(&provider.id).as_str(), "PROVIDER_LOST", message));
    }
    let default = |runtime: &Runtime| default_provider(runtime).cloned();
    if let (Some(id), None) = (default(before), default(after)) {
        let message = format!(
            "{id} is no longer the default provider, and none takes its place: names that nobody claims are answered 404"
        );
        findings.push(finding(ResourceName::settings().as_str(), "DEFAULT_PROVIDER_LOST", message));
    }
    for route in before.routes().filter(|route| after.route(&route.segment).is_none()) {
        let message = format!("`/{}` is answered 404", route.segment);
        findings.push(finding(ResourceName::route(&route.id).as_str(), "ROUTE_LOST", message));
    }
    findings
}

fn default_provider(runtime: &Runtime) -> Option<&Id> {
    let id = runtime.settings().default_provider.as_ref()?;
    runtime.providers().any(|provider| provider.id == *id).then_some(id)
}

/// What leads nowhere, by the resource and what is the matter with it.
pub(super) fn troubles(state: &State) -> BTreeMap<(ResourceName, &'static str), String> {
    let runtime = &state.runtime;
    let redirects = runtime.redirects().filter_map(|redirect| {
        let (code, message) = dead(runtime, redirect)?;
        Some(((ResourceName::redirect(&redirect.id), code), message))
    });
    let providers = runtime.providers().filter(|provider| lacks_credential(state, provider)).map(|provider| {
        let message = format!("provider {} has no usable credential: requests to it carry no key", provider.id);
        ((ResourceName::provider(&provider.id), "NO_USABLE_CREDENTIAL"), message)
    });
    redirects.chain(providers).collect()
}

/// Why a redirect does nothing for anybody.
fn dead(runtime: &Runtime, redirect: &Redirect) -> Option<(&'static str, String)> {
    let key = holder(&redirect.client_key_labels)?;
    let (caller, from) = (Caller::Key(&key), redirect.from.as_str());
    let taker = runtime.redirect(caller, from)?;
    if taker.id != redirect.id {
        let message = format!("redirect {} is never used: redirect {} takes `{from}` before it", redirect.id, taker.id);
        return Some(("SHADOWED_REDIRECT", message));
    }
    let message = || format!("redirect {} has no usable target: `{from}` is answered 404", redirect.id);
    runtime.model(caller, from).is_none().then(|| ("NO_USABLE_TARGET", message()))
}

/// Whether it has credentials, none of which is in use. One that never had any may need none.
fn lacks_credential(state: &State, provider: &Provider) -> bool {
    provider.credential_source == CredentialSource::Pool
        && provider.credentials.is_empty()
        && state.credentials(&provider.id, None).next().is_some()
}
