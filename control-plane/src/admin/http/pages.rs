//! The admin port's own pages, for everybody: `/docs` for people, `/openapi.json` for programs, `/health` for probes. Everything they
//! need is in the program. They say what can be asked, never what is configured.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION},
};
use http_body_util::Full;
use prost::Message as _;
use tonic::body::Body;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use utoipa_swagger_ui::Config;

use super::{Refused, openapi, reply, request};

const INDEX: &str = include_str!("pages/index.html");

/// The page may load what comes with it, style itself, and call this port, nothing more.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'self'; frame-ancestors 'none'",
);

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// What can be asked, as an OpenAPI document.
    OpenApi,
    /// Where the documentation is.
    ToDocs,
    /// A file of the documentation; empty = the page itself.
    Docs(String),
}

impl Page {
    /// The page at a path, if there is one.
    pub(super) fn find(path: &str) -> Option<Self> {
        match path {
            "/openapi.json" => Some(Self::OpenApi),
            "/" | "/docs" => Some(Self::ToDocs),
            _ => path.strip_prefix("/docs/").map(|file| Self::Docs(file.to_owned())),
        }
    }
}

/// A page that is in the program.
pub(super) fn show(page: Page) -> Response<Body> {
    match page {
        Page::OpenApi => reply::json(StatusCode::OK, DOCUMENT.clone()),
        Page::ToDocs => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs/"));
            response
        }
        Page::Docs(file) => docs(&file).unwrap_or_else(|| {
            let near = vec!["GET /docs/".to_owned()];
            reply::refused(Refused::UnknownPath { near })
        }),
    }
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| openapi::document().to_pretty_json().map(|text| text + "\n").unwrap_or_default());

/// The page, or a file that belongs to it.
fn docs(file: &str) -> Option<Response<Body>> {
    let (content_type, bytes, packed) = match file {
        "" => (HeaderValue::from_static("text/html; charset=utf-8"), Bytes::from_static(INDEX.as_bytes()), false),
        file => {
            let file = utoipa_swagger_ui::serve(file, Arc::new(Config::from("../openapi.json"))).ok()??;
            (HeaderValue::try_from(file.content_type).ok()?, file.bytes.into_owned().into(), file.gzpipped)
        }
    };
    let mut response = Response::new(Body::new(Full::new(bytes)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.extend([reply::NOSNIFF]);
    if packed {
        // Whoever runs a script of it can unpack it.
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

/// The request as the health service takes it.
pub(super) fn ask_for_health(request: Request<Body>) -> Request<Body> {
    let (mut parts, _) = request.into_parts();
    (parts.method, parts.uri) = (Method::POST, Uri::from_static(HEALTH_CHECK));
    parts.headers.clear();
    let message = request::framed(&HealthCheckRequest::default().encode_to_vec()).unwrap_or_default();
    Request::from_parts(parts, Body::new(Full::new(message)))
}

/// What the health service said, in the words that it uses.
pub(super) async fn health(response: Response<Body>) -> Response<Body> {
    let said = reply::encoded(response).await.ok().and_then(|said| HealthCheckResponse::decode(said).ok());
    let status = said.map_or(ServingStatus::Unknown, |said| said.status());
    let code = if status == ServingStatus::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::json(code, format!("{{\"status\": \"{}\"}}\n", status.as_str_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_page_names_is_there_and_nothing_is_elsewhere() {
        assert!(!INDEX.contains("//"), "{INDEX}");
        let named: Vec<_> = INDEX
            .split('"')
            .filter(|word| [".js", ".css", ".png"].iter().any(|ending| word.ends_with(ending)))
            .collect();
        assert_eq!(named.len(), 6, "{named:?}");
        for file in named {
            assert!(docs(file).is_some(), "{file}");
        }
        assert!(docs("nothing.js").is_none() && docs("../secrets").is_none());
    }

    #[test]
    fn a_page_has_one_path() {
        assert_eq!(Page::find("/docs/"), Some(Page::Docs(String::new())));
        for path in ["/health/", "/docs.html", "/openapi.json/", "/v1/providers", "//docs/"] {
            assert_eq!(Page::find(path), None, "{path}");
        }
    }
}
