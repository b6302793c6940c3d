//! The part of the table that is about errors which a library made: they keep their code and get a reason.

use tonic::Code;

use super::{Answer, cut, plain};
use crate::admin::foreign::Foreign;

pub(super) fn answer(foreign: Foreign) -> Answer {
    let message = foreign.to_string();
    match foreign {
        Foreign::UnknownMethod { near, .. } => {
            let instead = match near.as_slice() {
                [] => "reflection lists those that there are (`grpcurl … list`)".to_owned(),
                near => format!("did you mean {}?", near.join(" or ")),
            };
            plain(Code::Unimplemented, "METHOD_UNKNOWN", format!("{}: {instead}", cut(&message)))
        }
        Foreign::Compressed => plain(
            Code::Unimplemented,
            "COMPRESSION_UNSUPPORTED",
            format!("{message}: send it as it is, without `grpc-encoding`"),
        ),
        Foreign::Undecodable { .. } => {
            let message =
                format!("{}; do client and server have the same schemas? reflection tells this one's", cut(&message));
            plain(Code::Internal, "REQUEST_UNDECODABLE", message)
        }
        Foreign::TooLarge { .. } => plain(Code::OutOfRange, "REQUEST_TOO_LARGE", cut(&message)),
        Foreign::Deadline => plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message),
        Foreign::Plain { code, .. } => plain(code, code_name(code), cut(&message)),
    }
}

/// What a code is called where it is a text.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
