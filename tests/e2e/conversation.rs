//! Upstreams that take one message and answer in a shape of their own: what they are asked, and how their answers are retold.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use signalbox_proto::{
    admin::v1::Provider,
    config::v1::{Conversation, Dialect, Timeouts},
};
use signalbox_tests::{
    Answer, Draft, Events, Reply, System, Upstream, chat,
    draft::{millis, provider},
    upstream::{DONE, Seen},
};

fn talk(upstream: &Upstream, conversation: Conversation) -> Provider {
    let root = format!("http://{}", upstream.addr());
    Provider {
        dialect: Dialect::Conversation.into(),
        chat_url: format!("{root}/api/chat"),
        conversation: Some(Conversation { create_url: format!("{root}/api/conversations"), ..conversation }),
        ..provider("talk", "")
    }
}

fn referring(upstream: &Upstream) -> Provider {
    let headers = [("referer".to_owned(), "https://chat.example/c/{conversation_id}".to_owned())].into();
    talk(upstream, Conversation { headers, ..Conversation::default() })
}

/// A system with a provider that holds conversations, its keys `sk-a` and `sk-b`, and another to fail over to, from the model `m`.
async fn system(provider: impl FnOnce(&Upstream) -> Provider) -> (System, Upstream, Upstream) {
    let (system, upstream, other) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft =
        Draft::new().provider(provider(&upstream)).credential("talk", "a", "sk-a").credential("talk", "b", "sk-b");
    system.apply(draft.upstream("other", &other.url()).redirect("m", "m", &[("talk", "x"), ("other", "y")])).await;
    (system, upstream, other)
}

/// The upstream makes a conversation for the next chat.
fn makes(upstream: &Upstream, id: &str) {
    upstream.answer(Answer::json(200, &json!({ "conversationId": id })));
}

fn says(model: &str, stream: bool) -> String {
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "say \"hi\""}]);
    json!({"model": model, "messages": messages, "stream": stream, "temperature": 0.5}).to_string()
}

fn line(seen: &Seen) -> (&str, &str, Option<&str>) {
    (&seen.method, &seen.target, seen.header("authorization"))
}

/// What a client reads of a stream: its texts, and what stands at its end.
async fn told(events: Events) -> (String, Vec<String>) {
    let (mut texts, mut rest) = (String::new(), Vec::new());
    for (number, frame) in events.rest().await.into_iter().enumerate() {
        let data = frame.strip_prefix("data: ").expect("a data event").trim();
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            rest.push(data.to_owned());
            continue;
        };
        let choice = &chunk["choices"][0];
        if number == 0 {
            assert_eq!(choice["delta"]["role"], "assistant", "{frame}");
        }
        if let Some(error) = chunk.get("error") {
            rest.push(format!("error {}", error["message"].as_str().unwrap()));
        } else if let Some(reason) = choice["finish_reason"].as_str() {
            rest.push(reason.to_owned());
        } else {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            texts.push_str(choice["delta"]["content"].as_str().unwrap());
        }
    }
    (texts, rest)
}

async fn stream(system: &System, model: &str) -> Events {
    system.client().stream("/v1/chat/completions", says(model, true)).await
}

fn ended_well() -> Vec<String> {
    ["stop", "[DONE]"].map(str::to_owned).into()
}

