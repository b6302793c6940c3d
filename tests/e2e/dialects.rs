//! Dialects: each upstream is asked in its own way, and each client is answered in its own.

use http::Method;
use serde_json::{Value, json};
use signalbox_proto::{
    admin::v1::{Provider, Route},
    config::v1::{AzureOpenAi, Dialect},
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Reply, System, Upstream, chat, chat_streamed,
    draft::{header, provider, route},
    upstream::{DONE, Refusing, Seen, finish, text},
};

fn speaking(dialect: Dialect, id: &str, url: &str) -> Provider {
    Provider { dialect: dialect.into(), ..provider(id, url) }
}

fn azure(id: &str, upstream: &Upstream, api_version: &str) -> Provider {
    let azure_openai = Some(AzureOpenAi { api_version: api_version.to_owned() });
    Provider { azure_openai, ..speaking(Dialect::AzureOpenai, id, &format!("http://{}", upstream.addr())) }
}

/// A system with one provider, whose keys are `sk-a` and `sk-b`.
async fn system(provider: Provider) -> System {
    let id = provider.name.strip_prefix("providers/").unwrap().to_owned();
    let system = System::start().await;
    system.apply(Draft::new().provider(provider).credential(&id, "a", "sk-a").credential(&id, "b", "sk-b")).await;
    system
}

async fn anthropic() -> (System, Upstream) {
    let upstream = Upstream::start().await;
    let system = System::start().await;
    let provider = speaking(Dialect::Anthropic, "claude", &upstream.url());
    let draft = Draft::new().provider(provider).credential("claude", "a", "sk-a");
    system.apply(draft.redirect("alias", "alias", &[("claude", "claude-1")])).await;
    (system, upstream)
}

async fn gemini() -> (System, Upstream) {
    let upstream = Upstream::start().await;
    let base_url = format!("http://{}/v1beta/openai", upstream.addr());
    (system(speaking(Dialect::Gemini, "gemini", &base_url)).await, upstream)
}

fn keys(seen: &Seen) -> [Option<&str>; 3] {
    ["authorization", "x-api-key", "api-key"].map(|name| seen.header(name))
}

#[tokio::test]
async fn each_dialect_has_its_place_for_the_key_and_the_clients_own_goes_nowhere() {
    let upstream = Upstream::start().await;
    let system = System::start().await;
    let root = format!("http://{}", upstream.addr());
    let mut draft = Draft::new();
    for (id, dialect) in [
        ("openai", Dialect::Openai),
        ("gemini", Dialect::Gemini),
        ("azure", Dialect::AzureOpenai),
        ("claude", Dialect::Anthropic),
    ] {
        draft = draft.provider(speaking(dialect, id, &root)).credential(id, "k", "sk-k");
    }
    system.apply(draft).await;
    let bearer = [Some("Bearer sk-k"), None, None];
    for (number, (id, path, expected)) in [
        ("openai", "/v1/chat/completions", bearer),
        ("gemini", "/v1/chat/completions", bearer),
        ("azure", "/v1/chat/completions", [None, None, Some("sk-k")]),
        ("claude", "/v1/messages", [None, Some("sk-k"), None]),
    ]
    .into_iter()
    .enumerate()
    {
        let model = format!("{id}/m");
        let request = system.client().request(Method::POST, &format!("{path}?api_key={CLIENT_KEY}"));
        let request = request.header("x-api-key", CLIENT_KEY).header("api-key", CLIENT_KEY);
        assert_eq!(
            Reply::to(request.header("content-type", "application/json").body(chat(&model).to_string())).await.status,
            200,
            "{id}"
        );
        let seen = upstream.request(number).await;
        assert_eq!(keys(&seen), expected, "{id}");
        assert!(!seen.target.contains("api_key") && !format!("{:?}", seen.headers).contains(CLIENT_KEY), "{id}");
    }
}

