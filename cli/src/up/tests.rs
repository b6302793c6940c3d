//! The whole system over real sockets, started again and again in one data folder.

use std::{fs, path::Path};

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use signalbox_control_plane::{
    backup,
    restore::{self, Taking},
};
use signalbox_proto::admin::v1::{DeleteClientKeyRequest, GetProviderRequest, Provider};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;

/// A system that runs, as its user sees it.
struct Running {
    summary: Summary,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

fn options(dir: &Path) -> Options {
    let any = "127.0.0.1:0".parse().unwrap();
    Options {
        data_dir: dir.join("data"),
        listen: Some(any),
        admin_listen: any,
        sync_listen: any,
        source: None,
        retention: Retention::default(),
        audit: audit::Keep::default(),
        demo: true,
        master_key: None,
        accounts: Vec::new(),
        log_level: None,
    }
}

fn openai(base_url: &str) -> Account {
    Account { provider: "openai", base_url: base_url.into(), key: "sk-1".into() }
}

async fn start(options: Options) -> Running {
    let up = Box::pin(Up::start(options)).await.unwrap();
    let (summary, stop) = (up.summary().clone(), CancellationToken::new());
    let task = tokio::spawn(Box::pin(up.run(stop.clone())));
    Running { summary, stop, task }
}

impl Running {
    fn admin(&self) -> Admin {
        Admin::new(self.summary.admin, &self.summary.admin_token).unwrap()
    }

    fn client_key(&self) -> &str {
        self.summary.client_key.as_ref().unwrap().expose_secret()
    }

    async fn provider(&self, id: &str) -> Option<Provider> {
        let request = GetProviderRequest { name: format!("providers/{id}") };
        admin::found(self.admin().providers().get_provider(request).await).unwrap()
    }

