//! The gateway's own pages.

use super::*;

#[tokio::test]
async fn nothing_is_ready_before_there_is_a_configuration_but_everything_answers() {
    let door = unconfigured(Limits::default());
    assert_eq!(told(&door, get("/healthz")).await.status, StatusCode::OK);
    assert_eq!(told(&door, get("/readyz")).await.error(), (503, "gateway_not_ready".to_owned()));
    assert_eq!(told(&door, get("/v1/models")).await.error(), (503, "gateway_not_ready".to_owned()));
    let health = told(&door, get("/health")).await.json();
    assert_eq!((&health["status"], &health["revision"]), (&"starting".into(), &Value::Null));
    assert_eq!(told(&door, get("/")).await.json()["base_path"], "");
}

#[tokio::test]
async fn readiness_ends_where_draining_begins() {
    let door = Draft::default().door(Limits::default());
    assert_eq!(told(&door, get("/readyz")).await.status, StatusCode::OK);
    door.vitals.draining.cancel();
    assert_eq!(told(&door, get("/readyz")).await.error(), (503, "gateway_not_ready".to_owned()));
    assert_eq!(told(&door, get("/healthz")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_reports_whom_it_can_reach_and_asks_once() {
    let upstream = Upstream::play([json("200 OK", r#"{"data":[]}"#)]).await;
    let settings = config::Settings { keyless_models: true, ..config::Settings::default() };
    let door = Draft::default().provider(upstream.address).settings(&settings).door(Limits::default());
    let (first, second) = tokio::join!(told(&door, get("/health")), told(&door, get("/health")));
    for report in [first.json(), second.json()] {
        assert_eq!(report["status"], "healthy");
        assert_eq!(report["providers"], serde_json::json!({"main": true}));
        assert_eq!((&report["healthy_providers"], &report["total_providers"]), (&1.into(), &1.into()));
        assert_eq!(report["models"], serde_json::json!(["main/m"]));
        assert_eq!(report["statistics"]["total_requests"], 0, "the gateway's own pages are not counted");
        assert!(report["time"].as_str().unwrap().ends_with('Z') && report["timestamp"].is_i64());
    }
    assert_eq!(upstream.seen().len(), 1);
    assert!(upstream.seen()[0].head.starts_with("GET /v1/models "));
}

#[tokio::test]
async fn a_probe_whose_asker_left_is_made_by_the_next() {
    let upstream = Upstream::play([vec![Step::Hang], json("200 OK", r#"{"data":[]}"#)]).await;
    let door = Draft::default().provider(upstream.address).door(Limits::default());
    tokio::select! {
        _ = told(&door, get("/health")) => unreachable!("the upstream hangs"),
        () = upstream.has_seen(1) => {}
    }
    assert_eq!(told(&door, get("/health")).await.json()["status"], "healthy");
}

#[tokio::test]
async fn health_says_who_cannot_be_reached_and_names_no_models_to_strangers() {
    let door = Draft::default().provider(Upstream::nowhere().await).door(Limits::default());
    let report = told(&door, get("/health")).await.json();
    assert_eq!((&report["status"], &report["providers"]["main"]), (&"unhealthy".into(), &false.into()));
    assert_eq!(report.get("models"), None);
}

#[tokio::test]
async fn metrics_come_as_text_or_as_json() {
    let door = Draft::default().door(Limits::default());
    assert_eq!(told(&door, get("/v1/nothing")).await.status, StatusCode::NOT_FOUND);
    let text = told(&door, get("/metrics")).await;
    assert!(text.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    for line in [
        "signalbox_config_revision 7",
        "signalbox_ready 1",
        "signalbox_requests_in_flight 0",
        r#"signalbox_requests_total{endpoint="",upstream="",code="404",outcome="rejected"} 1"#,
        r#"signalbox_request_duration_seconds_count{endpoint="",upstream=""} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    let mut accepting = get("/metrics");
    accepting.headers_mut().insert("accept", "application/json".parse().unwrap());
    for request in [accepting, get("/metrics?format=json")] {
        let counts = told(&door, request).await.json();
        assert_eq!((&counts["total_requests"], &counts["error_count"]), (&1.into(), &0.into()));
        for key in ["active_requests", "uptime_seconds", "goroutines", "cpu_cores", "model_redirects"] {
            assert!(counts[key].is_u64(), "{key}");
        }
    }
}

#[tokio::test]
async fn pages_are_only_read() {
    let door = Draft::default().door(Limits::default());
    let refused = told(&door, request(Method::POST, "/healthz", untouchable())).await;
    assert_eq!(refused.error(), (405, "method_not_allowed".to_owned()));
    assert_eq!(refused.headers["allow"], "GET, HEAD");
}
