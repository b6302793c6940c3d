//! What the scripted upstream answers: bytes for the connection, written at once or whenever the story says so.

use std::{fmt::Write as _, future::pending};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// The last event of a complete stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// One thing that happens on the connection.
#[derive(Debug)]
pub(super) enum Step {
    /// These bytes are written.
    Write(Bytes),
    /// Nothing happens until the gateway closes the connection.
    Hang,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// The story is told that everything before has been taken by the connection.
    Tell(oneshot::Sender<()>),
}

/// An answer: what happens on the connection, in order. After the last step the connection serves the next request.
#[derive(Debug)]
pub struct Answer {
    pub(super) steps: mpsc::UnboundedReceiver<Step>,
}

/// An answer under the story's control.
#[derive(Debug)]
pub struct Live {
    steps: mpsc::UnboundedSender<Step>,
}

/// An answer's status and headers, on the way to an [`Answer`].
#[derive(Debug)]
pub struct Head(String);

impl Answer {
    /// Begins an answer.
    pub fn status(status: u16) -> Head {
        Head(format!("HTTP/1.1 {status} Scripted\r\n"))
    }

    /// A JSON body with this status.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status).header("content-type", "application/json").body(body.to_string())
    }

    /// A chat completion that says `text` and was served by `model`.
    pub fn chat(model: &str, text: &str) -> Self {
        Self::json(200, &completion(model, text))
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16) -> Self {
        Self::json(status, &error("the scripted upstream refuses"))
    }

    /// An event stream with these frames, each written as it is.
    pub fn stream<'a>(frames: impl IntoIterator<Item = &'a str>) -> Self {
        let (answer, live) = Self::status(200).header("content-type", "text/event-stream").live();
        for frame in frames {
            live.write(frame);
        }
        live.end();
        answer
    }

    /// These bytes, whatever they are, and then the end of the connection.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::from([Step::Write(bytes.into()), Step::Close])
    }

    /// The request is taken, and nothing comes.
    pub fn hang() -> Self {
        Self::from([Step::Hang])
    }

    /// The request is taken, and the connection is reset.
    pub fn reset() -> Self {
        Self::from([Step::Reset])
    }

    /// Nothing at all until the story says so.
    pub fn live() -> (Self, Live) {
        let (sender, steps) = mpsc::unbounded_channel();
        (Self { steps }, Live { steps: sender })
    }
}

impl<const N: usize> From<[Step; N]> for Answer {
    fn from(steps: [Step; N]) -> Self {
        let (answer, live) = Self::live();
        for step in steps {
            live.step(step);
        }
        answer
    }
}

impl Head {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.0, "{name}: {value}\r\n").expect("a string takes everything");
        self
    }

    /// Completes the answer with a body of known length.
    pub fn body(self, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut bytes = self.header("content-length", &body.len().to_string()).finish();
        bytes.extend_from_slice(body);
        Answer::from([Step::Write(bytes.into())])
    }

    /// Completes the answer without a body, as for `HEAD`, 204 and 304.
    pub fn bodiless(self) -> Answer {
        Answer::from([Step::Write(self.finish().into())])
    }

    /// Writes the head; the body follows in chunks as the story says.
    pub fn live(self) -> (Answer, Live) {
        let (answer, live) = Answer::live();
        live.step(Step::Write(self.header("transfer-encoding", "chunked").finish().into()));
        (answer, live)
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

impl Live {
    /// Writes a piece of the body, as a chunk of its own.
    pub fn write(&self, piece: impl AsRef<[u8]>) {
        let piece = piece.as_ref();
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        self.step(Step::Write(chunk.into()));
    }

    /// Writes these bytes past all framing.
    pub fn write_raw(&self, bytes: impl Into<Bytes>) {
        self.step(Step::Write(bytes.into()));
    }

    /// Plays a prepared answer, such as one that comes late.
    pub fn play(self, mut answer: Answer) {
        answer.steps.close();
        while let Ok(step) = answer.steps.try_recv() {
            self.step(step);
        }
    }

    /// Waits until the connection has taken everything so far.
    pub async fn taken(&self) {
        let (tell, told) = oneshot::channel();
        self.step(Step::Tell(tell));
        // Dropped where the connection is gone: then nothing is taken any more.
        if told.await.is_err() {
            pending::<()>().await;
        }
    }

    /// Ends the body as it should end.
    pub fn end(self) {
        self.step(Step::Write(Bytes::from_static(b"0\r\n\r\n")));
    }

    /// Closes the connection in the middle of the body.
    pub fn cut(self) {
        self.step(Step::Close);
    }

    /// Resets the connection in the middle of the body.
    pub fn reset(self) {
        self.step(Step::Reset);
    }

    fn step(&self, step: Step) {
        // Where nobody listens any more, the gateway has closed the connection, and the story asks for that by itself.
        drop(self.steps.send(step));
    }
}

/// A chat completion.
pub fn completion(model: &str, text: &str) -> Value {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
}

/// An error in OpenAI's shape.
pub fn error(message: &str) -> Value {
    json!({"error": {"message": message, "type": "scripted", "param": null, "code": "scripted"}})
}

/// One event of a chat stream: a delta and, at the end, why it ended.
pub fn delta(model: &str, delta: &Value, finish_reason: Option<&str>) -> String {
    let chunk = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    });
    format!("data: {chunk}\n\n")
}

/// One event of a chat stream that carries text.
pub fn text(model: &str, text: &str) -> String {
    delta(model, &json!({ "content": text }), None)
}

/// The event with which the text of a chat stream ends.
pub fn finish(model: &str) -> String {
    delta(model, &json!({}), Some("stop"))
}
