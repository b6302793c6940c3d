//! URLs: what may be written as one, and in which form requests are made to it. It never looks a host up.

use std::sync::Arc;

use http::Uri;
use signalbox_proto::config::v1 as config;
use url::Url;

use super::{faults::Faults, value};
use crate::{finding::Fault, runtime::Proxy};

/// The root that paths are appended to: an http or https URL without a query; what is returned does not end in a slash.
pub(super) fn root(text: &str) -> Result<String, Fault> {
    let rule = "an http or https URL with a host, without user, query and fragment";
    let url = parse(text, &["http", "https"]).filter(|url| url.query().is_none()).ok_or_else(|| refused(text, rule))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// One full URL, of http or https, that requests are made to as it is.
pub(super) fn whole(text: &str) -> Result<Uri, Fault> {
    let url = parse(text, &["http", "https"]).and_then(|url| url.as_str().parse().ok());
    url.ok_or_else(|| refused(text, "an http or https URL with a host, without user and fragment"))
}

/// What a root and a path with a leading slash make together.
pub(super) fn join(root: &str, path: &str) -> Result<Uri, Fault> {
    format!("{root}{path}").parse().map_err(|_| refused(root, "a URL of at most 65,000 bytes that HTTP can carry"))
}

/// A proxy of one's own; `None` = directly, or faulty.
pub(super) fn proxy(wire: config::ForwardProxy, faults: &mut Faults) -> Option<Proxy> {
    let config::ForwardProxy { url, username, password } = wire;
    if username.is_empty() && !password.is_empty() {
        faults.add("forward_proxy.username", Fault::Missing);
    }
    if url.is_empty() {
        if !username.is_empty() || !password.is_empty() {
            faults.add("forward_proxy.url", Fault::Missing);
        }
        return None;
    }
    let url = faults.take("forward_proxy.url", proxy_url(&url))?;
    Some(Proxy { url, username: username.into(), password: password.into() })
}

fn proxy_url(text: &str) -> Result<Arc<str>, Fault> {
    let bare = |url: &Url| matches!(url.path(), "" | "/") && url.query().is_none();
    let url = parse(text, &["http", "https", "socks5", "socks5h"]).filter(bare);
    let rule = "http, https, socks5 or socks5h, a host and a port, without user and path";
    url.map(|url| url.as_str().trim_end_matches('/').into()).ok_or_else(|| refused(text, rule))
}

/// A URL with a host and one of these schemes, and without the parts that no address here may have.
fn parse(text: &str, schemes: &[&str]) -> Option<Url> {
    // The parser repairs what browsers do: it drops line breaks and takes `https:host` for an address.
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) || !text.contains("://") {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let placed = url.host_str().is_some_and(|host| !host.is_empty()) && schemes.contains(&url.scheme());
    (plain && placed).then_some(url)
}

fn refused(text: &str, rule: &'static str) -> Fault {
    Fault::Url { url: public(text), rule }
}

/// A URL without the parts that may hold a secret: user, query and fragment.
fn public(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    text.rsplit_once('@').map_or_else(|| value::shown(text), |(_, place)| value::shown(&format!("…@{place}")))
}
