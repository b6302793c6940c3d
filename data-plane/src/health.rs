//! Whether the upstreams can be reached, found out for free and not more often than it is worth. It judges no answer beyond that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use http::{HeaderMap, Request, StatusCode, request::Parts};
use jiff::Timestamp;
use serde::Serialize;
use signalbox_routing::{Caller, Position, Provider, Runtime};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use crate::{
    auth,
    credentials::{self, Lease},
    http::Door,
    live::Snapshot,
    upstream::{self, Upstreams},
};

/// How long the result of a probe is good for.
const CACHED: Duration = Duration::from_secs(30);
/// How long an upstream may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(5);

/// `/health`
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    status: &'static str,
    /// RFC 3339.
    time: String,
    /// Seconds since the Unix epoch.
    timestamp: i64,
    uptime_seconds: u64,
    version: &'static str,
    /// The configuration's revision; null = none is held.
    revision: Option<u64>,
    /// Whether each provider can be reached, by its id.
    providers: Reachable,
    healthy_providers: usize,
    total_providers: usize,
    /// How the keys of each provider that has some are, by its id.
    credential_pools: BTreeMap<String, credentials::Report>,
    statistics: Statistics,
    /// The models that whoever asks may see; absent where that takes a key and none was presented.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Statistics {
    active_requests: u32,
    total_requests: u64,
    successful_requests: u64,
    failed_requests: u64,
    /// From 0 to 1.
    success_rate: f64,
}

type Reachable = BTreeMap<String, bool>;

/// Probes the upstreams when somebody asks. Whoever asks while a probe is under way, or soon after, shares it.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    latest: Mutex<Option<Arc<Probe>>>,
}

#[derive(Debug)]
struct Probe {
    begun: Instant,
    of: Position,
    /// Filled by whoever asked first; if they leave before it is, by the next.
    reachable: OnceCell<Reachable>,
}

impl Prober {
    async fn reachable(&self, snapshot: &Snapshot) -> Reachable {
        let probe = self.latest_of(snapshot);
        probe.reachable.get_or_init(|| probe_all(snapshot)).await.clone()
    }

    fn latest_of(&self, snapshot: &Snapshot) -> Arc<Probe> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = latest.as_ref().filter(|probe| probe.is_of(snapshot)) {
            return Arc::clone(probe);
        }
        let of = snapshot.position.clone();
        let probe = Arc::new(Probe { begun: Instant::now(), of, reachable: OnceCell::new() });
        *latest = Some(Arc::clone(&probe));
        probe
    }
}

impl Probe {
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.of == snapshot.position && self.begun.elapsed() < CACHED
    }
}

/// How the gateway and its upstreams are.
pub(crate) async fn report(door: &Door, head: &Parts, snapshot: Option<&Arc<Snapshot>>) -> Report {
    let providers = match snapshot {
        Some(snapshot) => door.prober.reachable(snapshot).await,
        None => Reachable::default(),
    };
    let now = Timestamp::now();
    let (healthy_providers, total_providers) = (providers.values().filter(|up| **up).count(), providers.len());
    Report {
        status: status(snapshot.is_some(), healthy_providers, total_providers),
        time: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        timestamp: now.as_second(),
        uptime_seconds: door.metrics.uptime().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        revision: snapshot.map(|snapshot| snapshot.position.revision.get()),
        providers,
        healthy_providers,
        total_providers,
        credential_pools: snapshot.map(|snapshot| snapshot.upstreams.pools_report()).unwrap_or_default(),
        statistics: Statistics::of(door),
        models: snapshot.and_then(|snapshot| models(&snapshot.runtime, head, now)),
    }
}

fn models(runtime: &Runtime, head: &Parts, now: Timestamp) -> Option<Vec<String>> {
    let asks = auth::Caller::identify(runtime, &head.headers, head.uri.query(), now.as_millisecond()).ok();
    let sees = match asks.as_ref().and_then(auth::Caller::key) {
        Some(key) => Caller::Key(key),
        None if runtime.settings().keyless_models => Caller::Operator,
        None => return None,
    };
    Some(runtime.models(sees).into_iter().map(|model| model.id.to_string()).collect())
}

fn status(configured: bool, healthy: usize, total: usize) -> &'static str {
    match (configured, healthy, total) {
        (false, ..) => "starting",
        (true, healthy, total) if healthy == total => "healthy",
        (true, 0, _) => "unhealthy",
        (true, ..) => "degraded",
    }
}

impl Statistics {
    fn of(door: &Door) -> Self {
        let (total_requests, failed_requests) = door.metrics.totals();
        let successful_requests = total_requests.saturating_sub(failed_requests);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more precision")]
        let success_rate = if total_requests == 0 { 1.0 } else { successful_requests as f64 / total_requests as f64 };
        Self { active_requests: door.slots.taken(), total_requests, successful_requests, failed_requests, success_rate }
    }
}

async fn probe_all(snapshot: &Snapshot) -> Reachable {
    let probes = snapshot.runtime.providers().map(|provider| async {
        let reachable = timeout(PATIENCE, is_reachable(provider, &snapshot.upstreams)).await;
        (provider.id.to_string(), reachable.unwrap_or(false))
    });
    join_all(probes).await.into_iter().collect()
}

/// Whether a provider lists its models, which no provider charges for. Any answer will do that is not about our key or its own failure.
async fn is_reachable(provider: &Provider, upstreams: &Upstreams) -> bool {
    let Some(client) = upstreams.client(&provider.profile) else { return false };
    let mut sent = HeaderMap::new();
    let lease = upstreams.pool(&provider.id).and_then(|pool| pool.take(Instant::now(), &[]).ok());
    upstream::address(&mut sent, provider, lease.as_ref().map(Lease::key));
    let mut request = Request::new(upstream::Body::default());
    *request.uri_mut() = provider.probe_url.clone();
    *request.headers_mut() = sent;
    client.send(request).await.is_ok_and(|answer| answers(answer.status()))
}

fn answers(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_sums_up_the_providers() {
        for (configured, healthy, total, expected) in [
            (false, 0, 0, "starting"),
            (true, 0, 0, "healthy"),
            (true, 2, 2, "healthy"),
            (true, 1, 2, "degraded"),
            (true, 0, 2, "unhealthy"),
        ] {
            assert_eq!(status(configured, healthy, total), expected);
        }
    }

    #[test]
    fn an_upstream_that_answers_is_reachable_unless_it_refuses_our_key_or_fails() {
        for (code, expected) in
            [(200, true), (404, true), (429, true), (401, false), (403, false), (500, false), (503, false)]
        {
            assert_eq!(answers(StatusCode::from_u16(code).unwrap()), expected, "{code}");
        }
    }
}
