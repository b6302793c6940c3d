//! From an upstream's answer to a committed one. A stream is committed at its first meaningful event; a plain answer is looked into
//! only where its model has to be named otherwise or it may be an error in disguise.

use std::{collections::VecDeque, future::poll_fn};

use bytes::Bytes;
use http::{
    HeaderMap, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    response::Parts,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use reqwest::Body;
use serde::{Deserialize, de::IgnoredAny};
use signalbox_routing::{AnswerModel, Timeouts};
use tokio::time::{Instant, timeout_at};

use super::{
    Answer, Won,
    answer::{Content, Events, Plain},
    failed::{Cause, Clock, Deadline, Loss, Next},
    once::Once,
    redact,
    source::{Interrupted, Source},
};
use crate::{
    splice, sse,
    upstream::{self, Event, Kind, Transport},
};

/// Most events, and most bytes of them, that are held back before the first meaningful one.
const MAX_HELD_EVENTS: usize = 64;
const MAX_HELD_EVENT_BYTES: usize = 256 * 1024;
/// Largest plain answer that is looked into, and largest refusal that is searched for the key it may repeat: some upstreams repeat
/// the whole request. A larger one is not passed on.
const MAX_HELD_ANSWER: usize = 10 * 1024 * 1024;

impl Once<'_> {
    /// Commits to a success.
    pub(super) async fn commit(self, response: Response<Body>) -> Result<Won, Loss> {
        self.accepted();
        let (parts, body) = response.into_parts();
        let wanted = self.wanted_model();
        let content = match Form::of(&parts.headers) {
            Form::Events if self.call.stream => Content::Events(Box::new(self.events(body, wanted).await?)),
            Form::Json if self.call.stream || wanted.is_some() => Content::Whole(Some(self.json(body, wanted).await?)),
            Form::Events | Form::Json | Form::Other | Form::Encoded => Content::Plain(self.plain(body)),
        };
        Ok(self.won(parts, content))
    }

    /// Commits to a refusal of the request: the client gets it as it is, but for the key that it may repeat. What is compressed
    /// cannot be searched for that, and was not asked for.
    pub(super) async fn pass(self, response: Response<Body>) -> Result<Won, Loss> {
        self.accepted();
        let (parts, body) = response.into_parts();
        let content = match (&self.lease, Form::of(&parts.headers)) {
            (None, _) | (_, Form::Encoded) => Content::Plain(self.plain(body)),
            (Some(lease), _) => {
                let body = hold(body, MAX_HELD_ANSWER, self.reading_deadline()).await?;
                Content::Whole(Some(redact::body(body, lease.expose_secret())))
            }
        };
        Ok(self.won(parts, content))
    }

    fn accepted(&self) {
        if let Some(lease) = &self.lease {
            lease.accepted();
        }
    }

    async fn events(&self, body: Body, wanted: Option<Bytes>) -> Result<Events, Loss> {
        let mut source = Source::new(body);
        let held = in_time(self.reading_deadline(), self.first_events(&mut source)).await?;
        Ok(Events::new(source, held, self.call.endpoint, wanted, self.target.provider.timeouts.stream_idle))
    }

    /// Everything up to the first meaningful event, which an error is not.
    async fn first_events(&self, source: &mut Source) -> Result<VecDeque<sse::Event>, Loss> {
        let (mut held, mut bytes) = (VecDeque::new(), 0);
        loop {
            let event = poll_fn(|cx| source.poll_event(cx)).await?.ok_or(Interrupted::Early)?;
            let kind = Event::read(self.call.endpoint, &event).kind;
            if kind == Kind::Error {
                return Err(Cause::ErrorInside.then(Next::OtherTargetOrAgain));
            }
            bytes += event.len();
            held.push_back(event);
            if kind != Kind::Silent || held.len() >= MAX_HELD_EVENTS || bytes >= MAX_HELD_EVENT_BYTES {
                return Ok(held);
            }
        }
    }

    /// A JSON answer, looked into: what was to be a stream may be an error instead, and the model may have to be named otherwise.
    async fn json(&self, body: Body, wanted: Option<Bytes>) -> Result<Bytes, Loss> {
        let json = hold(body, MAX_HELD_ANSWER, self.reading_deadline()).await?;
        if self.call.stream && is_error(&json) {
            return Err(Cause::ErrorInside.then(Next::OtherTargetOrAgain));
        }
        let renamed =
            wanted.zip(splice::find_model(&json)).map(|(wanted, span)| splice::replaced(&json, span, &wanted));
        Ok(renamed.unwrap_or(json))
    }

    fn plain(&self, body: Body) -> Plain {
        Plain::new(body, self.started + self.target.provider.timeouts.total)
    }

    /// The model as the answer is to name it; `None` = as the upstream does.
    fn wanted_model(&self) -> Option<Bytes> {
        (self.answer_model == AnswerModel::Requested).then(|| splice::json_string(&self.call.requested_model))
    }

    /// When what has to be read before the commit must be there.
    fn reading_deadline(&self) -> Deadline {
        let Timeouts { first_event, total, .. } = self.target.provider.timeouts;
        let deadline = if self.call.stream {
            Deadline::after(Instant::now(), first_event, Clock::FirstEvent)
        } else {
            Deadline::after(self.started, total, Clock::Total)
        };
        deadline.within(self.bound)
    }

    fn won(self, parts: Parts, content: Content) -> Won {
        let Parts { status, mut headers, .. } = parts;
        upstream::clean_answer(&mut headers);
        if let Some(lease) = &self.lease {
            redact::headers(&mut headers, lease.expose_secret());
        }
        Won { status, headers, body: Answer::new(content, self.lease) }
    }
}

/// What an answer is, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Events,
    Json,
    Other,
    /// Compressed, which nobody asked for: it goes on as it is.
    Encoded,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Self::Encoded;
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("text/event-stream") {
            Self::Events
        } else if essence.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else {
            Self::Other
        }
    }
}

/// Whether a JSON text is an error object.
fn is_error(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Outcome {
        #[serde(default)]
        error: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Outcome>(json).is_ok_and(|outcome| outcome.error.is_some())
}

/// Reads a body as a whole.
async fn hold(body: Body, limit: usize, deadline: Deadline) -> Result<Bytes, Loss> {
    let whole = async {
        match Limited::new(body, limit).collect().await {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Cause::TooLarge { limit }.then(Next::Nothing)),
            Err(error) => {
                let source = error.downcast::<reqwest::Error>().ok().map(|error| Transport::from(*error));
                Err(Cause::BrokenOff(source).then(Next::OtherTargetOrAgain))
            }
        }
    };
    in_time(deadline, whole).await
}

async fn in_time<T>(deadline: Deadline, work: impl Future<Output = Result<T, Loss>>) -> Result<T, Loss> {
    timeout_at(deadline.at, work).await.unwrap_or_else(|_| Err(deadline.clock.into()))
}
