//! Replaces the `model` of a JSON text and no other byte of it. It knows where the value is, never what it means.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

mod renamer;

pub(crate) use renamer::Renamer;

/// The part of an object that is looked at. A second `model` is an error, so that no two readers see different ones.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
}

/// Where the value of the top-level `model` is, quotes included. `None` where the text is no JSON object, where it has no `model` or
/// two, and where that is no string.
pub(crate) fn find_model(json: &[u8]) -> Option<Range<usize>> {
    let Named { model } = serde_json::from_slice(json).ok()?;
    string_span(json, model?)
}

/// Where a value read from `json` is within it, if it is a string.
pub(crate) fn string_span(json: &[u8], value: &RawValue) -> Option<Range<usize>> {
    let text = value.get();
    let start = text.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
    (text.starts_with('"') && start + text.len() <= json.len()).then(|| start..start + text.len())
}

/// A model's name as a JSON string.
pub(crate) fn json_string(model: &str) -> Bytes {
    serde_json::Value::from(model).to_string().into()
}

/// The text before, in place of, and after the span; only the middle is new.
pub(crate) fn parts(json: &Bytes, span: Range<usize>, value: Bytes) -> [Bytes; 3] {
    [json.slice(..span.start), value, json.slice(span.end..)]
}

/// The text with the span replaced, as one piece.
pub(crate) fn replaced(json: &[u8], span: Range<usize>, value: &[u8]) -> Bytes {
    let (before, after) = (json.get(..span.start).unwrap_or_default(), json.get(span.end..).unwrap_or_default());
    let mut text = BytesMut::with_capacity(before.len() + value.len() + after.len());
    text.extend_from_slice(before);
    text.extend_from_slice(value);
    text.extend_from_slice(after);
    text.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn only_one_top_level_string_is_a_model() {
        for (json, model) in [
            (r#"{"model":"a"}"#, Some(r#""a""#)),
            (r#" { "x" : {"model":"no"}, "model" : "b\"c" , "y":1}"#, Some(r#""b\"c""#)),
            (r#"{"mod\u0065l":"escaped"}"#, Some(r#""escaped""#)),
            (r#"{"model":"a","model":"b"}"#, None),
            (r#"{"model":"a","mod\u0065l":"b"}"#, None),
            (r#"{"model":1}"#, None),
            (r#"{"model":null}"#, None),
            (r#"{"x":{"model":"a"}}"#, None),
            (r#"["model","a"]"#, None),
            (r#"{"model":"a""#, None),
            ("", None),
        ] {
            assert_eq!(find_model(json.as_bytes()).map(|span| &json[span]), model, "{json}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_value_changes(before in any::<String>(), old in any::<String>(), new in any::<String>(), after in any::<String>()) {
            let text = |model: &str| serde_json::json!({ "a": before, "model": model, "z": after }).to_string();
            let json = Bytes::from(text(&old));
            let span = find_model(&json).unwrap();
            prop_assert_eq!(replaced(&json, span.clone(), &json_string(&new)), text(&new));
            prop_assert_eq!(parts(&json, span, json_string(&new)).concat(), text(&new).into_bytes());
        }
    }
}
