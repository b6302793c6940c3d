//! The gateway's own pages. They need no key, so they name nothing that a key would be asked for.

use std::sync::{Arc, atomic::Ordering};

use http::{HeaderMap, Method, header::ACCEPT, request::Parts};
use serde::Serialize;
use signalbox_routing::Endpoint;
use url::form_urlencoded;

use crate::{
    docs,
    errors::Error,
    health,
    http::Door,
    live::Snapshot,
    metrics::Gauges,
    path::Page,
    reply::{self, Reply},
};

/// The media type of the Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/`
#[derive(Serialize)]
struct About<'a> {
    message: &'static str,
    version: &'static str,
    base_path: &'a str,
    endpoints: Vec<String>,
    docs: String,
    health: String,
}

/// `/metrics` as JSON.
#[derive(Serialize)]
struct Counts {
    active_requests: u32,
    total_requests: u64,
    error_count: u64,
    uptime_seconds: u64,
    /// Running tasks: the name comes from a gateway whose tasks are called so.
    goroutines: usize,
    cpu_cores: usize,
    model_redirects: usize,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// Shows a page.
///
/// # Errors
/// Where the method is not for reading, or the process is not ready and that is the question.
pub(crate) async fn show(
    door: &Door,
    page: Page<'_>,
    head: &Parts,
    snapshot: Option<&Arc<Snapshot>>,
) -> Result<Reply, Error> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Error::Method { allow: "GET, HEAD" });
    }
    let base_path = snapshot.map_or("", |snapshot| &snapshot.runtime.settings().base_path);
    match page {
        Page::About => Ok(about(base_path)),
        Page::Health => Ok(reply::json(&health::report(door, head, snapshot).await)),
        Page::Alive => Ok(reply::json(&Status { status: "alive" })),
        Page::Ready if door.is_ready(snapshot) => Ok(reply::json(&Status { status: "ready" })),
        Page::Ready if snapshot.is_none() => Err(Error::NotReady),
        Page::Ready => Err(Error::Draining),
        Page::Metrics if wants_json(&head.headers, head.uri.query()) => Ok(reply::json(&counts(door, snapshot))),
        Page::Metrics => Ok(reply::typed(PROMETHEUS, door.metrics.render(gauges(door, snapshot)))),
        Page::Docs(file) => docs::show(file, base_path).ok_or(Error::Nowhere),
        Page::OpenApi => Ok(docs::openapi(base_path)),
    }
}

fn about(base_path: &str) -> Reply {
    let api = Endpoint::ALL.iter().map(|endpoint| endpoint.path()).chain(["/models", "/models/{model}", "/reload"]);
    let pages = ["/health", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"].into_iter();
    reply::json(&About {
        message: "Signalbox, an OpenAI-compatible gateway",
        version: env!("CARGO_PKG_VERSION"),
        base_path,
        endpoints: api
            .map(|path| format!("{base_path}/v1{path}"))
            .chain(pages.map(|path| format!("{base_path}{path}")))
            .collect(),
        docs: format!("{base_path}/docs"),
        health: format!("{base_path}/health"),
    })
}

fn wants_json(headers: &HeaderMap, query: Option<&str>) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    accepted.into_iter().any(|types| types.contains("application/json"))
        || asked.any(|(name, value)| name == "format" && value == "json")
}

fn gauges(door: &Door, snapshot: Option<&Arc<Snapshot>>) -> Gauges {
    let (ejected, ejections) = snapshot.map_or((0, 0), |snapshot| snapshot.upstreams.ejection_counts());
    Gauges {
        in_flight: door.slots.taken(),
        connections: door.connections.count(),
        ejected,
        ejections,
        revision: snapshot.map_or(0, |snapshot| snapshot.position.revision.get()),
        ready: door.is_ready(snapshot),
        connected: door.vitals.connected.load(Ordering::Relaxed),
    }
}

fn counts(door: &Door, snapshot: Option<&Arc<Snapshot>>) -> Counts {
    let (total_requests, error_count) = door.metrics.totals();
    Counts {
        active_requests: door.slots.taken(),
        total_requests,
        error_count,
        uptime_seconds: door.metrics.uptime().as_secs(),
        goroutines: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
        model_redirects: snapshot.map_or(0, |snapshot| snapshot.runtime.redirects().count()),
    }
}
