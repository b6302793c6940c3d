//! pool: a pool of upstream tokens and a conversation handshake.

use http::Method;
use serde_json::{Value, json};
use signalbox_control_plane::import::Format;
use signalbox_tests::{
    Answer, Client, Reply, System, Upstream, chat, chat_streamed,
    upstream::{DONE, Seen},
};

use super::moved;

const FILE: &str = include_str!("../../predecessors/pool.env");
const MODEL: &str = "Claude 4-Default";

async fn pool() -> (System, Upstream) {
    let upstream = Upstream::start().await;
    upstream.page("/project", json!({}));
    // The waits between attempts are the file's; the stories are not about them.
    let file = FILE.replace("RETRY_DELAY=1.0", "RETRY_DELAY=0.001");
    (moved(Format::Pool, &file, &[(9101, &upstream)]).await, upstream)
}

fn client(system: &System) -> Client {
    system.client().with_key("your-api-key-1")
}

/// The upstream makes a conversation and answers in it.
fn converse(upstream: &Upstream, id: &str, text: &str) {
    upstream.answer(Answer::json(200, &json!({"conversationId": id})));
    upstream.answer(Answer::json(200, &json!({"message": {"content": text}})));
}

fn token(seen: &Seen) -> &str {
    seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

#[tokio::test]
async fn every_chat_has_a_conversation_of_its_own() {
    let (system, upstream) = pool().await;
    for (number, id) in ["c-1", "c-2"].into_iter().enumerate() {
        converse(&upstream, id, "as you say");
        let reply = client(&system).chat(MODEL).await;
        assert_eq!((reply.status, reply.content().as_str()), (200, "as you say"), "{}", reply.text());
        let answer = reply.json();
        assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!(MODEL)));
        let (create, talk) = (upstream.call(2 * number).await, upstream.call(2 * number + 1).await);
        assert_eq!((create.method.as_str(), create.target.as_str()), ("POST", "/conversation"));
        assert_eq!((talk.method.as_str(), talk.target.as_str()), ("POST", "/chat"));
        assert_eq!(token(&create), token(&talk), "both calls carry one token");
        assert!(talk.header("referer").is_some_and(|referer| referer.ends_with(&format!("/{id}"))), "{talk:?}");
        assert!(talk.text().contains(id) && talk.text().contains("hello"), "{}", talk.text());
    }
}

#[tokio::test]
async fn several_messages_are_joined_each_led_by_its_role() {
    let (system, upstream) = pool().await;
    converse(&upstream, "c", "yes");
    let messages = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "is it so?"}]);
    let body = json!({"model": MODEL, "messages": messages}).to_string();
    assert_eq!(client(&system).post("/v1/chat/completions", body).await.status, 200);
    let talk = upstream.call(1).await.json().to_string();
    assert!(talk.contains("system: be brief") && talk.contains("user: is it so?"), "{talk}");
}

#[tokio::test]
async fn an_answer_in_events_of_their_shape_becomes_a_chat_stream() {
    let (system, upstream) = pool().await;
    upstream.answer(Answer::json(200, &json!({"id": "c"})));
    upstream.answer(Answer::stream([
        "data: {\"content\":\"as \"}\n\n",
        "data: {\"content\":\"you say\"}\n\n",
        "data: {\"done\":true}\n\n",
    ]));
    let frames = client(&system).stream("/v1/chat/completions", chat_streamed(MODEL).to_string()).await.rest().await;
    assert_eq!(frames.last().map(String::as_str), Some(DONE));
    let chunks: Vec<Value> =
        frames.iter().filter_map(|frame| serde_json::from_str(frame.strip_prefix("data: ")?).ok()).collect();
    let text: String = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/content")?.as_str()).collect();
    assert_eq!(text, "as you say");
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["model"] == MODEL));
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["finish_reason"] == "stop"));
}

