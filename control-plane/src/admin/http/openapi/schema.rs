//! Messages, enums and fields of the schemas as OpenAPI schemas: what canonical proto JSON makes of each. It knows no RPC.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, Value};
use signalbox_proto::DESCRIPTORS;
use utoipa::openapi::{
    ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat,
    schema::{KnownFormat, RefBuilder, SchemaType, Type},
};

use crate::admin::http::table::Binding;

/// The schema of what an error answers with.
pub(super) const ERROR: &str = "Error";

/// Values of `google.api.FieldBehavior`.
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const INPUT_ONLY: i32 = 4;

/// Which part of a message is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use<'a> {
    /// All of it.
    Whole,
    /// Whatever is to be changed: nothing is required.
    InPart,
    /// What the path of this binding does not say.
    WithoutPath(&'a Binding),
}

/// The schemas that are referred to.
#[derive(Default)]
pub(super) struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// All of them, and that of an error.
    pub(super) fn into_components(mut self) -> BTreeMap<String, RefOr<Schema>> {
        let detail = ObjectBuilder::new().property("@type", text()).required("@type");
        let detail = detail.additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(true)));
        let error = ObjectBuilder::new()
            .property("code", described(typed(Type::Integer), "The HTTP status"))
            .property("message", described(typed(Type::String), "What is wrong and what to do about it"))
            .property("status", described(typed(Type::String), "The name of the gRPC status, such as `NOT_FOUND`"))
            .property(
                "details",
                ArrayBuilder::new().items(detail).description(Some("`google.rpc` details; always an ErrorInfo")),
            );
        let error = ["code", "message", "status", "details"].into_iter().fold(error, ObjectBuilder::required);
        self.0.insert(ERROR.to_owned(), ObjectBuilder::new().property("error", error).required("error").into());
        self.0
    }

    /// A reference to a message, which is then among the schemas.
    pub(super) fn reference(&mut self, message: &MessageDescriptor, used: Use<'_>) -> Ref {
        let name = match used {
            Use::Whole | Use::WithoutPath(_) => name(message.full_name()),
            Use::InPart => format!("{}Update", name(message.full_name())),
        };
        if !self.0.contains_key(&name) {
            // A message may hold itself.
            self.0.insert(name.clone(), ObjectBuilder::new().into());
            let schema = self.message(message, used);
            self.0.insert(name.clone(), schema.into());
        }
        Ref::from_schema_name(name)
    }

    fn message(&mut self, message: &MessageDescriptor, used: Use<'_>) -> ObjectBuilder {
        let object = typed(Type::Object).description(Some(comment(&message.parent_file(), message.path())));
        message.fields().fold(object, |object, field| {
            if matches!(used, Use::WithoutPath(binding) if binding.template.fields().any(|said| said == field.name())) {
                return object;
            }
            let object = object.property(field.json_name(), self.of(&field));
            let required = is_required(&field) && !matches!(used, Use::InPart);
            if required { object.required(field.json_name()) } else { object }
        })
    }

    /// A field, with its comment and its behaviour.
    pub(super) fn of(&mut self, field: &FieldDescriptor) -> RefOr<Schema> {
        let about = about(field);
        if field.is_map() {
            let value = field.kind().as_message().map(|entry| self.kind(&entry.map_entry_value_field().kind()));
            let object = typed(Type::Object).additional_properties(value).description(Some(about));
            return RefOr::T(behaving(object, field).into());
        }
        if field.is_list() {
            let array = ArrayBuilder::new().items(self.kind(&field.kind())).description(Some(about));
            return RefOr::T(array.into());
        }
        match self.kind(&field.kind()) {
            RefOr::Ref(reference) => {
                let reference = RefBuilder::new().ref_location(reference.ref_location).description(Some(about));
                let reference = if behaves(field, OUTPUT_ONLY) { reference.read_only(true) } else { reference };
                let reference = if behaves(field, INPUT_ONLY) { reference.write_only(true) } else { reference };
                RefOr::Ref(reference.build())
            }
            RefOr::T(Schema::Object(object)) => {
                RefOr::T(behaving(object.into(), field).description(Some(about)).into())
            }
            other => other,
        }
    }

    fn kind(&mut self, kind: &Kind) -> RefOr<Schema> {
        let simple = match kind {
            Kind::Message(message) => return self.message_or_value(message),
            Kind::Enum(of) => return self.choice(of).into(),
            Kind::Double | Kind::Float => typed(Type::Number),
            Kind::Bool => typed(Type::Boolean),
            Kind::String => typed(Type::String),
            Kind::Bytes => formatted(Type::String, KnownFormat::Byte),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => formatted(Type::Integer, KnownFormat::Int32),
            Kind::Uint32 | Kind::Fixed32 => typed(Type::Integer).minimum(Some(0)),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => typed(Type::String).pattern(Some("^-?[0-9]+$")),
            Kind::Uint64 | Kind::Fixed64 => typed(Type::String).pattern(Some("^[0-9]+$")),
        };
        RefOr::T(simple.into())
    }

    fn message_or_value(&mut self, message: &MessageDescriptor) -> RefOr<Schema> {
        let value = match message.full_name() {
            "google.protobuf.Timestamp" => formatted(Type::String, KnownFormat::DateTime),
            "google.protobuf.Duration" => typed(Type::String).pattern(Some(r"^-?[0-9]+(\.[0-9]{1,9})?s$")),
            "google.protobuf.FieldMask" => typed(Type::String),
            "google.protobuf.Value" => ObjectBuilder::new().schema_type(SchemaType::AnyValue),
            _ => return self.reference(message, Use::Whole).into(),
        };
        RefOr::T(value.into())
    }

    fn choice(&mut self, of: &EnumDescriptor) -> Ref {
        let name = name(of.full_name());
        if !self.0.contains_key(&name) {
            let file = of.parent_file();
            let values = of.values().map(|value| format!("- `{}`: {}", value.name(), comment(&file, value.path())));
            let values: Vec<_> = values.collect();
            let about = format!("{}\n\n{}", comment(&file, of.path()), values.join("\n"));
            let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
            let schema = typed(Type::String).enum_values(Some(names)).description(Some(about));
            self.0.insert(name.clone(), schema.into());
        }
        Ref::from_schema_name(name)
    }
}

