//! The one command, as a newcomer meets it: the demo answers at once, its faults end as promised, and a stop loses nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use signalbox::{
    demo::{Fault, Wait},
    up::{Error, Options, Summary, Up},
};
use signalbox_control_plane::{audit, ledger::Retention};
use signalbox_tests::{Admin, Client, Draft, upstream::DONE, wait::soon};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// `signalbox up`, running.
struct Running {
    summary: Summary,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), Error>>,
}

async fn up(dir: &Path) -> Running {
    let any = "127.0.0.1:0".parse().unwrap();
    let (data_dir, accounts) = (dir.join("data"), Vec::new());
    let options = Options {
        data_dir,
        listen: Some(any),
        admin_listen: any,
        sync_listen: any,
        master_key: None,
        source: None,
        retention: Retention::default(),
        audit: audit::Keep::default(),
        demo: true,
        accounts,
        log_level: None,
    };
    let up = soon("the system to be up", Box::pin(Up::start(options))).await.unwrap();
    let (summary, stop) = (up.summary().clone(), CancellationToken::new());
    Running { summary, ended: tokio::spawn(Box::pin(up.run(stop.clone()))), stop }
}

impl Running {
    fn client(&self) -> Client {
        Client::new(self.summary.gateway, self.summary.client_key.as_ref().unwrap().expose_secret())
    }

    async fn stopped(self) {
        self.stop.cancel();
        soon("the system to stop", self.ended).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_demo_chats_streams_embeds_and_is_listed() {
    let dir = TempDir::new().unwrap();
    let system = up(dir.path()).await;
    let client = system.client();
    assert_eq!(client.chat("demo/echo").await.content(), "hello");
    let request = json!({
        "model": "demo/echo", "messages": [{"role": "user", "content": "two words"}],
        "stream": true, "stream_options": {"include_usage": true},
    });
    let frames = client.stream("/v1/chat/completions", request.to_string()).await.rest().await;
    assert_eq!(frames.last().map(String::as_str), Some(DONE));
    assert!(frames.iter().any(|frame| frame.contains("\"total_tokens\"")), "{frames:?}");
    for (format, is_it) in [("float", Value::is_array as fn(&Value) -> bool), ("base64", Value::is_string)] {
        let request = json!({"model": "demo/embed", "input": ["a", "b"], "encoding_format": format});
        let reply = client.post("/v1/embeddings", request.to_string()).await.json();
        let data = reply["data"].as_array().unwrap();
        assert!(data.len() == 2 && data.iter().all(|entry| is_it(&entry["embedding"])), "{reply}");
    }
    let models = client.get("/v1/models").await.json();
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == "demo/echo"), "{models}");
    system.stopped().await;
}

#[tokio::test]
async fn the_demos_faults_end_as_promised() {
    let dir = TempDir::new().unwrap();
    let system = up(dir.path()).await;
    let client = system.client();
    let model = |fault: Fault| format!("demo/{}", fault.model());
    for (fault, code) in [
        (Fault::InternalError, "upstream_error"),
        (Fault::Unavailable, "upstream_error"),
        (Fault::HtmlBadGateway, "upstream_error"),
        (Fault::ErrorFirst, "upstream_error"),
        (Fault::Unauthorized, "upstream_credentials_exhausted"),
    ] {
        let reply =
            client.post("/v1/chat/completions", signalbox_tests::chat_streamed(&model(fault)).to_string()).await;
        assert_eq!((reply.status, reply.code().as_str()), (502, code), "{fault:?}");
    }
    for fault in [Fault::NoDone, Fault::Crlf, Fault::Slow] {
        let frames = client.chat_stream(&model(fault)).await.rest().await;
        let done = frames.last().is_some_and(|frame| frame == DONE);
        assert_eq!(done, fault != Fault::NoDone, "{fault:?}: {frames:?}");
        assert!(frames.iter().any(|frame| frame.contains("\"finish_reason\":\"stop\"")), "{fault:?}: {frames:?}");
    }
    for fault in [Fault::Cut, Fault::CutBeforeFinish, Fault::ErrorMid] {
        let messages = json!([{"role": "user", "content": "long enough to be cut in the middle"}]);
        let request = json!({"model": model(fault), "messages": messages, "stream": true}).to_string();
        let frames = client.stream("/v1/chat/completions", request).await.rest().await;
        assert!(frames.len() > 1, "{fault:?}: {frames:?}");
        assert!(frames.last().is_some_and(|frame| frame.starts_with("data: {\"error\":")), "{fault:?}: {frames:?}");
    }
    assert_eq!(client.chat("demo/echo").await.content(), "hello", "one blip locks nobody out");
    let reply = client.chat(&model(Fault::TooManyRequests(Wait::Seconds))).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "1"));
    system.stopped().await;
}

#[tokio::test]
async fn a_stop_lets_a_stream_finish_and_the_next_start_keeps_everything() {
    let dir = TempDir::new().unwrap();
    let system = up(dir.path()).await;
    let admin_token = system.summary.admin_token.expose_secret().to_owned();
    let admin = Admin::new(system.summary.admin, &admin_token);
    let revision = admin.apply(Draft::new().redirect("mine", "mine", &[("demo", "echo")]).0).await;
    let client_key = system.summary.client_key.as_ref().unwrap().expose_secret().to_owned();
    let mut events = system.client().chat_stream(&format!("demo/{}", Fault::Slow.model())).await;
    assert!(events.next().await.is_some());
    system.stop.cancel();
    assert_eq!(events.rest().await.last().map(String::as_str), Some(DONE), "the stream ends as it should");
    system.stopped().await;
    for (file, mode) in
        [("", 0o700), ("admin-token", 0o600), ("client-key", 0o600), ("join-token", 0o600), ("master.key", 0o600)]
    {
        let metadata = fs::metadata(dir.path().join("data").join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
    }
    let again = up(dir.path()).await;
    assert_eq!(again.summary.admin_token.expose_secret(), admin_token);
    assert_eq!(again.summary.client_key.as_ref().unwrap().expose_secret(), client_key);
    assert_eq!(again.client().chat("mine").await.content(), "hello");
    let revision_again = Admin::new(again.summary.admin, &admin_token).revision().await;
    assert_eq!(revision_again, revision, "a start that finds everything as it should be changes nothing");
    again.stopped().await;
}
