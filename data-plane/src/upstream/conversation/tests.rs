//! Requests as an upstream is to see them, and answers of every form as a client is to see them.

use std::convert::Infallible;

use futures_util::stream;
use http::{HeaderValue, header::CONTENT_ENCODING};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use signalbox_routing::{Dialect, Endpoint, Place};

use super::*;
use crate::{
    attempt::tests::{chat, provider},
    openai::envelope::Envelope,
    upstream::Payload,
};

fn pointers(of: &[&str]) -> Vec<Arc<str>> {
    of.iter().map(|pointer| Arc::from(*pointer)).collect()
}

fn conversation() -> Conversation {
    Conversation {
        create: Some(Create {
            url: "http://upstream.example/conversations?v=1".parse().unwrap(),
            body: r#"{"title": "{request_id}", "model": "{model}"}"#.into(),
            id: pointers(&["/id", "/conversationId"]),
        }),
        headers: vec![(http::header::REFERER, "https://upstream.example/c/{conversation_id}".into())],
        chat_body: r#"{"q": "{message}", "m": "{model}", "c": "{conversation_id}", "s": "{stream}", "k": 1.0}"#.into(),
        text: pointers(&["/choices/0/message/content", "/answer"]),
        delta: pointers(&["/delta/text", "/answer"]),
        end: pointers(&["/done", "/finish_reason"]),
        error: pointers(&["/error/message", "/error"]),
    }
}

fn target(conversation: &Conversation) -> Target {
    let mut provider = provider("talk", ([127, 0, 0, 1], 1).into(), &[]);
    provider.dialect = Dialect::Conversation;
    provider.conversation = Some(Arc::new(conversation.clone()));
    let url: Uri = "http://upstream.example/chat".parse().unwrap();
    provider.places = [(Endpoint::ChatCompletions, Place::Fixed(url.clone()))].into();
    Target { provider: provider.into(), url, model: "served".into() }
}

fn says(message: &str) -> Call {
    let json =
        serde_json::json!({"model": "asked", "temperature": 1, "messages": [{"role": "user", "content": message}]});
    let text = Bytes::from(json.to_string());
    let model_span = Envelope::parse(&text).unwrap().model_span;
    let mut call = Call { body: Payload::Json { text, model_span }, query: Some("a=b".into()), ..chat() };
    call.headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("once"));
    call
}

