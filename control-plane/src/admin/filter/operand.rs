//! The value that a condition compares with, as the field's own type has it.

use std::{cmp::Ordering, str::FromStr};

use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, Value};
use prost_types::{Duration, Timestamp};

/// A value that fields can be compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Text(String),
    Truth(bool),
    /// One of an enum's, by number.
    Name(i32),
    Whole(i128),
    Real(f64),
    /// A moment or a length of time, in seconds and nanoseconds.
    Time(i64, i32),
}

/// What of a value's type matters to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Equal or not.
    Exact,
    /// Before or after too.
    Ordered,
    /// There or not.
    Opaque,
}

impl Sort {
    /// What can be asked of a field of this kind.
    pub(super) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Bool | Kind::Enum(_) => Self::Exact,
            Kind::Bytes => Self::Opaque,
            Kind::Message(message) if !matches!(message.full_name(), TIMESTAMP | DURATION) => Self::Opaque,
            _ => Self::Ordered,
        }
    }
}

const TIMESTAMP: &str = "google.protobuf.Timestamp";
const DURATION: &str = "google.protobuf.Duration";

impl Operand {
    /// Reads a value for a field of this kind; else says what would be one.
    pub(super) fn read(text: &str, kind: &Kind) -> Result<Self, String> {
        let expected = |what: &str| what.to_owned();
        match kind {
            Kind::String => Ok(Self::Text(text.to_owned())),
            Kind::Bool => text.parse().map(Self::Truth).map_err(|_| expected("`true` or `false`")),
            Kind::Enum(names) => match names.get_value_by_name(text) {
                Some(value) => Ok(Self::Name(value.number())),
                None => Err(format!("one of {}", listed(names))),
            },
            Kind::Double | Kind::Float => text.parse().map(Self::Real).map_err(|_| expected("a number")),
            Kind::Message(message) if message.full_name() == TIMESTAMP => Timestamp::from_str(text)
                .map(|Timestamp { seconds, nanos }| Self::Time(seconds, nanos))
                .map_err(|_| expected("a time such as `2026-01-31T12:00:00Z`")),
            Kind::Message(_) => Duration::from_str(text)
                .map(|Duration { seconds, nanos }| Self::Time(seconds, nanos))
                .map_err(|_| expected("a duration such as `1.5s`")),
            _ => text.parse().map(Self::Whole).map_err(|_| expected("a whole number")),
        }
    }

    /// How a value of a message stands to it; `None` = the two cannot be compared.
    pub(super) fn order(&self, value: &Value) -> Option<Ordering> {
        match (value, self) {
            (Value::String(value), Self::Text(other)) => Some(value.as_str().cmp(other)),
            (Value::Bool(value), Self::Truth(other)) => Some(value.cmp(other)),
            (Value::EnumNumber(value), Self::Name(other)) => Some(value.cmp(other)),
            (Value::F64(value), Self::Real(other)) => value.partial_cmp(other),
            (Value::F32(value), Self::Real(other)) => f64::from(*value).partial_cmp(other),
            (Value::I32(value), Self::Whole(other)) => Some(i128::from(*value).cmp(other)),
            (Value::I64(value), Self::Whole(other)) => Some(i128::from(*value).cmp(other)),
            (Value::U32(value), Self::Whole(other)) => Some(i128::from(*value).cmp(other)),
            (Value::U64(value), Self::Whole(other)) => Some(i128::from(*value).cmp(other)),
            (Value::Message(value), Self::Time(seconds, nanos)) => Some(time(value)?.cmp(&(*seconds, *nanos))),
            _ => None,
        }
    }
}

/// Timestamp and Duration have the same two fields.
fn time(value: &DynamicMessage) -> Option<(i64, i32)> {
    Some((value.get_field_by_name("seconds")?.as_i64()?, value.get_field_by_name("nanos")?.as_i32()?))
}

fn listed(names: &EnumDescriptor) -> String {
    let names: Vec<_> = names.values().map(|value| format!("`{}`", value.name())).collect();
    names.join(", ")
}
