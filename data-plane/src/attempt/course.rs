//! Where a request is in its plan: what is left to try, and for how long. It decides who is tried next, never what an answer means.

use std::{sync::Arc, vec};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use http::{HeaderName, StatusCode};
use signalbox_routing::{AnswerModel, Plan, Retry, Target};
use tokio::time::{Instant, sleep};

use super::{
    Call, Trail, Won,
    failed::{Cause, Clock, Deadline, Failed, Loss, Next, Unsendable},
    once::Once,
};
use crate::{
    credentials::{Lease, Unavailable},
    upstream::Upstreams,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where a request is in its plan.
pub(super) struct Course {
    call: Call,
    target: Target,
    rest: vec::IntoIter<Target>,
    answer_model: AnswerModel,
    budget: u32,
    started: Instant,
    /// The ceilings of the waits before the same target is tried again.
    ceilings: ExponentialBackoff,
    /// The credentials of the target's provider that this request was refused with.
    refused: Vec<Arc<str>>,
    refusal: Option<StatusCode>,
}

impl Course {
    pub(super) fn new(plan: Plan, call: Call) -> Self {
        let Plan { first, rest, answer_model, attempts } = plan;
        Self {
            call,
            ceilings: ceilings(&first.provider.retry),
            target: first,
            rest: rest.into_iter(),
            answer_model,
            budget: attempts,
            started: Instant::now(),
            refused: Vec::new(),
            refusal: None,
        }
    }

    /// Makes the next attempt.
    pub(super) async fn attempt(&mut self, upstreams: &Upstreams, trail: &mut Trail) -> Result<Won, Loss> {
        let now = Instant::now();
        let bound = self.bound();
        if let Some(Deadline { clock, .. }) = bound.filter(|bound| bound.at <= now) {
            return Err(Cause::TimedOut(clock).then(Next::Nothing));
        }
        let lease = self.lease(upstreams, now)?;
        let profile = &self.target.provider.profile;
        let client =
            upstreams.client(profile).ok_or(Cause::Unsendable(Unsendable::NoClient).then(Next::OtherTarget))?;
        let credential = lease.as_ref().map(|lease| Arc::clone(lease.name()));
        trail.begin(&self.target, credential.clone());
        let once = Once {
            call: &self.call,
            target: &self.target,
            client,
            lease,
            answer_model: self.answer_model,
            started: self.started,
            bound,
            last: trail.attempts >= self.budget,
        };
        let outcome = once.run(trail).await;
        if let Err(Loss { cause: Cause::CredentialsExhausted { status }, .. }) = &outcome {
            self.refused.extend(credential);
            self.refusal = *status;
        }
        outcome
    }

    /// After a failed attempt: makes ready for the next one, or says that there is none.
    ///
    /// # Errors
    /// [`Failed`] where the budget is spent, or nothing is left to try, or the next attempt would come too late.
    pub(super) async fn recover(&mut self, loss: Loss, trail: &Trail) -> Result<(), Failed> {
        let Loss { cause, next } = loss;
        let provider = Arc::clone(&self.target.provider);
        let goes_on = trail.attempts < self.budget
            && !self.call.body.is_spent()
            && match next {
                // Whether there is one, its pool will say.
                Next::OtherCredential => true,
                Next::OtherTarget => self.next_target(),
                Next::OtherTargetOrAgain => self.next_target() || self.pause().await,
                Next::Nothing => false,
            };
        let failed = Failed { provider, cause };
        if !goes_on {
            return Err(failed);
        }
        let error: &dyn std::error::Error = &failed;
        tracing::warn!(error, attempts = trail.attempts, next = %self.target.provider.id, "attempt failed: trying again");
        Ok(())
    }

    /// A key for the target's provider; `None` where it is configured without any, or the caller's own is used.
    fn lease(&self, upstreams: &Upstreams, now: Instant) -> Result<Option<Lease>, Loss> {
        if self.call.own_keys.of(&self.target.provider.id).is_some() {
            return Ok(None);
        }
        let Some(pool) = upstreams.pool(&self.target.provider.id) else { return Ok(None) };
        let lease = pool.take(now, &self.refused).map_err(|unavailable| match unavailable {
            Unavailable::Refused => Cause::CredentialsExhausted { status: self.refusal },
            Unavailable::Cooling { until } => Cause::RateLimited { retry_after: Some(until - now) },
            Unavailable::Busy => Cause::Busy,
        });
        lease.map(Some).map_err(|cause| cause.then(Next::OtherTarget))
    }

    /// When the whole request is too late: for the client, or, unless it is to be a stream, for the provider's total time-out.
    fn bound(&self) -> Option<Deadline> {
        let client = self.call.deadline.map(|at| Deadline { at, clock: Clock::Client });
        let total = (!self.call.stream)
            .then(|| Deadline::after(self.started, self.target.provider.timeouts.total, Clock::Total));
        client.into_iter().chain(total).min()
    }

    fn next_target(&mut self) -> bool {
        let Some(next) = self.rest.next() else { return false };
        if next.provider.id != self.target.provider.id {
            // What one provider has been told, the next has not: its memory must not answer for another's.
            self.call.headers.remove(IDEMPOTENCY_KEY);
            self.refused.clear();
            self.refusal = None;
        }
        self.ceilings = ceilings(&next.provider.retry);
        self.target = next;
        true
    }

    /// Waits before the same target is tried again; not if that would be too late.
    async fn pause(&mut self) -> bool {
        // Full jitter: requests that failed at one moment do not come back at one moment.
        let ceiling = self.ceilings.next().unwrap_or(self.target.provider.retry.backoff_cap);
        let wait = ceiling.mul_f64(fastrand::f64());
        if self.bound().is_some_and(|bound| bound.at <= Instant::now() + wait) {
            return false;
        }
        sleep(wait).await;
        true
    }
}

impl Trail {
    fn begin(&mut self, target: &Target, credential: Option<Arc<str>>) {
        self.attempts += 1;
        self.provider = Some(Arc::clone(&target.provider));
        self.model = Some(Arc::clone(&target.model));
        self.credential = credential;
        self.upstream_status = None;
        self.upstream_request_id = None;
        self.answered_at = None;
    }
}

fn ceilings(retry: &Retry) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(retry.backoff_base)
        .with_max_delay(retry.backoff_cap)
        .without_max_times()
        .build()
}
