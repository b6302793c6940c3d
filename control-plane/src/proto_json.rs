//! Proto JSON, in and out, by descriptors: what comes in is told where it is wrong, and never has a value repeated that may be a
//! secret; what goes out has its fields in the order of the schema.

use std::fmt::Display;

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _};
use serde::{
    Serialize, Serializer,
    de::DeserializeSeed,
    ser::{Error as _, SerializeMap as _},
};
use serde_json::{Value, error::Category};
use serde_path_to_error::Track;

/// What is wrong with a text that should be a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is no JSON.
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It is JSON, and no such message.
    Field {
        /// The path of the field as the text has it; empty = all of it.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads a message.
pub(crate) fn read(schema: MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, Fault> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = Track::new();
    let read = schema.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let path = match track.path() {
        path if path.iter().len() == 0 => String::new(),
        path => path.to_string(),
    };
    read.and_then(|read| json.end().map(|()| read)).map_err(|error| fault(&error, path))
}

fn fault(error: &serde_json::Error, path: String) -> Fault {
    let problem = problem(error);
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            Fault::Syntax { line: error.line(), column: error.column(), problem }
        }
        Category::Data => match unknown(&problem) {
            Some(key) => Fault::Field { path: joined(&path, key), problem: "is no field of it".to_owned() },
            None => Fault::Field { path, problem },
        },
    }
}

/// The key that there is no field for.
fn unknown(problem: &str) -> Option<&str> {
    problem.strip_prefix("unrecognized field name '")?.strip_suffix('\'')
}

/// A field's path below another one.
pub(crate) fn joined(path: &str, field: &str) -> String {
    match (path, field) {
        ("", only) | (only, "") => only.to_owned(),
        (path, field) if field.starts_with('[') => format!("{path}{field}"),
        (path, field) => format!("{path}.{field}"),
    }
}

/// What the parser says, without where, and without what it found.
pub(crate) fn problem(error: &impl Display) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    let quotes_keys_only = ["missing field", "duplicate field", "unrecognized field", "unknown field"];
    if quotes_keys_only.iter().any(|known| text.starts_with(known)) {
        return text.to_owned();
    }
    if text.starts_with("unrecognized enum value") {
        return "is none of the values that there are".to_owned();
    }
    // The standard library's words for texts that are no integers.
    if text.starts_with("invalid digit") || text.starts_with("cannot parse integer") {
        return "must be a whole number".to_owned();
    }
    if text.starts_with("number too ") {
        return "is beyond what fits there".to_owned();
    }
    match text.rsplit_once("expected ") {
        Some((found, expected)) if !found.is_empty() && found.trim_end().ends_with(',') => {
            format!("must be {expected}")
        }
        Some(("", _)) => text.to_owned(),
        _ if text.contains(['"', '`', '\'']) => "cannot be used here".to_owned(),
        _ => text.to_owned(),
    }
}

/// Writes a message for people and programs: indented, its fields in the order of the schema, its maps in the order of their keys.
pub(crate) fn write(message: &DynamicMessage) -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(message)?;
    let mut text =
        serde_json::to_string_pretty(&InOrder { kind: &Kind::Message(message.descriptor()), value: &value })?;
    text.push('\n');
    Ok(text)
}

/// A value whose objects are written in the order of their schema.
struct InOrder<'a> {
    kind: &'a Kind,
    value: &'a Value,
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.kind, self.value) {
            (kind, Value::Array(items)) => serializer.collect_seq(items.iter().map(|value| InOrder { kind, value })),
            (Kind::Message(schema), Value::Object(entries)) if schema.is_map_entry() => {
                let kind = &schema.map_entry_value_field().kind();
                serializer.collect_map(entries.iter().map(|(key, value)| (key, InOrder { kind, value })))
            }
            // Those with a JSON of their own have no fields in it.
            (Kind::Message(schema), Value::Object(entries)) if !schema.full_name().starts_with("google.protobuf.") => {
                let mut object = serializer.serialize_map(Some(entries.len()))?;
                let mut left = entries.len();
                for field in schema.fields() {
                    if let Some(value) = entries.get(field.json_name()) {
                        object.serialize_entry(field.json_name(), &InOrder { kind: &field.kind(), value })?;
                        left -= 1;
                    }
                }
                if left > 0 {
                    return Err(S::Error::custom("a field is in the message and not in its schema"));
                }
                object.end()
            }
            (_, value) => match whole(value) {
                Some(number) => serializer.serialize_i64(number),
                None => value.serialize(serializer),
            },
        }
    }
}

