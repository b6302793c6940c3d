//! The way of a question to the control plane: that the configuration's file be read. Whoever asks waits here for the answer, and for what
//! it led to; the stream of the moment carries both.

use std::sync::{Mutex, MutexGuard, PoisonError};

use signalbox_proto::sync::v1::{self as sync, reloaded::Outcome as Wire};
use signalbox_routing::Position;
use tokio::sync::{Notify, oneshot};

use crate::live::Live;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// What the control plane says.
    pub(crate) outcome: Outcome,
    /// How many providers are in use, by now.
    pub(crate) providers_count: usize,
}

/// What the control plane says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is no file.
    NoFile,
    /// The file says what is in force.
    Unchanged,
    /// The file led to a revision.
    Applied,
    /// The file cannot be used, for this reason.
    Refused(String),
}

/// The one question that may wait for a stream. A later one takes its place.
#[derive(Debug, Default)]
pub struct Reloads {
    waiting: Mutex<Option<Asking>>,
    asked: Notify,
}

/// Who waits for the answer.
pub(super) type Asking = oneshot::Sender<sync::Reloaded>;

impl Reloads {
    /// Asks, and waits until what came of it is in force here; `None` = the stream ended first.
    pub(crate) async fn ask(&self, live: &Live) -> Option<Reloaded> {
        let (asking, answer) = oneshot::channel();
        *self.waiting() = Some(asking);
        self.asked.notify_one();
        let sync::Reloaded { outcome, message, head, .. } = answer.await.ok()?;
        let head = Position::from_wire(&head?).ok()?;
        let is_reached = |at: &Position| at.epoch == head.epoch && at.revision >= head.revision;
        live.subscribe().wait_for(|at| at.as_ref().is_some_and(is_reached)).await.ok()?;
        let outcome = match Wire::try_from(outcome).unwrap_or_default() {
            Wire::NoFile | Wire::Unspecified => Outcome::NoFile,
            Wire::Unchanged => Outcome::Unchanged,
            Wire::Applied => Outcome::Applied,
            Wire::Refused => Outcome::Refused(message),
        };
        let providers_count = live.load().map_or(0, |snapshot| snapshot.runtime.providers().count());
        Some(Reloaded { outcome, providers_count })
    }

    /// The next question, once there is one.
    pub(super) async fn next(&self) -> Asking {
        loop {
            self.asked.notified().await;
            if let Some(asking) = self.waiting().take().filter(|asking| !asking.is_closed()) {
                return asking;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Asking>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