#[tokio::test]
async fn a_conversation_is_made_for_each_chat_and_the_chat_goes_into_it() {
    let (system, upstream, _other) = system(referring).await;
    for id in ["c/1", "c-2"] {
        makes(&upstream, id);
        upstream.answer(Answer::json(200, &json!({"answer": "hi"})));
        let reply = system.client().post("/v1/chat/completions?a=b", says("m", false)).await;
        assert_eq!((reply.status, reply.content().as_str(), reply.header("x-signalbox-attempts")), (200, "hi", "1"));
        let answer = reply.json();
        assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!("m")));
        assert_eq!((&answer["choices"][0]["finish_reason"], answer.get("usage")), (&json!("stop"), None));
    }
    let seen = upstream.seen();
    assert_eq!(line(&seen[0]), ("POST", "/api/conversations", Some("Bearer sk-a")));
    assert_eq!((seen[0].text(), seen[0].header("referer")), ("{}", None));
    assert_eq!(line(&seen[1]), ("POST", "/api/chat", Some("Bearer sk-a")));
    assert_eq!(seen[1].header("referer"), Some("https://chat.example/c/c%2F1"));
    let message = "system: Be brief.\nuser: say \"hi\"";
    assert_eq!(seen[1].json(), json!({"message": message, "model": "x", "conversation_id": "c/1", "stream": false}));
    assert_eq!(line(&seen[3]), ("POST", "/api/chat", Some("Bearer sk-b")));
    assert_eq!(seen[3].header("referer"), Some("https://chat.example/c/c-2"));
}

