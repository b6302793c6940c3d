//! This process as a replica: follows the control plane's configuration, brings it into force, and goes on with what it holds
//! whenever it cannot. It never takes part in a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use signalbox_proto::sync::v1 as sync;
use signalbox_routing::{FEATURES, Position, SCHEMA};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{cache::Cache, live::Live};

mod apply;
mod assembly;
mod connect;
mod keep;
mod reload;
mod report;
mod retry;
mod session;
#[cfg(test)]
mod tests;

use apply::Applier;
pub use connect::ControlPlane;
pub use reload::Reloads;
pub(crate) use reload::{Outcome as ReloadOutcome, Reloaded};
use retry::Retry;
use session::{Ended, Session};

/// A replica of the control plane's configuration.
#[derive(Debug)]
pub struct Replica {
    id: String,
    boot_id: String,
    control_plane: ControlPlane,
    live: Arc<Live>,
    applier: Arc<Applier>,
    vitals: Vitals,
    timing: Timing,
}

/// What the process and its replica tell each other.
#[derive(Debug, Clone, Default)]
pub struct Vitals {
    /// Cancelled once the process takes nothing new.
    pub draining: CancellationToken,
    /// Exchanges under way.
    pub in_flight: Arc<AtomicU32>,
    /// Whether a control plane has welcomed this replica and the stream still stands.
    pub connected: Arc<AtomicBool>,
    /// Where the control plane is asked to read its file again.
    pub reloads: Arc<Reloads>,
}

/// Every clock of this room.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// For TCP to connect.
    connect: Duration,
    /// For a stream to open, TLS and all.
    open: Duration,
    /// Between HTTP/2 pings, and for their answer.
    keep_alive: Duration,
    /// Between two reports of how this replica is, give or take a fifth.
    status: Duration,
    /// Without a message before the stream is given up: three heartbeats at their slowest.
    silence: Duration,
    /// Most that the first wait between two attempts is.
    backoff_min: Duration,
    /// Most that any wait between two attempts is.
    backoff_max: Duration,
    /// Between two attempts that only an operator can help, give or take a fifth.
    terminal: Duration,
    /// Least time between two writes of the cache.
    cache_pause: Duration,
    /// From a failed write of the cache to the next.
    cache_retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            open: Duration::from_secs(20),
            keep_alive: Duration::from_secs(20),
            status: Duration::from_secs(10),
            silence: Duration::from_secs(36),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            terminal: Duration::from_secs(60),
            cache_pause: Duration::from_secs(5),
            cache_retry: Duration::from_secs(60),
        }
    }
}

impl Replica {
    /// A replica that brings configuration into force in `live` and keeps it in `cache`, if there is one.
    #[must_use]
    pub fn new(id: String, control_plane: ControlPlane, live: Arc<Live>, cache: Option<Cache>, vitals: Vitals) -> Self {
        Self {
            id,
            boot_id: Uuid::new_v4().to_string(),
            control_plane,
            applier: Arc::new(Applier::new(Arc::clone(&live), cache)),
            live,
            vitals,
            timing: Timing::default(),
        }
    }

    /// Serves what the cache holds, then follows the control plane until told to stop. What is held by then is cached.
    pub async fn run(self, stop: CancellationToken) {
        self.restore().await;
        let held = self.live.subscribe();
        let settled = CancellationToken::new();
        let keeping = keep::keep(Arc::clone(&self.applier), held, self.timing, settled.clone());
        let following = async {
            self.follow(&stop).await;
            settled.cancel();
        };
        tokio::join!(following, keeping);
    }

    async fn restore(&self) {
        let applier = Arc::clone(&self.applier);
        match spawn_blocking(move || applier.restore()).await {
            Ok(Some(applied)) => tracing::info!(
                revision = applied.position.revision.get(),
                not_in_force = applied.shortfall.count(),
                "serving the cached configuration"
            ),
            Ok(None) => tracing::info!("no cached configuration: waiting for the control plane"),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "cached configuration not restored: waiting for the control plane");
            }
        }
    }

    async fn follow(&self, stop: &CancellationToken) {
        let mut retry = Retry::new(self.timing);
        loop {
            let ended = tokio::select! {
                session = self.open() => match session {
                    Ok(session) => session.run(self, &mut retry, stop).await,
                    Err(ended) => ended,
                },
                () = stop.cancelled() => return,
            };
            self.vitals.connected.store(false, Ordering::Relaxed);
            if stop.is_cancelled() {
                return;
            }
            let wait = retry.after(&ended);
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn open(&self) -> Result<Session, Ended> {
        timeout(self.timing.open, Session::open(&self.control_plane, self.hello(), self.timing))
            .await
            .unwrap_or(Err(Ended::Silent))
    }

    fn hello(&self) -> sync::Hello {
        let (rejections, rejection_count) = report::rejections(&self.applier.shortfall());
        sync::Hello {
            replica_id: self.id.clone(),
            boot_id: self.boot_id.clone(),
            have: self.applier.position().as_ref().map(Position::to_wire),
            min_schema: SCHEMA,
            max_schema: SCHEMA,
            features: FEATURES.iter().map(ToString::to_string).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rejections,
            rejection_count,
        }
    }
}

/// Give or take a fifth, so that a fleet does not fall into step.
fn jitter(around: Duration) -> Duration {
    around.mul_f64(0.8 + 0.4 * fastrand::f64())
}
