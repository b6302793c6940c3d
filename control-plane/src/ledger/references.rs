//! What holds a provider in place: a provider goes only with, or after, everything that belongs to it or names it.

use std::collections::BTreeMap;

use signalbox_routing::{Kind, ResourceName};

use super::Referenced;
use crate::{convert::provider_id, message::Message, state::State};

/// The resources that a write changes, as they will be; `None` = gone.
pub(super) type Changed<'a> = BTreeMap<&'a ResourceName, Option<&'a Message>>;

/// Every provider that the write removes although something will still need it.
pub(super) fn broken(base: &State, changed: &Changed<'_>) -> Vec<Referenced> {
    let removed = changed.iter().filter(|(name, message)| name.kind() == Kind::Provider && message.is_none());
    let held = removed.map(|(name, _)| Referenced { name: (*name).clone(), by: holders(base, changed, name) });
    held.filter(|referenced| !referenced.by.is_empty()).collect()
}

fn holders(base: &State, changed: &Changed<'_>, provider: &ResourceName) -> Vec<ResourceName> {
    let unchanged = [Kind::Settings, Kind::Credential, Kind::Redirect]
        .into_iter()
        .flat_map(|kind| base.range(kind, None))
        .filter(|stored| !changed.contains_key(&stored.resource.name))
        .filter(|stored| needs(&stored.resource.name, &stored.message(), provider))
        .map(|stored| &stored.resource.name);
    let changed = changed.iter().filter_map(|(name, message)| Some((*name, (*message)?)));
    let changed = changed.filter(|(name, message)| needs(name, message, provider)).map(|(name, _)| name);
    let mut holders: Vec<ResourceName> = unchanged.chain(changed).cloned().collect();
    holders.sort();
    holders
}

fn needs(name: &ResourceName, message: &Message, provider: &ResourceName) -> bool {
    match message {
        Message::Settings(said) => provider_id(&said.default_provider) == provider.id(),
        Message::Credential(_) => name.parent().as_ref() == Some(provider),
        Message::Redirect(said) => said.targets.iter().any(|target| provider_id(&target.provider) == provider.id()),
        Message::Provider(_) | Message::ClientKey(_) | Message::Route(_) => false,
    }
}
