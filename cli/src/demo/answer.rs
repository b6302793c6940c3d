//! What an endpoint answers, before any fault: one JSON document, or a stream in its natural parts.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    refusal::Refusal,
    script::{Script, Step},
};

#[derive(Debug)]
pub(super) enum Answer {
    Whole(Value),
    Events(Events),
}

/// A stream in its parts, so that a fault can break it at a place with a meaning.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Before any content: roles, announcements.
    pub(super) opening: Vec<Bytes>,
    /// The content, piece by piece.
    pub(super) content: Vec<Bytes>,
    /// How it ended, and the usage.
    pub(super) finish: Vec<Bytes>,
    /// The terminator, where the endpoint has one.
    pub(super) done: Option<Bytes>,
}

impl Events {
    /// Everything in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Bytes> {
        self.opening.iter().chain(&self.content).chain(&self.finish).chain(&self.done)
    }
}

impl From<Answer> for Script {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Whole(body) => Self::json(&body),
            Answer::Events(events) => Self::events(events.all().cloned().map(Step::Send).collect()),
        }
    }
}

/// The terminator of chat and completion streams.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// An event without a name.
pub(super) fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// An event with a name.
pub(super) fn named_event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// Reads a request.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|reason| Refusal::Unreadable { reason })
}

/// An id that depends on the request alone.
pub(super) fn id(prefix: &str, body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{hex}")
}

/// What a client may ask of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct StreamOptions {
    include_usage: Option<bool>,
}

impl StreamOptions {
    pub(super) fn wants_usage(options: Option<&Self>) -> bool {
        options.and_then(|options| options.include_usage).unwrap_or(false)
    }
}
