//! How the JSON of a resource is said in a table.

use serde_json::Value;

/// How a value is said in a table.
#[derive(Clone, Copy)]
pub enum Cell {
    /// As it is; lists and maps joined by commas.
    Text,
    /// The name without its collections.
    Id,
    /// An enum's word without this in front.
    Word(&'static str),
    /// A time, to the second.
    Time,
    /// A length of time, to the millisecond.
    Length,
    /// How many there are.
    Count,
    /// `yes`, or nothing.
    Flag,
    /// What redirects lead to.
    Targets,
}

impl Cell {
    pub(super) fn say(self, value: &Value) -> String {
        match (self, value) {
            (Self::Flag, value) => if value == &Value::Bool(true) { "yes" } else { "" }.to_owned(),
            (Self::Count, Value::Array(list)) => list.len().to_string(),
            (Self::Targets, Value::Array(list)) => list.iter().map(target).collect::<Vec<_>>().join(", "),
            (Self::Id, Value::String(name)) => id(name),
            (Self::Word(prefix), Value::String(word)) => {
                word.strip_prefix(prefix).unwrap_or(word).to_ascii_lowercase().replace('_', "-")
            }
            (Self::Time, Value::String(time)) => match time.split_once('.') {
                Some((seconds, _)) => format!("{seconds}Z"),
                None => time.clone(),
            },
            (Self::Length, Value::String(length)) => milliseconds(length),
            (_, value) => text(value),
        }
    }
}

fn milliseconds(length: &str) -> String {
    match length.strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok()) {
        Some(seconds) => format!("{seconds:.3}s").replace("-0.000s", "0.000s"),
        None => length.to_owned(),
    }
}

/// A full name without its collections.
pub(super) fn id(name: &str) -> String {
    name.split('/').skip(1).step_by(2).collect::<Vec<_>>().join("/")
}

fn target(target: &Value) -> String {
    let part = |key| target.get(key).and_then(Value::as_str).unwrap_or_default();
    match (part("provider"), part("model")) {
        (provider, "") => provider.to_owned(),
        (provider, model) => format!("{provider}/{model}"),
    }
}

/// A JSON value in one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(", ")
        }
    }
}
