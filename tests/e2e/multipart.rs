//! Forms: the model is found wherever it is, the file streams, and nothing but the model changes on the way.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use signalbox_tests::{Answer, CLIENT_KEY, Draft, Reply, System, Upstream, upstream::Refusing};
use tokio_stream::wrappers::ReceiverStream;

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const BOUNDARY: &str = "----boundary-of-the-stories";

fn part(head: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn field(name: &str, value: &str) -> Vec<u8> {
    part(&format!("name=\"{name}\""), value.as_bytes())
}

fn file(content: &[u8]) -> Vec<u8> {
    part("name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", content)
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

fn text() -> Answer {
    Answer::json(200, &json!({"text": "as heard"}))
}

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    (system, upstream)
}

async fn post(system: &System, path: &str, body: impl Into<reqwest::Body>) -> Reply {
    let request = system.client().request(Method::POST, path).body(body);
    Reply::to(request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))).await
}

/// A body of unknown length that the story writes as it goes.
fn live() -> (tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>, reqwest::Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    (sender, reqwest::Body::wrap_stream(ReceiverStream::new(receiver)))
}

#[tokio::test]
async fn a_form_goes_on_byte_for_byte_but_for_the_model_wherever_that_is() {
    let (system, upstream) = system().await;
    let content = noise(3 << 20);
    let model = |name: &str| field("model", name);
    let mut seen = 0;
    for path in [TRANSCRIPTIONS, "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations"] {
        for order in [
            |model: Vec<u8>, file: Vec<u8>| [model, field("prompt", "é"), file],
            |model, file| [file, field("temperature", "0.5"), model],
        ] {
            upstream.answer(text());
            let reply = post(&system, path, form(&order(model("main/whisper-1"), file(&content)))).await;
            assert_eq!((reply.status, reply.json()), (200, json!({"text": "as heard"})), "{path}");
            assert_eq!(reply.header("x-signalbox-model"), "whisper-1");
            let request = upstream.request(seen).await;
            assert!(request.body == form(&order(model("whisper-1"), file(&content))), "{path}: the form differs");
            assert_eq!(request.target, path);
            assert_eq!(request.header("authorization"), Some("Bearer sk-main"));
            assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
            seen += 1;
        }
    }
}

#[tokio::test]
async fn a_file_reaches_the_upstream_while_the_client_is_still_sending_it() {
    let (system, upstream) = system().await;
    let live_answer = upstream.answer_live();
    let (sender, body) = live();
    let beginning = [field("model", "main/m"), field("stream", "true"), file(b"")].concat();
    sender.send(Ok(beginning.into())).await.unwrap();
    let client = system.client();
    let request = client.request(Method::POST, TRANSCRIPTIONS).body(body);
    let request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    let sending = tokio::spawn(request.send());
    signalbox_tests::wait::eventually("the upstream to be called", async || {
        (upstream.connections() == 1).then_some(())
    })
    .await;
    sender.send(Ok(form(&[]).into())).await.unwrap();
    drop(sender);
    let frames = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n";
    live_answer.play(Answer::stream([frames]));
    let answer = sending.await.unwrap().unwrap();
    assert_eq!(answer.headers().get("cache-control").unwrap(), "no-cache");
    assert_eq!(answer.text().await.unwrap(), frames);
    let seen = upstream.only();
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn a_form_that_nobody_took_goes_to_the_next_target_and_one_that_was_begun_does_not() {
    let (system, upstream, refusing) = (System::start().await, Upstream::start().await, Refusing::start());
    let draft = Draft::new().upstream("main", &upstream.url()).upstream("gone", &refusing.url());
    let draft = draft.redirect("first-gone", "first-gone", &[("gone", "m"), ("main", "m")]);
    system.apply(draft.redirect("twice", "twice", &[("main", "m"), ("main", "other")])).await;
    let long = |model: &str| form(&[field("model", model), file(&noise(2 << 20))]);
    upstream.answer(text());
    let reply = post(&system, TRANSCRIPTIONS, long("first-gone")).await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (200, "2"));
    assert!(upstream.only().body == long("m"));
    upstream.answer(Answer::error(503));
    let reply = post(&system, TRANSCRIPTIONS, long("twice")).await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (502, "1"), "{}", reply.text());
    // What is held whole can go again.
    upstream.answer(Answer::error(503));
    upstream.answer(text());
    let reply = post(&system, TRANSCRIPTIONS, form(&[field("model", "twice"), file(b"short")])).await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (200, "2"));
    assert_eq!(upstream.seen().len(), 4);
}

