//! What answers took: asked of streams, kept from clients that did not ask, counted, and told in one line of the log.

use serde_json::{Value, json};
use signalbox_proto::{admin::v1::Provider, config::v1::Dialect};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Reply, System, Upstream, chat_streamed,
    draft::provider,
    logs,
    upstream::{DONE, finish, text},
    wait::eventually,
};

const ACCOUNT: &str =
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5},\"x_other\":1}\n\n";

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let silent = Provider { request_usage: Some(false), ..provider("silent", &upstream.url()) };
    let draft = Draft::new().upstream("main", &upstream.url()).provider(silent);
    system.apply(draft).await;
    (system, upstream)
}

fn accounted() -> Answer {
    Answer::stream([text("m", "a").as_str(), &finish("m"), ACCOUNT, DONE])
}

/// The access log's line about an answer, once it is there.
async fn line(request_id: &str) -> Value {
    eventually("a line in the access log", async || logs::access(request_id)).await
}

#[tokio::test]
async fn a_stream_is_asked_for_its_usage_and_only_who_asked_is_told() {
    let (system, upstream) = system().await;
    let plain = r#"{"messages":[],"model":"main/m","stream":true}"#;
    for (sent, arrives, told) in [
        (
            plain.to_owned(),
            r#"{"stream_options":{"include_usage":true},"messages":[],"model":"m","stream":true}"#.to_owned(),
            false,
        ),
        (
            r#"{"model":"main/m","stream":true,"stream_options":{ "include_usage" : false,"x":1}}"#.to_owned(),
            r#"{"model":"m","stream":true,"stream_options":{ "include_usage" : true,"x":1}}"#.to_owned(),
            false,
        ),
        (
            r#"{"stream_options":{"x":[1.0]},"model":"main/m","stream":true}"#.to_owned(),
            r#"{"stream_options":{"include_usage":true,"x":[1.0]},"model":"m","stream":true}"#.to_owned(),
            false,
        ),
        (
            r#"{"stream_options":{"include_usage":true},"model":"main/m","stream":true}"#.to_owned(),
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#.to_owned(),
            true,
        ),
        (plain.replace("main/", "silent/"), plain.replace("main/", ""), false),
    ] {
        upstream.answer(accounted());
        let events = system.client().stream("/v1/chat/completions", sent.clone()).await.rest().await;
        assert_eq!(upstream.calls().last().unwrap().text(), arrives);
        let mut expected = vec![text("m", "a"), finish("m"), ACCOUNT.to_owned(), DONE.to_owned()];
        expected.retain(|frame| told || frame != ACCOUNT);
        assert_eq!(events, expected, "{sent}");
    }
}

#[tokio::test]
async fn only_streamed_chats_are_asked() {
    let (system, upstream) = system().await;
    let body = r#"{"model":"m","input":"x","messages":[]}"#;
    let posted = body.replace("\"m\"", "\"main/m\"");
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        system.client().post(path, posted.clone()).await;
        assert_eq!(upstream.calls().last().unwrap().text(), body, "{path}");
    }
    let streamed = body.replace('}', ",\"stream\":true}");
    upstream.answer(Answer::stream(["data: {\"type\":\"response.completed\",\"response\":{}}\n\n"]));
    system.client().stream("/v1/responses", streamed.replace("\"m\"", "\"main/m\"")).await.rest().await;
    assert_eq!(upstream.calls().last().unwrap().text(), streamed);
}

#[tokio::test]
async fn usage_beside_content_passes_and_counts() {
    let (system, upstream) = system().await;
    let last = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
    upstream.answer(Answer::stream([text("m", "a").as_str(), last, DONE]));
    let events = system.client().chat_stream("main/m").await;
    let id = events.header("x-request-id").to_owned();
    assert_eq!(events.rest().await, [text("m", "a").as_str(), last, DONE]);
    let line = line(&id).await;
    assert_eq!((&line["usage.prompt_tokens"], &line["usage.completion_tokens"]), (&json!(3), &json!(4)));
}

