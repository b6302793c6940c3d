//! Decides, on the state that a document is applied on top of, what it comes to and whether its owner may do that.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_routing::{Effect, Fault, Finding, ResourceName};

use super::document::Wanted;
use crate::{
    ledger::{Edit, Owned, Refused},
    message::Message,
    state::State,
};

/// A document with its conditions.
#[derive(Debug)]
pub(super) struct Plan {
    /// The resources.
    pub(super) wanted: Vec<Wanted>,
    /// Put on each of them.
    pub(super) owner_labels: BTreeMap<String, String>,
    /// The revision that it must be on top of; 0 = any.
    pub(super) expected_revision: u64,
    /// How many of the owner's other resources may go; `None` = they stay.
    pub(super) max_deletes: Option<u32>,
}

impl Plan {
    /// The edits that bring the state to what is wanted.
    pub(super) fn edits(self, state: &State) -> Result<Vec<Edit>, Refused> {
        let Self { wanted, owner_labels, expected_revision, max_deletes } = self;
        let current = state.position.revision;
        if expected_revision != 0 && expected_revision != current.get() {
            return Err(Refused::Revision { expected: expected_revision, current });
        }
        let gone = match max_deletes {
            Some(allowed) => abandoned(state, &wanted, &owner_labels, allowed)?,
            None => Vec::new(),
        };
        let mut edits = Vec::with_capacity(wanted.len() + gone.len());
        let (mut owned, mut findings) = (Vec::new(), Vec::new());
        for Wanted { name, make } in wanted {
            let stored = state.get(&name).map(|stored| stored.message());
            let stored = stored.as_ref();
            owned.extend(stored.and_then(|stored| conflict(&name, stored, &owner_labels)));
            match make(stored).and_then(|message| labelled(message, &name, &owner_labels)) {
                Ok(message) => edits.push(Edit::Put(message)),
                Err(finding) => findings.push(finding),
            }
        }
        if !owned.is_empty() {
            return Err(Refused::Owned(owned));
        }
        if !findings.is_empty() {
            return Err(Refused::Invalid(findings));
        }
        edits.extend(gone.into_iter().map(Edit::Delete));
        Ok(edits)
    }
}

/// What the owner has, but no longer wants.
fn abandoned(
    state: &State,
    wanted: &[Wanted],
    owner: &BTreeMap<String, String>,
    allowed: u32,
) -> Result<Vec<ResourceName>, Refused> {
    let kept: BTreeSet<_> = wanted.iter().map(|wanted| &wanted.name).collect();
    let carries = |message: &Message| {
        message.labels().is_some_and(|labels| owner.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    let names: Vec<_> = state
        .resources()
        .filter(|stored| !kept.contains(&stored.resource.name) && carries(&stored.message()))
        .map(|stored| stored.resource.name.clone())
        .collect();
    if names.len() > allowed as usize { Err(Refused::TooManyDeletes { names, allowed }) } else { Ok(names) }
}

/// The label that says that somebody else looks after the stored resource.
fn conflict(name: &ResourceName, stored: &Message, owner: &BTreeMap<String, String>) -> Option<Owned> {
    let labels = stored.labels()?;
    owner.iter().find_map(|(label, given)| {
        let current = labels.get(label).filter(|current| *current != given)?;
        Some(Owned { name: name.clone(), label: label.clone(), given: given.clone(), current: current.clone() })
    })
}

/// The resource with its owner's labels. The settings have none: they are everybody's.
fn labelled(mut message: Message, name: &ResourceName, owner: &BTreeMap<String, String>) -> Result<Message, Finding> {
    let Some(labels) = message.labels_mut() else { return Ok(message) };
    for (key, value) in owner {
        if labels.insert(key.clone(), value.clone()).is_some_and(|said| said != *value) {
            let fault =
                Fault::Text { text: key.clone(), rule: "as a label of `owner_labels` it has the value given there" };
            let resource = name.clone();
            return Err(Finding { resource, field: "labels".to_owned(), fault, effect: Effect::Absent });
        }
    }
    Ok(message)
}
