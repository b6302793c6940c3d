//! OpenAI's REST API as an upstream speaks it: how a request is written and an answer's header and events are read. It sends
//! nothing and decides nothing.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Uri};
use signalbox_routing::{Dialect, Endpoint, Target};
use url::form_urlencoded;

use super::{Body, Call, Key, anthropic, azure, head};
use crate::{
    headers::{self, X_REQUEST_ID},
    openai::envelope::UsageWish,
    splice::Edit,
    tunnel,
};

mod chunk;
mod event;

pub(crate) use event::{Event, Kind};

/// What an upstream calls an exchange: OpenAI and those like it, Anthropic, and Azure.
const REQUEST_IDS: [HeaderName; 3] =
    [X_REQUEST_ID, HeaderName::from_static("request-id"), HeaderName::from_static("apim-request-id")];

/// Writes the request for one target.
///
/// # Errors
/// Where the query cannot be put into the target's URL.
pub(crate) fn request(call: &Call, target: &Target, key: Option<&Key>) -> http::Result<Request<Body>> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(uri(target, &query(call, &target.model))?)
        .body(call.body.written(&target.model, asking_for_usage(call, target)))?;
    let mut headers = call.headers.clone();
    head::address(&mut headers, &target.provider, key);
    if call.body.handshake().is_some() {
        tunnel::switch(&mut headers);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Makes an answer's headers fit for a client. What is said about the operator's account and server stays here.
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    headers::clean_answer(headers, |name| {
        name == "server" || name.starts_with("x-ratelimit-") || anthropic::is_private(name)
    });
}

/// What the upstream calls the exchange, where that is a text.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<Box<str>> {
    let name = REQUEST_IDS.iter().find_map(|name| headers.get(name))?;
    name.to_str().ok().map(Into::into)
}

/// A streamed chat is asked for its usage though the client does not ask: nothing else tells what it took.
fn asking_for_usage(call: &Call, target: &Target) -> Option<Edit> {
    let UsageWish::Unasked { span, ask } = &call.usage else { return None };
    let reports = matches!(call.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
    (call.stream && reports && target.provider.request_usage)
        .then(|| Edit { span: span.clone(), value: Bytes::from_static(ask.as_bytes()) })
}

/// The client's query, with the target's model in a handshake's.
fn query<'c>(call: &'c Call, model: &str) -> Cow<'c, str> {
    let query = call.query.as_deref().unwrap_or_default();
    let Some(span) = call.body.handshake() else { return query.into() };
    let (before, after) = (query.get(..span.start).unwrap_or_default(), query.get(span.end..).unwrap_or_default());
    let model: String = form_urlencoded::byte_serialize(model.as_bytes()).collect();
    [before, &model, after].concat().into()
}

/// The target's URL with the client's query after its own.
fn uri(target: &Target, query: &str) -> http::Result<Uri> {
    let own = target.url.query();
    let query = match target.provider.dialect {
        Dialect::AzureOpenAi => azure::query(query, own),
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini | Dialect::Conversation => query.into(),
    };
    if query.is_empty() {
        return Ok(target.url.clone());
    }
    let mark = if own.is_some() { '&' } else { '?' };
    Ok(format!("{}{mark}{query}", target.url).try_into()?)
}
