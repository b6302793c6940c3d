//! What was received: every resource as it travelled, under a digest that proves the whole. It never decodes a body, so that a
//! resource which does not compile here still counts as held and the next update still fits.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_proto::sync::v1 as sync;
use signalbox_routing::{Change, Digest, Position, Resource, ResourceName, Revision};

mod bundle;
#[cfg(test)]
pub(crate) mod history;
#[cfg(test)]
mod tests;

pub(crate) use bundle::{Encoding, MAX_DECODED_BYTES, Undecodable, decode};

/// Everything held, or nothing yet.
#[derive(Debug, Default)]
pub(crate) struct Received {
    position: Option<Position>,
    resources: BTreeMap<ResourceName, Resource>,
}

/// An update as it was sent, checked against nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// What a delta is relative to; `None` = a full snapshot.
    pub base: Option<Position>,
    /// What is held afterwards.
    pub target: Position,
    /// Resources to make or to replace.
    pub upserts: Vec<Resource>,
    /// Resources to forget.
    pub removes: Vec<ResourceName>,
}

/// A checked way from what is held to a target.
#[derive(Debug)]
pub(crate) struct Step {
    target: Position,
    changes: Vec<Change>,
}

/// Why an update changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The base of a delta is not what is held.
    #[error("the update follows revision {base}, which is not what is held")]
    Base {
        /// The delta's base.
        base: Revision,
    },
    /// The target is older than what is held.
    #[error("revision {offered} is older than revision {held}, which is held")]
    Older {
        /// The target.
        offered: Revision,
        /// What is held.
        held: Revision,
    },
    /// A resource is named more than once.
    #[error("the update names {0} more than once")]
    Repeated(ResourceName),
    /// The digest of what would be held is not the target's.
    #[error("revision {target} comes to the digest {found:?} instead of {expected:?}")]
    Digest {
        /// The target.
        target: Revision,
        /// The digest it states.
        expected: Digest,
        /// The digest of what was sent.
        found: Digest,
    },
}

impl Received {
    /// Checks an update against what is held, which stays as it is.
    ///
    /// # Errors
    /// [`Refused`] where the update does not lead from here to its target.
    pub(crate) fn check(&self, update: Update) -> Result<Step, Refused> {
        let Update { base, target, upserts, removes } = update;
        if let Some(held) = self.position.as_ref().filter(|held| held.epoch == target.epoch)
            && target.revision < held.revision
        {
            return Err(Refused::Older { offered: target.revision, held: held.revision });
        }
        let upserts = distinct(upserts)?;
        let changes = match base {
            None => self.replace(upserts),
            Some(base) if Some(&base) == self.position.as_ref() => merge(upserts, removes)?,
            Some(base) => return Err(Refused::Base { base: base.revision }),
        };
        let found = self.digest_after(&changes);
        if found != target.digest {
            return Err(Refused::Digest { target: target.revision, expected: target.digest, found });
        }
        Ok(Step { target, changes })
    }

    /// Takes a checked step.
    pub(crate) fn commit(&mut self, step: Step) {
        for change in step.changes {
            match change {
                Change::Upsert(resource) => self.resources.insert(resource.name.clone(), resource),
                Change::Remove(name) => self.resources.remove(&name),
            };
        }
        self.position = Some(step.target);
    }

    /// Everything held as a full snapshot; `None` = nothing is held.
    pub(crate) fn snapshot(&self) -> Option<sync::Bundle> {
        Some(sync::Bundle {
            base: None,
            target: Some(self.position.as_ref()?.to_wire()),
            upserts: self.resources.values().map(Resource::to_wire).collect(),
            removes: Vec::new(),
        })
    }

    /// What a full snapshot changes: only that is compiled anew.
    fn replace(&self, upserts: BTreeMap<ResourceName, Resource>) -> Vec<Change> {
        let gone: Vec<_> = self.resources.keys().filter(|name| !upserts.contains_key(name)).cloned().collect();
        let changed = upserts.into_values().filter(|resource| self.resources.get(&resource.name) != Some(resource));
        gone.into_iter().map(Change::Remove).chain(changed.map(Change::Upsert)).collect()
    }

    fn digest_after(&self, changes: &[Change]) -> Digest {
        let held = self.position.as_ref().map(|position| position.digest).unwrap_or_default();
        changes.iter().fold(held, |digest, change| {
            let digest = match self.resources.get(change.name()) {
                Some(old) => digest.without(old.digest()),
                None => digest,
            };
            match change {
                Change::Upsert(resource) => digest.with(resource.digest()),
                Change::Remove(_) => digest,
            }
        })
    }
}

impl Step {
    /// What changes.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What is held once it is taken.
    pub(crate) const fn target(&self) -> &Position {
        &self.target
    }
}

fn distinct(upserts: Vec<Resource>) -> Result<BTreeMap<ResourceName, Resource>, Refused> {
    let mut distinct = BTreeMap::new();
    for resource in upserts {
        if let Some(first) = distinct.insert(resource.name.clone(), resource) {
            return Err(Refused::Repeated(first.name));
        }
    }
    Ok(distinct)
}

fn merge(upserts: BTreeMap<ResourceName, Resource>, removes: Vec<ResourceName>) -> Result<Vec<Change>, Refused> {
    let mut gone = BTreeSet::new();
    for name in &removes {
        if upserts.contains_key(name) || !gone.insert(name) {
            return Err(Refused::Repeated(name.clone()));
        }
    }
    let upserts = upserts.into_values().map(Change::Upsert);
    Ok(removes.into_iter().map(Change::Remove).chain(upserts).collect())
}
