//! What a client is told whose request cannot be read, and so is none: a whole HTTP/1.1 message, which ends the connection.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use super::Answer;
use crate::{errors::answer::Shape, record::RequestId};

/// The head did not come in time.
pub(crate) fn too_slow() -> Bytes {
    message(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request's headers came too slowly.")
}

/// The head is refused with this status; `None` = nothing is refused with it.
pub(crate) fn refused(status: StatusCode) -> Option<Bytes> {
    let (code, text) = match status {
        StatusCode::BAD_REQUEST => {
            ("malformed_request", "This is no HTTP request that could be understood in one way.")
        }
        StatusCode::URI_TOO_LONG => ("url_too_long", "The request's URL is too long."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("headers_too_large", "The request has too many headers, or they are too long.")
        }
        _ => return None,
    };
    Some(message(status, code, text))
}

fn message(status: StatusCode, code: &'static str, text: &'static str) -> Bytes {
    let request_id = RequestId::new();
    tracing::debug!(request.id = %request_id, response.status = status.as_u16(), code, "request unread");
    let body = Answer::invalid(status, code, Cow::Borrowed(text)).json(Shape::OpenAi);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    Bytes::from([head.as_bytes(), &body].concat())
}
