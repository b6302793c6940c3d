//! What a path and a query say of a request message: each of them is a field, by its path in either spelling. It reads no body.

use std::{borrow::Cow, collections::HashSet};

use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use prost::Message as _;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as ProtoValue};
use serde_json::{Map, Value};

use super::table::{Binding, Body};
use crate::{
    admin::error::Violation,
    proto_json::{self, Fault},
};

/// Longest query in bytes.
pub(super) const MAX_QUERY: usize = 16 * 1024;

/// The field of a message by its path, with those on the way; in the schema's spelling or in JSON's.
pub(super) fn field(message: &MessageDescriptor, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut message = message.clone();
    let mut fields = Vec::new();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = named(&message, name)?;
        if names.peek().is_some() {
            message = field.kind().as_message()?.clone();
        }
        fields.push(field);
    }
    Some(fields)
}

fn named(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

/// A request that holds one text, encoded. Requests that are encoded one after the other are one request.
pub(super) fn text(message: &MessageDescriptor, path: &str, text: String) -> Option<Vec<u8>> {
    let fields = field(message, path)?;
    let (last, outer) = fields.split_last()?;
    let mut held = DynamicMessage::new(last.parent_message().clone());
    held.set_field(last, ProtoValue::String(text));
    Some(within(outer, held).encode_to_vec())
}

/// The message that holds another one by these fields.
fn within(outer: &[FieldDescriptor], held: DynamicMessage) -> DynamicMessage {
    outer.iter().rev().fold(held, |held, field| {
        let mut holder = DynamicMessage::new(field.parent_message().clone());
        let held = ProtoValue::Message(held);
        holder.set_field(field, if field.is_list() { ProtoValue::List(vec![held]) } else { held });
        holder
    })
}

/// Everything that a query says, encoded.
pub(super) fn read(binding: &Binding, query: &str) -> Result<Bytes, Vec<Violation>> {
    let mut said = BytesMut::new();
    let mut before = HashSet::new();
    let mut violations = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match Parameter::read(binding, parameter) {
            Ok(Parameter { field, repeats, encoded }) => {
                if repeats || before.insert(field.clone()) {
                    said.extend_from_slice(&encoded);
                } else {
                    violations.push(Violation::new(field, "REPEATED_PARAMETER", "is said twice, and may be said once"));
                }
            }
            Err(violation) => violations.push(violation),
        }
    }
    if violations.is_empty() { Ok(said.freeze()) } else { Err(violations) }
}

/// One parameter, read.
struct Parameter {
    /// The field in the schema's spelling; with its key, for one of a map.
    field: String,
    /// Whether it may be said more than once.
    repeats: bool,
    encoded: Vec<u8>,
}

impl Parameter {
    fn read(binding: &Binding, parameter: &str) -> Result<Self, Violation> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let unknown = || Violation::new(&*name, "UNKNOWN_FIELD", unknown(binding));
        let request = binding.rpc.input();
        let (fields, key) = resolve(&request, &name).ok_or_else(unknown)?;
        let (last, outer) = fields.split_last().ok_or_else(unknown)?;
        refuse_what_is_said_elsewhere(binding, &fields, &name)?;
        let mut path = fields.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
        let json = match &key {
            None => leaf(last, &value).map(|json| if last.is_list() { Value::Array(vec![json]) } else { json }),
            Some(key) => {
                path = format!("{path}[{key}]");
                let entry = last.kind().as_message().map(MessageDescriptor::map_entry_value_field);
                let value = entry.and_then(|entry| leaf(&entry, &value));
                value.map(|value| Value::Object(Map::from_iter([(key.clone(), value)])))
            }
        };
        let json = json.ok_or_else(|| {
            Violation::new(&*name, "INVALID_PARAMETER", "cannot be said in a query: it is more than one value")
        })?;
        let object = Value::Object(Map::from_iter([(last.json_name().to_owned(), json)]));
        let held = proto_json::read(last.parent_message().clone(), object.to_string().as_bytes());
        let held = held.map_err(|fault| {
            let (Fault::Syntax { problem, .. } | Fault::Field { problem, .. }) = fault;
            Violation::new(&*name, "INVALID_PARAMETER", problem)
        })?;
        Ok(Self { field: path, repeats: last.is_list(), encoded: within(outer, held).encode_to_vec() })
    }
}

