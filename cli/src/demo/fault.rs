//! Ways for an upstream to go wrong, selected by the model's name. It changes answers and knows nothing of what they say.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Events, event},
    script::{Script, Step},
};

/// The pause between two pieces of a slow answer.
const DRIP: Duration = Duration::from_millis(200);

/// One way to go wrong. What is said of streams holds for plain answers as far as it makes sense there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `fault-401`: the key is refused.
    Unauthorized,
    /// `fault-429`: too many requests, `Retry-After: 1`.
    TooManyRequests,
    /// `fault-500`: an internal error.
    InternalError,
    /// `fault-503`: overloaded.
    Unavailable,
    /// `fault-html-502`: the HTML page of some proxy on the way.
    HtmlBadGateway,
    /// `fault-hang`: the request is taken and nothing comes.
    Hang,
    /// `fault-headers-then-silence`: a 200, and then nothing.
    HeadersThenSilence,
    /// `fault-one-chunk-then-silence`: the first piece of content, and then nothing.
    OneChunkThenSilence,
    /// `fault-cut`: the connection breaks in the middle of an event.
    Cut,
    /// `fault-no-done`: complete but for `[DONE]`.
    NoDone,
    /// `fault-cut-before-finish`: a clean end with neither `finish_reason` nor `[DONE]`.
    CutBeforeFinish,
    /// `fault-error-first`: a 200 whose first event is an error.
    ErrorFirst,
    /// `fault-error-mid`: an error event after half of the content.
    ErrorMid,
    /// `fault-slow`: 200 ms between two events.
    Slow,
    /// `fault-crlf`: lines that end in CR LF.
    Crlf,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 15] = [
        Self::Unauthorized,
        Self::TooManyRequests,
        Self::InternalError,
        Self::Unavailable,
        Self::HtmlBadGateway,
        Self::Hang,
        Self::HeadersThenSilence,
        Self::OneChunkThenSilence,
        Self::Cut,
        Self::NoDone,
        Self::CutBeforeFinish,
        Self::ErrorFirst,
        Self::ErrorMid,
        Self::Slow,
        Self::Crlf,
    ];

    /// The model that goes wrong in this way.
    #[must_use]
    pub const fn model(self) -> &'static str {
        match self {
            Self::Unauthorized => "fault-401",
            Self::TooManyRequests => "fault-429",
            Self::InternalError => "fault-500",
            Self::Unavailable => "fault-503",
            Self::HtmlBadGateway => "fault-html-502",
            Self::Hang => "fault-hang",
            Self::HeadersThenSilence => "fault-headers-then-silence",
            Self::OneChunkThenSilence => "fault-one-chunk-then-silence",
            Self::Cut => "fault-cut",
            Self::NoDone => "fault-no-done",
            Self::CutBeforeFinish => "fault-cut-before-finish",
            Self::ErrorFirst => "fault-error-first",
            Self::ErrorMid => "fault-error-mid",
            Self::Slow => "fault-slow",
            Self::Crlf => "fault-crlf",
        }
    }

    /// What is played in place of a good answer.
    pub(super) fn spoil(self, answer: Answer) -> Script {
        match self {
            Self::Unauthorized => refused(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key"),
            Self::TooManyRequests => refused(StatusCode::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded")
                .with_header(RETRY_AFTER, HeaderValue::from_static("1")),
            Self::InternalError => refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error"),
            Self::Unavailable => refused(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded"),
            Self::HtmlBadGateway => Script::whole("text/html", BAD_GATEWAY).with_status(StatusCode::BAD_GATEWAY),
            Self::Hang => Script::silence(),
            _ => match answer {
                Answer::Whole(body) => self.spoil_whole(&body),
                Answer::Events(events) => Script::events(self.spoil_events(&events)),
            },
        }
    }

    fn spoil_whole(self, body: &Value) -> Script {
        let bytes = Bytes::from(body.to_string());
        let middle = bytes.len() / 2;
        let (first, second) = (Step::Send(bytes.slice(..middle)), Step::Send(bytes.slice(middle..)));
        let steps = match self {
            Self::HeadersThenSilence => vec![Step::Silence],
            Self::OneChunkThenSilence => vec![first, Step::Silence],
            Self::Cut => vec![first, Step::Cut],
            Self::CutBeforeFinish => vec![first],
            Self::Slow => vec![first, Step::Wait(DRIP), second],
            Self::ErrorFirst | Self::ErrorMid => return Script::json(&error("server_error", "internal_error")),
            _ => return Script::json(body),
        };
        Script::steps("application/json", steps)
    }

    fn spoil_events(self, events: &Events) -> Vec<Step> {
        let opening = events.opening.iter().cloned().map(Step::Send);
        let half = events.content.len() / 2;
        let content = events.content.iter().cloned().map(Step::Send);
        let failure = Step::Send(event(&error("server_error", "internal_error")));
        match self {
            Self::HeadersThenSilence => vec![Step::Silence],
            Self::OneChunkThenSilence => opening.chain(content.take(1)).chain([Step::Silence]).collect(),
            Self::Cut => {
                let next =
                    events.content.iter().chain(&events.finish).nth(half).map(|next| next.slice(..next.len() / 2));
                opening.chain(content.take(half)).chain(next.map(Step::Send)).chain([Step::Cut]).collect()
            }
            Self::CutBeforeFinish => opening.chain(content).collect(),
            Self::ErrorFirst => vec![failure],
            Self::ErrorMid => opening.chain(content.take(half)).chain([failure]).collect(),
            Self::NoDone => opening.chain(content).chain(events.finish.iter().cloned().map(Step::Send)).collect(),
            Self::Slow => events.all().flat_map(|bytes| [Step::Wait(DRIP), Step::Send(bytes.clone())]).collect(),
            Self::Crlf => events.all().map(|bytes| Step::Send(with_crlf(bytes))).collect(),
            _ => events.all().cloned().map(Step::Send).collect(),
        }
    }
}

const BAD_GATEWAY: &str =
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n";

fn refused(status: StatusCode, kind: &str, code: &str) -> Script {
    Script::json(&error(kind, code)).with_status(status)
}

fn error(kind: &str, code: &str) -> Value {
    json!({ "error": { "message": "The demo upstream fails on request.", "type": kind, "param": null, "code": code } })
}

/// JSON holds no bare line feed, so that every one here ends a line.
fn with_crlf(frame: &Bytes) -> Bytes {
    let mut lines = Vec::with_capacity(frame.len() + 4);
    for &byte in frame {
        if byte == b'\n' {
            lines.push(b'\r');
        }
        lines.push(byte);
    }
    lines.into()
}