#[tokio::test]
async fn a_second_model_never_reaches_the_upstream() {
    let (system, upstream) = system().await;
    let twice = form(&[field("model", "main/cheap"), file(b"x"), field("model", "dear")]);
    let reply = post(&system, TRANSCRIPTIONS, twice).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "repeated_parameter"));
    assert!(upstream.seen().is_empty());
    let late = form(&[field("model", "main/cheap"), file(&noise(2 << 20)), field("model", "dear")]);
    let reply = post(&system, TRANSCRIPTIONS, late).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "repeated_parameter"));
    assert!(upstream.seen().is_empty(), "the upstream has not seen the end of it");
}

#[tokio::test]
async fn a_form_that_is_none_is_refused_for_what_it_is() {
    let (system, upstream) = system().await;
    let without_model = form(&[file(b"x")]);
    for (body, status, code) in [
        (without_model, 400, "missing_parameter"),
        (form(&[field("model", "")]), 400, "invalid_value"),
        (form(&[field("Model", "main/m")]), 400, "repeated_parameter"),
        (form(&[field("model", "nobody/m")]), 404, "model_not_found"),
        (field("model", "main/m"), 400, "malformed_form"),
        (b"{}".to_vec(), 400, "malformed_form"),
    ] {
        let reply = post(&system, TRANSCRIPTIONS, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    }
    let client = system.client();
    for content_type in ["application/json", "multipart/mixed; boundary=b"] {
        let request = client.request(Method::POST, TRANSCRIPTIONS).header("content-type", content_type).body("{}");
        let reply = Reply::to(request).await;
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_media_type"), "{content_type}");
    }
    let reply = client.get(TRANSCRIPTIONS).await;
    assert_eq!((reply.status, reply.header("allow")), (405, "POST"));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_form_is_judged_before_it_is_asked_for() {
    let (system, upstream) = system().await;
    let head = |length: usize, key: &str| {
        format!(
            "POST {TRANSCRIPTIONS} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\nexpect: 100-continue\r\n\
             content-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    for (length, key, status) in [(10, "sb_nobody's", 401), (33 << 20, CLIENT_KEY, 413)] {
        let mut raw = system.data_plane().raw().await;
        raw.send(head(length, key)).await;
        assert_eq!(raw.answer().await.unwrap().status, status);
    }
    let body = form(&[field("model", "main/m"), file(b"x")]);
    let mut raw = system.data_plane().raw().await;
    raw.send(head(body.len(), CLIENT_KEY)).await;
    assert_eq!(raw.head().await, 100);
    upstream.answer(text());
    raw.send(&body).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_frees_the_upstream() {
    let (system, upstream) = system().await;
    let (sender, body) = live();
    sender.send(Ok([field("model", "main/m"), file(b"")].concat().into())).await.unwrap();
    let client = system.client();
    let request = client.request(Method::POST, TRANSCRIPTIONS).body(body);
    let request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    let sending = tokio::spawn(request.send());
    signalbox_tests::wait::eventually("the upstream to be called", async || {
        (upstream.connections() == 1).then_some(())
    })
    .await;
    sending.abort();
    drop(sender);
    tokio::time::timeout(Duration::from_secs(2), system.data_plane().recorded("abandoned", 1)).await.unwrap();
    assert!(upstream.seen().is_empty());
}
