//! The only retry and failover loop: one budget over targets and credentials together, until an answer is committed. It knows
//! neither the HTTP framework nor who is calling.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use signalbox_routing::{Plan, Provider};
use tokio::time::Instant;

use crate::upstream::Upstreams;

mod answer;
mod commit;
mod converse;
mod course;
mod failed;
mod limited;
mod once;
mod outcome;
mod source;
mod verdict;

pub(crate) use answer::{Answer, Broken};
#[cfg(test)]
pub(crate) use failed::Clock;
pub(crate) use failed::{Cause, Failed, Unsendable};

pub(crate) use crate::upstream::Call;

/// What happened on the way, for the record. Filled in as it happens, so that an abandoned request has one too.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Attempts begun.
    pub(crate) attempts: u32,
    /// Whom the last attempt went to.
    pub(crate) provider: Option<Arc<Provider>>,
    /// The model asked of it.
    pub(crate) model: Option<Arc<str>>,
    /// The full name of the credential that was used, for the log only.
    pub(crate) credential: Option<Arc<str>>,
    /// The status of the last upstream answer.
    pub(crate) upstream_status: Option<StatusCode>,
    /// The upstream's own name for it, where that is a text.
    pub(crate) upstream_request_id: Option<Box<str>>,
    /// When the header of that answer was there.
    pub(crate) answered_at: Option<Instant>,
    /// When the answer was committed.
    pub(crate) committed_at: Option<Instant>,
}

/// A committed answer. Nothing can retry from here on.
#[derive(Debug)]
pub(crate) struct Won {
    /// The upstream's status.
    pub(crate) status: StatusCode,
    /// The upstream's headers, cleaned for a client.
    pub(crate) headers: HeaderMap,
    /// The body; it holds what the attempt holds until its end.
    pub(crate) body: Answer,
    /// The connection, where a handshake was agreed to.
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// Carries out a plan. Dropping the future cancels what is under way upstream.
///
/// # Errors
/// [`Failed`] says what the last attempt came to, once the budget is spent or nothing is left to try.
pub(crate) async fn run(upstreams: &Upstreams, plan: Plan, call: Call, trail: &mut Trail) -> Result<Won, Failed> {
    let mut course = course::Course::new(plan, call);
    loop {
        match course.attempt(upstreams, trail).await {
            Ok(won) => return Ok(won),
            Err(loss) => course.recover(loss, trail).await?,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
