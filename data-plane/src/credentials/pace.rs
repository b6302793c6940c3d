//! How long an upstream asks to be left alone: `retry-after-ms`, else `Retry-After` (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};

use crate::headers::RETRY_AFTER_MS;

/// Longest time that is believed. Limits by the day exist; anything longer is taken for a mistake that would lock a key out.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Shortest time: a wait of nothing would spend a request's attempts on the one key that is over its limit.
const LEAST: Duration = Duration::from_millis(100);

/// The wait that the headers ask for; `None` = they ask for none that can be understood.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text(RETRY_AFTER_MS).and_then(|text| seconds(text, 1000.0));
    let wait = milliseconds.or_else(|| {
        let text = text(RETRY_AFTER)?;
        seconds(text, 1.0).or_else(|| until(text, now))
    })?;
    Some(wait.clamp(LEAST, MOST))
}

/// Some upstreams send fractions, which the standard does not know.
fn seconds(text: &str, parts: f64) -> Option<Duration> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Duration::try_from_secs_f64(number.min(MOST.as_secs_f64() * parts) / parts).ok()
}

fn until(text: &str, now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_form_of_the_wait_is_read() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (retry_after_header, milliseconds, wait) in [
            (Some("7"), None, Some(Duration::from_secs(7))),
            (Some(" 0 "), None, Some(LEAST)),
            (Some("1.5"), None, Some(Duration::from_millis(1500))),
            (Some("7"), Some("250"), Some(Duration::from_millis(250))),
            (Some("7"), Some("soon"), Some(Duration::from_secs(7))),
            (Some("Sun, 06 Nov 1994 08:50:37 GMT"), None, Some(Duration::from_secs(60))),
            (Some("Sunday, 06-Nov-94 08:50:37 GMT"), None, Some(Duration::from_secs(60))),
            (Some("Sun, 06 Nov 1994 08:00:00 GMT"), None, Some(LEAST)),
            (Some("99999999999999999999"), None, Some(MOST)),
            (Some("-1"), None, None),
            (Some("NaN"), None, None),
            (Some("tomorrow"), None, None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(retry_after_header.map(|value| (RETRY_AFTER, HeaderValue::from_static(value))));
            headers.extend(milliseconds.map(|value| (RETRY_AFTER_MS, HeaderValue::from_static(value))));
            assert_eq!(retry_after(&headers, now), wait, "{headers:?}");
        }
    }
}
