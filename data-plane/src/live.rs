//! The configuration that requests are answered from: one pointer, swapped as a whole. It never knows where a snapshot came from
//! or how it was made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use signalbox_routing::{Id, Position, Runtime};
use tokio::sync::watch;

use crate::{cors::Policy, upstream::Upstreams};

/// One revision, compiled and ready to serve. A request keeps the one that it started with.
#[derive(Debug)]
pub struct Snapshot {
    /// Which revision.
    pub position: Position,
    /// How requests are planned.
    pub runtime: Runtime,
    /// What carries them.
    pub upstreams: Upstreams,
    /// How it got here.
    pub source: ConfigSource,
    /// What web pages' scripts are told; `None` = nothing.
    pub(crate) cors: Option<Policy>,
}

impl Snapshot {
    /// Makes ready what requests would else make anew each.
    pub(crate) fn new(position: Position, runtime: Runtime, upstreams: Upstreams, source: ConfigSource) -> Self {
        let cors = runtime.settings().cors.as_deref().map(Policy::of);
        Self { position, runtime, upstreams, source, cors }
    }
}

/// Where a configuration came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// This process received it on a watch stream.
    Stream,
    /// It was read from the sealed cache at start.
    DiskCache,
}

/// The snapshot in force; none until the first complete configuration.
#[derive(Debug)]
pub struct Live {
    current: ArcSwapOption<Snapshot>,
    /// Held by whoever makes the next snapshot of the one in force.
    making: Mutex<()>,
    serving: watch::Sender<Option<Position>>,
    /// Snapshots that requests under way may still hold. Kept so that none of them is taken apart by the request that ends last.
    retired: Mutex<Vec<Arc<Snapshot>>>,
}

impl Live {
    /// Nothing to serve yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            making: Mutex::default(),
            serving: watch::Sender::new(None),
            retired: Mutex::default(),
        }
    }

    /// The snapshot in force; `None` = not ready yet.
    #[must_use]
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Waits for whoever is making a snapshot, and then blocks whoever wants to make another, so that nobody's work is lost.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { live: self, _making: self.making.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Lays what a provider was found to have over the snapshot in force, which stays the same revision. Belongs on a blocking thread.
    pub(crate) fn lay_over(&self, provider: Id, models: Arc<[Arc<str>]>) {
        let turn = self.turn();
        let Some(previous) = turn.previous() else { return };
        let Snapshot { position, runtime, upstreams, source, .. } = &*previous;
        let mut found = runtime.found().clone();
        found.insert(provider, models);
        turn.publish(Snapshot::new(position.clone(), runtime.discovered(&found), upstreams.clone(), *source));
    }

    /// The position in force, and each that follows; `None` = not ready yet.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Position>> {
        self.serving.subscribe()
    }

    /// Takes apart the snapshots that no request holds any more.
    pub(crate) fn sweep(&self) {
        self.retire(None);
    }

    fn retire(&self, snapshot: Option<Arc<Snapshot>>) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, free) = retired.drain(..).chain(snapshot).partition(|snapshot| Arc::strong_count(snapshot) > 1);
        *retired = held;
        // Taking a large snapshot apart takes a while, and nobody needs to wait for it.
        drop(retired);
        drop::<Vec<_>>(free);
    }
}

/// The right to put the next snapshot in force.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    live: &'a Live,
    _making: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// What the next snapshot is made of; `None` = it is the first.
    pub(crate) fn previous(&self) -> Option<Arc<Snapshot>> {
        self.live.load()
    }

    /// Puts a snapshot in force for every request that starts from now on. Old ones are taken apart on the caller's thread.
    pub(crate) fn publish(self, snapshot: Snapshot) {
        let position = Some(snapshot.position.clone());
        let retired = self.live.current.swap(Some(Arc::new(snapshot)));
        self.live.serving.send_if_modified(|serving| {
            let moved = *serving != position;
            *serving = position;
            moved
        });
        self.live.retire(retired);
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use signalbox_routing::{Digest, Revision};

    use super::*;

    fn snapshot(revision: u64) -> Snapshot {
        let revision = Revision::new(revision).unwrap();
        let position = Position { epoch: "e".into(), revision, digest: Digest::default() };
        Snapshot::new(position, Runtime::default(), Upstreams::default(), ConfigSource::Stream)
    }

    #[test]
    fn there_is_nothing_until_something_is_published_and_the_latest_from_then_on() {
        let live = Live::new();
        let serving = live.subscribe();
        assert!(live.load().is_none() && serving.borrow().is_none());
        for revision in [1, 2] {
            live.turn().publish(snapshot(revision));
            assert_eq!(live.load().unwrap().position, snapshot(revision).position);
            assert_eq!(*serving.borrow(), Some(snapshot(revision).position));
        }
    }

    #[test]
    fn the_request_that_ends_last_does_not_take_its_snapshot_apart() {
        let live = Live::new();
        live.turn().publish(snapshot(1));
        let pinned = live.load().unwrap();
        let watched: Weak<Snapshot> = Arc::downgrade(&pinned);
        live.turn().publish(snapshot(2));
        live.sweep();
        drop(pinned);
        assert!(watched.upgrade().is_some());
        live.sweep();
        assert!(watched.upgrade().is_none());
    }
}
