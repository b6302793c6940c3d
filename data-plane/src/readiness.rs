//! Asks a data plane, from outside and over its own port, whether it is ready: what a container's health check runs.

use std::time::Duration;

use http::StatusCode;

/// How long an answer may take: less than whoever runs the check waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a data plane does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// There was no answer.
    #[error("no answer from {url}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It said so.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// What it said.
        status: StatusCode,
    },
}

/// Asks the data plane at `base_url`, such as `http://127.0.0.1:8080`.
///
/// # Errors
/// [`NotReady`] unless it says that it is.
pub async fn check(base_url: &str) -> Result<(), NotReady> {
    let url = format!("{}/readyz", base_url.trim_end_matches('/'));
    // The certificate is for the clients' name, which is not the one that a check from within uses; nothing secret is sent.
    let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).timeout(PATIENCE).build();
    let answer = async { client?.get(&url).send().await }.await;
    match answer.map(|answer| answer.status()) {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(NotReady::Status { url, status }),
        Err(source) => Err(NotReady::NoAnswer { url, source }),
    }
}
