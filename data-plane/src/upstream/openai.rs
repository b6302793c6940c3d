//! OpenAI's REST API as an upstream speaks it: how a request is written and an answer's header and events are read. It sends
//! nothing and decides nothing.

use http::{HeaderMap, Request, Uri, header::SERVER};
use reqwest::Body;
use signalbox_routing::Target;

use super::{Call, Key, anthropic, head};
use crate::headers;

mod event;

pub(crate) use event::{Event, Kind};

/// Writes the request for one target.
///
/// # Errors
/// Where the query cannot be put into the target's URL.
pub(crate) fn request(call: &Call, target: &Target, key: Option<&Key>) -> http::Result<Request<Body>> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(uri(target, call.query.as_deref())?)
        .body(call.body.naming(&target.model))?;
    let mut headers = call.headers.clone();
    head::address(&mut headers, &target.provider, key);
    *request.headers_mut() = headers;
    Ok(request)
}

/// Makes an answer's headers fit for a client. What is said about the operator's account and server stays here.
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    headers::clean_answer(headers);
    headers.remove(SERVER);
    anthropic::clean_answer(headers);
    let limits: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("x-ratelimit-")).cloned().collect();
    for name in limits {
        headers.remove(name);
    }
}

/// The target's URL with the client's query after its own.
fn uri(target: &Target, query: Option<&str>) -> http::Result<Uri> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(target.url.clone()) };
    let mark = if target.url.query().is_some() { '&' } else { '?' };
    Ok(format!("{}{mark}{query}", target.url).try_into()?)
}
