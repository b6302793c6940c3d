//! Which names lead to which providers: fixed lists, and over them the lists that providers were found to have. How a list was
//! found is not known here.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Provider, Settings, Traffic};
use crate::{compile::is_model, name::Id, plan::Model};

/// The models that a provider was found to have, by its own names.
pub(crate) type Lists = BTreeMap<Id, Arc<[Arc<str>]>>;

/// Every name that a provider is known to serve.
#[derive(Debug, Default)]
pub(crate) struct Models {
    /// What providers were found to have.
    found: Lists,
    /// For each of the providers' own names, those that have it, best first.
    holders: BTreeMap<Arc<str>, Vec<Holder>>,
    /// `prefix/model` for every model that is listed, sorted by id.
    catalog: Vec<Listed>,
}

/// A provider that has a model.
#[derive(Debug)]
struct Holder {
    provider: Arc<Provider>,
    /// Whether it lists the model, and so takes it when it is asked for without a prefix.
    listed: bool,
}

/// A model of a provider as it is listed.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) model: Model,
    pub(crate) provider: Arc<Provider>,
}

impl Models {
    /// The names of the providers in use. What was found of one that is gone, or is not asked any more, is forgotten.
    pub(crate) fn of(traffic: &Traffic, found: &Lists) -> Self {
        let asked = |id: &Id| traffic.providers.get(id).is_some_and(|provider| provider.discovery.is_some());
        let found: Lists =
            found.iter().filter(|(id, _)| asked(id)).map(|(id, list)| (id.clone(), Arc::clone(list))).collect();
        let mut models = Self { found: Lists::new(), holders: BTreeMap::new(), catalog: Vec::new() };
        for provider in traffic.providers.values() {
            models.add(provider, found.get(&provider.id).map_or(&[][..], |list| list), &traffic.settings);
        }
        for holders in models.holders.values_mut() {
            // The highest priority first; those of one priority stay in the order of their ids.
            holders.sort_by_key(|holder| Reverse(holder.provider.priority));
        }
        models.catalog.sort_by(|a, b| a.model.cmp(&b.model));
        Self { found, ..models }
    }

    fn add(&mut self, provider: &Arc<Provider>, found: &[Arc<str>], settings: &Settings) {
        let mut seen = BTreeSet::new();
        // What no client could write is nobody's model, whatever an upstream says.
        let found = found.iter().filter(|name| is_model(name));
        for name in provider.models.iter().chain(found).filter(|name| seen.insert(Arc::clone(name))) {
            let listed = provider.model_filter.lists(name);
            let holder = Holder { provider: Arc::clone(provider), listed };
            self.holders.entry(Arc::clone(name)).or_default().push(holder);
            let owned_by = Arc::clone(&provider.prefix);
            let model = Model { id: format!("{owned_by}/{name}").into(), owned_by };
            if listed && settings.model_filter.lists(&model.id) {
                self.catalog.push(Listed { model, provider: Arc::clone(provider) });
            }
        }
    }

    /// What providers were found to have.
    pub(crate) const fn found(&self) -> &Lists {
        &self.found
    }

    /// The models that are listed, by id.
    pub(crate) fn catalog(&self) -> &[Listed] {
        &self.catalog
    }

    /// The providers that take a name without a prefix, best first, with the name as they spell it.
    pub(crate) fn owners(&self, name: &str) -> Option<(&Arc<str>, impl Iterator<Item = &Arc<Provider>>)> {
        let (name, holders) = self.holders.get_key_value(name)?;
        let mut owners = holders.iter().filter(|holder| holder.listed).map(|holder| &holder.provider).peekable();
        owners.peek()?;
        Some((name, owners))
    }

    /// The name after a provider's prefix, if the provider serves it: without a fixed list, whatever it is.
    pub(crate) fn served(&self, provider: &Arc<Provider>, name: &str) -> Option<Arc<str>> {
        let known = self.holders.get_key_value(name);
        let known = known.filter(|(_, holders)| holders.iter().any(|holder| Arc::ptr_eq(&holder.provider, provider)));
        let open = provider.models.is_empty() && !name.is_empty();
        known.map(|(name, _)| Arc::clone(name)).or_else(|| open.then(|| name.into()))
    }
}
