//! What a client is told, as an HTTP answer in OpenAI's shape. It decides nothing.

use std::{borrow::Cow, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use crate::{
    headers::{RETRY_AFTER_MS, X_SHOULD_RETRY},
    reply::{Content, Reply},
};

/// The longest wait after which an SDK is asked to come back by itself: openai-node ignores longer ones and comes back at once.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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

/// OpenAI's error object: all four keys, always.
#[derive(Serialize)]
struct Body<'a> {
    error: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
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
    pub(super) fn json(&self) -> Vec<u8> {
        let details = Details { message: &self.message, r#type: self.kind, param: self.param, code: self.code };
        #[expect(clippy::expect_used, reason = "strings have nothing that JSON could not say")]
        serde_json::to_vec(&Body { error: details }).expect("strings serialize")
    }

    /// The whole answer.
    pub(super) fn into_reply(self) -> Reply {
        let mut reply = Response::new(Content::whole(self.json()));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        self.retry.write(headers);
        reply
    }
}

impl Retry {
    /// In both of the forms that the SDKs read, whole seconds rounded up.
    fn write(self, headers: &mut HeaderMap) {
        let never = match self {
            Self::Unsaid => false,
            Self::Never => true,
            Self::After(wait) => {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
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