/// What the schema says about a field, and which others it excludes.
fn about(field: &FieldDescriptor) -> String {
    let about = comment(&field.parent_message().parent_file(), field.path());
    let one_of = field.containing_oneof().filter(|one_of| !one_of.is_synthetic());
    let Some(one_of) = one_of else { return about };
    let names: Vec<_> = one_of.fields().map(|field| format!("`{}`", field.json_name())).collect();
    format!("{about} At most one of {}.", names.join(", "))
}

fn behaving(object: ObjectBuilder, field: &FieldDescriptor) -> ObjectBuilder {
    let object = if behaves(field, OUTPUT_ONLY) { object.read_only(true) } else { object };
    if behaves(field, INPUT_ONLY) { object.write_only(true) } else { object }
}

/// Whether a field has to be said.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    behaves(field, REQUIRED)
}

fn behaves(field: &FieldDescriptor, behavior: i32) -> bool {
    let Some(extension) = DESCRIPTORS.get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let behaviors = options.get_extension(&extension);
    behaviors.as_list().is_some_and(|list| list.contains(&Value::EnumNumber(behavior)))
}

/// The admin API's own names are short.
fn name(full: &str) -> String {
    full.trim_start_matches("signalbox.admin.v1.").trim_start_matches("signalbox.").to_owned()
}

/// The comment that stands before a part of a file.
pub(super) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location.map_or("", |location| location.leading_comments());
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join("\n").trim().to_owned()
}

/// A text.
pub(super) fn text() -> RefOr<Schema> {
    RefOr::T(typed(Type::String).into())
}

fn typed(of: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(of)
}

fn formatted(of: Type, format: KnownFormat) -> ObjectBuilder {
    typed(of).format(Some(SchemaFormat::KnownFormat(format)))
}

fn described(schema: ObjectBuilder, about: &str) -> ObjectBuilder {
    schema.description(Some(about))
}
