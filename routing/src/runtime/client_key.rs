//! A client key as a request meets it: its digest, and what it may do.

use std::num::{NonZeroU32, NonZeroU64};

use super::Labels;
use crate::{glob::Glob, name::Id};

/// A key that clients present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// Its id, for logs and metrics.
    pub id: Id,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Globs over the requested model; empty = every model.
    pub allowed_models: Box<[Glob]>,
    /// Refused from this moment on, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// Whether it is refused.
    pub disabled: bool,
    /// What redirects are matched against.
    pub labels: Labels,
    /// What it may use at most, on each replica.
    pub limits: Limits,
}

/// What a client key may use at most, on each replica; `None` = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests begun in any one minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens in any one minute, prompt and answer together.
    pub tokens_per_minute: Option<NonZeroU64>,
    /// Requests under way at once.
    pub max_in_flight: Option<NonZeroU32>,
}

impl ClientKey {
    /// Whether it is accepted at this moment (milliseconds since the Unix epoch).
    #[must_use]
    pub fn usable_at(&self, now_ms: i64) -> bool {
        !self.disabled && self.expires_at_ms.is_none_or(|expiry| now_ms < expiry)
    }

    /// Whether it may request this model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.allowed_models.is_empty() || self.allowed_models.iter().any(|glob| glob.matches(model))
    }

    /// Whether there is any model that it may request behind a provider's prefix.
    pub(crate) fn allows_below(&self, prefix: &str) -> bool {
        let start = format!("{prefix}/");
        self.allowed_models.is_empty() || self.allowed_models.iter().any(|glob| glob.matches_below(&start))
    }
}
