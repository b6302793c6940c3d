//! Mounts outside `/v1`: what comes in goes out as it is, and the other way round.

use http::Method;
use signalbox_proto::{
    admin::v1::{Route, Settings},
    config::v1::ForwardProxy as Way,
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Client, Draft, ForwardProxy, Reply, System, Upstream,
    draft::{header, millis, route},
    logs,
    proxy::Told,
    upstream::{Refusing, Seen},
    wait::eventually,
};

async fn system(change: impl FnOnce(Route) -> Route) -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().route(change(route("mount", &format!("http://{}/base", upstream.addr()))))).await;
    (system, upstream)
}

async fn send(client: &Client, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let request =
        headers.iter().fold(client.request(method, path), |request, (name, value)| request.header(*name, *value));
    Reply::to(request.body(body.to_owned())).await
}

#[track_caller]
fn headers_of(seen: &Seen, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        assert_eq!(seen.header(name), *value, "{name} of {:?}", seen.headers);
    }
}

#[tokio::test]
async fn path_query_body_and_every_method_go_through() {
    let (system, upstream) = system(|route| route).await;
    let client = system.client().without_key();
    let mut number = 0;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND"] {
        let bodiless = ["GET", "HEAD", "OPTIONS"].contains(&method);
        let answer = Answer::status(207).header("x-theirs", "kept");
        upstream.answer(if method == "HEAD" {
            answer.header("content-length", "5").bodiless()
        } else {
            answer.body("\u{1}raw\n")
        });
        let body = if bodiless { "" } else { "{\"model\":\"not/ours\",\"model\":2} and no JSON" };
        let reply = send(&client, method.parse().unwrap(), "/mount/deep/er?a=1&b=%7e&api_key=theirs", &[], body).await;
        assert_eq!((reply.status, reply.header("x-theirs")), (207, "kept"), "{method}");
        assert_eq!(reply.text(), if method == "HEAD" { "" } else { "\u{1}raw\n" }, "{method}");
        let seen = upstream.request(number).await;
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, "/base/deep/er?a=1&b=%7e&api_key=theirs"));
        assert_eq!(seen.text(), body, "{method}");
        number += 1;
    }
    for (path, target) in [
        ("/mount", "/base"),
        ("/mount/", "/base/"),
        ("/mount?x", "/base?x"),
        ("/mount/a%2Fb/%C3%A9", "/base/a%2Fb/%C3%A9"),
    ] {
        assert_eq!(send(&client, Method::GET, path, &[], "").await.status, 200, "{path}");
        assert_eq!(upstream.request(number).await.target, target, "{path}");
        number += 1;
    }
}

#[tokio::test]
async fn a_callers_own_credentials_pass_on_a_route_for_anyone() {
    let (system, upstream) = system(|route| route).await;
    let own = [
        ("authorization", "Bearer their-own"),
        ("x-api-key", "their-own-2"),
        ("api-key", "their-own-3"),
        ("cookie", "session=4"),
        ("openai-organization", "org"),
        ("x-stainless-lang", "js"),
        ("user-agent", "theirs/1"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
    ];
    assert_eq!(send(&system.client().without_key(), Method::POST, "/mount/x", &own, "b").await.status, 200);
    let kept: Vec<_> = own[..7].iter().map(|(name, value)| (*name, Some(*value))).collect();
    let seen = upstream.only();
    headers_of(&seen, &kept);
    headers_of(&seen, &[("x-hop", None), ("proxy-authorization", None), ("te", None)]);
    headers_of(&seen, &[("host", Some(upstream.addr().to_string().as_str()))]);
}

#[tokio::test]
async fn a_route_that_asks_for_a_key_keeps_it_to_itself() {
    let (system, upstream) = system(|route| Route { client_key_required: true, ..route }).await;
    let client = system.client();
    let refused = send(&client.without_key(), Method::GET, "/mount/x", &[], "").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "missing_api_key"));
    let refused = send(&client.with_key("sb_wrong"), Method::GET, "/mount/x", &[], "").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "invalid_api_key"));
    assert!(upstream.seen().is_empty());
    let path = format!("/mount/x?a=1&api_key={CLIENT_KEY}");
    let reply = send(&client, Method::GET, &path, &[("x-api-key", CLIENT_KEY), ("cookie", "theirs")], "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = upstream.only();
    assert!(!format!("{seen:?}").contains(CLIENT_KEY), "{seen:?}");
    assert_eq!(seen.target, "/base/x?a=1");
    headers_of(&seen, &[("authorization", None), ("x-api-key", None), ("cookie", Some("theirs"))]);
}