/// The field that a parameter names, and the key where it is one of a map: `labels[a.b]` or `labels.a.b`.
fn resolve(request: &MessageDescriptor, name: &str) -> Option<(Vec<FieldDescriptor>, Option<String>)> {
    if let Some((map, key)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        let fields = field(request, map)?;
        return fields.last()?.is_map().then(|| (fields, Some(key.to_owned())));
    }
    if let Some(fields) = field(request, name) {
        return (!fields.last()?.is_map()).then_some((fields, None));
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let fields = field(request, name.get(..dot)?)?;
        let key = name.get(dot + 1..)?;
        fields.last()?.is_map().then(|| (fields, Some(key.to_owned())))
    })
}

/// A field has one place: the path, the body, or the query.
fn refuse_what_is_said_elsewhere(binding: &Binding, fields: &[FieldDescriptor], name: &str) -> Result<(), Violation> {
    let path = fields.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
    if binding.template.fields().any(|variable| variable == path) {
        return Err(Violation::new(name, "MISPLACED_FIELD", "is said by the path, and not by the query"));
    }
    let in_body = match &binding.body {
        Body::Nothing => false,
        Body::Whole => true,
        Body::Field(body) => fields.first() == Some(body),
    };
    if in_body {
        return Err(Violation::new(name, "MISPLACED_FIELD", "is said by the body, and not by the query"));
    }
    Ok(())
}

/// One value as the JSON of its kind; `None` where the kind is more than one value.
fn leaf(field: &FieldDescriptor, text: &str) -> Option<Value> {
    if field.cardinality() == Cardinality::Repeated && field.is_map() {
        return None;
    }
    let json = match field.kind() {
        Kind::Bool if text == "true" || text.is_empty() => Value::Bool(true),
        Kind::Bool if text == "false" => Value::Bool(false),
        Kind::Enum(_) => text.parse::<i32>().map_or_else(|_| text.into(), Value::from),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.FieldMask" => camel_case(text).into(),
            "google.protobuf.Timestamp" | "google.protobuf.Duration" => text.into(),
            _ => return None,
        },
        _ => text.into(),
    };
    Some(json)
}

/// A field mask as canonical JSON has it, from either spelling.
fn camel_case(mask: &str) -> String {
    let mut after_underscore = false;
    mask.chars().fold(String::new(), |mut camel, letter| {
        match letter {
            '_' => after_underscore = true,
            _ if std::mem::take(&mut after_underscore) => camel.push(letter.to_ascii_uppercase()),
            _ => camel.push(letter),
        }
        camel
    })
}

/// A name or a value, decoded (application/x-www-form-urlencoded).
fn decode(text: &str) -> Result<String, Violation> {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| Violation::new("", "INVALID_PARAMETER", "the query is not UTF-8 once it is decoded"))
}

