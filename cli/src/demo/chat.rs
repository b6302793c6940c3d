//! `POST /v1/chat/completions`: the echo, and calls of the client's tools.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Answer, DONE, Events, StreamOptions, event, id, read},
    model::Model,
    refusal::Refusal,
    text::{CREATED, Capped, Content, pieces, tokens},
};

#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<usize>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    function: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ToolChoice {
    Mode(String),
    Function { function: Named },
}

/// What the assistant says.
#[derive(Debug)]
enum Reply {
    Text(Capped),
    Call { name: String, arguments: String },
}

pub(super) fn answer(model: Model, body: &[u8]) -> Result<Answer, Refusal> {
    model.must_not_be(Model::Embed)?;
    let request: Request = read(body)?;
    if request.messages.is_empty() {
        return Err(Refusal::Invalid { param: "messages", rule: "at least one message is needed" });
    }
    let choices = request.n.unwrap_or(1);
    if !(1..=128).contains(&choices) {
        return Err(Refusal::Invalid { param: "n", rule: "must be from 1 to 128" });
    }
    let completion = Completion { id: id("chatcmpl-demo-", body), choices, reply: request.reply(), request: &request };
    Ok(if request.stream.unwrap_or(false) {
        Answer::Events(completion.events())
    } else {
        Answer::Whole(completion.whole())
    })
}

impl Request {
    /// The last user message, or the tool's result where that came last.
    fn prompt(&self) -> String {
        let latest = match self.messages.last() {
            Some(last) if last.role == "tool" => Some(last),
            _ => self.messages.iter().rfind(|message| message.role == "user"),
        };
        latest.map(Message::to_text).unwrap_or_default()
    }

    fn reply(&self) -> Reply {
        let prompt = self.prompt();
        self.call(&prompt)
            .unwrap_or_else(|| Reply::Text(Capped::new(&prompt, self.max_completion_tokens.or(self.max_tokens))))
    }

    /// The call of a tool, where `tool_choice` wants one or the prompt reads `call NAME ARGUMENTS`.
    fn call(&self, prompt: &str) -> Option<Reply> {
        let names: Vec<&str> = self
            .tools
            .iter()
            .flatten()
            .filter_map(|tool| tool.function.as_ref())
            .map(|tool| tool.name.as_str())
            .collect();
        let words =
            prompt.strip_prefix("call ").filter(|_| self.messages.last().is_some_and(|last| last.role == "user"));
        let (wanted, arguments) = words.map_or(("", ""), |words| words.split_once(' ').unwrap_or((words, "")));
        let name = match (&self.tool_choice, words) {
            (Some(ToolChoice::Function { function }), _) => function.name.as_str(),
            (Some(ToolChoice::Mode(mode)), _) if mode == "none" => return None,
            (Some(ToolChoice::Mode(mode)), None) if mode != "required" => return None,
            (None, None) => return None,
            _ => names.iter().find(|name| **name == wanted).or(names.first())?,
        };
        let arguments =
            serde_json::from_str::<Value>(arguments).ok().filter(Value::is_object).unwrap_or_else(|| json!({}));
        Some(Reply::Call { name: name.to_owned(), arguments: arguments.to_string() })
    }
}

impl Message {
    fn to_text(&self) -> String {
        self.content.as_ref().map(Content::to_text).unwrap_or_default()
    }
}

impl Reply {
    const fn finish_reason(&self) -> &'static str {
        match self {
            Self::Text(Capped { cut: false, .. }) => "stop",
            Self::Text(Capped { cut: true, .. }) => "length",
            Self::Call { .. } => "tool_calls",
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Text(Capped { text, .. }) => tokens(text),
            Self::Call { arguments, .. } => 1 + tokens(arguments),
        }
    }
}

/// An answer in the making.
struct Completion<'a> {
    id: String,
    choices: usize,
    reply: Reply,
    request: &'a Request,
}

impl Completion<'_> {
    fn whole(&self) -> Value {
        let message = match &self.reply {
            Reply::Text(Capped { text, .. }) => json!({ "role": "assistant", "content": text, "refusal": null }),
            Reply::Call { name, arguments } => json!({
                "role": "assistant",
                "content": null,
                "refusal": null,
                "tool_calls": [{
                    "id": self.call_id(),
                    "type": "function",
                    "function": { "name": name, "arguments": arguments },
                }],
            }),
        };
        let choices: Vec<Value> = (0..self.choices)
            .map(|index| {
                json!({
                    "index": index,
                    "message": message,
                    "logprobs": null,
                    "finish_reason": self.reply.finish_reason(),
                })
            })
            .collect();
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": CREATED,
            "model": self.request.model,
            "choices": choices,
            "usage": self.usage(),
        })
    }

    fn events(&self) -> Events {
        let (mut opening, mut content, mut finish) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..self.choices {
            opening.push(self.delta(index, &json!({ "role": "assistant", "content": "" }), None));
            content.extend(self.deltas().iter().map(|delta| self.delta(index, delta, None)));
            finish.push(self.delta(index, &json!({}), Some(self.reply.finish_reason())));
        }
        if StreamOptions::wants_usage(self.request.stream_options.as_ref()) {
            finish.push(self.chunk(&json!([]), &self.usage()));
        }
        let frames = |chunks: Vec<Value>| chunks.iter().map(event).collect();
        Events { opening: frames(opening), content: frames(content), finish: frames(finish), done: Some(DONE) }
    }

    /// The content of one choice, piece by piece.
    fn deltas(&self) -> Vec<Value> {
        match &self.reply {
            Reply::Text(Capped { text, .. }) => pieces(text).map(|piece| json!({ "content": piece })).collect(),
            Reply::Call { name, arguments } => vec![
                json!({
                    "tool_calls": [{
                        "index": 0,
                        "id": self.call_id(),
                        "type": "function",
                        "function": { "name": name, "arguments": "" },
                    }]
                }),
                json!({ "tool_calls": [{ "index": 0, "function": { "arguments": arguments } }] }),
            ],
        }
    }

    fn delta(&self, index: usize, delta: &Value, finish_reason: Option<&str>) -> Value {
        let choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        self.chunk(&json!([choice]), &Value::Null)
    }

    /// With usage asked for, every chunk has the field, null but for the last.
    fn chunk(&self, choices: &Value, usage: &Value) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self.request.model,
            "choices": choices,
        });
        if let Value::Object(fields) = &mut chunk
            && StreamOptions::wants_usage(self.request.stream_options.as_ref())
        {
            fields.insert("usage".to_owned(), usage.clone());
        }
        chunk
    }

    fn call_id(&self) -> String {
        self.id.replacen("chatcmpl-demo-", "call_demo_", 1)
    }

    fn usage(&self) -> Value {
        let prompt: usize = self.request.messages.iter().map(|message| tokens(&message.to_text())).sum();
        let completion = self.choices * self.reply.tokens();
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }
}
