//! The few fields of a request's body that the gateway acts on, read where they are. Every other byte is left alone.

use std::{borrow::Cow, fmt, ops::Range};

use simdutf8::basic as utf8;

use crate::{
    json::{self, Reader},
    splice,
};

mod options;

pub(crate) use options::UsageWish;

/// Longest model name in bytes.
pub(crate) const MAX_MODEL_BYTES: usize = 512;

/// What the gateway reads of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'b> {
    /// The model that the client asks for.
    pub(crate) model: Cow<'b, str>,
    /// Where its JSON string is in the body, quotes included.
    pub(crate) model_span: Range<usize>,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
    /// Whether that stream is to report its usage.
    pub(crate) usage: UsageWish,
    /// Most tokens that the answer may take, as far as the request says.
    pub(crate) max_tokens: Option<u64>,
}

/// The fields that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// `model`
    Model,
    /// `stream`
    Stream,
    /// `stream_options`
    StreamOptions,
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
    /// `max_output_tokens`
    MaxOutputTokens,
    /// `previous_response_id`
    PreviousResponseId,
}

/// Why a body is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not UTF-8 (RFC 8259, section 8.1).
    #[error("the body is not UTF-8")]
    Encoding(#[source] std::str::Utf8Error),
    /// Not JSON, or nested more than 128 levels deep.
    #[error("the body is not acceptable JSON")]
    Json(#[source] json::Error),
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A field that must be there is not.
    #[error("`{0}` is missing")]
    Missing(Field),
    /// A field is there twice, or in another case: an upstream might act on the one that was not judged.
    #[error("`{0}` must be there once, in lower case")]
    Repeated(Field),
    /// A field is of another type than it must be.
    #[error("`{0}` must be {what}", what = .0.expected())]
    Type(Field),
    /// A model name that nothing can be called.
    #[error("the model's name is empty or longer than {MAX_MODEL_BYTES} bytes")]
    ModelLength,
}

impl Field {
    const ALL: [Self; 7] = [
        Self::Model,
        Self::Stream,
        Self::StreamOptions,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::MaxOutputTokens,
        Self::PreviousResponseId,
    ];

    /// Its key.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::PreviousResponseId => "previous_response_id",
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Model | Self::PreviousResponseId => "a string",
            Self::Stream => "true or false",
            Self::StreamOptions => "an object",
            Self::MaxTokens | Self::MaxCompletionTokens | Self::MaxOutputTokens => "a whole number",
        }
    }

    // Some upstreams match keys whatever their case.
    fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str().eq_ignore_ascii_case(key))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'b> Envelope<'b> {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`Error`] where the body is not what every upstream would read in the same way.
    pub(crate) fn parse(body: &'b [u8]) -> Result<Self, Error> {
        // Several times as fast as the standard library, which is asked where the fault is.
        let text = utf8::from_utf8(body).or_else(|_| std::str::from_utf8(body)).map_err(Error::Encoding)?;
        let found: Found<'b> = read(text)?;
        let raw = found.get(Field::Model).ok_or(Error::Missing(Field::Model))?;
        let model = Some(raw).filter(|raw| raw.starts_with('"')).map(json::text).ok_or(Error::Type(Field::Model))?;
        if model.is_empty() || model.len() > MAX_MODEL_BYTES {
            return Err(Error::ModelLength);
        }
        let stream = match found.get(Field::Stream) {
            Some("true") => true,
            Some("false" | "null") | None => false,
            Some(_) => return Err(Error::Type(Field::Stream)),
        };
        Ok(Self {
            model,
            model_span: splice::span(body, raw),
            stream,
            usage: UsageWish::read(body, found.get(Field::StreamOptions)),
            max_tokens: found.max_tokens(),
        })
    }
}

/// The fields as they are written.
#[derive(Default)]
struct Found<'b> {
    values: [Option<&'b str>; Field::ALL.len()],
    repeated: Option<Field>,
}

impl<'b> Found<'b> {
    fn get(&self, field: Field) -> Option<&'b str> {
        self.values.get(field as usize).copied().flatten()
    }

    /// Takes a field's value, and notices when it is the second one.
    fn put(&mut self, field: Field, value: &'b str) {
        if self.values.get_mut(field as usize).and_then(|place| place.replace(value)).is_some() {
            self.repeated = Some(field);
        }
    }

    /// The cap on the answer, under whichever of its names. One that is no number is the upstream's to judge.
    fn max_tokens(&self) -> Option<u64> {
        let caps = [Field::MaxCompletionTokens, Field::MaxOutputTokens, Field::MaxTokens];
        caps.into_iter().filter_map(|cap| self.get(cap)?.parse().ok()).next()
    }
}

