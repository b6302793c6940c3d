//! Filters of lists (AIP-160): conditions joined by AND, over any message, by its descriptor. It knows no particular resource, and
//! no field that holds a secret can be asked for.

use std::cmp::Ordering;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, Value};

mod fault;
mod field;
mod operand;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use fault::Fault;
use operand::Operand;

/// Longest filter, in characters.
const MAX_CHARS: usize = 2048;

/// Which messages of one type are meant.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filter {
    conditions: Vec<Condition>,
}

/// One condition; it holds where what it asks for is found, or where it is not.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    path: Vec<Step>,
    test: Test,
    negated: bool,
}

/// One step from a message to what is in it.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    field: FieldDescriptor,
    /// Of a map: the entry of this key.
    key: Option<String>,
}

/// What is asked of the value at the end of a path.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// It is there, and not empty.
    Present,
    /// It is a text with this text in it.
    Holds(String),
    /// It stands so to the operand.
    Compare(Comparison, Operand),
}

/// How two values are to stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Reads a filter for messages of this type. An empty one lets everything through.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong and at which character.
    pub(crate) fn parse(text: &str, message: &MessageDescriptor) -> Result<Self, Fault> {
        Ok(Self { conditions: read::conditions(text, message)? })
    }

    /// Whether it lets everything through.
    pub(crate) const fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether the message is one of those that are meant; it has to be of the type that the filter was read for.
    pub(crate) fn matches(&self, message: &DynamicMessage) -> bool {
        let holds = |Condition { path, test, negated }: &Condition| *negated != found(message, path, test);
        self.conditions.iter().all(holds)
    }
}

/// What is absent is not found, and of a list one element is enough.
fn found(message: &DynamicMessage, path: &[Step], test: &Test) -> bool {
    let Some((Step { field, key }, rest)) = path.split_first() else { return false };
    let absent = !message.has_field(field);
    if absent && (field.supports_presence() || field.is_list() || field.is_map()) {
        return false;
    }
    match (message.get_field(field).as_ref(), key) {
        (Value::Map(entries), Some(key)) => entries
            .get(&MapKey::String(key.clone()))
            .is_some_and(|value| *test == Test::Present || met(value, rest, test)),
        (Value::List(elements), None) => {
            (*test == Test::Present && rest.is_empty()) || elements.iter().any(|element| met(element, rest, test))
        }
        (value, _) => match test {
            Test::Present if rest.is_empty() => !absent,
            Test::Present | Test::Holds(_) | Test::Compare(..) => met(value, rest, test),
        },
    }
}

fn met(value: &Value, rest: &[Step], test: &Test) -> bool {
    if !rest.is_empty() {
        return value.as_message().is_some_and(|message| found(message, rest, test));
    }
    match test {
        Test::Present => true,
        Test::Holds(text) => value.as_str().is_some_and(|value| value.contains(text.as_str())),
        Test::Compare(comparison, operand) => operand.order(value).is_some_and(|order| comparison.allows(order)),
    }
}

impl Comparison {
    const fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
