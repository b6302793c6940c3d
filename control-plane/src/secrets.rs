//! Finds the secrets in a message by its schema: every text field that is marked `debug_redact` and that operators set. A new such
//! field is sealed without a line being added anywhere.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::LazyLock,
};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_proto::DESCRIPTORS;
use signalbox_routing::{Kind as ResourceKind, Resource};

use crate::message::is_output_only;

/// Secrets by the path of their field, such as `headers["authorization"].secret`. Map keys in it are in lower case.
pub(crate) type Secrets = BTreeMap<String, SecretString>;

/// The fields that hold secrets, by full name.
static SECRET: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let fields = DESCRIPTORS.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(is_secret).map(|field| field.full_name().to_owned()).collect()
});

/// The one secret that is part of a pair.
const PASSWORD: &str = "signalbox.config.v1.ForwardProxy.password";

/// A client key's digest is no secret by which anybody gets in, but nothing to be read out either.
const DIGEST: &str = "signalbox.admin.v1.ClientKey.import_sha256";

/// Whether what the field holds is never to be shown.
pub(crate) fn is_sensitive(field: &FieldDescriptor) -> bool {
    SECRET.contains(field.full_name()) || field.full_name() == DIGEST
}

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

/// The secrets in a resource as data planes get it. Their paths are the same as in what operators say.
pub(crate) fn of_body(resource: &Resource) -> Secrets {
    let message = match resource.name.kind() {
        ResourceKind::Settings => "signalbox.config.v1.Settings",
        ResourceKind::Provider => "signalbox.config.v1.Provider",
        ResourceKind::Credential => "signalbox.config.v1.Credential",
        ResourceKind::Route => "signalbox.config.v1.Route",
        ResourceKind::ClientKey | ResourceKind::Redirect => return Secrets::new(),
    };
    let schema = DESCRIPTORS.get_message_by_name(message);
    let body = schema.and_then(|schema| DynamicMessage::decode(schema, resource.body.clone()).ok());
    body.map(|mut body| take(&mut body)).unwrap_or_default()
}

/// Where a message without its secrets has room for one: the part that would hold it is there, and holds nothing in its place. A
/// password has no room where nobody is named whose it would be.
pub(crate) fn vacancies(message: &mut DynamicMessage) -> Vec<String> {
    let mut vacant = Vec::new();
    visit(message, "", &mut |path, holder, field| {
        let taken = field.containing_oneof().is_some_and(|oneof| oneof.fields().any(|other| holder.has_field(&other)));
        let ownerless = field.full_name() == PASSWORD && !holder.has_field_by_name("username");
        if !taken && !ownerless {
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
        let path = || if prefix.is_empty() { field.name().to_owned() } else { format!("{prefix}.{}", field.name()) };
        if SECRET.contains(field.full_name()) {
            visitor(path(), message, &field);
        } else if message.has_field(&field) {
            match message.get_field_mut(&field) {
                Value::Message(inner) => visit(inner, &path(), visitor),
                Value::Map(entries) => visit_entries(entries, &path(), visitor),
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

#[cfg(test)]
mod tests {
    use signalbox_proto::{admin::v1 as admin, config::v1 as config};

    use super::*;
    use crate::message::Message;

    fn header(content: Option<config::header_value::Content>) -> config::HeaderValue {
        config::HeaderValue { content, overwrite: None }
    }

    fn provider() -> DynamicMessage {
        use config::header_value::Content::{Secret, Value};
        let headers = [
            ("Authorization", header(Some(Secret("s-header".to_owned())))),
            ("x-plain", header(Some(Value("plain".to_owned())))),
            ("x-kept", header(None)),
        ];
        let proxy = config::ForwardProxy {
            url: "http://proxy:3128".to_owned(),
            username: "u".to_owned(),
            password: "s-proxy".to_owned(),
        };
        let provider = admin::Provider {
            name: "providers/a".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            forward_proxy: Some(proxy),
            ..Default::default()
        };
        Message::from(provider).dynamic()
    }

    #[test]
    fn every_secret_is_taken_out_and_goes_back_where_it_was() {
        let whole = provider();
        let mut message = whole.clone();
        let secrets = take(&mut message);
        let found: Vec<_> = secrets.iter().map(|(path, secret)| (path.as_str(), secret.expose_secret())).collect();
        assert_eq!(found, [("forward_proxy.password", "s-proxy"), ("headers[\"authorization\"].secret", "s-header")]);
        assert!(!message.to_string().contains("s-"), "{message}");
        put(&mut message, &secrets);
        assert_eq!(message, whole);
    }

    #[test]
    fn a_secret_has_room_where_nothing_else_is_in_its_place() {
        let mut message = provider();
        take(&mut message);
        let mut vacant = vacancies(&mut message);
        vacant.sort();
        assert_eq!(
            vacant,
            ["forward_proxy.password", "headers[\"authorization\"].secret", "headers[\"x-kept\"].secret"]
        );

        let place = config::SecretRef { at: Some(config::secret_ref::At::Env("KEY".to_owned())) };
        let credential = |source| Message::from(admin::Credential { source, ..Default::default() }).dynamic();
        assert_eq!(vacancies(&mut credential(None)), ["secret"]);
        assert!(vacancies(&mut credential(Some(admin::credential::Source::SecretRef(place)))).is_empty());
    }

    #[test]
    fn an_empty_secret_is_none() {
        let source = Some(admin::credential::Source::Secret(String::new()));
        let mut message = Message::from(admin::Credential { source, ..Default::default() }).dynamic();
        assert!(take(&mut message).is_empty());
        assert_eq!(vacancies(&mut message), ["secret"]);
    }

    #[test]
    fn the_schema_marks_these_fields_and_no_others() {
        let mut marked: Vec<&str> = SECRET.iter().map(String::as_str).collect();
        marked.sort_unstable();
        assert_eq!(
            marked,
            [
                "signalbox.admin.v1.ClientKey.import_secret",
                "signalbox.admin.v1.Credential.secret",
                "signalbox.config.v1.Credential.secret",
                "signalbox.config.v1.ForwardProxy.password",
                "signalbox.config.v1.HeaderValue.secret",
            ]
        );
    }

    #[test]
    fn no_secret_is_inside_a_list_where_its_place_could_change() {
        for message in DESCRIPTORS.all_messages() {
            for field in message.fields().filter(FieldDescriptor::is_list) {
                let Kind::Message(element) = field.kind() else { continue };
                let holds = |field: FieldDescriptor| SECRET.contains(field.full_name());
                let ours = message.full_name().starts_with("signalbox.admin.v1.") && !is_collection(&message);
                assert!(!ours || !element.fields().any(holds), "{}", field.full_name());
            }
        }
    }

    /// Messages that carry whole resources, each of which has a name of its own.
    fn is_collection(message: &prost_reflect::MessageDescriptor) -> bool {
        message.name() == "Config" || message.name().starts_with("List")
    }

    #[test]
    fn a_path_leads_into_a_top_level_field() {
        for (path, top) in
            [("secret", "secret"), ("forward_proxy.password", "forward_proxy"), ("headers[\"a.b\"].secret", "headers")]
        {
            assert_eq!(top_level(path), top);
        }
    }
}
