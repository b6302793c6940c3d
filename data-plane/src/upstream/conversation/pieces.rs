//! An upstream's answer as pieces of text, whether it comes as events, as lines of JSON, as one JSON text or as bare text. It knows
//! where things are, and not whom they are for.

use std::{
    collections::VecDeque,
    pin::Pin,
    str,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use serde_json::Value;
use signalbox_routing::Conversation;

use super::pointer;
use crate::{
    headers,
    sse::{Event, Framer},
    upstream::{Body, Transport},
};

/// Most bytes of an answer that are held at once.
pub(crate) const MAX_HELD_BYTES: usize = 10 * 1024 * 1024;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// More of the text; it may be empty.
    Text(String),
    /// What it took, as the upstream reports it.
    Usage(Value),
    /// The answer is complete, for this of OpenAI's reasons.
    End(&'static str),
    /// Something went wrong; what, if the upstream says so.
    Error(Option<String>),
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// The body did.
    #[error("the upstream broke off its answer")]
    Transport(#[source] Transport),
    /// More came than is held.
    #[error("the upstream's answer holds a part of more than {MAX_HELD_BYTES} bytes")]
    TooLarge,
}

/// An answer in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    /// `None` once it is over.
    body: Option<Body>,
    cutter: Cutter,
    conversation: Arc<Conversation>,
    ready: VecDeque<Piece>,
}

/// How an answer is cut, and what is held of the piece that has not ended yet.
#[derive(Debug)]
enum Cutter {
    Events { framer: Framer, first: First },
    Lines(BytesMut),
    Whole(BytesMut),
    Text(BytesMut),
}

/// What an event stream's events are: all are what the first one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Unseen,
    Json,
    Text,
}

impl Pieces {
    /// An answer of the kind that its header says; `None` = of none that is known.
    pub(super) fn new(headers: &HeaderMap, body: Body, conversation: Arc<Conversation>) -> Option<Self> {
        let cutter = Cutter::of(headers)?;
        Some(Self { body: Some(body), cutter, conversation, ready: VecDeque::new() })
    }

    /// The next piece; `None` at the end of an answer that was not cut off.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Cut>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let taken = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |data| self.cut(data)),
                Some(Err(error)) => Err(Cut::Transport(error)),
                None => {
                    self.body = None;
                    self.finish();
                    Ok(())
                }
            };
            if let Err(cut) = taken {
                self.body = None;
                return Poll::Ready(Some(Err(cut)));
            }
        }
    }

    fn cut(&mut self, data: Bytes) -> Result<(), Cut> {
        match &mut self.cutter {
            Cutter::Events { framer, .. } => {
                framer.push(data);
                while let Some(event) = self.next_event()? {
                    self.event(&event);
                }
                return Ok(());
            }
            Cutter::Lines(held) => {
                held.extend_from_slice(&data);
                while let Some(line) = next_line(held) {
                    self.ready.extend(of_line(&self.conversation, &line));
                }
            }
            Cutter::Whole(held) => held.extend_from_slice(&data),
            Cutter::Text(held) => {
                held.extend_from_slice(&data);
                self.ready.push_back(Piece::Text(whole_text(held)));
            }
        }
        match &self.cutter {
            Cutter::Lines(held) | Cutter::Whole(held) | Cutter::Text(held) if held.len() > MAX_HELD_BYTES => {
                Err(Cut::TooLarge)
            }
            _ => Ok(()),
        }
    }

    /// What is left when the body has ended.
    fn finish(&mut self) {
        match &mut self.cutter {
            Cutter::Events { framer, .. } => {
                if let Some(event) = framer.finish() {
                    self.event(&event);
                }
            }
            Cutter::Lines(held) => {
                let last = std::mem::take(held);
                self.ready.extend(of_line(&self.conversation, &last));
            }
            Cutter::Whole(held) => {
                let whole = std::mem::take(held);
                self.ready.extend(of_whole(&self.conversation, &whole));
            }
            Cutter::Text(held) if held.is_empty() => {}
            Cutter::Text(held) => self.ready.push_back(Piece::Text(String::from_utf8_lossy(held).into_owned())),
        }
    }

    fn next_event(&mut self) -> Result<Option<Event>, Cut> {
        match &mut self.cutter {
            Cutter::Events { framer, .. } => framer.next().map_err(|_| Cut::TooLarge),
            Cutter::Lines(_) | Cutter::Whole(_) | Cutter::Text(_) => Ok(None),
        }
    }

    fn event(&mut self, event: &Event) {
        let (Cutter::Events { first, .. }, Some(data)) = (&mut self.cutter, event.data()) else { return };
        if data.trim_ascii() == b"[DONE]" {
            return self.ready.push_back(Piece::End("stop"));
        }
        let text = || Piece::Text(String::from_utf8_lossy(data).into_owned());
        let json = if *first == First::Text { None } else { serde_json::from_slice::<Value>(data).ok() };
        let pieces = match json {
            Some(value) if value.is_object() || value.is_array() || value.is_string() || *first == First::Json => {
                *first = First::Json;
                of_piece(&self.conversation, &value)
            }
            None if *first == First::Json => vec![Piece::Error(None)],
            _ => {
                *first = First::Text;
                vec![text()]
            }
        };
        let failed = event.is_named("error") && !pieces.iter().any(|piece| matches!(piece, Piece::Error(_)));
        if failed { self.ready.push_back(Piece::Error(None)) } else { self.ready.extend(pieces) }
    }
}

