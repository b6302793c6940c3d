//! Why a text is no configuration, for whoever wrote it: where, what is wrong, and what would be right. Never what is there, as that may
//! be a secret.

use std::borrow::Cow;

/// Most keys that are named where a format is not recognised.
const MAX_KEYS: usize = 8;

/// Why a text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing in it.
    #[error("it is empty: an empty file would take everything away, so it is refused")]
    Empty,
    /// It can be read, but no resource comes of it.
    #[error("it names no provider, route, redirect or key: that would take everything away, so it is refused")]
    Nothing,
    /// It is several documents, where only one can be meant.
    #[error("it holds several YAML documents: a configuration file is one; `signalbox apply` takes several")]
    Several,
    /// Something is wrong with one of several documents.
    #[error("document {number}: {fault}")]
    Document {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        fault: Box<Self>,
    },
    /// It is not written as its format asks.
    #[error("line {line}, column {column}: {problem}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// Something in it cannot be used.
    #[error("`{key}`{}: {rule}", at(.line))]
    Key {
        /// Where, such as `providers[1]`.
        key: String,
        /// The line, where it is known.
        line: Option<usize>,
        /// What would be right.
        rule: Cow<'static, str>,
    },
    /// Something is not there.
    #[error("`{key}` is missing: {rule}")]
    Missing {
        /// What.
        key: &'static str,
        /// What it would have to be.
        rule: &'static str,
    },
    /// None of the formats has such keys.
    #[error("its format is not known by its keys ({keys}): say which it is with --config-format")]
    Unrecognised {
        /// The keys that are there.
        keys: String,
    },
}

impl Error {
    /// Something at a key that does not follow its rule.
    pub(super) fn key(key: impl Into<String>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Key { key: key.into(), line: None, rule: rule.into() }
    }

    /// The same, in one of several documents.
    pub(super) fn in_document(self, number: usize) -> Self {
        Self::Document { number, fault: Box::new(self) }
    }

    /// A text with these keys.
    pub(super) fn unrecognised<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        let keys: Vec<String> = keys.into_iter().take(MAX_KEYS).map(|key| key.escape_debug().to_string()).collect();
        Self::Unrecognised { keys: if keys.is_empty() { "it has none".to_owned() } else { keys.join(", ") } }
    }
}

fn at(line: &Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}
