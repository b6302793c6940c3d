//! What is wrong with a filter, and where in it.

use super::MAX_CHARS;

/// Why a filter cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {problem}")]
pub(crate) struct Fault {
    /// The first character that is wrong, counted from 1.
    pub(crate) at: usize,
    /// What is wrong with it.
    pub(crate) problem: Problem,
}

/// What is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// It is no filter but a flood.
    #[error("a filter has at most {MAX_CHARS} characters")]
    TooLong,
    /// Something else than a field.
    #[error("the name of a field is expected, such as `display_name` or `labels.team`")]
    Path,
    /// Brackets, OR or NOT.
    #[error("`{0}` cannot be used: a filter is conditions joined by AND, and `!=` says what is not wanted")]
    Unsupported(String),
    /// A field without a condition.
    #[error("one of = != < <= > >= : is expected after a field")]
    Operator,
    /// A condition without its value.
    #[error("a value is expected: a word, or text in quotes")]
    Value,
    /// The text ends in a quotation.
    #[error("this quote is never closed")]
    Quote,
    /// Two conditions side by side.
    #[error(
        "AND is expected between two conditions, and a value with spaces or any of ()\"'=<>! in it is put in quotes"
    )]
    Join,
    /// No field of that name.
    #[error("`{field}` is not in {message}{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The word.
        field: String,
        /// The message that was looked into.
        message: String,
        /// The field that may have been meant.
        nearest: Option<String>,
    },
    /// Nothing is in it that could be named.
    #[error("`{0}` has no fields")]
    Leaf(String),
    /// Nobody finds out a secret by asking for it letter by letter.
    #[error("`{0}` is a secret, and cannot be asked for")]
    Secret(String),
    /// The field knows no such condition.
    #[error("`{field}` is {what}, and takes {operators} only")]
    Condition {
        /// The field.
        field: String,
        /// What kind of field it is.
        what: &'static str,
        /// What can be asked of it.
        operators: &'static str,
    },
    /// The value is of another kind than the field.
    #[error("`{value}` is not {expected}")]
    Type {
        /// The value.
        value: String,
        /// What would be one.
        expected: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(": did you mean `{nearest}`?"))
}
