//! A request as it may go to any of its targets: what a client asked for, cleaned, and nothing of who asked.

use std::sync::Arc;

use http::{HeaderMap, Method};
use signalbox_routing::Endpoint;
use tokio::time::Instant;

use super::Payload;

/// A request as it may go to any of its targets.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked for.
    pub(crate) endpoint: Endpoint,
    /// The method, as the client sent it.
    pub(crate) method: Method,
    /// The query without its question mark, and without keys.
    pub(crate) query: Option<Box<str>>,
    /// The client's headers, cleaned for a provider.
    pub(crate) headers: HeaderMap,
    /// The body, as the client sent it.
    pub(crate) body: Payload,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
    /// The model that the client asked for.
    pub(crate) requested_model: Arc<str>,
    /// When the client stops waiting; `None` = it did not say.
    pub(crate) deadline: Option<Instant>,
}
