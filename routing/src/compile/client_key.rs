//! Client keys from the wire, one by one: they refer to nothing, and nothing but a digest can be disputed between them.

use std::{cmp::Ordering, sync::Arc};

use signalbox_proto::config::v1 as config;

use super::{decode, faults::Faults, supported, value};
use crate::{
    finding::{Effect, Fault},
    keys::Keys,
    name::ResourceName,
    resource::{Change, Resource},
    runtime::ClientKey,
};

/// Most patterns in `allowed_models`, each of which is tried with every request.
const MAX_PATTERNS: usize = 1000;

/// Brings the keys up to date with some changes, at most one for each key.
pub(super) fn apply(keys: &mut Keys, changes: &[&Change]) {
    if changes.is_empty() {
        return;
    }
    // All that is changed gives up its digest first, so that two keys may exchange theirs.
    changes.iter().for_each(|change| keys.remove(change.name()));
    let mut due: Vec<Resource> = keys.take_denied().collect();
    due.extend(changes.iter().filter_map(|change| match change {
        Change::Upsert(resource) => Some(resource.clone()),
        Change::Remove(_) => None,
    }));
    due.sort_by(older);
    for resource in due {
        if let Err(faults) = compile(&resource).and_then(|key| insert(keys, key)) {
            let findings = faults.into_findings(&resource.name, Effect::Deny).collect();
            keys.deny(resource, findings);
        }
    }
}

fn older(a: &Resource, b: &Resource) -> Ordering {
    a.revision.cmp(&b.revision).then_with(|| a.name.cmp(&b.name))
}

fn insert(keys: &mut Keys, key: ClientKey) -> Result<(), Faults> {
    keys.insert(Arc::new(key)).map_err(|holder| Faults::one("sha256", Fault::Taken(ResourceName::client_key(&holder))))
}

fn compile(resource: &Resource) -> Result<ClientKey, Faults> {
    supported(resource)?;
    let config::ClientKey { id, sha256, allowed_models, expire_time, disabled, labels } = decode(&resource.body)?;
    let mut faults = Faults::default();
    let id = faults.take("id", value::own_id(&id, &resource.name));
    let sha256 = match sha256.len() {
        0 => Err(Fault::Missing),
        _ => <[u8; 32]>::try_from(sha256.as_ref()).map_err(|_| Fault::OutOfRange("32 bytes")),
    };
    let sha256 = faults.take("sha256", sha256);
    if allowed_models.len() > MAX_PATTERNS {
        faults.add("allowed_models", Fault::OutOfRange("at most 1000 patterns"));
    }
    let patterns = allowed_models.iter().enumerate();
    let allowed_models = patterns
        .filter_map(|(at, text)| faults.take(format_args!("allowed_models[{at}]"), value::pattern(text)))
        .collect();
    let expires_at_ms = expire_time.and_then(|time| faults.take("expire_time", value::moment(time)));
    value::labels("labels", &labels, &mut faults);
    faults.finish(|| Some(ClientKey { id: id?, sha256: sha256?, allowed_models, expires_at_ms, disabled, labels }))
}