#[tokio::test]
async fn azure_has_a_path_for_each_deployment_and_one_version_for_all() {
    let upstream = Upstream::start().await;
    let system = system(azure("azure", &upstream, "2024-10-21")).await;
    let body = r#"{"x": 1.50, "model": "azure/gpt 4o", "messages": []}"#;
    let reply = system.client().post("/v1/chat/completions?api-version=2023-05-15&a=b", body).await;
    assert_eq!(reply.status, 200);
    let seen = upstream.request(0).await;
    assert_eq!(seen.target, "/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21&a=b");
    assert_eq!(seen.text(), r#"{"x": 1.50, "model": "gpt 4o", "messages": []}"#);
    system.client().post("/v1/embeddings", r#"{"model": "azure/ada", "input": "x"}"#).await;
    let seen = upstream.request(1).await;
    assert_eq!(seen.target, "/openai/deployments/ada/embeddings?api-version=2024-10-21");
}

#[tokio::test]
async fn azure_has_a_v1_api_too() {
    let upstream = Upstream::start().await;
    let system = system(azure("azure", &upstream, "")).await;
    assert_eq!(
        system.client().post("/v1/chat/completions?api-version=preview", chat("azure/d").to_string()).await.status,
        200
    );
    let seen = upstream.only();
    assert_eq!((seen.target.as_str(), seen.model().as_str()), ("/openai/v1/chat/completions?api-version=preview", "d"));
}

#[tokio::test]
async fn azures_filters_pass_and_its_first_chunk_commits_to_nothing() {
    let upstream = Upstream::start().await;
    let system = system(azure("azure", &upstream, "2024-10-21")).await;
    let filter = r#"data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}"#;
    let filter = format!("{filter}\n\n");
    // The filter's chunk says nothing, so that what goes wrong after it is still the next attempt's turn.
    upstream.answer(Answer::stream([filter.as_str(), "data: {\"error\":{\"message\":\"overloaded\"}}\n\n"]));
    upstream.answer(Answer::stream([filter.as_str(), &text("m", "hi"), &finish("m"), DONE]));
    let events = system.client().chat_stream("azure/m").await;
    assert_eq!(events.header("x-signalbox-attempts"), "2");
    assert_eq!(events.rest().await, [filter, text("m", "hi"), finish("m"), DONE.to_owned()]);

    let refusal = json!({"error": {"code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}});
    upstream.answer(Answer::json(400, &refusal));
    let reply = system.client().chat("azure/m").await;
    assert_eq!((reply.status, reply.json()), (400, refusal));
}

#[tokio::test]
async fn azures_waits_in_milliseconds_are_believed() {
    let upstream = Upstream::start().await;
    let system = system(azure("azure", &upstream, "2024-10-21")).await;
    for wait in ["25000", "7100"] {
        upstream.answer(Answer::status(429).header("retry-after", "60").header("retry-after-ms", wait).body("{}"));
    }
    let reply = system.client().chat("azure/m").await;
    assert_eq!((reply.status, reply.code().as_str(), reply.header("retry-after")), (429, "rate_limit_exceeded", "8"));
}

#[tokio::test]
async fn a_message_goes_to_anthropic_as_it_is_but_for_the_models_name() {
    let (system, upstream) = anthropic().await;
    let body = r#"{"max_tokens": 8,  "model": "alias", "messages": [], "thinking": {"type": "x"}}"#;
    let answer = json!({"id": "msg_1", "type": "message", "model": "claude-1", "content": []});
    for (path, version, sent) in [
        ("/v1/messages", None, "2023-06-01"),
        ("/v1/messages?beta=true", Some("2024-01-01"), "2024-01-01"),
        ("/v1/messages/count_tokens", None, "2023-06-01"),
    ] {
        upstream.answer(
            Answer::status(200)
                .header("content-type", "application/json")
                .header("anthropic-organization-id", "org")
                .header("anthropic-ratelimit-requests-limit", "50")
                .body(answer.to_string()),
        );
        let request = system.client().without_key().request(Method::POST, path).header("x-api-key", CLIENT_KEY);
        let request = request.header("content-type", "application/json").header("anthropic-beta", "tools-1");
        let request = if let Some(version) = version { request.header("anthropic-version", version) } else { request };
        let reply = Reply::to(request.body(body)).await;
        assert_eq!((reply.status, reply.json()["model"].as_str()), (200, Some("alias")), "{path}");
        assert_eq!(
            (reply.header("anthropic-organization-id"), reply.header("anthropic-ratelimit-requests-limit")),
            ("", "")
        );
        let seen = upstream.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", path));
        assert_eq!((seen.header("anthropic-version"), seen.header("anthropic-beta")), (Some(sent), Some("tools-1")));
        assert_eq!(seen.text(), body.replace("alias", "claude-1"));
    }
}

fn message_events(model: &str) -> [String; 6] {
    [
        format!(r#"event: message_start\ndata: {{"type":"message_start","message":{{"id":"msg_1","model":"{model}","usage":{{"input_tokens":3}}}}}}"#),
        r#"event: ping\ndata: {"type": "ping"}"#.to_owned(),
        r#"event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
        r#"event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"}}"#.to_owned(),
        r#"event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#.to_owned(),
        r#"event: message_stop\ndata: {"type":"message_stop"}"#.to_owned(),
    ]
    .map(|event| event.replace("\\n", "\n") + "\n\n")
}

#[tokio::test]
async fn a_stream_of_anthropics_passes_and_bears_the_name_that_was_asked_for() {
    let (system, upstream) = anthropic().await;
    let told = message_events("claude-1");
    upstream.answer(Answer::stream(told.iter().map(String::as_str)));
    let events = system.client().stream("/v1/messages", chat_streamed("claude/claude-1").to_string()).await;
    assert_eq!(events.rest().await, told, "as it is, without a `[DONE]`");
    upstream.answer(Answer::stream(told.iter().map(String::as_str)));
    let events = system.client().stream("/v1/messages", chat_streamed("alias").to_string()).await;
    assert_eq!(events.rest().await, message_events("alias"));
    system.data_plane().recorded("completed", 2).await;
}

#[tokio::test]
async fn an_error_of_anthropics_before_anything_was_said_is_the_next_attempts_turn() {
    let (system, upstream) = anthropic().await;
    let told = message_events("claude-1");
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    upstream.answer(Answer::status(529).body("{}"));
    upstream.answer(Answer::stream([told[0].as_str(), &told[1], error]));
    upstream.answer(Answer::stream(told.iter().map(String::as_str)));
    let events = system.client().stream("/v1/messages", chat_streamed("claude/claude-1").to_string()).await;
    assert_eq!(events.header("x-signalbox-attempts"), "3");
    assert_eq!(events.rest().await, told);
}

#[tokio::test]
async fn a_stream_of_anthropics_that_breaks_says_so_in_its_own_form() {
    let (system, upstream) = anthropic().await;
    let told = message_events("claude-1");
    let live = upstream.stream_live();
    for event in &told[..4] {
        live.write(event);
    }
    live.cut();
    let frames =
        system.client().stream("/v1/messages", chat_streamed("claude/claude-1").to_string()).await.rest().await;
    assert_eq!(frames[..4], told[..4]);
    let data = frames[4].strip_prefix("event: error\ndata: ").expect("an error event");
    let data: Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!((data["type"].as_str(), data["error"]["type"].as_str()), (Some("error"), Some("api_error")));
    assert_eq!(frames.len(), 5);
    system.data_plane().recorded("broken", 1).await;
}

#[tokio::test]
async fn anthropics_clients_are_told_of_the_gateways_errors_in_their_own_form() {
    let system = System::start().await;
    let nowhere = Refusing::start();
    system.apply(Draft::new().provider(speaking(Dialect::Anthropic, "claude", &nowhere.url()))).await;
    let asks = |model: &str| chat(model).to_string();
    for (client, path, body, status, kind) in [
        (system.client().without_key(), "/v1/messages", asks("claude/m"), 401, "authentication_error"),
        (system.client().clone(), "/v1/messages", asks("nobody/m"), 404, "not_found_error"),
        (system.client().clone(), "/v1/messages/count_tokens", "{".to_owned(), 400, "invalid_request_error"),
        (system.client().clone(), "/v1/messages", asks("claude/m"), 502, "api_error"),
    ] {
        let reply = client.post(path, body).await;
        let told = reply.json();
        assert_eq!(
            (reply.status, told["type"].as_str(), told["error"]["type"].as_str()),
            (status, Some("error"), Some(kind))
        );
        assert!(told["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        let request_id = reply.header("x-request-id");
        assert_eq!((told["request_id"].as_str(), reply.header("request-id")), (Some(request_id), request_id));
    }
}

#[tokio::test]
async fn anthropic_serves_messages_and_nothing_else() {
    let (system, upstream) = anthropic().await;
    let reply = system.client().chat("claude/claude-1").await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "model_not_found"));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn geminis_errors_come_out_of_their_list() {
    let (system, upstream) = gemini().await;
    let error = json!({"error": {"code": 400, "message": "no such parameter", "status": "INVALID_ARGUMENT"}});
    upstream.answer(Answer::json(400, &json!([error])));
    let reply = system.client().chat("gemini/gemini-2.5-flash").await;
    assert_eq!((reply.status, reply.json()), (400, error));
    let seen = upstream.only();
    assert_eq!((seen.target.as_str(), seen.model().as_str()), ("/v1beta/openai/chat/completions", "gemini-2.5-flash"));
}

#[tokio::test]
async fn a_key_that_gemini_refuses_as_a_bad_request_gives_way_to_the_next() {
    let (system, upstream) = gemini().await;
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    let refusal = json!([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": details}}]);
    upstream.answer(Answer::json(400, &refusal));
    let reply = system.client().chat("gemini/m").await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (200, "2"));
    let used: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_ne!(used[0], used[1]);
}

#[tokio::test]
async fn gemini_is_spoken_natively_through_a_route() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let native = Route {
        client_key_required: true,
        headers: [("x-goog-api-key".to_owned(), header("sk-google", Some(true)))].into(),
        ..route("gemini", &format!("http://{}", upstream.addr()))
    };
    system.apply(Draft::new().route(native)).await;
    upstream.answer(Answer::json(200, &json!({"candidates": []})));
    let path = "/gemini/v1beta/models/gemini-2.5-flash:generateContent";
    let body = r#"{"contents": [{"parts": [{"text": "hi"}]}]}"#;
    let reply = system.client().post(path, body).await;
    assert_eq!((reply.status, reply.text()), (200, r#"{"candidates":[]}"#));
    let seen = upstream.only();
    assert_eq!(seen.target, "/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!((seen.header("x-goog-api-key"), seen.header("authorization")), (Some("sk-google"), None));
    assert_eq!(seen.text(), body);
}
