//! Why a stream is refused or ended, and the one table from that to gRPC codes.

use std::io;

use signalbox_routing::{InvalidPosition, SCHEMA};
use tokio::task::JoinError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::hello::InvalidHello;
use crate::{bearer::Denied, replicas::Crowded};

/// The domain of the reasons (AIP-193).
const DOMAIN: &str = "signalbox.dev";

/// Why a stream does not open, or ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The caller is no replica of this control plane.
    #[error("a replica joins with `authorization: Bearer <join token>`: {0}")]
    Denied(#[from] Denied),
    /// The stream does not begin with a hello, or not soon enough.
    #[error("a stream begins with one hello")]
    NoHello,
    /// What the replica says of itself cannot be used.
    #[error(transparent)]
    Hello(#[from] InvalidHello),
    /// There is no schema level that both sides know.
    #[error("this control plane speaks schema level {SCHEMA}, and the replica {min} to {max}")]
    Schema {
        /// The replica's lowest.
        min: u32,
        /// The replica's highest.
        max: u32,
    },
    /// There is no room for it.
    #[error(transparent)]
    Crowded(#[from] Crowded),
    /// The same replica has opened another stream.
    #[error("a newer stream has been opened under this replica id")]
    Replaced,
    /// An acknowledgement states what is no position.
    #[error("an acknowledgement states no usable position")]
    Acknowledgement(#[source] InvalidPosition),
    /// A second hello.
    #[error("a stream has one hello")]
    SecondHello,
    /// An acknowledgement has not come, or a message was not taken.
    #[error("the replica has not answered in time")]
    Overdue,
    /// The update cannot be encoded.
    #[error("the configuration cannot be encoded")]
    Encode(#[source] io::Error),
    /// The encoder crashed.
    #[error("the encoder crashed")]
    Encoder(#[from] JoinError),
    /// The ledger is gone.
    #[error("the control plane is going away")]
    Stopping,
}

impl Refusal {
    const fn code(&self) -> (Code, &'static str) {
        match self {
            Self::Denied(_) => (Code::Unauthenticated, "JOIN_TOKEN_INVALID"),
            Self::NoHello | Self::SecondHello => (Code::InvalidArgument, "HELLO_REQUIRED"),
            Self::Hello(_) => (Code::InvalidArgument, "HELLO_INVALID"),
            Self::Schema { .. } => (Code::FailedPrecondition, "SCHEMA_UNSUPPORTED"),
            Self::Crowded(_) => (Code::ResourceExhausted, "TOO_MANY_REPLICAS"),
            Self::Replaced => (Code::AlreadyExists, "REPLICA_REPLACED"),
            Self::Acknowledgement(_) => (Code::InvalidArgument, "ACKNOWLEDGEMENT_INVALID"),
            Self::Overdue => (Code::Unavailable, "ACKNOWLEDGEMENT_OVERDUE"),
            Self::Encode(_) | Self::Encoder(_) => (Code::Internal, "ENCODING_FAILED"),
            Self::Stopping => (Code::Unavailable, "STOPPING"),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = refusal.code();
        Self::with_error_details(code, refusal.to_string(), ErrorDetails::with_error_info(reason, DOMAIN, []))
    }
}
