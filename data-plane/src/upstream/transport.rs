//! What goes wrong below HTTP. It never holds a URL or a key.

use std::error::Error as StdError;

use hyper_util::client::legacy;
use tokio::time::error::Elapsed;

use super::http1;

/// A failure below HTTP: to connect, to send, or to read an answer. Its text never holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum Transport {
    /// To connect or to send.
    #[error(transparent)]
    Sending(#[from] legacy::Error),
    /// To read an answer.
    #[error(transparent)]
    Reading(#[from] hyper::Error),
    /// Any of these over a connection that speaks HTTP/1.1 for certain.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// Any of these by way of a forward proxy.
    #[error(transparent)]
    Proxied(reqwest::Error),
    /// A body broke off for a reason of its own.
    #[error("the body broke off")]
    Body(#[source] Box<dyn StdError + Send + Sync>),
    /// More came than may come.
    #[error("the body is larger than its limit")]
    OverLimit,
    /// TLS cannot be had on this machine.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl Transport {
    /// Whether no connection was made.
    pub(crate) fn is_connect(&self) -> bool {
        match self {
            Self::Sending(error) => error.is_connect(),
            Self::Http1(error) => error.is_connect(),
            Self::Proxied(error) => error.is_connect(),
            Self::Reading(_) | Self::Body(_) | Self::OverLimit | Self::Tls(_) => false,
        }
    }

    /// Whether more came than may come.
    pub(crate) fn is_over_limit(&self) -> bool {
        matches!(self, Self::OverLimit)
    }

    /// Whether no connection was made in time.
    pub(crate) fn is_connect_timeout(&self) -> bool {
        match self {
            Self::Sending(error) => error.is_connect() && error.source().is_some_and(|cause| cause.is::<Elapsed>()),
            Self::Http1(error) => error.is_connect_timeout(),
            Self::Proxied(error) => error.is_connect() && error.is_timeout(),
            Self::Reading(_) | Self::Body(_) | Self::OverLimit | Self::Tls(_) => false,
        }
    }
}

impl From<reqwest::Error> for Transport {
    fn from(error: reqwest::Error) -> Self {
        Self::Proxied(error.without_url())
    }
}