#[tokio::test]
async fn configured_headers_replace_or_give_way_and_drops_are_dropped() {
    let (system, upstream) = system(|route| Route {
        headers: [
            ("X-Replaced".to_owned(), header("ours", Some(true))),
            ("x-given-way".to_owned(), header("ours", Some(false))),
            ("x-by-route".to_owned(), header("ours", None)),
            ("authorization".to_owned(), header("Bearer ours", Some(true))),
        ]
        .into(),
        overwrite_headers: Some(true),
        drop_headers: vec!["X-Dropped".to_owned()],
        ..route
    })
    .await;
    let dropping = Settings { drop_headers: vec!["x-dropped-by-all".to_owned()], ..Settings::default() };
    system.apply(Draft::new().settings(dropping)).await;
    let theirs = ["x-replaced", "x-given-way", "x-by-route", "x-dropped", "x-dropped-by-all", "authorization"]
        .map(|name| (name, "theirs"));
    let client = system.client().without_key();
    assert_eq!(send(&client, Method::GET, "/mount", &theirs, "").await.status, 200);
    headers_of(
        &upstream.request(0).await,
        &[
            ("x-replaced", Some("ours")),
            ("x-given-way", Some("theirs")),
            ("x-by-route", Some("ours")),
            ("x-dropped", None),
            ("x-dropped-by-all", None),
            ("authorization", Some("Bearer ours")),
        ],
    );
    assert_eq!(send(&client, Method::GET, "/mount", &[], "").await.status, 200);
    headers_of(&upstream.request(1).await, &[("x-given-way", Some("ours")), ("x-by-route", Some("ours"))]);
}

#[tokio::test]
async fn redirects_and_refusals_of_the_target_are_the_callers_to_see() {
    let (system, upstream) = system(|route| route).await;
    let client = system.client().without_key();
    for status in [301, 302, 304, 307, 308, 401, 403, 404, 418, 429, 500, 503] {
        let answer =
            Answer::status(status).header("location", "http://127.0.0.1:9/elsewhere").header("set-cookie", "theirs=1");
        let answer = answer.header("www-authenticate", "Basic");
        upstream.answer(if status == 304 { answer.bodiless() } else { answer.body("theirs") });
        let reply = send(&client, Method::GET, "/mount/x", &[], "").await;
        assert_eq!((reply.status, reply.header("location")), (status, "http://127.0.0.1:9/elsewhere"));
        assert_eq!((reply.header("set-cookie"), reply.header("www-authenticate")), ("theirs=1", "Basic"));
        assert_eq!(reply.text(), if status == 304 { "" } else { "theirs" });
    }
    assert_eq!(upstream.seen().len(), 12, "nothing is followed or tried again");
}

