//! How connections to an upstream are made. It knows nothing of what travels over them.

use std::{sync::Arc, time::Duration};

/// How connections to an upstream are made. Requests with equal profiles share one pooled client, kept over revisions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    /// The proxy to go through; `None` = directly.
    pub proxy: Option<Proxy>,
    /// Name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Idle connections kept for each host.
    pub max_idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// The HTTP version spoken.
    pub http_version: HttpVersion,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            proxy: None,
            connect_timeout: Duration::from_secs(5),
            max_idle: 100,
            idle_timeout: Duration::from_secs(90),
            http_version: HttpVersion::Negotiated,
        }
    }
}

/// The HTTP version spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Negotiated,
    /// Always HTTP/1.1.
    Http1,
    /// Always HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// A proxy that upstream connections are made through.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proxy {
    /// `http`, `https`, `socks5` or `socks5h`, with host and port.
    pub url: Arc<str>,
    /// User name; empty = no authentication.
    pub username: Arc<str>,
    // A plain text so that profiles can be compared; `Debug` leaves it out and nothing serializes it.
    pub(crate) password: Arc<str>,
}

impl Proxy {
    /// A proxy at a URL, with the login it asks for, if any.
    #[must_use]
    pub fn new(url: &str, username: &str, password: &str) -> Self {
        Self { url: url.into(), username: username.into(), password: password.into() }
    }

    /// The password, for the one place that hands it to the HTTP client.
    #[must_use]
    pub fn expose_password(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("url", &self.url).finish_non_exhaustive()
    }
}
