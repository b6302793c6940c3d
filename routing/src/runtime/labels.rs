//! A client key's labels, in as little room as they can be: there may be a hundred thousand keys with a few labels each.

use std::collections::BTreeMap;

/// Labels by key. Neither keys nor values hold control characters, so that two of these keep them apart in one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Box<str>);

/// Between a key and its value, and after each value.
const KEY_END: char = '\u{1f}';
const VALUE_END: char = '\u{1e}';

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut labels = self.0.split_terminator(VALUE_END).filter_map(|label| label.split_once(KEY_END));
        labels.find_map(|(label, value)| (label == key).then_some(value))
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let mut text = String::new();
        for (key, value) in labels {
            text.push_str(&key);
            text.push(KEY_END);
            text.push_str(&value);
            text.push(VALUE_END);
        }
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::labels;

    #[test]
    fn a_label_is_found_by_its_key() {
        let labels = Labels::from(labels(&[("b", "2"), ("a", "1"), ("c", "")]));
        assert_eq!(["a", "b", "c", "d", ""].map(|key| labels.get(key)), [Some("1"), Some("2"), Some(""), None, None]);
    }
}
