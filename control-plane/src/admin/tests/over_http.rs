//! The admin API over HTTP/JSON, as somebody with curl meets it.

use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use serde_json::{Value, json};
use signalbox_proto::{DESCRIPTORS, admin::v1::GetProviderRequest};

use super::*;

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The HTTP status, the gRPC status and the reason.
    fn refusal(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        assert_eq!(error["code"], self.status, "{}", self.text);
        let info = &error["details"].as_array().unwrap().iter().find(|detail| detail["domain"] == "signalbox.dev");
        let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {}", self.text));
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (self.status, text(&error["status"]), text(&info["reason"]))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends what a builder has, with the token and as JSON unless that says otherwise.
async fn send(app: &Running, mut request: http::Request<Full<bytes::Bytes>>) -> Answer {
    let uri = format!("http://{}{}", app.admin, request.uri());
    *request.uri_mut() = uri.parse().unwrap();
    let headers = request.headers_mut();
    headers.entry("authorization").or_insert_with(|| format!("Bearer {TOKEN}").parse().unwrap());
    headers.entry("content-type").or_insert_with(|| "application/json".parse().unwrap());
    let two = request.version() == http::Version::HTTP_2;
    let client = Client::builder(TokioExecutor::new()).http2_only(two).build_http();
    let response = timeout(PATIENCE, client.request(request)).await.expect("it answers in time").unwrap();
    let (parts, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8_lossy(&text).into_owned() }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder().method(method).uri(path)
}

async fn call(app: &Running, method: &str, path: &str, body: impl Into<bytes::Bytes>) -> Answer {
    send(app, request(method, path).body(Full::new(body.into())).unwrap()).await
}

async fn get(app: &Running, path: &str) -> Answer {
    call(app, "GET", path, "").await
}

async fn refusal(app: &Running, method: &str, path: &str, body: impl Into<bytes::Bytes>) -> (u16, String, String) {
    call(app, method, path, body).await.refusal()
}

fn refused(code: u16, status: &str, reason: &str) -> (u16, String, String) {
    (code, status.to_owned(), reason.to_owned())
}

const PROVIDER: &str = r#"{"dialect": "DIALECT_OPENAI", "baseUrl": "https://upstream.test/v1", "labels": {"b": "2", "a": "1"}, "timeouts": {"streamIdle": "90s"}}"#;

#[tokio::test]
async fn a_provider_lives_and_dies_over_http() {
    let app = Running::start().await;
    let made = call(&app, "POST", "/v1/providers?provider_id=a", PROVIDER).await;
    assert_eq!((made.status, made.header("content-type")), (200, Some("application/json")), "{}", made.text);
    assert_eq!(made.json()["name"], "providers/a");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.header("x-content-type-options"), Some("nosniff"));

    let listed = get(&app, "/v1/providers?pageSize=1").await.json();
    assert_eq!(listed["providers"][0], made.json());
    let path = "/v1/providers/a?update_mask=timeouts.stream_idle,display_name";
    let changed = call(&app, "PATCH", path, r#"{"timeouts": {"streamIdle": "5s"}}"#).await.json();
    assert_eq!((&changed["timeouts"]["streamIdle"], &changed["labels"]), (&json!("5s"), &made.json()["labels"]));

    let stale = json!({"priority": 1, "etag": made.json()["etag"]}).to_string();
    assert_eq!(refusal(&app, "PATCH", "/v1/providers/a", stale).await, refused(409, "ABORTED", "ETAG_MISMATCH"));
    let dry = call(&app, "DELETE", "/v1/providers/a?validate_only=true", "").await;
    assert_eq!(dry.status, 200, "{}", dry.text);
    assert_eq!(get(&app, "/v1/providers/a").await.status, 200);
    assert_eq!(call(&app, "DELETE", "/v1/providers/a", "").await.status, 200);
    assert_eq!(refusal(&app, "GET", "/v1/providers/a", "").await, refused(404, "NOT_FOUND", "NOT_FOUND"));
    app.stop().await;
}

#[tokio::test]
async fn it_is_the_document_that_grpc_gives() {
    let app = Running::start().await;
    let made = call(&app, "POST", "/v1/providers?provider_id=a", PROVIDER).await;
    let over_grpc = app.providers().get_provider(GetProviderRequest { name: "providers/a".to_owned() }).await.unwrap();
    let schema = DESCRIPTORS.get_message_by_name("signalbox.admin.v1.Provider").unwrap();
    let mut message = DynamicMessage::new(schema);
    message.transcode_from(&over_grpc.into_inner()).unwrap();
    for http in [made, get(&app, "/v1/providers/a").await] {
        assert_eq!(http.json(), serde_json::to_value(&message).unwrap());
        let keys: Vec<_> = ["name", "dialect", "baseUrl", "timeouts", "labels", "etag"]
            .iter()
            .map(|key| http.text.find(&format!("\n  \"{key}\"")).unwrap())
            .collect();
        assert!(keys.is_sorted(), "in the order of the schema: {}", http.text);
    }
    assert_eq!(message.descriptor().full_name(), "signalbox.admin.v1.Provider");
    app.stop().await;
}

#[tokio::test]
async fn every_service_answers_over_http_1_and_2() {
    let app = Running::start().await;
    for path in ["/v1/providers", "/v1/clientKeys", "/v1/redirects", "/v1/routes", "/v1/settings", "/v1/replicas"] {
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let answer = send(&app, request("GET", path).version(version).body(Full::default()).unwrap()).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
    }
    let applied = call(
        &app,
        "POST",
        "/v1/config:apply",
        format!(r#"{{"config": {{"providers": [{{"name": "providers/a", {}]}}}}"#, &PROVIDER[1..]),
    )
    .await;
    assert_eq!(applied.json()["changes"][0]["resource"], "providers/a", "{}", applied.text);
    let key = call(&app, "POST", "/v1/providers/a/credentials?credential_id=k", r#"{"secret": "sk-s3cret"}"#).await;
    assert_eq!(key.json()["name"], "providers/a/credentials/k", "{}", key.text);
    assert!(!key.text.contains("s3cret"));
    app.stop().await;
}

#[tokio::test]
async fn without_the_token_nothing_is_read_and_nothing_is_told() {
    let app = Running::start().await;
    for (method, path) in
        [("GET", "/v1/providers?nonsense"), ("POST", "/v1/config:apply"), ("DELETE", "/v1/providers/a")]
    {
        let wrong = request(method, path).header("authorization", "Bearer wrong");
        let answer = send(&app, wrong.body(Full::from("{nonsense")).unwrap()).await;
        assert_eq!(answer.refusal(), refused(401, "UNAUTHENTICATED", "ADMIN_TOKEN_WRONG"), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_by_field_line_and_parameter() {
    let app = Running::start().await;
    let create = "/v1/providers?provider_id=a";
    let invalid = |reason: &str| refused(400, "INVALID_ARGUMENT", reason);
    let field = |answer: &Answer| {
        let details = answer.json()["error"]["details"].clone();
        let bad = details.as_array().unwrap().iter().find(|detail| detail.get("fieldViolations").is_some()).cloned();
        bad.unwrap()["fieldViolations"][0]["field"].as_str().unwrap().to_owned()
    };
    for (method, path, body, reason, named) in [
        ("POST", create, r#"{"baseUrl": "https://x", "nonsense": 1}"#, "UNKNOWN_FIELD", "provider.nonsense"),
        ("POST", create, r#"{"timeouts": {"connect": "soon"}}"#, "INVALID_VALUE", "provider.timeouts.connect"),
        ("POST", create, "[]", "INVALID_VALUE", "provider"),
        ("POST", create, "{\n  \"priority\": NaN}", "INVALID_JSON", "body"),
        ("POST", create, r#"{"priority": 1e999}"#, "INVALID_JSON", "body"),
        ("POST", create, r#"{"dialect": "DIALECT_OPENAI"}"#, "MISSING_FIELD", ""),
        ("POST", "/v1/providers", PROVIDER, "INVALID_ID", "provider_id"),
        (
            "POST",
            "/v1/config:apply",
            r#"{"config": {"providers": [{"x": 1}]}}"#,
            "UNKNOWN_FIELD",
            "config.providers[0].x",
        ),
        ("GET", "/v1/providers?page_size=x", "", "INVALID_PARAMETER", "page_size"),
        ("GET", "/v1/providers?page_size=-1", "", "INVALID_PAGE_SIZE", "page_size"),
        ("PATCH", "/v1/providers/a?update_mask=nonsense", "{}", "UNKNOWN_FIELD", "update_mask"),
        ("PATCH", "/v1/providers/a", r#"{"name": "providers/b"}"#, "MISPLACED_FIELD", "provider.name"),
    ] {
        let answer = call(&app, method, path, body).await;
        if named.is_empty() {
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
            continue;
        }
        assert_eq!(answer.refusal(), invalid(reason), "{path} {body}: {}", answer.text);
        assert_eq!(field(&answer), named, "{path} {body}");
    }
    let broken = call(&app, "POST", create, "{\n  \"priority\": NaN}").await;
    assert!(broken.text.contains("line 2, column"), "{}", broken.text);
    assert_eq!(refusal(&app, "GET", "/v1/providers", "{}").await, invalid("BODY_NOT_ALLOWED"));
    assert_eq!(refusal(&app, "DELETE", "/v1/providers/a", "{}").await, invalid("BODY_NOT_ALLOWED"));
    app.stop().await;
}

#[tokio::test]
async fn paths_methods_and_media_types_have_statuses_of_their_own() {
    let app = Running::start().await;
    let unknown = get(&app, "/v1/provider").await;
    assert_eq!(unknown.refusal(), refused(404, "NOT_FOUND", "PATH_UNKNOWN"));
    assert!(unknown.text.contains("GET /v1/providers"), "{}", unknown.text);
    let put = call(&app, "PUT", "/v1/providers/a", "{}").await;
    assert_eq!(put.refusal(), refused(405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED"));
    assert_eq!(put.header("allow"), Some("GET, PATCH, DELETE, HEAD"));
    assert_eq!(call(&app, "POST", "/health", "").await.status, 405);
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let form = request("POST", "/v1/providers?provider_id=a").header("content-type", media_type);
        let answer = send(&app, form.body(Full::from(PROVIDER)).unwrap()).await;
        assert_eq!(answer.refusal(), refused(415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"), "{media_type}");
    }
    let cased =
        request("POST", "/v1/providers?provider_id=a").header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(send(&app, cased.body(Full::from(PROVIDER)).unwrap()).await.status, 200);
    let zipped = request("POST", "/v1/config:apply").header("content-encoding", "gzip").body(Full::from("x")).unwrap();
    assert_eq!(send(&app, zipped).await.status, 415);
    let own = call(&app, "POST", "/signalbox.admin.v1.ProviderService/GetProvider", "{}").await;
    assert_eq!(own.status, 415);
    assert!(own.text.contains("GET /v1/providers/{provider}"), "{}", own.text);
    let cross = request("POST", "/v1/config:apply").header("sec-fetch-site", "cross-site");
    let cross = send(&app, cross.body(Full::from("{}")).unwrap()).await;
    assert_eq!(cross.refusal(), refused(403, "PERMISSION_DENIED", "CROSS_SITE"));
    app.stop().await;
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let app = Running::start().await;
    for (path, status) in [("/v1/settings", 200), ("/v1/providers/none", 404), ("/health", 200), ("/openapi.json", 200)]
    {
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let full = get(&app, path).await;
            let head = send(&app, request("HEAD", path).version(version).body(Full::default()).unwrap()).await;
            assert_eq!((head.status, head.text.as_str()), (status, ""), "{path}");
            assert_eq!(head.header("content-length"), Some(full.text.len().to_string().as_str()), "{path}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_whole_configurations_may_be_larger() {
    let app = Running::start().await;
    let large = |bytes: usize| format!("{{\"displayName\": \"{}\"}}", "x".repeat(bytes));
    let create = "/v1/providers?provider_id=a";
    let too_large = refused(413, "OUT_OF_RANGE", "REQUEST_TOO_LARGE");
    assert_eq!(refusal(&app, "POST", create, large(4 << 20)).await, too_large);
    let config = format!("{{\"config\": {{\"providers\": [{{\"name\": \"providers/a\", {}]}}}}", &large(5 << 20)[1..]);
    assert_eq!(
        call(&app, "POST", "/v1/config:apply", config).await.status,
        400,
        "it is read, and the name is too long"
    );
    let query = format!("/v1/providers?filter={}", "x".repeat(20_000));
    assert_eq!(refusal(&app, "GET", &query, "").await, refused(414, "INVALID_ARGUMENT", "URI_TOO_LONG"));
    app.stop().await;
}

#[tokio::test]
async fn paths_and_queries_that_nobody_means_are_answered() {
    let app = Running::start().await;
    for (path, status) in [
        ("/v1/providers/..", 400),
        ("/v1/providers/%2e%2e", 400),
        ("/v1/providers/a%2Fcredentials%2Fb", 400),
        ("/v1/providers/%ff", 400),
        ("/v1/providers/%00", 400),
        ("/v1//providers", 404),
        ("/v1/../v1/providers", 404),
        ("/docs/../v1/providers", 404),
        ("/docs/%2e%2e/admin-token", 404),
        ("//health", 404),
        ("/v1/providers?page_size=1&page_size=2", 400),
        ("/v1/providers?%ff=1", 400),
        ("/v1/providers?page_size=999999999999999999999", 400),
        ("/v1/config:export?labels[a]=1&labels.a=2", 400),
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(answer.refusal().0, status);
    }
    let deep = format!("{{\"config\": {}", "{\"providers\": [".repeat(100_000));
    assert_eq!(call(&app, "POST", "/v1/config:apply", deep).await.status, 400);
    let no_text = b"{\"displayName\": \"\xff\xfe\"}".to_vec();
    let no_text = refusal(&app, "POST", "/v1/providers?provider_id=a", no_text).await;
    assert_eq!(no_text, refused(400, "INVALID_ARGUMENT", "INVALID_JSON"));
    let secret = call(&app, "POST", "/v1/providers/a/credentials?credential_id=k", r#"{"weight": "sk-s3cret"}"#).await;
    assert!(secret.status == 400 && !secret.text.contains("s3cret"), "{}", secret.text);
    app.stop().await;
}

#[tokio::test]
async fn the_pages_need_no_token() {
    let app = Running::start().await;
    for (path, status, content_type) in [
        ("/health", 200, Some("application/json")),
        ("/openapi.json", 200, Some("application/json")),
        ("/docs", 307, None),
        ("/", 307, None),
        ("/docs/", 200, Some("text/html; charset=utf-8")),
        ("/docs/index.css", 200, Some("text/css")),
        ("/docs/nothing", 404, Some("application/json")),
    ] {
        let page = send(&app, request("GET", path).header("authorization", "").body(Full::default()).unwrap()).await;
        assert_eq!((page.status, page.header("content-type")), (status, content_type), "{path}");
    }
    assert_eq!(get(&app, "/health").await.json(), json!({"status": "SERVING"}));
    let document = get(&app, "/openapi.json").await.json();
    assert!(document["paths"]["/v1/providers/{provider}"]["patch"].is_object());
    app.stop().await;
}
