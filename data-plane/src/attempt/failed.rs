//! What an attempt that won nothing came to, as facts, and what may be tried next. It never says what the client is told.

use std::{fmt, sync::Arc, time::Duration};

use http::{StatusCode, header::InvalidHeaderValue};
use signalbox_routing::{Provider, RetryOn};
use tokio::time::Instant;

use crate::{
    form,
    upstream::{Transport, conversation::Unsayable},
};

/// Why there is no answer to pass on: what the last attempt came to.
#[derive(Debug, thiserror::Error)]
#[error("provider {} gave no answer", provider.id)]
pub(crate) struct Failed {
    /// Whom the last attempt was for.
    pub(crate) provider: Arc<Provider>,
    /// What it came to.
    #[source]
    pub(crate) cause: Cause,
    /// When it may go better, as far as anybody knows.
    pub(crate) recovery: Option<Instant>,
}

/// What an attempt came to that won nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// Every credential is refused (401, 402, 403), or none can be read on this machine.
    #[error("no credential is accepted")]
    CredentialsExhausted {
        /// The last refusal; `None` = nothing was sent.
        status: Option<StatusCode>,
    },
    /// Every credential cools after a 429, or a provider without credentials answered so.
    #[error("its rate is limited")]
    RateLimited,
    /// The provider, or each of its credentials, has as many attempts under way as it may.
    #[error("has as many attempts under way as it may")]
    Busy,
    /// The target failed again and again, and is left alone for a while.
    #[error("is left alone after it failed again and again")]
    Ejected,
    /// No answer header arrived, for a reason other than time.
    #[error("was not reached")]
    Unreachable(#[source] Transport),
    /// A clock ran out before the answer was committed.
    #[error("the {0} time-out ran out")]
    TimedOut(Clock),
    /// A status that is no answer: a redirect, a server's error, or none that fits here.
    #[error("answered {0}")]
    Status(StatusCode),
    /// A success that held an error instead of an answer.
    #[error("answered with an error inside a success")]
    ErrorInside,
    /// The answer is not of the shape that the provider is configured to have.
    #[error("answered in a shape that it is not configured to have")]
    Unreadable,
    /// The answer broke off before it was committed.
    #[error("broke off its answer")]
    BrokenOff(#[source] Option<Transport>),
    /// One event of a stream is larger than may be held.
    #[error("answered with an event of more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client did not send the whole of its form, or sent one that is no form.
    #[error("the client's form did not go out whole")]
    Upload(#[source] form::Error),
    /// The answer says that it is larger than the provider's answers may be, or is before it is committed.
    #[error("answered with more than {limit} bytes")]
    OverLimit {
        /// The limit in bytes.
        limit: u64,
    },
    /// The request cannot be put into HTTP.
    #[error("the request cannot be sent")]
    Unsendable(#[source] Unsendable),
}

/// Why a request cannot be put into HTTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    /// No connections can be made as the provider is configured.
    #[error("no connections can be made as configured")]
    NoClient,
    /// A header cannot hold what its template asks for.
    #[error("a header's template cannot be filled in")]
    Header(#[from] InvalidHeaderValue),
    /// What the client says is nothing that the provider takes.
    #[error(transparent)]
    Unsayable(#[from] Unsayable),
    /// The query does not fit the target's URL.
    #[error(transparent)]
    Url(#[from] http::Error),
}

/// The clocks that bound an attempt before its answer is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Clock {
    /// Name resolution, TCP and TLS.
    Connect,
    /// From the request to the first response header.
    ResponseHeader,
    /// From the response header to the first meaningful event.
    FirstEvent,
    /// From the first attempt to the end of a plain answer.
    Total,
    /// The client's own.
    Client,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::ResponseHeader => "response header",
            Self::FirstEvent => "first event",
            Self::Total => "total",
            Self::Client => "client's",
        })
    }
}

/// When a clock runs out. The earliest is the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) clock: Clock,
}

impl Deadline {
    /// A clock that started then and runs this long.
    pub(super) fn after(start: Instant, time: Duration, clock: Clock) -> Self {
        Self { at: start + time, clock }
    }

    /// The earlier of two.
    pub(super) fn within(self, bound: Option<Self>) -> Self {
        bound.map_or(self, |bound| bound.min(self))
    }
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) cause: Cause,
    pub(super) next: Next,
    /// When it may go better, as far as anybody knows.
    pub(super) recovery: Option<Instant>,
}

/// What may be tried after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The same target with another credential, at once.
    OtherCredential,
    /// Another target; the same one would fail again.
    OtherTarget,
    /// Another target if there is one, else the same one after a pause.
    OtherTargetOrAgain,
    /// Nothing: it would fail everywhere, or there is no time left.
    Nothing,
}

impl Cause {
    /// The failed attempt, and what may be tried after it.
    pub(super) fn then(self, next: Next) -> Loss {
        Loss { cause: self, next, recovery: None }
    }

    /// Whether it is the target that failed, and not a credential, the request or the client's patience.
    pub(super) fn is_the_targets(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::ErrorInside | Self::Unreadable | Self::BrokenOff(_) => true,
            Self::TimedOut(clock) => matches!(clock, Clock::Connect | Clock::ResponseHeader | Clock::FirstEvent),
            Self::Status(status) => status.is_server_error(),
            Self::CredentialsExhausted { .. }
            | Self::RateLimited
            | Self::Busy
            | Self::Ejected
            | Self::TooLarge { .. }
            | Self::OverLimit { .. }
            | Self::Upload(_)
            | Self::Unsendable(_) => false,
        }
    }

    /// Whether the provider's settings let such a failure be tried again.
    fn is_tried_again(&self, on: RetryOn) -> bool {
        match self {
            Self::Unreachable(error) if error.is_connect() => on.connect_failure,
            Self::TimedOut(Clock::Connect) => on.connect_failure,
            Self::TimedOut(_) => on.timeout,
            Self::RateLimited => on.rate_limit,
            Self::Unreachable(_) | Self::Status(_) | Self::ErrorInside | Self::Unreadable | Self::BrokenOff(_) => {
                on.server_error
            }
            Self::CredentialsExhausted { .. }
            | Self::Busy
            | Self::Ejected
            | Self::TooLarge { .. }
            | Self::OverLimit { .. }
            | Self::Upload(_)
            | Self::Unsendable(_) => true,
        }
    }
}

impl Loss {
    /// With the moment at which it may go better.
    pub(super) fn until(self, recovery: Option<Instant>) -> Self {
        Self { recovery, ..self }
    }

    /// As the provider's settings have it: what is not to be tried again is not.
    pub(super) fn within(self, on: RetryOn) -> Self {
        if self.cause.is_tried_again(on) { self } else { Self { next: Next::Nothing, ..self } }
    }
}

impl From<Clock> for Loss {
    fn from(clock: Clock) -> Self {
        let next = match clock {
            Clock::Connect | Clock::ResponseHeader | Clock::FirstEvent => Next::OtherTargetOrAgain,
            Clock::Total | Clock::Client => Next::Nothing,
        };
        Cause::TimedOut(clock).then(next)
    }
}
