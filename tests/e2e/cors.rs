//! Scripts of web pages: which may call, and what they may read.

use http::Method;
use signalbox_proto::{admin::v1::Settings, config::v1::Cors};
use signalbox_tests::{Answer, Client, Draft, Reply, System, Upstream, draft::route};

const PAGE: &str = "https://app.example";

async fn system(cors: Option<Cors>) -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let mount = route("mount", &format!("http://{}", upstream.addr()));
    let draft = Draft::new().upstream("main", &upstream.url()).route(mount);
    system.apply(draft.settings(Settings { cors, ..Settings::default() })).await;
    (system, upstream)
}

fn listed() -> Cors {
    Cors {
        allowed_origins: vec![PAGE.to_owned()],
        allowed_methods: vec!["POST".to_owned()],
        allowed_headers: vec!["authorization".to_owned(), "content-type".to_owned()],
        allow_credentials: true,
        ..Cors::default()
    }
}

async fn preflight(client: &Client, path: &str, origin: &str) -> Reply {
    let request = client.without_key().request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    Reply::to(request.header("access-control-request-headers", "authorization,x-stainless-lang")).await
}

async fn get(client: &Client, path: &str, origin: &str) -> Reply {
    Reply::to(client.request(Method::GET, path).header("origin", origin)).await
}

#[tokio::test]
async fn a_preflight_is_answered_before_any_key_is_asked_for_and_goes_nowhere() {
    let (system, upstream) = system(Some(listed())).await;
    for path in ["/v1/chat/completions", "/mount/x", "/nothing"] {
        let reply = preflight(&system.client(), path, PAGE).await;
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{path}");
        for (name, expected) in [
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "authorization,content-type"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(reply.header(name), expected, "{name} of {path}");
        }
        assert!(!reply.header("x-request-id").is_empty());
    }
    let stranger = preflight(&system.client(), "/v1/chat/completions", "https://evil.example").await;
    assert_eq!(stranger.header("access-control-allow-origin"), "");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn answers_and_errors_say_who_may_read_them() {
    let (system, upstream) = system(Some(listed())).await;
    let client = system.client();
    for (reply, status) in [
        (get(&client, "/v1/models", PAGE).await, 200),
        (get(&client.without_key(), "/v1/models", PAGE).await, 401),
        (get(&client, "/nothing", PAGE).await, 404),
        (get(&client, "/a%00b", PAGE).await, 400),
        (get(&client, "/health", PAGE).await, 200),
    ] {
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), PAGE, "{status}");
        assert!(reply.header("access-control-expose-headers").contains("x-request-id"), "{status}");
        assert!(reply.header("vary").contains("origin"), "{:?}", reply.headers);
    }
    upstream.answer(Answer::status(200).header("access-control-allow-origin", "*").header("vary", "accept").body("x"));
    let passed = get(&client, "/mount/x", PAGE).await;
    assert_eq!(passed.headers.get_all("access-control-allow-origin").iter().count(), 1, "{:?}", passed.headers);
    assert_eq!(passed.header("access-control-allow-origin"), PAGE);
    assert!(passed.headers.get_all("vary").iter().any(|vary| vary == "accept"), "{:?}", passed.headers);
    let stranger = get(&client, "/v1/models", "https://evil.example").await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (200, ""));
}

#[tokio::test]
async fn every_page_may_call_where_the_settings_say_so() {
    let (system, _upstream) = system(Some(Cors { allowed_origins: vec!["*".to_owned()], ..Cors::default() })).await;
    let reply = preflight(&system.client(), "/v1/chat/completions", PAGE).await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-allow-headers"), "authorization,x-stainless-lang", "what is asked for");
    assert_eq!(reply.header("access-control-allow-methods"), "POST");
    assert_eq!(get(&system.client(), "/v1/models", PAGE).await.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn without_the_setting_nothing_is_said_and_options_is_a_method_like_others() {
    let (system, upstream) = system(None).await;
    let reply = get(&system.client(), "/v1/models", PAGE).await;
    assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{:?}", reply.headers);
    assert_eq!(preflight(&system.client(), "/v1/chat/completions", PAGE).await.status, 405);
    assert_eq!(preflight(&system.client(), "/mount/x", PAGE).await.status, 200);
    assert_eq!(upstream.only().method, "OPTIONS");
}

#[tokio::test]
async fn an_options_that_is_no_preflight_passes() {
    let (system, upstream) = system(Some(listed())).await;
    let request = system.client().request(Method::OPTIONS, "/mount/x").header("origin", PAGE);
    let reply = Reply::to(request).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, PAGE));
    assert_eq!(upstream.only().method, "OPTIONS");
}
