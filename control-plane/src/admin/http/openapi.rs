//! The admin API as an OpenAPI document: made from the bindings and the schemas, with the schemas' own comments, so that nothing is
//! forgotten and nothing is said twice. It knows no configuration.

use http::Method;
use prost_reflect::MethodDescriptor;
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr,
    Required, Response, ResponseBuilder, Schema, SecurityRequirement,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
    request_body::{RequestBody, RequestBodyBuilder},
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::{Tag, TagBuilder},
};

use super::table::{Binding, Body, Table};

mod schema;

use schema::{Schemas, Use};

const ABOUT: &str = "What operators can ask of Signalbox. The same calls as over gRPC on the same port, with the same JSON that grpcurl \
    takes and gives (canonical proto JSON): 64-bit numbers are strings, durations are `\"1.5s\"`, bytes are base64, and a field that has \
    its default is left out of an answer. Query parameters may be written as here or in camelCase. Errors are `{\"error\": …}` (AIP-193), \
    and one of their details is an `ErrorInfo` with a `reason` for programs.";

/// The scheme that every call asks for.
const BEARER: &str = "bearer";

/// The pages that ask for none.
const PAGES: [(&str, &str); 3] = [
    ("/health", "Whether the control plane serves: 503 while it stops"),
    ("/openapi.json", "This document"),
    ("/docs/", "This document for people"),
];

/// The whole document.
pub(super) fn document() -> OpenApi {
    let mut schemas = Schemas::default();
    let mut paths = Paths::new();
    for binding in Table::get().bindings() {
        if let Some(method) = method(&binding.method) {
            paths.add_path_operation(binding.template.to_string(), vec![method], operation(binding, &mut schemas));
        }
    }
    for (path, summary) in PAGES {
        let page = OperationBuilder::new().summary(Some(summary)).tag("Pages").securities(Some([]));
        let page = page.response("200", ResponseBuilder::new().description("The page"));
        paths.add_path_operation(path, vec![HttpMethod::Get], page.build());
    }
    let mut components = Components::new();
    components.schemas = schemas.into_components();
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An admin token")).build();
    components.security_schemes.insert(BEARER.to_owned(), SecurityScheme::Http(scheme).into());
    let info = InfoBuilder::new().title("Signalbox: the admin API").version(env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new()
        .info(info.description(Some(ABOUT)).license(Some(LicenseBuilder::new().name("Apache-2.0").build())))
        .paths(paths)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(BEARER, [""; 0])]))
        .tags(Some(tags()))
        .build()
}

fn method(method: &Method) -> Option<HttpMethod> {
    match *method {
        Method::GET => Some(HttpMethod::Get),
        Method::PUT => Some(HttpMethod::Put),
        Method::POST => Some(HttpMethod::Post),
        Method::DELETE => Some(HttpMethod::Delete),
        Method::PATCH => Some(HttpMethod::Patch),
        _ => None,
    }
}

/// The services, with what their schemas say of them.
fn tags() -> Vec<Tag> {
    let mut tags: Vec<Tag> = Vec::new();
    for binding in Table::get().bindings() {
        let service = binding.rpc.parent_service();
        let name = tag(&binding.rpc);
        if tags.last().is_none_or(|last| last.name != name) {
            let about = schema::comment(&service.parent_file(), service.path());
            tags.push(TagBuilder::new().name(name).description(Some(about)).build());
        }
    }
    tags
}

fn tag(rpc: &MethodDescriptor) -> String {
    rpc.parent_service().name().trim_end_matches("Service").to_owned()
}

fn operation(binding: &Binding, schemas: &mut Schemas) -> Operation {
    let rpc = &binding.rpc;
    let service = rpc.parent_service();
    let about = schema::comment(&service.parent_file(), rpc.path());
    let about = format!("{about}\n\nOver gRPC: `{}/{}`", service.full_name(), rpc.name());
    let answer = schemas.reference(&rpc.output(), Use::Whole);
    OperationBuilder::new()
        .operation_id(Some(rpc.name()))
        .summary(Some(words(rpc.name())))
        .description(Some(about))
        .tag(tag(rpc))
        .parameters(Some(parameters(binding, schemas)))
        .request_body(body(binding, schemas))
        .response("200", response("What was asked for", RefOr::Ref(answer)))
        .response("default", response("What went wrong", RefOr::Ref(Ref::from_schema_name(schema::ERROR))))
        .build()
}

/// `GetClientKey` as people write it.
fn words(name: &str) -> String {
    name.chars().enumerate().fold(String::new(), |mut words, (index, letter)| {
        if letter.is_ascii_uppercase() && index > 0 {
            words.push(' ');
        }
        words.push(if index > 0 { letter.to_ascii_lowercase() } else { letter });
        words
    })
}

