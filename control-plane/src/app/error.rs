//! Why a control plane cannot be made, or stops without being asked to; and whether there is any use in trying again.

use std::{io, net::SocketAddr};

use tokio::task::JoinError;

use crate::{ledger::OpenError, migrate, seal, source, tls, tokens};

/// Why a control plane cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The port is taken.
    #[error("{address} is in use: choose another with {flag}")]
    InUse {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that says otherwise.
        flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} ({flag})")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that says otherwise.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Provider keys would travel in the clear.
    #[error(
        "the sync port carries provider keys, so that {address} needs TLS: give --sync-tls-cert and --sync-tls-key \
         (`signalbox-control-plane certificate` makes them), or listen on loopback with --sync-listen"
    )]
    SyncWithoutTls {
        /// What was asked for.
        address: SocketAddr,
    },
    /// A token that anybody could guess.
    #[error("{what} is empty ({flag})")]
    EmptyToken {
        /// Which one.
        what: &'static str,
        /// Where it comes from.
        flag: &'static str,
    },
    /// A port's TLS cannot be had.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The admin tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// The configuration cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file that the configuration comes from cannot be used.
    #[error(transparent)]
    Source(#[from] source::Error),
}

impl BuildError {
    /// Whether what was asked for can never work, so that trying again is of no use.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Source(error) => error.is_configuration(),
            Self::SyncWithoutTls { .. } | Self::EmptyToken { .. } | Self::Tls(_) => true,
            Self::Open(error) => matches!(
                error,
                OpenError::Schema(migrate::Error::Pending { .. } | migrate::Error::Newer { .. })
                    | OpenError::Seal(seal::Error::WrongMasterKey { .. })
            ),
            Self::InUse { .. } | Self::Listen { .. } | Self::Tokens(_) => false,
        }
    }
}

/// Why a control plane stopped without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port is lost.
    #[error("the {port} port cannot be served any longer")]
    Port {
        /// Which one.
        port: &'static str,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Nothing can be written any longer.
    #[error("the writer has ended")]
    Writer(#[source] Option<JoinError>),
}
