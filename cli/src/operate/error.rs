//! What can keep an operator's command from being done: in words for people, with what to do next, and as an exit code for scripts. It
//! never holds a secret.

use std::{io, path::PathBuf, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{document, kind::InvalidKind, moment::InvalidMoment};
use crate::{
    admin,
    connection::{self, Address, contexts},
};

/// How a command ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// It was not asked for as it has to be.
    Usage = 2,
    /// `diff` found differences.
    Differs = 3,
    /// What was named is not there.
    NotFound = 4,
    /// What is there stands against it, or somebody was faster.
    Conflict = 5,
    /// Whoever asked may not.
    Denied = 6,
    /// What was waited for has not come.
    Unsatisfied = 7,
    /// No control plane answers; `EX_UNAVAILABLE` of sysexits.h.
    Unreachable = 69,
    /// A file has to be changed first; `EX_CONFIG` of sysexits.h.
    BadConfiguration = 78,
}

/// What the exit codes mean, for `--help`.
pub const EXIT_CODES: &str = "Exit codes:
   0  done
   1  failed
   2  wrong usage, or a value that the control plane refuses
   3  `diff`: there are differences
   4  not found
   5  conflict: it is there already, something refers to it, or somebody was faster
   6  denied: no valid token, or a role that may not
   7  what was waited for has not come
  69  no control plane answers
  78  a file or the configuration is wrong";

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody says how the control plane is reached.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// The contexts cannot be used.
    #[error(transparent)]
    Contexts(#[from] contexts::Error),
    /// The admin token cannot be sent.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// Nobody answers.
    #[error("no control plane answers at {address}: {}", status.message())]
    Unreachable {
        /// Where it was expected.
        address: Address,
        /// What came instead.
        status: Box<Status>,
    },
    /// The answer has not come in time.
    #[error("{address} has not answered {method} within {} s", timeout.as_secs())]
    TimedOut {
        /// Where it was expected.
        address: Address,
        /// What was asked.
        method: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The control plane said no.
    #[error("{method} was refused: {}", in_words(status))]
    Refused {
        /// What was asked.
        method: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The control plane refused what a document says.
    #[error("the configuration was refused:{}", lines(message, faults))]
    Document {
        /// As a whole, where nothing in particular is wrong.
        message: String,
        /// Each resource and field, and what is wrong with it; they say what the message says.
        faults: Vec<String>,
    },
    /// The answer is not what the schemas say.
    #[error("the answer to {method} cannot be read")]
    Garbled {
        /// What was asked.
        method: String,
        /// Why.
        source: prost::DecodeError,
    },
    /// The schemas have no such call.
    #[error("there is no call {0} in this program's schemas")]
    NoMethod(String),
    /// Documents cannot be read.
    #[error(transparent)]
    Read(#[from] document::Error),
    /// There is no such kind of resource, or no such name in it.
    #[error(transparent)]
    Kind(#[from] InvalidKind),
    /// A time is none.
    #[error(transparent)]
    Moment(#[from] InvalidMoment),
    /// Something that this kind of resource does not have.
    #[error("{kind} cannot be {what}")]
    NotOffered {
        /// The kind's name.
        kind: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// It is not there.
    #[error("{name} is not there{}", at(*revision))]
    Missing {
        /// The full name.
        name: String,
        /// The revision that was looked at; 0 = the current one.
        revision: u64,
    },
    /// A secret was made, but its only showing has been lost.
    #[error("{name} was made, but the connection broke before its text came, and it is shown once only")]
    SecretLost {
        /// The full name.
        name: String,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something cannot be said as YAML.
    #[error("the answer cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// Something cannot be said as JSON.
    #[error("the answer cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Standard output cannot be written.
    #[error("the answer cannot be written")]
    Output(#[from] io::Error),
}

fn at(revision: u64) -> String {
    if revision == 0 { String::new() } else { format!(" at revision {revision}") }
}

fn lines(message: &str, faults: &[String]) -> String {
    if faults.is_empty() {
        return format!(" {message}");
    }
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// The message, each field that is wrong, and the reason for programs.
fn in_words(status: &Status) -> String {
    let details = status.get_details_error_info();
    let reason = details.map(|info| info.reason).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(" [{reason}]")).unwrap_or_default();
    format!("{}{reason}", admin::in_words(status))
}

impl Error {
    /// The exit code for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connection(_)
            | Self::Contexts(contexts::Error::File { .. } | contexts::Error::Unreadable { .. })
            | Self::Admin(_)
            | Self::Document { .. }
            | Self::Read(_) => Exit::BadConfiguration,
            Self::Contexts(contexts::Error::Unknown { .. }) | Self::Missing { .. } => Exit::NotFound,
            Self::Kind(_) | Self::Moment(_) | Self::NotOffered { .. } | Self::Contexts(_) => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::TimedOut { .. } => Exit::Unsatisfied,
            Self::Refused { status, .. } => of_code(status.code()),
            Self::Garbled { .. }
            | Self::NoMethod(_)
            | Self::SecretLost { .. }
            | Self::Write { .. }
            | Self::Yaml(_)
            | Self::Json(_)
            | Self::Output(_) => Exit::Failed,
        }
    }

    /// What to do next, where there is something that helps.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { status, .. } if status.message().contains("certificate") => {
                Some("name who signed the control plane's certificate with --ca, and ask for one of the names in it")
            }
            Self::Unreachable { .. } => Some(
                "say where it is with --address or SIGNALBOX_ADDR (https:// where it speaks TLS), or look at it with `signalbox doctor`",
            ),
            Self::Connection(connection::Error::Token(_)) => Some(
                "give the admin token with SIGNALBOX_TOKEN or --token-file, or name the folder of a control plane on this machine with --data-dir",
            ),
            Self::Refused { status, .. } => advice(status.code()),
            Self::Missing { .. } => advice(Code::NotFound),
            Self::SecretLost { .. } => Some("replace it: `signalbox keys rotate ID --overlap 0s`"),
            Self::TimedOut { .. } => {
                Some("what was asked for may have been done all the same: look before asking again")
            }
            _ => None,
        }
    }
}

fn of_code(code: Code) -> Exit {
    match code {
        Code::Ok => Exit::Done,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
        Code::DeadlineExceeded | Code::Cancelled => Exit::Unsatisfied,
        Code::Unavailable => Exit::Unreachable,
        Code::Unknown | Code::ResourceExhausted | Code::Unimplemented | Code::Internal | Code::DataLoss => Exit::Failed,
    }
}

fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::NotFound => Some("`signalbox get KIND` lists what there is"),
        Code::Aborted => Some("somebody was faster: look at what is there now, and try again"),
        Code::Unauthenticated => Some("check the token: --token-file, SIGNALBOX_TOKEN, or the context's"),
        Code::PermissionDenied => {
            Some("ask with a token whose role may; `signalbox tokens list` shows them to an admin")
        }
        Code::Unavailable => Some("try again: what went wrong there passes"),
        Code::Unimplemented => Some("the control plane is older than this program: use the one that came with it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused(code: Code) -> Error {
        let mut details = ErrorDetails::with_error_info("ETAG_MISMATCH", "signalbox.dev", []);
        details.add_bad_request_violation("etag", "is not the current one");
        let status = Status::with_error_details(code, "no", details);
        Error::Refused { method: "ProviderService/UpdateProvider".into(), status: Box::new(status) }
    }

    #[test]
    fn a_refusal_says_what_was_asked_the_field_and_the_reason() {
        assert_eq!(
            refused(Code::Aborted).to_string(),
            "ProviderService/UpdateProvider was refused: no (etag: is not the current one) [ETAG_MISMATCH]"
        );
    }

    #[test]
    fn every_code_has_its_exit() {
        for (code, exit) in [
            (Code::InvalidArgument, Exit::Usage),
            (Code::NotFound, Exit::NotFound),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::Aborted, Exit::Conflict),
            (Code::FailedPrecondition, Exit::Conflict),
            (Code::PermissionDenied, Exit::Denied),
            (Code::Unauthenticated, Exit::Denied),
            (Code::DeadlineExceeded, Exit::Unsatisfied),
            (Code::Internal, Exit::Failed),
            (Code::Unimplemented, Exit::Failed),
        ] {
            assert_eq!(refused(code).exit(), exit, "{code:?}");
        }
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Differs,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Denied,
            Exit::Unsatisfied,
            Exit::Unreachable,
            Exit::BadConfiguration,
        ] {
            let line = format!("\n{:4}  ", exit as u8);
            assert!(EXIT_CODES.contains(&line), "{exit:?}");
        }
    }
}
