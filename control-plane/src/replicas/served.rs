//! When a replica first served what: the recent past of one replica, bounded.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use signalbox_routing::Position;

/// Steps that are remembered of one replica.
const MAX_STEPS: usize = 32;

/// What a replica has gone through since it was first seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Served {
    epoch: Option<Arc<str>>,
    /// Of this revision and those before it, it is not known when they were first served.
    floor: u64,
    /// Revisions in order, and since when each was served.
    steps: VecDeque<(u64, SystemTime)>,
}

impl Served {
    /// What a replica serves that comes while this revision is current: how long it took for that is not its doing.
    pub(super) fn since(current: u64) -> Self {
        Self { floor: current, ..Self::default() }
    }

    /// It serves this revision of what it holds.
    pub(super) fn note(&mut self, held: &Position, revision: u64, now: SystemTime) {
        if self.epoch.as_ref() != Some(&held.epoch) {
            // Another history counts anew.
            let floor = if self.epoch.is_none() { self.floor } else { revision };
            *self = Self { epoch: Some(Arc::clone(&held.epoch)), floor, steps: VecDeque::new() };
        }
        let last = self.steps.back().map_or(self.floor, |(last, _)| *last);
        if revision <= last {
            return;
        }
        if self.steps.len() == MAX_STEPS {
            self.floor = self.steps.pop_front().map_or(self.floor, |(oldest, _)| oldest);
        }
        self.steps.push_back((revision, now));
    }

    /// Since when it has served this revision or a later one; `None` = it does not, or nobody knows.
    pub(super) fn when(&self, revision: u64) -> Option<SystemTime> {
        if revision <= self.floor {
            return None;
        }
        self.steps.iter().find(|(served, _)| *served >= revision).map(|(_, when)| *when)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use signalbox_routing::{Digest, Revision};

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn held(epoch: &str) -> Position {
        Position { epoch: epoch.into(), revision: Revision::FIRST, digest: Digest::default() }
    }

    #[test]
    fn a_revision_that_was_leapt_over_is_served_with_the_one_that_came_instead() {
        let mut served = Served::since(2);
        for (revision, second) in [(2, 1), (3, 2), (6, 3), (6, 4), (5, 5)] {
            served.note(&held("e"), revision, at(second));
        }
        let when = |revision| served.when(revision);
        assert_eq!((when(1), when(2), when(7)), (None, None, None));
        assert_eq!((when(3), when(4), when(6)), (Some(at(2)), Some(at(3)), Some(at(3))));
    }

    #[test]
    fn only_so_much_is_remembered_and_another_history_counts_anew() {
        let mut served = Served::since(0);
        let last = MAX_STEPS as u64 + 5;
        for revision in 1..=last {
            served.note(&held("e"), revision, at(revision));
        }
        assert_eq!((served.steps.len(), served.when(5), served.when(6)), (MAX_STEPS, None, Some(at(6))));
        served.note(&held("other"), 3, at(100));
        assert_eq!((served.when(last), served.when(3)), (None, None));
        served.note(&held("other"), 4, at(101));
        assert_eq!(served.when(4), Some(at(101)));
    }
}
