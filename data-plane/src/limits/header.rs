//! Limits as OpenAI tells of them in its answers' headers: <https://platform.openai.com/docs/guides/rate-limits>.

use std::{num::NonZeroU64, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::Bucket;

/// The names that one limit's headers have: the limit, what remains, and when all of it does.
pub(super) struct Names([HeaderName; 3]);

/// Those of the requests in a minute.
pub(super) const REQUESTS: Names = Names([
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
]);
/// Those of the tokens in a minute.
pub(super) const TOKENS: Names = Names([
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
]);

/// Tells of one limit, and of what is used of it.
pub(super) fn write(headers: &mut HeaderMap, names: &Names, of: (NonZeroU64, &Bucket), now: Instant) {
    let (limit, bucket) = of;
    let Names([allowed, remaining, reset]) = names;
    headers.insert(allowed, limit.get().into());
    headers.insert(remaining, limit.get().saturating_sub(bucket.used()).into());
    if let Ok(value) = HeaderValue::from_str(&spoken(bucket.reset(limit, now))) {
        headers.insert(reset, value);
    }
}

/// A duration in OpenAI's form: `120ms`, `1s`, `7.66s`, `6m0s`, `1h0m0s`. Rounded up to a millisecond.
fn spoken(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (seconds, fraction) = (rest / 1000, format!(".{:03}", rest % 1000));
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes, seconds) {
        (0, 0, 0) if rest > 0 => format!("{rest}ms"),
        (0, 0, seconds) => format!("{seconds}{fraction}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_openai_tells_them() {
        for (duration, told) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1), "1ms"),
            (Duration::from_millis(120), "120ms"),
            (Duration::from_secs(1), "1s"),
            (Duration::from_millis(7660), "7.66s"),
            (Duration::from_secs(10), "10s"),
            (Duration::from_secs(360), "6m0s"),
            (Duration::from_millis(86_400), "1m26.4s"),
            (Duration::from_secs(3600), "1h0m0s"),
            (Duration::from_secs(100 * 3600 + 61), "100h1m1s"),
        ] {
            assert_eq!(spoken(duration), told);
        }
    }
}
