//! Keeps the cache up to date: writes what is held soon after it changed, never faster than its pace, and once more when told to stop.

use std::sync::Arc;

use signalbox_routing::Position;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Timing, apply::Applier};

/// Writes the cache whenever `held` changes, until told to stop.
pub(super) async fn keep(
    applier: Arc<Applier>,
    mut held: watch::Receiver<Option<Position>>,
    timing: Timing,
    stop: CancellationToken,
) {
    let mut overdue = false;
    loop {
        tokio::select! {
            biased;
            changed = held.changed() => if changed.is_err() { return },
            () = stop.cancelled() => {
                if overdue {
                    save(&applier).await;
                }
                return;
            }
            () = sleep(timing.cache_retry), if overdue => {}
        }
        overdue = !save(&applier).await;
        tokio::select! {
            () = sleep(timing.cache_pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Whether it was written.
async fn save(applier: &Arc<Applier>) -> bool {
    let applier = Arc::clone(applier);
    match spawn_blocking(move || applier.save()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "configuration not cached");
            false
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "configuration not cached");
            false
        }
    }
}
