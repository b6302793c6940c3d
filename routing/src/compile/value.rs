//! The rules that single values obey, whichever resource they are in.

use std::{collections::BTreeMap, num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use super::faults::Faults;
use crate::{
    finding::Fault,
    glob::Glob,
    name::{Id, ResourceName},
    runtime::ModelFilter,
};

/// Longest model name, pattern, prefix or label in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Most expressions in a filter.
const MAX_EXPRESSIONS: usize = 1000;

/// Most labels that a key carries or a redirect asks for.
const MAX_LABELS: usize = 64;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A text as a finding shows it: cut, and without what could disturb a terminal or a log.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(160).map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// A fault of a text that is fit to be shown.
pub(super) fn refused(text: &str, rule: &'static str) -> Fault {
    Fault::Text { text: shown(text), rule }
}

/// The id in a resource's body, which says the same as its name.
pub(super) fn own_id(text: &str, name: &ResourceName) -> Result<Id, Fault> {
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    let id = Id::parse(text)?;
    if id.as_str() == name.id() { Ok(id) } else { Err(refused(text, "must be the last part of the resource's name")) }
}

/// A reference to a provider by its id.
pub(super) fn provider(text: &str, exists: impl FnOnce(&ResourceName) -> bool) -> Result<Id, Fault> {
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    let id = Id::parse(text)?;
    let name = ResourceName::provider(&id);
    if exists(&name) { Ok(id) } else { Err(Fault::Dangling(name)) }
}

/// A duration of 1 ms to 24 h.
pub(super) fn duration(wire: Option<prost_types::Duration>, default: Duration) -> Result<Duration, Fault> {
    let Some(prost_types::Duration { seconds, nanos }) = wire else { return Ok(default) };
    let duration = match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos @ ..1_000_000_000)) => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    };
    if (SHORTEST..=LONGEST).contains(&duration) { Ok(duration) } else { Err(Fault::OutOfRange("1 ms to 24 h")) }
}

/// A moment in milliseconds since the Unix epoch, within the years that a `Timestamp` can name.
pub(super) fn moment(wire: prost_types::Timestamp) -> Result<i64, Fault> {
    let prost_types::Timestamp { seconds, nanos } = wire;
    if (-62_135_596_800..=253_402_300_799).contains(&seconds) && (0..1_000_000_000).contains(&nanos) {
        Ok(seconds * 1000 + i64::from(nanos / 1_000_000))
    } else {
        Err(Fault::OutOfRange("years 1 to 9999"))
    }
}

/// A number with a default and limits, which the rule spells out.
pub(super) fn number<T: PartialOrd>(
    wire: Option<T>,
    default: T,
    limits: RangeInclusive<T>,
    rule: &'static str,
) -> Result<T, Fault> {
    let number = wire.unwrap_or(default);
    if limits.contains(&number) { Ok(number) } else { Err(Fault::OutOfRange(rule)) }
}

/// The most of something, which is at least one; absent = no limit. The rule spells the limits out.
pub(super) fn limit(wire: Option<u32>, most: u32, rule: &'static str) -> Result<Option<NonZeroU32>, Fault> {
    let Some(wire) = wire else { return Ok(None) };
    NonZeroU32::new(wire).filter(|limit| limit.get() <= most).map(Some).ok_or(Fault::OutOfRange(rule))
}

/// A filter over model names: the one that is known where it says the same.
pub(super) fn filter(field: &str, wire: &[String], known: Option<&ModelFilter>, faults: &mut Faults) -> ModelFilter {
    if wire.len() > MAX_EXPRESSIONS {
        faults.add(field, Fault::OutOfRange("at most 1000 expressions"));
        return ModelFilter::default();
    }
    let none = ModelFilter::default();
    known.unwrap_or(&none).renew(wire).unwrap_or_else(|error| {
        let each = wire.iter().enumerate();
        let faulty: Vec<_> = each.filter_map(|(at, text)| Some((at, text, none.renew(&[text]).err()?))).collect();
        if faulty.is_empty() {
            faults.add(field, expression(&wire.join("|"), &error));
        }
        for (at, text, error) in faulty {
            faults.add(format_args!("{field}[{at}]"), expression(text, &error));
        }
        ModelFilter::default()
    })
}

