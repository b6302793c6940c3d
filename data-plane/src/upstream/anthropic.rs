//! What differs where an upstream speaks Anthropic's Messages API: how its events are read, and what its answers say of the
//! operator's account. It translates nothing.

use http::{HeaderMap, HeaderName};

pub(super) mod event;

/// Takes out whose account it is, and how much of it is left.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    let is_private = |name: &HeaderName| {
        name.as_str().starts_with("anthropic-ratelimit-") || name.as_str() == "anthropic-organization-id"
    };
    let private: Vec<_> = headers.keys().filter(|name| is_private(name)).cloned().collect();
    for name in private {
        headers.remove(name);
    }
}
