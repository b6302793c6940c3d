//! Which headers pass, in either direction. It knows names and policies, never what a request is about.
//!
//! Nothing is added on behalf of the client: no `Forwarded`, `X-Forwarded-*` or `Via`. Those that a client or a proxy in front
//! sends go on unless Settings drop them.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
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
/// How long the OpenAI SDKs wait for a byte, in seconds.
pub(crate) const X_STAINLESS_READ_TIMEOUT: HeaderName = HeaderName::from_static("x-stainless-read-timeout");

/// Meaningful for one connection only (RFC 9110, section 7.6.1, and what older peers send).
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Said anew to the upstream: whom it is for, how long the body is, and that it comes without being asked for.
const PER_MESSAGE: [HeaderName; 3] = [HOST, CONTENT_LENGTH, EXPECT];

/// What a client says about itself to the gateway or to OpenAI, and no provider is to see.
const CLIENT_ONLY: [HeaderName; 5] = [
    COOKIE,
    ACCEPT_ENCODING,
    X_REQUEST_ID,
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

/// What a provider says about itself or the operator's account, and no client is to see.
const UPSTREAM_ONLY: [HeaderName; 5] = [
    SET_COOKIE,
    ALT_SVC,
    CONTENT_LENGTH,
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

/// Makes a client's headers fit for a provider: none that ends here, none that identifies the client, and no compression.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    clean_mount_request(headers);
    remove_keys(headers);
    remove_all(headers, &CLIENT_ONLY);
    remove_prefixed(headers, &["x-stainless-", "x-signalbox-"]);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Makes a client's headers fit for a route's target: only those go that end here.
pub(crate) fn clean_mount_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove_all(headers, &PER_MESSAGE);
}

/// Makes a provider's headers fit for a client; its request id goes on under a name of its own.
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove_all(headers, &UPSTREAM_ONLY);
    remove_prefixed(headers, &["x-signalbox-"]);
    if let Some(theirs) = headers.remove(X_REQUEST_ID) {
        headers.insert(X_UPSTREAM_REQUEST_ID, theirs);
    }
}

/// Takes out the client key, wherever a header may hold it.
pub(crate) fn remove_keys(headers: &mut HeaderMap) {
    remove_all(headers, &[AUTHORIZATION, X_API_KEY, API_KEY]);
}

/// Takes out what is meant for one connection only, and what `Connection` names as such.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    remove_all(headers, &named);
    remove_all(headers, &HOP_BY_HOP);
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

fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

fn remove_prefixed(headers: &mut HeaderMap, prefixes: &[&str]) {
    let named: Vec<HeaderName> = headers
        .keys()
        .filter(|name| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix)))
        .cloned()
        .collect();
    remove_all(headers, &named);
}