#[tokio::test]
async fn what_is_not_there_or_not_reached_is_told_in_json() {
    let (system, upstream, refusing) = (System::start().await, Upstream::start().await, Refusing::start());
    let target = format!("http://{}", upstream.addr());
    let draft = Draft::new()
        .route(route("gone", &refusing.url()))
        .route(Route { timeout: millis(50), ..route("slow", &target) })
        .route(Route { disabled: true, ..route("off", &target) })
        .route(Route { segment: "Named.Otherwise_1~".to_owned(), ..route("id", &target) });
    system.apply(draft).await;
    let client = system.client().without_key();
    upstream.answer(Answer::hang());
    for (path, status, code) in [
        ("/gone/x", 502, "upstream_error"),
        ("/slow/x", 504, "upstream_timeout"),
        ("/off/x", 404, "unknown_url"),
        ("/never/x", 404, "unknown_url"),
        ("/id/x", 404, "unknown_url"),
        ("/gonex", 404, "unknown_url"),
    ] {
        let reply = send(&client, Method::GET, path, &[], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
    }
    assert_eq!(send(&client, Method::GET, "/Named.Otherwise_1%7e/x", &[], "").await.status, 200);
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let (system, upstream) = system(|route| route).await;
    let live = upstream.answer_live();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Vec<u8>, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver));
    let request = system.client().without_key().request(Method::POST, "/mount/up").body(body);
    let sending = tokio::spawn(request.send());
    for piece in ["one ", "two ", "three"] {
        sender.send(Ok(piece.into())).unwrap();
    }
    drop(sender);
    assert_eq!(upstream.request(0).await.text(), "one two three");
    live.write_raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut response = sending.await.unwrap().unwrap();
    for piece in ["x", "yy", "zzz"] {
        live.write(piece);
        assert_eq!(response.chunk().await.unwrap().unwrap(), piece);
    }
    live.end();
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_target_that_breaks_off_is_seen_to() {
    let (system, upstream) = system(|route| route).await;
    let live = upstream.answer_live();
    live.write_raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
    live.cut();
    let response = system.client().request(Method::GET, "/mount").send().await.unwrap();
    assert!(response.bytes().await.is_err(), "a short body must not look whole");
    system.data_plane().recorded("broken", 1).await;
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_target_along() {
    let (system, upstream) = system(|route| route).await;
    let live = upstream.answer_live();
    live.write_raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    live.write("x");
    let mut response = system.client().request(Method::GET, "/mount").send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "x");
    drop(response);
    upstream.abandoned(0, std::time::Duration::from_secs(1)).await;
    system.data_plane().recorded("abandoned", 1).await;
}

#[tokio::test]
async fn a_forward_proxy_is_the_routes_own_or_the_global_one_or_none() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let (global, own, socks) = (ForwardProxy::http().await, ForwardProxy::http().await, ForwardProxy::socks5().await);
    let target = format!("http://{}", upstream.addr());
    let way = |url: &str, username: &str, password: &str| {
        Some(Way { url: url.to_owned(), username: username.to_owned(), password: password.to_owned() })
    };
    let draft = Draft::new()
        .settings(Settings { forward_proxy: way(global.url(), "", ""), ..Settings::default() })
        .route(route("global", &target))
        .route(Route { forward_proxy: way("", "", ""), ..route("direct", &target) })
        .route(Route { forward_proxy: way(own.url(), "user", "p:ss"), ..route("own", &target) })
        .route(Route { forward_proxy: way(socks.url(), "user", "p:ss"), ..route("socks", &target) });
    system.apply(draft).await;
    let client = system.client().without_key();
    for segment in ["global", "direct", "own", "socks"] {
        let reply = send(&client, Method::POST, &format!("/{segment}/x?a=b"), &[], "body").await;
        assert_eq!(reply.status, 200, "{segment}: {}", reply.text());
    }
    let (addr, told) = (upstream.addr(), |proxy: &ForwardProxy| proxy.told());
    let through = format!("POST http://{addr}/x?a=b HTTP/1.1");
    let said = |what: &str, login: &str| vec![Told { what: what.to_owned(), login: login.to_owned() }];
    assert_eq!(told(&global), said(&through, ""));
    assert_eq!(told(&own), said(&through, "Basic dXNlcjpwOnNz"));
    assert_eq!(told(&socks), said(&format!("CONNECT {addr}"), "user:p:ss"));
    for seen in upstream.seen() {
        assert_eq!((seen.target.as_str(), seen.text()), ("/x?a=b", "body"));
    }
    assert_eq!(upstream.seen().len(), 4);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_an_error_and_no_reason_to_go_directly() {
    let (system, upstream, refusing) = (System::start().await, Upstream::start().await, Refusing::start());
    let gone = Some(Way { url: format!("http://{}", refusing.addr()), ..Way::default() });
    let target = format!("http://{}", upstream.addr());
    system.apply(Draft::new().route(Route { forward_proxy: gone, ..route("mount", &target) })).await;
    let reply = send(&system.client().without_key(), Method::GET, "/mount/x", &[], "").await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_error"));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn routes_are_below_a_base_path_of_any_depth() {
    let (system, upstream) = system(|route| route).await;
    for base in ["/byok", "/api/v1/proxy", "/a/b/c/d/e"] {
        system.apply(Draft::new().settings(Settings { base_path: base.to_owned(), ..Settings::default() })).await;
        let client = system.client().without_key();
        assert_eq!(send(&client, Method::GET, &format!("{base}/mount/x"), &[], "").await.status, 200, "{base}");
        assert_eq!(send(&client, Method::GET, &format!("{base}x/mount/x"), &[], "").await.status, 404, "{base}");
        assert_eq!(client.get(&format!("{base}/")).await.json()["base_path"], base);
    }
    assert!(upstream.seen().iter().all(|seen| seen.target == "/base/x"), "{:?}", upstream.seen());
}

