//! Requests with a model, from the key to the last byte.

use super::*;

const CHAT: &str = r#"{"model":"main/m","messages":[]}"#;
const STREAMED: &str = r#"{"model":"main/m","stream":true}"#;
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

async fn served(acts: impl IntoIterator<Item = Vec<Step>>) -> (Upstream, Arc<Door>) {
    let upstream = Upstream::play(acts).await;
    let door = Draft::default().client_key().provider(upstream.address).door(Limits::default());
    (upstream, door)
}

#[tokio::test]
async fn an_answer_says_what_happened() {
    let (upstream, door) = served([json("200 OK", HELLO)]).await;
    let answer = told(&door, chat(CHAT)).await;
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, HELLO.as_bytes()));
    for (name, expected) in [
        ("x-signalbox-revision", "7"),
        ("x-signalbox-provider", "main"),
        ("x-signalbox-model", "m"),
        ("x-signalbox-attempts", "1"),
    ] {
        assert_eq!(answer.headers[name], expected, "{name}");
    }
    let seen = &upstream.seen()[0];
    assert_eq!(seen.body, br#"{"model":"m","messages":[]}"#);
    assert_eq!(seen.header("authorization"), None, "the client's key stays here");
    assert_eq!(recorded(&door, "completed"), 1);
}

#[tokio::test]
async fn a_stream_is_not_held_back_by_proxies_and_ends_as_it_did() {
    let events = [TEXT, "data: [DONE]\n\n"];
    let (_upstream, door) = served([stream(&events)]).await;
    let answer = told(&door, chat(STREAMED)).await;
    assert_eq!(answer.body, events.concat());
    assert_eq!(answer.headers["cache-control"], "no-cache");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    assert!(!answer.headers.contains_key("content-length"));
    assert_eq!(recorded(&door, "completed"), 1);
}

#[tokio::test]
async fn a_key_may_come_in_the_query_and_goes_no_further() {
    let (upstream, door) = served([json("200 OK", HELLO)]).await;
    let mut request = chat(CHAT);
    request.headers_mut().remove(AUTHORIZATION);
    *request.uri_mut() = format!("/v1/chat/completions?a=b&api_key={KEY}").parse().unwrap();
    assert_eq!(told(&door, request).await.status, StatusCode::OK);
    assert!(upstream.seen()[0].head.starts_with("POST /v1/chat/completions?a=b HTTP/1.1"));
}

#[tokio::test]
async fn what_the_head_says_is_judged_before_the_body_is_read() {
    let (upstream, door) = served([]).await;
    let post = |path| request(Method::POST, path, untouchable());
    let with = |mut request: Request<RequestBody>, name: &'static str, value: &str| {
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut without_key = post("/v1/chat/completions");
    without_key.headers_mut().remove(AUTHORIZATION);
    for (request, status, code) in [
        (without_key, 401, "missing_api_key"),
        (with(post("/v1/chat/completions"), "authorization", "Bearer sb_tes"), 401, "invalid_api_key"),
        (with(post("/v1/chat/completions"), "authorization", "Bearer SB_TEST"), 401, "invalid_api_key"),
        (with(post("/v1/chat/completions"), "x-api-key", "another"), 400, "ambiguous_api_key"),
        (post("/v1/chat/completions"), 415, "unsupported_media_type"),
        (with(post("/v1/chat/completions"), "content-type", "text/plain"), 415, "unsupported_media_type"),
        (post("/v1/nothing"), 404, "unknown_url"),
        (post("/nothing"), 404, "unknown_url"),
        (post("/v1/models"), 405, "method_not_allowed"),
        (request(Method::GET, "/v1/chat/completions", untouchable()), 405, "method_not_allowed"),
        (post("/v1/../admin"), 400, "invalid_url"),
        (with(post("/v1/chat/completions"), "transfer-encoding", "gzip, chunked"), 400, "malformed_request"),
    ] {
        let shown = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        assert_eq!(told(&door, request).await.error(), (status, code.to_owned()), "{shown}");
    }
    assert_eq!((upstream.connections(), recorded(&door, "rejected")), (0, 12));
}

