//! Writes a few values of a JSON text otherwise and no other byte of it. It knows where they are, never what they mean.

use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

use crate::json;

mod rewriter;
mod tagger;

pub(crate) use rewriter::{Changes, Rewriter};
pub(crate) use tagger::{Tag, Tagger};

/// Text to be written in place of a span, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// What goes.
    pub(crate) span: Range<usize>,
    /// What comes.
    pub(crate) value: Bytes,
}

/// Where a value read from `json` is within it, if it is a string.
pub(crate) fn string_span(json: &[u8], value: &str) -> Option<Range<usize>> {
    value.starts_with('"').then(|| span(json, value))
}

/// Where a part of `json` is within it. Nowhere, and at its end, if it is no part of it.
pub(crate) fn span(json: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(json.as_ptr().addr());
    if start + part.len() <= json.len() { start..start + part.len() } else { json.len()..json.len() }
}

/// A model's name as a JSON string.
pub(crate) fn json_string(model: &str) -> Bytes {
    // As a rule it needs no more than quotes.
    if json::is_plain(model) { ["\"", model, "\""].concat().into() } else { Value::from(model).to_string().into() }
}

/// The text with its edits, which do not overlap, in pieces: only the edits are new.
pub(crate) fn pieces(json: &Bytes, mut edits: Vec<Edit>) -> Vec<Bytes> {
    edits.sort_by_key(|edit| edit.span.start);
    let (mut pieces, mut at) = (Vec::with_capacity(2 * edits.len() + 1), 0);
    for Edit { span, value } in edits {
        pieces.extend([json.slice(at..span.start), value]);
        at = span.end;
    }
    pieces.push(json.slice(at..));
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::openai::envelope::Envelope;

    proptest! {
        #[test]
        fn nothing_but_the_value_changes(before in any::<String>(), old in ".{1,40}", new in any::<String>(), after in any::<String>()) {
            let text = |model: &str| serde_json::json!({ "a": before, "model": model, "z": after }).to_string();
            let json = Bytes::from(text(&old));
            let span = Envelope::parse(&json).unwrap().model_span;
            let edit = Edit { span, value: json_string(&new) };
            prop_assert_eq!(pieces(&json, vec![edit]).concat(), text(&new).into_bytes());
        }
    }

    #[test]
    fn edits_may_come_in_any_order_and_take_nothing_away() {
        let json = Bytes::from("0123456789");
        let edit = |span: Range<usize>, value| Edit { span, value: Bytes::from_static(value) };
        let edited = pieces(&json, vec![edit(7..9, b"x"), edit(1..1, b"ab"), edit(3..4, b"")]);
        assert_eq!(edited.concat(), b"0ab12456x9");
        assert_eq!(pieces(&json, Vec::new()), [json]);
    }
}
