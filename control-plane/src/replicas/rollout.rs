//! How far a revision has come among the replicas, and the wait until it has come far enough. Nothing here asks again and again:
//! whatever a replica says wakes whoever waits.

use std::time::SystemTime;

use signalbox_proto::admin::v1::{self as admin, revision::Rollout};
use signalbox_routing::Position;
use tokio::sync::watch;

use super::Replicas;

/// Replicas described in one answer.
const MAX_DESCRIBED: usize = 100;

/// How one replica stands to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It serves it, or a later one, in full.
    Applied,
    /// It serves it, or a later one, but for some resources.
    Partial,
    /// It refused it, or a later one, as a whole.
    Rejected,
    /// It has not come to it.
    Pending,
    /// It takes nothing new and will be gone.
    Draining,
    /// It is not connected.
    Disconnected,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Goal {
    /// This revision of the current history, or a later one.
    pub(crate) revision: u64,
    /// Of those that are connected and not draining, this many in a hundred.
    pub(crate) min_percent: u32,
    /// Never fewer than this many; never fewer than one either.
    pub(crate) min_replicas: u32,
    /// Whether one that rejects any of it ends the wait.
    pub(crate) fail_on_rejection: bool,
}

/// How many replicas stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    applied: u32,
    partial: u32,
    rejected: u32,
    pending: u32,
    disconnected: u32,
}

impl Replicas {
    /// How far a revision of the current history has come, and how long the slowest took since its commit.
    #[must_use]
    pub fn rollout(&self, revision: u64, commit_time: SystemTime, head: &Position) -> Rollout {
        let registry = self.lock();
        let entries = || registry.by_id.values();
        let tally = Tally::of(entries().map(|entry| entry.standing(revision, head)));
        let slowest = entries().filter_map(|entry| entry.served_since(revision, head)).max();
        drop(registry);
        // A clock that was set back would make it negative.
        let delay = slowest.map(|when| when.duration_since(commit_time).unwrap_or_default());
        let Tally { applied, partial, rejected, pending, disconnected } = tally;
        let slowest = delay.and_then(|delay| delay.try_into().ok());
        Rollout { targets: tally.targets(), applied, partial, rejected, pending, disconnected, slowest }
    }

    /// Wakes with whatever could bring a revision further.
    pub(crate) fn follow(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// How many follow it.
    #[cfg(test)]
    pub(crate) fn followers(&self) -> usize {
        self.moved.receiver_count()
    }

    /// How far the goal is reached, and whether waiting for more is of use.
    pub(crate) fn progress(&self, goal: &Goal, head: &Position) -> (admin::WaitForRevisionResponse, bool) {
        let registry = self.lock();
        let mut tally = Tally::default();
        let mut pending = Vec::new();
        for (id, entry) in &registry.by_id {
            let standing = entry.standing(goal.revision, head);
            tally.count(standing);
            let amiss = matches!(standing, Standing::Partial | Standing::Rejected | Standing::Pending);
            if amiss && pending.len() < MAX_DESCRIBED {
                pending.push(entry.describe(id, head));
            }
        }
        drop(registry);
        let rejected = goal.fail_on_rejection && tally.partial + tally.rejected > 0;
        let satisfied = !rejected && tally.reaches(goal);
        let response = admin::WaitForRevisionResponse {
            satisfied,
            applied: tally.serving(),
            total: tally.targets(),
            pending,
            revision: goal.revision,
            disconnected: tally.disconnected,
        };
        (response, satisfied || rejected)
    }
}

impl Tally {
    fn of(standings: impl Iterator<Item = Standing>) -> Self {
        let mut tally = Self::default();
        standings.for_each(|standing| tally.count(standing));
        tally
    }

    const fn count(&mut self, standing: Standing) {
        match standing {
            Standing::Applied => self.applied += 1,
            Standing::Partial => self.partial += 1,
            Standing::Rejected => self.rejected += 1,
            Standing::Pending => self.pending += 1,
            Standing::Disconnected => self.disconnected += 1,
            Standing::Draining => {}
        }
    }

    const fn serving(&self) -> u32 {
        self.applied + self.partial
    }

    const fn targets(&self) -> u32 {
        self.serving() + self.rejected + self.pending
    }

    fn reaches(&self, goal: &Goal) -> bool {
        let share = u64::from(self.serving()) * 100 >= u64::from(self.targets()) * u64::from(goal.min_percent);
        share && self.serving() >= goal.min_replicas.max(1)
    }
}
