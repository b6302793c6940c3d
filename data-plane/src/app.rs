//! The data plane as one thing that is built, runs and stops. Everything it needs comes in; nothing is read from the environment.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::Uri;
use metrics_exporter_prometheus::BuildError as MetricsError;
use tokio::time::{interval, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admit::Slots,
    announce::Announcer,
    cache::{self, Cache},
    discovery,
    drain::Connections,
    health::Prober,
    http::Door,
    listen::{self, Listener},
    live::Live,
    metrics::Metrics,
    options::{CacheOptions, Drain, Options},
    reload::Reloader,
    sync::{ControlPlane, Replica, Vitals},
    workers::Workers,
};

/// How often samples that nobody has asked for are summed up. Until then each takes room of its own.
const UPKEEP: Duration = Duration::from_secs(1);

/// A data plane, bound and ready to run.
#[derive(Debug)]
pub struct App {
    listener: Listener,
    workers: Workers,
    door: Arc<Door>,
    replica: Replica,
    drain: Drain,
    announcer: Announcer,
}

/// Why a data plane cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Provider keys would travel in the clear.
    #[error(
        "the control plane at {url} must be reached by https://, or by http:// on loopback: provider keys come from there"
    )]
    ControlPlane {
        /// Its sync address.
        url: Uri,
    },
    /// Its own address or certificate cannot be used.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// Its cache cannot be used.
    #[error(transparent)]
    Cache(#[from] cache::Unusable),
    /// Its metrics cannot be kept.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] MetricsError),
    /// The system gives it no threads.
    #[error("no threads can be started to carry connections")]
    Workers(#[source] io::Error),
}

impl BuildError {
    /// Whether trying again with the same options is of no use.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::ControlPlane { .. } => true,
            Self::Listen(error) => error.is_configuration(),
            Self::Cache(_) | Self::Metrics(_) | Self::Workers(_) => false,
        }
    }
}

/// Why a data plane ended without having been told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nobody accepts connections any more.
    #[error("the listener broke off")]
    Listener,
    /// A thread that carried connections is gone, and they with it.
    #[error("a worker broke off")]
    Worker,
    /// Nobody follows the configuration any more.
    #[error("the replica broke off")]
    Replica,
}

impl App {
    /// Binds the address and opens the cache. Nothing is answered before [`App::run`].
    ///
    /// # Errors
    /// [`BuildError`] names the address, file or folder that cannot be used.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        let Options { listen, tls, control_plane, sync_ca, join_token, cache, replica_id, workers, .. } = options;
        let Options { limits, drain, log_level, .. } = options;
        if !is_private(&control_plane) {
            return Err(BuildError::ControlPlane { url: control_plane });
        }
        let control_plane = ControlPlane { url: control_plane, ca: sync_ca, join_token };
        let listener = Listener::bind(listen, tls.as_ref(), limits).await?;
        let cache = cache.map(|CacheOptions { dir, key }| Cache::open(dir, key)).transpose()?;
        let (live, vitals) = (Arc::new(Live::new()), Vitals::default());
        let door = Door {
            live: Arc::clone(&live),
            slots: Slots::new(limits.max_requests, Arc::clone(&vitals.in_flight)),
            metrics: Arc::new(Metrics::new()?),
            connections: Connections::default(),
            vitals: vitals.clone(),
            prober: Prober::default(),
            reloader: Reloader::default(),
            limits,
            meters: Arc::default(),
        };
        let replica = Replica::new(replica_id, control_plane, live, cache, vitals);
        let workers = Workers::start(workers).map_err(BuildError::Workers)?;
        let announcer = Announcer::new(log_level);
        Ok(Self { listener, workers, door: Arc::new(door), replica, drain, announcer })
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// The configuration that requests are answered from, for whoever runs in the same process.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.door.live
    }

    /// Serves until told to stop; then turns traffic away, waits a while for load balancers to notice, closes the listener, and
    /// lets what is under way finish, or cuts it when the grace time is over. The configuration is followed to the end, so that a
    /// revoked key stays revoked.
    ///
    /// # Errors
    /// [`RunError`] where a part of it broke off, after what was under way has finished all the same.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self { listener, workers, door, replica, drain, announcer } = self;
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        tasks.spawn(upkeep(Arc::clone(&door), ended.clone()));
        tasks.spawn(ended.clone().run_until_cancelled_owned(announce(Arc::clone(&door.live), announcer)));
        tasks.spawn(discovery::run(Arc::clone(&door.live), ended.clone()));
        let following = tasks.spawn(replica.run(ended.clone()));
        let accepting = tasks.spawn(listener.accept(Arc::clone(&door), workers.roster(), closing.clone()));
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = accepting => Err(RunError::Listener),
            _ = following => Err(RunError::Replica),
            () = workers.broken() => Err(RunError::Worker),
        };
        tracing::info!(delay_ms = drain.delay.as_millis(), grace_ms = drain.grace.as_millis(), "draining");
        door.vitals.draining.cancel();
        sleep(drain.delay).await;
        closing.cancel();
        let connections = door.connections.finish(drain).await;
        if connections > 0 {
            tracing::warn!(connections, "cut what had not finished within the grace time");
        }
        ended.cancel();
        tasks.close();
        tasks.wait().await;
        workers.end(drain.hard_stop).await;
        tracing::info!("stopped");
        outcome
    }
}

async fn upkeep(door: Arc<Door>, ended: CancellationToken) {
    let mut ticks = interval(UPKEEP);
    while ended.run_until_cancelled(ticks.tick()).await.is_some() {
        door.metrics.upkeep();
    }
}

/// Tells the log of each configuration as it comes into force.
async fn announce(live: Arc<Live>, mut announcer: Announcer) {
    let mut serving = live.subscribe();
    loop {
        serving.mark_unchanged();
        if let Some(snapshot) = live.load() {
            announcer.tell(&snapshot);
        }
        if serving.changed().await.is_err() {
            return;
        }
    }
}

/// Whether nobody else can listen in on what comes from there.
fn is_private(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    match url.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_keys_travel_only_where_nobody_listens() {
        for (url, expected) in [
            ("http://127.0.0.1:9091", true),
            ("http://127.8.8.8", true),
            ("http://[::1]:9091", true),
            ("http://localhost:9091", true),
            ("https://control.example.com", true),
            ("https://10.0.0.1:9091", true),
            ("http://control.example.com", false),
            ("http://10.0.0.1:9091", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("ftp://127.0.0.1", false),
            ("127.0.0.1:9091", false),
            ("/sync", false),
        ] {
            assert_eq!(is_private(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
