//! What one event of a stream means, as far as the gateway must know: whether it says anything, whether it is an error, whether it
//! ends the stream, what was used, and where the model's name and the response's ids are.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_routing::Endpoint;

use super::chunk::{Choices, Chunk, Unread};
use crate::{splice, sse, upstream::anthropic, usage::Usage};

/// An event as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where the model's name is in the data, quotes included.
    pub(crate) model: Option<Range<usize>>,
    /// Where the ids of the response and of the one before it are in the data, quotes included.
    pub(crate) ids: Vec<Range<usize>>,
    /// What was used so far.
    pub(crate) usage: Option<Usage>,
    /// Whether it is there for the usage alone: a chunk of a chat without choices.
    pub(crate) is_accounting: bool,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It says nothing yet: a comment, a role, an empty delta.
    Silent,
    /// Part of an answer.
    Meaningful,
    /// Part of an answer, after which the stream may end.
    Finish,
    /// The stream's last event.
    End,
    /// An error in place of an answer, or of the rest of one.
    Error,
}

impl Event {
    /// Reads an event of an endpoint's stream.
    pub(crate) fn read(endpoint: Endpoint, event: &sse::Event) -> Self {
        if endpoint.is_anthropic() {
            return anthropic::event::read(event);
        }
        let Some(data) = event.data() else { return Kind::Silent.into() };
        if data.trim_ascii() == b"[DONE]" {
            return Kind::End.into();
        }
        match Chunk::read(data) {
            Ok(chunk) => told(&chunk, endpoint, event, data),
            // What is no JSON is no answer of an endpoint whose every event is; elsewhere it is not ours to say.
            Err(Unread::Malformed) if is_chat(endpoint) => Kind::Error.into(),
            Err(Unread::Malformed | Unread::Unusual) => Kind::Meaningful.into(),
        }
    }
}

impl From<Kind> for Event {
    fn from(kind: Kind) -> Self {
        Self { kind, model: None, ids: Vec::new(), usage: None, is_accounting: false }
    }
}

fn is_chat(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions)
}

/// The response within an event that tells of it as a whole.
#[derive(Deserialize, Default)]
struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

fn told(chunk: &Chunk<'_>, endpoint: Endpoint, event: &sse::Event, data: &[u8]) -> Event {
    let response = chunk.response.and_then(|response| serde_json::from_str(response).ok());
    let response: Response<'_> = response.unwrap_or_default();
    let string = |value: Option<&str>| splice::string_span(data, value?);
    let ids = [chunk.response_id, response.id.map(RawValue::get), response.previous_response_id.map(RawValue::get)];
    let usage = chunk.usage.or(response.usage.map(RawValue::get));
    Event {
        kind: kind(chunk, endpoint, event),
        model: string(chunk.model.or(response.model.map(RawValue::get))),
        ids: ids.into_iter().filter_map(string).collect(),
        usage: usage.and_then(|usage| Usage::read(usage.as_bytes())),
        is_accounting: is_chat(endpoint) && chunk.choices == Some(Choices::default()) && chunk.usage.is_some(),
    }
}

