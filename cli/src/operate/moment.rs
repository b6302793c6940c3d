//! Times as people write them: `30d`, `24h`, `2027-01-01T00:00:00Z`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp};

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoment {
    /// It is no length of time.
    #[error("{0:?} is no length of time, such as 90s, 24h or 30d")]
    Length(String),
    /// It is no point in time.
    #[error("{0:?} is neither a length of time from now, such as 30d, nor a moment, such as 2027-01-01T00:00:00Z")]
    Point(String),
}

/// Reads a length of time. A day has 24 hours.
///
/// # Errors
/// [`InvalidMoment::Length`]
pub fn length(text: &str) -> Result<Duration, InvalidMoment> {
    let invalid = || InvalidMoment::Length(text.to_owned());
    let span: Span = text.parse().map_err(|_| invalid())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| invalid())?;
    Duration::try_from(length).map_err(|_| invalid())
}

/// Reads a moment, or a length of time from now on.
///
/// # Errors
/// [`InvalidMoment::Point`]
pub fn point(text: &str) -> Result<prost_types::Timestamp, InvalidMoment> {
    let invalid = || InvalidMoment::Point(text.to_owned());
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => Timestamp::now().checked_add(length(text).map_err(|_| invalid())?).map_err(|_| invalid())?,
    };
    Ok(prost_types::Timestamp { seconds: moment.as_second(), nanos: 0 })
}

/// As a message says it.
pub(super) fn proto(length: Duration) -> prost_types::Duration {
    // Longer than any wait that is asked for.
    prost_types::Duration::try_from(length).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_read_as_people_write_it() {
        for (text, seconds) in
            [("90s", 90), ("24h", 86_400), ("30d", 2_592_000), ("1h 30m", 5_400), ("0s", 0), ("PT2M", 120)]
        {
            assert_eq!(length(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "soon", "-5s", "5", "1mo"] {
            assert_eq!(length(wrong), Err(InvalidMoment::Length(wrong.into())), "{wrong}");
        }
    }

    #[test]
    fn a_point_is_a_moment_or_so_long_from_now() {
        assert_eq!(point("2027-01-01T00:00:00Z").unwrap().seconds, 1_798_761_600);
        let soon = point("1h").unwrap().seconds - Timestamp::now().as_second();
        assert!((3590..=3600).contains(&soon), "{soon}");
        assert!(point("tomorrow").is_err());
    }
}
