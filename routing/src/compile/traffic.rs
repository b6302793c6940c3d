//! Compiles everything but the client keys, as a whole: what refers to something is compiled after it, and of two that claim the
//! same the older one has it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Claims, Source, Sources, Step, Written,
    chain::{self, Takers},
    credential::{self, Owned},
    faults::Faults,
    provider, redirect, route, settings, supported,
};
use crate::{
    finding::{Effect, Fault, Finding},
    name::{Id, Kind, ResourceName},
    runtime::{Callers, Credential, Provider, Redirect, Redirects, Route, Settings, Traffic},
};

/// The traffic part after some changes, at most one for each resource.
pub(super) fn compile(previous: &Traffic, changes: &[Step<'_>]) -> Traffic {
    let mut sources = previous.sources.clone();
    for (name, after) in changes {
        let before = sources.remove(*name);
        if let Some(resource) = *after {
            let good = before.and_then(|source| source.good);
            sources.insert(resource.name.clone(), Source { resource: resource.clone(), good });
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
    let providers_by_prefix = providers
        .iter()
        .map(|Written { value, disabled }| (Arc::clone(&value.prefix), (!disabled).then(|| Arc::clone(value))))
        .collect();
    let providers: BTreeMap<_, _> = in_use(providers).map(|provider| (provider.id.clone(), provider)).collect();
    Traffic {
        settings,
        open: providers.values().any(|provider| provider.callers == Callers::Anyone),
        providers,
        providers_by_prefix,
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
        let (sources, known) = (self.sources, &self.previous.settings);
        let settings = sources.get(&ResourceName::settings());
        settings
            .and_then(|source| self.settle(source, |body| settings::compile(body, sources, known)))
            .unwrap_or_default()
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
            let around = provider::Around { settings, prefixes: &prefixes, previous: &self.previous.providers };
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

#[cfg(test)]
mod tests {
    use signalbox_proto::config::v1 as config;

    use super::*;
    use crate::{
        fixture::{
            compile, credential, faults_of, listing, plan, provider, redirect, remove, requiring, route, runtime,
            settings, targets, upsert,
        },
        runtime::Runtime,
    };

    fn sensitive(provider: &mut config::Provider, secret: bool) {
        use config::header_value::Content;
        let content = Some(if secret { Content::Secret("x".into()) } else { Content::Value("x".into()) });
        provider.headers.insert("x-a".into(), config::HeaderValue { content, overwrite: None });
    }

    #[test]
    fn what_does_not_compile_is_as_it_was_before_and_what_never_did_is_absent() {
        let before = runtime(&[listing("p", &["m"]), route("r", |_| {}), settings(|s| s.keyless_models = true)]);
        let after = before.apply(&[
            upsert("providers/p", "garbage"),
            route("r", |r| r.segment = "v1".into()),
            requiring("time-travel", settings(|_| {})),
            upsert("providers/q", "garbage"),
            redirect("x", "alias", &["p:m"], |_| {}),
        ]);
        let found: Vec<_> = after.findings.iter().map(|finding| (finding.to_string(), finding.effect)).collect();
        let expected = [
            ("settings: : needs the feature `time-travel`, which this build does not have", Effect::KeptPrevious),
            ("providers/p: : cannot be decoded", Effect::KeptPrevious),
            ("providers/q: : cannot be decoded", Effect::Absent),
            ("routes/r: segment: `v1` is not allowed: is one of the gateway's own segments", Effect::KeptPrevious),
        ];
        assert_eq!(found, expected.map(|(text, effect)| (text.to_owned(), effect)));
        assert!(after.runtime.settings().keyless_models);
        assert!(after.runtime.route("r").is_some());
        assert_eq!(targets(plan(&after.runtime, "alias")), ["p:m"]);

        // The version that serves is the last good one after any number of bad ones, and gone with the resource.
        let again = after.runtime.apply(&[upsert("providers/p", "other garbage")]).runtime;
        assert_eq!(targets(plan(&again, "m")), ["p:m"]);
        let gone = again.apply(&[remove("providers/p"), remove("redirects/x")]).runtime;
        assert_eq!(gone.apply(&[upsert("providers/p", "garbage")]).runtime.providers().count(), 0);
    }

    #[test]
    fn what_is_kept_is_compiled_with_the_settings_of_today() {
        let proxy = |url: &str| Some(config::ForwardProxy { url: url.into(), ..config::ForwardProxy::default() });
        let before = runtime(&[provider("p", |_| {}), settings(|s| s.forward_proxy = proxy("http://old:1"))]);
        let after =
            before.apply(&[upsert("providers/p", "garbage"), settings(|s| s.forward_proxy = proxy("http://new:1"))]);
        let provider = after.runtime.providers().next().unwrap();
        assert_eq!(&*provider.profile.proxy.as_ref().unwrap().url, "http://new:1");
    }

    #[test]
    fn order_does_not_matter_even_where_references_dangle_for_a_while() {
        let first = compile(&[redirect("r", "alias", &["p:m"], |_| {}), credential("p", "c", |_| {})]);
        assert_eq!(
            faults_of(&first),
            [
                "providers/p/credentials/c provider DANGLING_REFERENCE",
                "redirects/r targets[0].provider DANGLING_REFERENCE"
            ]
        );
        let then = first.runtime.apply(&[provider("p", |_| {})]);
        assert_eq!(then.findings, []);
        assert_eq!(targets(plan(&then.runtime, "alias")), ["p:m"]);
        assert_eq!(then.runtime.providers().next().unwrap().credentials.len(), 1);
    }

    #[test]
    fn a_provider_that_is_referred_to_cannot_go_unnoticed() {
        let before = runtime(&[
            provider("p", |_| {}),
            redirect("r", "alias", &["p"], |_| {}),
            settings(|s| s.default_provider = "p".into()),
        ]);
        let after = before.apply(&[remove("providers/p")]);
        assert_eq!(
            faults_of(&after),
            ["settings default_provider DANGLING_REFERENCE", "redirects/r targets[0].provider DANGLING_REFERENCE"]
        );
        // A disabled one is merely passed over.
        assert_eq!(before.apply(&[provider("p", |p| p.disabled = true)]).findings, []);
    }

    #[test]
    fn the_last_change_of_a_resource_counts() {
        let after =
            compile(&[provider("p", |_| {}), remove("providers/p"), listing("p", &["m"]), remove("routes/none")]);
        assert_eq!(targets(plan(&after.runtime, "m")), ["p:m"]);
    }

    #[test]
    fn what_has_not_changed_is_the_same_as_before_and_what_has_is_not() {
        let before = runtime(&[
            provider("p", |p| sensitive(p, false)),
            credential("p", "c", |_| {}),
            provider("q", |_| {}),
            redirect("r", "alias", &["p"], |_| {}),
            route("w", |_| {}),
        ]);
        let same = |a: &Runtime, b: &Runtime| {
            let providers = a.providers().zip(b.providers()).map(|(a, b)| Arc::ptr_eq(a, b));
            let redirects = a.traffic.redirects.iter().zip(b.traffic.redirects.iter()).map(|(a, b)| Arc::ptr_eq(a, b));
            let routes = a.routes().zip(b.routes()).map(|(a, b)| Arc::ptr_eq(a, b));
            providers.chain(redirects).chain(routes).collect::<Vec<_>>()
        };
        let after = before.apply(&[provider("q", |q| q.priority = 1)]).runtime;
        assert_eq!(same(&before, &after), [true, false, true, true]);
        let after = before.apply(&[credential("p", "c", |c| c.weight = Some(2))]).runtime;
        assert_eq!(same(&before, &after), [false, true, true, true]);
        let after = before.apply(&[provider("p", |p| sensitive(p, true))]).runtime;
        assert_eq!(same(&before, &after), [false, true, true, true]);
        let credential = |runtime: &Runtime| Arc::clone(&runtime.providers().next().unwrap().credentials[0]);
        assert!(Arc::ptr_eq(&credential(&before), &credential(&after)));
        let after = before.apply(&[settings(|s| s.drop_headers = vec!["x".into()])]).runtime;
        assert_eq!(same(&before, &after), [false, false, true, false]);
    }
}
