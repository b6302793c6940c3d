//! The message around a request: what HTTP allows but a gateway must not, judged before anything else. It never looks at a path.

use http::{
    Extensions, HeaderMap, Method, Request, Uri, Version,
    header::{HOST, TRANSFER_ENCODING},
    uri::Authority,
};

use crate::options::Limits;

/// Marks a request whose head has both a length and a transfer coding, of which only one is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ambiguous;

/// Why a request is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Not exactly one host, or two that differ.
    #[error("it must name one host")]
    Host,
    /// A target with a scheme and authority, or none but an authority: what proxies take.
    #[error("its target must be a path, and its method neither CONNECT nor TRACE")]
    Form,
    /// A transfer coding other than chunked, or a length beside it.
    #[error("its length must be told in one way, and its only transfer coding can be chunked")]
    Length,
    /// The target is too long.
    #[error("the request's URL is longer than {limit} bytes")]
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// There are too many headers.
    #[error("the request has more than {limit} headers")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
}

/// Judges a request by its head alone.
///
/// # Errors
/// [`Error`] where it is ambiguous, meant for a forward proxy, or over a limit.
pub(crate) fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), Error> {
    let (uri, headers) = (request.uri(), request.headers());
    check_form(request.method(), uri, request.version())?;
    check_host(headers, uri.authority())?;
    check_length(request.extensions(), headers)?;
    if uri.path_and_query().is_some_and(|target| target.as_str().len() > limits.max_target_bytes) {
        return Err(Error::TargetTooLong { limit: limits.max_target_bytes });
    }
    // HTTP/1 is held to it while it is read.
    if headers.len() > limits.max_headers {
        return Err(Error::TooManyHeaders { limit: limits.max_headers });
    }
    Ok(())
}

fn check_form(method: &Method, uri: &Uri, version: Version) -> Result<(), Error> {
    let tunnelling = *method == Method::CONNECT || *method == Method::TRACE;
    // HTTP/2 has an authority in every target, in a field of its own.
    let absolute = version < Version::HTTP_2 && uri.authority().is_some();
    if tunnelling || absolute || uri.path_and_query().is_none() { Err(Error::Form) } else { Ok(()) }
}

fn check_host(headers: &HeaderMap, authority: Option<&Authority>) -> Result<(), Error> {
    let mut hosts = headers.get_all(HOST).iter();
    let agree = match (hosts.next(), authority) {
        (None, authority) => authority.is_some(),
        (Some(host), None) => !host.is_empty(),
        (Some(host), Some(authority)) => host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()),
    };
    if agree && hosts.next().is_none() { Ok(()) } else { Err(Error::Host) }
}

fn check_length(marks: &Extensions, headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let ambiguous = marks.get::<Ambiguous>().is_some() || codings.next().is_some();
    if chunked && !ambiguous { Ok(()) } else { Err(Error::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(method: &str, target: &str, version: Version, headers: &[(&str, &str)]) -> Result<(), Error> {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), &Limits { max_headers: 3, max_target_bytes: 32, ..Limits::default() })
    }

    #[test]
    fn exactly_one_host_is_named() {
        for (target, version, hosts, expected) in [
            ("/", Version::HTTP_11, &["a"][..], Ok(())),
            ("/", Version::HTTP_11, &[], Err(Error::Host)),
            ("/", Version::HTTP_11, &[""], Err(Error::Host)),
            ("/", Version::HTTP_11, &["a", "a"], Err(Error::Host)),
            ("/", Version::HTTP_10, &[], Err(Error::Host)),
            ("http://a/", Version::HTTP_2, &[], Ok(())),
            ("http://a/", Version::HTTP_2, &["A"], Ok(())),
            ("http://a/", Version::HTTP_2, &["b"], Err(Error::Host)),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(check_one("GET", target, version, &headers), expected, "{target} {version:?} {hosts:?}");
        }
    }

    #[test]
    fn what_is_meant_for_a_forward_proxy_is_refused() {
        for (method, target) in
            [("GET", "http://example.com/v1"), ("CONNECT", "example.com:443"), ("TRACE", "/v1/models")]
        {
            assert_eq!(
                check_one(method, target, Version::HTTP_11, &[("host", "a")]),
                Err(Error::Form),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        for (codings, expected) in [
            (&["chunked"][..], Ok(())),
            (&["Chunked"], Ok(())),
            (&["gzip, chunked"], Err(Error::Length)),
            (&["chunked", "chunked"], Err(Error::Length)),
            (&["xchunked"], Err(Error::Length)),
        ] {
            let mut headers = vec![("host", "a")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            assert_eq!(check_one("POST", "/", Version::HTTP_11, &headers), expected, "{codings:?}");
        }
    }

    #[test]
    fn the_target_and_the_headers_are_limited() {
        let long = format!("/a?{}", "b".repeat(30));
        let refused = check_one("GET", &long, Version::HTTP_11, &[("host", "a")]);
        assert_eq!(refused, Err(Error::TargetTooLong { limit: 32 }));
        let headers = [("host", "a"), ("a", "1"), ("a", "2"), ("b", "1")];
        assert_eq!(check_one("GET", "/", Version::HTTP_11, &headers), Err(Error::TooManyHeaders { limit: 3 }));
    }
}
