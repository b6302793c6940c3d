//! A file as the configuration's source: what is edited is in force soon, what cannot be used changes nothing, and whoever does not want
//! to wait asks.

use std::{fs, path::PathBuf};

use http::Method;
use serde_json::{Value, json};
use signalbox_control_plane::source;
use signalbox_tests::{ControlPlane, Reply, System, Upstream, chat, wait::eventually};

const RELOAD: &str = "/v1/reload";

/// A system whose control plane follows a file with this text.
async fn following(text: &str) -> (System, PathBuf) {
    let mut system = System::start().await;
    let path = system.dir().join("configuration");
    fs::write(&path, text).unwrap();
    system.control_plane.stop().await;
    system.control_plane.source = Some(source::Options { path: path.clone(), format: None });
    system.control_plane.start().await;
    system.in_force(system.admin().revision().await).await;
    (system, path)
}

/// redirector's file: one upstream, and these keys.
fn redirector(upstream: &Upstream, keys: &[&str]) -> String {
    let api = json!({"url": format!("http://{}/v1/chat/completions", upstream.addr()), "key": "sk-up"});
    json!({"api": api, "allowed_keys": keys}).to_string()
}

/// The status of a chat with this key.
async fn status(system: &System, key: &str) -> u16 {
    system.client().with_key(key).chat("any").await.status
}

async fn becomes(system: &System, key: &str, expected: u16) {
    eventually(&format!("{key} to be answered with {expected}"), async || {
        (status(system, key).await == expected).then_some(())
    })
    .await;
}

async fn reload(system: &System) -> Reply {
    system.client().without_key().post(RELOAD, "").await
}

#[tokio::test]
async fn an_edit_is_in_force_soon_and_what_it_no_longer_says_is_gone() {
    let upstream = Upstream::start().await;
    let (system, path) = following(&redirector(&upstream, &["key-a", "key-b"])).await;
    assert_eq!((status(&system, "key-a").await, status(&system, "key-b").await), (200, 200));

    let live = upstream.stream_live();
    let client = system.client().with_key("key-b");
    let streaming = tokio::spawn(async move { client.chat_stream("any").await });
    live.write("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n");
    let mut events = streaming.await.unwrap();
    assert!(events.next().await.is_some());

    fs::write(&path, redirector(&upstream, &["key-a", "key-c"])).unwrap();
    becomes(&system, "key-c", 200).await;
    assert_eq!((status(&system, "key-a").await, status(&system, "key-b").await), (200, 401));

    live.write("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    live.end();
    assert!(
        events.rest().await.last().is_some_and(|last| last.contains("[DONE]")),
        "who was under way is not disturbed"
    );
}

#[tokio::test]
async fn a_broken_edit_changes_nothing_and_whoever_asks_is_told_why() {
    let upstream = Upstream::start().await;
    let (system, path) = following(&redirector(&upstream, &["key-a"])).await;
    let before = system.admin().revision().await;
    fs::write(&path, "{\"api\": {\"key\": \"sk-secret\"}}").unwrap();
    let refused = reload(&system).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_configuration"), "{}", refused.text());
    assert!(
        refused.text().contains("missing field `url`") && !refused.text().contains("sk-secret"),
        "{}",
        refused.text()
    );
    assert_eq!((system.admin().revision().await, status(&system, "key-a").await), (before, 200));
    fs::write(&path, redirector(&upstream, &["key-b"])).unwrap();
    becomes(&system, "key-b", 200).await;
}

#[tokio::test]
async fn an_emptied_file_takes_nothing_away() {
    let upstream = Upstream::start().await;
    let (system, path) = following(&redirector(&upstream, &["key-a"])).await;
    let before = system.admin().revision().await;
    fs::write(&path, "").unwrap();
    let refused = reload(&system).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_configuration"));
    assert!(refused.text().contains("it is empty"), "{}", refused.text());
    assert_eq!((system.admin().revision().await, status(&system, "key-a").await), (before, 200));
}

#[tokio::test]
async fn a_reload_needs_no_key_from_this_machine_and_one_from_elsewhere_and_comes_once_in_a_while() {
    let upstream = Upstream::start().await;
    let (system, path) = following(&redirector(&upstream, &["key-a"])).await;
    let client = system.client();
    let elsewhere = |key: Option<&str>| {
        let client = key.map_or_else(|| client.without_key(), |key| client.with_key(key));
        client.request(Method::POST, RELOAD).header("x-forwarded-for", "192.0.2.1")
    };
    let refused = Reply::to(elsewhere(None)).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "missing_api_key"));
    let refused = Reply::to(elsewhere(Some("wrong"))).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "invalid_api_key"));
    let refused = client.get(RELOAD).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST"));

    fs::write(&path, redirector(&upstream, &["key-a", "key-z"])).unwrap();
    let answer = Reply::to(elsewhere(Some("key-a"))).await;
    assert_eq!((answer.status, answer.json()["providers_count"].clone()), (200, Value::from(1)), "{}", answer.text());
    assert!(answer.json()["message"].is_string());
    assert_eq!(status(&system, "key-z").await, 200, "what was read is in force by the time of the answer");

    let soon = reload(&system).await;
    assert_eq!((soon.status, soon.code().as_str()), (429, "rate_limit_exceeded"));
    assert!((1..=5).contains(&soon.header("retry-after").parse::<u32>().unwrap()));
}