#[tokio::test]
async fn what_a_target_breaks_is_told_before_its_answer_has_begun_and_never_dressed_up() {
    let (system, upstream) = system(|route| route).await;
    let client = system.client().without_key();
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x-endless: 1234567890\r\n".repeat(100_000));
    for (name, bytes) in [
        ("garbage", "\u{1}\u{2} no HTTP at all\r\n\r\n".to_owned()),
        ("endless headers", endless),
        ("one endless header", format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(2_000_000))),
        ("a status that is none", "HTTP/1.1 2000 OK\r\n\r\n".to_owned()),
        (
            "an unasked upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
        ),
        ("nothing", String::new()),
    ] {
        upstream.answer(Answer::raw(bytes));
        let reply = send(&client, Method::POST, "/mount/x", &[], "body").await;
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_error"), "{name}");
        assert!(!reply.header("x-request-id").is_empty(), "{name}");
    }
    assert_eq!(upstream.seen().len(), 6, "nothing is tried again");
}

#[tokio::test]
async fn informational_answers_are_skipped_and_surplus_bytes_answer_nobody() {
    let (system, upstream) = system(|route| route).await;
    let client = system.client().without_key();
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmine";
    let surplus = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";
    upstream.answer(Answer::raw(format!("{early}{whole}{surplus}")));
    let first = send(&client, Method::GET, "/mount/x", &[], "").await;
    assert_eq!((first.status, first.text(), first.header("link")), (200, "mine", ""));
    upstream.answer(Answer::status(200).body("next"));
    let next = send(&client, Method::GET, "/mount/x", &[], "").await;
    assert_eq!((next.status, next.text()), (200, "next"));
}

#[tokio::test]
async fn a_target_that_hangs_up_after_each_answer_costs_no_request() {
    let (system, upstream) = system(|route| route).await;
    let client = system.client().without_key();
    for number in 0..20 {
        upstream.answer(Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
        let reply = send(&client, Method::GET, "/mount/x", &[], "").await;
        assert_eq!((reply.status, reply.text()), (200, "ok"), "request {number}");
    }
}

#[tokio::test]
async fn the_time_out_is_the_targets_and_not_the_clients() {
    let (system, upstream) = system(|route| Route { timeout: millis(400), ..route }).await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Vec<u8>, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver));
    let sending = tokio::spawn(system.client().without_key().request(Method::POST, "/mount/up").body(body).send());
    let mut pieces = tokio::time::interval(std::time::Duration::from_millis(150));
    for _ in 0..6 {
        pieces.tick().await;
        sender.send(Ok(b"piece ".to_vec())).unwrap();
    }
    drop(sender);
    assert_eq!(sending.await.unwrap().unwrap().status(), 200, "it took more than twice the time-out to send");
    assert_eq!(upstream.only().body.len(), 36);
}

#[tokio::test]
async fn the_log_tells_which_routes_there_are_and_the_switch_silences_exchanges() {
    let (system, upstream) = system(|route| route).await;
    let target = format!("http://{}/base", upstream.addr());
    let told = eventually("the table of routes", async || logs::holding(&target).into_iter().next_back()).await;
    assert_eq!(
        (&told["path"], &told["to"], &told["message"]),
        (&"/mount/".into(), &target.as_str().into(), &"route".into())
    );
    let client = system.client().without_key();
    let logged = send(&client, Method::GET, "/mount/x", &[], "").await;
    let id = logged.header("x-request-id").to_owned();
    eventually("the exchange's line", async || logs::access(&id)).await;
    system.apply(Draft::new().settings(Settings { request_log: Some(false), ..Settings::default() })).await;
    let silent = send(&client, Method::GET, "/mount/x", &[], "").await;
    system.data_plane().recorded("completed", 2).await;
    assert!(logs::access(silent.header("x-request-id")).is_none());
}
