//! One attempt: send, judge, and commit to the answer or say what may be tried next. It never makes a second one.

use std::time::SystemTime;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as _;
use signalbox_routing::{AnswerModel, CredentialSource, Target, Timeouts};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Call, Trail, Won,
    failed::{Cause, Clock, Deadline, Loss, Next, Unsendable},
    verdict::Verdict,
};
use crate::{
    credentials::{Lease, retry_after},
    upstream::{self, Body, Client, Place, Upload},
};

/// Everything that one attempt needs.
pub(super) struct Once<'a> {
    pub(super) call: &'a Call,
    pub(super) target: &'a Target,
    pub(super) client: &'a Client,
    /// The key; taken along by the answer that is won. `None` = there is none, or the caller's own is used.
    pub(super) lease: Option<Lease>,
    /// The place at the provider, likewise.
    pub(super) place: Option<Place>,
    pub(super) answer_model: AnswerModel,
    /// When the first attempt began.
    pub(super) started: Instant,
    /// When the request as a whole is too late.
    pub(super) bound: Option<Deadline>,
    /// Whether the budget ends with this attempt.
    pub(super) last: bool,
}

impl Once<'_> {
    pub(super) async fn run(&mut self, trail: &mut Trail) -> Result<Won, Loss> {
        let response = self.send().await?;
        let (status, provider) = (response.status(), &self.target.provider);
        trail.upstream_status = Some(status);
        trail.upstream_request_id = upstream::request_id(response.headers());
        trail.answered_at = Some(Instant::now());
        let is_final = self.is_last() || !provider.retry.on.server_error;
        let outcome = match Verdict::of(status, &provider.retry) {
            Verdict::Fail if status == StatusCode::SWITCHING_PROTOCOLS && self.call.body.handshake().is_some() => {
                Ok(self.switch(response))
            }
            Verdict::Answer => self.commit(self.bounded(response)?).await,
            Verdict::Pass => self.pass(self.bounded(response)?).await,
            // Said about the caller's own key, or about having none: that is for the caller to hear.
            Verdict::Refused if self.lease.is_none() && self.asks_with_the_callers_key() => {
                self.pass(self.bounded(response)?).await
            }
            Verdict::Retry if is_final && status.is_client_error() => self.pass(self.bounded(response)?).await,
            Verdict::Retry => Err(again_later(status, response.headers())),
            Verdict::Refused => Err(self.refused(status)),
            Verdict::Limited => Err(self.limited(response).await),
            Verdict::Fail => Err(Cause::Status(status).then(Next::Nothing)),
        };
        let won = outcome.map_err(|loss| self.in_full(loss))?;
        trail.committed_at = Some(Instant::now());
        Ok(won)
    }

    /// An answer that can be no larger than the provider's may be.
    fn bounded(&self, response: Response<Body>) -> Result<Response<Body>, Loss> {
        let Some(limit) = self.target.provider.max_response_bytes else { return Ok(response) };
        if response.body().size_hint().lower() > limit {
            return Err(Cause::OverLimit { limit }.then(Next::Nothing));
        }
        Ok(response.map(|body| body.limited(limit)))
    }

    /// What broke off because it came to the limit was not the upstream's fault, and would come to it again.
    fn in_full(&self, loss: Loss) -> Loss {
        match (&loss.cause, self.target.provider.max_response_bytes) {
            (Cause::BrokenOff(Some(error)), Some(limit)) if error.is_over_limit() => {
                Cause::OverLimit { limit }.then(Next::Nothing)
            }
            _ => loss,
        }
    }

    /// Sends the request; where that takes two calls, both are under one clock.
    async fn send(&self) -> Result<Response<Body>, Loss> {
        tokio::select! {
            biased;
            answered = self.ask() => answered,
            clock = self.too_late() => Err(clock.into()),
        }
    }

    /// Waits until the answer's header is overdue, and says by which clock. While the client is still sending, the upstream is not.
    async fn too_late(&self) -> Clock {
        let Timeouts { response_header, total, .. } = self.target.provider.timeouts;
        if let Some(upload) = self.call.body.upload() {
            let bound = Deadline::after(self.started, total, Clock::Total).within(self.bound);
            if timeout_at(bound.at, upload.over()).await.is_err() {
                return bound.clock;
            }
        }
        let bound = Deadline::after(Instant::now(), response_header, Clock::ResponseHeader).within(self.bound);
        sleep_until(bound.at).await;
        bound.clock
    }

    /// Whether no other attempt can follow.
    fn is_last(&self) -> bool {
        self.last || self.call.body.is_spent()
    }

    async fn ask(&self) -> Result<Response<Body>, Loss> {
        let own_key = || self.call.own_keys.of(&self.target.provider.id);
        let key = self.lease.as_ref().map(Lease::key).or_else(own_key);
        if let Some(conversation) = &self.target.provider.conversation {
            return Box::pin(self.converse(conversation, key)).await;
        }
        let request = upstream::request(self.call, self.target, key)
            .map_err(|error| Cause::Unsendable(Unsendable::Url(error)).then(Next::OtherTarget))?;
        self.exchange(request).await
    }

    /// One request, up to the header of its answer.
    pub(super) async fn exchange(&self, request: Request<Body>) -> Result<Response<Body>, Loss> {
        let sent = if self.call.body.handshake().is_some() {
            self.client.send_handshake(request).await
        } else {
            self.client.send(request).await
        };
        sent.map_err(|error| match self.call.body.upload().and_then(Upload::take_fault) {
            Some(fault) => Cause::Upload(fault).then(Next::Nothing),
            None if error.is_connect_timeout() => Clock::Connect.into(),
            None => Cause::Unreachable(error).then(Next::OtherTargetOrAgain),
        })
    }

    pub(super) fn asks_with_the_callers_key(&self) -> bool {
        self.target.provider.credential_source == CredentialSource::Client
    }

    pub(super) fn refused(&self, status: StatusCode) -> Loss {
        if let Some(lease) = &self.lease {
            lease.refused(Instant::now());
        }
        Cause::CredentialsExhausted { status: Some(status) }.then(self.past_the_credential())
    }

    pub(super) fn past_the_credential(&self) -> Next {
        if self.lease.is_some() { Next::OtherCredential } else { Next::OtherTarget }
    }
}

/// A server's error, and when it says that it is over.
fn again_later(status: StatusCode, headers: &HeaderMap) -> Loss {
    let recovery = retry_after(headers, SystemTime::now()).map(|wait| Instant::now() + wait);
    Cause::Status(status).then(Next::OtherTargetOrAgain).until(recovery)
}