fn read(text: &str) -> Result<Found<'_>, Error> {
    let (mut reader, mut found) = (Reader::new(text), Found::default());
    if !reader.is_at_object() {
        // What is JSON at least.
        reader.value().map_err(Error::Json)?;
        return Err(Error::NotAnObject);
    }
    let members = reader.members(|reader, name| {
        let (name, value) = (json::text(name), reader.value()?);
        if let Some(field) = Field::of_key(&name) {
            found.put(field, value);
            if name != field.as_str() {
                found.repeated = Some(field);
            }
        }
        Ok(())
    });
    members.and_then(|()| reader.end()).map_err(Error::Json)?;
    found.repeated.map_or(Ok(found), |field| Err(Error::Repeated(field)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(body: &str) -> String {
        let error = Envelope::parse(body.as_bytes()).unwrap_err();
        format!("{error:?}").split('(').next().unwrap().to_owned()
    }

    #[test]
    fn a_request_is_read_where_it_is() {
        let body = r#" {"messages":[{"role":"user","content":"\"model\":\"x\""}], "model" : "gpt-4o" ,"stream":true} "#;
        let envelope = Envelope::parse(body.as_bytes()).unwrap();
        assert_eq!(envelope.model, "gpt-4o");
        assert!(matches!(envelope.model, Cow::Borrowed(_)));
        assert_eq!(&body[envelope.model_span], r#""gpt-4o""#);
        assert!(envelope.stream);
    }

    #[test]
    fn an_escaped_model_is_read_as_the_upstream_reads_it() {
        let body = r#"{"mod\u0065l":"a\/b","stream":null}"#;
        let envelope = Envelope::parse(body.as_bytes()).unwrap();
        assert_eq!(envelope.model, "a/b");
        assert_eq!(&body[envelope.model_span], r#""a\/b""#);
        assert!(!envelope.stream);
    }

    #[test]
    fn what_is_no_request_is_refused_for_what_it_is() {
        for (body, expected) in [
            ("", "Json"),
            ("{", "Json"),
            (r#"{"model":"a"} x"#, "Json"),
            (r#"{"model":"a",}"#, "Json"),
            (r#"{"model":"a","x":NaN}"#, "Json"),
            (r#"{"model":"a","x":"\ud800"}"#, "Json"),
            ("\u{feff}{}", "Json"),
            ("[]", "NotAnObject"),
            ("null", "NotAnObject"),
            (r#""model""#, "NotAnObject"),
            ("{}", "Missing"),
            (r#"{"model":null}"#, "Type"),
            (r#"{"model":1}"#, "Type"),
            (r#"{"model":["a"]}"#, "Type"),
            (r#"{"model":"\ud800"}"#, "Json"),
            (r#"{"model":""}"#, "ModelLength"),
            (r#"{"model":"a","model":"b"}"#, "Repeated"),
            (r#"{"model":"a","model":"a"}"#, "Repeated"),
            (r#"{"model":"a","mod\u0065l":"b"}"#, "Repeated"),
            (r#"{"model":"a","MODEL":"b"}"#, "Repeated"),
            (r#"{"model":"a","stream":true,"stream":false}"#, "Repeated"),
            (r#"{"model":"a","stream":"yes"}"#, "Type"),
            (r#"{"model":"a","stream_options":{},"stream_options":null}"#, "Repeated"),
            (r#"{"model":"a","max_tokens":1,"max_tokens":9}"#, "Repeated"),
            (r#"{"model":"a","max_completion_tokens":1,"Max_Completion_Tokens":9}"#, "Repeated"),
            (r#"{"model":"a","max_output_tokens":1,"max_output_tokens":1}"#, "Repeated"),
            (r#"{"model":"a","previous_response_id":"r~a","previous_response_id":"r~b"}"#, "Repeated"),
        ] {
            assert_eq!(error(body), expected, "{body}");
        }
        assert!(matches!(Envelope::parse(b"{\"model\":\"\xff\"}"), Err(Error::Encoding(_))));
        let long = format!(r#"{{"model":"{}"}}"#, "a".repeat(MAX_MODEL_BYTES + 1));
        assert_eq!(error(&long), "ModelLength");
    }

    #[test]
    fn the_cap_on_the_answer_is_read_under_each_of_its_names() {
        for (rest, cap) in [
            ("", None),
            (r#","max_tokens":7"#, Some(7)),
            (r#","max_tokens":7,"max_completion_tokens":8"#, Some(8)),
            (r#","max_output_tokens":9"#, Some(9)),
            (r#","max_tokens":null"#, None),
            (r#","max_tokens":-1"#, None),
            (r#","max_tokens":"7""#, None),
        ] {
            let body = format!(r#"{{"model":"a"{rest}}}"#);
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            assert_eq!(envelope.max_tokens, cap, "{body}");
        }
    }

    #[test]
    fn a_model_within_a_nested_object_is_nobodys_business() {
        let body = br#"{"tools":[{"model":"x","model":1}],"model":"a"}"#;
        assert_eq!(Envelope::parse(body).unwrap().model, "a");
    }

    #[test]
    fn the_depth_is_limited_to_128() {
        let nested =
            |levels: usize| format!(r#"{{"model":"a","x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(Envelope::parse(nested(127).as_bytes()).is_ok());
        assert_eq!(error(&nested(129)), "Json");
        assert_eq!(error(&nested(100_000)), "Json");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(body: Vec<u8>) {
            let _ = Envelope::parse(&body);
        }

        #[test]
        fn the_span_is_the_models_own_token(model in ".{1,40}", before in ".{0,20}", stream: bool) {
            let token = serde_json::to_string(&model).unwrap();
            let body = format!(r#"{{{}: [1, {{}}], "model":{token}, "stream": {stream}}}"#, serde_json::to_string(&format!("x{before}")).unwrap());
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(&envelope.model, &model);
            prop_assert_eq!(&body[envelope.model_span], token);
            prop_assert_eq!(envelope.stream, stream);
        }
    }
}
