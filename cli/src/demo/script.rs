//! An answer as a list of steps, so that a fault is a script like any other. It plays them as an HTTP response and knows nothing of
//! what they say.

use std::time::Duration;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::Value;
use tokio::{task::yield_now, time::sleep};
use tokio_util::sync::CancellationToken;

use super::seen::Mark;

/// One step of an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes are sent.
    Send(Bytes),
    /// Nothing happens for a while.
    Wait(Duration),
    /// Nothing happens ever after.
    Silence,
    /// The connection breaks.
    Cut,
}

/// Breaks off an HTTP body: the server closes the connection (HTTP/1) or resets the stream (HTTP/2).
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut off as its script says")]
struct CutOff;

#[derive(Debug)]
pub(super) struct Script {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    silent: bool,
    steps: Vec<Step>,
}

impl Script {
    /// A 200 with a whole body.
    pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::steps(content_type, vec![Step::Send(body.clone())])
            .with_header(CONTENT_LENGTH, HeaderValue::from(body.len()))
    }

    /// A 200 with a JSON body.
    pub(super) fn json(body: &Value) -> Self {
        Self::whole("application/json", body.to_string())
    }

    /// A 200 with an event stream.
    pub(super) fn events(steps: Vec<Step>) -> Self {
        Self::steps("text/event-stream; charset=utf-8", steps)
            .with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }

    /// A 200 with a body of unknown length.
    pub(super) fn steps(content_type: &'static str, steps: Vec<Step>) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status: StatusCode::OK, headers, silent: false, steps }
    }

    /// No answer at all.
    pub(super) fn silence() -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, headers: Vec::new(), silent: true, steps: Vec::new() }
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Answers. Once `stop` is cancelled, pauses take no time and silences end by a cut.
    pub(super) async fn play(self, mark: Mark, stop: CancellationToken) -> Response {
        if self.silent {
            stop.cancelled().await;
        }
        let id = HeaderValue::from_str(&format!("req-demo-{}", mark.number()));
        let performance = Performance { steps: self.steps.into_iter(), mark, stop };
        let mut response = Response::new(Body::from_stream(stream::unfold(performance, Performance::next)));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        if let Ok(id) = id {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }
}

/// A script under way.
struct Performance {
    steps: std::vec::IntoIter<Step>,
    mark: Mark,
    stop: CancellationToken,
}

impl Performance {
    async fn next(mut self) -> Option<(Result<Bytes, CutOff>, Self)> {
        loop {
            let step = self.steps.next();
            if self.steps.len() == 0 && step != Some(Step::Silence) {
                // Now and not at the end of the stream: a server that knows the length does not come back for it.
                self.mark.finish();
            }
            match step? {
                Step::Send(bytes) => return Some((Ok(bytes), self)),
                Step::Wait(pause) => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
                Step::Silence => {
                    self.stop.cancelled().await;
                    return Some((Err(CutOff), self));
                }
                Step::Cut => {
                    // The server writes out what it holds only when the body pauses.
                    yield_now().await;
                    return Some((Err(CutOff), self));
                }
            }
        }
    }
}
