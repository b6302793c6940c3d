//! What a client is told, as an HTTP answer in the shape of the API that it speaks. It decides nothing.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use crate::{
    headers::{RETRY_AFTER_MS, X_SHOULD_RETRY},
    record::RequestId,
    reply::{Content, Reply},
};

/// The longest wait after which an SDK is asked to come back by itself: openai-node ignores longer ones and comes back at once.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where Anthropic's SDKs look for the name of an exchange.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<&'static str>,
    message: Cow<'static, str>,
    retry: Retry,
    header: Option<(HeaderName, &'static str)>,
}

/// What a client is told about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// Nothing: the status speaks for itself.
    Unsaid,
    /// That it is of no use.
    Never,
    /// That it is of use after this long.
    After(Duration),
}

/// In whose shape a client is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// OpenAI's error object: all four keys, always.
    OpenAi,
    /// Anthropic's (<https://docs.anthropic.com/en/api/errors>), with our name for the exchange where it is a whole answer.
    Anthropic(Option<RequestId>),
}

/// An error as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    OpenAi {
        error: Details<'a>,
    },
    Anthropic {
        r#type: &'a str,
        error: Typed<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
}

#[derive(Serialize)]
struct Details<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct Typed<'a> {
    r#type: &'a str,
    message: &'a str,
}

impl Answer {
    /// The client's fault, unless its `kind` is changed.
    pub(super) fn invalid(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code,
            param: None,
            message: message.into(),
            retry: Retry::Unsaid,
            header: None,
        }
    }

    /// The gateway's or the upstream's fault.
    pub(super) fn server(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid(status, code, message).kind("server_error")
    }

    /// Another of OpenAI's types.
    pub(super) fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// Names the parameter at fault.
    pub(super) fn param(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// Adds the header that goes with the status.
    pub(super) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Ends the connection, as what comes next on it cannot be trusted or is not wanted.
    pub(super) fn closing(self) -> Self {
        self.with(CONNECTION, "close")
    }

    /// Says that trying again is of no use.
    pub(super) fn never(self) -> Self {
        Self { retry: Retry::Never, ..self }
    }

    /// Says when trying again is of use.
    pub(super) fn after(self, wait: Duration) -> Self {
        Self { retry: Retry::After(wait), ..self }
    }

    /// The error object.
    pub(super) fn json(&self, shape: Shape) -> Vec<u8> {
        let message = &*self.message;
        let body = match shape {
            Shape::OpenAi => {
                Body::OpenAi { error: Details { message, r#type: self.kind, param: self.param, code: self.code } }
            }
            Shape::Anthropic(request_id) => Body::Anthropic {
                r#type: "error",
                error: Typed { r#type: anthropic_type(self.status), message },
                request_id: request_id.map(|id| id.to_string()),
            },
        };
        #[expect(clippy::expect_used, reason = "strings have nothing that JSON could not say")]
        serde_json::to_vec(&body).expect("strings serialize")
    }

    /// It as the last event of a stream.
    pub(super) fn event(&self, shape: Shape) -> Bytes {
        let field: &[u8] = match shape {
            Shape::OpenAi => b"data: ",
            Shape::Anthropic(_) => b"event: error\ndata: ",
        };
        Bytes::from([field, self.json(shape).as_slice(), b"\n\n"].concat())
    }

    /// The whole answer.
    pub(super) fn into_reply(self, shape: Shape) -> Reply {
        let mut reply = Response::new(Content::whole(self.json(shape)));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Shape::Anthropic(Some(request_id)) = shape {
            headers.insert(REQUEST_ID, request_id.header());
        }
        self.retry.write(headers);
        reply
    }
}

/// Anthropic's word for a status.
const fn anthropic_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        other if other.as_u16() >= 500 => "api_error",
        _ => "invalid_request_error",
    }
}

impl Retry {
    /// In both of the forms that the SDKs read, rounded up.
    fn write(self, headers: &mut HeaderMap) {
        let never = match self {
            Self::Unsaid => false,
            Self::Never => true,
            Self::After(wait) => {
                let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
                headers.insert(RETRY_AFTER_MS, millis.into());
                wait > LONGEST_WAIT
            }
        };
        if never {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
    }
}
