//! How many tokens an answer took, in the words of whichever API says so. It knows neither prices nor limits.

use serde::Deserialize;

/// How many tokens an answer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Those of what was asked, cached ones included.
    pub(crate) prompt: u64,
    /// Those of the answer.
    pub(crate) completion: u64,
}

/// The counts of OpenAI's two APIs and of Anthropic's, which says apart what its cache took.
#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    total_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl Usage {
    /// Reads a usage object; `None` where it is none, or counts something other than tokens.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        let counts: Counts = serde_json::from_slice(json).ok()?;
        let completion = counts.completion_tokens.or(counts.output_tokens);
        let uncached = counts.prompt_tokens.or(counts.input_tokens);
        let uncached = uncached.or(counts.total_tokens.filter(|_| completion.is_none()));
        if uncached.is_none() && completion.is_none() {
            return None;
        }
        let cached = [counts.cache_creation_input_tokens, counts.cache_read_input_tokens];
        let prompt = cached.into_iter().flatten().fold(uncached.unwrap_or(0), u64::saturating_add);
        Some(Self { prompt, completion: completion.unwrap_or(0) })
    }

    /// It and what is said later in the same stream, where counts are running totals and not every event says all of them.
    pub(crate) fn and_later(self, later: Self) -> Self {
        Self { prompt: self.prompt.max(later.prompt), completion: self.completion.max(later.completion) }
    }

    /// All of them.
    pub(crate) fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_apis_words_are_understood() {
        for (json, counts) in [
            (r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#, Some((3, 4))),
            (r#"{"prompt_tokens":3,"total_tokens":3}"#, Some((3, 0))),
            (r#"{"input_tokens":3,"output_tokens":4,"input_tokens_details":{"cached_tokens":1}}"#, Some((3, 4))),
            (r#"{"input_tokens":3,"cache_creation_input_tokens":10,"cache_read_input_tokens":null}"#, Some((13, 0))),
            (r#"{"output_tokens":4}"#, Some((0, 4))),
            (r#"{"prompt_tokens":3,"input_tokens":3,"completion_tokens":4,"output_tokens":4}"#, Some((3, 4))),
            (r#"{"total_tokens":9}"#, Some((9, 0))),
            (r#"{"prompt_tokens":18446744073709551615,"cache_read_input_tokens":9}"#, Some((u64::MAX, 0))),
            (r#"{"type":"duration","seconds":3}"#, None),
            (r#"{"prompt_tokens":-1}"#, None),
            (r#"{"prompt_tokens":"3"}"#, None),
            ("null", None),
            ("", None),
        ] {
            let counts = counts.map(|(prompt, completion)| Usage { prompt, completion });
            assert_eq!(Usage::read(json.as_bytes()), counts, "{json}");
        }
    }

    #[test]
    fn running_totals_are_not_added_up() {
        let begun = Usage { prompt: 25, completion: 1 };
        let ended = begun.and_later(Usage { prompt: 0, completion: 15 });
        assert_eq!((ended, ended.total()), (Usage { prompt: 25, completion: 15 }, 40));
    }
}
