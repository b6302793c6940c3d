//! Compiles everything but the client keys, as a whole: what refers to something is compiled after it, and of two that claim the
//! same the older one has it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Claims, Source, Sources, Written,
    chain::{self, Takers},
    credential::{self, Owned},
    faults::Faults,
    provider, redirect, route, settings, supported,
};
use crate::{
    finding::{Effect, Fault, Finding},
    name::{Id, Kind, ResourceName},
    plan::Model,
    resource::Change,
    runtime::{Credential, Provider, Redirect, Redirects, Route, Settings, Traffic},
};

/// The traffic part after some changes, at most one for each resource.
pub(super) fn compile(previous: &Traffic, changes: &[&Change]) -> Traffic {
    let mut sources = previous.sources.clone();
    for change in changes {
        match change {
            Change::Upsert(resource) => {
                let good = sources.remove(&resource.name).and_then(|source| source.good);
                sources.insert(resource.name.clone(), Source { resource: resource.clone(), good });
            }
            Change::Remove(name) => {
                sources.remove(name);
            }
        }
    }
    let mut pass = Pass { previous, sources: &sources, compiled: Vec::new(), findings: Vec::new() };
    let settings = pass.settings();
    let credentials = pass.credentials();
    let providers = pass.providers(&settings, credentials);
    let redirects = pass.redirects(&settings, &providers);
    let routes_by_segment = pass.routes(&settings);
    let Pass { compiled, findings, .. } = pass;
    for name in &compiled {
        if let Some(source) = sources.get_mut(name) {
            source.good = Some(source.resource.body.clone());
        }
    }
    let providers: Vec<Arc<Provider>> = in_use(providers).collect();
    Traffic {
        settings,
        providers_by_prefix: providers
            .iter()
            .map(|provider| (Arc::clone(&provider.prefix), Arc::clone(provider)))
            .collect(),
        owners: owners(&providers),
        catalog: catalog(&providers),
        providers: providers.into_iter().map(|provider| (provider.id.clone(), provider)).collect(),
        redirects,
        routes_by_segment,
        sources,
        findings,
    }
}

/// One compilation under way.
struct Pass<'a> {
    previous: &'a Traffic,
    sources: &'a Sources,
    /// The resources that compile as they are.
    compiled: Vec<ResourceName>,
    findings: Vec<Finding>,
}

impl<'a> Pass<'a> {
    fn settings(&mut self) -> Settings {
        let sources = self.sources;
        let settings = sources.get(&ResourceName::settings());
        settings.and_then(|source| self.settle(source, |body| settings::compile(body, sources))).unwrap_or_default()
    }

    /// The credentials in use of each provider, by id.
    fn credentials(&mut self) -> BTreeMap<Id, Vec<Arc<Credential>>> {
        let (previous, sources) = (self.previous, self.sources);
        let mut credentials: BTreeMap<Id, Vec<Arc<Credential>>> = BTreeMap::new();
        for source in self.of(Kind::Credential) {
            let settled = self.settle(source, |body| credential::compile(&source.resource.name, body, sources));
            if let Some(Written { value: Owned { provider, credential }, disabled: false }) = settled {
                let siblings = previous.providers.get(&provider).map_or(&[][..], |provider| &provider.credentials);
                let known = siblings.binary_search_by(|known| known.id.cmp(&credential.id)).ok();
                let credential = reuse(known.and_then(|at| siblings.get(at)), credential);
                credentials.entry(provider).or_default().push(credential);
            }
        }
        credentials
    }

    fn providers(
        &mut self,
        settings: &Settings,
        mut credentials: BTreeMap<Id, Vec<Arc<Credential>>>,
    ) -> Vec<Written<Arc<Provider>>> {
        let mut prefixes: Claims<Arc<str>> = Claims::new();
        let mut providers = Vec::new();
        for source in self.by_age(Kind::Provider) {
            let name = &source.resource.name;
            let around = provider::Around { settings, prefixes: &prefixes };
            let settled = self.settle(source, |body| provider::compile(name, body, &around));
            if let Some(Written { mut value, disabled }) = settled {
                prefixes.insert(Arc::clone(&value.prefix), name.clone());
                value.credentials = credentials.remove(&value.id).unwrap_or_default();
                let value = reuse(self.previous.providers.get(&value.id), value);
                providers.push(Written { value, disabled });
            }
        }
        providers
    }

