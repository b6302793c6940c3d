//! Secrets planted wherever the schemas have room for one, in every call that changes something; and where they must not come up.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use signalbox_proto::{
    DESCRIPTORS,
    admin::v1::{
        CreateClientKeyRequest, ExportConfigRequest, GetRevisionRequest, Role, RollbackConfigRequest,
        client_key::Imported, export_config_request::SecretMode, revision_service_client::RevisionServiceClient,
    },
    config::v1::{ForwardProxy, HeaderValue, header_value::Content},
};
use tonic::body::Body;
use tower::ServiceExt as _;
use tracing::Dispatch;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::{roles::post, tokens::of, *};

/// In this text a planted secret can be found; white space makes it one that no field takes.
const PLANTED: &str = "planted-secret-9f8e7d";

/// Deep enough for every resource, and short of messages in themselves.
const DEEPEST: usize = 6;

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// A subscriber that writes all of ours into it. Libraries are left out, as they are where operators ask for more detail.
    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        let ours = EnvFilter::new("off,signalbox_control_plane=trace,audit=trace");
        tracing_subscriber::fmt().with_env_filter(ours).with_writer(self.clone()).finish()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// A message with the text in every secret field that it has room for; `None` where it has none.
fn planted(message: &MessageDescriptor, text: &str, depth: usize) -> Option<DynamicMessage> {
    let mut with = DynamicMessage::new(message.clone());
    for field in message.fields() {
        match (field.kind(), depth) {
            (Kind::String, _) if is_secret(&field) => with.set_field(&field, Value::String(text.to_owned())),
            (Kind::Message(inner), 1..) => {
                let Some(value) = value(&field, &inner, text, depth - 1) else { continue };
                with.set_field(&field, value);
            }
            _ => {}
        }
    }
    let any = with.fields().next().is_some();
    any.then_some(with)
}

fn value(field: &FieldDescriptor, inner: &MessageDescriptor, text: &str, depth: usize) -> Option<Value> {
    if field.is_map() {
        let Kind::Message(inner) = inner.map_entry_value_field().kind() else { return None };
        let value = Value::Message(planted(&inner, text, depth)?);
        return Some(Value::Map([(MapKey::String("x-planted".to_owned()), value)].into()));
    }
    let value = Value::Message(planted(inner, text, depth)?);
    Some(if field.is_list() { Value::List(vec![value]) } else { value })
}

/// How a call was answered, all of it.
async fn answer(app: &Running, request: http::Request<Body>) -> Vec<u8> {
    let answer = timeout(PATIENCE, app.channel().oneshot(request)).await.expect("it answers in time").unwrap();
    let mut all: Vec<u8> = answer.headers().values().flat_map(|value| value.as_bytes().to_vec()).collect();
    if let Some(status) = Status::from_header_map(answer.headers()) {
        all.extend(format!("{} {}", status.code(), status.message()).bytes());
        all.extend(status.details());
    }
    all.extend(answer.into_body().collect().await.unwrap().to_bytes());
    all
}

/// Sends every request that can carry a secret, with one, and collects the answers.
async fn plant_everywhere(app: &Running) -> Vec<(String, Vec<u8>)> {
    let services = DESCRIPTORS.services().filter(|service| service.package_name() == "signalbox.admin.v1");
    let mut answers = Vec::new();
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for text in [PLANTED.to_owned(), format!("{PLANTED} \n")] {
            let Some(request) = planted(&method.input(), &text, DEEPEST) else { continue };
            let message = request.encode_to_vec();
            let mut framed = vec![0];
            framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            framed.extend(message);
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            for token in [TOKEN, PLANTED] {
                let body = Body::new(Full::new(Bytes::from(framed.clone())));
                answers.push((path.clone(), answer(app, post(&path, token, body)).await));
            }
        }
    }
    answers
}

