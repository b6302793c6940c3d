//! An upstream that takes one message and answers in a shape of its own: how its two requests are written, and how its answers are
//! retold as OpenAI's. It sends nothing, decides nothing, and knows no upstream by name.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{CONTENT_TYPE, InvalidHeaderValue},
};
use serde_json::Value;
use signalbox_routing::{Conversation, Create, Target};

use super::{Body, Call, Key, head};

mod message;
mod pieces;
mod pointer;
mod retold;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use message::Error as Unsayable;
pub(crate) use pieces::{Cut, MAX_HELD_BYTES};
pub(crate) use retold::Untold;

use pieces::Pieces;
use retold::Title;
use template::Terms;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest id of a conversation, in bytes.
const MAX_ID_BYTES: usize = 1024;

/// One chat as it is taken to such an upstream.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    call: &'a Call,
    target: &'a Target,
    key: Option<&'a Key>,
    conversation: &'a Conversation,
    message: String,
}

impl<'a> Turn<'a> {
    /// Reads what the client says.
    ///
    /// # Errors
    /// Where it cannot be said in one text.
    pub(crate) fn new(
        call: &'a Call,
        target: &'a Target,
        key: Option<&'a Key>,
        conversation: &'a Conversation,
    ) -> Result<Self, Unsayable> {
        let message = message::joined(call.body.json().map_or(&[], |json| json))?;
        Ok(Self { call, target, key, conversation, message })
    }

    /// The request that makes a conversation; `None` = none is made.
    pub(crate) fn opening(&self) -> Option<Request<Body>> {
        let Create { url, body, .. } = self.conversation.create.as_ref()?;
        let mut request = self.post(url, self.terms("").json(body));
        // The chat's own: a conversation must not be taken for its answer.
        request.headers_mut().remove(IDEMPOTENCY_KEY);
        Some(request)
    }

    /// The request that the chat is in.
    ///
    /// # Errors
    /// Where a header cannot hold what its template asks for.
    pub(crate) fn request(&self, conversation_id: &str) -> Result<Request<Body>, InvalidHeaderValue> {
        let terms = self.terms(conversation_id);
        let mut request = self.post(&self.target.url, terms.json(&self.conversation.chat_body));
        for (name, template) in &self.conversation.headers {
            request.headers_mut().insert(name.clone(), terms.header(name, template)?);
        }
        Ok(request)
    }

    fn post(&self, url: &Uri, body: String) -> Request<Body> {
        let mut headers = self.call.headers.clone();
        head::address(&mut headers, &self.target.provider, self.key);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers;
        request
    }

    fn terms<'t>(&'t self, conversation_id: &'t str) -> Terms<'t> {
        Terms {
            conversation_id,
            message: &self.message,
            model: &self.target.model,
            request_id: self.call.request_id.to_string(),
            unix_time_ms: jiff::Timestamp::now().as_millisecond().to_string(),
            stream: self.call.stream,
        }
    }
}

/// The id of the conversation that was made; `None` = the answer holds none.
pub(crate) fn id(create: &Create, answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    // An empty one is none, and another pointer may find a better one.
    let found = create.id.iter().filter_map(|at| pointer::text(&answer, std::slice::from_ref(at)));
    found.into_iter().find(|id| (1..=MAX_ID_BYTES).contains(&id.len())).map(std::borrow::Cow::into_owned)
}

/// A success, retold as the stream that was asked for; `None` = it is of no kind that is known.
pub(crate) fn stream(
    conversation: &Arc<Conversation>,
    model: &Arc<str>,
    answer: Response<Body>,
) -> Option<Response<Body>> {
    let (mut head, body) = answer.into_parts();
    let pieces = Pieces::new(&head.headers, body, Arc::clone(conversation))?;
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Some(Response::from_parts(head, Body::boxed(retold::Events::new(pieces, Title::new(Arc::clone(model))))))
}

/// A success, retold as one completion.
///
/// # Errors
/// [`Untold`] where there is none in it.
pub(crate) async fn whole(
    conversation: &Arc<Conversation>,
    model: &Arc<str>,
    answer: Response<Body>,
) -> Result<Response<Body>, Untold> {
    let (mut head, body) = answer.into_parts();
    let pieces = Pieces::new(&head.headers, body, Arc::clone(conversation)).ok_or(Untold::Nothing)?;
    let completion = retold::completion(pieces, &Title::new(Arc::clone(model))).await?;
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Response::from_parts(head, Body::Held(completion)))
}

/// A refusal of the request, in OpenAI's form.
pub(super) fn refusal(conversation: &Conversation, headers: &mut HeaderMap, body: &[u8]) -> Bytes {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let told = serde_json::from_slice(body).ok();
    let told = told.and_then(|told: Value| pointer::error(&told, &conversation.error).flatten());
    let message = told.as_deref().unwrap_or("The provider refuses this request.");
    let error = serde_json::json!({
        "error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}
    });
    error.to_string().into()
}
