//! leaflet: one upstream, bring your own key.

use http::Method;
use serde_json::json;
use signalbox_control_plane::import::Format;
use signalbox_tests::{Answer, Client, Reply, System, Upstream, chat, chat_streamed, upstream::DONE, wait::eventually};

use super::moved;

const FILE: &str = include_str!("../../predecessors/leaflet.env");

async fn leaflet() -> (System, Upstream) {
    let upstream = Upstream::start().await;
    upstream.serve_models(&["gpt-4o", "text-embedding-3-small"]);
    (moved(Format::Leaflet, FILE, &[(9101, &upstream)]).await, upstream)
}

/// A client without a key of the gateway's, which nobody here has.
fn caller(system: &System) -> Client {
    system.client().without_key()
}

#[tokio::test]
async fn it_is_alive_and_lists_the_upstreams_models_without_a_key() {
    let (system, _upstream) = leaflet().await;
    let client = caller(&system);
    assert_eq!(client.get("/healthz").await.status, 200);
    let ids = eventually("the upstream's models to be listed", async || {
        let list = client.get("/v1/models").await.json();
        let ids: Vec<_> = list["data"].as_array()?.iter().map(|model| model["id"].clone()).collect();
        (!ids.is_empty()).then_some(ids)
    })
    .await;
    for model in ["gpt-4o", "text-embedding-3-small"] {
        assert!(ids.iter().any(|id| id.as_str().is_some_and(|id| id.ends_with(model))), "{model} in {ids:?}");
    }
}

#[tokio::test]
async fn a_callers_token_is_passed_on_without_what_was_put_before_it() {
    let (system, upstream) = leaflet().await;
    for (number, presented) in
        ["Bearer your-token", "Bearer sk-your-token", "Bearer Bearer your-token"].into_iter().enumerate()
    {
        let request = caller(&system).request(Method::POST, "/v1/chat/completions");
        let request = request.header("authorization", presented).header("content-type", "application/json");
        let reply = Reply::to(request.body(chat("gpt-4o").to_string())).await;
        assert_eq!(reply.status, 200, "{presented}: {}", reply.text());
        let seen = upstream.call(number).await;
        assert_eq!(seen.header("authorization"), Some("Bearer your-token"), "{presented}");
        assert_eq!((seen.target.as_str(), seen.model().as_str()), ("/v1/chat/completions", "gpt-4o"));
    }
}

#[tokio::test]
async fn without_a_token_the_static_key_is_used() {
    let (system, upstream) = leaflet().await;
    let client = caller(&system);
    assert_eq!(client.chat("gpt-4o").await.status, 200);
    let frames = client.stream("/v1/chat/completions", chat_streamed("gpt-4o").to_string()).await.rest().await;
    assert_eq!(frames.last().map(String::as_str), Some(DONE));
    upstream.answer(Answer::json(200, &json!({"object": "list", "model": "text-embedding-3-small", "data": []})));
    let body = json!({"model": "text-embedding-3-small", "input": "x"}).to_string();
    assert_eq!(client.post("/v1/embeddings", body).await.status, 200);
    for (number, path) in ["chat/completions", "chat/completions", "embeddings"].into_iter().enumerate() {
        let seen = upstream.call(number).await;
        assert_eq!(seen.header("authorization"), Some("Bearer sk-leaflet-static"));
        assert_eq!(seen.target, format!("/v1/{path}"));
    }
}

#[tokio::test]
async fn the_upstreams_opinion_of_a_callers_token_is_the_callers_to_hear() {
    let (system, upstream) = leaflet().await;
    upstream.answer(Answer::error(401));
    let reply = caller(&system).with_key("not-theirs").chat("gpt-4o").await;
    assert_eq!((reply.status, reply.code().as_str()), (401, "scripted"));
    assert_eq!(caller(&system).chat("gpt-4o").await.status, 200, "the static key is none the worse for it");
}

#[tokio::test]
async fn what_fails_is_tried_twice_more() {
    let (system, upstream) = leaflet().await;
    for _ in 0..2 {
        upstream.answer(Answer::error(503));
    }
    let reply = caller(&system).chat("gpt-4o").await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (200, "3"));
    for _ in 0..3 {
        upstream.answer(Answer::error(503));
    }
    assert!(caller(&system).chat("gpt-4o").await.status >= 500);
    assert_eq!(upstream.calls().len(), 6);
}

#[tokio::test]
async fn scripts_of_every_web_page_may_call() {
    let (system, _upstream) = leaflet().await;
    let preflight = caller(&system).request(Method::OPTIONS, "/v1/chat/completions");
    let preflight = preflight.header("origin", "https://app.example").header("access-control-request-method", "POST");
    let reply = Reply::to(preflight.header("access-control-request-headers", "authorization,content-type")).await;
    assert!(reply.status < 300, "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let request = caller(&system).request(Method::POST, "/v1/chat/completions").header("origin", "https://app.example");
    let request = request.header("content-type", "application/json").body(chat("gpt-4o").to_string());
    assert_eq!(Reply::to(request).await.header("access-control-allow-origin"), "*");
}
