//! Which models are listed.

use regex::{RegexSet, RegexSetBuilder};

/// Most memory that the expressions of one filter may take together once compiled: 4 MiB.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Which models are listed: those in which one of some regular expressions matches. Without any, all are.
#[derive(Debug, Clone, Default)]
pub struct ModelFilter(Option<RegexSet>);

impl ModelFilter {
    /// A filter of these expressions: this one where they are the same, since to compile them takes its time.
    ///
    /// # Errors
    /// What is wrong with one of them; or they are too large together once compiled.
    pub fn renew<S: AsRef<str>>(&self, expressions: &[S]) -> Result<Self, regex::Error> {
        if self.expressions().iter().map(String::as_str).eq(expressions.iter().map(AsRef::as_ref)) {
            return Ok(self.clone());
        }
        let set = RegexSetBuilder::new(expressions).size_limit(MAX_BYTES).build();
        Ok(Self(if expressions.is_empty() { None } else { Some(set?) }))
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
