//! What a 429 means for the credential that it was answered to: that it cools, or that its account is spent, which no wait helps.

use std::time::{Duration, SystemTime};

use http::Response;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::{
    commit::begin,
    failed::{Cause, Loss},
    once::Once,
};
use crate::{credentials::retry_after, headers, upstream::Body};

/// Most bytes of a 429 that are read.
const MAX_BYTES: usize = 16 * 1024;
/// How long they may take. What is not there by then is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(1);

impl Once<'_> {
    /// What a 429 comes to.
    pub(super) async fn limited(&self, response: Response<Body>) -> Loss {
        let (parts, body) = response.into_parts();
        if let Some(lease) = &self.lease
            && headers::is_of_type(&parts.headers, "application/json")
            && let Ok(Ok((json, None))) = timeout(PATIENCE, begin(body, MAX_BYTES)).await
            && is_spent(&json)
        {
            lease.refused(Instant::now());
            return Cause::CredentialsExhausted { status: Some(parts.status) }.then(self.past_the_credential());
        }
        let (wait, now) = (retry_after(&parts.headers, SystemTime::now()), Instant::now());
        let thaw = self.lease.as_ref().map(|lease| lease.limited(now, wait)).or(wait.map(|wait| now + wait));
        Cause::RateLimited.then(self.past_the_credential()).until(thaw)
    }
}

/// Whether an error object says that the account's quota is spent
/// (<https://platform.openai.com/docs/guides/error-codes>).
fn is_spent(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body<'b> {
        #[serde(borrow)]
        error: Details<'b>,
    }
    #[derive(Deserialize)]
    struct Details<'b> {
        #[serde(borrow, default, rename = "type")]
        kind: Option<&'b str>,
        #[serde(borrow, default)]
        code: Option<&'b str>,
    }
    let told = serde_json::from_slice::<Body<'_>>(json);
    told.is_ok_and(|Body { error }| [error.kind, error.code].contains(&Some("insufficient_quota")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_spent_quota_is_no_passing_limit() {
        for (json, spent) in [
            (r#"{"error":{"message":"x","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, true),
            (r#"{"error":{"type":"requests","code":"insufficient_quota"}}"#, true),
            (r#"{"error":{"type":"requests","code":"rate_limit_exceeded"}}"#, false),
            (r#"{"error":{"message":"insufficient_quota"}}"#, false),
            (r#"{"error":"insufficient_quota"}"#, false),
            ("insufficient_quota", false),
        ] {
            assert_eq!(is_spent(json.as_bytes()), spent, "{json}");
        }
    }
}
