//! Which role may do what, and what those are told who may not.

use std::collections::HashMap;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use signalbox_proto::{
    DESCRIPTORS,
    admin::v1::{AdminToken, DeleteProviderRequest, ListProvidersRequest, Role},
};
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{tokens::of, *};

/// What a gRPC call sends: a header of five bytes, and as many bytes as it announces.
const NOTHING: &[u8] = &[0, 0, 0, 0, 0];

pub(super) fn post(path: &str, secret: &str, body: Body) -> http::Request<Body> {
    http::Request::post(path)
        .header("authorization", format!("Bearer {secret}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", if path.ends_with("/WaitForRevision") { "50m" } else { "20S" })
        .body(body)
        .unwrap()
}

/// Sends a request, and says how it ended; what has no error has gone well.
async fn send(channel: &Channel, request: http::Request<Body>) -> Status {
    match timeout(PATIENCE, channel.clone().oneshot(request)).await.expect("it answers in time") {
        Ok(answer) => Status::from_header_map(answer.headers()).unwrap_or_else(|| Status::ok("")),
        // The client's own clock runs out as the control plane's does.
        Err(error) => Status::from_error(error.into()),
    }
}

/// Calls a method with an empty request, and says how it ended.
async fn call(channel: &Channel, secret: &str, path: &str) -> Status {
    send(channel, post(path, secret, Body::new(Full::new(Bytes::from_static(NOTHING))))).await
}

/// Every method of the admin API, by service and name.
fn methods() -> Vec<(String, String)> {
    let services = DESCRIPTORS.services().filter(|service| service.package_name() == "signalbox.admin.v1");
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| (method.parent_service().name().to_owned(), method.name().to_owned())).collect()
}

#[tokio::test]
async fn every_role_reaches_what_it_may_and_nothing_else() {
    let app = Running::start().await;
    let mut secrets = HashMap::new();
    for (id, role) in [("v", Role::Viewer), ("o", Role::Operator), ("k", Role::KeyIssuer), ("a", Role::Admin)] {
        secrets.insert(role, app.make_token(id, of(role)).await.unwrap().secret);
    }
    let channel = app.channel();
    for (service, method) in methods() {
        let reads = ["Get", "List", "Export", "Validate", "Explain"].iter().any(|verb| method.starts_with(verb));
        let may = |role| match (service.as_str(), role) {
            (_, Role::Admin) => true,
            ("AdminTokenService" | "AuditService", _) => false,
            ("ReplicaService", _) => true,
            ("ClientKeyService", Role::KeyIssuer) => true,
            (_, Role::KeyIssuer | Role::Unspecified) => false,
            (_, Role::Operator) => true,
            (_, Role::Viewer) => reads,
        };
        for (role, secret) in &secrets {
            let path = format!("/signalbox.admin.v1.{service}/{method}");
            let status = call(&channel, secret, &path).await;
            let denied = status.code() == Code::PermissionDenied;
            assert_eq!(denied, !may(*role), "{role:?} calls {path}: {status:?}");
            if denied {
                assert_eq!(refusal(&status).1, "ROLE_TOO_LOW");
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn who_may_not_is_told_which_role_would_do_and_nothing_of_what_is_there() {
    let app = Running::start().await;
    app.make_provider("there").await;
    let viewer = app.make_token("v", of(Role::Viewer)).await.unwrap();
    let mut client = ProviderServiceClient::with_interceptor(app.channel(), Running::bearer(&viewer.secret));
    client.list_providers(ListProvidersRequest::default()).await.unwrap();
    let mut told = Vec::new();
    for name in ["providers/there", "providers/not-there", "no name at all"] {
        let request = DeleteProviderRequest { name: name.to_owned(), ..DeleteProviderRequest::default() };
        told.push(client.delete_provider(request).await.unwrap_err());
    }
    let first = &told[0];
    assert_eq!(refusal(first), (Code::PermissionDenied, "ROLE_TOO_LOW".to_owned()));
    assert!(first.message().contains("ROLE_OPERATOR or ROLE_ADMIN"), "{}", first.message());
    let metadata = first.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["role"].as_str(), metadata["needed"].as_str()), ("ROLE_VIEWER", "ROLE_OPERATOR"));
    for other in &told {
        assert_eq!(other.message(), first.message());
        assert_eq!(other.get_error_details_vec().len(), 1, "{other:?}");
        assert_eq!(refusal(other), refusal(first));
        assert_eq!(other.get_details_error_info().unwrap().metadata, metadata);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_request_is_not_read_before_it_is_known_whose_it_is() {
    let app = Running::start().await;
    let viewer = app.make_token("v", of(Role::Viewer)).await.unwrap();
    let channel = app.channel();
    for (secret, code) in [(viewer.secret.as_str(), Code::PermissionDenied), ("wrong", Code::Unauthenticated)] {
        // A message that is announced and never comes: whoever reads it waits.
        let announced = Ok::<_, Status>(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 9])));
        let body = StreamBody::new(tokio_stream::once(announced).chain(tokio_stream::pending()));
        let create = post("/signalbox.admin.v1.ProviderService/CreateProvider", secret, Body::new(body));
        assert_eq!(send(&channel, create).await.code(), code);
    }
    app.stop().await;
}

#[tokio::test]
async fn guesses_from_one_address_end_and_those_who_were_in_stay_in() {
    let app = Running::start().await;
    let channel = app.channel();
    let list = "/signalbox.admin.v1.ProviderService/ListProviders";
    let other = app.make_token("other", of(Role::Viewer)).await.unwrap();
    for guess in 0..20 {
        let status = call(&channel, &format!("guess-{guess}"), list).await;
        assert_eq!(refusal(&status), (Code::Unauthenticated, "ADMIN_TOKEN_WRONG".to_owned()));
    }
    for secret in ["guess-again", &other.secret] {
        let status = call(&channel, secret, list).await;
        assert_eq!(refusal(&status), (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS".to_owned()));
        let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(retry > Duration::ZERO && retry <= Duration::from_secs(60), "{retry:?}");
    }
    assert_eq!(call(&channel, TOKEN, list).await.code(), Code::Ok, "the admin was let in from here before");
    app.stop().await;
}

#[tokio::test]
async fn the_actor_of_a_revision_is_the_tokens_id() {
    let app = Running::start().await;
    let operator =
        app.make_token("ci", AdminToken { display_name: "CI".to_owned(), ..of(Role::Operator) }).await.unwrap();
    let mut client = ProviderServiceClient::with_interceptor(app.channel(), Running::bearer(&operator.secret));
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(provider()),
        ..CreateProviderRequest::default()
    };
    client.create_provider(request).await.unwrap();
    let dir = app.stop().await.unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("control.db"));
    let mut connection = sqlx::ConnectOptions::connect(&file).await.unwrap();
    let last = "SELECT actor FROM revisions ORDER BY revision DESC LIMIT 1";
    let actor: String = sqlx::query_scalar(last).fetch_one(&mut connection).await.unwrap();
    assert_eq!(actor, "ci");
}
