//! Which headers pass, in either direction. It knows names and policies, never what a request is about.
//!
//! Nothing is added on behalf of the client: no `Forwarded`, `X-Forwarded-*` or `Via`. Those that a client or a proxy in front
//! sends go on unless Settings drop them.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE},
};
use signalbox_routing::HeaderPolicy;

/// Names an exchange. Ours in every answer; a client's own is never taken for it.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The upstream's own name for the exchange.
pub(crate) const X_UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
/// The revision that the request was planned against.
pub(crate) const X_SIGNALBOX_REVISION: HeaderName = HeaderName::from_static("x-signalbox-revision");
/// The id of the provider that answered.
pub(crate) const X_SIGNALBOX_PROVIDER: HeaderName = HeaderName::from_static("x-signalbox-provider");
/// The model that was asked of that provider.
pub(crate) const X_SIGNALBOX_MODEL: HeaderName = HeaderName::from_static("x-signalbox-model");
/// How many attempts were made.
pub(crate) const X_SIGNALBOX_ATTEMPTS: HeaderName = HeaderName::from_static("x-signalbox-attempts");
/// Whether the OpenAI SDKs may try again; it outranks their own rules.
pub(crate) const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// `Retry-After` in milliseconds, as the OpenAI SDKs read it.
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// A client key, where there is no `Authorization`.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The same, as Azure's clients send it.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// How long OpenAI's SDK for Node waits for an answer, in seconds.
pub(crate) const X_STAINLESS_TIMEOUT: HeaderName = HeaderName::from_static("x-stainless-timeout");
/// How long OpenAI's SDK for Python waits for a byte, in seconds.
pub(crate) const X_STAINLESS_READ_TIMEOUT: HeaderName = HeaderName::from_static("x-stainless-read-timeout");

/// Whose account at OpenAI is meant, which is the client's or the operator's own affair.
const OPENAI: [HeaderName; 2] =
    [HeaderName::from_static("openai-organization"), HeaderName::from_static("openai-project")];

/// Whether a header is meaningful for one connection only (RFC 9110, section 7.6.1, and what older peers send).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether it is said anew to the upstream: whom it is for, how long the body is, and that it comes without being asked for.
fn is_per_message(name: &str) -> bool {
    matches!(name, "content-length" | "expect" | "host")
}

/// Whether a client says it about itself to the gateway, so that no provider is to see it: the key above all.
fn is_client_only(name: &str) -> bool {
    matches!(name, "api-key" | "authorization" | "cookie" | "x-api-key" | "x-request-id")
        || name.starts_with("x-stainless-")
        || is_ours(name)
}

/// Whether a provider says it about itself or the operator's account, so that no client is to see it.
fn is_upstream_only(name: &str) -> bool {
    matches!(name, "alt-svc" | "content-length" | "openai-organization" | "openai-project" | "set-cookie")
}

/// Whether nobody but the gateway has a say in it.
fn is_ours(name: &str) -> bool {
    name.starts_with("x-signalbox-")
}

/// Makes a client's headers fit for a provider: none that ends here, none that identifies the client, and no compression.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    remove(headers, |name| is_hop_by_hop(name) || is_per_message(name) || is_client_only(name));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Makes a client's headers fit for a route's target: only those go that end here.
pub(crate) fn clean_mount_request(headers: &mut HeaderMap) {
    remove(headers, |name| is_hop_by_hop(name) || is_per_message(name));
}

/// Makes a provider's headers fit for a client, without those that are `private` in its dialect.
pub(crate) fn clean_answer(headers: &mut HeaderMap, private: impl Fn(&str) -> bool) {
    remove(headers, |name| is_hop_by_hop(name) || is_ours(name) || is_upstream_only(name) || private(name));
    pass_request_id(headers);
}

/// Makes the headers of a route's target fit for a client; its request id goes on under a name of its own.
pub(crate) fn clean_mount_answer(headers: &mut HeaderMap) {
    remove(headers, |name| is_hop_by_hop(name) || is_ours(name));
    pass_request_id(headers);
}

fn pass_request_id(headers: &mut HeaderMap) {
    if let Some(theirs) = headers.remove(X_REQUEST_ID) {
        headers.insert(X_UPSTREAM_REQUEST_ID, theirs);
    }
}

/// Takes out whose account at OpenAI is meant.
pub(crate) fn remove_openai(headers: &mut HeaderMap) {
    remove_all(headers, &OPENAI);
}

/// Takes out the client key, wherever a header may hold it.
pub(crate) fn remove_keys(headers: &mut HeaderMap) {
    remove_all(headers, &[AUTHORIZATION, X_API_KEY, API_KEY]);
}

