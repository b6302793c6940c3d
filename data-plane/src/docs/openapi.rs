//! What the data plane answers to, as an OpenAPI document: made from the endpoints themselves, so that none is forgotten. It knows
//! no configuration but the base path.

use http::{Method, StatusCode};
use signalbox_routing::{Endpoint, Form};
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, HttpMethod, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi,
    OpenApiBuilder, PathItem, Paths, Ref, RefOr, Required, Response, ResponseBuilder, SecurityRequirement, Server,
    Type,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{AdditionalProperties, KnownFormat, Schema, SchemaFormat, SchemaType},
    security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};

use crate::path::Kept;

const ABOUT: &str = "An OpenAI-compatible gateway. A model is named `provider/model`, or as a redirect names it. \
    Fields that are not listed here are passed on as they are.\n\n\
    Every answer has an `x-request-id`. An answer from a provider says which one it was (`x-signalbox-provider`), which model \
    was asked of it (`x-signalbox-model`), after how many attempts (`x-signalbox-attempts`), and by which revision of the \
    configuration (`x-signalbox-revision`). Errors are OpenAI's, below `/v1/messages` Anthropic's.";

/// Below the API's root, besides the endpoints that carry a model.
const API: [(Method, &str, &str); 3] = [
    (Method::GET, "/models", "The models that the key may use"),
    (Method::GET, "/models/{model}", "One model; its id may hold slashes, written as they are or as `%2F`"),
    (
        Method::POST,
        "/reload",
        "Has the file that is the configuration's source read at once; no key from this machine; at most once in 5 s",
    ),
];

/// Of what providers keep.
const KEPT: &str = "Asked of the provider that the id says, `file-abc~provider`; else of the one that the header \
    `x-signalbox-provider` names; else of the default one, or the only one. 404 `not_found` where the key may not use it, \
    400 `provider_required` where several could be meant.";

/// The gateway's own pages, which need no key.
const PAGES: [(&str, &str); 7] = [
    ("/", "What this is and where things are"),
    ("/health", "How the gateway and its providers are; the providers are asked, at most once in 30 s"),
    ("/healthz", "Whether the process is alive"),
    ("/readyz", "Whether it takes traffic: 503 without a configuration, and while it stops"),
    ("/metrics", "Prometheus text, or JSON with `?format=json` or `Accept: application/json`"),
    ("/docs", "This page"),
    ("/openapi.json", "This document"),
];

/// What goes wrong, and the codes that say so.
const ERRORS: [(StatusCode, &str); 12] = [
    (
        StatusCode::BAD_REQUEST,
        "`invalid_json`, `missing_parameter`, `repeated_parameter`, `invalid_type`, `invalid_url`, `malformed_request`, `malformed_form`, `ambiguous_api_key`, `mixed_providers`, `provider_required`",
    ),
    (StatusCode::UNAUTHORIZED, "`missing_api_key`, `invalid_api_key`"),
    (StatusCode::NOT_FOUND, "`model_not_found`, `not_found`, `unknown_url`"),
    (StatusCode::METHOD_NOT_ALLOWED, "`method_not_allowed`; `Allow` lists those that can be used"),
    (StatusCode::REQUEST_TIMEOUT, "`request_timeout`: the request came too slowly"),
    (StatusCode::PAYLOAD_TOO_LARGE, "`request_too_large`"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "`unsupported_media_type`"),
    (StatusCode::TOO_MANY_REQUESTS, "`rate_limit_exceeded`; `retry-after` and `retry-after-ms` say for how long"),
    (StatusCode::INTERNAL_SERVER_ERROR, "`internal_error`"),
    (StatusCode::BAD_GATEWAY, "`upstream_error`, `upstream_credentials_exhausted`, `upstream_response_too_large`"),
    (StatusCode::SERVICE_UNAVAILABLE, "`no_available_target`, `gateway_not_ready`, `overloaded`"),
    (StatusCode::GATEWAY_TIMEOUT, "`upstream_timeout`"),
];

/// The four places that a key may be in: the name of each, and how it is written.
fn keys() -> [(&'static str, SecurityScheme); 4] {
    [
        ("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))),
        ("x-api-key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")))),
        ("api-key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("api-key")))),
        ("api_key", SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("api_key")))),
    ]
}

/// The whole document.
pub(super) fn document(base_path: &str) -> OpenApi {
    let mut paths = Paths::new();
    for endpoint in Endpoint::ALL {
        let method = if endpoint.form() == Form::WebSocket { HttpMethod::Get } else { HttpMethod::Post };
        paths.paths.insert(format!("/v1{}", endpoint.path()), PathItem::new(method, of_endpoint(endpoint)));
    }
    for (method, path, summary) in API {
        add(&mut paths, &method, format!("/v1{path}"), keyed(summary, "models").parameters(Some(parameters(path))));
    }
    for (path, methods) in Kept::places() {
        for method in methods.split(", ").filter_map(method_of) {
            let kept =
                keyed(path.trim_start_matches('/'), "kept").description(Some(KEPT)).parameters(Some(parameters(path)));
            paths.add_path_operation(format!("/v1{path}"), vec![method], kept.build());
        }
    }
    for (path, summary) in PAGES {
        let page = OperationBuilder::new().summary(Some(summary)).tag("pages").response("200", answer("The page"));
        add(&mut paths, &Method::GET, path.to_owned(), page);
    }
    let anything = "What is below a route passes to its target as it is, with every method and whatever it means. 403 \
        `destination_not_allowed` where a universal route may not call the address.";
    let route = keyed("A route of the configuration", "routes").description(Some(anything));
    let path = "/{route}/{path}";
    add(&mut paths, &Method::POST, path.to_owned(), route.parameters(Some(parameters(path))));
    let info = InfoBuilder::new().title("Signalbox").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let server = if base_path.is_empty() { "/" } else { base_path };
    OpenApiBuilder::new()
        .info(info.license(Some(LicenseBuilder::new().name("Apache-2.0").build())))
        .servers(Some([Server::new(server)]))
        .paths(paths)
        .components(Some(components()))
        .build()
}

