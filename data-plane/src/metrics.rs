//! What is counted and measured, by labels of bounded number. Each gateway has its own: nothing is global to the process.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::time::Instant;

use crate::record::{Outcome, Record};

mod tally;

use tally::Tallies;

const REQUESTS: &str = "signalbox_requests_total";
const DURATION: &str = "signalbox_request_duration_seconds";
const FIRST_EVENT: &str = "signalbox_time_to_first_event_seconds";
const ATTEMPTS: &str = "signalbox_attempts_total";
const TOKENS: &str = "signalbox_tokens_total";
const BYTES: &str = "signalbox_response_bytes_total";
const IN_FLIGHT: &str = "signalbox_requests_in_flight";
const CONNECTIONS: &str = "signalbox_connections";
const EJECTED: &str = "signalbox_ejected_targets";
const EJECTIONS: &str = "signalbox_ejections_total";
const REVISION: &str = "signalbox_config_revision";
const READY: &str = "signalbox_ready";
const CONNECTED: &str = "signalbox_control_plane_connected";
const BUILD: &str = "signalbox_build_info";

/// Upper bounds in seconds: from an answer out of a cache to a long completion.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// One gateway's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    tallies: Tallies,
    since: Instant,
    requests: AtomicU64,
    errors: AtomicU64,
}

/// What is the case, as against what has happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    /// Exchanges under way.
    pub(crate) in_flight: u32,
    /// Connections open.
    pub(crate) connections: usize,
    /// Targets left alone.
    pub(crate) ejected: usize,
    /// How often a target was left alone, since the start.
    pub(crate) ejections: u64,
    /// The revision in force; 0 = none.
    pub(crate) revision: u64,
    /// Whether traffic is welcome.
    pub(crate) ready: bool,
    /// Whether a control plane is followed.
    pub(crate) connected: bool,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// Never in practice: the buckets are constants that are not empty.
    pub(crate) fn new() -> Result<Self, BuildError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full(FIRST_EVENT.to_owned()), &SECONDS)?;
        let metrics = Self {
            recorder: builder.build_recorder(),
            tallies: Tallies::default(),
            since: Instant::now(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        metrics.describe();
        Ok(metrics)
    }

    fn describe(&self) {
        for (name, what) in [
            (REQUESTS, "Requests that are over, by how they ended; `upstream` is the id of the provider or route."),
            (ATTEMPTS, "Attempts begun at providers, by the one that was asked last."),
            (TOKENS, "Tokens that providers have counted; `direction` is `prompt` or `completion`."),
            (BYTES, "Bytes of answers handed to clients."),
            (
                EJECTIONS,
                "Times that a target, which is a model of a provider, was left alone after it had failed in a row.",
            ),
        ] {
            self.recorder.describe_counter(KeyName::from_const_str(name), None, SharedString::const_str(what));
        }
        for (name, what) in [
            (DURATION, "From a request's head to the end of its answer."),
            (FIRST_EVENT, "From a request's head to the first meaningful event of a stream."),
        ] {
            self.recorder.describe_histogram(KeyName::from_const_str(name), None, SharedString::const_str(what));
        }
        for (name, what) in [
            (IN_FLIGHT, "Requests under way."),
            (CONNECTIONS, "Client connections open."),
            (EJECTED, "Targets that are left alone now."),
            (REVISION, "The configuration's revision in force; 0 = none."),
            (READY, "1 = holds a configuration and is not draining."),
            (CONNECTED, "1 = follows a control plane; 0 = serves what it holds."),
            (BUILD, "Always 1; the label says which build."),
        ] {
            self.recorder.describe_gauge(KeyName::from_const_str(name), None, SharedString::const_str(what));
        }
        let build = vec![Label::from_static_parts("version", env!("CARGO_PKG_VERSION"))];
        self.gauge(Key::from_parts(BUILD, build)).set(1.0);
    }

    /// Counts an exchange that is over.
    pub(crate) fn observe(&self, record: &Record, outcome: Outcome, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Failed || outcome == Outcome::Broken {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.tallies.count(&self.recorder, record, outcome, took);
    }

    /// Everything, in the Prometheus text format.
    pub(crate) fn render(&self, now: Gauges) -> String {
        self.gauge(Key::from_static_name(IN_FLIGHT)).set(now.in_flight);
        #[expect(
            clippy::cast_precision_loss,
            reason = "none of them reaches 2^53, and Prometheus knows no other number"
        )]
        let (connections, ejected, revision) = (now.connections as f64, now.ejected as f64, now.revision as f64);
        self.gauge(Key::from_static_name(CONNECTIONS)).set(connections);
        self.gauge(Key::from_static_name(EJECTED)).set(ejected);
        self.counter(Key::from_static_name(EJECTIONS)).absolute(now.ejections);
        self.gauge(Key::from_static_name(REVISION)).set(revision);
        self.gauge(Key::from_static_name(READY)).set(f64::from(u8::from(now.ready)));
        self.gauge(Key::from_static_name(CONNECTED)).set(f64::from(u8::from(now.connected)));
        self.recorder.handle().render()
    }

    /// Gives back the memory of samples that nobody has asked for. To be called every few seconds.
    pub(crate) fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }

    /// Requests that are over, and those of them that failed or broke.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }

    /// How long it has been counting.
    pub(crate) fn uptime(&self) -> Duration {
        self.since.elapsed()
    }

    fn counter(&self, key: Key) -> Counter {
        self.recorder.register_counter(&key, &METADATA)
    }

    fn gauge(&self, key: Key) -> Gauge {
        self.recorder.register_gauge(&key, &METADATA)
    }
}
