//! Settings from the wire.

use std::time::Duration;

use bytes::Bytes;
use signalbox_proto::config::v1 as config;

use super::{Sources, address, cors, decode, faults::Faults, header, value};
use crate::{
    finding::Fault,
    runtime::{LogLevel, Settings},
};

/// Largest request body that can be allowed: 1 GiB.
const MAX_REQUEST_BYTES: u64 = 1024 * 1024 * 1024;

pub(super) fn compile(body: &Bytes, sources: &Sources, previous: &Settings) -> Result<Settings, Faults> {
    let config::Settings {
        base_path,
        keyless_models,
        default_provider,
        forward_proxy,
        overwrite_headers,
        drop_headers,
        request_log,
        max_request_bytes,
        cors,
        model_filter,
        log_level,
        stream_keepalive,
    } = decode(body)?;
    let mut faults = Faults::default();
    let defaults = Settings::default();
    let base_path = faults.take("base_path", self::base_path(&base_path));
    let default_provider = (!default_provider.is_empty())
        .then(|| value::provider(&default_provider, |name| sources.contains_key(name)))
        .and_then(|provider| faults.take("default_provider", provider));
    let forward_proxy = forward_proxy.and_then(|proxy| address::proxy(proxy, &mut faults));
    let drop_headers = header::names(&drop_headers, &mut faults);
    let max_request_bytes = faults.take(
        "max_request_bytes",
        value::number(max_request_bytes, defaults.max_request_bytes, 1..=MAX_REQUEST_BYTES, "1 byte to 1 GiB"),
    );
    let cors = cors.and_then(|cors| cors::compile(cors, &mut faults));
    let model_filter = value::filter("model_filter", &model_filter, Some(&previous.model_filter), &mut faults);
    let log_level = faults.take("log_level", self::log_level(log_level));
    let stream_keepalive = faults.take("stream_keepalive", keepalive(stream_keepalive, defaults.stream_keepalive));
    let request_log = request_log.unwrap_or(defaults.request_log);
    faults.finish(|| {
        Some(Settings {
            base_path: base_path?,
            keyless_models,
            default_provider,
            forward_proxy,
            overwrite_headers,
            drop_headers,
            request_log,
            max_request_bytes: max_request_bytes?,
            cors,
            model_filter,
            log_level: log_level?,
            stream_keepalive: stream_keepalive?,
        })
    })
}

fn log_level(wire: i32) -> Result<Option<LogLevel>, Fault> {
    match config::LogLevel::try_from(wire) {
        Ok(config::LogLevel::Unspecified) => Ok(None),
        Ok(config::LogLevel::Error) => Ok(Some(LogLevel::Error)),
        Ok(config::LogLevel::Warn) => Ok(Some(LogLevel::Warn)),
        Ok(config::LogLevel::Info) => Ok(Some(LogLevel::Info)),
        Ok(config::LogLevel::Debug) => Ok(Some(LogLevel::Debug)),
        Ok(config::LogLevel::Trace) => Ok(Some(LogLevel::Trace)),
        Err(_) => Err(value::refused(&wire.to_string(), "must be a level that this build knows")),
    }
}

/// A silence, or zero for none at all.
fn keepalive(wire: Option<prost_types::Duration>, default: Option<Duration>) -> Result<Option<Duration>, Fault> {
    match wire {
        None => Ok(default),
        Some(prost_types::Duration { seconds: 0, nanos: 0 }) => Ok(None),
        some => value::duration(some, Duration::ZERO).map(Some),
    }
}

/// A path prefix with a leading slash and no trailing one, or nothing.
fn base_path(text: &str) -> Result<String, Fault> {
    if matches!(text, "" | "/") {
        return Ok(String::new());
    }
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.split('/').all(value::is_segment) {
        Ok(format!("/{inner}"))
    } else {
        Err(value::refused(
            text,
            "must be a path such as /api/llm, of unreserved characters, without empty segments, `.` and `..`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{faults, id, provider, runtime, settings},
        runtime::ModelFilter,
    };

    #[test]
    fn settings_that_say_nothing_are_the_defaults() {
        assert_eq!(runtime(&[settings(|_| {})]).settings(), &Settings::default());
        assert_eq!(Settings::default().max_request_bytes, 33_554_432);
    }

    #[test]
    fn settings_are_taken_over() {
        let runtime = runtime(&[
            provider("p", |p| p.disabled = true),
            settings(|s| {
                s.base_path = "api/llm/".into();
                s.keyless_models = true;
                s.default_provider = "p".into();
                s.overwrite_headers = true;
                s.drop_headers = vec!["X-A".into()];
                s.request_log = Some(false);
                s.max_request_bytes = Some(1);
                s.cors = Some(config::Cors { allowed_origins: vec!["*".into()], ..config::Cors::default() });
                s.model_filter = vec!["^a".into()];
                s.log_level = config::LogLevel::Debug.into();
                s.stream_keepalive = Some(prost_types::Duration { seconds: 1, nanos: 0 });
            }),
        ]);
        let expected = Settings {
            base_path: "/api/llm".into(),
            keyless_models: true,
            default_provider: Some(id("p")),
            forward_proxy: None,
            overwrite_headers: true,
            drop_headers: vec!["x-a".parse().unwrap()],
            request_log: false,
            max_request_bytes: 1,
            cors: runtime.settings().cors.clone(),
            model_filter: ModelFilter::default().renew(&["^a"]).unwrap(),
            log_level: Some(LogLevel::Debug),
            stream_keepalive: Some(Duration::from_secs(1)),
        };
        assert!(expected.cors.is_some());
        assert_eq!(runtime.settings(), &expected);
    }

    #[test]
    fn no_silence_is_too_long_where_it_is_set_to_zero() {
        let zero = Some(prost_types::Duration::default());
        assert_eq!(runtime(&[settings(|s| s.stream_keepalive = zero)]).settings().stream_keepalive, None);
    }

    #[test]
    fn base_paths_begin_with_a_slash_and_do_not_end_in_one() {
        for (text, expected) in [("", ""), ("/", ""), ("/a", "/a"), ("a/b/", "/a/b"), ("/a.b/~c", "/a.b/~c")] {
            assert_eq!(base_path(text).as_deref(), Ok(expected));
        }
        for bad in ["//", "/a//b", "/a/..", "/./a", "/a?b", "/a#b", "/a b", "/a%2fb", "https://host/a"] {
            assert!(base_path(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn every_fault_is_found() {
        let faults = faults(&[settings(|s| {
            s.base_path = "/..".into();
            s.default_provider = "gone".into();
            s.forward_proxy = Some(config::ForwardProxy { url: "proxy:1".into(), ..config::ForwardProxy::default() });
            s.max_request_bytes = Some(0);
            s.cors = Some(config::Cors::default());
            s.model_filter = vec!["[".into()];
            s.log_level = 9;
            s.stream_keepalive = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        })]);
        assert_eq!(
            faults,
            [
                "settings base_path INVALID_TEXT",
                "settings default_provider DANGLING_REFERENCE",
                "settings forward_proxy.url INVALID_URL",
                "settings max_request_bytes OUT_OF_RANGE",
                "settings cors.allowed_origins FIELD_REQUIRED",
                "settings model_filter[0] INVALID_EXPRESSION",
                "settings log_level INVALID_TEXT",
                "settings stream_keepalive OUT_OF_RANGE",
            ]
        );
    }
}