    fn redirects(&mut self, settings: &Settings, providers: &[Written<Arc<Provider>>]) -> Redirects {
        let froms = self.of(Kind::Redirect).filter_map(|source| redirect::from(&source.resource.body)).collect();
        let takers = Takers::new(froms, providers, settings.default_provider.is_some());
        let known: BTreeMap<&Id, &Arc<Redirect>> =
            self.previous.redirects.iter().map(|redirect| (&redirect.id, redirect)).collect();
        let mut scopes = Claims::new();
        let mut redirects = Redirects::default();
        for source in self.by_age(Kind::Redirect) {
            let name = &source.resource.name;
            let around = redirect::Around { sources: self.sources, takers: &takers, scopes: &scopes };
            let settled = self.settle(source, |body| {
                let redirect = redirect::compile(name, body, &around)?;
                place(reuse(known.get(&redirect.id).copied(), redirect), &mut redirects)
            });
            if let Some(redirect) = settled {
                scopes.insert((redirect.from.clone(), redirect.client_key_labels.clone()), name.clone());
            }
        }
        redirects
    }

    fn routes(&mut self, settings: &Settings) -> BTreeMap<Arc<str>, Arc<Route>> {
        let mut segments: Claims<Arc<str>> = Claims::new();
        let mut routes = Vec::new();
        for source in self.by_age(Kind::Route) {
            let name = &source.resource.name;
            let around = route::Around { settings, segments: &segments };
            if let Some(Written { value, disabled }) = self.settle(source, |body| route::compile(name, body, &around)) {
                segments.insert(Arc::clone(&value.segment), name.clone());
                let value = reuse(self.previous.routes_by_segment.get(&value.segment), value);
                routes.push(Written { value, disabled });
            }
        }
        in_use(routes).map(|route| (Arc::clone(&route.segment), route)).collect()
    }

    /// Compiles a resource as it is, or else the last version of it that did.
    fn settle<T>(&mut self, source: &Source, mut compile: impl FnMut(&Bytes) -> Result<T, Faults>) -> Option<T> {
        let Source { resource, good } = source;
        let faults = match supported(resource).and_then(|()| compile(&resource.body)) {
            Ok(value) => {
                self.compiled.push(resource.name.clone());
                return Some(value);
            }
            Err(faults) => faults,
        };
        let kept = good.as_ref().and_then(|good| compile(good).ok());
        let effect = if kept.is_some() { Effect::KeptPrevious } else { Effect::Absent };
        self.findings.extend(faults.into_findings(&resource.name, effect));
        kept
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &'a Source> + use<'a> {
        self.sources.values().filter(move |source| source.resource.name.kind() == kind)
    }

    /// The oldest first; of one revision, by name.
    fn by_age(&self, kind: Kind) -> Vec<&'a Source> {
        let mut sources: Vec<&Source> = self.of(kind).collect();
        sources.sort_by_key(|source| source.resource.revision);
        sources
    }
}

/// The version from before where nothing has changed, so that whoever compares need only look at the address.
fn reuse<T: PartialEq>(previous: Option<&Arc<T>>, value: T) -> Arc<T> {
    previous.filter(|previous| ***previous == value).map_or_else(|| Arc::new(value), Arc::clone)
}

/// Adds a redirect to others, unless that closes a circle.
fn place(redirect: Arc<Redirect>, redirects: &mut Redirects) -> Result<Arc<Redirect>, Faults> {
    redirects.insert(Arc::clone(&redirect));
    match chain::circle(redirects, &redirect) {
        None => Ok(redirect),
        Some(circle) => {
            redirects.remove(&redirect);
            Err(Faults::one("targets", Fault::Loop(circle)))
        }
    }
}

fn in_use<T>(written: Vec<Written<T>>) -> impl Iterator<Item = T> {
    written.into_iter().filter(|written| !written.disabled).map(|written| written.value)
}

/// For each bare model name, the providers that list it, best first.
fn owners(providers: &[Arc<Provider>]) -> BTreeMap<Arc<str>, Vec<Arc<Provider>>> {
    let mut owners: BTreeMap<Arc<str>, Vec<Arc<Provider>>> = BTreeMap::new();
    for provider in providers {
        for model in &provider.models {
            owners.entry(Arc::clone(model)).or_default().push(Arc::clone(provider));
        }
    }
    for owners in owners.values_mut() {
        owners.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.id.cmp(&b.id)));
    }
    owners
}

/// Every model of a fixed list as `prefix/model`, sorted.
fn catalog(providers: &[Arc<Provider>]) -> Vec<Model> {
    let models = providers.iter().flat_map(|provider| {
        let owned_by = &provider.prefix;
        provider
            .models
            .iter()
            .map(move |model| Model { id: format!("{owned_by}/{model}").into(), owned_by: Arc::clone(owned_by) })
    });
    let mut models: Vec<Model> = models.collect();
    models.sort();
    models
}
