//! The data plane's one table from errors to what a client is told: status, OpenAI's type and code, and whether to try again.
//! The errors themselves, with their causes, go to the log and never to the client.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use http::{
    StatusCode,
    header::{ACCEPT, ALLOW, WWW_AUTHENTICATE},
};
use signalbox_routing::Refusal;

use crate::{
    attempt::{Broken, Cause, Failed},
    auth, framing, inbound, mount,
    openai::{self, envelope},
    path,
    reply::Reply,
};

mod answer;
#[cfg(test)]
mod tests;

use answer::Answer;

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
    /// The caller's key is not accepted.
    #[error(transparent)]
    Caller(#[from] auth::Refused),
    /// The body is not JSON by its headers.
    #[error(transparent)]
    Media(#[from] openai::Media),
    /// The body was not taken.
    #[error(transparent)]
    Inbound(#[from] inbound::Error),
    /// The body is no request.
    #[error(transparent)]
    Envelope(#[from] envelope::Error),
    /// There is nowhere to send it.
    #[error(transparent)]
    Plan(#[from] Refusal),
    /// Every attempt failed.
    #[error(transparent)]
    Attempt(#[from] Failed),
    /// A route's target did not answer.
    #[error(transparent)]
    Mount(#[from] mount::Error),
    /// No configuration is held yet.
    #[error("no configuration is held yet")]
    NotReady,
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
            Self::Path(error) => {
                Answer::invalid(StatusCode::BAD_REQUEST, "invalid_url", format!("This URL is refused: {error}."))
            }
            Self::Nowhere => Answer::invalid(StatusCode::NOT_FOUND, "unknown_url", "There is nothing at this URL."),
            Self::Method { allow } => {
                let message = format!("This method cannot be used here; {allow} can.");
                Answer::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).with(ALLOW, allow)
            }
            Self::Caller(refused) => of_caller(*refused),
            Self::Media(media) => of_media(media),
            Self::Inbound(error) => of_inbound(error),
            Self::Envelope(error) => of_envelope(error),
            Self::Plan(Refusal::ModelNotFound) => {
                let message = "The model does not exist, or this key may not use it.";
                Answer::invalid(StatusCode::NOT_FOUND, "model_not_found", message).param("model")
            }
            Self::Attempt(failed) => of_attempt(&failed.cause),
            Self::Mount(error) => of_mount(error),
            Self::NotReady => Answer::server(
                StatusCode::SERVICE_UNAVAILABLE,
                "gateway_not_ready",
                "The gateway has no configuration yet.",
            )
            .after(SOON),
            Self::Full => {
                Answer::server(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests are under way here.")
                    .after(SOON)
            }
            Self::Panicked => Answer::server(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "The gateway failed on this request.",
            ),
        }
    }

    /// The answer that a client gets.
    pub(crate) fn reply(&self) -> Reply {
        self.answer().into_reply()
    }
}

fn of_framing(error: &framing::Error) -> Answer {
    match error {
        framing::Error::Host | framing::Error::Form | framing::Error::Length => {
            Answer::invalid(StatusCode::BAD_REQUEST, "malformed_request", format!("This request is refused: {error}."))
                .closing()
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
            Answer::invalid(StatusCode::UNAUTHORIZED, "missing_api_key", message).with(WWW_AUTHENTICATE, "Bearer")
        }
        auth::Refused::Invalid => {
            Answer::invalid(StatusCode::UNAUTHORIZED, "invalid_api_key", "The API key is not valid.")
                .with(WWW_AUTHENTICATE, "Bearer")
        }
        auth::Refused::Ambiguous => Answer::invalid(
            StatusCode::BAD_REQUEST,
            "ambiguous_api_key",
            "More than one API key was presented. Send one, in one place.",
        ),
    }
}

fn of_media(media: &openai::Media) -> Answer {
    let message = match media {
        openai::Media::Type => "The request body must be JSON, sent with `Content-Type: application/json`.",
        openai::Media::Encoding => "The request body must not be compressed: send it without `Content-Encoding`.",
    };
    Answer::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
        .with(ACCEPT, "application/json")
}

fn of_inbound(error: &inbound::Error) -> Answer {
    match error {
        inbound::Error::TooLarge { .. } => {
            Answer::invalid(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", sentence(error)).closing()
        }
        inbound::Error::TooSlow => {
            Answer::invalid(StatusCode::REQUEST_TIMEOUT, "request_timeout", sentence(error)).closing()
        }
        inbound::Error::Broken(_) => {
            Answer::invalid(StatusCode::BAD_REQUEST, "malformed_request", sentence(error)).closing()
        }
    }
}

fn of_envelope(error: &envelope::Error) -> Answer {
    match error {
        envelope::Error::Encoding(_) | envelope::Error::NotAnObject => {
            Answer::invalid(StatusCode::BAD_REQUEST, "invalid_json", sentence(error))
        }
        envelope::Error::Json(cause) => {
            Answer::invalid(StatusCode::BAD_REQUEST, "invalid_json", format!("{}: {cause}.", capital(error)))
        }
        envelope::Error::Missing(field) => {
            Answer::invalid(StatusCode::BAD_REQUEST, "missing_parameter", sentence(error)).param(field.as_str())
        }
        envelope::Error::Repeated(field) => {
            Answer::invalid(StatusCode::BAD_REQUEST, "repeated_parameter", sentence(error)).param(field.as_str())
        }
        envelope::Error::Type(field) => {
            Answer::invalid(StatusCode::BAD_REQUEST, "invalid_type", sentence(error)).param(field.as_str())
        }
        envelope::Error::ModelLength => {
            Answer::invalid(StatusCode::BAD_REQUEST, "invalid_value", sentence(error)).param("model")
        }
    }
}

fn of_attempt(cause: &Cause) -> Answer {
    match cause {
        Cause::CredentialsExhausted { .. } => Answer::server(
            StatusCode::BAD_GATEWAY,
            "upstream_credentials_exhausted",
            "The provider accepts none of the gateway's credentials.",
        )
        .never(),
        Cause::RateLimited { retry_after } => {
            let message = "The provider limits the rate of requests, with each of the gateway's credentials.";
            Answer::server(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
                .kind("requests")
                .after(retry_after.unwrap_or(COOLING))
        }
        Cause::Busy => Answer::server(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_available_target",
            "Each of the provider's credentials is busy.",
        )
        .after(SOON),
        Cause::Unreachable(_) => {
            Answer::server(StatusCode::BAD_GATEWAY, "upstream_error", "The provider was not reached.").never()
        }
        Cause::TimedOut(clock) => {
            let message = format!("The provider took too long: the {clock} time-out ran out.");
            Answer::server(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message).never()
        }
        Cause::Status(status) => {
            let message = format!("The provider answered with status {}.", status.as_u16());
            Answer::server(StatusCode::BAD_GATEWAY, "upstream_error", message).never()
        }
        Cause::ErrorInside => Answer::server(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            "The provider answered with an error inside a success.",
        )
        .never(),
        Cause::BrokenOff(_) => {
            Answer::server(StatusCode::BAD_GATEWAY, "upstream_error", "The provider broke off its answer.").never()
        }
        Cause::TooLarge { limit } => {
            let message = format!("The provider's answer is larger than the {limit} bytes that can be held.");
            Answer::server(StatusCode::BAD_GATEWAY, "upstream_response_too_large", message).never()
        }
        Cause::Unsendable(_) => Answer::server(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            "The request cannot be sent to the provider as it is configured.",
        )
        .never(),
    }
}

fn of_mount(error: &mount::Error) -> Answer {
    match error {
        mount::Error::Unsendable(_) | mount::Error::Unusable => Answer::server(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            "The request cannot be sent to the route's target as it is configured.",
        )
        .never(),
        mount::Error::Unreachable(_) => Answer::server(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            "The route's target was not reached, or broke off its answer.",
        )
        .never(),
        mount::Error::Upgrade => Answer::server(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            "The route's target changed the protocol without being asked.",
        )
        .never(),
        mount::Error::TimedOut { .. } => Answer::server(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "The route's target took too long to answer.",
        )
        .never(),
    }
}

/// The last event of a committed stream that broke: an error in place of `[DONE]`.
pub(crate) fn stream_event(broken: &Broken) -> Bytes {
    let answer = match broken {
        Broken::Transport(_) | Broken::Incomplete | Broken::Reported => {
            Answer::server(StatusCode::BAD_GATEWAY, "upstream_error", "The provider broke off its answer.")
        }
        Broken::Idle | Broken::TotalTime => Answer::server(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "The provider fell silent in the middle of its answer.",
        ),
        Broken::TooLarge { limit } => {
            let message = format!("The provider's answer holds an event of more than {limit} bytes.");
            Answer::server(StatusCode::BAD_GATEWAY, "upstream_response_too_large", message)
        }
    };
    Bytes::from([b"data: ", answer.json().as_slice(), b"\n\n"].concat())
}

/// What a client is told that sends its headers too slowly: the whole of an HTTP/1.1 message, as there is no request to answer.
pub(crate) fn header_timeout() -> Bytes {
    let body =
        Answer::invalid(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request's headers came too slowly.")
            .json();
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Bytes::from([head.as_bytes(), &body].concat())
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
