//! Routes: what passes, what does not, and whose fault it is.

use super::*;
use crate::attempt::tests::upstream::answer;

fn with_cookie(method: Method, path: &str, body: RequestBody) -> Request<RequestBody> {
    let mut request = request(method, path, body);
    request.headers_mut().insert("cookie", "a=b".parse().unwrap());
    request
}

#[tokio::test]
async fn a_route_passes_method_path_query_headers_and_body_as_they_are() {
    let upstream = Upstream::play([answer("201 Created", &["x-theirs: 1", "x-request-id: theirs"], "made")]).await;
    let door = Draft::default().route(upstream.address, false).door(Limits::default());
    let request = with_cookie(Method::PUT, "/there/a%2fb/c?q=%20&api_key=own", full("body"));
    let answer = told(&door, request).await;
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::CREATED, &b"made"[..]));
    assert_eq!(answer.headers["x-theirs"], "1");
    assert_eq!(answer.headers["x-upstream-request-id"], "theirs");
    let seen = &upstream.seen()[0];
    assert!(seen.head.starts_with("PUT /base/a%2Fb/c?q=%20&api_key=own HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("authorization"), Some("Bearer sb_test"), "the caller's own credentials go on");
    assert_eq!((seen.header("cookie"), seen.header("content-length")), (Some("a=b"), Some("4")));
    assert_eq!(seen.body, b"body");
    assert_eq!(recorded(&door, "completed"), 1);
}

#[tokio::test]
async fn a_route_that_asks_for_a_key_keeps_it() {
    let upstream = Upstream::play([answer("200 OK", &[], "")]).await;
    let door = Draft::default().client_key().route(upstream.address, true).door(Limits::default());
    assert_eq!(told(&door, with_cookie(Method::GET, "/there?a=b", full(""))).await.status, StatusCode::OK);
    let seen = &upstream.seen()[0];
    assert!(seen.head.starts_with("GET /base?a=b "), "{}", seen.head);
    assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, Some("a=b")));
    let mut stranger = with_cookie(Method::POST, "/there", untouchable());
    stranger.headers_mut().remove(AUTHORIZATION);
    assert_eq!(told(&door, stranger).await.error(), (401, "missing_api_key".to_owned()));
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let upstream = Upstream::play([answer("307 Temporary Redirect", &["location: http://127.0.0.1:1/x"], "")]).await;
    let door = Draft::default().route(upstream.address, false).door(Limits::default());
    let answer = told(&door, get("/there/x")).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers["location"], "http://127.0.0.1:1/x");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_bad_gateway() {
    let door = Draft::default().route(Upstream::nowhere().await, false).door(Limits::default());
    assert_eq!(told(&door, get("/there/x")).await.error(), (502, "upstream_error".to_owned()));
    assert_eq!(told(&door, get("/elsewhere/x")).await.error(), (404, "unknown_url".to_owned()));
    assert_eq!(recorded(&door, "failed"), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_the_clients_fault_even_when_it_is_streamed() {
    let upstream = Upstream::play([vec![Step::Hang]]).await;
    let settings = config::Settings { max_request_bytes: Some(4), ..config::Settings::default() };
    let door = Draft::default().route(upstream.address, false).settings(&settings).door(Limits::default());
    let declared = with_cookie(Method::POST, "/there", full("12345"));
    assert_eq!(told(&door, declared).await.error(), (413, "request_too_large".to_owned()));
    let pieces = ["123", "45"].map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::from_static(piece.as_bytes()))));
    let streamed = RequestBody::made(StreamBody::new(futures_util::stream::iter(pieces)));
    let streamed = with_cookie(Method::POST, "/there", streamed);
    assert_eq!(told(&door, streamed).await.error(), (413, "request_too_large".to_owned()));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_target() {
    let upstream = Upstream::play([then(stream_of(&["a"]), Step::Hang)]).await;
    let door = Draft::default().route(upstream.address, false).door(Limits::default());
    let mut streaming = Arc::clone(&door).answer(get("/there/x")).await;
    assert_eq!(streaming.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "a");
    drop(streaming);
    upstream.was_left(1).await;
    assert_eq!(recorded(&door, "abandoned"), 1);
}
