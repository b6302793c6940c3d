//! redirector: one upstream, allowed client keys, model redirects.

use http::Method;
use serde_json::{Value, json};
use signalbox_control_plane::import::Format;
use signalbox_tests::{Reply, System, Upstream, chat, upstream::DONE};

use super::moved;

const FILE: &str = include_str!("../../predecessors/redirector.config.json");

async fn redirector() -> (System, Upstream) {
    let upstream = Upstream::start().await;
    (moved(Format::Redirector, FILE, &[(9101, &upstream)]).await, upstream)
}

#[tokio::test]
async fn a_redirected_model_is_asked_for_and_the_requested_one_is_answered() {
    let (system, upstream) = redirector().await;
    let client = system.client().with_key("client-key-1");
    for (number, (asked, served)) in
        [("gpt-4", "gpt-4-turbo-preview"), ("gpt-3.5-turbo", "gpt-3.5-turbo-0125"), ("other", "other")]
            .into_iter()
            .enumerate()
    {
        let reply = client.chat(asked).await;
        assert_eq!((reply.status, &reply.json()["model"]), (200, &json!(asked)));
        let seen = upstream.call(number).await;
        assert_eq!((seen.target.as_str(), seen.model().as_str()), ("/v1/chat/completions", served));
        assert_eq!(seen.header("authorization"), Some("Bearer sk-upstream-key"));
        assert!(!format!("{seen:?}").contains("client-key"), "{seen:?}");
    }
    let frames = client.with_key("client-key-2").chat_stream("gpt-4").await.rest().await;
    assert_eq!(frames.last().map(String::as_str), Some(DONE));
    let models: Vec<Value> = frames
        .iter()
        .filter_map(|frame| serde_json::from_str::<Value>(frame.strip_prefix("data: ")?).ok())
        .map(|chunk| chunk["model"].clone())
        .collect();
    assert!(models.len() > 1 && models.iter().all(|model| model == "gpt-4"), "{models:?}");
}

#[tokio::test]
async fn only_the_allowed_keys_may_call() {
    let (system, upstream) = redirector().await;
    for client in [
        system.client().without_key(),
        system.client().with_key("client-key-3"),
        system.client().with_key("Client-key-1"),
    ] {
        assert_eq!(client.chat("gpt-4").await.status, 401);
    }
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn no_field_of_a_request_is_lost() {
    let (system, upstream) = redirector().await;
    let mut body = chat("gpt-4");
    body["temperature"] = json!(0.7);
    body["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    body["a_field_of_next_year"] = json!({"x": [1, null]});
    let reply = system.client().with_key("client-key-1").post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(reply.status, 200);
    body["model"] = json!("gpt-4-turbo-preview");
    assert_eq!(upstream.call(0).await.json(), body);
}

#[tokio::test]
async fn health_and_metrics_are_told_as_before() {
    let (system, _upstream) = redirector().await;
    let client = system.client().with_key("client-key-1");
    assert_eq!(client.chat("gpt-4").await.status, 200);
    let health = client.without_key().get("/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert!(health["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{health}");
    for request in [
        client.without_key().request(Method::GET, "/metrics?format=json"),
        client.without_key().request(Method::GET, "/metrics").header("accept", "application/json"),
    ] {
        let metrics = Reply::to(request).await.json();
        assert!(metrics["total_requests"].as_u64() >= Some(1), "{metrics}");
        for number in ["active_requests", "error_count", "uptime_seconds", "goroutines", "cpu_cores"] {
            assert!(metrics[number].is_number(), "{number} in {metrics}");
        }
        assert_eq!(metrics["model_redirects"], 2, "as many as there are redirects");
    }
    assert!(client.without_key().get("/metrics").await.text().contains("# TYPE"), "plain is Prometheus' text");
}
