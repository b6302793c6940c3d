//! What one event of a Messages stream means (<https://docs.anthropic.com/en/api/messages-streaming>): whether it says anything,
//! whether it is an error, whether it ends the stream, what was used, and where the model's name is.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::openai::{Event, Kind};
use crate::{splice, sse, usage::Usage};

/// The few members that are looked at.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default, rename = "type")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// The message that a stream begins with.
#[derive(Deserialize, Default)]
struct Begun<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// Reads an event.
pub(in crate::upstream) fn read(event: &sse::Event) -> Event {
    let Some(data) = event.data() else { return Kind::Silent.into() };
    let Ok(Message { name, message, usage }) = serde_json::from_slice(data) else { return Kind::Error.into() };
    let begun: Begun<'_> = message.and_then(|begun| serde_json::from_str(begun.get()).ok()).unwrap_or_default();
    let kind = match name.map(RawValue::get).unwrap_or_default() {
        r#""error""# => Kind::Error,
        r#""message_start""# | r#""ping""# => Kind::Silent,
        r#""message_delta""# => Kind::Finish,
        r#""message_stop""# => Kind::End,
        // New types of events may come at any time, and clients are told to expect it.
        _ => Kind::Meaningful,
    };
    Event {
        model: begun.model.and_then(|model| splice::string_span(data, model.get())),
        usage: usage.or(begun.usage).and_then(|usage| Usage::read(usage.get().as_bytes())),
        ..kind.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stream: &str) -> Event {
        let mut framer = sse::Framer::default();
        framer.push(stream.to_owned().into());
        read(&framer.next().unwrap().expect("one event"))
    }

    #[test]
    fn each_type_of_event_has_its_meaning() {
        for (data, kind) in [
            (r#"{"type":"message_start","message":{"id":"msg_1","content":[]}}"#, Kind::Silent),
            (r#"{"type":"ping"}"#, Kind::Silent),
            (r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#, Kind::Meaningful),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#, Kind::Meaningful),
            (r#"{"type":"content_block_stop","index":0}"#, Kind::Meaningful),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#,
                Kind::Finish,
            ),
            (r#"{"type":"message_stop"}"#, Kind::End),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Kind::Error),
            (r#"{"type":"something_new"}"#, Kind::Meaningful),
            ("[DONE]", Kind::Error),
            ("upstream failed", Kind::Error),
        ] {
            assert_eq!(event(&format!("event: x\ndata: {data}\n\n")).kind, kind, "{data}");
        }
        assert_eq!(event(": ping\n\n").kind, Kind::Silent);
    }

    #[test]
    fn the_model_is_where_the_message_begins() {
        for (data, model) in [
            (r#"{"type":"message_start","message":{"id":"x","model":"claude-1"}}"#, Some(r#""claude-1""#)),
            (r#"{"type":"message_start","message":{"id":"x"}}"#, None),
            (r#"{"type":"content_block_delta","model":"no"}"#, None),
        ] {
            assert_eq!(event(&format!("data: {data}\n\n")).model.map(|span| &data[span]), model, "{data}");
        }
    }

    #[test]
    fn what_was_used_is_told_in_the_beginning_and_the_end() {
        for (data, usage) in [
            (
                r#"{"type":"message_start","message":{"usage":{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
                Some(Usage { prompt: 30, completion: 1 }),
            ),
            (r#"{"type":"message_delta","usage":{"output_tokens":15}}"#, Some(Usage { prompt: 0, completion: 15 })),
            (r#"{"type":"content_block_delta"}"#, None),
        ] {
            assert_eq!(event(&format!("data: {data}\n\n")).usage, usage, "{data}");
        }
    }
}