#[tokio::test]
async fn what_the_body_says_is_judged_before_anything_is_sent() {
    let (upstream, door) = served([]).await;
    for (body, status, code, param) in [
        ("{", 400, "invalid_json", Value::Null),
        ("[]", 400, "invalid_json", Value::Null),
        ("{}", 400, "missing_parameter", "model".into()),
        (r#"{"model":1}"#, 400, "invalid_type", "model".into()),
        (r#"{"model":"main/m","model":"main/m"}"#, 400, "repeated_parameter", "model".into()),
        (r#"{"model":"nobody/m"}"#, 404, "model_not_found", "model".into()),
    ] {
        let answer = told(&door, chat(body)).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{body}");
        assert_eq!(answer.json()["error"]["param"], param, "{body}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_settings_limit_the_body() {
    let settings = config::Settings { max_request_bytes: Some(64), ..config::Settings::default() };
    let door = Draft::default().client_key().settings(&settings).door(Limits::default());
    let long = format!(r#"{{"model":"m","x":"{}"}}"#, "a".repeat(64));
    assert_eq!(told(&door, chat(long)).await.error(), (413, "request_too_large".to_owned()));
    assert_eq!(told(&door, chat(r#"{"model":"m"}"#)).await.error(), (404, "model_not_found".to_owned()));
}

#[tokio::test]
async fn models_are_listed_for_a_key_or_for_all_as_the_settings_say() {
    let (_upstream, door) = served([]).await;
    let list = told(&door, get("/v1/models")).await.json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&"list".into(), &"main/m".into()));
    assert_eq!(list["data"][0]["object"], "model");
    assert!(list["data"][0]["created"].is_u64());
    for path in ["/v1/models/main/m", "/v1/models/main%2Fm"] {
        assert_eq!(told(&door, get(path)).await.json(), list["data"][0], "{path}");
    }
    assert_eq!(told(&door, get("/v1/models/other/m")).await.error(), (404, "model_not_found".to_owned()));

    let anonymous = |path: &str| Request::builder().uri(path).header("host", "gateway").body(full("")).unwrap();
    assert_eq!(told(&door, anonymous("/v1/models")).await.error(), (401, "missing_api_key".to_owned()));
    let settings = config::Settings { keyless_models: true, ..config::Settings::default() };
    let keyless = Draft::default().client_key().settings(&settings).door(Limits::default());
    assert_eq!(told(&keyless, anonymous("/v1/models")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_nothing_else() {
    let (_upstream, door) = served([]).await;
    let length = told(&door, get("/v1/models")).await.body.len();
    let head = told(&door, request(Method::HEAD, "/v1/models", full(""))).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.headers["content-length"], length.to_string().as_str());
}

#[tokio::test]
async fn a_base_path_may_stand_before_everything() {
    let upstream = Upstream::play([json("200 OK", HELLO)]).await;
    let settings = config::Settings { base_path: "/api/llm".to_owned(), ..config::Settings::default() };
    let door = Draft::default().client_key().provider(upstream.address).settings(&settings).door(Limits::default());
    let mut request = chat(CHAT);
    *request.uri_mut() = "/api/llm/v1/chat/completions".parse().unwrap();
    assert_eq!(told(&door, request).await.status, StatusCode::OK);
    assert_eq!(told(&door, get("/api/llm/healthz")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_leaves_is_its_own_outcome_and_frees_the_upstream() {
    let (upstream, door) = served([then(stream_of(&[TEXT]), Step::Hang), vec![Step::Hang]]).await;
    let mut streaming = Arc::clone(&door).answer(chat(STREAMED)).await;
    assert!(streaming.body_mut().frame().await.unwrap().is_ok());
    drop(streaming);
    upstream.was_left(1).await;
    tokio::select! {
        _ = Arc::clone(&door).answer(chat(CHAT)) => panic!("it hangs"),
        () = upstream.has_seen(2) => {}
    }
    upstream.was_left(2).await;
    assert_eq!((recorded(&door, "abandoned"), door.slots.taken()), (2, 0));
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_an_error_event_and_is_recorded_as_broken() {
    let (_upstream, door) = served([then(stream_of(&[TEXT]), Step::Close)]).await;
    let answer = told(&door, chat(STREAMED)).await;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        body.starts_with(TEXT) && body.contains(r#""code":"upstream_error""#) && !body.contains("[DONE]"),
        "{body}"
    );
    assert_eq!(recorded(&door, "broken"), 1);
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_turned_away() {
    let upstream = Upstream::play([vec![Step::Hang]]).await;
    let limits = Limits { max_requests: 1, ..Limits::default() };
    let door = Draft::default().client_key().provider(upstream.address).door(limits);
    let second = async {
        upstream.has_seen(1).await;
        told(&door, chat(CHAT)).await
    };
    let refused = tokio::select! {
        _ = Arc::clone(&door).answer(chat(CHAT)) => panic!("it hangs"),
        refused = second => refused,
    };
    assert_eq!(refused.error(), (503, "overloaded".to_owned()));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(told(&door, get("/healthz")).await.status, StatusCode::OK, "the gateway's own pages are always there");
}

#[tokio::test]
async fn a_defect_is_an_answer_and_not_the_end() {
    let (_upstream, door) = served([]).await;
    let mut request = request(Method::POST, "/v1/chat/completions", untouchable());
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(told(&door, request).await.error(), (500, "internal_error".to_owned()));
    assert_eq!((recorded(&door, "failed"), door.slots.taken()), (1, 0));
}
