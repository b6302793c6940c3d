//! What differs where an upstream speaks Anthropic's Messages API: how its events are read, and what its answers say of the
//! operator's account. It translates nothing.

pub(super) mod event;

/// Whether a header tells whose account it is, or how much of it is left.
pub(super) fn is_private(name: &str) -> bool {
    name.starts_with("anthropic-ratelimit-") || name == "anthropic-organization-id"
}