fn response(description: &str, schema: RefOr<Schema>) -> Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

fn parameters(binding: &Binding, schemas: &mut Schemas) -> Vec<Parameter> {
    let in_path = binding.template.names().into_iter().map(|name| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        parameter.schema(Some(schema::text())).build()
    });
    let mut parameters: Vec<_> = in_path.collect();
    for field in binding.rpc.input().fields() {
        let elsewhere = match &binding.body {
            Body::Nothing => false,
            Body::Whole => true,
            Body::Field(body) => *body == field,
        };
        if elsewhere || binding.template.fields().any(|said| said.split('.').next() == Some(field.name())) {
            continue;
        }
        let required = if schema::is_required(&field) { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new().name(field.name()).parameter_in(ParameterIn::Query).required(required);
        let parameter =
            parameter.description(Some(schema::comment(&field.parent_message().parent_file(), field.path())));
        let parameter = parameter.schema(Some(schemas.of(&field)));
        let style = field.is_map().then_some(ParameterStyle::DeepObject);
        parameters.push(parameter.explode(style.as_ref().map(|_| true)).style(style).build());
    }
    parameters
}

fn body(binding: &Binding, schemas: &mut Schemas) -> Option<RequestBody> {
    let (schema, required) = match &binding.body {
        Body::Nothing => return None,
        Body::Whole => (schemas.reference(&binding.rpc.input(), Use::WithoutPath(binding)), false),
        Body::Field(field) => {
            let used = if binding.method == Method::PATCH { Use::InPart } else { Use::Whole };
            (schemas.reference(field.kind().as_message()?, used), schema::is_required(field))
        }
    };
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let required = if required { Required::True } else { Required::False };
    Some(RequestBodyBuilder::new().content("application/json", content).required(Some(required)).build())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use signalbox_proto::DESCRIPTORS;

    use super::*;

    fn shown() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_rpc_is_an_operation_with_its_comment_parameters_body_and_answer() {
        let document = shown();
        let operations: Vec<&Value> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .collect();
        for binding in Table::get().bindings() {
            let rpc = &binding.rpc;
            let operation = operations.iter().find(|operation| operation["operationId"] == rpc.name());
            let operation = operation.unwrap_or_else(|| panic!("no {}", rpc.full_name()));
            let about = operation["description"].as_str().unwrap();
            assert!(about.contains(rpc.parent_service().full_name()) && about.len() > 60, "{about}");
            assert!(operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].is_string());
            assert_eq!(operation["requestBody"].is_object(), binding.body != Body::Nothing, "{}", rpc.full_name());
            let named: BTreeSet<_> =
                operation["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
            assert!(binding.template.names().iter().all(|name| named.contains(name.as_str())), "{named:?}");
        }
        let ids: BTreeSet<_> = operations.iter().filter_map(|operation| operation["operationId"].as_str()).collect();
        assert_eq!(ids.len() + PAGES.len(), operations.len(), "an operation's id is its own");
    }

    #[test]
    fn every_field_of_every_message_is_there_with_its_comment_and_behaviour() {
        let document = shown();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (message, name) in [
            ("signalbox.admin.v1.Provider", "Provider"),
            ("signalbox.admin.v1.Revision", "Revision"),
            ("signalbox.config.v1.Timeouts", "config.v1.Timeouts"),
        ] {
            let properties = schemas[name]["properties"].as_object().unwrap();
            for field in DESCRIPTORS.get_message_by_name(message).unwrap().fields() {
                let property = &properties[field.json_name()];
                assert!(property["description"].as_str().is_some_and(|about| about.len() > 5), "{}", field.full_name());
            }
        }
        assert_eq!(schemas["Provider"]["required"], json!(["dialect"]));
        assert_eq!(schemas["ProviderUpdate"]["required"], Value::Null, "an update says what it changes");
        assert_eq!(schemas["Provider"]["properties"]["createTime"]["readOnly"], true);
        assert_eq!(schemas["Provider"]["properties"]["createTime"]["format"], "date-time");
        assert_eq!(schemas["Provider"]["properties"]["revision"]["type"], "string");
        assert_eq!(schemas["Credential"]["properties"]["secret"]["writeOnly"], true);
        assert_eq!(schemas["config.v1.Dialect"]["enum"][1], "DIALECT_OPENAI");
        assert_eq!(schemas["RollbackConfigRequest"]["properties"]["name"], Value::Null, "the path says it");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = shown();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
        assert_eq!(document["security"], json!([{"bearer": []}]));
        assert_eq!(document["paths"]["/health"]["get"]["security"], json!([]));
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    }
}
