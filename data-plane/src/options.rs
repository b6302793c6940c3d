//! What a data plane is made of, and the limits and clocks that it holds clients and itself to, with their defaults.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use http::Uri;
use secrecy::SecretString;
use signalbox_logs::Level;

use crate::{cache::CacheKey, inbound::Pace};

/// Everything that a data plane needs to be built.
#[derive(Debug)]
pub struct Options {
    /// Where clients connect; port 0 takes any free one.
    pub listen: SocketAddr,
    /// TLS towards clients; `None` = plain HTTP.
    pub tls: Option<Tls>,
    /// The control plane's sync address. Provider keys come from there, so off loopback it must be `https://`.
    pub control_plane: Uri,
    /// A PEM file with the authorities that the control plane's certificate is checked against; `None` = the public ones.
    pub sync_ca: Option<PathBuf>,
    /// The token that replicas join with.
    pub join_token: SecretString,
    /// Where the last good configuration is kept; `None` = nowhere, so that it starts only with the control plane there.
    pub cache: Option<CacheOptions>,
    /// This replica's name, stable over restarts.
    pub replica_id: String,
    /// Threads that carry connections, each with its own connections to the upstreams; `None` = one a core.
    pub workers: Option<NonZeroUsize>,
    /// What clients are held to.
    pub limits: Limits,
    /// How it stops.
    pub drain: Drain,
    /// What follows the configuration's log level; `None` = nothing does.
    pub log_level: Option<Level>,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate, and those that lead from it to an authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where and how the last good configuration is kept.
#[derive(Debug)]
pub struct CacheOptions {
    /// A folder of its own.
    pub dir: PathBuf,
    /// The key that it is sealed with.
    pub key: CacheKey,
}

/// What clients are held to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue.
    pub max_connections: usize,
    /// Requests under way at once; more are answered 503.
    pub max_requests: usize,
    /// Headers of a request; more are answered 431.
    pub max_headers: usize,
    /// Bytes of a request's headers, target included; more are answered 431.
    pub max_header_bytes: usize,
    /// Bytes of a request's target; more are answered 414.
    pub max_target_bytes: usize,
    /// For a TLS handshake, and for a request's headers from their first byte to their last; longer is answered 408.
    pub header_time: Duration,
    /// For waiting on any request's body; longer is answered 408.
    pub body_time: Duration,
    /// Bytes of a body that earn it a second more.
    pub body_bytes_per_second: u64,
    /// For a connection without a request.
    pub idle_time: Duration,
    /// For a client to take more of an answer that waits for it; then its connection is cut.
    pub stall_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_requests: 10_000,
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            max_target_bytes: 16 * 1024,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            body_bytes_per_second: 64 * 1024,
            idle_time: Duration::from_secs(75),
            stall_time: Duration::from_secs(300),
        }
    }
}

impl Limits {
    pub(crate) fn pace(&self) -> Pace {
        Pace { base: self.body_time, bytes_per_second: self.body_bytes_per_second }
    }
}

/// How a data plane stops.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// From "not ready" to the listener's end: time for load balancers to notice.
    pub delay: Duration,
    /// For what is under way to finish.
    pub grace: Duration,
    /// From cutting what is left to giving up on it.
    pub hard_stop: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(1), grace: Duration::from_secs(300), hard_stop: Duration::from_secs(10) }
    }
}
