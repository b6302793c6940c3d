//! What upstreams say besides good answers and clean failures, and what of it reaches the client.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use signalbox_proto::{admin::v1::Provider, config::v1::Timeouts};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Reply, System, Upstream, chat, chat_streamed,
    draft::{millis, provider},
    upstream::{self, DONE, finish, text},
};

const CHAT: &str = "/v1/chat/completions";

/// A provider, and the model `alias` that is named otherwise in the answer.
async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("main", &upstream.url());
    system.apply(draft.redirect("alias", "alias", &[("main", "m")])).await;
    (system, upstream)
}

#[tokio::test]
async fn a_long_refusal_passes_unchanged_too() {
    let (system, upstream) = system().await;
    let body = json!({"detail": [{"msg": "too long", "input": "x".repeat(300_000)}]}).to_string();
    upstream.answer(Answer::status(422).header("content-type", "application/json").body(&body));
    let reply = system.client().chat("main/m").await;
    assert_eq!((reply.status, reply.text() == body), (422, true), "{} bytes", reply.body.len());
}

#[tokio::test]
async fn a_large_answer_passes_through() {
    let (system, upstream) = system().await;
    let data: Vec<_> = (0..60).map(|index| json!({"index": index, "embedding": "A".repeat(200_000)})).collect();
    let body = json!({"object": "list", "model": "m", "data": data}).to_string();
    assert!(body.len() > 11_000_000);
    for (model, expected) in [("main/m", body.clone()), ("alias", body.replace(r#""model":"m""#, r#""model":"alias""#))]
    {
        upstream.answer(Answer::status(200).header("content-type", "application/json").body(&body));
        let request = json!({"model": model, "input": ["a"]}).to_string();
        let reply = system.client().post("/v1/embeddings", request).await;
        assert_eq!((reply.status, reply.text() == expected), (200, true), "{model}: {} bytes", reply.body.len());
    }
}

#[tokio::test]
async fn a_compressed_answer_that_nobody_asked_for_passes_untouched() {
    let (system, upstream) = system().await;
    let packed: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03 not really gzip \xff\xfe";
    for model in ["main/m", "alias"] {
        for body in [chat(model), chat_streamed(model)] {
            let answer =
                Answer::status(200).header("content-type", "application/json").header("content-encoding", "gzip");
            upstream.answer(answer.body(packed));
            let reply = system.client().post(CHAT, body.to_string()).await;
            assert_eq!((reply.status, reply.header("content-encoding")), (200, "gzip"), "{body}");
            assert_eq!(reply.body, Bytes::from_static(packed), "{body}");
        }
    }
}

#[tokio::test]
async fn interim_answers_are_skipped_and_trailers_are_no_headers() {
    let (system, upstream) = system().await;
    let body = upstream::completion("m", "at last").to_string();
    let live = upstream.answer_live();
    live.write_raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    live.write_raw(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: x-late\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    live.write(&body);
    live.write_raw("0\r\nx-late: 1\r\n\r\n");
    drop(live);
    let reply = system.client().chat("main/m").await;
    assert_eq!((reply.status, reply.content().as_str()), (200, "at last"));
    assert_eq!((reply.header("link"), reply.header("x-late"), reply.header("trailer")), ("", "", ""));
}

#[tokio::test]
async fn an_upstreams_headers_pass_but_for_those_that_are_not_the_clients() {
    let (system, upstream) = system().await;
    let answer = [
        ("content-type", "application/json; charset=utf-8"),
        ("connection", "x-hop, keep-alive"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "theirs"),
        ("set-cookie", "theirs=1"),
        ("alt-svc", "h3=\":443\""),
        ("openai-organization", "the-operators"),
        ("x-signalbox-provider", "forged"),
        ("x-signalbox-revision", "999999"),
        ("x-request-id", "theirs"),
        ("x-ratelimit-remaining-requests", "59"),
        ("openai-processing-ms", "12"),
        ("x-custom", "one"),
        ("x-custom", "two"),
    ];
    let answer = answer.iter().fold(Answer::status(200), |head, (name, value)| head.header(name, value));
    upstream.answer(answer.body(upstream::completion("m", "x").to_string()));
    let reply = system.client().chat("main/m").await;
    for gone in ["keep-alive", "x-hop", "set-cookie", "alt-svc", "openai-organization"] {
        assert_eq!(reply.header(gone), "", "{gone}");
    }
    assert_eq!((reply.header("x-signalbox-provider"), reply.header("x-upstream-request-id")), ("main", "theirs"));
    assert_ne!(reply.header("x-signalbox-revision"), "999999");
    assert_eq!(reply.header("x-ratelimit-remaining-requests"), "", "it is the operator's account that is limited");
    assert_eq!(reply.header("openai-processing-ms"), "12");
    assert_eq!(reply.headers.get_all("x-custom").iter().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
}

#[tokio::test]
async fn a_provider_key_that_an_upstream_repeats_is_not_passed_on() {
    let (system, upstream) = system().await;
    system.apply(Draft::new().credential("main", "main", "sk-distinctive-0451")).await;
    let echo =
        || Answer::status(200).header("x-echo", "sk-distinctive-0451").header("content-type", "application/json");
    upstream.answer(echo().body(upstream::completion("m", "x").to_string()));
    let reply = system.client().chat("main/m").await;
    assert!(!format!("{:?}", reply.headers).contains("sk-distinctive-0451"), "{:?}", reply.headers);
    let theirs = format!("data: {}\n\n", upstream::error("bad key sk-distinctive-0451"));
    for model in ["main/m", "alias"] {
        upstream.answer(Answer::stream([&*text("m", "a"), &theirs]));
        let frames = system.client().chat_stream(model).await.rest().await.concat();
        assert!(!frames.contains("sk-distinctive-0451"), "{frames}");
    }
}

#[tokio::test]
async fn a_plain_answer_that_stalls_is_given_up_and_does_not_look_whole() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let timeouts = Timeouts { total: millis(1000), ..Timeouts::default() };
    let hasty = Provider { timeouts: Some(timeouts), ..provider("main", &upstream.url()) };
    system.apply(Draft::new().provider(hasty)).await;
    let live = upstream.answer_live();
    live.write_raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    live.write("{\"half\":");
    let request = system.client().request(Method::POST, CHAT).header("content-type", "application/json");
    let response = request.body(chat("main/m").to_string()).send().await.unwrap();
    assert!(response.bytes().await.is_err(), "half an answer must not look whole");
    upstream.abandoned(0, Duration::from_secs(1)).await;
    system.data_plane().recorded("broken", 1).await;
    upstream.answer(Answer::hang());
    let reply = system.client().chat("main/m").await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn a_plain_answer_that_breaks_off_is_seen_to() {
    let (system, upstream) = system().await;
    for (number, end) in [upstream::Live::cut, upstream::Live::reset].into_iter().enumerate() {
        let live = upstream.answer_live();
        live.write_raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":");
        let request = system.client().request(Method::POST, CHAT).header("content-type", "application/json");
        let sending = tokio::spawn(request.body(chat("main/m").to_string()).send());
        upstream.request(number).await;
        let response = sending.await.unwrap().unwrap();
        end(live);
        assert!(response.bytes().await.is_err(), "half an answer must not look whole");
    }
    system.data_plane().recorded("broken", 2).await;
}

#[tokio::test]
async fn an_old_client_gets_a_stream_without_chunks() {
    let (system, upstream) = system().await;
    let frames = [text("m", "a"), finish("m"), DONE.to_owned()];
    upstream.answer(Answer::stream(frames.iter().map(String::as_str)));
    let body = chat_streamed("main/m").to_string();
    let mut raw = system.data_plane().raw().await;
    let head = format!(
        "POST {CHAT} HTTP/1.0\r\nhost: a\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw.send(head + &body).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.headers.get("transfer-encoding")), (200, None));
    assert_eq!(answer.body, frames.concat());
}

#[tokio::test]
async fn a_wait_is_understood_in_each_of_its_forms() {
    for (header, expected) in [(None, 9..=10), (Some("0"), 0..=10), (Some("1.5"), 1..=10), (Some("nonsense"), 9..=10)] {
        let (system, upstream) = system().await;
        let head = Answer::status(429);
        let head = header.map_or(Answer::status(429), |value| head.header("retry-after", value));
        upstream.answer(head.body("{}"));
        upstream.answer(Answer::status(429).body("{}"));
        upstream.answer(Answer::status(429).body("{}"));
        let reply = system.client().chat("main/m").await;
        assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limit_exceeded"), "{header:?}");
        let wait: u64 = reply.header("retry-after").parse().unwrap();
        assert!(expected.contains(&wait), "{header:?}: {wait}");
    }
    let (system, upstream) = system().await;
    let at = std::time::SystemTime::now() + Duration::from_secs(40);
    upstream.answer(Answer::status(429).header("retry-after", &httpdate::fmt_http_date(at)).body("{}"));
    let wait: u64 = system.client().chat("main/m").await.header("retry-after").parse().unwrap();
    assert!((30..=40).contains(&wait), "{wait}");
}

#[tokio::test]
async fn the_responses_api_streams_with_its_own_events_and_its_own_end() {
    let (system, upstream) = system().await;
    let event = |name: &str, more: serde_json::Value| {
        let mut data = json!({ "type": name, "sequence_number": 1 });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("event: {name}\ndata: {data}\n\n")
    };
    let created = event("response.created", json!({"response": {"id": "r", "model": "m", "status": "in_progress"}}));
    let word = event("response.output_text.delta", json!({"delta": "a"}));
    let completed = event("response.completed", json!({"response": {"id": "r", "model": "m", "status": "completed"}}));
    let frames = [created.as_str(), &word, &completed];
    let request = |model: &str| json!({"model": model, "input": "hi", "stream": true}).to_string();
    upstream.answer(Answer::stream(frames));
    // Its id keeps the provider that made it.
    let told: Vec<_> = frames.iter().map(|frame| frame.replace(r#""id":"r""#, r#""id":"r~main""#)).collect();
    assert_eq!(system.client().stream("/v1/responses", request("main/m")).await.rest().await, told);
    upstream.answer(Answer::stream(frames));
    let renamed: Vec<_> = told.iter().map(|frame| frame.replace(r#""model":"m""#, r#""model":"alias""#)).collect();
    assert_eq!(system.client().stream("/v1/responses", request("alias")).await.rest().await, renamed);
    upstream.answer(Answer::stream([created.as_str(), &word]));
    let broken = system.client().stream("/v1/responses", request("main/m")).await.rest().await;
    assert_eq!(broken.len(), 3, "{broken:?}");
    assert!(broken[2].contains("\"error\"") && broken[2].contains("upstream_error"), "{broken:?}");
    system.data_plane().recorded("broken", 1).await;
}

#[tokio::test]
async fn settings_can_keep_exchanges_out_of_the_log() {
    use signalbox_proto::admin::v1::Settings;
    use signalbox_tests::logs;
    let (system, _upstream) = system().await;
    system.apply(Draft::new().settings(Settings { request_log: Some(false), ..Settings::default() })).await;
    let silent: Reply = system.client().chat("main/m").await;
    system.data_plane().recorded("completed", 1).await;
    system.apply(Draft::new().settings(Settings::default())).await;
    let told = system.client().chat("main/m").await;
    let id = told.header("x-request-id");
    signalbox_tests::wait::eventually("the line of the later exchange", async || logs::access(id)).await;
    assert_eq!(logs::access(silent.header("x-request-id")), None);
}
