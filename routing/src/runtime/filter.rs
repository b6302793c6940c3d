//! Which models are listed.

use regex::RegexSet;

/// Which models are listed: those in which one of some regular expressions matches. Without any, all are.
#[derive(Debug, Clone, Default)]
pub struct ModelFilter(Option<RegexSet>);

impl ModelFilter {
    /// A filter of these expressions.
    ///
    /// # Errors
    /// The first one that is none, or that is too large once compiled.
    pub fn new(expressions: &[String]) -> Result<Self, regex::Error> {
        Ok(Self(if expressions.is_empty() { None } else { Some(RegexSet::new(expressions)?) }))
    }

    /// Whether a model is listed.
    #[must_use]
    pub fn lists(&self, model: &str) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match(model))
    }

    fn expressions(&self) -> &[String] {
        self.0.as_ref().map_or(&[], RegexSet::patterns)
    }
}

impl PartialEq for ModelFilter {
    fn eq(&self, other: &Self) -> bool {
        self.expressions() == other.expressions()
    }
}

impl Eq for ModelFilter {}
