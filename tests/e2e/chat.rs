//! What a client asks goes on byte for byte, and what the upstream answers comes back so.

use std::num::NonZeroUsize;

use serde_json::{Value, json};
use signalbox_tests::{Answer, Draft, Setup, System, Upstream, upstream};

const CHAT: &str = "/v1/chat/completions";

/// A request as no serialiser would write it: odd spaces, key order, numbers that lose digits in a float, escapes, unknown fields.
const ODD: &str = r#" {"messages" : [ {"role":"user","content":"h\u00e9llo \ud83d\ude00 \/ é"} ],
  "temperature":0.7, "top_p":1e3,"seed": 12345678901234567890123,"x_unknown":{"b":1,"a":[1.0,-0.0,1E-2]},
  "model" : "main/gpt-4o",	"logit_bias":{"50256":-100},"stream_options":null, "user":""} "#;

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    (system, upstream)
}

#[tokio::test]
async fn every_byte_but_the_models_name_goes_on_as_it_came() {
    let (system, upstream) = system().await;
    let reply = system.client().post(CHAT, ODD).await;
    assert_eq!((reply.status, reply.content().as_str()), (200, upstream::REPLY));
    let seen = upstream.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(seen.text(), ODD.replace(r#""main/gpt-4o""#, r#""gpt-4o""#));
    assert_eq!(seen.header("content-length"), Some(seen.body.len().to_string().as_str()));
    assert_eq!(seen.header("authorization"), Some("Bearer sk-main"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_model_that_needs_no_new_name_leaves_the_body_untouched() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let listed = signalbox_proto::admin::v1::Provider {
        models: vec!["main/gpt-4o".to_owned()],
        ..signalbox_tests::draft::provider("other", &upstream.url())
    };
    system.apply(Draft::new().provider(listed).credential("other", "k", "sk-other")).await;
    assert_eq!(system.client().post(CHAT, ODD).await.status, 200);
    assert_eq!(upstream.only().text(), ODD);
}

#[tokio::test]
async fn a_model_written_with_escapes_is_spliced_all_the_same() {
    let (system, upstream) = system().await;
    let body = r#"{"messages":[],"mod\u0065l":"main\/gpt\u002d4o","n":1}"#;
    assert_eq!(system.client().post(CHAT, body).await.status, 200);
    assert_eq!(upstream.only().text(), r#"{"messages":[],"mod\u0065l":"gpt-4o","n":1}"#);
}

#[tokio::test]
async fn tools_and_image_parts_pass_unharmed_in_both_directions() {
    let (system, upstream) = system().await;
    let call =
        json!([{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"at\": \"x\"}"}}]);
    let mut answer = upstream::completion("gpt-4o", "");
    *answer.pointer_mut("/choices/0/message").unwrap() =
        json!({"role": "assistant", "content": null, "tool_calls": call});
    upstream.answer(Answer::json(200, &answer));
    let request = json!({
        "model": "main/gpt-4o", "parallel_tool_calls": false, "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}, "strict": true}}],
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "what is this?"},
            {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/never-fetched.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]}],
    });
    let reply = system.client().post(CHAT, request.to_string()).await;
    assert_eq!(reply.json().pointer("/choices/0/message/tool_calls"), Some(&call));
    assert_eq!(upstream.only().text(), request.to_string().replace("main/gpt-4o", "gpt-4o"));
}

#[tokio::test]
async fn a_plain_answer_comes_back_byte_for_byte() {
    let (system, upstream) = system().await;
    let odd = r#"{ "id":"x","created":1.0e0, "model" : "gpt-4o-2024-08-06","big":12345678901234567890123, "t":"\u00e9" ,"choices":[] }"#;
    upstream.answer(
        Answer::status(200).header("content-type", "application/json").header("x-request-id", "theirs").body(odd),
    );
    let reply = system.client().chat("main/gpt-4o").await;
    assert_eq!(reply.text(), odd);
    assert_eq!(reply.header("x-upstream-request-id"), "theirs");
    assert_eq!(reply.header("x-signalbox-provider"), "main");
    assert_eq!(reply.header("x-signalbox-model"), "gpt-4o");
    assert_eq!(reply.header("x-signalbox-attempts"), "1");
    assert_eq!(reply.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_stream_comes_back_with_its_usage_and_its_end() {
    let (system, upstream) = system().await;
    let usage =
        r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[],"usage":{"total_tokens":3}}"#;
    let usage = format!("{usage}\n\n");
    let frames = [&upstream::text("gpt-4o", "a"), &upstream::finish("gpt-4o"), &usage, upstream::DONE];
    upstream.answer(Answer::stream(frames));
    let request = r#"{"model":"main/gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    let events = system.client().stream(CHAT, request).await;
    assert_eq!(events.header("cache-control"), "no-cache");
    assert_eq!(events.header("x-accel-buffering"), "no");
    assert_eq!(events.header("content-length"), "");
    assert_eq!(events.header("x-signalbox-provider"), "main");
    assert_eq!(events.rest().await, frames);
    assert_eq!(upstream.only().text(), request.replace("main/", ""));
}

#[tokio::test]
async fn embeddings_completions_and_responses_take_the_same_path() {
    let (system, upstream) = system().await;
    for (number, (path, field)) in
        [("embeddings", "input"), ("completions", "prompt"), ("responses", "input")].into_iter().enumerate()
    {
        let answer = json!({"object": path, "model": "m", "data": [{"embedding": "AACAPwAAAEA="}, {"embedding": [1.0, 2.5e-7]}]});
        upstream.answer(Answer::json(200, &answer));
        let request = json!({"model": "main/m", field: "text", "encoding_format": "base64"}).to_string();
        let reply = system.client().post(&format!("/v1/{path}"), request.clone()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json().get("data"), answer.get("data"));
        let seen = upstream.request(number).await;
        assert_eq!(
            (seen.target.as_str(), seen.text()),
            (format!("/v1/{path}").as_str(), request.replace("main/", "").as_str())
        );
    }
}

#[tokio::test]
async fn a_query_goes_on_without_the_key_and_the_url_is_otherwise_the_upstreams_own() {
    let (system, upstream) = system().await;
    let path = format!("{CHAT}?a=%7e&api_key={}&b=+&&c", signalbox_tests::CLIENT_KEY);
    let reply = system.client().without_key().post(&path, r#"{"model":"main/m"}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(upstream.only().target, "/v1/chat/completions?a=%7e&b=+&&c");
}

#[tokio::test]
async fn headers_that_are_nobodys_business_stay_here_and_the_rest_goes_on() {
    let (system, upstream) = system().await;
    let client = system.client();
    let request = client.request(http::Method::POST, CHAT).body(r#"{"model":"main/m"}"#);
    let request = [
        ("content-type", "application/json"),
        ("cookie", "session=1"),
        ("x-stainless-lang", "python"),
        ("openai-organization", "org-client"),
        ("openai-project", "proj-client"),
        ("x-request-id", "the-clients-own"),
        ("connection", "x-hop"),
        ("x-hop", "for this connection only"),
        ("te", "trailers"),
        ("accept-encoding", "gzip, br"),
        ("x-custom", "kept"),
        ("openai-beta", "kept=v1"),
    ]
    .into_iter()
    .fold(request, |request, (name, value)| request.header(name, value));
    let reply = signalbox_tests::Reply::to(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_ne!(reply.header("x-request-id"), "the-clients-own");
    let seen = upstream.only();
    for gone in [
        "cookie",
        "x-stainless-lang",
        "openai-organization",
        "openai-project",
        "x-request-id",
        "x-hop",
        "te",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(gone), None, "{gone} went on");
    }
    assert_eq!(seen.header("host"), Some(upstream.addr().to_string().as_str()));
    assert_eq!((seen.header("x-custom"), seen.header("openai-beta")), (Some("kept"), Some("kept=v1")));
    assert_eq!(seen.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn connections_to_an_upstream_are_kept_and_used_again() {
    let setup = Setup { workers: NonZeroUsize::new(1), ..Setup::default() };
    let (system, upstream) = (setup.start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    for _ in 0..5 {
        assert_eq!(system.client().chat("main/m").await.status, 200);
    }
    system.apply(Draft::new().redirect("other", "other", &[("main", "m")])).await;
    assert_eq!(system.client().chat("other").await.status, 200);
    assert_eq!((upstream.seen().len(), upstream.connections()), (6, 1), "a revision elsewhere leaves the pool alone");
}

#[tokio::test]
async fn an_exchange_leaves_one_record() {
    let (system, _upstream) = system().await;
    let reply = system.client().chat("main/gpt-4o").await;
    let id = reply.header("x-request-id").to_owned();
    let line =
        signalbox_tests::wait::eventually("a line in the access log", async || signalbox_tests::logs::access(&id))
            .await;
    for (field, expected) in [
        ("client_key.id", json!("stories")),
        ("model.requested", json!("main/gpt-4o")),
        ("model.served", json!("gpt-4o")),
        ("upstream.id", json!("main")),
        ("upstream.status", json!(200)),
        ("credential.name", json!("providers/main/credentials/main")),
        ("response.status", json!(200)),
        ("outcome", json!("completed")),
        ("attempts", json!(1)),
    ] {
        assert_eq!(line.get(field), Some(&expected), "{field} of {line}");
    }
    assert_eq!(line.get("response.bytes").and_then(Value::as_u64), u64::try_from(reply.body.len()).ok());
    assert_eq!(reply.header("x-signalbox-revision"), line.get("revision").unwrap().to_string());
}
