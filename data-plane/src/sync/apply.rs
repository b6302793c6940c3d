//! Brings updates into force: decode, check, compile aside, swap. Everything here takes its time and belongs on a blocking thread. It
//! knows neither streams nor acknowledgements.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use signalbox_proto::sync::v1 as sync;
use signalbox_routing::{Finding, Position};

use super::assembly::Encoded;
use crate::{
    cache::{Cache, Unwritten},
    live::{ConfigSource, Live, Snapshot},
    received::{Received, Refused, Undecodable, Update, decode},
    upstream::{Unusable, Upstreams},
};

/// The one place that changes what is held and what is served.
#[derive(Debug)]
pub(super) struct Applier {
    live: Arc<Live>,
    received: Mutex<Received>,
    shortfall: Mutex<Arc<Shortfall>>,
    cache: Option<Mutex<Cache>>,
}

/// What is held and not in force.
#[derive(Debug, Default)]
pub(super) struct Shortfall {
    /// Not in force as written, of everything held.
    pub findings: Vec<Finding>,
    /// Cannot be used on this machine.
    pub unusable: Vec<Unusable>,
}

/// An update that is in force.
#[derive(Debug)]
pub(super) struct Applied {
    /// What is held and served now.
    pub position: Position,
    /// What of that is not in force.
    pub shortfall: Arc<Shortfall>,
    /// Time to decode.
    pub decode_time: Duration,
    /// Time to check, compile and swap.
    pub apply_time: Duration,
}

/// Why an update changed nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It cannot be decoded.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// It is not the update that was announced.
    #[error("the bundle leads elsewhere than announced")]
    Mismatch,
    /// It does not lead from what is held to its target.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Shortfall {
    /// How many faults there are.
    pub(super) const fn count(&self) -> usize {
        self.findings.len() + self.unusable.len()
    }
}

impl Applier {
    /// Nothing is held yet.
    pub(super) fn new(live: Arc<Live>, cache: Option<Cache>) -> Self {
        Self { live, received: Mutex::default(), shortfall: Mutex::default(), cache: cache.map(Mutex::new) }
    }

    /// What is held and served; `None` = nothing yet.
    pub(super) fn position(&self) -> Option<Position> {
        self.live.load().map(|snapshot| snapshot.position.clone())
    }

    /// What of that is not in force.
    pub(super) fn shortfall(&self) -> Arc<Shortfall> {
        Arc::clone(&lock(&self.shortfall))
    }

    /// Where what is served came from; `None` = nothing is served yet.
    pub(super) fn source(&self) -> Option<ConfigSource> {
        self.live.load().map(|snapshot| snapshot.source)
    }

    /// Brings the newest usable configuration of the cache into force, if there is one.
    pub(super) fn restore(&self) -> Option<Applied> {
        lock(self.cache.as_ref()?).restore(|update| self.apply(update, ConfigSource::DiskCache))
    }

    /// Brings an update into force, or changes nothing.
    ///
    /// # Errors
    /// [`Failed`] where it changed nothing.
    pub(super) fn receive(&self, encoded: &Encoded) -> Result<Applied, Failed> {
        let start = Instant::now();
        let update = decode(&encoded.bytes, encoded.encoding, encoded.decoded_bytes)?;
        if update.base != encoded.base || update.target != encoded.target {
            return Err(Failed::Mismatch);
        }
        let decode_time = start.elapsed();
        Ok(Applied { decode_time, ..self.apply(update, ConfigSource::Stream)? })
    }

    /// Writes what is held into the cache, if there is one.
    ///
    /// # Errors
    /// [`Unwritten`] where the file system or the cipher refused.
    pub(super) fn save(&self) -> Result<(), Unwritten> {
        let Some(cache) = &self.cache else { return Ok(()) };
        let snapshot: Option<sync::Bundle> = lock(&self.received).snapshot();
        snapshot.map_or(Ok(()), |snapshot| lock(cache).store(&snapshot))
    }

    fn apply(&self, update: Update, source: ConfigSource) -> Result<Applied, Refused> {
        let start = Instant::now();
        let mut received = lock(&self.received);
        let step = received.check(update)?;
        let position = step.target().clone();
        let turn = self.live.turn();
        let previous = turn.previous();
        let runtime = previous.as_ref().map(|snapshot| snapshot.runtime.clone()).unwrap_or_default();
        let compiled = runtime.apply(step.changes());
        let (upstreams, unusable) =
            Upstreams::advance(&compiled.runtime, previous.as_ref().map(|snapshot| &snapshot.upstreams));
        received.commit(step);
        drop(previous);
        let shortfall = Arc::new(Shortfall { findings: compiled.findings, unusable });
        *lock(&self.shortfall) = Arc::clone(&shortfall);
        turn.publish(Snapshot::new(position.clone(), compiled.runtime, upstreams, source));
        Ok(Applied { position, shortfall, decode_time: Duration::ZERO, apply_time: start.elapsed() })
    }
}

/// A panic under a lock leaves what it guards whole: it is changed last, and in one go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