    /// What a client gets for a chat: the status, the revision that it was served with, and the answer.
    async fn chat(&self, key: &str, model: &str) -> (StatusCode, u64, Value) {
        let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
        let url = format!("http://{}/v1/chat/completions", self.summary.gateway);
        let request =
            client.post(url).bearer_auth(key).header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap();
        let revision = answer.headers().get("x-signalbox-revision").and_then(|revision| revision.to_str().ok());
        let revision = revision.and_then(|revision| revision.parse().ok()).unwrap_or_default();
        (answer.status(), revision, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    /// The revision that a working request is served with.
    async fn revision(&self) -> u64 {
        let (status, revision, answer) = self.chat(self.client_key(), "demo/echo").await;
        assert_eq!((status, &answer["choices"][0]["message"]["content"]), (StatusCode::OK, &json!("hello")));
        revision
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_second_start_keeps_everything_and_changes_nothing() {
    let root = TempDir::new().unwrap();
    let first = start(options(root.path())).await;
    let (revision, key) = (first.revision().await, first.client_key().to_owned());
    first.stop().await;
    let second = start(options(root.path())).await;
    assert_eq!((second.revision().await, second.client_key()), (revision, key.as_str()));
    assert_eq!(fs::read_to_string(root.path().join("data/client-key")).unwrap(), key);
    second.stop().await;
}

#[tokio::test]
async fn accounts_of_the_environment_become_providers_and_stay() {
    let root = TempDir::new().unwrap();
    // Another gateway's demo stands in for a provider elsewhere.
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = Demo::start(elsewhere, &SecretString::from("sk-1")).unwrap();
    let accounts = || vec![openai(&elsewhere.base_url())];

    let first = start(Options { accounts: accounts(), ..options(root.path()) }).await;
    let (status, revision, _) = first.chat(first.client_key(), "openai/echo").await;
    assert_eq!(status, StatusCode::OK);
    first.stop().await;
    let again = start(Options { accounts: accounts(), ..options(root.path()) }).await;
    assert_eq!(again.chat(again.client_key(), "openai/echo").await.1, revision);
    again.stop().await;
    let without = start(options(root.path())).await;
    assert_eq!(without.chat(without.client_key(), "openai/echo").await.0, StatusCode::OK);
    without.stop().await;
    assert!(elsewhere.seen().iter().all(|seen| seen.headers["authorization"] == "Bearer sk-1"));
    elsewhere.stop().await;
}

#[tokio::test]
async fn without_the_demo_its_provider_rests() {
    let root = TempDir::new().unwrap();
    let bare = start(Options { demo: false, ..options(root.path()) }).await;
    assert_eq!(bare.provider("demo").await, None);
    bare.stop().await;
    start(options(root.path())).await.stop().await;
    let rests = start(Options { demo: false, ..options(root.path()) }).await;
    assert!(rests.provider("demo").await.unwrap().disabled);
    assert_eq!(rests.chat(rests.client_key(), "demo/echo").await.0, StatusCode::NOT_FOUND);
    rests.stop().await;
    let back = start(options(root.path())).await;
    back.revision().await;
    back.stop().await;
}

#[tokio::test]
async fn the_client_key_is_the_one_in_its_file() {
    let root = TempDir::new().unwrap();
    let first = start(options(root.path())).await;
    let old = first.client_key().to_owned();
    first.stop().await;

    // Gone: a new one is made, and the old one is no good any more.
    fs::remove_file(root.path().join("data/client-key")).unwrap();
    let renewed = start(options(root.path())).await;
    assert_ne!(renewed.client_key(), old);
    renewed.revision().await;
    assert_eq!(renewed.chat(&old, "demo/echo").await.0, StatusCode::UNAUTHORIZED);
    let new = renewed.client_key().to_owned();
    renewed.stop().await;

    // A new database takes the key that is there.
    for entry in fs::read_dir(root.path().join("data")).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("control.db") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let anew = start(options(root.path())).await;
    assert_eq!(anew.client_key(), new);
    anew.revision().await;
    anew.stop().await;
}

#[tokio::test]
async fn a_client_key_that_was_removed_does_not_come_back() {
    let root = TempDir::new().unwrap();
    let first = start(options(root.path())).await;
    let key = first.client_key().to_owned();
    let request = DeleteClientKeyRequest { name: "clientKeys/default".into(), ..DeleteClientKeyRequest::default() };
    first.admin().client_keys().delete_client_key(request).await.unwrap();
    first.stop().await;
    let second = start(options(root.path())).await;
    assert!(second.summary.client_key.is_none());
    assert_eq!(second.chat(&key, "demo/echo").await.0, StatusCode::UNAUTHORIZED);
    second.stop().await;
}

#[tokio::test]
async fn a_restored_history_can_be_looked_at_before_it_is_adopted() {
    let root = TempDir::new().unwrap();
    let (database, copy) = (root.path().join("data/control.db"), root.path().join("backup.db"));
    let first = start(options(root.path())).await;
    let key = first.client_key().to_owned();
    backup::make(&database, &copy).await.unwrap();
    let revoked = DeleteClientKeyRequest {
        name: "clientKeys/default".into(),
        wait: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..DeleteClientKeyRequest::default()
    };
    first.admin().client_keys().delete_client_key(revoked).await.unwrap();
    first.stop().await;

    restore::restore(&database, &copy, Taking::Fenced).await.unwrap();
    let fenced = start(options(root.path())).await;
    // It begins with what is in its cache, as soon as that is read.
    let begun = async {
        loop {
            match fenced.chat(&key, "demo/echo").await.0 {
                StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
                status => return status,
            }
        }
    };
    let status = timeout(PATIENCE, begun).await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED, "what was revoked stays so");
    fenced.stop().await;
    restore::adopt(&database).await.unwrap();
    let adopted = start(options(root.path())).await;
    adopted.revision().await;
    adopted.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let root = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let cases = [
        (Options { listen: Some(addr), ..options(root.path()) }, "--listen"),
        (Options { admin_listen: addr, ..options(root.path()) }, "--admin-listen"),
        (Options { sync_listen: addr, ..options(root.path()) }, "--sync-listen"),
    ];
    for (options, flag) in cases {
        let error = Box::pin(Up::start(options)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&addr.to_string()) && text.contains(flag), "{text}");
        assert!(!error.is_configuration(), "it may be free the next time");
    }
}

#[tokio::test]
async fn what_can_never_work_is_a_configuration_error() {
    let root = TempDir::new().unwrap();
    let error =
        Box::pin(Up::start(Options { accounts: vec![openai("nowhere")], ..options(root.path()) })).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("base_url"), "{error}");
    fs::write(root.path().join("file"), "").unwrap();
    let inside = Options { data_dir: root.path().join("file/data"), ..options(root.path()) };
    let error = Box::pin(Up::start(inside)).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("file/data"), "{error}");
}
