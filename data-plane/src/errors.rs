//! The data plane's one table from errors to what a client is told: status, OpenAI's type and code, and whether to try again.
//! The errors themselves, with their causes, go to the log and never to the client.

use std::{borrow::Cow, fmt::Display, time::Duration};

use bytes::Bytes;
use http::{
    StatusCode,
    header::{ACCEPT, ALLOW, UPGRADE, WWW_AUTHENTICATE},
};
use signalbox_routing::Refusal;
use tokio::time::Instant;

use crate::{
    attempt::{Broken, Cause, Failed, Unsendable},
    auth, destination, form, framing, inbound, limits, mount,
    openai::{self, envelope, ids},
    path, reload,
    reply::Reply,
};

mod answer;
#[cfg(test)]
mod tests;
pub(crate) mod unread;

use answer::Answer;
pub(crate) use answer::Shape;

/// When to come back where recovery is near but nobody knows how near.
const SOON: Duration = Duration::from_secs(1);
/// How long a rate limit is taken to last where the upstream does not say.
const COOLING: Duration = Duration::from_secs(10);

/// Why a request is not answered by an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The message around the request is not acceptable.
    #[error(transparent)]
    Framing(#[from] framing::Error),
    /// The path has no trustworthy normal form.
    #[error(transparent)]
    Path(#[from] path::Error),
    /// Nothing is at this path.
    #[error("nothing is at this path")]
    Nowhere,
    /// Something is there, but not for this method.
    #[error("only {allow} can be used here")]
    Method {
        /// What can be used, as `Allow` lists it.
        allow: &'static str,
    },
    /// Only a WebSocket can be opened here, and none was asked for.
    #[error("the request is no WebSocket handshake over HTTP/1.1")]
    NoHandshake,
    /// The caller's key is not accepted.
    #[error(transparent)]
    Caller(#[from] auth::Refused),
    /// The caller's key is at its limits.
    #[error(transparent)]
    Limit(#[from] limits::Denied),
    /// The body is not JSON by its headers.
    #[error(transparent)]
    Media(#[from] openai::Media),
    /// The body was not taken.
    #[error(transparent)]
    Inbound(#[from] inbound::Error),
    /// The body is no request.
    #[error(transparent)]
    Envelope(#[from] envelope::Error),
    /// The body is no form.
    #[error(transparent)]
    Form(#[from] form::Error),
    /// It cannot be said who keeps what is asked for.
    #[error(transparent)]
    Ids(#[from] ids::Error),
    /// There is nowhere to send it.
    #[error(transparent)]
    Plan(#[from] Refusal),
    /// Every attempt failed.
    #[error(transparent)]
    Attempt(#[from] Failed),
    /// A universal route is not to call what it is asked for.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// A route's target did not answer.
    #[error(transparent)]
    Mount(#[from] mount::Error),
    /// The configuration was not read again.
    #[error(transparent)]
    Reload(#[from] reload::Error),
    /// No configuration is held yet.
    #[error("no configuration is held yet")]
    NotReady,
    /// The process is on its way out.
    #[error("draining")]
    Draining,
    /// As many requests are under way as may be.
    #[error("too many requests are under way")]
    Full,
    /// A defect in the gateway, caught at the door.
    #[error("a defect in the gateway")]
    Panicked,
}

impl Error {
    /// The table.
    fn answer(&self) -> Answer {
        match self {
            Self::Framing(error) => of_framing(error),
            Self::Path(error) => bad_request("invalid_url", format!("This URL is refused: {error}.")),
            Self::Nowhere => {
                let message = "There is nothing at this URL. `/` lists what there is; the API is below `/v1`.";
                Answer::invalid(StatusCode::NOT_FOUND, "unknown_url", message)
            }
            Self::Method { allow } => {
                let message = format!("This method cannot be used here; {allow} can.");
                Answer::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).with(ALLOW, allow)
            }
            Self::NoHandshake => {
                let message = "Only a WebSocket can be opened here: ask for it over HTTP/1.1, with `Connection: Upgrade` and \
                               `Upgrade: websocket`.";
                Answer::invalid(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).with(UPGRADE, "websocket")
            }
            Self::Caller(refused) => of_caller(*refused),
            Self::Limit(denied) => of_limit(*denied),
            Self::Media(media) => of_media(media),
            Self::Inbound(error) => of_inbound(error),
            Self::Envelope(error) => of_envelope(error),
            Self::Form(error) => of_form(error),
            Self::Ids(error) => of_ids(*error),
            Self::Plan(Refusal::ModelNotFound) => {
                let message =
                    "The model does not exist, or this key may not use it. `GET /v1/models` lists those that it may.";
                Answer::invalid(StatusCode::NOT_FOUND, "model_not_found", message).param("model")
            }
            Self::Attempt(failed) => of_attempt(failed),
            Self::Destination(error) => of_destination(error),
            Self::Mount(error) => of_mount(error),
            Self::Reload(error) => of_reload(error),
            Self::NotReady => {
                unavailable("gateway_not_ready", "The gateway has no configuration yet. Try again once it has.")
            }
            Self::Draining => {
                unavailable("gateway_not_ready", "This gateway is about to stop. Try again: another one may answer.")
            }
            Self::Full => unavailable("overloaded", "Too many requests are under way here. Try again in a moment."),
            Self::Panicked => {
                let message =
                    "The gateway failed on this request. Its log says more, under this answer's `x-request-id`.";
                Answer::server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
            }
        }
    }

    /// Whether there is nobody to tell.
    pub(crate) fn is_departure(&self) -> bool {
        let form = match self {
            Self::Inbound(error) => return matches!(error, inbound::Error::Departed),
            Self::Form(form) | Self::Attempt(Failed { cause: Cause::Upload(form), .. }) => form,
            _ => return false,
        };
        matches!(form, form::Error::Inbound(inbound::Error::Departed))
    }

    /// The answer that a client gets.
    pub(crate) fn reply(&self, shape: Shape) -> Reply {
        self.answer().into_reply(shape)
    }
}

fn of_framing(error: &framing::Error) -> Answer {
    match error {
        framing::Error::Host | framing::Error::Form | framing::Error::Length => {
            bad_request("malformed_request", format!("This request is refused: {error}.")).closing()
        }
        framing::Error::TargetTooLong { .. } => {
            Answer::invalid(StatusCode::URI_TOO_LONG, "url_too_long", sentence(error)).closing()
        }
        framing::Error::TooManyHeaders { .. } => {
            Answer::invalid(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", sentence(error)).closing()
        }
    }
}

fn of_caller(refused: auth::Refused) -> Answer {
    match refused {
        auth::Refused::Missing => {
            let message = "No API key was presented. Send it as `Authorization: Bearer KEY`, `x-api-key: KEY`, `api-key: KEY` \
                           or `?api_key=KEY`.";
            unauthorized("missing_api_key", message)
        }
        auth::Refused::Invalid => {
            let message = "The API key is not accepted. Ask whoever runs this gateway for one that is.";
            unauthorized("invalid_api_key", message)
        }
        auth::Refused::Ambiguous => {
            bad_request("ambiguous_api_key", "More than one API key was presented. Send one, in one place.")
        }
    }
}

/// The same key will not do a moment later either.
fn unauthorized(code: &'static str, message: &'static str) -> Answer {
    Answer::invalid(StatusCode::UNAUTHORIZED, code, message).with(WWW_AUTHENTICATE, "Bearer").never()
}

fn of_limit(denied: limits::Denied) -> Answer {
    let (kind, wait) = match denied {
        limits::Denied::Requests { wait, .. } => ("requests", wait),
        limits::Denied::Tokens { wait, .. } => ("tokens", wait),
        limits::Denied::InFlight { .. } => ("requests", SOON),
    };
    let message = format!("Rate limit reached: {denied}.");
    Answer::server(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message).kind(kind).after(wait)
}

fn of_media(media: &openai::Media) -> Answer {
    let (message, accept) = match media {
        openai::Media::NoJson => {
            ("The request body must be JSON, sent with `Content-Type: application/json`.", "application/json")
        }
        openai::Media::NoForm => {
            ("The request body must be a form, sent with `Content-Type: multipart/form-data`.", "multipart/form-data")
        }
        openai::Media::Encoding => {
            let message = "The request body must not be compressed: send it without `Content-Encoding`.";
            (message, "application/json, multipart/form-data")
        }
    };
    Answer::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message).with(ACCEPT, accept)
}

fn of_inbound(error: &inbound::Error) -> Answer {
    let (status, code) = match error {
        inbound::Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
        inbound::Error::TooSlow => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
        inbound::Error::Departed | inbound::Error::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed_request"),
    };
    Answer::invalid(status, code, sentence(error)).closing()
}

fn of_envelope(error: &envelope::Error) -> Answer {
    let told = sentence(error);
    match error {
        envelope::Error::Encoding(_) | envelope::Error::NotAnObject => bad_request("invalid_json", told),
        envelope::Error::Json(cause) => bad_request("invalid_json", format!("{told} {}.", capital(cause))),
        envelope::Error::Missing(field) => bad_request("missing_parameter", told).param(field.as_str()),
        envelope::Error::Repeated(field) => bad_request("repeated_parameter", told).param(field.as_str()),
        envelope::Error::Type(field) => bad_request("invalid_type", told).param(field.as_str()),
        envelope::Error::ModelLength => bad_request("invalid_value", told).param("model"),
    }
}

fn of_form(error: &form::Error) -> Answer {
    match error {
        form::Error::Boundary | form::Error::Malformed { .. } => {
            bad_request("malformed_form", sentence(error)).closing()
        }
        form::Error::Late { .. } => bad_request("missing_parameter", sentence(error)).param("model").closing(),
        form::Error::Field(error) => of_envelope(error).closing(),
        form::Error::Inbound(error) => of_inbound(error),
    }
}

fn of_ids(error: ids::Error) -> Answer {
    match error {
        ids::Error::Mixed => bad_request("mixed_providers", "The ids in this request belong to different providers."),
        ids::Error::Unknown => {
            let message = "What is asked for does not exist, or this key may not use the provider that keeps it.";
            Answer::invalid(StatusCode::NOT_FOUND, "not_found", message)
        }
        ids::Error::Unnamed => {
            let message = "Several providers could be meant. Name one with the header `x-signalbox-provider`, or use an id \
                           as it was handed out here.";
            bad_request("provider_required", message)
        }
    }
}

fn of_attempt(failed: &Failed) -> Answer {
    let wait = failed.recovery.map(|at| at.saturating_duration_since(Instant::now()));
    let spent = |answer: Answer| wait.map_or(answer.clone(), |wait| answer.after(wait));
    match &failed.cause {
        Cause::Upload(error) => of_form(error),
        Cause::CredentialsExhausted { .. } => {
            let message =
                "The provider accepts none of the gateway's credentials. Whoever runs the gateway has to renew them.";
            bad_gateway("upstream_credentials_exhausted", message)
        }
        Cause::RateLimited => {
            let message = "The provider limits the rate of requests.";
            let answer = Answer::server(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
            answer.kind("requests").after(wait.unwrap_or(COOLING))
        }
        Cause::Busy => {
            let message = "The provider has as many requests under way as it may. Try again in a moment.";
            spent(unavailable("no_available_target", message))
        }
        Cause::Ejected => {
            let message = "The provider failed again and again, and is left alone for a while. Try again later.";
            spent(unavailable("no_available_target", message))
        }
        Cause::TimedOut(clock) => {
            spent(timed_out(format!("The provider took too long: the {clock} time-out ran out.")))
        }
        Cause::Status(status) => {
            spent(upstream_error(format!("The provider answered with status {}.", status.as_u16())))
        }
        Cause::Unreachable(_) => spent(upstream_error("The provider was not reached.")),
        Cause::ErrorInside => spent(upstream_error("The provider answered with an error inside a success.")),
        Cause::BrokenOff(_) => spent(upstream_error("The provider broke off its answer.")),
        Cause::TooLarge { limit } => event_too_large(*limit),
        Cause::OverLimit { limit } => too_large(format!("The provider's answer is larger than {limit} bytes.")),
        Cause::Unreadable => {
            upstream_error("The provider's answer is not of the shape that the gateway is configured to read.")
        }
        Cause::Unsendable(Unsendable::Unsayable(error)) => {
            bad_request("unsupported_content", sentence(error)).param("messages")
        }
        Cause::Unsendable(Unsendable::NoClient | Unsendable::Header(_) | Unsendable::Url(_)) => {
            upstream_error("The request cannot be sent to the provider as it is configured.")
        }
    }
}

fn of_destination(error: &destination::Error) -> Answer {
    match error {
        destination::Error::NotAnAddress => bad_request(
            "invalid_url",
            "This route is called with a whole address behind its name: `/ROUTE/https://HOST/PATH`.",
        ),
        destination::Error::UserInfo | destination::Error::Host => {
            bad_request("invalid_url", format!("This URL is refused: {error}."))
        }
        // On purpose not why: whether a name exists in the gateway's network is nobody's business.
        destination::Error::NotAllowed { .. } => {
            let message = "This route may not call that address. Whoever runs the gateway can allow its range.";
            Answer::invalid(StatusCode::FORBIDDEN, "destination_not_allowed", message)
        }
    }
}

fn of_mount(error: &mount::Error) -> Answer {
    match error {
        mount::Error::Unsendable(_) | mount::Error::Unusable => {
            upstream_error("The request cannot be sent to the route's target as it is configured.")
        }
        mount::Error::Unreachable(_) => upstream_error("The route's target was not reached, or broke off its answer."),
        mount::Error::Upgrade => upstream_error("The route's target changed the protocol without being asked."),
        mount::Error::TimedOut { .. } => timed_out("The route's target took too long to answer."),
    }
}

fn of_reload(error: &reload::Error) -> Answer {
    match error {
        reload::Error::TooSoon { after } => {
            let message = "The configuration was asked for a moment ago. Ask again later.";
            let answer = Answer::invalid(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
            answer.kind("requests").after(*after)
        }
        reload::Error::NotConnected => {
            unavailable("control_plane_unavailable", "The control plane is not connected: what is in force stays.")
        }
        reload::Error::Unanswered => unavailable(
            "control_plane_unavailable",
            "The control plane has not answered in time: what is in force stays.",
        ),
        reload::Error::Refused { reason } => {
            let message = format!("The configuration's file is refused, and what is in force stays: {reason}");
            bad_request("invalid_configuration", message)
        }
    }
}

fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Answer {
    Answer::invalid(StatusCode::BAD_REQUEST, code, message)
}

/// Not now, but soon.
fn unavailable(code: &'static str, message: &'static str) -> Answer {
    Answer::server(StatusCode::SERVICE_UNAVAILABLE, code, message).after(SOON)
}

/// What an upstream did, after all the attempts that it was worth.
fn bad_gateway(code: &'static str, message: impl Into<Cow<'static, str>>) -> Answer {
    Answer::server(StatusCode::BAD_GATEWAY, code, message).never()
}

fn upstream_error(message: impl Into<Cow<'static, str>>) -> Answer {
    bad_gateway("upstream_error", message)
}

fn event_too_large(limit: usize) -> Answer {
    too_large(format!("The provider's answer holds an event of more than {limit} bytes."))
}

fn too_large(message: impl Into<Cow<'static, str>>) -> Answer {
    bad_gateway("upstream_response_too_large", message)
}

fn timed_out(message: impl Into<Cow<'static, str>>) -> Answer {
    Answer::server(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message).never()
}

/// The last event of a committed stream that broke: an error in place of `[DONE]`.
pub(crate) fn stream_event(shape: Shape, broken: &Broken) -> Bytes {
    let answer = match broken {
        Broken::Transport(_) | Broken::Incomplete | Broken::Reported => {
            upstream_error("The provider broke off its answer.")
        }
        Broken::Idle | Broken::TotalTime => timed_out("The provider fell silent in the middle of its answer."),
        Broken::TooLarge { limit } => event_too_large(*limit),
        Broken::OverLimit => too_large("The provider's answer is larger than it may be."),
    };
    answer.event(shape)
}

/// An error in words for a client: it begins with a capital and ends in a full stop.
fn sentence(error: &impl Display) -> String {
    format!("{}.", capital(error))
}

fn capital(error: &impl Display) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
