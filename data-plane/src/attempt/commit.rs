//! From an upstream's answer to a committed one. A stream is committed at its first meaningful event; a plain answer is looked into
//! only where a stream was asked for, as it may be an error in disguise.

use std::{collections::VecDeque, future::poll_fn};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, response::Parts};
use http_body_util::BodyExt as _;
use serde::{Deserialize, de::IgnoredAny};
use signalbox_routing::{AnswerModel, Dialect, Endpoint};
use tokio::time::{Instant, timeout_at};

use super::{
    Answer, Won,
    answer::{Content, Events, Plain, Terms},
    failed::{Cause, Clock, Deadline, Loss, Next},
    once::Once,
    source::{Interrupted, Source},
};
use crate::{
    headers,
    openai::ids,
    redact::Mask,
    splice::{self, Changes, Rewriter},
    sse,
    upstream::{self, Body, Event, Kind, Refusal, refusal},
};

/// Most events that are held back before the first meaningful one.
const MAX_HELD_EVENTS: usize = 64;
/// Most bytes that are held back of what is to be a stream, whether they are events or not.
const MAX_HELD_BYTES: usize = 256 * 1024;

impl Once<'_> {
    /// Commits to a success.
    pub(super) async fn commit(&mut self, response: Response<Body>) -> Result<Won, Loss> {
        let response = match &self.target.provider.conversation {
            // In a box of its own, as are other ways that few requests go: none takes room in the way that most go.
            Some(conversation) => Box::pin(self.retold(conversation, response)).await?,
            None => response,
        };
        let (parts, body) = response.into_parts();
        let changes = self.changes();
        let content: Content = match Form::of(&parts.headers) {
            Form::Events if self.call.stream => self.events(body, changes).await?.into(),
            Form::Json if self.call.stream => self.no_stream(body, changes).await?.into(),
            Form::Json => self.plain(Some(body), Some(changes)).into(),
            Form::Events | Form::Other => self.plain(Some(body), None).into(),
            Form::Encoded => self.untouched(body).into(),
        };
        Ok(self.won(parts, content))
    }

    /// Commits to a refusal of the request: the client gets it as it is, but for the key that it may repeat.
    pub(super) async fn pass(&mut self, response: Response<Body>) -> Result<Won, Loss> {
        let (mut parts, body) = response.into_parts();
        if Refusal::is_read(&self.target.provider) && !headers::is_encoded(&parts.headers) {
            let content = self.reread(&mut parts, body).await?;
            return Ok(self.won(parts, content.into()));
        }
        let content = match Form::of(&parts.headers) {
            Form::Events | Form::Json | Form::Other => self.plain(Some(body), None),
            Form::Encoded => self.untouched(body),
        };
        Ok(self.won(parts, content.into()))
    }

    /// A refusal in words that the client can read, unless it is of the key.
    async fn reread(&self, parts: &mut Parts, body: Body) -> Result<Plain, Loss> {
        let (beginning, rest) = in_time(self.reading_deadline(), begin(body, refusal::MAX_BYTES)).await?;
        let (told, rest) = match rest {
            None => match Refusal::read(&self.target.provider, &mut parts.headers, beginning.clone()) {
                Refusal::Request(told) => (told, None),
                Refusal::Key if self.lease.is_none() && self.asks_with_the_callers_key() => (beginning, None),
                Refusal::Key => return Err(self.refused(parts.status)),
            },
            rest => (beginning, rest),
        };
        let mut plain = self.plain(rest, None);
        plain.push(told);
        Ok(plain)
    }

    async fn events(&self, body: Body, changes: Changes) -> Result<Events, Loss> {
        let mut source = Source::new(body);
        let held = in_time(self.reading_deadline(), self.first_events(&mut source)).await?;
        let terms = Terms {
            endpoint: self.call.endpoint,
            changes,
            tells_usage: self.call.usage.is_asked(),
            idle: self.target.provider.timeouts.stream_idle,
            keepalive: self.call.keepalive,
        };
        Ok(Events::new(source, held, terms))
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
            if kind != Kind::Silent || held.len() >= MAX_HELD_EVENTS || bytes >= MAX_HELD_BYTES {
                return Ok(held);
            }
        }
    }

    /// JSON where a stream was asked for: it may be an error. Only so much of it is held as one can be expected to take.
    async fn no_stream(&self, body: Body, changes: Changes) -> Result<Plain, Loss> {
        let (beginning, rest) = in_time(self.reading_deadline(), begin(body, MAX_HELD_BYTES)).await?;
        if rest.is_none() && is_error(&beginning) {
            return Err(Cause::ErrorInside.then(Next::OtherTargetOrAgain));
        }
        let mut plain = self.plain(rest, Some(changes));
        plain.push(beginning);
        Ok(plain)
    }

    /// Only what is JSON is looked into.
    fn plain(&self, body: Option<Body>, changes: Option<Changes>) -> Plain {
        let mask = self.lease.as_ref().map(|lease| lease.mask().clone()).unwrap_or_default();
        // Only JSON comes with changes, and ids are in nothing else.
        let tag = self.call.tag.clone().filter(|_| changes.is_some());
        let changes = changes.filter(|_| tag.is_none());
        Plain::new(body, self.deadline(), changes.map(Rewriter::new), mask).tagged(tag)
    }

    /// What is compressed can be neither named otherwise nor searched for the key, and was not asked for.
    fn untouched(&self, body: Body) -> Plain {
        Plain::new(Some(body), self.deadline(), None, Mask::default())
    }

    /// When a plain answer must be over.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.target.provider.timeouts.total
    }

    /// What the answer says otherwise than the upstream: the model, and a response's ids, which keep who made it.
    fn changes(&self) -> Changes {
        let provider = &self.target.provider;
        let renamed = self.answer_model == AnswerModel::Requested;
        let kept = self.call.endpoint == Endpoint::Responses
            && matches!(provider.dialect, Dialect::OpenAi | Dialect::AzureOpenAi);
        Changes {
            model: renamed.then(|| splice::json_string(&self.call.requested_model)),
            id_suffix: kept.then(|| ids::suffix(provider.id.as_str())),
        }
    }

    /// When that must be there by which a stream is committed.
    fn reading_deadline(&self) -> Deadline {
        let limit = self.target.provider.timeouts.first_event;
        Deadline::after(Instant::now(), limit, Clock::FirstEvent).within(self.bound)
    }

    /// Commits to a switch of protocols.
    pub(super) fn switch(&mut self, response: Response<Body>) -> Won {
        let (mut parts, body) = response.into_parts();
        let upgrade = parts.extensions.remove();
        let content = Content::Plain(Box::new(self.untouched(body)));
        Won { upgrade, ..self.won(parts, content) }
    }

    fn won(&mut self, parts: Parts, content: Content) -> Won {
        let Parts { status, mut headers, .. } = parts;
        upstream::clean_answer(&mut headers);
        if let Some(lease) = &self.lease {
            lease.accepted();
            lease.mask().headers(&mut headers);
        }
        Won { status, headers, body: Answer::new(content, self.lease.take(), self.place.take()), upgrade: None }
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
        if headers::is_encoded(headers) {
            return Self::Encoded;
        }
        if headers::is_of_type(headers, "text/event-stream") {
            Self::Events
        } else if headers::is_of_type(headers, "application/json") {
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

/// Reads a body until it is over or at the limit: what was read, and the rest if there may be one.
pub(super) async fn begin(mut body: Body, limit: usize) -> Result<(Bytes, Option<Body>), Loss> {
    let mut beginning = BytesMut::new();
    while beginning.len() < limit {
        match body.frame().await {
            Some(Ok(frame)) => beginning.extend(frame.into_data()),
            Some(Err(error)) => return Err(Cause::BrokenOff(Some(error)).then(Next::OtherTargetOrAgain)),
            None => return Ok((beginning.freeze(), None)),
        }
    }
    Ok((beginning.freeze(), Some(body)))
}

/// Does something, unless the clock runs out first.
pub(super) async fn in_time<T>(deadline: Deadline, work: impl Future<Output = Result<T, Loss>>) -> Result<T, Loss> {
    timeout_at(deadline.at, work).await.unwrap_or_else(|_| Err(deadline.clock.into()))
}
