//! Configured headers: which may be set, with what, and which of a client's are dropped.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue};
use signalbox_proto::config::v1::{self as config, header_value::Content};

use super::{faults::Faults, value::shown};
use crate::{
    finding::Fault,
    runtime::{ConfiguredHeader, HeaderPolicy, Settings},
};

/// Headers of the connection or the framing (RFC 9110, section 7.6.1), which the gateway itself decides on.
const NEVER_SET: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a resource, `overwrite` being what it says of those that do not say themselves.
pub(super) fn policy(
    headers: BTreeMap<String, config::HeaderValue>,
    drop_headers: &[String],
    overwrite: bool,
    settings: &Settings,
    faults: &mut Faults,
) -> HeaderPolicy {
    let mut seen = BTreeSet::new();
    let mut add = Vec::new();
    for (written, wire) in headers {
        let field = format!("headers[{:?}]", shown(&written));
        let header = configured(&field, &written, wire, faults);
        if !seen.insert(written.to_ascii_lowercase()) {
            faults.add(field, Fault::Header("it is there in another spelling too"));
        }
        add.extend(header.map(|(name, value, own)| ConfiguredHeader {
            name,
            value,
            overwrite: own.unwrap_or(overwrite),
        }));
    }
    let mut drop = names(drop_headers, faults);
    drop.extend_from_slice(&settings.drop_headers);
    drop.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    drop.dedup();
    HeaderPolicy { add, drop }
}

/// The names in `drop_headers`.
pub(super) fn names(drop_headers: &[String], faults: &mut Faults) -> Vec<HeaderName> {
    let names = drop_headers.iter().enumerate();
    names.filter_map(|(at, text)| faults.take(format_args!("drop_headers[{at}]"), name(text))).collect()
}

/// A secret as a header can carry it.
pub(super) fn secret(text: &str) -> Result<HeaderValue, Fault> {
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    let mut secret = value(text)?;
    secret.set_sensitive(true);
    Ok(secret)
}

fn configured(
    field: &str,
    written: &str,
    wire: config::HeaderValue,
    faults: &mut Faults,
) -> Option<(HeaderName, HeaderValue, Option<bool>)> {
    let config::HeaderValue { content, overwrite } = wire;
    let name = faults.take(field, settable(written));
    let value = match content {
        Some(Content::Value(text)) => faults.take(format_args!("{field}.value"), value(&text)),
        Some(Content::Secret(text)) => faults.take(format_args!("{field}.secret"), secret(&text)),
        None => faults.take(format_args!("{field}.value"), Err(Fault::Missing)),
    };
    Some((name?, value?, overwrite))
}

/// The name of a header that may be set.
pub(super) fn settable(text: &str) -> Result<HeaderName, Fault> {
    let name = name(text)?;
    if NEVER_SET.contains(&name.as_str()) {
        return Err(Fault::Header("the gateway itself decides on headers of the connection and the framing"));
    }
    Ok(name)
}

fn name(text: &str) -> Result<HeaderName, Fault> {
    text.parse().map_err(|_| Fault::Header("a name is made of letters, digits and !#$%&'*+-.^_`|~"))
}

/// What a header can carry.
pub(super) fn value(text: &str) -> Result<HeaderValue, Fault> {
    let value = HeaderValue::from_str(text).ok().filter(|_| text.is_ascii() && text.trim() == text);
    value.ok_or(Fault::Header("a value is visible ASCII on one line, without white space around it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{faults, provider, route, runtime, settings};

    /// What a header can carry.
    pub(super) fn value(text: &str, overwrite: Option<bool>) -> config::HeaderValue {
        config::HeaderValue { content: Some(Content::Value(text.to_owned())), overwrite }
    }

    fn secret(text: &str) -> config::HeaderValue {
        config::HeaderValue { content: Some(Content::Secret(text.to_owned())), overwrite: None }
    }

    #[test]
    fn headers_get_lower_case_names_and_their_secrets_are_marked() {
        let runtime = runtime(&[
            settings(|s| s.drop_headers = vec!["X-Drop".into(), "x-both".into()]),
            provider("p", |p| {
                p.headers.insert("X-A".into(), value("1", None));
                p.headers.insert("authorization".into(), secret("Bearer s"));
                p.drop_headers = vec!["X-Both".into(), "x-own".into()];
            }),
        ]);
        let HeaderPolicy { add, drop } = &runtime.providers().next().unwrap().headers;
        let added: Vec<_> = add.iter().map(|header| (header.name.as_str(), header.value.is_sensitive())).collect();
        assert_eq!(added, [("x-a", false), ("authorization", true)]);
        assert_eq!(drop, &["x-both", "x-drop", "x-own"]);
    }

    #[test]
    fn the_header_then_the_route_then_the_settings_say_who_wins() {
        for (header, own, settings_say, expected) in [
            (None, None, false, false),
            (None, None, true, true),
            (None, Some(false), true, false),
            (None, Some(true), false, true),
            (Some(false), Some(true), true, false),
            (Some(true), Some(false), false, true),
        ] {
            let runtime = runtime(&[
                settings(|s| s.overwrite_headers = settings_say),
                route("r", |r| {
                    r.headers.insert("x-a".into(), value("1", header));
                    r.overwrite_headers = own;
                }),
            ]);
            let overwrite = runtime.route("r").unwrap().headers.add[0].overwrite;
            assert_eq!(overwrite, expected, "{header:?} {own:?} {settings_say}");
        }
    }

    #[test]
    fn what_would_break_the_connection_or_the_request_is_refused() {
        for (name, header, expected) in [
            ("Host", value("x", None), "headers[\"Host\"]"),
            ("content-length", value("1", None), "headers[\"content-length\"]"),
            ("Connection", value("close", None), "headers[\"Connection\"]"),
            ("Transfer-Encoding", value("chunked", None), "headers[\"Transfer-Encoding\"]"),
            ("x a", value("x", None), "headers[\"x a\"]"),
            ("", value("x", None), "headers[\"\"]"),
            ("x-a", value("a\r\nx-b: c", None), "headers[\"x-a\"].value"),
            ("x-a", value("ä", None), "headers[\"x-a\"].value"),
            ("x-a", value(" a", None), "headers[\"x-a\"].value"),
            ("x-a", secret("a\n"), "headers[\"x-a\"].secret"),
        ] {
            let faults = faults(&[provider("p", |p| {
                p.headers.insert(name.to_owned(), header);
            })]);
            assert_eq!(faults, [format!("providers/p {expected} INVALID_HEADER")]);
        }
    }

    #[test]
    fn a_header_needs_a_value_and_one_spelling() {
        let faults = faults(&[
            provider("p", |p| {
                p.headers.insert("x-a".into(), config::HeaderValue { content: None, overwrite: None });
                p.headers.insert("x-b".into(), secret(""));
                p.headers.insert("X-C".into(), value("1", None));
                p.headers.insert("x-c".into(), value("2", None));
                p.drop_headers = vec!["x-d".into(), "x d".into()];
            }),
            settings(|s| s.drop_headers = vec!["".into()]),
        ]);
        assert_eq!(
            faults,
            [
                "settings drop_headers[0] INVALID_HEADER",
                "providers/p headers[\"x-a\"].value FIELD_REQUIRED",
                "providers/p headers[\"x-b\"].secret FIELD_REQUIRED",
                "providers/p headers[\"x-c\"] INVALID_HEADER",
                "providers/p drop_headers[1] INVALID_HEADER",
            ]
        );
    }
}
