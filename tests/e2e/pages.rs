//! The gateway's own pages, and the list of models.

use http::Method;
use serde_json::{Value, json};
use signalbox_control_plane::certificate::{self, Outcome};
use signalbox_data_plane::Tls;
use signalbox_proto::admin::v1::{ClientKey, Provider, Settings};
use signalbox_tests::{
    Draft, Reply, System, Upstream,
    draft::{client_key, provider},
    upstream::Refusing,
};

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!((reply.status, reply.json().get("object")), (200, Some(&"list".into())), "{}", reply.text());
    let list = reply.json();
    let models = list.get("data").and_then(Value::as_array).unwrap();
    for model in models {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
    }
    models.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn models_are_those_that_the_key_may_use() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let listing = Provider {
        models: ["small", "large", "org/deep:4b"].map(str::to_owned).to_vec(),
        ..provider("main", &upstream.url())
    };
    let narrow =
        ClientKey { allowed_models: vec!["*small".to_owned(), "fast".to_owned()], ..client_key("narrow", "sb_narrow") };
    let draft = Draft::new().provider(listing).provider(provider("open", &upstream.url())).client_key(narrow);
    system
        .apply(draft.redirect("fast", "fast", &[("main", "small")]).redirect("any", "gpt-*", &[("main", "large")]))
        .await;
    let client = system.client();
    assert_eq!(ids(&client.get("/v1/models").await), ["fast", "main/large", "main/org/deep:4b", "main/small"]);
    assert_eq!(client.get("/v1/models").await.body, client.get("/v1/models").await.body, "the list is stable");
    let narrow = client.with_key("sb_narrow");
    assert_eq!(ids(&narrow.get("/v1/models").await), ["fast", "main/small"]);
    for (path, id) in [
        ("main/small", "main/small"),
        ("main%2Fsmall", "main/small"),
        ("main/org/deep:4b", "main/org/deep:4b"),
        ("main%2Forg%2fdeep%3A4b", "main/org/deep:4b"),
        ("fast", "fast"),
        ("open/anything", "open/anything"),
    ] {
        let reply = client.get(&format!("/v1/models/{path}")).await;
        assert_eq!((reply.status, reply.json().get("id")), (200, Some(&id.into())), "{path}");
    }
    for (client, id) in
        [(&client, "main/none"), (&client, "*"), (&narrow, "main/large"), (&client.without_key(), "fast")]
    {
        let reply = client.get(&format!("/v1/models/{id}")).await;
        assert!(reply.code() == "model_not_found" || reply.code() == "missing_api_key", "{id}: {}", reply.text());
    }
    assert_eq!(client.without_key().get("/v1/models").await.code(), "missing_api_key");
    assert_eq!(client.with_key("sb_wrong").get("/v1/models").await.code(), "invalid_api_key");
    assert!(upstream.seen().is_empty(), "listing costs nothing upstream");
    system.apply(Draft::new().settings(Settings { keyless_models: true, ..Settings::default() })).await;
    assert_eq!(ids(&client.without_key().get("/v1/models").await).len(), 4);
    assert_eq!(client.without_key().chat("fast").await.code(), "missing_api_key", "only the list is for everybody");
}

#[tokio::test]
async fn the_pages_need_no_key_and_tell_no_secrets() {
    let (system, upstream, refusing) = (System::start().await, Upstream::start().await, Refusing::start());
    let revision = system.apply(Draft::new().upstream("main", &upstream.url()).upstream("away", &refusing.url())).await;
    let client = system.client().without_key();
    let about = client.get("/").await;
    assert_eq!(about.status, 200);
    assert!(about.text().contains("/v1/chat/completions"), "{}", about.text());
    for (path, status) in [("/healthz", "alive"), ("/readyz", "ready")] {
        assert_eq!(client.get(path).await.json(), json!({ "status": status }));
    }
    let health = client.get("/health").await.json();
    assert_eq!(health["revision"], revision);
    assert_eq!(health["providers"], json!({"away": false, "main": true}));
    assert_eq!((health["status"].as_str(), &health["healthy_providers"]), (Some("degraded"), &json!(1)));
    for path in ["/", "/health", "/healthz", "/readyz", "/metrics"] {
        let reply = Reply::to(client.request(Method::HEAD, path)).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "HEAD {path}");
        let reply = Reply::to(client.request(Method::POST, path)).await;
        assert_eq!(
            (reply.status, reply.code().as_str(), reply.header("allow")),
            (405, "method_not_allowed", "GET, HEAD"),
            "{path}"
        );
        let text = client.get(path).await;
        assert!(
            !text.text().contains("sk-") && !text.text().contains(&upstream.addr().to_string()),
            "{path}: {}",
            text.text()
        );
    }
    let probes = upstream.seen();
    assert!(
        probes.iter().all(|seen| seen.method == "GET" && seen.target == "/v1/models"),
        "only the free probe: {probes:?}"
    );
}

