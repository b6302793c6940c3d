//! The only retry and failover loop: one budget over targets and credentials together, until an answer is committed. It knows
//! neither the HTTP framework nor who is calling.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use signalbox_routing::{Endpoint, Plan, Provider, Target};
use tokio::time::Instant;

use crate::upstream::Upstreams;

mod answer;
mod failed;

pub(crate) use answer::{Answer, Broken};
pub(crate) use failed::{Cause, Clock, Failed};

/// A request as it goes to any of its targets.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked for.
    pub(crate) endpoint: Endpoint,
    /// The method, as the client sent it.
    pub(crate) method: Method,
    /// The query without its question mark, and without keys.
    pub(crate) query: Option<Box<str>>,
    /// The client's headers, cleaned for a provider.
    pub(crate) headers: HeaderMap,
    /// The body, as the client sent it.
    pub(crate) body: Bytes,
    /// Where the value of `model` is in the body, quotes included.
    pub(crate) model_span: Range<usize>,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
    /// The model that the client asked for.
    pub(crate) requested_model: Arc<str>,
    /// When the client stops waiting; `None` = it did not say.
    pub(crate) deadline: Option<Instant>,
}

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
    /// Who answers.
    pub(crate) target: Target,
}

/// Carries out a plan.
///
/// # Errors
/// [`Failed`] says what the last attempt came to, once the budget is spent or nothing is left to try.
pub(crate) async fn run(upstreams: &Upstreams, plan: Plan, call: &Call, trail: &mut Trail) -> Result<Won, Failed> {
    let _ = (upstreams, call, trail);
    Err(Failed { provider: plan.first.provider, cause: Cause::Busy })
}
