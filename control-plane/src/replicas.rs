//! The data planes as this control plane has seen them since it started: in memory, bounded, never in the database. It sends nothing to
//! them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use signalbox_proto::{admin::v1 as admin, sync::v1 as sync};
use signalbox_routing::Position;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod entry;
mod rollout;
mod served;
#[cfg(test)]
mod tests;

use entry::Entry;
pub(crate) use rollout::Goal;

/// Replicas known at once. Past it, the one that has been gone longest is forgotten; with none gone, a further one is turned away.
const MAX_REPLICAS: usize = 10_000;

/// Every replica by id. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replicas {
    registry: Arc<Mutex<Registry>>,
    /// Told whenever a replica comes, goes, or says something.
    moved: Arc<watch::Sender<()>>,
}

#[derive(Debug)]
struct Registry {
    limit: usize,
    /// Grows with each stream, so that the end of an old one does not count as the end of its successor.
    streams: u64,
    by_id: BTreeMap<Arc<str>, Entry>,
}

/// There is no room for a further replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this control plane serves {limit} replicas already")]
pub(crate) struct Crowded {
    limit: usize,
}

/// What a replica says of itself as it joins.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// Its stable id.
    pub id: Arc<str>,
    /// New with each of its processes.
    pub boot_id: String,
    /// Its build.
    pub version: String,
    /// The newest schema that it reads.
    pub schema: u32,
    /// What it can do beyond that.
    pub features: Vec<String>,
    /// Where its stream comes from.
    pub source_ip: Option<IpAddr>,
    /// What it holds.
    pub have: Option<Position>,
    /// What of that is not in force.
    pub rejections: Vec<sync::Rejection>,
    /// The revision that is current as it joins.
    pub current: u64,
}

/// A replica's place for as long as its stream lasts. Dropped, the replica is gone.
#[derive(Debug)]
pub(crate) struct Membership {
    replicas: Replicas,
    id: Arc<str>,
    stream: u64,
    /// Cancelled once the same replica has opened a newer stream.
    pub(crate) replaced: CancellationToken,
    /// What this build of the replica refused before, and must not be sent again.
    pub(crate) refused: Option<Position>,
}

impl Default for Replicas {
    fn default() -> Self {
        Self::with_limit(MAX_REPLICAS)
    }
}

impl Replicas {
    fn with_limit(limit: usize) -> Self {
        let registry = Registry { limit, streams: 0, by_id: BTreeMap::new() };
        Self { registry: Arc::new(Mutex::new(registry)), moved: Arc::new(watch::Sender::new(())) }
    }

    /// The replicas by id, from the first after `after` on, as they stand to the head.
    #[must_use]
    pub fn list(&self, head: &Position, after: Option<&str>) -> Vec<admin::Replica> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let registry = self.lock();
        let rest = registry.by_id.range::<str, _>((from, Bound::Unbounded));
        rest.map(|(id, entry)| entry.describe(id, head)).collect()
    }

    /// The replica of that id, as it stands to the head.
    #[must_use]
    pub fn get(&self, id: &str, head: &Position) -> Option<admin::Replica> {
        self.lock().by_id.get(id).map(|entry| entry.describe(id, head))
    }

    /// Takes a replica in. A stream that it still has ends: the newer one wins.
    ///
    /// # Errors
    /// [`Crowded`] where as many are connected as can be known.
    pub(crate) fn join(&self, joining: Joining) -> Result<Membership, Crowded> {
        let mut registry = self.lock();
        registry.make_room(&joining.id)?;
        registry.streams += 1;
        let stream = registry.streams;
        let replaced = CancellationToken::new();
        let id = Arc::clone(&joining.id);
        let refused = match registry.by_id.get_mut(&id) {
            Some(entry) => entry.rejoin(joining, stream, replaced.clone()),
            None => {
                registry.by_id.insert(Arc::clone(&id), Entry::new(joining, stream, replaced.clone()));
                None
            }
        };
        drop(registry);
        self.moved.send_replace(());
        Ok(Membership { replicas: self.clone(), id, stream, replaced, refused })
    }

    /// Held for a few field accesses at a time, never over an await.
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn make_room(&mut self, id: &str) -> Result<(), Crowded> {
        if self.by_id.len() < self.limit || self.by_id.contains_key(id) {
            return Ok(());
        }
        let gone = self.by_id.iter().filter_map(|(id, entry)| Some((entry.gone_since()?, Arc::clone(id))));
        let (_, longest_gone) = gone.min().ok_or(Crowded { limit: self.limit })?;
        self.by_id.remove(&longest_gone);
        Ok(())
    }
}

impl Membership {
    /// The replica's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What it holds is ahead of this control plane's history.
    pub(crate) fn is_ahead(&self) {
        self.update(|entry| entry.ahead = true);
    }

    /// It has answered an update to `target`.
    pub(crate) fn acknowledged(&self, ack: sync::Ack, target: &Position) {
        self.update(|entry| entry.acknowledge(ack, target));
    }

    /// It has said how it is.
    pub(crate) fn reported(&self, status: &sync::ReplicaStatus) {
        self.update(|entry| entry.report(status));
    }

    fn update(&self, change: impl FnOnce(&mut Entry)) {
        let mut registry = self.replicas.lock();
        if let Some(entry) = registry.by_id.get_mut(&self.id).filter(|entry| entry.stream == self.stream) {
            entry.last_seen = SystemTime::now();
            change(entry);
        }
        drop(registry);
        self.replicas.moved.send_replace(());
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.update(Entry::leave);
    }
}