/// What is wrong with an expression, without the drawing that the parser makes of where.
fn expression(text: &str, error: &regex::Error) -> Fault {
    let cause = error.to_string();
    let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
    Fault::Expression { text: shown(text), cause: cause.to_owned() }
}

/// A share among equals.
pub(super) fn weight(wire: Option<u32>) -> Result<u32, Fault> {
    number(wire, 1, 0..=1_000_000, "0 to 1,000,000")
}

/// A model's own name.
pub(super) fn model(text: &str) -> Result<Arc<str>, Fault> {
    name(text)?;
    if text.contains('*') { Err(refused(text, "must be one model's own name, without `*`")) } else { Ok(text.into()) }
}

/// A pattern over model names.
pub(super) fn pattern(text: &str) -> Result<Glob, Fault> {
    name(text).map(|()| Glob::new(text))
}

/// What clients write before the slash.
pub(super) fn prefix(text: &str) -> Result<Arc<str>, Fault> {
    name(text)?;
    if text.contains(['/', '*']) { Err(refused(text, "must be without `/` and `*`")) } else { Ok(text.into()) }
}

/// Labels, checked one by one.
pub(super) fn labels(field: &str, wire: &BTreeMap<String, String>, faults: &mut Faults) {
    if wire.len() > MAX_LABELS {
        faults.add(field, Fault::OutOfRange("at most 64 labels"));
    }
    for (label, value) in wire {
        faults.take(format_args!("{field}[{:?}]", shown(label)), name(label).and_then(|()| brief(value)));
    }
}

fn name(text: &str) -> Result<(), Fault> {
    if text.is_empty() { Err(Fault::Missing) } else { brief(text) }
}

fn brief(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_NAME_BYTES || text.contains(char::is_control) {
        return Err(refused(text, "must be at most 256 bytes, without control characters"));
    }
    Ok(())
}

/// Whether a text is one segment of a path that means the same however a client spells it: unreserved characters and sub-delims
/// of RFC 3986, and not a dot segment.
pub(super) fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    !matches!(text, "" | "." | "..") && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_run_from_a_millisecond_to_a_day() {
        let read = |seconds, nanos| duration(Some(prost_types::Duration { seconds, nanos }), Duration::from_secs(9));
        assert_eq!(read(0, 1_000_000), Ok(Duration::from_millis(1)));
        assert_eq!(read(86_400, 0), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration(None, Duration::from_secs(9)), Ok(Duration::from_secs(9)));
        for (seconds, nanos) in [(0, 0), (0, 999_999), (86_400, 1), (-1, 0), (1, -1), (1, 1_000_000_000), (i64::MAX, 0)]
        {
            assert!(read(seconds, nanos).is_err(), "{seconds} s {nanos} ns was taken");
        }
    }

    #[test]
    fn moments_are_those_that_a_timestamp_can_name() {
        let read = |seconds, nanos| moment(prost_types::Timestamp { seconds, nanos });
        assert_eq!(read(1, 999_999_999), Ok(1999));
        assert_eq!(read(-1, 0), Ok(-1000));
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
            assert!(read(seconds, nanos).is_err(), "{seconds} s {nanos} ns was taken");
        }
    }

    #[test]
    fn names_are_short_and_printable() {
        for good in ["gpt-4o", "org/model:tag", "modèle", &"m".repeat(256)] {
            assert!(model(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["", "a\nb", "a\0", "gpt-*", &"m".repeat(257)] {
            assert!(model(bad).is_err(), "{bad:?} was taken");
        }
        assert!(pattern("gpt-*").is_ok());
        assert!(prefix("My Provider").is_ok());
        assert!(prefix("a/b").is_err());
    }

    #[test]
    fn segments_mean_the_same_however_they_are_spelled() {
        for good in ["weather", "a.b", "~x", "a+b", "...", "A-1_2"] {
            assert!(is_segment(good), "{good:?} was refused");
        }
        for bad in ["", ".", "..", "a/b", "a%2fb", "a b", "ä", "a?b", "a#b", "a:b"] {
            assert!(!is_segment(bad), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_on_one_line() {
        assert_eq!(shown("a\nb\u{1b}[1m"), "a\u{fffd}b\u{fffd}[1m");
        assert_eq!(shown(&"x".repeat(1000)).len(), 160);
    }
}
