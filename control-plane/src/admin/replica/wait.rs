//! The wait until a revision is served: what a caller may ask for, and when it ends. A caller that hangs up ends it too, since nobody
//! but the call holds it.

use std::time::Duration;

use signalbox_proto::admin::v1::{WaitForRevisionRequest, WaitForRevisionResponse};
use signalbox_routing::Revision;
use tokio::time::{Instant, sleep_until};

use super::Fleet;
use crate::{
    admin::error::{Error, Violation},
    replicas::Goal,
};

/// Where the caller does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// However long the caller wants to wait.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// What is waited for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    goal: Goal,
    timeout: Duration,
}

impl Wait {
    /// Reads a request, at a time at which this revision is current.
    ///
    /// # Errors
    /// Says which field cannot be met.
    pub(super) fn read(request: WaitForRevisionRequest, current: Revision) -> Result<Self, Violation> {
        let WaitForRevisionRequest { revision, timeout, min_percent, fail_on_rejection, min_replicas } = request;
        let current = current.get();
        if revision > current {
            let description = format!("there is no revision {revision} yet: the current one is {current}");
            return Err(Violation::new("revision", "UNKNOWN_REVISION", description));
        }
        let revision = if revision == 0 { current } else { revision };
        let min_percent = match min_percent {
            0 => 100,
            1..=100 => min_percent,
            _ => return Err(Violation::new("min_percent", "OUT_OF_RANGE", "is 1 to 100, or 0 for all")),
        };
        let timeout = match timeout {
            None => DEFAULT_TIMEOUT,
            Some(timeout) => bounded(timeout, "timeout")?,
        };
        Ok(Self { goal: Goal { revision, min_percent, min_replicas, fail_on_rejection }, timeout })
    }

    /// The wait until every connected data plane serves the current revision.
    ///
    /// # Errors
    /// Says that the time, which the request has in `field`, is negative.
    pub(crate) fn for_all(timeout: prost_types::Duration, field: &str) -> Result<Self, Violation> {
        let goal = Goal { revision: 0, min_percent: 100, min_replicas: 0, fail_on_rejection: false };
        Ok(Self { goal, timeout: bounded(timeout, field)? })
    }

    /// The same for another revision.
    pub(crate) fn until(self, revision: u64) -> Self {
        Self { goal: Goal { revision, ..self.goal }, ..self }
    }
}

impl Fleet {
    /// Waits, and says how far it has come in the end.
    ///
    /// # Errors
    /// [`Error::Stopping`] where the control plane goes away first.
    pub(crate) async fn wait(&self, wait: &Wait) -> Result<WaitForRevisionResponse, Error> {
        let deadline = Instant::now() + wait.timeout;
        let mut moved = self.replicas.follow();
        loop {
            moved.mark_unchanged();
            let (progress, done) = self.look(wait);
            if done {
                return Ok(progress);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Error::Stopping),
                () = sleep_until(deadline) => return Ok(progress),
                Ok(()) = moved.changed() => {}
            }
        }
    }

    /// How far it has come, and whether waiting for more is of use.
    pub(crate) fn look(&self, wait: &Wait) -> (WaitForRevisionResponse, bool) {
        self.replicas.progress(&wait.goal, &self.ledger.state().position)
    }
}

fn bounded(duration: prost_types::Duration, field: &str) -> Result<Duration, Violation> {
    let negative =
        |_| Violation::new(field, "OUT_OF_RANGE", "is negative: 0 s looks once, and 10 minutes are the longest");
    Ok(Duration::try_from(duration).map_err(negative)?.min(MAX_TIMEOUT))
}
