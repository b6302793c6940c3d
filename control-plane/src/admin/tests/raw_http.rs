//! HTTP/1.1 on the admin port, byte by byte: what no library would send.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use super::*;

/// Sends this, and answers with everything that comes until the other side has ended.
async fn exchange(app: &Running, sent: &str) -> String {
    let mut stream = TcpStream::connect(app.admin).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    // A connection that is cut says as much as one that is closed.
    let _cut = timeout(2 * PATIENCE, stream.read_to_end(&mut received)).await.expect("it ends in time");
    String::from_utf8_lossy(&received).into_owned()
}

fn get(path: &str, last: bool) -> String {
    let connection = if last { "close" } else { "keep-alive" };
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: {connection}\r\n\r\n")
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_order() {
    let app = Running::start().await;
    let sent =
        [get("/v1/settings", false), get("/v1/nothing", false), get("/health", false), get("/v1/providers", true)];
    let received = exchange(&app, &sent.concat()).await;
    let statuses: Vec<_> = received.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
    assert_eq!(statuses, ["200", "404", "200", "200"], "{received}");
    app.stop().await;
}

#[tokio::test]
async fn a_body_may_come_in_chunks_and_is_not_taken_when_it_breaks_off() {
    let app = Running::start().await;
    let head = |path: &str, length: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\nconnection: close\r\n{length}\r\n\r\n"
        )
    };
    let provider = r#"{"dialect": "DIALECT_OPENAI", "baseUrl": "https://upstream.test/v1"}"#;
    let (one, other) = provider.split_at(20);
    let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len());
    let create = "/v1/providers?provider_id=a";
    let received = exchange(&app, &(head(create, "transfer-encoding: chunked") + &chunks)).await;
    assert!(received.starts_with("HTTP/1.1 200"), "{received}");
    let before = app.revision().await;

    let mut stream = TcpStream::connect(app.admin).await.unwrap();
    let cut = head("/v1/providers?provider_id=b", "content-length: 500") + provider;
    stream.write_all(cut.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut received = String::new();
    let _cut = timeout(PATIENCE, stream.read_to_string(&mut received)).await.expect("it ends in time");
    assert!(!received.starts_with("HTTP/1.1 200"), "{received}");
    assert_eq!(app.revision().await, before);
    app.stop().await;
}

#[tokio::test]
async fn heads_that_are_wrong_or_never_end_do_not_hold_anything() {
    let app = Running::start().await;
    for wrong in
        ["nonsense\r\n\r\n", "GET /v1/settings HTTP/1.1\r\nhost x\r\n\r\n", "GET http://\u{0} HTTP/1.1\r\n\r\n"]
    {
        let received = exchange(&app, wrong).await;
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 400"), "{wrong:?}: {received}");
    }
    let long = format!("GET /v1/providers?filter={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    assert!(exchange(&app, &long).await.starts_with("HTTP/1.1 414"));

    time::pause();
    let slow = exchange(&app, "GET /v1/settings HTTP/1.1\r\nhost: x\r\n").await;
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408"), "{slow}");
    time::resume();
    assert!(exchange(&app, &get("/health", true)).await.starts_with("HTTP/1.1 200"));
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_is_not_waited_for_for_ever() {
    let app = Running::start().await;
    let head = format!(
        "POST /v1/config:apply HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
    );
    let mut stream = TcpStream::connect(app.admin).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    time::pause();
    let mut received = vec![0; 4096];
    let read = timeout(10 * PATIENCE, stream.read(&mut received)).await.expect("it answers in time").unwrap();
    let received = String::from_utf8_lossy(&received[..read]);
    assert!(received.starts_with("HTTP/1.1 408") && received.contains("REQUEST_TOO_SLOW"), "{received}");
    time::resume();
    app.stop().await;
}
