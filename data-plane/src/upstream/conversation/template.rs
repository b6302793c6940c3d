//! Fills in templates: in JSON within strings, in headers as text. What is filled in never ends the string or the line that it is in,
//! and is never itself taken for a template.

use std::borrow::Cow;

use http::{
    HeaderName, HeaderValue,
    header::{InvalidHeaderValue, REFERER},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the placeholders stand for.
#[derive(Debug, Clone)]
pub(super) struct Terms<'a> {
    pub(super) conversation_id: &'a str,
    pub(super) message: &'a str,
    pub(super) model: &'a str,
    pub(super) request_id: String,
    pub(super) unix_time_ms: String,
    pub(super) stream: bool,
}

/// A piece of a template.
enum Piece<'t> {
    Text(&'t str),
    /// A placeholder's name, with what is before and after it.
    Name(&'t str, [&'t str; 2]),
}

const STREAM: &str = "stream";

impl Terms<'_> {
    fn of(&self, name: &str) -> Option<&str> {
        Some(match name {
            "conversation_id" => self.conversation_id,
            "message" => self.message,
            "model" => self.model,
            "request_id" => &self.request_id,
            "unix_time_ms" => &self.unix_time_ms,
            STREAM if self.stream => "true",
            STREAM => "false",
            _ => return None,
        })
    }

    /// Fills in a template that is JSON.
    pub(super) fn json(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len() + self.message.len());
        let mut skip = 0;
        for piece in self.pieces(template) {
            match piece {
                Piece::Text(text) => filled.push_str(text.get(std::mem::take(&mut skip)..).unwrap_or_default()),
                Piece::Name(STREAM, [before, after]) if is_whole_value(before, after) => {
                    filled.pop();
                    filled.push_str(self.of(STREAM).unwrap_or_default());
                    skip = 1;
                }
                Piece::Name(name, _) => {
                    let string = serde_json::Value::from(self.of(name).unwrap_or_default()).to_string();
                    filled.push_str(string.get(1..string.len() - 1).unwrap_or_default());
                }
            }
        }
        filled
    }

    /// Fills in a header's template.
    ///
    /// # Errors
    /// Where what is filled in holds what no header may hold, such as a line feed.
    pub(super) fn header(&self, name: &HeaderName, template: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let text =
            |value| if *name == REFERER { utf8_percent_encode(value, &RESERVED).into() } else { Cow::from(value) };
        let pieces = self.pieces(template).map(|piece| match piece {
            Piece::Text(text) => Cow::from(text),
            Piece::Name(name, _) => text(self.of(name).unwrap_or_default()),
        });
        HeaderValue::from_str(&pieces.collect::<String>())
    }

    /// The template, cut before and after each placeholder.
    fn pieces<'t>(&self, template: &'t str) -> impl Iterator<Item = Piece<'t>> {
        let names = template.match_indices('{').filter_map(|(at, _)| {
            let name = template.get(at + 1..)?.split_once('}')?.0;
            self.of(name).map(|_| (at, name))
        });
        let names: Vec<_> = names.chain([(template.len(), "")]).collect();
        let mut done = 0;
        names.into_iter().flat_map(move |(at, name)| {
            let text = template.get(done..at).unwrap_or_default();
            done = at + name.len() + 2;
            let around = [template.get(..at).unwrap_or_default(), template.get(done..).unwrap_or_default()];
            [Some(Piece::Text(text)), (!name.is_empty()).then_some(Piece::Name(name, around))].into_iter().flatten()
        })
    }
}

/// Whether a placeholder in a JSON text is all of a string, and that string no member's name.
fn is_whole_value(before: &str, after: &str) -> bool {
    let opens = before.strip_suffix('"').is_some_and(|rest| {
        let escapes = rest.len() - rest.trim_end_matches('\\').len();
        escapes.is_multiple_of(2)
    });
    opens && after.strip_prefix('"').is_some_and(|rest| !rest.trim_start().starts_with(':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::*;

    fn terms<'a>(conversation_id: &'a str, message: &'a str) -> Terms<'a> {
        let (request_id, unix_time_ms) = ("r-1".to_owned(), "1700000000000".to_owned());
        Terms { conversation_id, message, model: "m", request_id, unix_time_ms, stream: true }
    }

    #[test]
    fn json_is_filled_in_within_its_strings_and_nowhere_else() {
        for (template, filled) in [
            ("{}", "{}"),
            (r#"{"message": "{message}", "x": 1.50}"#, r#"{"message": "say \"{model}\"\n", "x": 1.50}"#),
            (
                r#"["{conversation_id}/{model}", "{request_id}", "{unix_time_ms}"]"#,
                r#"["c/m", "r-1", "1700000000000"]"#,
            ),
            (r#"{"stream": "{stream}", "s": "is {stream}"}"#, r#"{"stream": true, "s": "is true"}"#),
            (r#"{"{stream}" : "\"{stream}\"", "b": "\\\"{stream}"}"#, r#"{"true" : "\"true\"", "b": "\\\"true"}"#),
            (r#"["{unknown}", "{", "{stream", "{{model}}"]"#, r#"["{unknown}", "{", "{stream", "{m}"]"#),
        ] {
            assert_eq!(terms("c", "say \"{model}\"\n").json(template), filled);
            serde_json::from_str::<Value>(filled).expect("still JSON");
        }
    }

    #[test]
    fn a_referer_is_a_url_and_other_headers_are_text() {
        let header = |name: &'static str, id| {
            let value =
                terms(id, "").header(&HeaderName::from_static(name), "https://x.example/c/{conversation_id}?m={model}");
            value.map(|value| value.to_str().unwrap().to_owned()).ok()
        };
        assert_eq!(header("referer", "a b/../é\n").unwrap(), "https://x.example/c/a%20b%2F..%2F%C3%A9%0A?m=m");
        assert_eq!(header("x-conversation", "a b/1").unwrap(), "https://x.example/c/a b/1?m=m");
        assert_eq!(header("x-conversation", "a\r\nx-evil: 1"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_filled_in_stays_within_its_string(id in any::<String>(), message in any::<String>()) {
            let filled = terms(&id, &message).json(r#"{"a": "{conversation_id}", "b": ["x{message}y"], "c": "{stream}"}"#);
            let expected = json!({"a": id, "b": [format!("x{message}y")], "c": true});
            prop_assert_eq!(serde_json::from_str::<Value>(&filled).unwrap(), expected);
        }
    }
}
