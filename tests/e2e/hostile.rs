//! Requests that no honest client sends: each is refused in so many words, and no upstream hears of it.

use std::time::Duration;

use signalbox_data_plane::Limits;
use signalbox_tests::{CLIENT_KEY, Draft, RawAnswer, Setup, System, Upstream, chat, draft::route, wait::soon};

async fn system(limits: Limits) -> (System, Upstream) {
    let (system, upstream) = (Setup { limits, ..Setup::default() }.start().await, Upstream::start().await);
    let mount = route("mount", &format!("http://{}/base", upstream.addr()));
    system.apply(Draft::new().upstream("main", &upstream.url()).route(mount)).await;
    (system, upstream)
}

/// Sends bytes on a connection of their own; what comes back, if anything does before the connection is closed.
async fn answer(system: &System, bytes: impl AsRef<[u8]>) -> Option<RawAnswer> {
    let mut raw = system.data_plane().raw().await;
    raw.send(bytes).await;
    raw.answer().await
}

/// A chat with these lines in its head and these bytes for a body.
fn post(lines: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-type: application/json\r\n{lines}\r\n{body}"
    )
}

#[tokio::test]
async fn ambiguous_framing_is_a_400_and_the_end_of_the_connection() {
    let (system, upstream) = system(Limits::default()).await;
    let body = chat("main/m").to_string();
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let requests = [
        ("no host", post(&format!("content-length: {length}\r\n"), &body)),
        ("two hosts", post(&format!("host: a\r\nhost: b\r\ncontent-length: {length}\r\n"), &body)),
        ("the same host twice", post(&format!("host: a\r\nhost: a\r\ncontent-length: {length}\r\n"), &body)),
        ("an empty host", post(&format!("host:\r\ncontent-length: {length}\r\n"), &body)),
        (
            "length and coding",
            post(&format!("host: a\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n"), &chunked),
        ),
        ("coding and length", post("host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n", &chunked)),
        ("two lengths", post(&format!("host: a\r\ncontent-length: {length}\r\ncontent-length: 3\r\n"), &body)),
        ("a signed length", post(&format!("host: a\r\ncontent-length: +{length}\r\n"), &body)),
        ("a negative length", post("host: a\r\ncontent-length: -1\r\n", &body)),
        ("a length in hexadecimal", post("host: a\r\ncontent-length: 0x10\r\n", &body)),
        ("an unknown coding", post("host: a\r\ntransfer-encoding: gzip, chunked\r\n", &chunked)),
        ("an obfuscated coding", post("host: a\r\ntransfer-encoding: xchunked\r\n", &chunked)),
        ("two codings", post("host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &chunked)),
        ("a space before the colon", post(&format!("host: a\r\ncontent-length : {length}\r\n"), &body)),
        ("a folded header", post(&format!("host: a\r\nx-folded: a\r\n b\r\ncontent-length: {length}\r\n"), &body)),
        ("a NUL in a header", post(&format!("host: a\r\nx-nul: a\0b\r\ncontent-length: {length}\r\n"), &body)),
        ("a lone carriage return", post(&format!("host: a\r\nx-cr: a\rb\r\ncontent-length: {length}\r\n"), &body)),
        ("a chunk size that is none", post("host: a\r\ntransfer-encoding: chunked\r\n", "zz\r\nxx\r\n0\r\n\r\n")),
        ("a chunk longer than it says", post("host: a\r\ntransfer-encoding: chunked\r\n", "1\r\nxxxx\r\n0\r\n\r\n")),
        (
            "an overflowing chunk",
            post("host: a\r\ntransfer-encoding: chunked\r\n", "fffffffffffffffff\r\nx\r\n0\r\n\r\n"),
        ),
    ];
    for (name, request) in requests {
        let mut raw = system.data_plane().raw().await;
        raw.send(&request).await;
        let answer = raw.answer().await;
        assert_eq!(answer.as_ref().map(|answer| answer.status), Some(400), "{name}: {answer:?}");
        let answer = answer.unwrap();
        assert_eq!(
            (answer.code().as_str(), answer.headers.contains_key("x-request-id")),
            ("malformed_request", true),
            "{name}"
        );
        raw.closed().await;
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn what_is_meant_for_a_forward_proxy_is_never_dialled() {
    let (system, upstream) = system(Limits::default()).await;
    let target = upstream.addr();
    for request in [
        format!("GET http://{target}/v1/models HTTP/1.1\r\nhost: {target}\r\n\r\n"),
        format!("GET http://{target}/v1/models HTTP/1.1\r\nhost: other\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"),
        "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "TRACE /mount/x HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET @evil/ HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ] {
        let answer = answer(&system, &request).await;
        assert_eq!(answer.map(|answer| answer.status), Some(400), "{request}");
    }
    assert_eq!((upstream.seen().len(), upstream.connections()), (0, 0));
}

#[tokio::test]
async fn no_path_leads_out_of_where_it_belongs() {
    let (system, upstream) = system(Limits::default()).await;
    let body = chat("main/m").to_string();
    for path in [
        "/v1/../metrics",
        "/v1/%2e%2e/metrics",
        "/v1/%2E%2E/chat/completions",
        "/v1/.%2e/x",
        "/v1/..%2fx",
        "/v1/%252e%252e/x",
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions/..",
        "/v1/chat/completions/../../admin",
        "/v1\\..\\admin",
        "/mount/../v1/models",
        "/mount/%2e%2e/secret",
        "/mount/..%2fsecret",
        "/mount/..%5csecret",
        "/mount/..;/secret",
        "/mount//secret",
        "/mount/%00",
        "/mount/%0d%0ax-injected:1",
        "/mount/%zz",
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = answer(&system, &request).await;
        let status = answer.as_ref().map(|answer| answer.status);
        assert!(status == Some(400) || status == Some(404), "{path}: {answer:?}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_for_what_they_are() {
    let (system, upstream) = system(Limits::default()).await;
    let body = chat("main/m").to_string();
    let length = body.len();
    let lines = |more: &str| post(&format!("host: a\r\ncontent-length: {length}\r\n{more}"), &body);
    let long_target = format!("GET /mount/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(17 * 1024));
    for (name, request, status) in [
        ("a large header", lines(&format!("x-large: {}\r\n", "x".repeat(70 * 1024))), 431),
        ("many headers", lines(&"x-many: 1\r\n".repeat(101)), 431),
        ("a long target", long_target, 414),
    ] {
        let answer = answer(&system, &request).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.headers.contains_key("x-request-id")), (status, true), "{name}");
        let code = if status == 414 { "url_too_long" } else { "headers_too_large" };
        assert_eq!(answer.code(), code, "{name}");
    }
    let longer_than_any_buffer = format!("GET /mount/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(200 * 1024));
    let answer_to_it = answer(&system, longer_than_any_buffer).await.unwrap();
    assert!([414, 431].contains(&answer_to_it.status) && !answer_to_it.code().is_empty(), "{answer_to_it:?}");
    assert!(upstream.seen().is_empty());
    let most = lines(&"x-many: 1\r\n".repeat(90));
    assert_eq!(answer(&system, &most).await.map(|answer| answer.status), Some(200));
    let wide = lines(&format!("x-large: {}\r\n", "x".repeat(60 * 1024)));
    assert_eq!(answer(&system, &wide).await.map(|answer| answer.status), Some(200));
}

#[tokio::test]
async fn who_sends_too_slowly_is_told_so() {
    let hasty = Limits {
        header_time: Duration::from_millis(500),
        body_time: Duration::from_millis(500),
        idle_time: Duration::from_millis(500),
        ..Limits::default()
    };
    let (system, upstream) = system(hasty).await;
    let answer_to_head = answer(&system, "GET / HTTP/1.1\r\nhost: a\r\nx-sl").await;
    assert_eq!(answer_to_head.map(|answer| answer.status), Some(408), "half a head");
    let slow_body = answer(&system, post("host: a\r\ncontent-length: 100\r\n", "{\"model\"")).await;
    assert_eq!(slow_body.map(|answer| (answer.status, answer.code())), Some((408, "request_timeout".to_owned())));
    let idle = system.data_plane().raw().await;
    idle.closed().await;
    let mut kept = system.data_plane().raw().await;
    kept.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(kept.answer().await.map(|answer| answer.status), Some(200));
    kept.closed().await;
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn three_hundred_idle_or_slow_connections_disturb_nobody() {
    let (system, _upstream) = system(Limits::default()).await;
    let mut crowd = Vec::new();
    for number in 0..300 {
        let mut raw = system.data_plane().raw().await;
        if number % 2 == 0 {
            raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-slow").await;
        }
        crowd.push(raw);
    }
    for _ in 0..10 {
        assert_eq!(system.client().chat("main/m").await.status, 200);
    }
    assert_eq!(crowd.len(), 300);
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_turned_away() {
    let (system, upstream) = system(Limits { max_requests: 1, ..Limits::default() }).await;
    let live = upstream.answer_live();
    let client = system.client();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.chat("main/m").await.status }
    });
    upstream.request(0).await;
    let reply = client.chat("main/m").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert_eq!(client.get("/readyz").await.status, 200, "its own pages are always there");
    live.play(signalbox_tests::Answer::chat("m", "done"));
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(client.chat("main/m").await.status, 200);
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_wait() {
    let (system, _upstream) = system(Limits { max_connections: 2, ..Limits::default() }).await;
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut raw = system.data_plane().raw().await;
        raw.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.answer().await.map(|answer| answer.status), Some(200));
        holding.push(raw);
    }
    let mut waiting = system.data_plane().raw().await;
    waiting.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    drop(holding.pop());
    let answer = soon("the one that waits", waiting.answer()).await;
    assert_eq!(answer.map(|answer| answer.status), Some(200));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let (system, _upstream) = system(Limits::default()).await;
    let mut raw = system.data_plane().raw().await;
    raw.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET /nothing HTTP/1.1\r\nhost: a\r\n\r\nGET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(raw.answer().await.map(|answer| answer.status));
    }
    assert_eq!(statuses, [Some(200), Some(404), Some(200)]);
}

#[tokio::test]
async fn trailers_never_become_headers() {
    let (system, upstream) = system(Limits::default()).await;
    let body = chat("main/m").to_string();
    let request = post(
        "host: a\r\ntransfer-encoding: chunked\r\ntrailer: x-trailer\r\n",
        &format!("{:x}\r\n{body}\r\n0\r\nx-trailer: 1\r\nauthorization: Bearer other\r\n\r\n", body.len()),
    );
    assert_eq!(answer(&system, request).await.map(|answer| answer.status), Some(200));
    let seen = upstream.only();
    assert_eq!(
        (seen.header("x-trailer"), seen.header("trailer"), seen.header("authorization")),
        (None, None, Some("Bearer sk-main"))
    );
}

#[tokio::test]
async fn nothing_in_a_request_chooses_a_host_or_a_key() {
    let (system, upstream) = system(Limits::default()).await;
    let elsewhere = Upstream::start().await;
    let url = elsewhere.url();
    let body = serde_json::json!({
        "model": "main/m", "base_url": url, "api_base": url, "api_key": "sk-theirs", "provider": "other", "url": url,
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
    })
    .to_string();
    let lines = format!(
        "host: {0}\r\nx-forwarded-host: {0}\r\nx-original-url: {1}\r\nx-base-url: {1}\r\ncontent-length: {2}\r\n",
        elsewhere.addr(),
        url,
        body.len()
    );
    assert_eq!(answer(&system, post(&lines, &body)).await.map(|answer| answer.status), Some(200));
    let seen = upstream.only();
    assert_eq!(seen.header("host"), Some(upstream.addr().to_string().as_str()));
    assert_eq!(seen.header("authorization"), Some("Bearer sk-main"));
    // A provider may be named, but only one that is configured.
    for named in ["other", &url] {
        let lines = format!("{lines}x-signalbox-provider: {named}\r\n");
        assert_eq!(answer(&system, post(&lines, &body)).await.map(|answer| answer.status), Some(404), "{named}");
    }
    assert_eq!((upstream.calls().len(), elsewhere.connections()), (1, 0));
}

#[tokio::test]
async fn a_head_request_to_an_endpoint_and_garbage_do_no_harm() {
    let (system, upstream) = system(Limits::default()).await;
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut raw = system.data_plane().raw().await;
        raw.send(bytes).await;
        raw.send("\r\n\r\n").await;
        if let Some(answer) = raw.answer().await {
            assert_eq!(answer.status, 400, "{bytes:?}");
        }
    }
    assert_eq!(system.client().chat("main/m").await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}