#[tokio::test]
async fn the_key_may_come_in_four_ways() {
    let (system, upstream) = pool().await;
    let anonymous = system.client().without_key();
    let path = "/v1/chat/completions";
    let ways = [
        anonymous.request(Method::POST, path).bearer_auth("your-api-key-2"),
        anonymous.request(Method::POST, &format!("{path}?api_key=your-api-key-2")),
        anonymous.request(Method::POST, path).header("X-API-Key", "your-api-key-2"),
        anonymous.request(Method::POST, path).header("api-key", "your-api-key-2"),
    ];
    for request in ways {
        converse(&upstream, "c", "yes");
        let request = request.header("content-type", "application/json").body(chat(MODEL).to_string());
        assert_eq!(Reply::to(request).await.status, 200);
    }
    assert!(upstream.calls().iter().all(|seen| !format!("{seen:?}").contains("your-api-key")));
    for (client, code) in [(anonymous.clone(), "missing_api_key"), (anonymous.with_key("other"), "invalid_api_key")] {
        let reply = client.chat(MODEL).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, code));
    }
    for page in ["/", "/health", "/docs"] {
        assert!(anonymous.get(page).await.status < 400, "{page} needs no key");
    }
}

#[tokio::test]
async fn the_models_of_the_file_are_listed() {
    let (system, _upstream) = pool().await;
    let list = client(&system).get("/v1/models").await.json();
    for model in ["ChatGPT 4.1-Default", MODEL, "DeepSeek R1-Default"] {
        let listed = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["id"].as_str().is_some_and(|id| id.ends_with(model)));
        assert!(listed, "{model} in {list}");
    }
}

#[tokio::test]
async fn tokens_take_turns_and_a_refused_one_is_put_aside() {
    let (system, upstream) = pool().await;
    upstream.answer(Answer::error(401));
    converse(&upstream, "c", "yes");
    assert_eq!(client(&system).chat(MODEL).await.status, 200);
    let refused = token(&upstream.call(0).await).to_owned();
    for _ in 0..4 {
        converse(&upstream, "c", "yes");
        assert_eq!(client(&system).chat(MODEL).await.status, 200);
    }
    let calls = upstream.calls();
    let mut tokens: Vec<_> = calls.iter().skip(1).map(|seen| token(seen).to_owned()).collect();
    assert!(!tokens.contains(&refused), "{refused} is left alone: {tokens:?}");
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 2, "the other two take turns");
    let health = client(&system).without_key().get("/health").await.json();
    assert!(health["credential_pools"].to_string().contains("\"set_aside\":1"), "{health}");
}

#[tokio::test]
async fn when_every_token_was_refused_all_are_tried_again() {
    let (system, upstream) = pool().await;
    for _ in 0..3 {
        upstream.answer(Answer::error(403));
    }
    assert_eq!(client(&system).chat(MODEL).await.status, 502);
    assert_eq!(upstream.calls().len(), 3, "each was tried once");
    converse(&upstream, "c", "yes");
    assert_eq!(client(&system).chat(MODEL).await.status, 200, "nobody is locked out");
}

#[tokio::test]
async fn what_is_busy_is_tried_three_times_more_and_then_the_next_token() {
    let (system, upstream) = pool().await;
    for _ in 0..4 {
        upstream.answer(Answer::error(503));
    }
    converse(&upstream, "c", "yes");
    assert_eq!(client(&system).chat(MODEL).await.status, 200);
    let calls = upstream.calls();
    let tokens: Vec<_> = calls.iter().map(|seen| token(seen).to_owned()).collect();
    assert!(tokens[..4].iter().all(|token| token == &tokens[0]), "{tokens:?}");
    assert_ne!(tokens[4], tokens[0], "the fifth goes with another: {tokens:?}");
}

#[tokio::test]
async fn health_tells_of_the_pool_and_of_what_was_done() {
    let (system, upstream) = pool().await;
    converse(&upstream, "c", "yes");
    assert_eq!(client(&system).chat(MODEL).await.status, 200);
    system.data_plane().recorded("completed", 1).await;
    let health = client(&system).get("/health").await.json();
    assert_eq!(health["status"], "healthy", "{health}");
    assert!(health["uptime_seconds"].is_number() && health["credential_pools"].is_object(), "{health}");
    for number in ["total_requests", "successful_requests", "failed_requests", "success_rate"] {
        assert!(health["statistics"].to_string().contains(number), "{number} in {health}");
    }
    assert!(health["models"].to_string().contains(MODEL), "{health}");
    let probes = upstream.seen().into_iter().filter(|seen| seen.method == "GET");
    assert!(
        probes.into_iter().any(|seen| seen.target == "/project"),
        "the upstream's project page is what is looked at"
    );
}