/// What there is instead.
fn unknown(binding: &Binding) -> String {
    let request = binding.rpc.input();
    let free = |field: &FieldDescriptor| {
        refuse_what_is_said_elsewhere(binding, std::slice::from_ref(field), field.name()).is_ok()
    };
    let names: Vec<_> = request.fields().filter(free).map(|field| format!("`{}`", field.name())).collect();
    match names.as_slice() {
        [] => "is no parameter: there are none here".to_owned(),
        names => format!("is no parameter: there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use prost_types::FieldMask;
    use signalbox_proto::admin::v1::{
        DeleteClientKeyRequest, ExportConfigRequest, ListProvidersRequest, UpdateProviderRequest,
    };

    use super::{
        super::{table::Table, template::RequestPath},
        *,
    };

    fn binding(method: Method, path: &str) -> &'static Binding {
        Table::get().find(&method, &RequestPath::parse(path).unwrap()).unwrap()
    }

    fn said<M: prost::Message + Default>(method: Method, path: &str, query: &str) -> M {
        M::decode(read(binding(method, path), query).unwrap()).unwrap()
    }

    fn refused(path: &str, query: &str) -> Vec<(String, &'static str)> {
        let violations = read(binding(Method::GET, path), query).unwrap_err();
        violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
    }

    #[test]
    fn parameters_are_fields_in_either_spelling() {
        let wanted = ListProvidersRequest {
            page_size: 2,
            page_token: "a b&c".to_owned(),
            filter: "labels.team = \"ä\"".to_owned(),
            at_revision: u64::MAX,
        };
        for query in [
            "page_size=2&page_token=a+b%26c&filter=labels.team+%3D+%22%C3%A4%22&at_revision=18446744073709551615",
            "&pageSize=2&&pageToken=a%20b%26c&filter=labels.team%20=%20%22ä%22&atRevision=18446744073709551615&",
        ] {
            assert_eq!(said::<ListProvidersRequest>(Method::GET, "/v1/providers", query), wanted, "{query}");
        }
    }

    #[test]
    fn maps_masks_durations_enums_and_flags_are_said_by_their_json() {
        for query in [
            "labels.team=a&labels[x.y]=&secrets=SECRET_MODE_SEALED&revision=7",
            "labels.x.y&secrets=2&labels[team]=a&revision=7",
        ] {
            let export: ExportConfigRequest = said(Method::GET, "/v1/config:export", query);
            assert_eq!((export.secrets, export.revision), (2, 7));
            let labels = [("team".to_owned(), "a".to_owned()), ("x.y".to_owned(), String::new())];
            assert_eq!(export.labels, labels.into());
        }
        for mask in ["update_mask=timeouts.stream_idle,priority", "updateMask=timeouts.streamIdle,priority"] {
            let query = format!("{mask}&validate_only&allowMissing=true");
            let update: UpdateProviderRequest = said(Method::PATCH, "/v1/providers/a", &query);
            let paths = vec!["timeouts.stream_idle".to_owned(), "priority".to_owned()];
            assert_eq!(update.update_mask, Some(FieldMask { paths }));
            assert!(update.validate_only && update.allow_missing);
        }
        let star: UpdateProviderRequest = said(Method::PATCH, "/v1/providers/a", "update_mask=*");
        assert_eq!(star.update_mask, Some(FieldMask { paths: vec!["*".to_owned()] }));
        let delete: DeleteClientKeyRequest = said(Method::DELETE, "/v1/clientKeys/a", "wait=1.5s&etag=%221-2%22");
        assert_eq!(delete.wait, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(delete.etag, "\"1-2\"");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_parameter() {
        for (path, query, field, reason) in [
            ("/v1/providers", "pagesize=2", "pagesize", "UNKNOWN_FIELD"),
            ("/v1/providers", "page_size.x=2", "page_size.x", "UNKNOWN_FIELD"),
            ("/v1/providers", "page_size=NaN", "page_size", "INVALID_PARAMETER"),
            ("/v1/providers", "page_size=99999999999999999999", "page_size", "INVALID_PARAMETER"),
            ("/v1/providers", "at_revision=-1", "at_revision", "INVALID_PARAMETER"),
            ("/v1/providers", "page_size=1&pageSize=2", "page_size", "REPEATED_PARAMETER"),
            ("/v1/providers/a", "name=providers/b", "name", "MISPLACED_FIELD"),
            ("/v1/config:export", "labels=a", "labels", "UNKNOWN_FIELD"),
            ("/v1/config:export", "labels.a=1&labels[a]=2", "labels[a]", "REPEATED_PARAMETER"),
            ("/v1/config:export", "secrets=EVERYTHING", "secrets", "INVALID_PARAMETER"),
            ("/v1/config:export", "secrets=%ff", "", "INVALID_PARAMETER"),
            ("/v1/config:export", "[=1", "[", "UNKNOWN_FIELD"),
            ("/v1/config:export", "][=1", "][", "UNKNOWN_FIELD"),
        ] {
            assert_eq!(refused(path, query), [(field.to_owned(), reason)], "{query}");
        }
        let patch = binding(Method::PATCH, "/v1/providers/a");
        for query in ["provider.priority=1", "provider.name=providers/a"] {
            assert_eq!(read(patch, query).unwrap_err()[0].reason, "MISPLACED_FIELD", "{query}");
        }
        let apply = binding(Method::POST, "/v1/config:apply");
        assert_eq!(read(apply, "validate_only=true").unwrap_err()[0].reason, "MISPLACED_FIELD");
    }

    #[test]
    fn what_is_no_number_is_told_what_would_be_one() {
        for (query, problem) in
            [("page_size=many", "must be a whole number"), ("page_size=99999999999", "is beyond what fits there")]
        {
            let violations = read(binding(Method::GET, "/v1/providers"), query).unwrap_err();
            assert_eq!(violations[0].description, problem);
        }
    }

    #[test]
    fn an_unknown_parameter_is_told_which_there_are() {
        let violations = read(binding(Method::GET, "/v1/providers"), "limit=2").unwrap_err();
        assert_eq!(
            violations[0].description,
            "is no parameter: there are `page_size`, `page_token`, `filter`, `at_revision`"
        );
    }
}