fn add(paths: &mut Paths, method: &Method, path: String, operation: OperationBuilder) {
    let method = if *method == Method::GET { HttpMethod::Get } else { HttpMethod::Post };
    paths.add_path_operation(path, vec![method], operation.build());
}

/// A method as the document has it; `HEAD` goes without saying.
fn method_of(name: &str) -> Option<HttpMethod> {
    match name {
        "GET" => Some(HttpMethod::Get),
        "POST" => Some(HttpMethod::Post),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

/// The parameters in a path.
fn parameters(path: &str) -> Vec<Parameter> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name| ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    names.map(|name| parameter(name).schema(Some(typed(Type::String))).build()).collect()
}

fn of_endpoint(endpoint: Endpoint) -> Operation {
    let tag = if endpoint.is_anthropic() { "anthropic" } else { "openai" };
    let operation = keyed(endpoint.path().trim_start_matches('/'), tag);
    let described = |text: &str| operation.description(Some(text.to_owned()));
    match endpoint.form() {
        Form::Json => described("A stream where the body asks for one with `stream`.")
            .request_body(Some(body("application/json", [("stream", typed(Type::Boolean))])))
            .build(),
        Form::Multipart => {
            let file = ObjectBuilder::new().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
            let file = RefOr::T(Schema::Object(file.schema_type(Type::String).build()));
            let name = if endpoint.path().starts_with("/images") { "image" } else { "file" };
            described("Streamed to the provider as it comes; never tried again once it has begun.")
                .request_body(Some(body("multipart/form-data", [(name, file)])))
                .build()
        }
        Form::WebSocket => {
            let model = ParameterBuilder::new().name("model").parameter_in(ParameterIn::Query).required(Required::True);
            described("A WebSocket: the handshake names the model, and all that follows passes as it is.")
                .parameter(model.schema(Some(typed(Type::String))))
                .build()
        }
    }
}

/// An operation that asks for a key, in one of its places.
fn keyed(summary: &str, tag: &str) -> OperationBuilder {
    let operation =
        OperationBuilder::new().summary(Some(summary)).tag(tag).response("200", answer("What the provider says"));
    let operation = operation.securities(Some(keys().map(|(name, _)| SecurityRequirement::new(name, [""; 0]))));
    ERRORS.iter().fold(operation, |operation, (status, codes)| operation.response(status.as_str(), error(codes)))
}

fn body<const N: usize>(content_type: &str, fields: [(&str, RefOr<Schema>); N]) -> RequestBody {
    let object = ObjectBuilder::new().property("model", typed(Type::String)).required("model");
    let object = fields.into_iter().fold(object, |object, (name, schema)| object.property(name, schema));
    let object = object.additional_properties(Some(AdditionalProperties::FreeForm(true)));
    let content = ContentBuilder::new().schema(Some(object));
    RequestBodyBuilder::new().content(content_type, content.build()).required(Some(Required::True)).build()
}

fn answer(description: &str) -> Response {
    let header = |text: &str| HeaderBuilder::new().schema(Some(typed(Type::String))).description(Some(text)).build();
    ResponseBuilder::new().description(description).header("x-request-id", header("Names the exchange")).build()
}

fn error(codes: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
    ResponseBuilder::new().description(codes).content("application/json", content).build()
}

fn components() -> Components {
    let text = |nullable: bool| {
        let types = if nullable { vec![Type::String, Type::Null] } else { vec![Type::String] };
        ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
    };
    let details = ["message", "type", "param", "code"].into_iter().fold(ObjectBuilder::new(), |object, name| {
        object.property(name, text(name == "param" || name == "code")).required(name)
    });
    let error = ObjectBuilder::new().property("error", details).required("error");
    let mut components = Components::new();
    components.schemas.insert("Error".to_owned(), error.into());
    components.security_schemes.extend(keys().map(|(name, scheme)| (name.to_owned(), scheme.into())));
    components
}

fn typed(of: Type) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(of).build()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_endpoint_page_key_and_error_is_in_it() {
        let document = serde_json::to_value(document("/api/llm")).unwrap();
        assert_eq!(document["servers"], json!([{"url": "/api/llm"}]));
        for endpoint in Endpoint::ALL {
            let operations = &document["paths"][format!("/v1{}", endpoint.path())];
            let operation = operations.get("post").or(operations.get("get")).unwrap();
            assert_eq!(operation["security"].as_array().map(Vec::len), Some(4), "{endpoint:?}");
            for status in ["400", "401", "404", "429", "502", "503", "504"] {
                let schema = &operation["responses"][status]["content"]["application/json"]["schema"];
                assert_eq!(*schema, json!({"$ref": "#/components/schemas/Error"}), "{endpoint:?} {status}");
            }
        }
        for (path, method) in
            [("/v1/files", "post"), ("/v1/files/{file}", "delete"), ("/v1/batches/{batch}/cancel", "post")]
        {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
        for (path, _) in PAGES {
            let page = &document["paths"][path]["get"];
            assert!(page["responses"]["200"].is_object() && page["security"].is_null(), "{path}");
        }
        let required = &document["components"]["schemas"]["Error"]["properties"]["error"]["required"];
        assert_eq!(*required, json!(["message", "type", "param", "code"]));
        assert_eq!(document["components"]["securitySchemes"].as_object().map(serde_json::Map::len), Some(4));
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
        assert_ne!(document["info"]["version"], Value::Null);
    }
}
