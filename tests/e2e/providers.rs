//! How an upstream account is reached: its URLs, headers, proxies and connections.

use signalbox_proto::{
    admin::v1::{Credential, Provider, Settings},
    config::v1::{CredentialChoice, ForwardProxy, HttpVersion, Pool},
};
use signalbox_tests::{
    Answer, Draft, System, Upstream,
    draft::{credential, header, provider, route},
    upstream::Refusing,
};

/// A provider that has just what it is given.
async fn with(change: impl FnOnce(Provider) -> Provider) -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().provider(change(provider("main", &upstream.url())))).await;
    (system, upstream)
}

#[tokio::test]
async fn a_chat_url_is_used_verbatim() {
    let (system, upstream) = with(|main| main).await;
    let chat_url = format!("http://{}/odd/path/invoke?api-version=1&x=%7e", upstream.addr());
    system.apply(Draft::new().provider(Provider { base_url: String::new(), chat_url, ..provider("main", "") })).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    assert_eq!(upstream.only().target, "/odd/path/invoke?api-version=1&x=%7e");
    let reply = system.client().post("/v1/embeddings", r#"{"model":"main/m","input":"x"}"#).await;
    assert_eq!(reply.code(), "model_not_found", "chat is all that it has");
}

#[tokio::test]
async fn a_base_url_may_end_in_a_slash_and_keep_a_path() {
    for (path, target) in
        [("/v1/", "/v1/chat/completions"), ("/a/b%20c", "/a/b%20c/chat/completions"), ("", "/chat/completions")]
    {
        let (system, upstream) = (System::start().await, Upstream::start().await);
        let url = format!("http://{}{path}", upstream.addr());
        system.apply(Draft::new().provider(provider("main", &url))).await;
        assert_eq!(system.client().chat("main/m").await.status, 200);
        assert_eq!(upstream.only().target, target);
    }
}

#[tokio::test]
async fn configured_headers_replace_or_give_way() {
    let (system, upstream) = with(|main| Provider {
        headers: [
            ("x-team".to_owned(), header("ours", None)),
            ("x-fixed".to_owned(), header("ours", Some(true))),
            ("authorization".to_owned(), header("Custom ours", Some(true))),
        ]
        .into(),
        drop_headers: vec!["x-dropped".to_owned()],
        ..main
    })
    .await;
    let client = system.client();
    let request = client.request(http::Method::POST, "/v1/chat/completions").header("content-type", "application/json");
    let request = request.header("x-team", "theirs").header("x-fixed", "theirs").header("x-dropped", "theirs");
    let reply = signalbox_tests::Reply::to(request.body(r#"{"model":"main/m"}"#)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = upstream.only();
    assert_eq!((seen.header("x-team"), seen.header("x-fixed")), (Some("theirs"), Some("ours")));
    assert_eq!((seen.header("x-dropped"), seen.header("authorization")), (None, Some("Custom ours")));
}

#[tokio::test]
async fn a_provider_without_credentials_gets_none() {
    let (system, upstream) = with(|main| main).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    assert_eq!(upstream.only().header("authorization"), None);
    upstream.answer(Answer::error(401));
    assert_eq!(system.client().chat("main/m").await.code(), "upstream_credentials_exhausted");
}

#[tokio::test]
async fn a_forward_proxy_is_used_where_one_is_set_and_left_where_it_is_emptied() {
    let (system, upstream, proxy) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let through = |url: String| ForwardProxy { url, username: "user".to_owned(), password: "pass".to_owned() };
    let globally = Settings { forward_proxy: Some(through(format!("http://{}", proxy.addr()))), ..Settings::default() };
    let direct = Provider { forward_proxy: Some(ForwardProxy::default()), ..provider("direct", &upstream.url()) };
    let away = through(format!("http://{}", Refusing::start().addr()));
    let own = Provider { forward_proxy: Some(away), ..provider("own", &upstream.url()) };
    let mount = route("mount", &format!("http://{}/base", upstream.addr()));
    let draft = Draft::new().upstream("proxied", &upstream.url()).provider(direct).provider(own).route(mount);
    system.apply(draft.settings(globally)).await;
    assert_eq!(system.client().chat("proxied/m").await.status, 200);
    let seen = proxy.only();
    assert_eq!(seen.target, format!("http://{}/v1/chat/completions", upstream.addr()));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(seen.header("authorization"), Some("Bearer sk-proxied"));
    assert_eq!(system.client().get("/mount/x").await.status, 200);
    assert_eq!(proxy.request(1).await.target, format!("http://{}/base/x", upstream.addr()));
    assert!(upstream.seen().is_empty());
    assert_eq!(system.client().chat("direct/m").await.status, 200);
    assert_eq!((upstream.seen().len(), proxy.seen().len()), (1, 2));
    assert_eq!(upstream.only().header("proxy-authorization"), None);
    assert_eq!(system.client().chat("own/m").await.code(), "upstream_error");
    system.apply(Draft::new().settings(Settings::default())).await;
    assert_eq!(system.client().chat("proxied/m").await.status, 200);
    assert_eq!((upstream.seen().len(), proxy.seen().len()), (2, 2));
}

#[tokio::test]
async fn connections_are_kept_as_the_pool_says() {
    let (system, upstream) = with(|main| Provider {
        pool: Some(Pool { max_idle: Some(0), http_version: HttpVersion::Http1.into(), ..Pool::default() }),
        ..main
    })
    .await;
    for _ in 0..3 {
        assert_eq!(system.client().chat("main/m").await.status, 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn a_weight_of_nothing_is_for_when_there_is_nothing_else() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let weighted =
        Provider { credential_choice: CredentialChoice::Weighted.into(), ..provider("main", &upstream.url()) };
    let spare = Credential { weight: Some(0), ..credential("main", "spare", "sk-spare") };
    let off = Credential { disabled: true, ..credential("main", "off", "sk-off") };
    let mut draft = Draft::new().provider(weighted).credential("main", "a", "sk-a");
    draft.0.credentials.extend([spare, off]);
    system.apply(draft).await;
    let client = system.client();
    for _ in 0..10 {
        assert_eq!(client.chat("main/m").await.status, 200);
    }
    assert!(upstream.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer sk-a")));
    upstream.answer(Answer::error(401));
    assert_eq!(client.chat("main/m").await.header("x-signalbox-attempts"), "2");
    assert_eq!(upstream.seen().last().unwrap().header("authorization"), Some("Bearer sk-spare"));
}

#[tokio::test]
async fn an_upstream_may_speak_http_2() {
    let (system, demo) = (System::start().await, demo().await);
    let pool = Pool { http_version: HttpVersion::Http2.into(), ..Pool::default() };
    let modern = Provider { pool: Some(pool), ..provider("demo", &demo.base_url()) };
    system.apply(Draft::new().provider(modern).credential("demo", "k", "sk-demo")).await;
    assert_eq!(system.client().chat("demo/echo").await.content(), "hello");
    let frames = system.client().chat_stream("demo/echo").await.rest().await;
    assert_eq!(frames.last().map(String::as_str), Some("data: [DONE]\n\n"));
    assert!(
        demo.seen().iter().all(|seen| seen.headers.get("connection").is_none() && seen.headers.get("host").is_none())
    );
}

async fn demo() -> signalbox::demo::Demo {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    signalbox::demo::Demo::start(listener, &"sk-demo".into()).unwrap()
}
