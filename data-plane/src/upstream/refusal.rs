//! What an upstream says where it refuses a request, in words that a client of OpenAI's API can read.

use bytes::Bytes;
use http::HeaderMap;
use signalbox_routing::{Dialect, Provider};

use super::{conversation, gemini};

/// Most bytes of a refusal that are read; a longer one is none that anybody wrote for a reader.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// A refusal as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Of the request: this is what the client is told.
    Request(Bytes),
    /// Of the key that it was made with.
    Key,
}

impl Refusal {
    /// Whether what this provider says has to be read before it goes on.
    pub(crate) fn is_read(provider: &Provider) -> bool {
        match provider.dialect {
            Dialect::OpenAi | Dialect::AzureOpenAi | Dialect::Anthropic => false,
            Dialect::Gemini | Dialect::Conversation => true,
        }
    }

    /// Reads a refusal, and makes its headers fit what it becomes.
    pub(crate) fn read(provider: &Provider, headers: &mut HeaderMap, body: Bytes) -> Self {
        match (provider.dialect, &provider.conversation) {
            (Dialect::Conversation, Some(terms)) => Self::Request(conversation::refusal(terms, headers, &body)),
            (Dialect::Gemini, _) if gemini::refuses_the_key(&body) => Self::Key,
            (Dialect::Gemini, _) => Self::Request(gemini::refusal(&body)),
            (Dialect::OpenAi | Dialect::AzureOpenAi | Dialect::Anthropic | Dialect::Conversation, _) => {
                Self::Request(body)
            }
        }
    }
}
