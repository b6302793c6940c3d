//! The data plane's one table from errors to what a client is told: status, OpenAI's type and code, and whether to try again.
//! It words nothing that a log needs; the log has the errors themselves.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

/// How an answer broke after it was committed, when only its body can still say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The upstream's connection failed or ended before the stream did.
    #[error("the upstream ended the stream before its end")]
    Truncated,
    /// The upstream sent nothing for longer than the provider's setting allows.
    #[error("the upstream sent nothing for {0:?}")]
    Silent(Duration),
    /// The upstream reported an error of its own, or sent what is no event stream.
    #[error("the upstream sent what is no event")]
    Garbled,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) param: Option<&'static str>,
    pub(crate) message: Cow<'static, str>,
    pub(crate) retry: Advice,
}

/// What a client is told about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Nothing: the status speaks for itself.
    None,
    /// That it is of no use.
    Never,
    /// That it is of use after this long.
    After(Duration),
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl Answer {
    /// OpenAI's error object: all four keys, always.
    pub(crate) fn json(&self) -> Vec<u8> {
        let Self { kind, code, param, message, .. } = self;
        let envelope = Envelope { error: Body { message, kind, param: *param, code: *code } };
        #[expect(clippy::expect_used, reason = "a struct of strings always serializes")]
        serde_json::to_vec(&envelope).expect("strings serialize")
    }
}

/// The last event of a stream that broke: an error in place of `[DONE]`.
pub(crate) fn stream_event(broken: Broken) -> Bytes {
    let answer = broken.answer();
    let mut event = Vec::with_capacity(256);
    event.extend_from_slice(b"data: ");
    event.extend_from_slice(&answer.json());
    event.extend_from_slice(b"\n\n");
    event.into()
}

impl Broken {
    fn answer(self) -> Answer {
        let (status, code) = match self {
            Self::Truncated | Self::Garbled => (StatusCode::BAD_GATEWAY, "upstream_error"),
            Self::Silent(_) => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
        };
        let message = self.to_string().into();
        Answer { status, kind: "server_error", code: Some(code), param: None, message, retry: Advice::None }
    }
}
