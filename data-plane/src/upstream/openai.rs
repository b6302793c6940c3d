//! OpenAI's REST API as an upstream speaks it: how a request is written and an answer's header and events are read. It sends
//! nothing and decides nothing.

use std::{
    array,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH, InvalidHeaderValue, SERVER},
};
use http_body::{Frame, SizeHint};
use reqwest::Body;
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_routing::Target;
use zeroize::Zeroizing;

use super::Call;
use crate::{headers, splice};

mod event;

pub(crate) use event::{Event, Kind};

/// The header that carries a key, marked sensitive.
pub(super) fn authorization(secret: &SecretString) -> Result<HeaderValue, InvalidHeaderValue> {
    let text = Zeroizing::new(format!("Bearer {}", secret.expose_secret()));
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Writes the request for one target.
///
/// # Errors
/// Where the query cannot be put into the target's URL.
pub(crate) fn request(call: &Call, target: &Target, key: Option<&HeaderValue>) -> http::Result<Request<Body>> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(uri(target, call.query.as_deref())?)
        .body(body(call, target))?;
    let mut headers = call.headers.clone();
    headers::apply(&target.provider.headers, &mut headers);
    // The body's own length is stated, whatever a configured header says.
    headers.remove(CONTENT_LENGTH);
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, key.clone());
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Makes an answer's headers fit for a client. What is said about the operator's account and server stays here.
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    headers::clean_answer(headers);
    headers.remove(SERVER);
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

/// The client's body with the target's model in it. Only the model is written anew; the rest is shared with every other attempt.
fn body(call: &Call, target: &Target) -> Body {
    let wanted = splice::json_string(&target.model);
    if call.body.get(call.model_span.clone()) == Some(&*wanted) {
        return call.body.clone().into();
    }
    Body::wrap(Parts::new(splice::parts(&call.body, call.model_span.clone(), wanted)))
}

/// A body of known length in three pieces.
struct Parts {
    rest: array::IntoIter<Bytes, 3>,
    left: u64,
}

impl Parts {
    fn new(parts: [Bytes; 3]) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self { rest: parts.into_iter(), left }
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.rest.find(|part| !part.is_empty());
        self.left -= part.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
