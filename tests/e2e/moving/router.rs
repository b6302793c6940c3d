//! router: many mounts, header policy, forward proxies.

use http::Method;
use signalbox_control_plane::import::Format;
use signalbox_proto::{
    admin::v1::{GetRouteRequest, GetSettingsRequest, Route, route::Destination},
    config::v1::Universal,
};
use signalbox_tests::{Answer, Client, Draft, Reply, System, Upstream, upstream::Seen};

use super::moved;

const FILE: &str = include_str!("../../predecessors/router.config.json");

/// The gateway and the targets behind the ports of the file; the last one is its forward proxy.
struct Router {
    system: System,
    openai: Upstream,
    anthropic: Upstream,
    ollama: Upstream,
    proxy: Upstream,
}

impl Router {
    async fn start() -> Self {
        let (openai, anthropic) = (Upstream::start().await, Upstream::start().await);
        let (ollama, proxy) = (Upstream::start().await, Upstream::start().await);
        let ports = [(9101, &openai), (9102, &anthropic), (9104, &ollama), (9190, &proxy)];
        let system = moved(Format::Router, FILE, &ports).await;
        Self { system, openai, anthropic, ollama, proxy }
    }

    fn client(&self) -> Client {
        self.system.client().without_key()
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = self.client().request(method, path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Reply::to(request.body("{\"any\": \"body\"}")).await
    }
}

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.header(name).unwrap_or_default()
}

#[tokio::test]
async fn the_first_segment_below_the_base_path_picks_the_route() {
    let router = Router::start().await;
    for method in [Method::POST, Method::GET, Method::DELETE, Method::PATCH] {
        let reply = router.send(method.clone(), "/api/llm/openai/v1/chat/completions?a=b%20c", &[]).await;
        assert_eq!(reply.status, 200, "{method}: {}", reply.text());
    }
    for (seen, method) in router.openai.seen().iter().zip(["POST", "GET", "DELETE", "PATCH"]) {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, "/v1/chat/completions?a=b%20c"));
        assert_eq!(seen.text(), "{\"any\": \"body\"}");
    }
    router.ollama.answer(Answer::stream(["data: one\n\n", "data: two\n\n"]));
    let reply = router.send(Method::POST, "/api/llm/ollama/api/chat", &[]).await;
    assert_eq!(reply.text(), "data: one\n\ndata: two\n\n");
}

#[tokio::test]
async fn a_route_that_is_off_or_unknown_is_not_found_and_one_that_is_gone_is_a_bad_gateway() {
    let Router { system, openai: _, .. } = Router::start().await;
    let gone = signalbox_tests::upstream::Refusing::start();
    system.apply(Draft::new().route(signalbox_tests::draft::route("gone", &gone.url()))).await;
    let client = system.client().without_key();
    for (path, status) in [("/api/llm/off/x", 404), ("/api/llm/unknown/x", 404), ("/api/llm/gone/x", 502)] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(!reply.code().is_empty(), "{path} is answered with a JSON error");
    }
}

#[tokio::test]
async fn a_clients_header_wins_unless_the_route_overwrites() {
    let router = Router::start().await;
    let own = [("authorization", "Bearer own"), ("x-api-key", "own"), ("anthropic-version", "own")];
    for headers in [&own[..], &[]] {
        for path in ["/api/llm/openai/x", "/api/llm/anthropic/x"] {
            assert_eq!(router.send(Method::POST, path, headers).await.status, 200);
        }
    }
    let openai: Vec<_> = router.openai.seen().iter().map(|seen| header(seen, "authorization").to_owned()).collect();
    assert_eq!(openai, ["Bearer own", "Bearer sk-openai-xxxx"]);
    for seen in router.anthropic.seen() {
        assert_eq!((header(&seen, "x-api-key"), header(&seen, "anthropic-version")), ("sk-ant-xxxx", "2023-06-01"));
    }
}

