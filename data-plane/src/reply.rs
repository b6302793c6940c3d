//! From what was won to what the client gets. From here on nothing can retry.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header::CACHE_CONTROL, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

use crate::{
    attempt::{Answer, Broken, Won},
    headers, mount,
    usage::Usage,
};

/// Tells proxies of the nginx family not to hold a stream back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An answer on its way to the client.
pub(crate) type Reply = Response<Content>;

/// What an answer holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// Something of our own, whole.
    Whole(Bytes),
    /// Nothing, where the head describes what a body would have been.
    Withheld,
    /// A provider's answer.
    Answer(Answer),
    /// A route target's answer.
    Mounted(mount::Answer),
}

/// Why an answer ends before its end: what the client sees is a connection that breaks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// The provider's answer did.
    #[error(transparent)]
    Answer(#[from] Broken),
    /// The route target's answer did.
    #[error(transparent)]
    Mounted(#[from] mount::Broken),
}

impl Content {
    /// Something of our own.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(bytes.into())
    }

    /// What went wrong with an answer that nonetheless came to its end.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        match self {
            Self::Answer(answer) => answer.broken(),
            Self::Whole(_) | Self::Withheld | Self::Mounted(_) => None,
        }
    }

    /// What the answer has taken, as far as it has said so.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Answer(answer) => answer.usage(),
            Self::Whole(_) | Self::Withheld | Self::Mounted(_) => None,
        }
    }
}

/// A provider's answer as the client gets it.
pub(crate) fn of_won(won: Won) -> Reply {
    let Won { status, mut headers, body, upgrade: _ } = won;
    if headers::is_of_type(&headers, "text/event-stream") {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    let mut reply = Response::new(Content::Answer(body));
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

/// A page of our own in JSON.
pub(crate) fn json(page: &impl Serialize) -> Reply {
    #[expect(clippy::expect_used, reason = "our pages are structs with text keys, which always serialize")]
    let body = serde_json::to_vec(page).expect("pages serialize");
    typed("application/json", body)
}

/// A page of our own.
pub(crate) fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Content::whole(body));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

impl Body for Content {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match &mut *self {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Withheld => Poll::Ready(None),
            Self::Answer(answer) => Pin::new(answer).poll_frame(cx).map_err(Interrupted::Answer),
            Self::Mounted(body) => Pin::new(body).poll_frame(cx).map_err(Interrupted::Mounted),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Withheld => true,
            Self::Answer(answer) => answer.is_end_stream(),
            Self::Mounted(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Withheld => SizeHint::with_exact(0),
            Self::Answer(answer) => answer.size_hint(),
            Self::Mounted(body) => body.size_hint(),
        }
    }
}