/// Makes resources with secrets in them, changes them and goes back, and hands back all that was answered.
async fn plant_for_good(app: &Running) -> Vec<u8> {
    let mut answers = Vec::new();
    let before = app.revision().await;
    let secret = || PLANTED.to_owned();
    let header = HeaderValue { content: Some(Content::Secret(secret())), overwrite: None };
    let proxy = ForwardProxy { url: "http://proxy.test:1".to_owned(), username: "u".to_owned(), password: secret() };
    let provider =
        Provider { headers: [("x-key".to_owned(), header)].into(), forward_proxy: Some(proxy), ..provider() };
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(provider),
        ..CreateProviderRequest::default()
    };
    let made = app.providers().create_provider(request).await.unwrap().into_inner();
    made.encode(&mut answers).unwrap();
    let request = CreateCredentialRequest {
        parent: made.name,
        credential_id: "main".to_owned(),
        credential: Some(credential(PLANTED)),
        ..CreateCredentialRequest::default()
    };
    app.credentials().create_credential(request).await.unwrap().into_inner().encode(&mut answers).unwrap();
    let imported = Some(Imported::ImportSecret(secret()));
    let request = CreateClientKeyRequest {
        client_key_id: "k".to_owned(),
        client_key: Some(ClientKey { imported, ..ClientKey::default() }),
        ..CreateClientKeyRequest::default()
    };
    app.client_keys().create_client_key(request).await.unwrap().into_inner().encode(&mut answers).unwrap();

    let mut history = RevisionServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN));
    let back = RollbackConfigRequest {
        name: format!("revisions/{before}"),
        restore_secrets: true,
        ..RollbackConfigRequest::default()
    };
    history.rollback_config(back).await.unwrap().into_inner().encode(&mut answers).unwrap();
    let forth = RollbackConfigRequest {
        name: format!("revisions/{}", before + 3),
        restore_client_keys: true,
        restore_secrets: true,
        ..RollbackConfigRequest::default()
    };
    let revision = history.rollback_config(forth).await.unwrap().into_inner();
    revision.encode(&mut answers).unwrap();
    for number in 1..=app.revision().await {
        let request = GetRevisionRequest { name: format!("revisions/{number}") };
        history.get_revision(request).await.unwrap().into_inner().encode(&mut answers).unwrap();
    }
    for mode in [SecretMode::Omit, SecretMode::Sealed] {
        let request = ExportConfigRequest { secrets: mode.into(), ..ExportConfigRequest::default() };
        app.config().export_config(request).await.unwrap().into_inner().encode(&mut answers).unwrap();
    }
    answers
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    entries.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn a_planted_secret_comes_up_nowhere() {
    let log = Log::default();
    // As long as there is but one subscriber, an event that another test's thread comes to first is asked about there, where nobody
    // listens, and is off for good.
    let _another = Dispatch::new(log.subscriber());
    // Everything of this control plane runs on the thread of its test.
    let _listening = tracing::subscriber::set_default(log.subscriber());
    let app = Running::start().await;
    let answers = plant_everywhere(&app).await;
    assert!(answers.len() > 40, "only {} calls have room for a secret", answers.len());
    for (path, answer) in answers {
        assert!(!holds(&answer, PLANTED), "{path}: {}", String::from_utf8_lossy(&answer));
    }
    assert!(!holds(&plant_for_good(&app).await, PLANTED), "an answer holds it");
    let made = app.make_token("ci", of(Role::Viewer)).await.unwrap();
    app.audited("reason = ADMIN_TOKEN_WRONG", 1).await;
    let dir = app.stop().await.unwrap();
    for (name, bytes) in files(dir.path()) {
        assert!(!holds(&bytes, PLANTED), "{name} holds it");
        assert!(!holds(&bytes, &made.secret), "{name} holds an admin token");
    }
    let text = log.text();
    assert!(text.contains("ProviderService/CreateProvider"), "the log was listened to: {text}");
    assert!(!text.contains(PLANTED) && !text.contains(&made.secret), "the log holds it");
}
