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
    default: bool,
}

impl<'a> Takers<'a> {
    pub(super) fn new(redirects: Vec<Glob>, providers: &'a [Written<Arc<Provider>>], default: bool) -> Self {
        let providers = providers.iter().map(|written| &*written.value);
        let by_prefix = providers.clone().map(|provider| (&*provider.prefix, provider)).collect();
        let listed = providers.flat_map(|provider| &provider.models).map(|model| &**model).collect();
        Self { redirects, by_prefix, listed, default }
    }

    /// Whether anybody takes a model, for some key or other.
    pub(super) fn take(&self, model: &str) -> bool {
        let prefixed = model.split_once('/').and_then(|(prefix, name)| Some((self.by_prefix.get(prefix)?, name)));
        let served = prefixed.map_or(self.default, |(provider, name)| {
            if provider.models.is_empty() {
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
/// It takes every redirect that takes a model for some key, so that a chain that is refused may not come back for each key; that
/// one key's requests never run in a circle is worth more.
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
