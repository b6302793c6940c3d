//! What is known of an exchange when it is over, as a line in the log. Never a prompt, never a key.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Method, StatusCode};
use signalbox_routing::{ClientKey, Endpoint, Revision, Route};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{attempt::Trail, errors::Shape, path::Place, usage::Usage};

/// Our name for an exchange: new for each, and ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(Uuid);

impl RequestId {
    /// One that nothing else has.
    pub(crate) fn new() -> Self {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        // It need not be hard to guess, so that the system is not asked for chance each time.
        let mut chance = [0; 10];
        fastrand::fill(&mut chance);
        Self(uuid::Builder::from_unix_timestamp_millis(now_ms.try_into().unwrap_or_default(), &chance).into_uuid())
    }

    /// It as a header's value.
    pub(crate) fn header(self) -> HeaderValue {
        #[expect(clippy::expect_used, reason = "a UUID is hexadecimal digits and hyphens")]
        HeaderValue::from_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer())).expect("a UUID is ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What was asked for. Of bounded number, so that it can label a metric.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// One of the gateway's own pages, which are not recorded.
    Own,
    /// Nothing that exists.
    Unknown,
    /// The list of models.
    Models,
    /// One model.
    Model,
    /// That the configuration's file be read.
    Reload,
    /// An endpoint that carries a model.
    Endpoint(Endpoint),
    /// What a provider keeps, by where it is.
    Kept(&'static str),
    /// A route.
    Route(Arc<Route>),
}

impl Operation {
    /// What is asked for at a place. Which route it is, the mount finds out.
    pub(crate) fn at(place: Place<'_>) -> Self {
        match place {
            Place::Page(_) => Self::Own,
            Place::Models => Self::Models,
            Place::Model(_) => Self::Model,
            Place::Reload => Self::Reload,
            Place::Endpoint(endpoint) => Self::Endpoint(endpoint),
            Place::Kept(kept) => Self::Kept(kept.pattern()),
            Place::Nowhere | Place::Mount(..) => Self::Unknown,
        }
    }

    /// It as a path pattern.
    pub(crate) fn pattern(&self) -> &'static str {
        match self {
            Self::Own | Self::Unknown => "",
            Self::Models => "/models",
            Self::Model => "/models/{model}",
            Self::Reload => "/reload",
            Self::Endpoint(endpoint) => endpoint.path(),
            Self::Kept(pattern) => pattern,
            Self::Route(_) => "/{route}",
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answer went out whole.
    Completed,
    /// The answer is that the request is not acceptable (4xx), by us or by the upstream.
    Rejected,
    /// The answer is that it could not be done (5xx).
    Failed,
    /// The answer broke off after it had begun.
    Broken,
    /// The client left before the end.
    Abandoned,
}

impl Outcome {
    /// How an answer that went out whole ended.
    pub(crate) fn of(status: StatusCode) -> Self {
        if status.is_server_error() {
            Self::Failed
        } else if status.is_client_error() {
            Self::Rejected
        } else {
            Self::Completed
        }
    }

    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What is known of an exchange, filled in on its way.
#[derive(Debug)]
pub(crate) struct Record {
    /// Our name for it.
    pub(crate) request_id: RequestId,
    /// When its head had been read.
    pub(crate) started: Instant,
    /// The method.
    pub(crate) method: Method,
    /// What was asked for.
    pub(crate) operation: Operation,
    /// The revision that it was judged by; `None` = none was held, or it did not get that far.
    pub(crate) revision: Option<Revision>,
    /// Whether it writes a line in the log.
    pub(crate) logged: bool,
    /// Whose key was accepted; `None` = nobody's: whoever it is, it is a stranger.
    pub(crate) client_key: Option<Arc<ClientKey>>,
    /// The model asked for.
    pub(crate) model: Option<Arc<str>>,
    /// Whether a stream was asked for.
    pub(crate) stream: bool,
    /// What became of the attempts.
    pub(crate) trail: Trail,
    /// The status of the answer; `None` = it did not come to one.
    pub(crate) status: Option<StatusCode>,
    /// Bytes that a tunnel took from the client; `None` = it was no tunnel.
    pub(crate) bytes_in: Option<u64>,
    /// Bytes of the answer's body, or of a tunnel, that were handed to the connection.
    pub(crate) bytes_out: u64,
    /// The tokens that the answer took, as far as it has said so.
    pub(crate) usage: Option<Usage>,
}

impl Record {
    /// Nothing is known yet.
    pub(crate) fn new(request_id: RequestId, method: Method) -> Self {
        Self {
            request_id,
            started: Instant::now(),
            method,
            operation: Operation::Unknown,
            revision: None,
            logged: true,
            client_key: None,
            model: None,
            stream: false,
            trail: Trail::default(),
            status: None,
            bytes_in: None,
            bytes_out: 0,
            usage: None,
        }
    }

    /// Whether it is for one of the gateway's own pages, which nobody counts.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.operation, Operation::Own)
    }

    /// In whose shape the client is told of errors.
    pub(crate) fn shape(&self) -> Shape {
        match self.operation {
            Operation::Endpoint(endpoint) if endpoint.is_anthropic() => Shape::Anthropic(Some(self.request_id)),
            _ => Shape::OpenAi,
        }
    }

    /// The id of whom it was sent to, provider or route.
    pub(crate) fn upstream(&self) -> Option<&str> {
        match &self.operation {
            Operation::Route(route) => Some(route.id.as_str()),
            _ => self.trail.provider.as_ref().map(|provider| provider.id.as_str()),
        }
    }

    /// From the start to the commit of a streamed answer.
    pub(crate) fn time_to_first_event(&self) -> Option<Duration> {
        let committed = self.trail.committed_at.filter(|_| self.stream)?;
        Some(committed.saturating_duration_since(self.started))
    }

    /// Writes the access log's line.
    pub(crate) fn log(&self, outcome: Outcome, took: Duration) {
        if !self.logged {
            return;
        }
        let Trail { attempts, model: served, credential, upstream_status, upstream_request_id, answered_at, .. } =
            &self.trail;
        let upstream_ms = answered_at.map(|at| millis(at.saturating_duration_since(self.started)));
        tracing::info!(
            target: "access",
            {
                request.id = %self.request_id,
                request.method = self.method.as_str(),
                request.operation = self.operation.pattern(),
                response.status = self.status.map(|status| status.as_u16()),
                request.bytes = self.bytes_in,
                response.bytes = self.bytes_out,
                outcome = outcome.as_str(),
                client_key.id = self.client_key.as_ref().map_or("stranger", |key| key.id.as_str()),
                upstream.id = self.upstream(),
                upstream.status = upstream_status.map(|status| status.as_u16()),
                upstream.request_id = upstream_request_id.as_deref(),
                model.requested = self.model.as_deref(),
                model.served = served.as_deref(),
                credential.name = credential.as_deref(),
                usage.prompt_tokens = self.usage.map(|usage| usage.prompt),
                usage.completion_tokens = self.usage.map(|usage| usage.completion),
                attempts,
                duration_ms = millis(took),
                upstream_header_ms = upstream_ms,
                first_event_ms = self.time_to_first_event().map(millis),
                revision = self.revision.map(Revision::get),
            },
            "exchange"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
