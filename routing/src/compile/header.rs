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

fn settable(text: &str) -> Result<HeaderName, Fault> {
    let name = name(text)?;
    if NEVER_SET.contains(&name.as_str()) {
        return Err(Fault::Header("the gateway itself decides on headers of the connection and the framing"));
    }
    Ok(name)
}

fn name(text: &str) -> Result<HeaderName, Fault> {
    text.parse().map_err(|_| Fault::Header("a name is made of letters, digits and !#$%&'*+-.^_`|~"))
}

fn value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| Fault::Header("a value is visible ASCII on one line"))
}
