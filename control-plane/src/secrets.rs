//! Finds the secrets in a message by its schema: every text field that is marked `debug_redact` and that operators set. A new such
//! field is sealed without a line being added anywhere.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::LazyLock,
};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_proto::DESCRIPTORS;

use crate::message::is_output_only;

/// Secrets by the path of their field, such as `headers["authorization"].secret`. Map keys in it are in lower case.
pub(crate) type Secrets = BTreeMap<String, SecretString>;

/// The fields that hold secrets, by full name.
static SECRET: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let fields = DESCRIPTORS.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(is_secret).map(|field| field.full_name().to_owned()).collect()
});

fn is_secret(field: &FieldDescriptor) -> bool {
    let redacted = field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true));
    redacted && field.kind() == Kind::String && !field.is_list() && !is_output_only(field)
}

/// Takes every secret out of a message.
pub(crate) fn take(message: &mut DynamicMessage) -> Secrets {
    let mut taken = Secrets::new();
    visit(message, "", &mut |path, holder, field| {
        match holder.take_field(field) {
            // As good as none: it could not be sent.
            Some(Value::String(secret)) if secret.is_empty() => {}
            Some(Value::String(secret)) => drop(taken.insert(path, secret.into())),
            _ => {}
        }
    });
    taken
}

/// Where a message without its secrets has room for one: the part that would hold it is there, and holds nothing in its place.
pub(crate) fn vacancies(message: &mut DynamicMessage) -> Vec<String> {
    let mut vacant = Vec::new();
    visit(message, "", &mut |path, holder, field| {
        let taken = field.containing_oneof().is_some_and(|oneof| oneof.fields().any(|other| holder.has_field(&other)));
        if !taken {
            vacant.push(path);
        }
    });
    vacant
}

/// Puts secrets where they were taken from.
pub(crate) fn put(message: &mut DynamicMessage, secrets: &Secrets) {
    visit(message, "", &mut |path, holder, field| {
        if let Some(secret) = secrets.get(&path) {
            holder.set_field(field, Value::String(secret.expose_secret().to_owned()));
        }
    });
}

/// The top-level field that a path leads into.
pub(crate) fn top_level(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

type Visitor<'a> = dyn FnMut(String, &mut DynamicMessage, &FieldDescriptor) + 'a;

/// Shows the visitor every field of the message that may hold a secret, whether or not it does, and the message that holds it.
fn visit(message: &mut DynamicMessage, prefix: &str, visitor: &mut Visitor<'_>) {
    let descriptor = message.descriptor();
    for field in descriptor.fields() {
        let path = if prefix.is_empty() { field.name().to_owned() } else { format!("{prefix}.{}", field.name()) };
        if SECRET.contains(field.full_name()) {
            visitor(path, message, &field);
        } else if message.has_field(&field) {
            match message.get_field_mut(&field) {
                Value::Message(inner) => visit(inner, &path, visitor),
                Value::Map(entries) => visit_entries(entries, &path, visitor),
                _ => {}
            }
        }
    }
}

fn visit_entries(entries: &mut HashMap<MapKey, Value>, path: &str, visitor: &mut Visitor<'_>) {
    for (key, value) in entries {
        if let (MapKey::String(key), Value::Message(inner)) = (key, value) {
            visit(inner, &format!("{path}[{:?}]", key.to_ascii_lowercase()), visitor);
        }
    }
}
