//! Patterns over model names: `*` stands for any run of characters, slashes included; everything else for itself.

use std::{fmt, sync::Arc};

/// A pattern over model names. Case-sensitive; a text without `*` matches only itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Arc<str>);

impl Glob {
    /// The pattern that a text stands for; there is no text that stands for none.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches one name only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// How many characters stand for themselves: the measure by which one pattern is more particular than another.
    #[must_use]
    pub fn literals(&self) -> usize {
        self.0.chars().filter(|character| *character != '*').count()
    }

    /// Whether it matches the whole name, in time linear in both.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut left) = name.strip_prefix(head) else { return false };
        // The leftmost place for each part leaves the most for those that follow, so that nothing is ever tried twice.
        for part in middle.split('*') {
            match left.split_once(part) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(tail)
    }

    /// Whether it matches any name that begins like this and goes on.
    #[must_use]
    pub(crate) fn matches_below(&self, start: &str) -> bool {
        match self.0.split_once('*') {
            None => self.0.len() > start.len() && self.0.starts_with(start),
            Some((head, _)) => head.starts_with(start) || start.starts_with(head),
        }
    }

    pub(crate) const fn text(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    /// The definition, without a thought for its cost.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => naive(rest, name),
            (Some(('*', rest)), Some((_, shorter))) => naive(rest, name) || naive(pattern, shorter),
            (Some((wanted, rest)), Some((found, left))) => wanted == found && naive(rest, left),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o", "GPT-4o", false),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "gpt-4o/x", true),
            ("*-mini", "gpt-4o-mini", true),
            ("*-mini", "gpt-4o-mini-2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a**c", "abc", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("g.t", "got", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_pattern_reaches_below_a_start_where_some_name_could() {
        for (pattern, expected) in [
            ("*", true),
            ("a/*", true),
            ("a/b", true),
            ("a/b*c", true),
            ("a*", true),
            ("*-mini", true),
            ("a/", false),
            ("a", false),
            ("b/*", false),
            ("ab*", false),
            ("gpt-4o", false),
        ] {
            assert_eq!(Glob::new(pattern).matches_below("a/"), expected, "{pattern}");
        }
    }

    #[test]
    fn a_hostile_name_costs_no_more_than_its_length() {
        let glob = Glob::new(&"*a".repeat(128));
        assert!(!glob.matches(&format!("{}b", "a".repeat(100_000))));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*ä]{0,8}", name in "[abä]{0,10}") {
            let (p, n): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
            assert_eq!(Glob::new(&pattern).matches(&name), naive(&p, &n));
        }

        #[test]
        fn any_text_matches_itself_and_star_matches_everything(name in any::<String>(), cut in prop::sample::select(vec![0, 1, 2])) {
            assert!(Glob::new(&name).matches(&name));
            assert!(Glob::new("*").matches(&name));
            let head: String = name.chars().take(cut).collect();
            assert!(Glob::new(&format!("{head}*")).matches(&name));
        }
    }
}
