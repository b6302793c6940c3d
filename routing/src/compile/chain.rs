//! Where a redirect leads that names a model without a provider: whether anybody takes it, and whether it comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Written;
use crate::{
    glob::Glob,
    name::Id,
    runtime::{Provider, Redirect, Redirects},
};

/// Who takes a model that a client asks for: everybody there is, in use or not, since what is switched off may be switched on.
pub(super) struct Takers<'a> {
    redirects: Vec<Glob>,
    by_prefix: BTreeMap<&'a str, &'a Provider>,
    listed: BTreeSet<&'a str>,
    /// Whether there is somebody for any name: the default provider, or one that may turn out to have it.
    any: bool,
}

impl<'a> Takers<'a> {
    pub(super) fn new(redirects: Vec<Glob>, providers: &'a [Written<Arc<Provider>>], default: bool) -> Self {
        let providers = providers.iter().map(|written| &*written.value);
        let by_prefix = providers.clone().map(|provider| (&*provider.prefix, provider)).collect();
        let any = default || providers.clone().any(|provider| provider.discovery.is_some());
        let listed = providers.flat_map(|provider| &provider.models).map(|model| &**model).collect();
        Self { redirects, by_prefix, listed, any }
    }

    /// Whether anybody takes a model, for some key or other.
    pub(super) fn take(&self, model: &str) -> bool {
        let prefixed = model.split_once('/').and_then(|(prefix, name)| Some((self.by_prefix.get(prefix)?, name)));
        let served = prefixed.map_or(self.any, |(provider, name)| {
            if provider.models.is_empty() || provider.discovery.is_some() {
                !name.is_empty()
            } else {
                provider.models.iter().any(|listed| **listed == *name)
            }
        });
        served || self.listed.contains(model) || self.redirects.iter().any(|from| from.matches(model))
    }
}

/// The shortest way on which a redirect among others leads back to itself, spelled by their `from`s, if there is one.
///
/// It follows every redirect that takes a model for some key, though no single key may ever go all the way round: better to
/// refuse one chain too many than to depend on which labels keys carry.
pub(super) fn circle(redirects: &Redirects, start: &Redirect) -> Option<String> {
    // Each redirect that is reached, with the place of the one that led to it.
    let mut reached: Vec<(&Redirect, usize)> = vec![(start, 0)];
    let mut seen: BTreeSet<&Id> = BTreeSet::new();
    let mut at = 0;
    while let Some((redirect, _)) = reached.get(at) {
        for next in redirect.onward().flat_map(|model| redirects.candidates(model)) {
            if next.id == start.id {
                return Some(way(&reached, at));
            }
            if next.leads_on() && seen.insert(&next.id) {
                reached.push((next, at));
            }
        }
        at += 1;
    }
    None
}

/// The way from the first redirect to one that was reached, and on to the first again.
fn way(reached: &[(&Redirect, usize)], last: usize) -> String {
    let mut way: Vec<&str> = Vec::new();
    let mut at = last;
    while let Some((redirect, before)) = reached.get(at) {
        way.push(redirect.from.as_str());
        if at == 0 {
            break;
        }
        at = *before;
    }
    way.reverse();
    way.extend(way.first().copied());
    way.join(" -> ")
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::{Effect, Fault},
        fixture::{at, compile, labels, listing, plan, provider, redirect, runtime, settings, targets},
    };

    /// The circles found among redirects, given as id, `from` and target, the first being the oldest.
    fn circles(redirects: &[(&str, &str, &str)]) -> Vec<String> {
        let mut changes = vec![provider("p", |_| {}), settings(|s| s.default_provider = "p".into())];
        changes.extend(
            (1_u64..).zip(redirects).map(|(revision, (id, from, to))| at(revision, redirect(id, from, &[to], |_| {}))),
        );
        let findings = compile(&changes).findings;
        findings.iter().map(|finding| format!("{}: {}", finding.resource, finding.fault)).collect()
    }

    #[test]
    fn circles_are_found_and_spelled_out() {
        let back = |resource: &str, chain: &str| vec![format!("redirects/{resource}: leads back to itself: {chain}")];
        assert_eq!(circles(&[("a", "a", ":a")]), back("a", "a -> a"));
        assert_eq!(circles(&[("x", "a", ":b"), ("y", "b", ":a")]), back("y", "b -> a -> b"));
        assert_eq!(circles(&[("y", "b", ":a"), ("x", "a", ":b")]), back("x", "a -> b -> a"));
        assert_eq!(circles(&[("a", "a", ":b"), ("b", "b", ":c"), ("c", "c", ":a")]), back("c", "c -> a -> b -> c"));
        assert_eq!(circles(&[("a", "g*", ":gpt")]), back("a", "g* -> g*"));
        assert_eq!(circles(&[("a", "g*", ":fast"), ("b", "fast", ":gpt")]), back("b", "fast -> g* -> fast"));
    }

    #[test]
    fn what_only_looks_like_a_circle_is_taken() {
        for redirects in [
            &[("a", "a", "p:a")][..],
            &[("a", "a", ":b"), ("b", "b", "p:a")],
            &[("a", "a", ":p/a")],
            // The exact redirect is asked before the pattern.
            &[("a", "gpt", "p:x"), ("b", "g*", ":gpt")],
            &[("b", "gpt-4*", "p:x"), ("a", "gpt*", ":gpt-4o")],
        ] {
            assert_eq!(circles(redirects), [""; 0]);
        }
    }

    #[test]
    fn a_redirect_for_some_keys_does_not_hide_the_circle_of_the_others() {
        let shadow = redirect("shadow", "b", &["p:x"], |r| r.client_key_labels = labels(&[("a", "b")]));
        let changes = [
            provider("p", |_| {}),
            shadow,
            at(2, redirect("one", "a", &[":b"], |_| {})),
            at(3, redirect("two", "b", &[":a"], |_| {})),
        ];
        let findings = compile(&changes).findings;
        assert_eq!(findings[0].fault, Fault::Loop("b -> a -> b".into()));
    }

    #[test]
    fn of_a_circle_only_the_last_link_is_left_out() {
        let before =
            runtime(&[listing("p", &["m"]), redirect("a", "a", &[":b"], |_| {}), redirect("b", "b", &["p:m"], |_| {})]);
        let after = before.apply(&[at(2, redirect("b", "b", &[":a"], |_| {}))]);
        assert_eq!(after.findings[0].effect, Effect::KeptPrevious);
        assert_eq!(targets(plan(&after.runtime, "a")), ["p:m"]);
        assert_eq!(targets(plan(&after.runtime, "b")), ["p:m"]);
    }

    #[test]
    fn a_chain_may_be_long() {
        let mut changes = vec![provider("p", |_| {}), redirect("last", "m1000", &["p:end"], |_| {})];
        let link = |at: usize| redirect(&format!("r{at}"), &format!("m{at}"), &[&format!(":m{}", at + 1)], |_| {});
        changes.extend((0..1000).map(link));
        assert_eq!(targets(plan(&runtime(&changes), "m0")), ["p:end"]);
    }
}
