//! What the demo upstream takes for a token, and how it reads the contents of messages.

use serde::Deserialize;

/// Every answer's `created`: 2026-01-01T00:00:00Z.
pub(super) const CREATED: u64 = 1_767_225_600;

/// A token is a word.
pub(super) fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

/// The pieces that a stream sends: each word with the space after it.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// A text, cut to a number of tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capped {
    pub(super) text: String,
    pub(super) cut: bool,
}

impl Capped {
    pub(super) fn new(text: &str, max_tokens: Option<usize>) -> Self {
        match max_tokens {
            Some(max) if max < tokens(text) => {
                let words: Vec<&str> = text.split_whitespace().take(max).collect();
                Self { text: words.join(" "), cut: true }
            }
            _ => Self { text: text.to_owned(), cut: false },
        }
    }
}

/// The content of a message: a text, or parts of several types.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    r#type: String,
    text: Option<String>,
}

impl Content {
    /// The content in words: a part without text stands as its type in brackets, such as `[image]`.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().map(Part::to_text).collect::<Vec<_>>().join(" "),
        }
    }
}

impl Part {
    fn to_text(&self) -> String {
        match (&self.text, self.r#type.as_str()) {
            (Some(text), _) => text.clone(),
            (None, "image_url" | "input_image") => "[image]".to_owned(),
            (None, other) => format!("[{other}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_limit_is_left_alone() {
        assert_eq!(Capped::new("two  words", Some(2)), Capped { text: "two  words".into(), cut: false });
        assert_eq!(Capped::new("two  words", None), Capped { text: "two  words".into(), cut: false });
        assert_eq!(Capped::new("these three words", Some(2)), Capped { text: "these three".into(), cut: true });
    }

    #[test]
    fn pieces_make_up_the_text() {
        let text = " a  text\nof several words ";
        assert_eq!(pieces(text).collect::<String>(), text);
    }

    #[test]
    fn parts_that_are_no_text_show_their_type() {
        let content =
            r#"[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"x"}},{"type":"input_audio"}]"#;
        let content: Content = serde_json::from_str(content).unwrap();
        assert_eq!(content.to_text(), "see [image] [input_audio]");
    }
}