/// Takes out what ends here, and what `Connection` names as meant for one connection only, in one walk: most names are neither.
fn remove(headers: &mut HeaderMap, ends_here: impl Fn(&str) -> bool) {
    let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let listed = listed.flat_map(|value| value.split(',')).map(str::trim);
    let mut leaving: Vec<HeaderName> = listed.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
    leaving.extend(headers.keys().filter(|name| ends_here(name.as_str())).cloned());
    remove_all(headers, &leaving);
}

/// Takes out every header whose name begins so.
pub(crate) fn remove_prefixed(headers: &mut HeaderMap, prefix: &str) {
    let leaving: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect();
    remove_all(headers, &leaving);
}

/// Takes out what the policy drops, then adds what it configures; a configured header gives way to the client's unless it overwrites.
pub(crate) fn apply(policy: &HeaderPolicy, headers: &mut HeaderMap) {
    remove_all(headers, &policy.drop);
    for configured in &policy.add {
        if configured.overwrite || !headers.contains_key(&configured.name) {
            headers.insert(configured.name.clone(), configured.value.clone());
        }
    }
}

/// Whether a body is of this media type, whatever its parameters (RFC 9110, section 8.3.1).
pub(crate) fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes()))
}

/// Whether a body is compressed or otherwise encoded.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity")
}

fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use signalbox_routing::ConfiguredHeader;

    use super::*;

    pub(crate) fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn left(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn a_provider_sees_what_the_request_says_and_not_who_sends_it() {
        let mut headers = headers(&[
            ("host", "gateway"),
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "close"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("authorization", "Bearer sb_1"),
            ("x-api-key", "sb_1"),
            ("api-key", "sb_1"),
            ("cookie", "a=b"),
            ("accept-encoding", "gzip"),
            ("x-request-id", "theirs"),
            ("x-stainless-lang", "python"),
            ("x-stainless-retry-count", "0"),
            ("x-signalbox-provider", "x"),
            ("openai-organization", "org"),
            ("openai-project", "proj"),
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
            ("user-agent", "OpenAI/Python"),
        ]);
        clean_request(&mut headers);
        remove_openai(&mut headers);
        assert_eq!(
            left(&headers),
            [
                ("accept-encoding", "identity"),
                ("content-type", "application/json"),
                ("idempotency-key", "k"),
                ("user-agent", "OpenAI/Python")
            ]
        );
    }

    #[test]
    fn a_routes_target_sees_all_but_what_ends_here() {
        let mut headers = headers(&[
            ("host", "gateway"),
            ("connection", "close"),
            ("content-length", "3"),
            ("authorization", "Bearer own"),
            ("cookie", "a=b"),
            ("accept-encoding", "gzip"),
        ]);
        clean_mount_request(&mut headers);
        assert_eq!(left(&headers), [("accept-encoding", "gzip"), ("authorization", "Bearer own"), ("cookie", "a=b")]);
    }

    #[test]
    fn a_client_sees_what_the_provider_says_and_not_whose_account_it_is() {
        let mut headers = headers(&[
            ("connection", "close"),
            ("content-length", "3"),
            ("set-cookie", "__cf_bm=1"),
            ("alt-svc", "h3"),
            ("openai-organization", "org"),
            ("x-signalbox-attempts", "9"),
            ("x-request-id", "theirs"),
            ("content-type", "application/json"),
            ("x-secret", "1"),
            ("x-ratelimit-remaining-requests", "9"),
        ]);
        clean_answer(&mut headers, |name| name == "x-secret");
        assert_eq!(headers.get(X_UPSTREAM_REQUEST_ID).unwrap(), "theirs");
        headers.remove(X_UPSTREAM_REQUEST_ID);
        assert_eq!(left(&headers), [("content-type", "application/json"), ("x-ratelimit-remaining-requests", "9")]);
    }

    #[test]
    fn a_configured_header_gives_way_unless_it_overwrites() {
        let configured = |name: &'static str, overwrite| ConfiguredHeader {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static("ours"),
            overwrite,
        };
        let policy = HeaderPolicy {
            add: vec![configured("a", false), configured("b", true), configured("c", false), configured("d", false)],
            drop: vec![HeaderName::from_static("d"), HeaderName::from_static("e")],
        };
        let mut headers =
            headers(&[("a", "theirs"), ("b", "theirs"), ("b", "again"), ("d", "theirs"), ("e", "theirs")]);
        apply(&policy, &mut headers);
        assert_eq!(left(&headers), [("a", "theirs"), ("b", "ours"), ("c", "ours"), ("d", "ours")]);
    }
}