#[tokio::test]
async fn templates_say_what_both_calls_are() {
    let (system, upstream, _other) = system(|upstream| {
        talk(
            upstream,
            Conversation {
                create_body: r#"{"project": "p", "at": "{unix_time_ms}"}"#.to_owned(),
                id_pointers: vec!["/data/0/uuid".to_owned()],
                chat_body: r#"{"prompt": ["{message}"], "meta": {"id": "{request_id}", "live": "{stream}"}, "n": 1.0}"#
                    .to_owned(),
                text_pointers: vec!["/data/said".to_owned()],
                ..Conversation::default()
            },
        )
    })
    .await;
    upstream.answer(Answer::json(201, &json!({"data": [{"uuid": "u-1"}]})));
    upstream.answer(Answer::json(
        200,
        &json!({"data": {"said": "hello"}, "usage": {"total_tokens": 7, "prompt_tokens": 4}}),
    ));
    let reply = system.client().chat("talk/x").await;
    assert_eq!(
        (reply.content().as_str(), &reply.json()["usage"]),
        ("hello", &json!({"total_tokens": 7, "prompt_tokens": 4}))
    );
    let seen = upstream.seen();
    let at = seen[0].json()["at"].as_str().and_then(|at| at.parse::<u64>().ok());
    assert!(at.is_some_and(|at| at > 1_600_000_000_000), "{}", seen[0].text());
    let id = reply.header("x-request-id");
    assert_eq!(
        seen[1].text(),
        format!(r#"{{"prompt": ["hello"], "meta": {{"id": "{id}", "live": false}}, "n": 1.0}}"#)
    );
}

#[tokio::test]
async fn an_answer_of_any_form_becomes_a_stream_or_a_completion_as_it_was_asked_for() {
    let (system, upstream, _other) = system(referring).await;
    let of_type = |content_type: &str, body: &str| Answer::status(200).header("content-type", content_type).body(body);
    for (content_type, body) in [
        (
            "text/event-stream",
            "data: {\"delta\":{\"text\":\"he\"}}\n\ndata: {\"delta\":{\"text\":\"llo\"}}\n\ndata: [DONE]\n\n",
        ),
        ("text/event-stream", "data: he\r\n\r\ndata: llo\r\n\r\n"),
        ("application/x-ndjson", "{\"text\":\"he\"}\n{\"text\":\"llo\"}\n{\"done\":true}\n"),
        ("application/json; charset=utf-8", "{\"message\":{\"content\":\"hello\"}}"),
        ("text/plain", "hello"),
    ] {
        for asked in [true, false] {
            makes(&upstream, "c");
            upstream.answer(of_type(content_type, body));
            if asked {
                assert_eq!(told(stream(&system, "m").await).await, ("hello".to_owned(), ended_well()), "{body}");
            } else {
                let reply = system.client().post("/v1/chat/completions", says("m", false)).await;
                assert_eq!((reply.status, reply.content().as_str()), (200, "hello"), "{body}");
            }
            let live = upstream.seen().pop().unwrap().json()["stream"].clone();
            assert_eq!(live, json!(asked));
        }
    }
}

#[tokio::test]
async fn pieces_go_on_as_they_come() {
    let (system, upstream, _other) = system(referring).await;
    makes(&upstream, "c");
    let live = upstream.stream_live();
    live.write("data: {\"text\":\"first\"}\n\n");
    let mut events = stream(&system, "m").await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    assert!(events.next().await.is_some_and(|frame| frame.contains("\"role\":\"assistant\"")));
    assert!(
        events
            .next()
            .await
            .is_some_and(|frame| frame.contains("\"content\":\"first\"") && frame.contains("\"model\":\"m\""))
    );
    live.write("data: {\"text\":\"second\",\"done\":true}\n\n");
    assert!(events.next().await.is_some_and(|frame| frame.contains("\"content\":\"second\"")));
    assert!(events.next().await.is_some_and(|frame| frame.contains("\"finish_reason\":\"stop\"")));
    assert_eq!(events.next().await.as_deref(), Some(DONE));
    live.end();
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn what_goes_wrong_before_anything_is_said_is_the_next_targets_turn() {
    let (system, upstream, other) = system(referring).await;
    let sse = |body: &'static str| Answer::stream([body]);
    for (number, fault) in [
        sse("data: {\"error\":{\"message\":\"busy\"}}\n\n"),
        sse(""),
        Answer::json(200, &json!({"error": "busy"})),
        Answer::json(200, &json!({"unknown": "shape"})),
        Answer::status(200).header("content-type", "text/html").body("<h1>hi</h1>"),
        Answer::reset(),
        Answer::error(503),
    ]
    .into_iter()
    .enumerate()
    {
        makes(&upstream, "c");
        upstream.answer(fault);
        // Asked for in both ways, in turn.
        if number % 2 == 0 {
            let events = stream(&system, "m").await;
            assert_eq!((events.header("x-signalbox-provider"), events.header("x-signalbox-attempts")), ("other", "2"));
        } else {
            let reply = system.client().post("/v1/chat/completions", says("m", false)).await;
            assert_eq!((reply.status, reply.header("x-signalbox-provider")), (200, "other"), "{number}");
        }
        assert_eq!((upstream.seen().len(), other.seen().len()), (2 * number + 2, number + 1));
    }
}

#[tokio::test]
async fn a_stream_that_fails_after_it_has_begun_ends_in_an_error() {
    let (system, upstream, other) = system(referring).await;
    makes(&upstream, "c");
    upstream.answer(Answer::stream(["data: {\"text\":\"a\"}\n\n", "data: {\"error\":{\"message\":\"no more\"}}\n\n"]));
    assert_eq!(told(stream(&system, "m").await).await, ("a".to_owned(), vec!["error no more".to_owned()]));
    makes(&upstream, "c");
    let live = upstream.stream_live();
    live.write("data: {\"text\":\"a\"}\n\n");
    live.cut();
    let (text, rest) = told(stream(&system, "m").await).await;
    assert_eq!((text.as_str(), rest.len()), ("a", 1));
    assert!(rest[0].starts_with("error "), "{rest:?}");
    assert!(other.seen().is_empty());
    system.data_plane().recorded("broken", 2).await;
}

#[tokio::test]
async fn the_first_call_is_judged_as_the_second_is_and_both_are_one_attempt() {
    for status in [401, 403, 429] {
        let (system, upstream, _other) = system(referring).await;
        upstream.answer(Answer::status(status).header("retry-after", "30").body("{}"));
        makes(&upstream, "c");
        upstream.answer(Answer::json(200, &json!({"text": "hi"})));
        let reply = system.client().chat("talk/x").await;
        assert_eq!((reply.content().as_str(), reply.header("x-signalbox-attempts")), ("hi", "2"), "{status}");
        let used: Vec<_> =
            upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
        assert_eq!(used, ["Bearer sk-a", "Bearer sk-b", "Bearer sk-b"], "{status}");
    }
    let (system, upstream, other) = system(referring).await;
    for (number, fault) in
        [Answer::error(500), Answer::json(200, &json!({"nothing": 1})), Answer::reset()].into_iter().enumerate()
    {
        upstream.answer(fault);
        let reply = system.client().chat("m").await;
        assert_eq!((reply.status, reply.header("x-signalbox-provider")), (200, "other"), "{number}");
        assert_eq!((upstream.seen().len(), other.seen().len()), (number + 1, number + 1));
    }
}

#[tokio::test]
async fn both_calls_are_under_the_clock_of_one_answer() {
    let (system, upstream, other) = system(|upstream| {
        let timeouts = Timeouts { response_header: millis(300), ..Timeouts::default() };
        Provider { timeouts: Some(timeouts), ..referring(upstream) }
    })
    .await;
    upstream.answer(Answer::hang());
    assert_eq!(system.client().chat("m").await.header("x-signalbox-provider"), "other");
    upstream.abandoned(0, Duration::from_secs(5)).await;
    makes(&upstream, "c");
    upstream.answer(Answer::hang());
    assert_eq!(system.client().chat("m").await.header("x-signalbox-provider"), "other");
    upstream.abandoned(2, Duration::from_secs(5)).await;
    assert_eq!(other.seen().len(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_ends_either_call() {
    let (system, upstream, _other) = system(referring).await;
    for asked in [0, 2] {
        if asked == 2 {
            makes(&upstream, "c");
        }
        upstream.answer(Answer::hang());
        let request = system
            .client()
            .request(Method::POST, "/v1/chat/completions")
            .header("content-type", "application/json")
            .body(chat("talk/x").to_string());
        let asking = tokio::spawn(request.send());
        upstream.request(asked).await;
        asking.abort();
        upstream.abandoned(asked, Duration::from_secs(1)).await;
    }
    system.data_plane().recorded("abandoned", 2).await;
}

#[tokio::test]
async fn what_is_no_text_is_refused_by_the_number_of_its_message() {
    let (system, upstream, _other) = system(referring).await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:,"}}]);
    let messages = json!([{"role": "user", "content": "look"}, {"role": "user", "content": image}]);
    let reply = system
        .client()
        .post("/v1/chat/completions", json!({"model": "talk/x", "messages": messages}).to_string())
        .await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "unsupported_content"));
    let error = &reply.json()["error"];
    assert_eq!(error["param"], "messages");
    assert!(error["message"].as_str().unwrap().contains("`messages[1]`"), "{error}");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn an_upstreams_refusal_is_told_as_openais() {
    let (system, upstream, _other) = system(referring).await;
    makes(&upstream, "c");
    upstream.answer(Answer::status(422).header("content-type", "application/json").body(r#"{"error":"too rude"}"#));
    let reply = system.client().chat("m").await;
    assert_eq!((reply.status, reply.code().as_str()), (422, ""));
    assert_eq!(reply.json()["error"]["message"], "too rude");
    upstream.answer(Answer::status(404).header("content-type", "text/html").body("<h1>gone</h1>"));
    let reply = system.client().chat("m").await;
    assert_eq!((reply.status, reply.header("content-type")), (404, "application/json"));
    assert_eq!(reply.json()["error"]["message"], "The provider refuses this request.");
}

#[tokio::test]
async fn an_answer_that_is_held_is_held_only_up_to_a_limit() {
    let (system, upstream, _other) = system(referring).await;
    makes(&upstream, "c");
    let (answer, live) = Answer::status(200).header("content-type", "text/plain").live();
    upstream.answer(answer);
    for _ in 0..11 {
        live.write(vec![b'x'; 1024 * 1024]);
    }
    live.end();
    let reply: Reply = system.client().chat("talk/x").await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_response_too_large"));
}