/// A number without a fraction that `google.protobuf.Value` holds as a float: 60 is not written as 60.0.
fn whole(value: &Value) -> Option<i64> {
    value.as_number().filter(|number| number.is_f64())?.to_string().strip_suffix(".0")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use signalbox_proto::DESCRIPTORS;

    use super::*;

    fn schema(name: &str) -> MessageDescriptor {
        DESCRIPTORS.get_message_by_name(&format!("signalbox.admin.v1.{name}")).unwrap()
    }

    fn field(text: &str) -> (String, String) {
        match read(schema("CreateProviderRequest"), text.as_bytes()).unwrap_err() {
            Fault::Field { path, problem } => (path, problem),
            Fault::Syntax { .. } => panic!("{text} is JSON"),
        }
    }

    #[test]
    fn a_fault_is_named_by_its_field_and_repeats_no_value() {
        for (text, path) in [
            (r#"{"provider": {"nonsense": "s3cret"}}"#, "provider.nonsense"),
            (r#"{"nonsense": "s3cret"}"#, "nonsense"),
            (r#"{"provider": {"timeouts": "s3cret"}}"#, "provider.timeouts"),
            (r#"{"provider": {"timeouts": {"connect": "s3cret"}}}"#, "provider.timeouts.connect"),
            (r#"{"provider": {"models": ["a", {"s3cret": 1}]}}"#, "provider.models[1]"),
            (r#"{"provider": {"priority": "s3cret"}}"#, "provider.priority"),
            (r#"{"provider": {"priority": 3000000000}}"#, "provider.priority"),
            (r#"{"provider": {"priority": NaN}}"#, ""),
            (r#"{"provider": {"dialect": "s3cret"}}"#, "provider.dialect"),
            (r#"{"validate_only": "s3cret"}"#, "validate_only"),
            (r#""s3cret""#, ""),
            ("[]", ""),
            ("null", ""),
        ] {
            if path.is_empty() && text.starts_with('{') {
                assert!(matches!(read(schema("CreateProviderRequest"), text.as_bytes()), Err(Fault::Syntax { .. })));
                continue;
            }
            let (named, problem) = field(text);
            assert_eq!(named, path, "{text}: {problem}");
            assert!(!problem.contains("s3cret") && !problem.is_empty(), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_no_json_is_named_by_line_and_column() {
        for (text, place) in [
            ("{\"provider\":\n  {\"baseUrl\" 1}}", (2, 14)),
            ("{\"providerId\": \"", (1, 16)),
            ("", (1, 0)),
            ("{} x", (1, 4)),
        ] {
            let fault = read(schema("CreateProviderRequest"), text.as_bytes()).unwrap_err();
            assert!(
                matches!(&fault, Fault::Syntax { line, column, .. } if (*line, *column) == place),
                "{text}: {fault:?}"
            );
        }
        let nested = format!("{{\"config\": {}", "{\"providers\": [".repeat(200));
        assert!(read(schema("ApplyConfigRequest"), nested.as_bytes()).is_err());
        assert!(matches!(
            read(schema("CreateProviderRequest"), b"{\"providerId\": \"\xff\"}"),
            Err(Fault::Syntax { .. })
        ));
    }

    #[test]
    fn fields_are_written_in_the_order_of_the_schema_and_maps_by_key() {
        let text = r#"{"labels": {"b": "2", "a": "1"}, "timeouts": {"streamIdle": "90s", "connect": "1s"}, "name": "providers/a"}"#;
        let message = read(schema("Provider"), text.as_bytes()).unwrap();
        let written = write(&message).unwrap();
        let order: Vec<_> = ["name", "timeouts", "connect", "streamIdle", "labels", "\"a\"", "\"b\""]
            .iter()
            .map(|key| written.find(key).unwrap())
            .collect();
        assert!(order.is_sorted(), "{written}");
        assert_eq!(read(schema("Provider"), written.as_bytes()).unwrap(), message);
    }

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        for (text, written) in [("600", "600"), ("-2", "-2"), ("0.25", "0.25"), ("1e300", "1e+300"), ("[1]", "1")] {
            let change = format!(r#"{{"before": {text}}}"#);
            let json = write(&read(schema("FieldChange"), change.as_bytes()).unwrap()).unwrap();
            let line =
                json.lines().find(|line| line.contains(written)).unwrap_or_else(|| panic!("{written} in {json}"));
            assert!(!line.contains(".0"), "{line}");
        }
    }
}
