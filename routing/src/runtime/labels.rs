//! A client key's labels, in as little room as they can be: there may be a hundred thousand keys with a few labels each.

use std::collections::BTreeMap;

/// Labels by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(label, _)| (**label).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
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
