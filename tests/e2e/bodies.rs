//! A body that another reader might understand differently goes no further.

use serde_json::Value;
use signalbox_tests::{Draft, System, Upstream};

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    (system, upstream)
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused_and_the_upstream_sees_nothing() {
    let (system, upstream) = system().await;
    let nested = |levels: usize| format!(r#"{{"model":"main/m","x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let bodies: [(&str, &[u8], Option<&str>); 19] = [
        ("nothing", b"", None),
        ("half an object", br#"{"model":"main/m""#, None),
        ("two objects", br#"{"model":"main/m"}{"model":"main/m"}"#, None),
        ("a trailing comma", br#"{"model":"main/m",}"#, None),
        ("no object", br#"["main/m"]"#, None),
        ("a byte order mark", b"\xef\xbb\xbf{\"model\":\"main/m\"}", None),
        ("invalid UTF-8", b"{\"model\":\"main/m\",\"x\":\"\xff\"}", None),
        ("an overlong encoding", b"{\"model\":\"main/m\",\"x\":\"\xc0\xaf\"}", None),
        ("a comment", br#"{"model":"main/m"/**/}"#, None),
        ("no model", br#"{"messages":[]}"#, Some("model")),
        ("a null model", br#"{"model":null}"#, Some("model")),
        ("a number for a model", br#"{"model":1}"#, Some("model")),
        ("a list for a model", br#"{"model":["main/m"]}"#, Some("model")),
        ("an empty model", br#"{"model":""}"#, Some("model")),
        ("two models", br#"{"model":"main/m","model":"main/other"}"#, Some("model")),
        ("the same model twice", br#"{"model":"main/m","messages":[],"model":"main/m"}"#, Some("model")),
        ("a second model in escapes", br#"{"model":"main/m","mod\u0065l":"main/other"}"#, Some("model")),
        ("two streams", br#"{"model":"main/m","stream":false,"stream":true}"#, Some("stream")),
        ("a text for a stream", br#"{"model":"main/m","stream":"true"}"#, Some("stream")),
    ];
    let deep = [("nesting beyond the limit", nested(128)), ("nesting without end", nested(100_000))];
    let deep = deep.iter().map(|(name, body)| (*name, body.as_bytes(), None));
    let client = system.client();
    for (name, body, param) in bodies.into_iter().chain(deep) {
        let reply = client.post("/v1/chat/completions", body.to_vec()).await;
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        reply.code();
        assert_eq!(reply.json().pointer("/error/param"), Some(&param.map_or(Value::Null, Value::from)), "{name}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    assert_eq!(client.post("/v1/chat/completions", nested(126)).await.status, 200);
}

#[tokio::test]
async fn the_key_is_judged_before_the_body_is_read() {
    let (system, upstream) = system().await;
    let mut raw = system.data_plane().raw().await;
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sb_wrong\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n").await;
    let answer = raw.answer().await.expect("the answer does not wait for the body");
    assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_api_key"));
    let mut raw = system.data_plane().raw().await;
    let key = signalbox_tests::CLIENT_KEY;
    raw.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\nexpect: 100-continue\r\n\r\n")).await;
    let answer = raw.answer().await.expect("the answer does not wait for the body");
    assert_eq!((answer.status, answer.code().as_str()), (413, "request_too_large"));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_is_waited_for_is_asked_for_first() {
    let (system, upstream) = system().await;
    let (key, body) = (signalbox_tests::CLIENT_KEY, r#"{"model":"main/m"}"#);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut raw = system.data_plane().raw().await;
    raw.send(head).await;
    assert_eq!(raw.head().await, 100);
    raw.send(body).await;
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(200));
    let seen = upstream.only();
    assert_eq!((seen.text(), seen.header("expect")), (r#"{"model":"m"}"#, None));
}

#[tokio::test]
async fn a_large_body_in_many_chunks_arrives_whole() {
    let (system, upstream) = system().await;
    let body = format!(r#"{{"model":"main/m","input":"{}"}}"#, "0123456789abcdef".repeat(100_000));
    let chunks: Vec<_> = body.as_bytes().chunks(7001).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    assert_eq!(system.client().post("/v1/embeddings", chunked).await.status, 200);
    let seen = upstream.only();
    assert_eq!(seen.text(), body.replace("main/m", "m"));
    assert_eq!(seen.header("transfer-encoding"), None, "its length is known by now");
}
