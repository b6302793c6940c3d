//! A chat as the one text that a conversation takes: its messages joined, each led by its role when there is more than one. What
//! is no text cannot be said so, and is refused rather than left out.

use std::borrow::Cow;

use serde::Deserialize;

/// Why a chat cannot be said in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// There is no list of messages, or none of them says anything.
    #[error("`messages` must be a list of messages, and one of them must say something")]
    Nothing,
    /// A message is none.
    #[error("`messages[{0}]` must have a `role`, and a `content` of text")]
    Shape(usize),
    /// A message holds an image, a sound or a file.
    #[error("`messages[{0}]` holds something that is no text, which this model does not take")]
    NotText(usize),
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow, default)]
    messages: Vec<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Parts(#[serde(borrow)] Vec<Part<'a>>),
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

/// Joins the messages of a chat request. A message without content, such as one that only calls tools, says nothing.
///
/// # Errors
/// [`Error`] names the message that is in the way.
pub(super) fn joined(chat: &[u8]) -> Result<String, Error> {
    let Chat { messages } = serde_json::from_slice(chat).map_err(|_| Error::Nothing)?;
    let mut said = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let Message { role, content } = serde_json::from_str(message.get()).map_err(|_| Error::Shape(at))?;
        if let Some(content) = content {
            said.push((role, content.text().ok_or(Error::NotText(at))?));
        }
    }
    match said.as_slice() {
        [] => Err(Error::Nothing),
        [(_, text)] => Ok(text.clone().into_owned()),
        many => Ok(many.iter().map(|(role, text)| format!("{role}: {text}")).collect::<Vec<_>>().join("\n")),
    }
}

impl<'a> Content<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Parts(parts) => parts.into_iter().map(Part::text).collect::<Option<String>>().map(Cow::Owned),
        }
    }
}

impl<'a> Part<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        self.text.filter(|_| self.kind == "text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_joined_each_led_by_its_role() {
        for (messages, said) in [
            (r#"[{"role":"user","content":"hello"}]"#, "hello"),
            (
                r#"[{"role":"system","content":"Be \"brief\"."},{"role":"user","content":"hi"}]"#,
                "system: Be \"brief\".\nuser: hi",
            ),
            (r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"\u00e4b"}]}]"#, "aäb"),
            (
                r#"[{"role":"assistant","content":null,"tool_calls":[]},{"role":"user","content":"hi","name":"x"}]"#,
                "hi",
            ),
        ] {
            assert_eq!(joined(format!(r#"{{"model":"m","messages":{messages}}}"#).as_bytes()).as_deref(), Ok(said));
        }
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        for (messages, error) in [
            ("[]", Error::Nothing),
            ("{}", Error::Nothing),
            (r#"[{"role":"assistant","content":null}]"#, Error::Nothing),
            (r#"[{"role":"user","content":"a"},{"content":"b"}]"#, Error::Shape(1)),
            (r#"[{"role":"user","content":7}]"#, Error::Shape(0)),
            (
                r#"[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"x"}}]}]"#,
                Error::NotText(1),
            ),
        ] {
            assert_eq!(joined(format!(r#"{{"messages":{messages}}}"#).as_bytes()), Err(error), "{messages}");
        }
        assert_eq!(joined(br#"{"model":"m"}"#), Err(Error::Nothing));
    }
}
