//! Settings from the wire.

use bytes::Bytes;
use signalbox_proto::config::v1 as config;

use super::{Sources, address, decode, faults::Faults, header, value};
use crate::{finding::Fault, runtime::Settings};

/// Largest request body that can be allowed: 1 GiB.
const MAX_REQUEST_BYTES: u64 = 1024 * 1024 * 1024;

pub(super) fn compile(body: &Bytes, sources: &Sources) -> Result<Settings, Faults> {
    let config::Settings {
        base_path,
        keyless_models,
        default_provider,
        forward_proxy,
        overwrite_headers,
        drop_headers,
        request_log,
        max_request_bytes,
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
        })
    })
}

/// A path prefix with a leading slash and no trailing one, or nothing.
fn base_path(text: &str) -> Result<String, Fault> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(String::new());
    }
    if inner.split('/').all(value::is_segment) {
        Ok(format!("/{inner}"))
    } else {
        Err(value::refused(
            text,
            "a path such as /api/llm, of unreserved characters, without empty segments, `.` and `..`",
        ))
    }
}
