//! Which web pages' scripts may read an answer, and what a browser is told that asks beforehand. It knows neither paths nor keys.

use std::convert::Infallible;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER, VARY,
    },
    request::Parts,
};
use signalbox_routing::Cors;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_layer::Layer as _;
use tower_service::Service as _;

use crate::{
    headers::{
        RETRY_AFTER_MS, X_REQUEST_ID, X_SHOULD_RETRY, X_SIGNALBOX_ATTEMPTS, X_SIGNALBOX_MODEL, X_SIGNALBOX_PROVIDER,
        X_SIGNALBOX_REVISION, X_UPSTREAM_REQUEST_ID,
    },
    reply::{Content, Reply},
};

/// What scripts may read where the configuration does not say.
const OWN: [HeaderName; 15] = [
    X_REQUEST_ID,
    X_UPSTREAM_REQUEST_ID,
    X_SIGNALBOX_REVISION,
    X_SIGNALBOX_PROVIDER,
    X_SIGNALBOX_MODEL,
    X_SIGNALBOX_ATTEMPTS,
    X_SHOULD_RETRY,
    RETRY_AFTER,
    RETRY_AFTER_MS,
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Headers that are ours alone to send, whatever a route's target says.
const ANSWERS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// What a browser is told in an answer's headers.
#[derive(Debug)]
pub(crate) struct Told(HeaderMap);

/// Whether a browser asks if it may send what it has not sent yet (the Fetch standard's preflight).
pub(crate) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight, but for its headers.
pub(crate) fn preflight() -> Reply {
    let mut reply = Response::new(Content::Withheld);
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Who is told what. Made once for a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Policy(CorsLayer);

impl Policy {
    /// As configured.
    pub(crate) fn of(cors: &Cors) -> Self {
        Self(layer(cors))
    }

    /// What the browser behind a request is told.
    pub(crate) async fn tell(&self, head: &Parts) -> Told {
        let mut asked = Request::new(());
        // Any other `OPTIONS` is a request like all others.
        *asked.method_mut() = if is_preflight(head) { Method::OPTIONS } else { Method::GET };
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            if let Some(value) = head.headers.get(&name) {
                asked.headers_mut().insert(name, value.clone());
            }
        }
        let nothing = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(())) });
        let Ok(told) = self.0.layer(nothing).call(asked).await;
        Told(told.into_parts().0.headers)
    }
}

fn layer(cors: &Cors) -> CorsLayer {
    let Cors { allowed_origins, allowed_methods, allowed_headers, exposed_headers, allow_credentials, max_age } = cors;
    let origins = allowed_origins.as_ref().map_or_else(AllowOrigin::any, |listed| AllowOrigin::list(listed.clone()));
    let methods = Some(allowed_methods.clone()).filter(|listed| !listed.is_empty());
    let headers = Some(allowed_headers.clone()).filter(|listed| !listed.is_empty());
    let exposed = Some(exposed_headers.clone()).filter(|listed| !listed.is_empty());
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(methods.map_or_else(AllowMethods::mirror_request, AllowMethods::list))
        .allow_headers(headers.map_or_else(AllowHeaders::mirror_request, AllowHeaders::list))
        .expose_headers(exposed.unwrap_or_else(|| OWN.to_vec()))
        .allow_credentials(*allow_credentials)
        .max_age(*max_age)
}

impl Told {
    /// Says it in an answer.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        for name in &ANSWERS {
            headers.remove(name);
        }
        for name in self.0.keys() {
            for value in self.0.get_all(name) {
                if *name == VARY {
                    headers.append(name, HeaderValue::clone(value));
                } else {
                    headers.insert(name, HeaderValue::clone(value));
                }
            }
        }
    }
}
