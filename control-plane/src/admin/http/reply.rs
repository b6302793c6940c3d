//! What an RPC answered, as HTTP: its message as canonical JSON, its error as AIP-193 has it.

use std::sync::LazyLock;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Serialize;
use serde_json::Value;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;

use super::{Refused, request::FRAME};
use crate::{
    admin::error::{Error, code_name, http_status},
    proto_json,
};

pub(super) const NOSNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));

/// The body of an error (AIP-193).
#[derive(Debug, Serialize)]
struct Report<'a> {
    error: Problem<'a>,
}

#[derive(Debug, Serialize)]
struct Problem<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    details: Value,
}

/// The schemas of `google.rpc.Status` and of the details that it may carry.
static RPC: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok()?;
    pool.get_message_by_name("google.rpc.Status")
});

/// The answer of an RPC that answers with this message.
pub(super) async fn of_rpc(response: Response<Body>, schema: MessageDescriptor) -> Response<Body> {
    match message(response, schema).await {
        Ok(text) => json(StatusCode::OK, text),
        Err(status) => of_status(&status),
    }
}

async fn message(response: Response<Body>, schema: MessageDescriptor) -> Result<String, Status> {
    let encoded = encoded(response).await?;
    let unshowable = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(error, "an answer cannot be shown as JSON");
        Status::from(Error::Http(Refused::Unshowable))
    };
    let message = DynamicMessage::decode(schema, encoded).map_err(|error| unshowable(&error))?;
    proto_json::write(&message).map_err(|error| unshowable(&error))
}

/// The one message of a response, or the status that it ended with instead.
pub(super) async fn encoded(response: Response<Body>) -> Result<Bytes, Status> {
    succeeded(response.headers())?;
    let collected = response.into_body().collect().await?;
    collected.trailers().map_or(Ok(()), succeeded)?;
    let mut bytes = collected.to_bytes();
    bytes.advance(FRAME.min(bytes.len()));
    Ok(bytes)
}

fn succeeded(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// The answer to what is no call of an RPC.
pub(super) fn refused(refused: Refused) -> Response<Body> {
    let allow = match &refused {
        Refused::Method { allowed } => {
            let allowed: Vec<_> = allowed.iter().map(http::Method::as_str).collect();
            HeaderValue::try_from(allowed.join(", ")).ok()
        }
        _ => None,
    };
    let mut response = of_status(&Status::from(Error::Http(refused)));
    response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    response
}

/// An error as AIP-193 has it.
fn of_status(status: &Status) -> Response<Body> {
    let code = http_status(status);
    let error = Problem {
        code: code.as_u16(),
        message: status.message(),
        status: code_name(status.code()),
        details: details(status),
    };
    let text = serde_json::to_string_pretty(&Report { error }).unwrap_or_default();
    let mut response = json(code, text + "\n");
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    if let Some(delay) = delay {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The details, each with the `@type` that says what it is.
fn details(status: &Status) -> Value {
    let decoded = RPC.clone().and_then(|schema| DynamicMessage::decode(schema, status.details()).ok());
    let json = decoded.and_then(|decoded| serde_json::to_value(&decoded).ok());
    json.and_then(|mut json| json.get_mut("details").map(Value::take)).unwrap_or_else(|| Value::Array(Vec::new()))
}

/// A JSON text that is not to be kept.
pub(super) fn json(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(text)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend([NOSNIFF]);
    response
}

/// The answer to a `HEAD`: what the answer to a `GET` would say of itself.
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}
