//! Routes whose callers name the address: what may be called is, what may not be is not even dialled, on whichever way.

use http::Method;
use signalbox_proto::{
    admin::v1::{Route, route},
    config::v1::{ForwardProxy as Way, Universal},
};
use signalbox_tests::{Answer, CLIENT_KEY, Client, Draft, ForwardProxy, Reply, System, Upstream};

fn universal(id: &str, allowed_ranges: &[&str]) -> Route {
    let allowed_ranges = allowed_ranges.iter().map(|range| (*range).to_owned()).collect();
    Route {
        name: format!("routes/{id}"),
        destination: Some(route::Destination::Universal(Universal { allowed_ranges })),
        ..Route::default()
    }
}

async fn system() -> (System, Upstream, Client) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let keyed = Route { client_key_required: true, ..universal("keyed", &["127.0.0.0/8"]) };
    let draft = Draft::new().route(universal("any", &["127.0.0.0/8"])).route(universal("public", &[])).route(keyed);
    system.apply(draft).await;
    let client = system.client().without_key();
    (system, upstream, client)
}

#[tokio::test]
async fn the_path_names_the_address_and_everything_goes_there() {
    let (_system, upstream, client) = system().await;
    let (addr, port) = (upstream.addr(), upstream.addr().port());
    for (number, (path, host)) in [
        (format!("/any/http://{addr}/v1/models?a=%7e&b"), addr.to_string()),
        (format!("/any/http:/{addr}/v1/models?a=%7e&b"), addr.to_string()),
        (format!("/any/HTTP://localhost:{port}/v1/models?a=%7e&b"), format!("localhost:{port}")),
    ]
    .into_iter()
    .enumerate()
    {
        upstream.answer(Answer::status(207).header("x-theirs", "kept").body("theirs"));
        let request = client.request(Method::PUT, &path).header("authorization", "Bearer own").body("{\u{1}}");
        let reply = Reply::to(request).await;
        assert_eq!((reply.status, reply.header("x-theirs"), reply.text()), (207, "kept", "theirs"), "{path}");
        let seen = upstream.request(number).await;
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/v1/models?a=%7e&b"), "{path}");
        assert_eq!((seen.header("host"), seen.header("authorization")), (Some(&*host), Some("Bearer own")), "{path}");
        assert_eq!(seen.text(), "{\u{1}}");
    }
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_never_followed() {
    let (_system, upstream, client) = system().await;
    let elsewhere = Upstream::start().await;
    upstream.answer(Answer::status(302).header("location", &elsewhere.url()).body(""));
    let reply = client.get(&format!("/any/http://{}/x", upstream.addr())).await;
    assert_eq!((reply.status, reply.header("location")), (302, &*elsewhere.url()));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_may_not_be_called_is_refused_and_not_dialled() {
    let (system, upstream, client) = system().await;
    let port = upstream.addr().port();
    for address in [
        "169.254.169.254/latest/meta-data",
        "[fd00:ec2::254]/",
        "[::ffff:169.254.169.254]/",
        "[64:ff9b::a9fe:a9fe]/",
        "0.0.0.0/",
        "[::]/",
        "255.255.255.255/",
        "224.0.0.1/",
        "10.0.0.1/",
        "[::1]/",
    ] {
        let reply = client.get(&format!("/any/http://{address}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "destination_not_allowed"), "{address}");
    }
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
        let reply = client.get(&format!("/public/http://{host}:{port}/")).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "destination_not_allowed"), "{host}");
    }
    for address in [
        "http://user:pass@127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://127.0.0.1:0/",
        "ftp://127.0.0.1/",
        "127.0.0.1/",
        "http://127.0.0.1//x",
    ] {
        let reply = client.get(&format!("/any/{address}")).await;
        assert_eq!(reply.status, 400, "{address}: {}", reply.text());
        assert_eq!(reply.code(), "invalid_url", "{address}");
    }
    // Well-mannered clients fold these before they send them.
    for path in [format!("127.0.0.1:{port}/../x"), format!("127.0.0.1:{port}/%2e%2e/x"), "../x".to_owned()] {
        let mut raw = system.data_plane().raw().await;
        raw.send(format!("GET /any/http://{path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(raw.answer().await.map(|answer| answer.code()).as_deref(), Some("invalid_url"), "{path}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_key_that_a_universal_route_asks_for_goes_nowhere() {
    let (system, upstream, client) = system().await;
    let path = format!("/keyed/http://{}/x", upstream.addr());
    assert_eq!(client.get(&path).await.code(), "missing_api_key");
    assert_eq!(upstream.connections(), 0);
    assert_eq!(system.client().get(&format!("{path}?api_key={CLIENT_KEY}&a=b")).await.status, 200);
    let seen = upstream.only();
    assert!(!format!("{seen:?}").contains(CLIENT_KEY), "{seen:?}");
    assert_eq!(seen.target, "/x?a=b");
}

#[tokio::test]
async fn only_a_universal_route_takes_an_address() {
    let (system, upstream, client) = system().await;
    let fixed = signalbox_tests::draft::route("fixed", &format!("http://{}", upstream.addr()));
    system.apply(Draft::new().route(fixed)).await;
    let reply = client.get("/fixed/http://127.0.0.1/x").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_url"));
    for path in ["/http://127.0.0.1/x", "/v1/http://127.0.0.1/x", "/nothing/http://127.0.0.1/x"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_proxy_is_told_the_address_that_was_checked() {
    let (system, upstream, client) = system().await;
    let (http, socks) = (ForwardProxy::http().await, ForwardProxy::socks5().await);
    let through = |id: &str, proxy: &ForwardProxy| Route {
        forward_proxy: Some(Way { url: proxy.url().to_owned(), ..Way::default() }),
        ..universal(id, &["127.0.0.0/8"])
    };
    system.apply(Draft::new().route(through("http", &http)).route(through("socks", &socks))).await;
    let port = upstream.addr().port();
    for (segment, proxy, first) in [
        ("http", &http, format!("CONNECT 127.0.0.1:{port} HTTP/1.1")),
        ("socks", &socks, format!("CONNECT 127.0.0.1:{port}")),
    ] {
        let reply = client.get(&format!("/{segment}/http://localhost:{port}/x")).await;
        assert_eq!(reply.status, 200, "{segment}: {}", reply.text());
        let refused = client.get(&format!("/{segment}/http://169.254.169.254/x")).await;
        assert_eq!(refused.code(), "destination_not_allowed", "{segment}");
        let told: Vec<_> = proxy.told().into_iter().map(|told| told.what).collect();
        assert_eq!(told, [first], "{segment}");
    }
    for seen in upstream.seen() {
        assert_eq!(seen.header("host"), Some(&*format!("localhost:{port}")), "the target sees the name");
    }
}
