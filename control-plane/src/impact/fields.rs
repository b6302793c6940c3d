//! Two versions of a resource, field by field, by its schema: a new field is compared without a line being added here.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MapKey, ReflectMessage as _, Value};
use signalbox_proto::{DESCRIPTORS, admin::v1::FieldChange};
use signalbox_routing::Kind;

use crate::{
    message::{Message, descriptor, is_output_only},
    secrets,
};

/// What a field that holds nothing further holds.
#[derive(Debug, Clone, PartialEq)]
struct Leaf {
    /// Proto JSON.
    value: serde_json::Value,
    /// Not to be shown.
    sensitive: bool,
}

type Leaves = BTreeMap<String, Leaf>;

/// The fields in which two versions of a resource differ, by path; `None` = there was, or is, none. What only the control plane sets
/// is left out. Messages hold no secrets, so that of these only [`with_secrets`] can tell.
pub(crate) fn field_changes(kind: Kind, before: Option<&Message>, after: Option<&Message>) -> Vec<FieldChange> {
    let leaves = |message: Option<&Message>| {
        let kept = message.map_or_else(|| DynamicMessage::new(descriptor(kind)), Message::kept);
        let mut leaves = Leaves::new();
        gather(&kept, "", &mut leaves);
        leaves
    };
    let (before, after) = (leaves(before), leaves(after));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differing.map(|path| change(path, before.get(path), after.get(path))).collect()
}

/// The same, and the secrets at these paths, which were set anew or removed.
pub(crate) fn with_secrets(mut changes: Vec<FieldChange>, secrets: &[String]) -> Vec<FieldChange> {
    let secret = |path: &String| FieldChange { path: path.clone(), sensitive: true, ..FieldChange::default() };
    changes.extend(secrets.iter().map(secret));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn change(path: &str, before: Option<&Leaf>, after: Option<&Leaf>) -> FieldChange {
    let sensitive = before.into_iter().chain(after).any(|leaf| leaf.sensitive);
    let shown = |leaf: Option<&Leaf>| leaf.filter(|_| !sensitive).and_then(|leaf| proto_value(&leaf.value));
    FieldChange { path: path.to_owned(), before: shown(before), after: shown(after), sensitive }
}

/// JSON as protobuf's message for it.
fn proto_value(json: &serde_json::Value) -> Option<prost_types::Value> {
    let schema = DESCRIPTORS.get_message_by_name("google.protobuf.Value")?;
    DynamicMessage::deserialize(schema, json).ok()?.transcode_to().ok()
}

/// Adds what the message holds, by path.
fn gather(message: &DynamicMessage, prefix: &str, leaves: &mut Leaves) {
    let schema = message.descriptor();
    for field in schema.fields().filter(|field| message.has_field(field) && !is_output_only(field)) {
        let path = if prefix.is_empty() { field.name().to_owned() } else { format!("{prefix}.{}", field.name()) };
        let holder = Holder { message, field: &field };
        match message.get_field(&field).as_ref() {
            Value::Message(inner) => holder.add_message(inner, path, leaves),
            Value::List(list) if matches!(field.kind(), FieldKind::Message(_)) => {
                for (at, element) in list.iter().enumerate().filter_map(|(at, value)| Some((at, value.as_message()?))) {
                    holder.add_message(element, format!("{path}[{at}]"), leaves);
                }
            }
            Value::Map(entries) => {
                for (key, value) in entries {
                    holder.add_entry(key, value, format!("{path}[{}]", shown(key)), leaves);
                }
            }
            _ => holder.add(path, holder.json(message.get_field(&field).into_owned()), leaves),
        }
    }
}

/// A field in the message that has it.
struct Holder<'a> {
    message: &'a DynamicMessage,
    field: &'a FieldDescriptor,
}

impl Holder<'_> {
    fn add_message(&self, inner: &DynamicMessage, path: String, leaves: &mut Leaves) {
        // Protobuf's own types are one value each in JSON; an empty message says only that it is there.
        let whole = inner.descriptor().package_name() == "google.protobuf";
        if whole || inner.fields().next().is_none() {
            self.add(path, serde_json::to_value(inner).unwrap_or_default(), leaves);
        } else {
            gather(inner, &path, leaves);
        }
    }

    fn add_entry(&self, key: &MapKey, value: &Value, path: String, leaves: &mut Leaves) {
        match value {
            Value::Message(inner) => self.add_message(inner, path, leaves),
            value => {
                let entry = self.json(Value::Map([(key.clone(), value.clone())].into()));
                let inner = entry.as_object().and_then(|entry| entry.values().next()).cloned();
                self.add(path, inner.unwrap_or_default(), leaves);
            }
        }
    }

    fn add(&self, path: String, value: serde_json::Value, leaves: &mut Leaves) {
        leaves.insert(path, Leaf { value, sensitive: secrets::is_sensitive(self.field) });
    }

    /// What the field would be in JSON if it held this.
    fn json(&self, value: Value) -> serde_json::Value {
        let mut alone = DynamicMessage::new(self.message.descriptor());
        alone.set_field(self.field, value);
        let json = serde_json::to_value(&alone).unwrap_or_default();
        json.as_object().and_then(|fields| fields.values().next()).cloned().unwrap_or_default()
    }
}

