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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    fn position(revision: u64) -> Position {
        let digest = Digest::of(&name("settings"), &revision.to_be_bytes());
        Position { epoch: "e".into(), revision: Revision::new(revision).unwrap(), digest }
    }

    fn history(revisions: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::default();
        for revision in revisions {
            let Position { revision, digest, .. } = position(revision);
            history.push(revision, Past { digest, names: vec![name(&format!("routes/r{}", revision.get() % 3))] });
        }
        history
    }

    fn names(texts: &[&str]) -> Since {
        Since::Names(texts.iter().map(|text| name(text)).collect())
    }

    #[test]
    fn an_earlier_position_is_told_every_name_touched_since() {
        let history = history(1..=5);
        let since = |revision| history.since(&position(revision), &position(5));
        assert_eq!(since(5), Since::Current);
        assert_eq!(since(4), names(&["routes/r2"]));
        assert_eq!(since(3), names(&["routes/r1", "routes/r2"]));
        assert_eq!(since(1), names(&["routes/r0", "routes/r1", "routes/r2"]));
    }

    #[test]
    fn a_position_that_is_not_of_this_past_is_told_why() {
        let history = history(3..=5);
        let since = |have: Position| history.since(&have, &position(5));
        assert_eq!(since(position(2)), Since::Unknown("compacted"));
        assert_eq!(since(position(6)), Since::Ahead);
        assert_eq!(since(Position { epoch: "other".into(), ..position(5) }), Since::Unknown("epoch changed"));
        let digest = position(4).digest;
        assert_eq!(since(Position { digest, ..position(5) }), Since::Unknown("digest differs"));
        assert_eq!(since(Position { digest, ..position(3) }), Since::Unknown("digest differs"));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let last = MAX_REVISIONS as u64 + 10;
        let history = history(1..=last);
        assert_eq!(history.revisions.len(), MAX_REVISIONS);
        assert_eq!(history.since(&position(10), &position(last)), Since::Unknown("compacted"));
        assert!(matches!(history.since(&position(11), &position(last)), Since::Names(_)));
    }

    #[test]
    fn a_revision_that_touched_very_much_makes_room_for_itself_and_not_for_more() {
        let mut history = history(1..=3);
        let Position { revision, digest, .. } = position(4);
        history.push(revision, Past { digest, names: vec![name("routes/a"); MAX_NAMES + 1] });
        assert_eq!(history.revisions.len(), 1);
        assert_eq!(history.since(&position(4), &position(4)), Since::Current);
        let Position { revision, digest, .. } = position(5);
        history.push(revision, Past { digest, names: vec![name("routes/b")] });
        assert_eq!((history.revisions.len(), history.names), (1, 1));
    }
}