impl Cutter {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let is = |types: &[&str]| types.iter().any(|media_type| headers::is_of_type(headers, media_type));
        if headers::is_encoded(headers) {
            None
        } else if is(&["text/event-stream"]) {
            Some(Self::Events { framer: Framer::default(), first: First::Unseen })
        } else if is(&["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]) {
            Some(Self::Lines(BytesMut::new()))
        } else if is(&["application/json"]) {
            Some(Self::Whole(BytesMut::new()))
        } else if is(&["text/plain"]) {
            Some(Self::Text(BytesMut::new()))
        } else {
            None
        }
    }
}

fn next_line(held: &mut BytesMut) -> Option<BytesMut> {
    let end = memchr::memchr(b'\n', held)?;
    Some(held.split_to(end + 1))
}

/// What is there of a text whose last character may have come in part.
fn whole_text(held: &mut BytesMut) -> String {
    let begun = match str::from_utf8(held) {
        Err(error) if error.error_len().is_none() => held.len() - error.valid_up_to(),
        Ok(_) | Err(_) => 0,
    };
    String::from_utf8_lossy(&held.split_to(held.len() - begun)).into_owned()
}

fn of_line(conversation: &Conversation, line: &[u8]) -> Vec<Piece> {
    if line.trim_ascii().is_empty() {
        return Vec::new();
    }
    serde_json::from_slice(line).map_or_else(|_| vec![Piece::Error(None)], |value| of_piece(conversation, &value))
}

/// What one event or line says.
fn of_piece(conversation: &Conversation, value: &Value) -> Vec<Piece> {
    if let Some(error) = pointer::error(value, &conversation.error) {
        return vec![Piece::Error(error)];
    }
    let text = value.as_str().map(Into::into).or_else(|| pointer::text(value, &conversation.delta));
    let text = text.filter(|text| !text.is_empty()).map(|text| Piece::Text(text.into_owned()));
    let end = pointer::end(value, &conversation.end).map(|why| Piece::End(reason(why)));
    text.into_iter().chain(usage(value)).chain(end).collect()
}

/// What a plain answer says.
fn of_whole(conversation: &Conversation, json: &[u8]) -> Vec<Piece> {
    let Ok(value) = serde_json::from_slice::<Value>(json) else { return vec![Piece::Error(None)] };
    if let Some(error) = pointer::error(&value, &conversation.error) {
        return vec![Piece::Error(error)];
    }
    let Some(text) = value.as_str().map(Into::into).or_else(|| pointer::text(&value, &conversation.text)) else {
        return vec![Piece::Error(None)];
    };
    let end = Piece::End(pointer::end(&value, &conversation.end).map_or("stop", reason));
    [Piece::Text(text.into_owned())].into_iter().chain(usage(&value)).chain([end]).collect()
}

/// Token counts in OpenAI's form. Where there are none, none are made up.
fn usage(value: &Value) -> Option<Piece> {
    let usage = value.get("usage").filter(|usage| usage.get("total_tokens").is_some_and(Value::is_u64))?;
    Some(Piece::Usage(usage.clone()))
}

/// OpenAI's word for why an answer ended.
fn reason(why: &str) -> &'static str {
    match why {
        "length" => "length",
        "content_filter" => "content_filter",
        _ => "stop",
    }
}
