//! The API's own pages: `/docs` for people and `/openapi.json` for programs. Everything they need is in the program; nothing is
//! fetched from elsewhere. They say what can be asked, never what is configured.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use utoipa_swagger_ui::Config;

use crate::reply::{self, Content, Reply};

mod openapi;

const INDEX: &str = include_str!("docs/index.html");

/// The page may load what comes with it, style itself, and call the gateway, nothing more.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'self'; frame-ancestors 'none'",
);

const X_CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// The page, or a file that belongs to it; `None` = there is no such file.
pub(crate) fn show(file: &str, base_path: &str) -> Option<Reply> {
    let mut reply = match file {
        "" => reply::typed("text/html; charset=utf-8", INDEX.replace("{{base_path}}", base_path)),
        file => asset(file)?,
    };
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(reply)
}

/// What can be asked, as an OpenAPI document.
pub(crate) fn openapi(base_path: &str) -> Reply {
    reply::json(&openapi::document(base_path))
}

/// A file of Swagger UI. Most are kept compressed, and sent so: whoever runs a script of it can unpack it.
fn asset(file: &str) -> Option<Reply> {
    let file = utoipa_swagger_ui::serve(file, Arc::new(Config::from("../openapi.json"))).ok()??;
    let content_type = HeaderValue::try_from(file.content_type).ok()?;
    let bytes: Bytes = file.bytes.into_owned().into();
    let mut reply = Response::new(Content::whole(bytes));
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    if file.gzpipped {
        reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_page_names_is_there_and_nothing_is_elsewhere() {
        let page = INDEX.replace("{{base_path}}", "/api/llm");
        assert!(!page.contains("//") && page.contains("href=\"/api/llm/docs/\""), "{page}");
        let named =
            page.split(['"']).filter(|word| word.ends_with(".js") || word.ends_with(".css") || word.ends_with(".png"));
        let named: Vec<_> = named.collect();
        assert_eq!(named.len(), 6, "{named:?}");
        for file in named {
            assert!(show(file, "").is_some(), "{file}");
        }
        assert!(show("nothing.js", "").is_none() && show("../secrets", "").is_none());
    }
}
