//! Where a condition leads to: the words of a path as fields of a message.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{
    Step,
    fault::{Fault, Problem},
    read::Word,
};
use crate::admin::mask::nearest;

/// A path that leads somewhere.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) steps: Vec<Step>,
    /// As it was written.
    pub(super) text: String,
    /// Whether there is a list on the way, so that there may be several values at its end.
    pub(super) plural: bool,
    /// What is at its end.
    pub(super) end: End,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum End {
    /// A map, of which no entry is named yet.
    Map,
    /// A list of values of this kind.
    List(Kind),
    /// A value of this kind.
    One(Kind),
}

/// Follows the words.
///
/// # Errors
/// [`Fault`] at the first word that leads nowhere, or to a secret.
pub(super) fn resolve(words: &[Word<'_>], message: &MessageDescriptor) -> Result<Path, Fault> {
    let mut path = Path { steps: Vec::new(), text: String::new(), plural: false, end: End::Map };
    let mut inside = Some(message.clone());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(message) = inside.take() else { return Err(word.fault(Problem::Leaf(path.text))) };
        let field = find(word, &message)?;
        path.push(word);
        let mut kind = field.kind();
        let mut key = None;
        if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
            kind = entry.map_entry_value_field().kind();
            key = words.next();
            path.end = if key.is_some() { End::One(kind.clone()) } else { End::Map };
        } else {
            path.plural |= field.is_list();
            path.end = if field.is_list() { End::List(kind.clone()) } else { End::One(kind.clone()) };
        }
        if let Some(key) = key {
            path.push(key);
        }
        path.steps.push(Step { field, key: key.map(|key| key.text.to_string()) });
        inside = match kind {
            Kind::Message(message) if message.package_name() != "google.protobuf" => Some(message),
            _ => None,
        };
    }
    Ok(path)
}

impl Path {
    fn push(&mut self, word: &Word<'_>) {
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(&word.text);
    }
}

/// Either spelling will do: the schema's, and that of its JSON.
fn find(word: &Word<'_>, message: &MessageDescriptor) -> Result<FieldDescriptor, Fault> {
    let field = message.get_field_by_name(&word.text).or_else(|| message.get_field_by_json_name(&word.text));
    let field = field.ok_or_else(|| {
        let (message, nearest) = (message.name().to_owned(), nearest(&word.text, message));
        word.fault(Problem::Unknown { field: word.text.to_string(), message, nearest })
    })?;
    let redacted = field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true));
    if redacted { Err(word.fault(Problem::Secret(word.text.to_string()))) } else { Ok(field) }
}
