//! aggregator: many providers behind one name space.

use std::time::Duration;

use serde_json::json;
use signalbox_control_plane::import::Format;
use signalbox_proto::admin::v1::GetProviderRequest;
use signalbox_tests::{
    Answer, System, Upstream, chat,
    upstream::{DONE, completion},
    wait::eventually,
};

use super::moved;

const FILE: &str = include_str!("../../predecessors/aggregator.config.json");

async fn aggregator() -> (System, Upstream, Upstream) {
    let (zhipu, openai) = (Upstream::start().await, Upstream::start().await);
    zhipu.serve_models(&["glm-4", "cogview-3"]);
    openai.serve_models(&["gpt-4o", "whisper-1"]);
    (moved(Format::Aggregator, FILE, &[(9101, &zhipu), (9102, &openai)]).await, zhipu, openai)
}

#[tokio::test]
async fn the_prefix_picks_the_provider_and_is_taken_off() {
    let (system, zhipu, openai) = aggregator().await;
    let client = system.client().with_key("sk-user1-789012");
    assert_eq!(client.chat("zhipu/glm-4").await.status, 200);
    assert_eq!(client.with_key("sk-admin-123456").chat("openai/gpt-4o-never-listed").await.status, 200);
    for (upstream, target, key, model) in [
        (&zhipu, "/api/paas/v4/chat/completions", "Bearer zhipu-key", "glm-4"),
        (&openai, "/v1/chat/completions", "Bearer sk-openai-key", "gpt-4o-never-listed"),
    ] {
        let seen = upstream.call(0).await;
        assert_eq!((seen.target.as_str(), seen.header("authorization")), (target, Some(key)));
        assert_eq!(seen.model(), model);
    }
}

#[tokio::test]
async fn the_models_of_all_providers_are_listed_prefixed_and_filtered_without_a_key() {
    let (system, _zhipu, _openai) = aggregator().await;
    let client = system.client().without_key();
    let list = eventually("both providers' models to be listed", async || {
        let list = client.get("/v1/models").await.json();
        (list["data"].as_array()?.len() >= 2).then_some(list)
    })
    .await;
    let listed: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|model| (&model["id"], &model["owned_by"])).collect();
    assert_eq!(listed, [(&json!("openai/gpt-4o"), &json!("openai")), (&json!("zhipu/glm-4"), &json!("zhipu"))]);
}

#[tokio::test]
async fn a_chat_needs_one_of_the_tokens() {
    let (system, zhipu, _openai) = aggregator().await;
    let client = system.client();
    for (client, code) in [(client.without_key(), "missing_api_key"), (client.with_key("sk-nobody"), "invalid_api_key")]
    {
        let reply = client.chat("zhipu/glm-4").await;
        assert_eq!((reply.status, reply.code().as_str()), (401, code));
    }
    assert!(zhipu.calls().is_empty());
}

#[tokio::test]
async fn it_tells_of_itself_and_of_its_providers() {
    let (system, zhipu, openai) = aggregator().await;
    let client = system.client().without_key();
    let about = client.get("/").await.json();
    assert!(about["message"].is_string() && about["version"].is_string(), "{about}");
    assert!(about["endpoints"].to_string().contains("/v1/chat/completions"), "{about}");
    let health = client.get("/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["providers"], json!({"zhipu": true, "openai": true}));
    assert_eq!((&health["healthy_providers"], &health["total_providers"]), (&json!(2), &json!(2)));
    drop((zhipu, openai));
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_said_to_be() {
    let (zhipu, gone) = (Upstream::start().await, signalbox_tests::upstream::Refusing::start());
    zhipu.serve_models(&["glm-4"]);
    let file = FILE.replace("127.0.0.1:9102", &gone.addr().to_string());
    let system = moved(Format::Aggregator, &file, &[(9101, &zhipu)]).await;
    let health = system.client().without_key().get("/health").await.json();
    assert_eq!(health["providers"], json!({"zhipu": true, "openai": false}));
    assert_eq!((&health["healthy_providers"], &health["total_providers"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_or_cut_off() {
    let (system, zhipu, _openai) = aggregator().await;
    let client = system.client().with_key("sk-user1-789012");
    zhipu.answer(
        Answer::status(200).header("content-type", "application/json").header("content-length", "10485761").bodiless(),
    );
    let reply = client.chat("zhipu/glm-4").await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_response_too_large"));
    let (answer, live) = Answer::status(200).header("content-type", "application/json").live();
    zhipu.answer(answer);
    for _ in 0..11 {
        live.write(vec![b' '; 1024 * 1024]);
    }
    live.write(completion("glm-4", "never seen").to_string());
    live.end();
    let request = client.request(http::Method::POST, "/v1/chat/completions").header("content-type", "application/json");
    let response = request.body(chat("zhipu/glm-4").to_string()).send().await.unwrap();
    assert!(response.status().as_u16() == 502 || response.bytes().await.is_err(), "it must not look whole");
}

#[tokio::test]
async fn its_clocks_and_its_pool_are_those_of_the_file() {
    let (system, _zhipu, _openai) = aggregator().await;
    let request = GetProviderRequest { name: "providers/zhipu".to_owned() };
    let provider = system.admin().providers().get_provider(request).await.unwrap().into_inner();
    let pool = provider.pool.unwrap();
    assert_eq!((pool.max_connections, pool.max_idle, pool.idle_timeout.unwrap().seconds), (Some(100), Some(20), 30));
    let clocks = provider.timeouts.unwrap();
    assert_eq!(clocks.total.unwrap().seconds, 30);
    assert_eq!(clocks.stream_idle.unwrap().seconds, 300);
    assert_eq!(provider.max_response_bytes, Some(10_485_760));
}

#[tokio::test]
async fn a_stream_ends_upstream_when_its_client_leaves_and_is_counted() {
    let (system, zhipu, _openai) = aggregator().await;
    let client = system.client().with_key("sk-user1-789012");
    let frames = client.chat_stream("zhipu/glm-4").await.rest().await;
    assert_eq!(frames.last().map(String::as_str), Some(DONE));
    system.data_plane().recorded("completed", 1).await;
    let live = zhipu.stream_live();
    live.write(signalbox_tests::upstream::text("glm-4", "first"));
    let mut events = client.chat_stream("zhipu/glm-4").await;
    assert!(events.next().await.is_some());
    drop(events);
    zhipu.call_abandoned(1, Duration::from_secs(1)).await;
    system.data_plane().recorded("abandoned", 1).await;
}
