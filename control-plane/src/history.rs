//! The recent past: for each revision the digest of what was held and the names it touched, so that somebody who holds an earlier
//! one can be told just what differs. Bounded; persistent like the state it is part of.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use immutable_chunkmap::map::MapM;
use signalbox_routing::{Digest, Position, ResourceName, Revision};

/// Revisions that are remembered at most.
pub(crate) const MAX_REVISIONS: usize = 4096;

/// Names that are remembered at most, over all revisions: one revision may touch everything.
const MAX_NAMES: usize = 262_144;

/// What lies between a position and the present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// Nothing: it is the present.
    Current,
    /// These resources were touched; every other one is as it was.
    Names(BTreeSet<ResourceName>),
    /// The position is of this history, but later than the present.
    Ahead,
    /// It cannot be told, for this reason.
    Unknown(&'static str),
}

/// The recent past of one epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    revisions: MapM<Revision, Arc<Past>>,
    names: usize,
}

/// What is remembered of a revision.
#[derive(Debug)]
pub(crate) struct Past {
    /// The digest of everything held at it.
    pub(crate) digest: Digest,
    /// The resources that it made, changed or removed.
    pub(crate) names: Vec<ResourceName>,
}

impl History {
    /// Remembers a revision that follows all that are remembered, and forgets the oldest where there are too many.
    pub(crate) fn push(&mut self, revision: Revision, past: Past) {
        self.names += past.names.len();
        self.revisions.insert_cow(revision, Arc::new(past));
        while self.revisions.len() > MAX_REVISIONS || (self.names > MAX_NAMES && self.revisions.len() > 1) {
            let Some(oldest) = self.revisions.into_iter().next().map(|(revision, _)| *revision) else { return };
            let forgotten = self.revisions.remove_cow(&oldest);
            self.names -= forgotten.map_or(0, |past| past.names.len());
        }
    }

    /// What lies between a position and the present.
    pub(crate) fn since(&self, have: &Position, present: &Position) -> Since {
        if have.epoch != present.epoch {
            return Since::Unknown("epoch changed");
        }
        if have.revision > present.revision {
            return Since::Ahead;
        }
        if have == present {
            return Since::Current;
        }
        match self.revisions.get(&have.revision) {
            None => Since::Unknown("compacted"),
            Some(past) if past.digest != have.digest => Since::Unknown("digest differs"),
            Some(_) => Since::Names(self.touched_after(have.revision)),
        }
    }

    fn touched_after(&self, revision: Revision) -> BTreeSet<ResourceName> {
        let later = self.revisions.range((Bound::Excluded(revision), Bound::Unbounded));
        later.flat_map(|(_, past)| past.names.iter().cloned()).collect()
    }
}
