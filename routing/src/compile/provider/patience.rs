//! How patient one is with a provider, and how its connections are made.

use std::{num::NonZeroU32, time::Duration};

use signalbox_proto::config::v1 as config;

use super::super::{faults::Faults, value};
use crate::{
    finding::Fault,
    runtime::{Dialect, Ejection, HttpVersion, Profile, Proxy, Retry, RetryOn, Timeouts},
};

/// Statuses that may be tried again besides those that always are: what a busy or broken upstream answers. Any other says that
/// the request itself is at fault.
const RETRIED: [u16; 3] = [408, 409, 425];

/// How many requests may be under way to the provider at once.
pub(super) fn max_connections(pool: Option<&config::Pool>, faults: &mut Faults) -> Option<NonZeroU32> {
    let limit = pool.and_then(|pool| pool.max_connections);
    faults.take("pool.max_connections", value::limit(limit, 1_000_000, "1 to 1,000,000"))?
}

pub(super) fn profile(
    proxy: Option<Proxy>,
    connect_timeout: Option<Duration>,
    pool: config::Pool,
    faults: &mut Faults,
) -> Option<Profile> {
    let config::Pool { max_idle, idle_timeout, http_version, max_connections: _ } = pool;
    let defaults = Profile::default();
    let max_idle = max_idle.map(|max_idle| usize::try_from(max_idle).unwrap_or(usize::MAX));
    let max_idle = value::number(max_idle, defaults.max_idle, 0..=10_000, "0 to 10,000");
    let max_idle = faults.take("pool.max_idle", max_idle);
    let idle_timeout = faults.take("pool.idle_timeout", value::duration(idle_timeout, defaults.idle_timeout));
    let http_version = faults.take("pool.http_version", self::http_version(http_version));
    Some(Profile {
        proxy,
        connect_timeout: connect_timeout?,
        max_idle: max_idle?,
        idle_timeout: idle_timeout?,
        http_version: http_version?,
    })
}

fn http_version(wire: i32) -> Result<HttpVersion, Fault> {
    match config::HttpVersion::try_from(wire) {
        Ok(config::HttpVersion::Unspecified) => Ok(HttpVersion::Negotiated),
        Ok(config::HttpVersion::Http1) => Ok(HttpVersion::Http1),
        Ok(config::HttpVersion::Http2) => Ok(HttpVersion::Http2),
        Err(_) => Err(value::refused(&wire.to_string(), "must be an HTTP version that this build speaks")),
    }
}

/// The connect clock, which belongs to the profile, and the others.
pub(super) fn clocks(wire: config::Timeouts, faults: &mut Faults) -> (Option<Duration>, Option<Timeouts>) {
    let config::Timeouts { connect, response_header, first_event, stream_idle, total } = wire;
    let mut clock =
        |field: &str, wire, default| faults.take(format_args!("timeouts.{field}"), value::duration(wire, default));
    let connect = clock("connect", connect, Profile::default().connect_timeout);
    let response_header = clock("response_header", response_header, Duration::from_secs(60));
    let first_event = clock("first_event", first_event, Duration::from_secs(120));
    let stream_idle = clock("stream_idle", stream_idle, Duration::from_secs(300));
    let total = clock("total", total, Duration::from_secs(600));
    let timeouts = || {
        Some(Timeouts {
            response_header: response_header?,
            first_event: first_event?,
            stream_idle: stream_idle?,
            total: total?,
        })
    };
    (connect, timeouts())
}

pub(super) fn retry(dialect: Option<Dialect>, wire: config::Retry, faults: &mut Faults) -> Option<Retry> {
    let config::Retry {
        attempts,
        backoff_base,
        backoff_cap,
        statuses,
        attempts_per_credential,
        on_connect_failure,
        on_rate_limit,
        on_server_error,
        on_timeout,
    } = wire;
    let attempts = faults.take("retry.attempts", value::number(attempts, 3, 1..=100, "1 to 100"));
    let attempts_per_credential =
        faults.take("retry.attempts_per_credential", value::limit(attempts_per_credential, 100, "1 to 100"));
    let base = faults.take("retry.backoff_base", value::duration(backoff_base, Duration::from_millis(250)));
    let cap = faults.take("retry.backoff_cap", value::duration(backoff_cap, Duration::from_secs(8)));
    let mut retried: Vec<u16> = Vec::new();
    for (at, status) in statuses.into_iter().enumerate() {
        retried.extend(faults.take(format_args!("retry.statuses[{at}]"), self::status(status)));
    }
    if retried.is_empty() {
        retried.extend([500, 502, 503, 504]);
        // Anthropic's word for being overloaded.
        retried.extend((dialect == Some(Dialect::Anthropic)).then_some(529));
    }
    let on = RetryOn {
        connect_failure: on_connect_failure.unwrap_or(true),
        rate_limit: on_rate_limit.unwrap_or(true),
        server_error: on_server_error.unwrap_or(true),
        timeout: on_timeout.unwrap_or(true),
    };
    retried.sort_unstable();
    retried.dedup();
    Some(Retry {
        attempts: attempts?,
        backoff_base: base?,
        backoff_cap: cap?,
        statuses: retried,
        attempts_per_credential: attempts_per_credential?,
        on,
    })
}

fn status(wire: u32) -> Result<u16, Fault> {
    let status = u16::try_from(wire).ok().filter(|status| RETRIED.contains(status) || (500..=599).contains(status));
    status.ok_or(Fault::OutOfRange("408, 409, 425 or 500 to 599; 401, 402, 403 and 429 are always tried again"))
}

/// When a target that fails is left alone.
pub(super) fn ejection(wire: config::Ejection, faults: &mut Faults) -> Option<Ejection> {
    let config::Ejection { failures, base, cap } = wire;
    let defaults = Ejection::default();
    let base = faults.take("ejection.base", value::duration(base, defaults.base));
    let cap = faults.take("ejection.cap", value::duration(cap, defaults.cap));
    Some(Ejection { failures: failures.unwrap_or(defaults.failures), base: base?, cap: cap? })
}