async fn written(request: Request<Body>) -> (String, HeaderMap, String) {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (format!("{} {}", head.method, head.uri), head.headers, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn a_conversation_is_made_and_the_chat_goes_into_it() {
    let conversation = conversation();
    let (target, call) = (target(&conversation), says("say \"hi\"\n{model}"));
    let turn = Turn::new(&call, &target, None, &conversation).unwrap();
    let (line, headers, body) = written(turn.opening().unwrap()).await;
    assert_eq!(line, "POST http://upstream.example/conversations?v=1");
    assert_eq!(body, format!(r#"{{"title": "{}", "model": "served"}}"#, call.request_id));
    assert_eq!((headers.get("referer"), headers.get(IDEMPOTENCY_KEY)), (None, None));

    let (line, headers, body) = written(turn.request("c 1").unwrap()).await;
    assert_eq!(line, "POST http://upstream.example/chat");
    assert_eq!(body, r#"{"q": "say \"hi\"\n{model}", "m": "served", "c": "c 1", "s": false, "k": 1.0}"#);
    assert_eq!(headers["referer"], "https://upstream.example/c/c%201");
    assert_eq!(headers[IDEMPOTENCY_KEY], "once");
    assert_eq!(headers[CONTENT_TYPE], "application/json");
}

#[test]
fn an_id_that_would_break_a_header_is_refused() {
    let mut conversation = conversation();
    conversation.headers.push((HeaderName::from_static("x-conversation"), "{conversation_id}".into()));
    let (target, call) = (target(&conversation), says("hi"));
    let turn = Turn::new(&call, &target, None, &conversation).unwrap();
    assert!(turn.request("a\r\nx-evil: 1").is_err());
    assert!(turn.request("a-1").is_ok());
}

#[test]
fn the_id_is_where_the_pointers_say() {
    let create = conversation().create.unwrap();
    for (answer, found) in [
        (r#"{"id":"c-1"}"#, Some("c-1")),
        (r#"{"id":7}"#, Some("7")),
        (r#"{"id":"","conversationId":"c-2"}"#, Some("c-2")),
        (r#"{"id":{"deep":"no"}}"#, None),
        (r#"{"conversation":"c"}"#, None),
        ("<html>", None),
    ] {
        assert_eq!(id(&create, answer.as_bytes()).as_deref(), found, "{answer}");
    }
    assert_eq!(id(&create, format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_ID_BYTES + 1)).as_bytes()), None);
}

/// An answer that comes in these pieces.
fn answer(content_type: &str, pieces: &[&str]) -> Response<Body> {
    let frames: Vec<_> =
        pieces.iter().map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece.as_bytes())))).collect();
    let mut answer = Response::new(Body::boxed(StreamBody::new(stream::iter(frames))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    answer
}

/// What a client reads who asked for a stream: roles, pieces, reason, and what stands at the end.
async fn streamed(answer: Response<Body>) -> String {
    let answer = stream(&Arc::new(conversation()), &"served".into(), answer).expect("the form is known");
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    let told = text.split_terminator("\n\n").map(|event| {
        let data = event.strip_prefix("data: ").unwrap();
        let Ok(chunk) = serde_json::from_str::<Value>(data) else { return data.to_owned() };
        if let Some(error) = chunk.pointer("/error/message") {
            return format!("error {error}");
        }
        assert_eq!((&chunk["object"], &chunk["model"]), (&"chat.completion.chunk".into(), &"served".into()));
        let choice = &chunk["choices"][0];
        match (&choice["delta"]["role"], &choice["delta"]["content"], &choice["finish_reason"], &chunk["usage"]) {
            (Value::String(role), ..) => role.clone(),
            (_, Value::String(content), ..) => format!("{content:?}"),
            (_, _, Value::String(reason), _) => reason.clone(),
            (_, _, _, usage) => usage.to_string(),
        }
    });
    told.collect::<Vec<_>>().join(" ")
}

/// What a client reads who did not.
async fn told(answer: Response<Body>) -> Result<String, String> {
    let answer = whole(&Arc::new(conversation()), &"served".into(), answer).await.map_err(|error| error.to_string())?;
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&json["object"], &json["model"]), (&"chat.completion".into(), &"served".into()));
    let choice = &json["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    let usage = json.get("usage").map(|usage| format!(" {usage}")).unwrap_or_default();
    Ok(format!("{} {}{usage}", choice["message"]["content"], choice["finish_reason"].as_str().unwrap()))
}

const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream; charset=utf-8";

#[tokio::test]
async fn every_form_of_an_answer_is_retold_in_both_of_openais() {
    for (content_type, pieces, as_events, as_whole) in [
        (
            "application/json",
            &[r#"{"ans"#, r#"wer":"hello"}"#][..],
            r#"assistant "hello" stop [DONE]"#,
            r#""hello" stop"#,
        ),
        ("application/json", &[r#"{"answer":"","finish_reason":"length"}"#], "assistant length [DONE]", r#""" length"#),
        ("application/json", &[r#""bare""#], r#"assistant "bare" stop [DONE]"#, r#""bare" stop"#),
        (
            "application/json",
            &[r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"total_tokens":3}}"#],
            r#"assistant "hi" stop {"total_tokens":3} [DONE]"#,
            r#""hi" stop {"total_tokens":3}"#,
        ),
        (
            SSE,
            &[
                "event: x\ndata: {\"delta\":{\"text\":\"he\"}}\r\n\r\ndata: {\"del",
                "ta\":{\"text\":\"llo\"}}\n\n",
                "data: {\"done\":true}\n\n",
            ],
            r#"assistant "he" "llo" stop [DONE]"#,
            r#""hello" stop"#,
        ),
        (
            SSE,
            &["data: {\"answer\":\"a\"}\n\ndata: [DONE]\n\ndata: {\"answer\":\"b\"}\n\n"],
            r#"assistant "a" stop [DONE]"#,
            r#""a" stop"#,
        ),
        (SSE, &["data: {\"answer\":\"a\",\"done\":true}\n\n"], r#"assistant "a" stop [DONE]"#, r#""a" stop"#),
        (
            SSE,
            &["data: he\n\n", "data: {\n\n", "data: 42\n\n"],
            r#"assistant "he" "{" "42" stop [DONE]"#,
            r#""he{42" stop"#,
        ),
        (SSE, &["data: {\"answer\":\"a\"}"], r#"assistant "a" stop [DONE]"#, r#""a" stop"#),
        (
            NDJSON,
            &["{\"answer\":\"a\"}\n{\"answer\"", ":\"b\"}\n\n{\"done\":true}"],
            r#"assistant "a" "b" stop [DONE]"#,
            r#""ab" stop"#,
        ),
        ("text/plain", &["plain ", "text"], r#"assistant "plain " "text" stop [DONE]"#, r#""plain text" stop"#),
    ] {
        assert_eq!(streamed(answer(content_type, pieces)).await, as_events, "{pieces:?}");
        assert_eq!(told(answer(content_type, pieces)).await.as_deref(), Ok(as_whole), "{pieces:?}");
    }
}

#[tokio::test]
async fn what_went_wrong_upstream_is_said_and_never_ended_well() {
    let error = "the upstream's answer is an error";
    for (content_type, pieces, as_events, as_whole) in [
        ("application/json", &[r#"{"error":{"message":"no"}}"#][..], r#"error "no""#, error),
        ("application/json", &[r#"{"other":"shape"}"#], r#"error "The provider reported an error.""#, error),
        ("application/json", &["<html>"], r#"error "The provider reported an error.""#, error),
        (SSE, &["data: {\"answer\":\"a\"}\n\ndata: {\"error\":\"no\"}\n\n"], r#"assistant "a" error "no""#, error),
        (
            SSE,
            &["data: {\"answer\":\"a\"}\n\ndata: {\"ans\n\n"],
            r#"assistant "a" error "The provider reported an error.""#,
            error,
        ),
        (SSE, &["event: error\ndata: {\"code\":1}\n\n"], r#"error "The provider reported an error.""#, error),
        (NDJSON, &["{\"answer\":\"a\"}\n{\"ans"], r#"assistant "a" error "The provider reported an error.""#, error),
        (SSE, &[""], "", "the upstream's answer holds no text"),
        (SSE, &["data: {\"thinking\":true}\n\n"], "", "the upstream's answer holds no text"),
    ] {
        assert_eq!(streamed(answer(content_type, pieces)).await, as_events, "{pieces:?}");
        assert_eq!(told(answer(content_type, pieces)).await, Err(as_whole.to_owned()), "{pieces:?}");
    }
}

#[tokio::test]
async fn a_character_cut_in_two_is_put_together() {
    let frames = [&b"caf\xc3"[..], b"\xa9 \xf0\x9f", b"\x98\x80"]
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
    let mut cut = Response::new(Body::boxed(StreamBody::new(stream::iter(frames))));
    cut.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert_eq!(streamed(cut).await, r#"assistant "caf" "é " "😀" stop [DONE]"#);
}

#[tokio::test]
async fn what_cannot_be_read_or_held_is_no_answer() {
    let conversation = Arc::new(conversation());
    let mut compressed = answer("application/json", &["{}"]);
    compressed.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    for unknown in [compressed, answer("text/html", &["<html>"])] {
        assert!(stream(&conversation, &"m".into(), unknown).is_none());
    }
    let piece = "x".repeat(1024 * 1024);
    let pieces = vec![piece.as_str(); MAX_HELD_BYTES / piece.len() + 1];
    let outcome = whole(&conversation, &"m".into(), answer("text/plain", &pieces)).await;
    assert!(matches!(outcome, Err(Untold::Cut(Cut::TooLarge))));
}

#[test]
fn a_refusal_is_put_into_openais_form() {
    for (body, message) in [
        (r#"{"error":{"message":"too long"}}"#, "too long"),
        (r#"{"error":"no such thing"}"#, "no such thing"),
        ("<html>404</html>", "The provider refuses this request."),
    ] {
        let mut headers = HeaderMap::new();
        let told: Value = serde_json::from_slice(&refusal(&conversation(), &mut headers, body.as_bytes())).unwrap();
        let error =
            serde_json::json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
        assert_eq!(told["error"], error, "{body}");
        assert_eq!(headers[CONTENT_TYPE], "application/json");
    }
}
