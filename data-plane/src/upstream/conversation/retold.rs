//! A conversation's answer retold as OpenAI tells it: as one chat completion, or as the events of a stream while they come. It makes up
//! no text and no token count.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::pieces::{Cut, MAX_HELD_BYTES, Piece, Pieces};

/// Why there is no completion.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    /// The upstream says that something went wrong.
    #[error("the upstream's answer is an error")]
    Error,
    /// It broke off.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// Nothing in it is a text.
    #[error("the upstream's answer holds no text")]
    Nothing,
}

/// What every answer bears.
#[derive(Debug)]
pub(super) struct Title {
    id: String,
    created: i64,
    model: Arc<str>,
}

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(flatten)]
    said: Said<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said<'a> {
    Message { role: &'static str, content: &'a str },
    Delta(Delta<'a>),
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl Title {
    pub(super) fn new(model: Arc<str>) -> Self {
        Self { id: format!("chatcmpl-{}", Uuid::now_v7().simple()), created: jiff::Timestamp::now().as_second(), model }
    }

    fn json(&self, object: &'static str, choices: &[Choice<'_>], usage: Option<&Value>) -> Vec<u8> {
        let Self { id, created, model } = self;
        let object = Object { id, object, created: *created, model, choices, usage };
        #[expect(clippy::expect_used, reason = "text, numbers and what was JSON before")]
        serde_json::to_vec(&object).expect("an answer serializes")
    }

    fn chunk(&self, delta: Delta<'_>, finish_reason: Option<&'static str>) -> Vec<u8> {
        let choice = Choice { index: 0, said: Said::Delta(delta), logprobs: None, finish_reason };
        self.json("chat.completion.chunk", &[choice], None)
    }
}

/// Reads all of an answer as one completion.
///
/// # Errors
/// [`Untold`] where there is none.
pub(super) async fn completion(mut pieces: Pieces, title: &Title) -> Result<Bytes, Untold> {
    let (mut text, mut usage, mut reason, mut said) = (String::new(), None, None, false);
    while let Some(piece) = poll_fn(|cx| pieces.poll_piece(cx)).await.transpose()? {
        match piece {
            Piece::Text(more) => {
                said = true;
                text.push_str(&more);
            }
            Piece::Usage(told) => usage = Some(told),
            Piece::End(why) => {
                reason = Some(why);
                break;
            }
            Piece::Error(_) => return Err(Untold::Error),
        }
        if text.len() > MAX_HELD_BYTES {
            return Err(Cut::TooLarge.into());
        }
    }
    if !said && reason.is_none() {
        return Err(Untold::Nothing);
    }
    let message = Said::Message { role: "assistant", content: &text };
    let choice = Choice { index: 0, said: message, logprobs: None, finish_reason: Some(reason.unwrap_or("stop")) };
    Ok(title.json("chat.completion", &[choice], usage.as_ref()).into())
}

/// An answer's pieces as OpenAI's events.
#[derive(Debug)]
pub(super) struct Events {
    pieces: Pieces,
    title: Title,
    usage: Option<Value>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing was said.
    Silent,
    Speaking,
    /// All that the client is told was told; what still comes is not for it.
    Told,
}

impl Events {
    pub(super) fn new(pieces: Pieces, title: Title) -> Self {
        Self { pieces, title, usage: None, progress: Progress::Silent }
    }

    fn retell(&mut self, piece: Piece) -> BytesMut {
        let mut out = BytesMut::new();
        match piece {
            _ if self.progress == Progress::Told => {}
            Piece::Text(text) => {
                self.begin(&mut out);
                if !text.is_empty() {
                    let delta = Delta { role: None, content: Some(&text) };
                    event(&mut out, &self.title.chunk(delta, None));
                }
            }
            Piece::Usage(usage) => self.usage = Some(usage),
            Piece::End(reason) => self.end(reason, &mut out),
            Piece::Error(message) => {
                let message = message.as_deref().unwrap_or("The provider reported an error.");
                let error = serde_json::json!({
                    "error": {"message": message, "type": "server_error", "param": null, "code": "upstream_error"}
                });
                event(&mut out, error.to_string().as_bytes());
                self.progress = Progress::Told;
            }
        }
        out
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if self.progress == Progress::Silent {
            self.progress = Progress::Speaking;
            let role = Delta { role: Some("assistant"), content: Some("") };
            event(out, &self.title.chunk(role, None));
        }
    }

    fn end(&mut self, reason: &'static str, out: &mut BytesMut) {
        self.begin(out);
        event(out, &self.title.chunk(Delta::default(), Some(reason)));
        if let Some(usage) = &self.usage {
            event(out, &self.title.json("chat.completion.chunk", &[], Some(usage)));
        }
        event(out, b"[DONE]");
        self.progress = Progress::Told;
    }
}

fn event(out: &mut BytesMut, data: &[u8]) {
    for part in [b"data: ", data, b"\n\n"] {
        out.extend_from_slice(part);
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        loop {
            let out = match ready!(this.pieces.poll_piece(cx)).transpose()? {
                Some(piece) => this.retell(piece),
                // An answer that says nothing at all is none; one that was begun and was not cut off is complete.
                None if this.progress == Progress::Speaking => this.retell(Piece::End("stop")),
                None => return Poll::Ready(None),
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.freeze()))));
            }
        }
    }
}
