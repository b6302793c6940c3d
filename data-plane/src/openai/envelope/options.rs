//! Whether a client asks a stream to report its usage, and what would have to be written for it to be asked. It changes nothing.

use std::ops::Range;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::splice;

/// Whether a client asks a stream to report its usage (`stream_options.include_usage`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UsageWish {
    /// It does; or it asks for something that only the upstream can judge.
    Asked,
    /// It does not.
    Unasked {
        /// What would be replaced by `ask`, which may be nothing.
        span: Range<usize>,
        /// What would ask for it.
        ask: &'static str,
    },
}

#[derive(Deserialize)]
struct Options<'b> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    include_usage: Option<&'b RawValue>,
}

/// A `null` that is written is there.
fn even_null<'b, D: Deserializer<'b>>(value: D) -> Result<Option<&'b RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

impl UsageWish {
    /// Reads the value of `stream_options` in a body that is an object with at least one other member.
    pub(super) fn read(body: &[u8], options: Option<&str>) -> Self {
        let Some(raw) = options else {
            let start = 1 + body.iter().position(|byte| *byte == b'{').unwrap_or_default();
            return Self::Unasked { span: start..start, ask: r#""stream_options":{"include_usage":true},"# };
        };
        if raw == "null" {
            return Self::Unasked { span: splice::span(body, raw), ask: r#"{"include_usage":true}"# };
        }
        match serde_json::from_str(raw) {
            Ok(Options { include_usage: Some(value) }) if matches!(value.get(), "false" | "null") => {
                Self::Unasked { span: splice::span(body, value.get()), ask: "true" }
            }
            Ok(Options { include_usage: None }) if raw.starts_with('{') => {
                let start = splice::span(body, raw).start + 1;
                let bare = raw.get(1..).is_some_and(|rest| rest.trim_start().starts_with('}'));
                let ask = if bare { r#""include_usage":true"# } else { r#""include_usage":true,"# };
                Self::Unasked { span: start..start, ask }
            }
            _ => Self::Asked,
        }
    }

    /// Whether the client is told what its stream has used.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Self::Asked)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Envelope, *};

    #[test]
    fn a_stream_is_asked_for_its_usage_in_the_place_where_that_belongs() {
        for (body, asking) in [
            (r#" {"model":"a"}"#, r#" {"stream_options":{"include_usage":true},"model":"a"}"#),
            (r#"{"model":"a","stream_options":null}"#, r#"{"model":"a","stream_options":{"include_usage":true}}"#),
            (r#"{"stream_options":{ },"model":"a"}"#, r#"{"stream_options":{"include_usage":true },"model":"a"}"#),
            (
                r#"{"stream_options":{"x":1},"model":"a"}"#,
                r#"{"stream_options":{"include_usage":true,"x":1},"model":"a"}"#,
            ),
            (
                r#"{"stream_options":{"include_usage": false},"model":"a"}"#,
                r#"{"stream_options":{"include_usage": true},"model":"a"}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":null},"model":"a"}"#,
                r#"{"stream_options":{"include_usage":true},"model":"a"}"#,
            ),
        ] {
            let Envelope { usage, .. } = Envelope::parse(body.as_bytes()).unwrap();
            let UsageWish::Unasked { span, ask } = usage else { panic!("{body} asks for nothing") };
            let mut asked = body.to_owned();
            asked.replace_range(span, ask);
            assert_eq!(asked, asking);
        }
    }

    #[test]
    fn what_is_asked_for_already_or_in_an_odd_way_is_left_alone() {
        for options in [
            r#"{"include_usage":true}"#,
            r#"{"include_usage":"yes"}"#,
            r#"{"include_usage":true,"include_usage":false}"#,
            "[]",
            "7",
            r#""include_usage""#,
        ] {
            let body = format!(r#"{{"model":"a","stream_options":{options}}}"#);
            assert_eq!(Envelope::parse(body.as_bytes()).unwrap().usage, UsageWish::Asked, "{options}");
        }
    }
}
