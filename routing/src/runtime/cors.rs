//! Which web pages' scripts may call, in the terms of the Fetch standard's CORS protocol.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// Which web pages' scripts may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins; `None` = every one.
    pub allowed_origins: Option<Vec<HeaderValue>>,
    /// Methods; empty = every one that is asked for.
    pub allowed_methods: Vec<Method>,
    /// Request headers; empty = every one that is asked for.
    pub allowed_headers: Vec<HeaderName>,
    /// Answer headers that scripts may read; empty = all of the gateway's own.
    pub exposed_headers: Vec<HeaderName>,
    /// Whether with cookies and the like.
    pub allow_credentials: bool,
    /// How long a browser may remember.
    pub max_age: Duration,
}