#[tokio::test]
async fn without_a_file_or_a_control_plane_a_reload_says_so() {
    let mut system = System::start().await;
    let answer = reload(&system).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["message"].as_str().unwrap().contains("does not come from a file"), "{}", answer.text());
    system.control_plane.kill().await;
    eventually("the data plane to notice", async || {
        let answer = reload(&system).await;
        (answer.status == 503 && answer.code() == "control_plane_unavailable").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_says_how_often_it_is_looked_at() {
    let upstream = Upstream::start().await;
    let text = |segment: &str, interval: i32| {
        let target = json!({"target_url": format!("http://{}", upstream.addr())});
        json!({"server": {"reload_interval": interval, "base_path": "/api"}, "routes": {segment: target}}).to_string()
    };
    let (system, path) = following(&text("first", -1)).await;
    let client = system.client().without_key();
    assert_eq!(client.get("/api/first/x").await.status, 200);
    fs::write(&path, text("second", 0)).unwrap();
    let answer = client.post("/api/v1/reload", "").await;
    assert_eq!(answer.status, 200, "never looked at is still read when somebody asks: {}", answer.text());
    assert_eq!((client.get("/api/first/x").await.status, client.get("/api/second/x").await.status), (404, 200));
    fs::write(&path, text("third", 0)).unwrap();
    eventually("the file to be looked at", async || (client.get("/api/third/x").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn our_own_words_work_too_and_leave_alone_what_is_not_theirs() {
    let upstream = Upstream::start().await;
    let text = |key: &str| {
        format!(
            "providers:\n- name: providers/up\n  dialect: DIALECT_OPENAI\n  baseUrl: http://{}/v1\n\
             clientKeys:\n- name: clientKeys/mine\n  importSecret: {key}\n\
             settings:\n  defaultProvider: up\n",
            upstream.addr()
        )
    };
    let (system, path) = following(&text("key-a")).await;
    assert_eq!(system.client().with_key("key-a").post("/v1/chat/completions", chat("m").to_string()).await.status, 200);
    assert_eq!(system.client().chat("m").await.status, 200, "the operator's own key is there as before");
    fs::write(&path, text("key-b")).unwrap();
    becomes(&system, "key-b", 200).await;
    assert_eq!(status(&system, "key-a").await, 401);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_no_start() {
    let mut system = System::start().await;
    system.control_plane.stop().await;
    let path = system.dir().join("configuration");
    for (text, expected) in [
        ("{\"api\": 1}", "`api` (line 1): must be an object with url and key"),
        ("{\"ever\": 1}", "its format is not known by its keys (ever): say which it is with --config-format"),
        ("routes:\n- name: routes/a\n", "routes/a: target_url: is required"),
        ("routes:\n- name: a\n  targetUrl: http://a\n", "`routes[0].name`: "),
    ] {
        fs::write(&path, text).unwrap();
        let source = Some(source::Options { path: path.clone(), format: None });
        let error =
            ControlPlane::refusal(signalbox_control_plane::app::Options { source, ..system.control_plane.options() })
                .await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()) && error.is_configuration(), "{error}");
    }
}
