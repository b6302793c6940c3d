//! `POST /v1/completions`: the echo of each prompt, in the older shape.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Answer, DONE, Events, StreamOptions, event, id, read},
    model::Model,
    refusal::Refusal,
    text::{CREATED, Capped, pieces, tokens},
};

#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    prompt: Prompt,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompt {
    One(String),
    Many(Vec<String>),
}

pub(super) fn answer(model: Model, body: &[u8]) -> Result<Answer, Refusal> {
    model.must_not_be(Model::Embed)?;
    let request: Request = read(body)?;
    let prompts = match &request.prompt {
        Prompt::One(prompt) => std::slice::from_ref(prompt),
        Prompt::Many(prompts) => prompts,
    };
    if prompts.is_empty() {
        return Err(Refusal::Invalid { param: "prompt", rule: "at least one prompt is needed" });
    }
    let texts: Vec<Capped> = prompts.iter().map(|prompt| Capped::new(prompt, request.max_tokens)).collect();
    let completion = Completion { id: id("cmpl-demo-", body), prompts, texts, request: &request };
    Ok(if request.stream.unwrap_or(false) {
        Answer::Events(completion.events())
    } else {
        Answer::Whole(completion.whole())
    })
}

/// An answer in the making.
struct Completion<'a> {
    id: String,
    prompts: &'a [String],
    texts: Vec<Capped>,
    request: &'a Request,
}

impl Completion<'_> {
    fn whole(&self) -> Value {
        let choices = self.texts.iter().enumerate();
        let choices: Vec<Value> =
            choices.map(|(index, text)| choice(index, &text.text, Some(finish_reason(text)))).collect();
        self.document(&json!(choices), Some(&self.usage()))
    }

    fn events(&self) -> Events {
        let (mut content, mut finish) = (Vec::new(), Vec::new());
        for (index, text) in self.texts.iter().enumerate() {
            let pieces = pieces(&text.text).map(|piece| self.chunk(&choice(index, piece, None)));
            content.extend(pieces.map(|chunk| event(&chunk)));
            finish.push(event(&self.chunk(&choice(index, "", Some(finish_reason(text))))));
        }
        if StreamOptions::wants_usage(self.request.stream_options.as_ref()) {
            finish.push(event(&self.document(&json!([]), Some(&self.usage()))));
        }
        Events { opening: Vec::new(), content, finish, done: Some(DONE) }
    }

    fn chunk(&self, choice: &Value) -> Value {
        self.document(&json!([choice]), None)
    }

    fn document(&self, choices: &Value, usage: Option<&Value>) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": CREATED,
            "model": self.request.model,
            "choices": choices,
            "usage": usage,
        })
    }

    fn usage(&self) -> Value {
        let prompt: usize = self.prompts.iter().map(|prompt| tokens(prompt)).sum();
        let completion: usize = self.texts.iter().map(|text| tokens(&text.text)).sum();
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }
}

fn choice(index: usize, text: &str, finish_reason: Option<&str>) -> Value {
    json!({ "index": index, "text": text, "logprobs": null, "finish_reason": finish_reason })
}

const fn finish_reason(text: &Capped) -> &'static str {
    if text.cut { "length" } else { "stop" }
}
