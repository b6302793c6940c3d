//! What an upstream's status means for the attempt. Pure.

use http::StatusCode;
use signalbox_routing::Retry;

/// What an upstream's status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An answer.
    Answer,
    /// A refusal of the request itself, which goes on to the client as it is.
    Pass,
    /// The credential is refused.
    Refused,
    /// The credential, or the account, is over its limit.
    Limited,
    /// It may go better elsewhere or later.
    Retry,
    /// No answer, and trying again would not help.
    Fail,
}

impl Verdict {
    /// Judges a status by the provider's settings.
    pub(super) fn of(status: StatusCode, retry: &Retry) -> Self {
        match status.as_u16() {
            200..=299 => Self::Answer,
            401..=403 => Self::Refused,
            429 => Self::Limited,
            code if retry.statuses.contains(&code) => Self::Retry,
            400..=499 => Self::Pass,
            _ => Self::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_routing::RetryOn;

    use super::*;

    #[test]
    fn each_status_has_its_verdict() {
        let retry = |statuses: &[u16]| Retry {
            attempts: 3,
            backoff_base: Duration::ZERO,
            backoff_cap: Duration::ZERO,
            statuses: statuses.to_vec(),
            attempts_per_credential: None,
            on: RetryOn::default(),
        };
        let usual = retry(&[500, 502, 503, 504]);
        for (codes, verdict) in [
            (&[200, 201, 204][..], Verdict::Answer),
            (&[400, 404, 408, 409, 413, 422, 499], Verdict::Pass),
            (&[401, 402, 403], Verdict::Refused),
            (&[429], Verdict::Limited),
            (&[500, 502, 503, 504], Verdict::Retry),
            (&[101, 301, 302, 304, 307, 308, 501, 505, 599, 600, 999], Verdict::Fail),
        ] {
            for code in codes {
                assert_eq!(Verdict::of(StatusCode::from_u16(*code).unwrap(), &usual), verdict, "{code}");
            }
        }
        let patient = retry(&[408, 409, 529, 429]);
        for (code, verdict) in
            [(408, Verdict::Retry), (529, Verdict::Retry), (500, Verdict::Fail), (429, Verdict::Limited)]
        {
            assert_eq!(Verdict::of(StatusCode::from_u16(code).unwrap(), &patient), verdict, "{code}");
        }
    }
}