fn kind(chunk: &Chunk<'_>, endpoint: Endpoint, event: &sse::Event) -> Kind {
    let name = chunk.name.unwrap_or_default();
    let choices = chunk.choices.unwrap_or_default();
    let is_bare = chunk.name.is_none() && choices.count == 0;
    let is_failure = matches!(name, r#""error""# | r#""response.failed""#);
    if chunk.error.is_some() || is_failure || (is_bare && event.is_named("error")) {
        return Kind::Error;
    }
    match endpoint {
        Endpoint::Responses => match name {
            r#""response.completed""# | r#""response.incomplete""# => Kind::End,
            _ => Kind::Meaningful,
        },
        Endpoint::ChatCompletions | Endpoint::Completions => {
            if choices.finishes {
                Kind::Finish
            } else if choices.says_something || (endpoint == Endpoint::Completions && choices.count > 0) {
                Kind::Meaningful
            } else {
                Kind::Silent
            }
        }
        Endpoint::Embeddings
        | Endpoint::Moderations
        | Endpoint::Rerank
        | Endpoint::ImagesGenerations
        | Endpoint::ImagesEdits
        | Endpoint::ImagesVariations
        | Endpoint::AudioSpeech
        | Endpoint::AudioTranscriptions
        | Endpoint::AudioTranslations
        | Endpoint::Messages
        | Endpoint::MessagesCountTokens
        | Endpoint::Realtime => Kind::Meaningful,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: Endpoint, stream: &str) -> Event {
        let mut framer = sse::Framer::default();
        framer.push(stream.to_owned().into());
        Event::read(endpoint, &framer.next().unwrap().expect("one event"))
    }

    #[test]
    fn only_what_says_something_is_meaningful() {
        for (data, kind) in [
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, Kind::Silent),
            (r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}"#, Kind::Silent),
            (r#"{"choices":[{"delta":{}}]}"#, Kind::Silent),
            (r#"{"choices":[{"delta":null}]}"#, Kind::Silent),
            (r#"{"choices":[],"prompt_filter_results":[{}]}"#, Kind::Silent),
            (r#"{"choices":[],"usage":{"total_tokens":3}}"#, Kind::Silent),
            (r#"{"choices":[{"delta":{"content":"a"}}]}"#, Kind::Meaningful),
            (r#"{"choices":[{"delta":{}},{"delta":{"content":" "}}]}"#, Kind::Meaningful),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, Kind::Meaningful),
            (r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, Kind::Meaningful),
            (r#"{"choices":[{"delta":{"refusal":"no"}}]}"#, Kind::Meaningful),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Kind::Finish),
            (r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#, Kind::Meaningful),
            (r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#, Kind::Meaningful),
            ("[DONE]", Kind::End),
            (r#"{"error":{"message":"no"}}"#, Kind::Error),
            (r#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#, Kind::Meaningful),
            ("upstream failed", Kind::Error),
            (r#"{"choices":"odd"}"#, Kind::Meaningful),
        ] {
            assert_eq!(read(Endpoint::ChatCompletions, &format!("data: {data}\n\n")).kind, kind, "{data}");
        }
        assert_eq!(read(Endpoint::ChatCompletions, ": ping\n\n").kind, Kind::Silent);
        assert_eq!(read(Endpoint::ChatCompletions, "event: error\ndata: {\"message\":\"no\"}\n\n").kind, Kind::Error);
    }

    #[test]
    fn each_endpoint_ends_its_own_way() {
        for (endpoint, data, kind) in [
            (Endpoint::Completions, r#"{"choices":[{"text":"a"}]}"#, Kind::Meaningful),
            (Endpoint::Completions, r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, Kind::Silent),
            (Endpoint::Completions, r#"{"choices":[{"text":"","finish_reason":"length"}]}"#, Kind::Finish),
            (Endpoint::Responses, r#"{"type":"response.created","response":{"error":null}}"#, Kind::Meaningful),
            (Endpoint::Responses, r#"{"type":"response.completed","response":{}}"#, Kind::End),
            (Endpoint::Responses, r#"{"type":"response.incomplete","response":{}}"#, Kind::End),
            (Endpoint::Responses, r#"{"type":"response.failed","response":{}}"#, Kind::Error),
            (Endpoint::Responses, r#"{"type":"error","code":"ERR"}"#, Kind::Error),
            (Endpoint::AudioSpeech, r#"{"type":"speech.audio.delta"}"#, Kind::Meaningful),
            (Endpoint::AudioSpeech, "anything", Kind::Meaningful),
        ] {
            assert_eq!(read(endpoint, &format!("data: {data}\n\n")).kind, kind, "{data}");
        }
    }

    #[test]
    fn the_model_is_found_at_the_top_and_within_a_response() {
        for (data, model) in [
            (r#"{"id":"x","model":"m-1","choices":[]}"#, Some(r#""m-1""#)),
            (r#"{"type":"response.created","response":{"id":"r","model":"m-2"}}"#, Some(r#""m-2""#)),
            (r#"{"type":"response.output_text.delta","delta":"model"}"#, None),
            (r#"{"model":null,"choices":[]}"#, None),
        ] {
            let found = read(Endpoint::Responses, &format!("data: {data}\n\n")).model;
            assert_eq!(found.map(|span| &data[span]), model, "{data}");
        }
    }

    #[test]
    fn the_ids_of_a_response_are_found_and_no_others() {
        for (data, ids) in [
            (
                r#"{"type":"response.created","response":{"id":"r","previous_response_id":"p","output":[{"id":"m"}]}}"#,
                &[r#""r""#, r#""p""#][..],
            ),
            (r#"{"type":"response.created","response":{"id":"r","previous_response_id":null}}"#, &[r#""r""#]),
            (r#"{"type":"response.output_item.added","response_id":"r","item_id":"m","item":{"id":"m"}}"#, &[r#""r""#]),
            (r#"{"id":"chatcmpl","choices":[]}"#, &[]),
        ] {
            let found = read(Endpoint::Responses, &format!("data: {data}\n\n")).ids;
            assert_eq!(found.into_iter().map(|span| &data[span]).collect::<Vec<_>>(), ids, "{data}");
        }
    }

    #[test]
    fn what_was_used_is_read_and_a_chunk_for_that_alone_is_known() {
        let (chat, responses) = (Endpoint::ChatCompletions, Endpoint::Responses);
        for (endpoint, data, usage, is_accounting) in [
            (chat, r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#, Some((1, 2)), true),
            (chat, r#"{"choices":[],"usage":{"prompt_tokens":1},"x_groq":{"id":"y"}}"#, Some((1, 0)), true),
            (chat, r#"{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#, Some((1, 0)), false),
            (chat, r#"{"choices":[],"usage":{"seconds":1}}"#, None, true),
            (chat, r#"{"choices":[],"usage":null,"prompt_filter_results":[]}"#, None, false),
            (chat, r#"{"usage":{"prompt_tokens":1}}"#, Some((1, 0)), false),
            (
                responses,
                r#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
                Some((1, 2)),
                false,
            ),
        ] {
            let event = read(endpoint, &format!("data: {data}\n\n"));
            let usage = usage.map(|(prompt, completion)| Usage { prompt, completion });
            assert_eq!((event.usage, event.is_accounting), (usage, is_accounting), "{data}");
        }
    }
}
