//! Plain answers, and what the upstream is sent for them.

use http::header::HeaderName;
use http_body::Body as _;

use super::{
    upstream::{Step, Upstream, answer, json, then},
    *,
};

#[tokio::test]
async fn the_body_goes_on_byte_for_byte_but_for_the_model() {
    let padding = "é\\u0000\\t ".repeat(15_000);
    let body = |model: &str| format!("{{ \"a\" : 1.0e5,\"model\" :{model}, \"text\":\"{padding}\" }}\n");
    let upstream = Upstream::play([json("200 OK", HELLO)]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    for (sent, expected) in [(r#""asked""#, r#""only-model""#), (r#""only-model""#, r#""only-model""#)] {
        let sent = Bytes::from(body(sent));
        assert!(sent.len() > 100_000);
        let payload = Payload::Json { model_span: Envelope::parse(&sent).unwrap().model_span, text: sent };
        let call = Call { body: payload, ..chat() };
        scene.win(call).await;
        let seen = upstream.seen().pop().unwrap();
        assert!(seen.body == body(expected).into_bytes(), "the body differs");
        assert_eq!(seen.header("content-length"), Some(seen.body.len().to_string().as_str()));
        assert_eq!(seen.header("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn the_query_and_the_headers_go_on_as_configured() {
    let upstream = Upstream::play([json("200 OK", HELLO)]).await;
    let mut provider = provider("only", upstream.address, &["secret-key"]);
    let url = format!("http://{}/v1/chat/completions?api-version=1", upstream.address);
    provider.places.insert(Endpoint::ChatCompletions, Place::Fixed(url.parse().unwrap()));
    provider.headers.drop = vec![HeaderName::from_static("x-dropped")];
    let mut call = Call { query: Some("a=%2F&b".into()), ..chat() };
    for (name, value) in [("x-dropped", "1"), ("x-kept", "2"), ("content-length", "3")] {
        call.headers.insert(name, HeaderValue::from_static(value));
    }
    Scene::new([provider]).win(call).await;
    let seen = upstream.seen().remove(0);
    assert!(seen.head.starts_with("POST /v1/chat/completions?api-version=1&a=%2F&b HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!((seen.header("x-dropped"), seen.header("x-kept")), (None, Some("2")));
    assert_eq!(seen.header("authorization"), Some("Bearer secret-key"));
    assert_eq!(seen.header("host"), Some(upstream.address.to_string().as_str()));
    assert!(seen.header("referer").is_none() && seen.header("content-length").is_some_and(|length| length != "3"));
}

#[tokio::test]
async fn an_idempotency_key_stays_with_the_provider_it_was_told_to() {
    let failing = Upstream::play([json("500 Internal Server Error", "{}")]).await;
    let good = Upstream::play([json("500 Internal Server Error", "{}"), json("200 OK", HELLO)]).await;
    let scene = Scene::new([provider("first", failing.address, &[]), provider("second", good.address, &[])]);
    let call = || {
        let mut call = chat();
        call.headers.insert("idempotency-key", HeaderValue::from_static("once"));
        call
    };
    scene.win(call()).await;
    assert_eq!(failing.seen()[0].header("idempotency-key"), Some("once"));
    assert_eq!(good.seen().iter().filter_map(|seen| seen.header("idempotency-key")).count(), 0);

    let again = Upstream::play([json("500 Internal Server Error", "{}"), json("200 OK", HELLO)]).await;
    Scene::new([provider("only", again.address, &[])]).win(call()).await;
    assert_eq!(again.seen().iter().filter_map(|seen| seen.header("idempotency-key")).count(), 2);
}

#[tokio::test]
async fn a_plain_answer_is_named_as_requested_only_where_that_is_wanted() {
    let upstream = Upstream::play([json("200 OK", HELLO)]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    assert_eq!(text(scene.win(chat()).await.body).await, HELLO);
    let won = scene.naming_the_model_as_requested().win(chat()).await;
    assert_eq!(text(won.body).await, HELLO.replace("served", "asked"));
}

#[tokio::test]
async fn an_answer_of_any_size_is_named_as_requested_while_it_comes() {
    let large = format!("{{\"x\":\"{}\",\"model\":\"served\"}}", "x".repeat(11 * 1024 * 1024));
    let upstream = Upstream::play([json("200 OK", &large)]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    let won = scene.win(chat()).await;
    assert_eq!(won.body.size_hint().exact(), Some(large.len() as u64));
    assert!(text(won.body).await == large, "it is not as it was");
    let won = scene.naming_the_model_as_requested().win(chat()).await;
    assert_eq!(won.body.size_hint().exact(), None);
    assert!(text(won.body).await == large.replace("served", "asked"), "it is not as it was");

    let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":";
    let upstream = Upstream::play([vec![Step::Send(half.to_vec()), Step::Hang]]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]).naming_the_model_as_requested();
    let mut body = scene.win(chat()).await.body;
    assert_eq!(body.frame().await.expect("a first piece").unwrap().into_data().unwrap(), "{\"half\":");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_for_the_client_too() {
    let cut = |ending| vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()), ending];
    for ending in [Step::Close, Step::Reset] {
        let upstream = Upstream::play([cut(ending)]).await;
        let won = Scene::new([provider("only", upstream.address, &[])]).win(chat()).await;
        assert!(matches!(read(won.body).await.1, Some(Broken::Transport(_))));
    }
    let upstream = Upstream::play([cut(Step::Hang)]).await;
    let mut brief = provider("only", upstream.address, &[]);
    brief.timeouts.total = SECOND;
    let won = Scene::new([brief]).win(chat()).await;
    let (said, broken) = read(won.body).await;
    assert!(said == "half" && matches!(broken, Some(Broken::TotalTime)), "{said}, {broken:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_when_its_time_is_over() {
    let head = Step::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec());
    let upstream = Upstream::play([vec![head, Step::Flood(b"5\r\nagain\r\n")]]).await;
    let mut brief = provider("only", upstream.address, &[]);
    brief.timeouts.total = SECOND;
    let won = Scene::new([brief]).win(chat()).await;
    assert!(matches!(read(won.body).await.1, Some(Broken::TotalTime)));
    upstream.was_left(1).await;
}

#[tokio::test]
async fn a_plain_answer_to_a_stream_request_passes() {
    let large = HELLO.replace("hello", &"hello".repeat(100_000));
    for said in [HELLO, &large] {
        let upstream = Upstream::play([json("200 OK", said)]).await;
        let scene = Scene::new([provider("only", upstream.address, &["secret-key-1"])]);
        let won = scene.win(streamed()).await;
        assert_eq!(won.body.size_hint().exact(), Some(said.len() as u64));
        assert_eq!(text(won.body).await, said);
        let won = scene.naming_the_model_as_requested().win(streamed()).await;
        assert_eq!(text(won.body).await, said.replace("served", "asked"));
    }
}

#[tokio::test]
async fn the_client_learns_nothing_of_the_operator_s_account() {
    let headers = [
        "x-request-id: theirs",
        "x-ratelimit-remaining-tokens: 7",
        "server: secret",
        "set-cookie: a=b",
        "connection: x-hop",
        "x-hop: 1",
        "x-kept: 1",
    ];
    let upstream = Upstream::play([answer("200 OK", &headers, "hello")]).await;
    let won = Scene::new([provider("only", upstream.address, &[])]).win(chat()).await;
    let mut names: Vec<_> = won.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["x-kept", "x-upstream-request-id"]);
}

#[tokio::test]
async fn surplus_bytes_never_answer_the_next_request() {
    let surplus = then(json("200 OK", HELLO), Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil".to_vec()));
    let upstream = Upstream::play([surplus]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    for _ in 0..5 {
        assert_eq!(text(scene.win(chat()).await.body).await, HELLO);
    }
}
