//! The headers of a request to a provider: what the client said, what is configured, what the dialect asks for, and the key.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use signalbox_routing::{Dialect, Provider};

use super::Key;
use crate::headers;

/// Which version of Anthropic's API is spoken (<https://docs.anthropic.com/en/api/versioning>). It must be said.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// The version for clients that name none.
const DEFAULT_ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Makes a client's cleaned headers, or none, those of a request to this provider.
pub(crate) fn address(headers: &mut HeaderMap, provider: &Provider, key: Option<&Key>) {
    if !provider.pass_openai_headers {
        headers::remove_openai(headers);
    }
    headers::apply(&provider.headers, headers);
    // The body's own length is stated, whatever a configured header says.
    headers.remove(CONTENT_LENGTH);
    match provider.dialect {
        Dialect::Anthropic => {
            headers.entry(ANTHROPIC_VERSION).or_insert(DEFAULT_ANTHROPIC_VERSION);
        }
        Dialect::OpenAi | Dialect::AzureOpenAi | Dialect::Gemini | Dialect::Conversation => {}
    }
    if let Some(key) = key {
        key.write(headers);
    }
}
