//! `POST /v1/responses`: the echo in the shape of a response, whole or as its events.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Events, id, named_event, read},
    model::Model,
    refusal::Refusal,
    text::{CREATED, Capped, Content, pieces, tokens},
};

#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    input: Input,
    instructions: Option<String>,
    stream: Option<bool>,
    max_output_tokens: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

#[derive(Debug, Deserialize)]
struct Item {
    role: Option<String>,
    content: Option<Content>,
}

pub(super) fn answer(model: Model, body: &[u8]) -> Result<Answer, Refusal> {
    model.must_not_be(Model::Embed)?;
    let request: Request = read(body)?;
    let reply = Capped::new(&request.input.prompt(), request.max_output_tokens);
    let response = Response { id: id("resp_demo_", body), reply, request: &request };
    Ok(if request.stream.unwrap_or(false) {
        Answer::Events(response.events())
    } else {
        Answer::Whole(response.document(response.status(), Some(&response.usage())))
    })
}

impl Input {
    /// The last thing that the user said.
    fn prompt(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Items(items) => {
                items.iter().rfind(|item| item.role.as_deref() == Some("user")).map(Item::to_text).unwrap_or_default()
            }
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => tokens(text),
            Self::Items(items) => items.iter().map(|item| tokens(&item.to_text())).sum(),
        }
    }
}

impl Item {
    fn to_text(&self) -> String {
        self.content.as_ref().map(Content::to_text).unwrap_or_default()
    }
}

/// An answer in the making.
struct Response<'a> {
    id: String,
    reply: Capped,
    request: &'a Request,
}

impl Response<'_> {
    const fn status(&self) -> &'static str {
        if self.reply.cut { "incomplete" } else { "completed" }
    }

    fn document(&self, status: &str, usage: Option<&Value>) -> Value {
        let output = if usage.is_some() { json!([self.message(status, &[self.text()])]) } else { json!([]) };
        let incomplete = (status == "incomplete").then(|| json!({ "reason": "max_output_tokens" }));
        json!({
            "id": self.id,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": null,
            "incomplete_details": incomplete,
            "instructions": self.request.instructions,
            "max_output_tokens": self.request.max_output_tokens,
            "metadata": {},
            "model": self.request.model,
            "output": output,
            "parallel_tool_calls": true,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": usage,
        })
    }

    fn message(&self, status: &str, content: &[Value]) -> Value {
        json!({ "id": self.message_id(), "type": "message", "role": "assistant", "status": status, "content": content })
    }

    fn text(&self) -> Value {
        text_part(&self.reply.text)
    }

    fn message_id(&self) -> String {
        self.id.replacen("resp_", "msg_", 1)
    }

    fn usage(&self) -> Value {
        let input = self.request.input.tokens() + self.request.instructions.as_deref().map_or(0, tokens);
        let output = tokens(&self.reply.text);
        json!({
            "input_tokens": input,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": input + output,
        })
    }

    fn events(&self) -> Events {
        let mut sequence = Sequence::default();
        let item = self.message_id();
        let begun = self.document("in_progress", None);
        let opening = vec![
            sequence.event("response.created", json!({ "response": begun })),
            sequence.event("response.in_progress", json!({ "response": begun })),
            sequence.event(
                "response.output_item.added",
                json!({ "output_index": 0, "item": self.message("in_progress", &[]) }),
            ),
            sequence.event("response.content_part.added", in_part(&item, json!({ "part": text_part("") }))),
        ];
        let content = pieces(&self.reply.text)
            .map(|piece| {
                sequence.event("response.output_text.delta", in_part(&item, json!({ "delta": piece, "logprobs": [] })))
            })
            .collect();
        let whole = json!({ "text": self.reply.text, "logprobs": [] });
        let message = self.message(self.status(), &[self.text()]);
        let response = self.document(self.status(), Some(&self.usage()));
        let finish = vec![
            sequence.event("response.output_text.done", in_part(&item, whole)),
            sequence.event("response.content_part.done", in_part(&item, json!({ "part": self.text() }))),
            sequence.event("response.output_item.done", json!({ "output_index": 0, "item": message })),
            sequence.event(&format!("response.{}", self.status()), json!({ "response": response })),
        ];
        Events { opening, content, finish, done: None }
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// Adds the place that a part's event is about.
fn in_part(item: &str, mut data: Value) -> Value {
    if let Value::Object(fields) = &mut data {
        fields.extend([
            ("item_id".to_owned(), json!(item)),
            ("output_index".to_owned(), json!(0)),
            ("content_index".to_owned(), json!(0)),
        ]);
    }
    data
}

/// Numbers the events of a stream.
#[derive(Default)]
struct Sequence(u64);

impl Sequence {
    fn event(&mut self, kind: &str, mut data: Value) -> Bytes {
        if let Value::Object(fields) = &mut data {
            fields.insert("type".to_owned(), json!(kind));
            fields.insert("sequence_number".to_owned(), json!(self.0));
        }
        self.0 += 1;
        named_event(kind, &data)
    }
}