#[tokio::test]
async fn every_kind_of_answer_is_counted() {
    let (system, upstream) = system().await;
    let json = |body: &str| Answer::status(200).header("content-type", "application/json").body(body);
    let completed =
        "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n";
    let plain = r#"{"model":"main/m"}"#;
    let streamed = r#"{"model":"main/m","stream":true}"#;
    for (path, body, answer, counted) in [
        (
            "/v1/chat/completions",
            plain,
            json(
                r#"{"model":"m","choices":[{"x":{"usage":{"prompt_tokens":99}}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            ),
            (1, 2),
        ),
        (
            "/v1/embeddings",
            plain,
            json(r#"{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#),
            (3, 0),
        ),
        ("/v1/responses", plain, json(r#"{"id":"r","usage":{"input_tokens":5,"output_tokens":6}}"#), (5, 6)),
        ("/v1/responses", streamed, Answer::stream([completed]), (1, 2)),
        ("/v1/chat/completions", streamed, accounted(), (7, 5)),
    ] {
        upstream.answer(answer);
        let reply = system.client().post(path, body).await;
        let line = line(reply.header("x-request-id")).await;
        let found = (&line["usage.prompt_tokens"], &line["usage.completion_tokens"]);
        assert_eq!(found, (&json!(counted.0), &json!(counted.1)), "{path}: {body}");
    }
    for (direction, tokens) in [("prompt", 17.0), ("completion", 15.0)] {
        let labels = [format!("direction=\"{direction}\""), "upstream=\"main\"".to_owned()];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(system.data_plane().metric("signalbox_tokens_total", &labels).await, tokens, "{direction}");
    }
}

#[tokio::test]
async fn anthropics_answers_are_counted_where_they_say_so() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let claude = Provider { dialect: Dialect::Anthropic.into(), ..provider("claude", &upstream.url()) };
    system.apply(Draft::new().provider(claude)).await;
    let plain = Answer::status(200).header("content-type", "application/json");
    let begun = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
    let word = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n";
    let ended = "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    for (body, answer, counted) in [
        (
            r#"{"model":"claude/m","max_tokens":9}"#,
            plain
                .body(r#"{"type":"message","usage":{"input_tokens":8,"cache_read_input_tokens":2,"output_tokens":9}}"#),
            (10, 9),
        ),
        (r#"{"model":"claude/m","stream":true}"#, Answer::stream([begun, word, ended, stop]), (25, 15)),
    ] {
        upstream.answer(answer);
        let reply = system.client().post("/v1/messages", body).await;
        let line = line(reply.header("x-request-id")).await;
        let found = (&line["usage.prompt_tokens"], &line["usage.completion_tokens"]);
        assert_eq!(found, (&json!(counted.0), &json!(counted.1)), "{body}: {reply:?}");
    }
}

#[tokio::test]
async fn one_line_in_the_log_tells_of_an_exchange_and_never_of_what_was_said() {
    let (system, upstream) = system().await;
    let answer = Answer::status(200).header("content-type", "application/json").header("x-request-id", "req-theirs");
    upstream.answer(
        answer.body(
            r#"{"model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2},"say":"unspeakable"}"#,
        ),
    );
    let mut body = chat_streamed("main/m");
    body["stream"] = false.into();
    body["messages"][0]["content"] = "unheard-of".into();
    let reply = system.client().post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(reply.header("x-upstream-request-id"), "req-theirs");
    let line = line(reply.header("x-request-id")).await;
    for (field, expected) in [
        ("request.operation", json!("/chat/completions")),
        ("response.status", json!(200)),
        ("response.bytes", json!(reply.body.len())),
        ("outcome", json!("completed")),
        ("client_key.id", json!("stories")),
        ("upstream.id", json!("main")),
        ("upstream.status", json!(200)),
        ("upstream.request_id", json!("req-theirs")),
        ("model.requested", json!("main/m")),
        ("model.served", json!("m")),
        ("credential.name", json!("providers/main/credentials/main")),
        ("usage.prompt_tokens", json!(1)),
        ("usage.completion_tokens", json!(2)),
        ("attempts", json!(1)),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    for field in ["duration_ms", "upstream_header_ms", "revision"] {
        assert!(line[field].is_u64(), "{field} in {line}");
    }
    for secret in ["unheard-of", "unspeakable", CLIENT_KEY] {
        assert_eq!(logs::holding(secret), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn a_trace_goes_on_through_the_gateway() {
    let (system, upstream) = system().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = system.client().request(http::Method::POST, "/v1/chat/completions");
    let request = request.header("content-type", "application/json").header("traceparent", trace);
    let request = request.header("tracestate", "a=b").body(r#"{"model":"main/m"}"#);
    assert_eq!(Reply::to(request).await.status, 200);
    let seen = upstream.calls().pop().unwrap();
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(trace), Some("a=b")));
}