#[tokio::test]
async fn metrics_come_in_both_forms() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let revision = system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let client = system.client();
    assert_eq!(client.chat("main/m").await.status, 200);
    assert_eq!(client.chat("nobody/m").await.status, 404);
    assert!(!client.chat_stream("main/m").await.rest().await.is_empty());
    let data_plane = system.data_plane();
    data_plane.recorded("completed", 2).await;
    data_plane.recorded("rejected", 1).await;
    let labels = ["endpoint=\"/chat/completions\"", "upstream=\"main\"", "code=\"200\"", "outcome=\"completed\""];
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 0.1, "{found}, not {expected}");
    close(data_plane.metric("signalbox_requests_total", &labels).await, 2.0);
    close(data_plane.metric("signalbox_attempts_total", &["upstream=\"main\""]).await, 2.0);
    close(data_plane.metric("signalbox_time_to_first_event_seconds_count", &[]).await, 1.0);
    close(data_plane.metric("signalbox_ready", &[]).await, 1.0);
    #[expect(clippy::cast_precision_loss, reason = "revisions are small here")]
    close(data_plane.metric("signalbox_config_revision", &[]).await, revision as f64);
    let text = client.get("/metrics").await;
    assert!(text.header("content-type").starts_with("text/plain; version=0.0.4"), "{:?}", text.headers);
    assert!(text.text().contains("# TYPE signalbox_requests_total counter") && !text.text().contains("main/m"));
    let json = Reply::to(client.request(Method::GET, "/metrics").header("accept", "application/json")).await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!((&json.json()["total_requests"], &json.json()["active_requests"]), (&json!(3), &json!(0)));
}

#[tokio::test]
async fn everything_is_below_the_base_path_too() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let settings = Settings { base_path: "/api/llm".to_owned(), ..Settings::default() };
    let mount = signalbox_tests::draft::route("mount", &format!("http://{}", upstream.addr()));
    system.apply(Draft::new().upstream("main", &upstream.url()).route(mount).settings(settings)).await;
    let client = system.client();
    for base in ["", "/api/llm"] {
        let body = signalbox_tests::chat("main/m").to_string();
        assert_eq!(client.post(&format!("{base}/v1/chat/completions"), body).await.status, 200, "{base}");
        for path in ["/readyz", "/v1/models", "/mount/x", "/"] {
            assert_eq!(client.get(&format!("{base}{path}")).await.status, 200, "{base}{path}");
        }
    }
    assert_eq!(client.get("/api/llmx/v1/models").await.status, 404);
}

#[tokio::test]
async fn clients_may_be_served_over_tls_by_either_version_of_http() {
    let (mut system, _upstream) = (System::start().await, Upstream::start().await);
    let data_plane = system.data_planes.first_mut().unwrap();
    let hosts = [data_plane.addr().ip().to_string()];
    let Outcome::Made(files) = certificate::make(&system.dir().join("tls"), &hosts).unwrap() else {
        panic!("the folder was not there")
    };
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.kill().await;
    data_plane.tls = Some(Tls { cert: files.cert, key: files.key });
    data_plane.start().await;
    let authority = reqwest::Certificate::from_pem(&std::fs::read(files.ca).unwrap()).unwrap();
    let client = || reqwest::Client::builder().no_proxy().tls_certs_only([authority.clone()]);
    let url = format!("https://{}/healthz", data_plane.addr());
    for (client, version) in [(client(), http::Version::HTTP_2), (client().http1_only(), http::Version::HTTP_11)] {
        let response = client.build().unwrap().get(&url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
    let mut plain = data_plane.raw().await;
    plain.send("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(plain.answer().await.is_none(), "nothing is said in the clear");
}