#[tokio::test]
async fn named_headers_are_dropped_in_whatever_letters() {
    let router = Router::start().await;
    let headers =
        [("X-Forwarded-For", "1.2.3.4"), ("x-REAL-ip", "1.2.3.4"), ("CF-Connecting-IP", "1.2.3.4"), ("x-kept", "1")];
    assert_eq!(router.send(Method::POST, "/api/llm/byok/x", &headers).await.status, 200);
    let seen = router.openai.only();
    for name in ["x-forwarded-for", "x-real-ip", "cf-connecting-ip"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-kept"), Some("1"));
}

#[tokio::test]
async fn a_route_without_headers_passes_the_callers_own_key_on() {
    let router = Router::start().await;
    assert_eq!(router.send(Method::POST, "/api/llm/byok/v1/x", &[("authorization", "Bearer own")]).await.status, 200);
    assert_eq!(router.openai.only().header("authorization"), Some("Bearer own"));
}

#[tokio::test]
async fn a_routes_proxy_is_gone_through_and_an_empty_one_is_not() {
    let router = Router::start().await;
    assert_eq!(router.send(Method::POST, "/api/llm/gemini/v1/models", &[]).await.status, 200);
    let seen = router.proxy.only();
    assert_eq!(seen.target, "http://127.0.0.1:9103/v1/models");
    assert_eq!(seen.header("x-goog-api-key"), Some("gemini-key"));
    assert_eq!(router.send(Method::POST, "/api/llm/ollama/x", &[]).await.status, 200);
    assert_eq!((router.proxy.seen().len(), router.ollama.seen().len()), (1, 1));
}

#[tokio::test]
async fn the_global_proxy_is_that_of_routes_without_one() {
    let (proxy, direct) = (Upstream::start().await, Upstream::start().await);
    let file = FILE.replace("\"global_proxy\": null", "\"global_proxy\": \"http://127.0.0.1:9191\"");
    let system = moved(Format::Router, &file, &[(9191, &proxy), (9104, &direct)]).await;
    let client = system.client().without_key();
    assert_eq!(client.get("/api/llm/byok/x").await.status, 200);
    assert_eq!(client.get("/api/llm/ollama/x").await.status, 200);
    assert_eq!(proxy.only().target, "http://127.0.0.1:9101/x");
    assert_eq!(direct.only().target, "/x");
}

#[tokio::test]
async fn a_universal_route_goes_where_its_caller_says_if_that_may_be_called() {
    let router = Router::start().await;
    let path = format!("/api/llm/proxy/http://{}/v1/x?q=1", router.openai.addr());
    let refused = router.send(Method::POST, &path, &[]).await;
    assert_eq!(refused.status, 403, "loopback is refused until it is allowed: {}", refused.text());
    assert!(router.openai.seen().is_empty());
    let name = universal(&router.system).await.name;
    let allowed = Universal { allowed_ranges: vec!["127.0.0.0/8".to_owned()] };
    let route = Route { destination: Some(Destination::Universal(allowed)), ..universal(&router.system).await };
    assert_eq!(route.name, name);
    router.system.apply(Draft::new().route(route)).await;
    let reply = router.send(Method::POST, &path, &[("authorization", "Bearer own")]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = router.openai.only();
    assert_eq!((seen.target.as_str(), seen.header("authorization")), ("/v1/x?q=1", Some("Bearer own")));
}

async fn universal(system: &System) -> Route {
    let request = GetRouteRequest { name: "routes/proxy".to_owned() };
    system.admin().routes().get_route(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_redirect_of_the_target_is_passed_on_and_not_followed() {
    let router = Router::start().await;
    router.openai.answer(Answer::status(302).header("location", "http://127.0.0.1:9/elsewhere").body(""));
    let reply = router.send(Method::GET, "/api/llm/byok/x", &[]).await;
    assert_eq!((reply.status, reply.header("location")), (302, "http://127.0.0.1:9/elsewhere"));
    assert_eq!(router.openai.seen().len(), 1);
}

#[tokio::test]
async fn it_says_where_it_is_and_waits_as_long_as_before() {
    let router = Router::start().await;
    let about = router.client().get("/").await.json();
    assert_eq!(about["base_path"], "/api/llm");
    assert!(about["message"].is_string(), "{about}");
    let settings =
        router.system.admin().settings().get_settings(GetSettingsRequest::default()).await.unwrap().into_inner();
    assert_eq!(settings.request_log, Some(false), "`log_requests` is off in the file");
    let request = GetRouteRequest { name: "routes/openai".to_owned() };
    let route = router.system.admin().routes().get_route(request).await.unwrap().into_inner();
    assert!(route.timeout.is_none_or(|timeout| timeout.seconds == 180), "180 s is the default, too");
}
