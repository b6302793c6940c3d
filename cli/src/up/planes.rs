//! Both planes as tasks of this process: watched together, stopped in order. It knows nothing of what they serve.

use std::sync::Arc;

use signalbox_control_plane::app as control_plane;
use signalbox_data_plane::{self as data_plane, live::Live};
use signalbox_routing::Position;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Why the planes run no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control plane gave up.
    #[error("the control plane stopped")]
    ControlPlane(#[from] control_plane::RunError),
    /// The data plane did not end well.
    #[error("the data plane stopped")]
    DataPlane(#[from] data_plane::RunError),
    /// A plane panicked.
    #[error("a plane broke off")]
    Task(#[from] JoinError),
    /// A plane ended with nobody having asked for it.
    #[error("a plane ended by itself")]
    Ended,
}

/// Both planes, running. Dropped, they are gone at once.
#[derive(Debug)]
pub(super) struct Planes {
    tasks: JoinSet<Result<(), Error>>,
    stop: CancellationToken,
    live: Arc<Live>,
    epoch: Arc<str>,
}

impl Planes {
    /// Runs both. Whichever ends first takes the other with it; on a stop that is the data plane, so that it finishes what it has
    /// begun with its control plane still there.
    pub(super) fn run(control_plane: control_plane::App, data_plane: data_plane::App) -> Self {
        let live = Arc::clone(data_plane.live());
        let epoch = Arc::clone(&control_plane.ledger().state().position.epoch);
        let (stop, control_plane_stop) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let (data_plane_stop, then) = (stop.clone(), control_plane_stop.clone().drop_guard());
        tasks.spawn(async move {
            let _then = then;
            Ok(Box::pin(data_plane.run(data_plane_stop)).await?)
        });
        let then = stop.clone().drop_guard();
        tasks.spawn(async move {
            let _then = then;
            Ok(Box::pin(control_plane.run(control_plane_stop)).await?)
        });
        Self { tasks, stop, live, epoch }
    }

    /// Returns once requests are answered from this revision of the control plane's own history, or a later one. What the cache
    /// holds may be of another.
    pub(super) async fn serve(&mut self, revision: u64) -> Result<(), Error> {
        let mut serving = self.live.subscribe();
        let is_served = |at: &Position| at.epoch == self.epoch && at.revision.get() >= revision;
        tokio::select! {
            // The sender lives as long as `live` does.
            _ = serving.wait_for(|position| position.as_ref().is_some_and(is_served)) => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(unasked(ended)),
        }
    }

    /// Waits for the stop, then for both planes to end in order.
    pub(super) async fn until(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(unasked(ended)),
        };
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            outcome = outcome.and(ended?);
        }
        outcome
    }
}

/// Why a plane has ended that should not have.
fn unasked(ended: Result<Result<(), Error>, JoinError>) -> Error {
    match ended {
        Ok(Ok(())) => Error::Ended,
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    }
}
