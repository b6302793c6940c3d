//! The part of the table that is about HTTP: what is said of requests that are no call, and which HTTP status goes with which code.

use http::{Method, StatusCode};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Answer, Violation, invalid, plain};
use crate::admin::http::Refused;

const MEDIA_TYPE: &str =
    "send the body as JSON and say so: `content-type: application/json`, without `content-encoding`";

pub(super) fn answer(refused: Refused) -> Answer {
    let message = refused.to_string();
    match refused {
        Refused::Path(_) => plain(
            Code::InvalidArgument,
            "INVALID_PATH",
            format!("{message}: a name's own slashes are written as they are"),
        ),
        Refused::UnknownPath { near } => {
            plain(Code::NotFound, "PATH_UNKNOWN", format!("{message}: {}", instead(&near)))
        }
        Refused::NotGrpc { instead } => {
            let message = format!(
                "{message}: over HTTP the same call is {instead}, over gRPC the content type is application/grpc"
            );
            plain(Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", message)
        }
        Refused::Method { allowed } => {
            let allowed: Vec<_> = allowed.iter().map(Method::as_str).collect();
            plain(Code::Unimplemented, "METHOD_NOT_ALLOWED", format!("{message}: there are {}", allowed.join(", ")))
        }
        Refused::CrossSite => {
            plain(Code::PermissionDenied, "CROSS_SITE", format!("{message}, which may not change anything"))
        }
        Refused::QueryTooLong { .. } => plain(Code::InvalidArgument, "URI_TOO_LONG", message),
        Refused::BodyNotAllowed => {
            plain(Code::InvalidArgument, "BODY_NOT_ALLOWED", format!("{message}: all is said by path and query"))
        }
        Refused::MediaType => plain(Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", MEDIA_TYPE.to_owned()),
        Refused::TooLarge { .. } => plain(Code::OutOfRange, "REQUEST_TOO_LARGE", message),
        Refused::TooSlow { .. } => plain(Code::DeadlineExceeded, "REQUEST_TOO_SLOW", message),
        Refused::Incomplete => plain(Code::InvalidArgument, "REQUEST_INCOMPLETE", message),
        Refused::Json { line, column, problem } => {
            let place = format!("line {line}, column {column}");
            invalid(vec![Violation::new("body", "INVALID_JSON", format!("is no JSON: {place}: {problem}"))])
        }
        Refused::Unshowable => plain(
            Code::Internal,
            "INTERNAL",
            format!("{message}, whatever came of the call; the control plane's log says why"),
        ),
    }
}

fn instead(near: &[String]) -> String {
    match near {
        [] => "/docs shows those that there are".to_owned(),
        near => format!("did you mean {}? /docs shows all", near.join(" or ")),
    }
}

/// The HTTP status of an error: that of its code (`google.rpc.Code`), or a more telling one where HTTP has it.
pub(crate) fn http_status(status: &Status) -> StatusCode {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    match reason.as_str() {
        "METHOD_NOT_ALLOWED" => return StatusCode::METHOD_NOT_ALLOWED,
        "REQUEST_TOO_SLOW" => return StatusCode::REQUEST_TIMEOUT,
        "REQUEST_TOO_LARGE" => return StatusCode::PAYLOAD_TOO_LARGE,
        "URI_TOO_LONG" => return StatusCode::URI_TOO_LONG,
        "UNSUPPORTED_MEDIA_TYPE" => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => {}
    }
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}
