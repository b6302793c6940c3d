//! URLs: what may be written as one, and in which form requests are made to it. It never looks a host up.

use std::sync::Arc;

use http::Uri;
use signalbox_proto::config::v1 as config;
use url::Url;

use super::{faults::Faults, value};
use crate::{finding::Fault, runtime::Proxy};

/// The root that paths are appended to: an http or https URL without a query; what is returned does not end in a slash.
pub(super) fn root(text: &str) -> Result<String, Fault> {
    let rule = "must be an http or https URL with a host, without user, query and fragment";
    let url = parse(text, &["http", "https"]).filter(|url| url.query().is_none()).ok_or_else(|| refused(text, rule))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// One full http or https URL that requests are made to as it is, query included.
pub(super) fn whole(text: &str) -> Result<Uri, Fault> {
    let url = parse(text, &["http", "https"]).and_then(|url| url.as_str().parse().ok());
    url.ok_or_else(|| refused(text, "must be an http or https URL with a host, without user and fragment"))
}

/// What a root and a path with a leading slash make together.
pub(super) fn join(root: &str, path: &str) -> Result<Uri, Fault> {
    format!("{root}{path}").parse().map_err(|_| refused(root, "must be a URL that HTTP can carry"))
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
    let rule = "must be http, https, socks5 or socks5h with a host, without user, path and query";
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

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Option<String> {
        Some(join(&root(text).ok()?, "/models").ok()?.to_string())
    }

    #[test]
    fn roots_and_paths_meet_in_one_slash() {
        for (text, expected) in [
            ("https://api.example/v1", "https://api.example/v1/models"),
            ("https://api.example/v1/", "https://api.example/v1/models"),
            ("https://api.example", "https://api.example/models"),
            ("HTTP://API.example:80//", "http://api.example/models"),
            ("http://127.0.0.1:8080/a%20b", "http://127.0.0.1:8080/a%20b/models"),
            ("http://[::1]:1/x", "http://[::1]:1/x/models"),
        ] {
            assert_eq!(joined(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for bad in [
            "",
            "api.example",
            "/v1",
            "ftp://api.example",
            "file:///etc/passwd",
            "https:api.example",
            "https:\\\\api.example",
            "https://",
            "https:///",
            "https://user@api.example",
            "https://user:word@api.example",
            "https://:word@api.example",
            "https://api.example/#part",
            "https://api.example/\nv1",
            " https://api.example",
            "https://api example",
            "https://api.example:99999",
        ] {
            assert!(root(bad).is_err(), "{bad:?} was taken as a root");
            assert!(whole(bad).is_err(), "{bad:?} was taken as a whole");
        }
        assert!(root("https://api.example/v1?a=b").is_err());
        assert!(root("https://api.example/v1?").is_err());
        assert_eq!(whole("https://api.example/chat?a=b/").unwrap(), "https://api.example/chat?a=b/");
    }

    #[test]
    fn proxies_have_a_scheme_of_proxies_and_no_path() {
        for (text, expected) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("https://proxy/", "https://proxy"),
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
            ("socks5h://proxy:1080/", "socks5h://proxy:1080"),
        ] {
            assert_eq!(proxy_url(text).as_deref(), Ok(expected));
        }
        for bad in [
            "proxy:3128",
            "socks4://proxy:1",
            "http://user:word@proxy:1",
            "http://proxy:1/path",
            "socks5://",
            "http://proxy?x",
        ] {
            assert!(proxy_url(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_proxy_is_named_whole_or_not_at_all() {
        for (url, username, password, expected) in [
            ("", "", "", vec![]),
            ("", "u", "", vec!["forward_proxy.url"]),
            ("", "", "p", vec!["forward_proxy.username", "forward_proxy.url"]),
            ("http://h:1", "", "p", vec!["forward_proxy.username"]),
            ("http://h:1", "u", "", vec![]),
            ("h:1", "u", "p", vec!["forward_proxy.url"]),
        ] {
            let mut faults = Faults::default();
            let wire = config::ForwardProxy {
                url: url.to_owned(),
                username: username.to_owned(),
                password: password.to_owned(),
            };
            proxy(wire, &mut faults);
            let fields: Vec<String> = faults.fields().map(str::to_owned).collect();
            assert_eq!(fields, expected, "{url} {username} {password}");
        }
    }

    #[test]
    fn a_refused_address_does_not_repeat_what_may_be_secret() {
        for bad in [
            "https://user:hunter2@api.example/v1",
            "https://hunter2@api.example/v1?key=hunter2#hunter2",
            "no-scheme:hunter2@api.example?key=hunter2",
            "https://a@hunter2@api.example",
        ] {
            let fault = root(bad).unwrap_err().to_string();
            assert!(!fault.contains("hunter2") && fault.contains("api.example"), "{fault}");
        }
    }
}
