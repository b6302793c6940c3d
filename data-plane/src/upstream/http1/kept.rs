//! Connections between two requests: kept by origin, as many and as long as the profile says, and never used again once the upstream
//! has said anything on them.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::connection::Connection;

/// How often it is looked whether an upstream has closed a connection that nobody uses.
const SWEEP: Duration = Duration::from_secs(1);

/// Where connections lead. Origins are found by their order: hashing one costs more than comparing it with the few that there are.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    is_secure: bool,
    authority: Option<Authority>,
}

impl Origin {
    pub(super) fn of(uri: &Uri) -> Self {
        Self { is_secure: uri.scheme() == Some(&Scheme::HTTPS), authority: uri.authority().cloned() }
    }

    fn key(&self) -> (bool, Option<&str>) {
        (self.is_secure, self.authority.as_ref().map(Authority::as_str))
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Origin {}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Connections that nobody uses.
#[derive(Debug)]
pub(super) struct Kept {
    most: usize,
    longest: Duration,
    /// Held for no longer than it takes to look; each worker has its own.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By origin, those that were used last at the end.
    idle: BTreeMap<Origin, Vec<Idle>>,
    /// Who looks after those that nobody comes for; ends with the last of them, and with whoever keeps them.
    sweeper: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Box<Connection>,
}

impl Kept {
    /// None, of which so many are kept of each origin, each so long.
    pub(super) fn new(most: usize, longest: Duration) -> Arc<Self> {
        Arc::new(Self { most, longest, inner: Mutex::default() })
    }

    /// A connection to the origin that is as good as new.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Connection>> {
        let mut inner = self.inner();
        let idle = inner.idle.get_mut(origin)?;
        while let Some(mut kept) = idle.pop() {
            if self.is_good(&mut kept) {
                return Some(kept.connection);
            }
        }
        None
    }

    /// Takes a connection back whose answer is over, where another request may go over it.
    pub(super) fn give_back(connection: Box<Connection>) {
        let Some(kept) = connection.home().filter(|_| connection.is_reusable()) else { return };
        let mut inner = kept.inner();
        let origin = connection.origin();
        let idle = match inner.idle.get_mut(origin) {
            Some(idle) => idle,
            None => inner.idle.entry(origin.clone()).or_default(),
        };
        if idle.len() >= kept.most {
            return;
        }
        idle.push(Idle { since: Instant::now(), connection });
        if inner.sweeper.is_none() {
            let sweeper = tokio::spawn(sweep(Arc::downgrade(&kept)));
            inner.sweeper = Some(AbortOnDropHandle::new(sweeper));
        }
    }

    /// Lets go of the connections that are no longer good; says whether there are others.
    fn sweep(&self) -> bool {
        let mut inner = self.inner();
        inner.idle.retain(|_, idle| {
            idle.retain_mut(|kept| self.is_good(kept));
            !idle.is_empty()
        });
        if inner.idle.is_empty() {
            inner.sweeper = None;
        }
        inner.sweeper.is_some()
    }

    fn is_good(&self, kept: &mut Idle) -> bool {
        kept.since.elapsed() < self.longest && kept.connection.is_silent()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after kept connections for as long as there are any.
async fn sweep(kept: Weak<Kept>) {
    loop {
        sleep(SWEEP).await;
        if !kept.upgrade().is_some_and(|kept| kept.sweep()) {
            return;
        }
    }
}
