//! A route from the wire.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use signalbox_proto::config::v1::{self as config, route::Destination};

use super::{Claims, Written, address, decode, faults::Faults, header, universal, value};
use crate::{
    finding::Fault,
    name::ResourceName,
    runtime::{Profile, Route, RouteTarget, Settings},
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
    let to = match destination {
        Some(Destination::Universal(universal)) => Some(universal::compile(universal, &mut faults)),
        Some(Destination::TargetUrl(text)) => faults.take("target_url", target(&text)),
        None => faults.take("target_url", Err(Fault::Missing)),
    };
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
            to: to?,
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
        return Err(value::refused(text, "must be one path segment of unreserved characters, neither `.` nor `..`"));
    }
    if RESERVED_SEGMENTS.contains(&text) {
        return Err(value::refused(text, "is one of the gateway's own segments"));
    }
    taken.get(text).map_or_else(|| Ok(text.into()), |holder| Err(Fault::Taken(holder.clone())))
}

fn target(text: &str) -> Result<RouteTarget, Fault> {
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    address::join(&address::root(text)?, "").map(RouteTarget::Fixed)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;
    use crate::{
        fixture::{at, faults, route, runtime, settings},
        runtime::below,
    };

    fn fixed(route: &Route) -> &Uri {
        let RouteTarget::Fixed(target) = &route.to else { panic!("{} is universal", route.id) };
        target
    }

    #[test]
    fn a_route_answers_to_its_segment_and_appends_the_rest() {
        let runtime = runtime(&[
            route("r", |r| {
                r.segment = "Weather.v2".into();
                r.destination = Some(Destination::TargetUrl("https://up.example/base/".into()));
                r.client_key_required = true;
            }),
            route("root", |_| {}),
            route("off", |r| r.disabled = true),
        ]);
        assert!(runtime.route("r").is_none() && runtime.route("off").is_none());
        let found = runtime.route("Weather.v2").unwrap();
        assert!(found.client_key_required);
        assert_eq!((found.timeout, &*found.profile), (Duration::from_secs(180), &Profile::default()));
        for (segment, rest, query, expected) in [
            ("Weather.v2", "", None, "https://up.example/base"),
            ("Weather.v2", "/", None, "https://up.example/base/"),
            ("Weather.v2", "/a/b", Some("c=d?e"), "https://up.example/base/a/b?c=d?e"),
            ("root", "", Some(""), "https://root.example/?"),
            ("root", "/a", None, "https://root.example/a"),
        ] {
            assert_eq!(below(fixed(runtime.route(segment).unwrap()), rest, query).unwrap(), expected);
        }
        assert!(below(fixed(found), "/a b", None).is_err());
    }

    #[test]
    fn a_proxy_of_its_own_goes_before_that_of_the_settings() {
        let through = |url: &str| Some(config::ForwardProxy { url: url.into(), ..config::ForwardProxy::default() });
        let runtime = runtime(&[
            settings(|s| s.forward_proxy = through("http://global:1")),
            route("inherits", |_| {}),
            route("direct", |r| r.forward_proxy = through("")),
            route("own", |r| r.forward_proxy = through("socks5h://own:1")),
        ]);
        let proxy = |segment| runtime.route(segment).unwrap().profile.proxy.as_ref().map(|proxy| &*proxy.url);
        assert_eq!(["inherits", "direct", "own"].map(proxy), [Some("http://global:1"), None, Some("socks5h://own:1")]);
    }

    #[test]
    fn a_universal_route_knows_which_private_ranges_may_be_called() {
        let to = |ranges: &[&str]| {
            let allowed_ranges = ranges.iter().map(ToString::to_string).collect();
            Some(Destination::Universal(config::Universal { allowed_ranges }))
        };
        let runtime = runtime(&[route("u", |r| r.destination = to(&["10.0.0.0/8", "::1"]))]);
        let allowed_ranges = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        assert_eq!(runtime.route("u").unwrap().to, RouteTarget::Universal { allowed_ranges });
        let faults = faults(&[
            route("many", |r| r.destination = to(&["10.0.0.0/8"; 65])),
            route("u", |r| r.destination = to(&["10.0.0.0/8", "169.254.0.0/16"])),
        ]);
        assert_eq!(
            faults,
            ["routes/many universal.allowed_ranges OUT_OF_RANGE", "routes/u universal.allowed_ranges[1] INVALID_TEXT"]
        );
    }

    #[test]
    fn the_gateways_own_segments_are_refused() {
        for segment in RESERVED_SEGMENTS {
            let faults = faults(&[route("r", |r| r.segment = (*segment).to_owned())]);
            assert_eq!(faults, ["routes/r segment INVALID_TEXT"], "{segment}");
        }
    }

    #[test]
    fn every_fault_is_found() {
        let faults = faults(&[
            at(
                1,
                route("older", |r| {
                    r.segment = "taken".into();
                    r.disabled = true;
                }),
            ),
            at(2, route("newer", |r| r.segment = "taken".into())),
            route("bad", |r| {
                r.id = "Bad".into();
                r.segment = "a/b".into();
                r.destination = Some(Destination::TargetUrl("https://up.example/?q".into()));
                r.timeout = Some(prost_types::Duration::default());
            }),
            route("empty", |r| {
                r.segment = String::new();
                r.destination = None;
            }),
        ]);
        assert_eq!(
            faults,
            [
                "routes/bad id INVALID_ID",
                "routes/bad segment INVALID_TEXT",
                "routes/bad target_url INVALID_URL",
                "routes/bad timeout OUT_OF_RANGE",
                "routes/empty segment FIELD_REQUIRED",
                "routes/empty target_url FIELD_REQUIRED",
                "routes/newer segment ALREADY_TAKEN",
            ]
        );
    }
}
