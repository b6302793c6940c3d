//! A route from the wire.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use signalbox_proto::config::v1::{self as config, route::Destination};

use super::{Claims, Written, address, decode, faults::Faults, header, value};
use crate::{
    finding::Fault,
    name::ResourceName,
    runtime::{Profile, Route, Settings},
};

/// First path segments that are the gateway's own, so that no route may have them.
pub const RESERVED_SEGMENTS: &[&str] = &["v1", "health", "healthz", "readyz", "metrics", "docs", "openapi.json"];

/// What a route stands among.
pub(super) struct Around<'a> {
    pub(super) settings: &'a Settings,
    pub(super) segments: &'a Claims<Arc<str>>,
}

pub(super) fn compile(name: &ResourceName, body: &Bytes, around: &Around<'_>) -> Result<Written<Route>, Faults> {
    let config::Route {
        id,
        segment,
        headers,
        overwrite_headers,
        drop_headers,
        forward_proxy,
        client_key_required,
        timeout,
        disabled,
        destination,
    } = decode(body)?;
    let mut faults = Faults::default();
    let settings = around.settings;
    let id = faults.take("id", value::own_id(&id, name));
    let segment = faults.take("segment", self::segment(&segment, around.segments));
    let target = faults.take("target_url", target(destination));
    let overwrite = overwrite_headers.unwrap_or(settings.overwrite_headers);
    let headers = header::policy(headers, &drop_headers, overwrite, settings, &mut faults);
    let proxy = match forward_proxy {
        Some(own) => address::proxy(own, &mut faults),
        None => settings.forward_proxy.clone(),
    };
    let timeout = faults.take("timeout", value::duration(timeout, Duration::from_secs(180)));
    faults.finish(|| {
        let value = Route {
            id: id?,
            segment: segment?,
            target: target?,
            profile: Arc::new(Profile { proxy, ..Profile::default() }),
            headers,
            client_key_required,
            timeout: timeout?,
        };
        Some(Written { value, disabled })
    })
}

fn segment(text: &str, taken: &Claims<Arc<str>>) -> Result<Arc<str>, Fault> {
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    if !value::is_segment(text) || text.len() > 256 {
        return Err(value::refused(text, "one path segment of unreserved characters, neither `.` nor `..`"));
    }
    if RESERVED_SEGMENTS.contains(&text) {
        return Err(value::refused(text, "not one of the gateway's own segments"));
    }
    taken.get(text).map_or_else(|| Ok(text.into()), |holder| Err(Fault::Taken(holder.clone())))
}

fn target(destination: Option<Destination>) -> Result<Uri, Fault> {
    let Some(Destination::TargetUrl(text)) = destination else { return Err(Fault::Missing) };
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    address::join(&address::root(&text)?, "")
}
