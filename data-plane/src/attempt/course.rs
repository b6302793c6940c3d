//! Where a request is in its plan: what is left to try, and for how long. It decides who is tried next, never what an answer means.

use std::{sync::Arc, time::Duration, vec};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use http::{HeaderName, StatusCode};
use signalbox_routing::{AnswerModel, Plan, Retry, Target};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Call, Trail, Won,
    failed::{Cause, Clock, Deadline, Failed, Loss, Next, Unsendable},
    once::Once,
    outcome::{Outcome, Weight},
};
use crate::{
    credentials::{Lease, Unavailable},
    ejection::Trial,
    upstream::{Place, Upstreams},
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
    /// The credentials of the target's provider that this request is not to be tried with again.
    refused: Vec<Arc<str>>,
    refusal: Option<StatusCode>,
    /// The credential that is used until it is set aside, where the provider counts the failures of each.
    kept: Option<Arc<str>>,
    /// Whether anything was sent to the target.
    sent: bool,
    /// What it has come to so far.
    outcome: Outcome,
}

/// What an attempt that may begin holds.
struct Admitted<'a> {
    trial: Trial<'a>,
    place: Option<Place>,
    lease: Option<Lease>,
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
            kept: None,
            sent: false,
            outcome: Outcome::default(),
        }
    }

    /// Makes the next attempt.
    pub(super) async fn attempt(&mut self, upstreams: &Upstreams, trail: &mut Trail) -> Result<Won, Loss> {
        let bound = self.bound();
        let Admitted { trial, place, lease } = self.admit(upstreams, bound).await?;
        let profile = &self.target.provider.profile;
        let client =
            upstreams.client(profile).ok_or(Cause::Unsendable(Unsendable::NoClient).then(Next::OtherTarget))?;
        trail.begin(&self.target, lease.as_ref().map(|lease| Arc::clone(lease.name())));
        let mut once = Once {
            call: &self.call,
            target: &self.target,
            client,
            lease,
            place,
            answer_model: self.answer_model,
            started: self.started,
            bound,
            last: trail.attempts >= self.budget,
        };
        let outcome = once.run(trail).await;
        let lease = once.lease;
        match &outcome {
            Ok(_) => trial.succeeded(),
            Err(loss) if loss.cause.is_the_targets() => self.tell_ejected(trial.failed(Instant::now())),
            Err(_) => drop(trial),
        }
        self.sent = true;
        outcome.map_err(|loss| self.settle(loss, lease.as_ref(), upstreams))
    }

    /// After a failed attempt: makes ready for the next one, or says that there is none.
    ///
    /// # Errors
    /// [`Failed`] where the budget is spent, or nothing is left to try, or the next attempt would come too late.
    pub(super) async fn recover(&mut self, loss: Loss, trail: &Trail) -> Result<(), Failed> {
        let Loss { cause, next, recovery } = loss;
        let weight = Weight::of(&cause, self.sent);
        let failed = Failed { provider: Arc::clone(&self.target.provider), cause, recovery };
        let goes_on = trail.attempts < self.budget
            && !self.call.body.is_spent()
            && match next {
                // Whether there is one, its pool will say.
                Next::OtherCredential => true,
                Next::OtherTarget => self.next_target(),
                Next::OtherTargetOrAgain => self.next_target() || self.pause().await,
                Next::Nothing => false,
            };
        if !goes_on {
            return Err(self.outcome.sum_up(weight, failed));
        }
        let (request_id, next) = (self.call.request_id, &self.target.provider.id);
        let error: &dyn std::error::Error = &failed;
        tracing::warn!(request.id = %request_id, error, attempts = trail.attempts, %next, "attempt failed: trying again");
        self.outcome.add(weight, failed);
        Ok(())
    }

    /// Whatever an attempt needs before anything is sent. What is missing costs nothing of the budget.
    async fn admit<'a>(&'a self, upstreams: &'a Upstreams, bound: Option<Deadline>) -> Result<Admitted<'a>, Loss> {
        let now = Instant::now();
        if let Some(Deadline { clock, .. }) = bound.filter(|bound| bound.at <= now) {
            return Err(Cause::TimedOut(clock).then(Next::Nothing));
        }
        let trial = upstreams.ejections().admit(&self.target, now);
        let trial = trial.map_err(|until| Cause::Ejected.then(Next::OtherTarget).until(Some(until)))?;
        let place = self.place(upstreams, bound).await?;
        let lease = self.lease(upstreams, Instant::now())?;
        Ok(Admitted { trial, place, lease })
    }

    /// A place at the target's provider, waited for as long as for a connection; `None` where there is room for everybody.
    async fn place(&self, upstreams: &Upstreams, bound: Option<Deadline>) -> Result<Option<Place>, Loss> {
        let provider = &self.target.provider;
        let Some(room) = upstreams.room(&provider.id) else { return Ok(None) };
        let deadline = Deadline::after(Instant::now(), provider.profile.connect_timeout, Clock::Connect).within(bound);
        timeout_at(deadline.at, room.enter()).await.map_err(|_| match deadline.clock {
            Clock::Client | Clock::Total => deadline.clock.into(),
            Clock::Connect | Clock::ResponseHeader | Clock::FirstEvent => Cause::Busy.then(Next::OtherTarget),
        })
    }

    /// A key for the target's provider; `None` where it is configured without any, or the caller's own is used.
    fn lease(&self, upstreams: &Upstreams, now: Instant) -> Result<Option<Lease>, Loss> {
        if self.call.own_keys.of(&self.target.provider.id).is_some() {
            return Ok(None);
        }
        let Some(pool) = upstreams.pool(&self.target.provider.id) else { return Ok(None) };
        let lease = match &self.kept {
            Some(name) => pool.take_again(name, now, &self.refused),
            None => pool.take(now, &self.refused),
        };
        let lease = lease.map_err(|unavailable| match unavailable {
            Unavailable::Refused => Cause::CredentialsExhausted { status: self.refusal }.then(Next::OtherTarget),
            Unavailable::Cooling { until } => Cause::RateLimited.then(Next::OtherTarget).until(Some(until)),
            Unavailable::Busy => Cause::Busy.then(Next::OtherTarget),
        });
        lease.map(Some)
    }

    /// What a failed attempt means for the credential that it was made with, and for what may be tried next.
    fn settle(&mut self, loss: Loss, lease: Option<&Lease>, upstreams: &Upstreams) -> Loss {
        let retry = &self.target.provider.retry;
        let mut loss = loss.within(retry.on);
        let Some(lease) = lease else { return loss };
        let name = Arc::clone(lease.name());
        if let Cause::CredentialsExhausted { status } = loss.cause {
            self.refused.push(name);
            self.refusal = status;
        } else if loss.cause.is_the_targets() {
            let now = Instant::now();
            let set_aside = lease.failed(now, retry.attempts_per_credential);
            let pool = upstreams.pool(&self.target.provider.id);
            if set_aside && loss.next != Next::Nothing && pool.is_some_and(|pool| pool.has_usable(now, &self.refused)) {
                self.refused.push(name);
                loss.next = Next::OtherCredential;
            } else {
                self.kept = retry.attempts_per_credential.map(|_| name);
            }
        }
        loss
    }

    /// When the whole request is too late: for the client, or, unless it is to be a stream, for the provider's total time-out.
    fn bound(&self) -> Option<Deadline> {
        let client = self.call.deadline.map(|at| Deadline { at, clock: Clock::Client });
        let total = (!self.call.stream)
            .then(|| Deadline::after(self.started, self.target.provider.timeouts.total, Clock::Total));
        client.into_iter().chain(total).min()
    }

    fn tell_ejected(&self, ejected: Option<Duration>) {
        if let Some(time) = ejected {
            let Target { provider, model, .. } = &self.target;
            tracing::warn!(request.id = %self.call.request_id, upstream.id = %provider.id, model.served = %model, ejected_ms = time.as_millis(), "target ejected");
        }
    }

    fn next_target(&mut self) -> bool {
        let Some(next) = self.rest.next() else { return false };
        if next.provider.id != self.target.provider.id {
            // What one provider has been told, the next has not: its memory must not answer for another's.
            self.call.headers.remove(IDEMPOTENCY_KEY);
            self.refused.clear();
            self.refusal = None;
            self.kept = None;
        }
        self.ceilings = ceilings(&next.provider.retry);
        self.target = next;
        self.sent = false;
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