fn shown(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => format!("{text:?}"),
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use signalbox_proto::{admin::v1 as admin, config::v1 as config};

    use super::*;
    use crate::{key::Fingerprint, message};

    fn shown(changes: &[FieldChange]) -> Vec<String> {
        let text = |value: &Option<prost_types::Value>| {
            use prost_types::value::Kind;
            match value.as_ref().and_then(|value| value.kind.as_ref()) {
                None => "-".to_owned(),
                Some(Kind::StringValue(text)) => text.clone(),
                Some(Kind::NumberValue(number)) => number.to_string(),
                Some(Kind::BoolValue(truth)) => truth.to_string(),
                Some(Kind::ListValue(list)) => format!("{} values", list.values.len()),
                Some(Kind::StructValue(_)) => "{}".to_owned(),
                Some(Kind::NullValue(_)) => "null".to_owned(),
            }
        };
        let line = |change: &FieldChange| match change.sensitive {
            true => format!("{} (secret)", change.path),
            false => format!("{}: {} -> {}", change.path, text(&change.before), text(&change.after)),
        };
        changes.iter().map(line).collect()
    }

    fn header(content: config::header_value::Content) -> config::HeaderValue {
        config::HeaderValue { content: Some(content), overwrite: None }
    }

    #[test]
    fn every_leaf_that_differs_is_named_with_what_it_held() {
        let target = |model: &str| config::redirect::Target { model: model.to_owned(), ..Default::default() };
        let redirect = |from: &str, targets: Vec<config::redirect::Target>, label: &str| {
            let labels = [("team".to_owned(), label.to_owned())].into();
            Message::from(admin::Redirect { from: from.to_owned(), targets, labels, revision: 7, ..Default::default() })
        };
        let before = redirect("a", vec![target("x")], "one");
        let after = redirect("a", vec![target("y"), target("z")], "two");
        assert_eq!(
            shown(&field_changes(Kind::Redirect, Some(&before), Some(&after))),
            ["labels[\"team\"]: one -> two", "targets[0].model: x -> y", "targets[1].model: - -> z"]
        );
        assert!(field_changes(Kind::Redirect, Some(&after), Some(&after)).is_empty());
        assert_eq!(
            shown(&field_changes(Kind::Redirect, None, Some(&before))),
            ["from: - -> a", "labels[\"team\"]: - -> one", "targets[0].model: - -> x"]
        );
    }

    #[test]
    fn protobufs_own_types_and_enums_are_shown_as_in_json() {
        let timeouts = |seconds| {
            let connect = Some(prost_types::Duration { seconds, nanos: 0 });
            Some(config::Timeouts { connect, ..Default::default() })
        };
        let provider = |dialect: config::Dialect, seconds| {
            Message::from(admin::Provider {
                dialect: dialect.into(),
                timeouts: timeouts(seconds),
                models: vec!["m".to_owned(); usize::try_from(seconds).unwrap()],
                ..Default::default()
            })
        };
        let (before, after) = (provider(config::Dialect::Openai, 1), provider(config::Dialect::Anthropic, 2));
        assert_eq!(
            shown(&field_changes(Kind::Provider, Some(&before), Some(&after))),
            [
                "dialect: DIALECT_OPENAI -> DIALECT_ANTHROPIC",
                "models: 1 values -> 2 values",
                "timeouts.connect: 1s -> 2s"
            ]
        );
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let headers = |content| [("authorization".to_owned(), header(content))].into();
        let provider = |content| Message::from(admin::Provider { headers: headers(content), ..Default::default() });
        let before = provider(config::header_value::Content::Value("plain".to_owned()));
        let after = provider(config::header_value::Content::Secret("s-header".to_owned()));
        let changes = field_changes(Kind::Provider, Some(&before), Some(&after));
        assert_eq!(
            shown(&changes),
            ["headers[\"authorization\"].secret (secret)", "headers[\"authorization\"].value: plain -> -"]
        );
        let digest = |byte| {
            let fingerprint = Fingerprint { sha256: [byte; 32], display_prefix: String::new() };
            Message::from(message::ClientKey::new(admin::ClientKey::default(), fingerprint))
        };
        let changes = field_changes(Kind::ClientKey, Some(&digest(1)), Some(&digest(2)));
        assert_eq!(shown(&changes), ["import_sha256 (secret)"]);
    }

    #[test]
    fn a_secret_that_no_message_holds_is_told_by_its_path() {
        let credential = |weight| Message::from(admin::Credential { weight: Some(weight), ..Default::default() });
        let changes = field_changes(Kind::Credential, Some(&credential(1)), Some(&credential(2)));
        let changes = with_secrets(changes, &["secret".to_owned()]);
        assert_eq!(shown(&changes), ["secret (secret)", "weight: 1 -> 2"]);
    }
}
