//! A client key as a request meets it: its digest, and what it may do.

use std::collections::BTreeMap;

use crate::{glob::Glob, name::Id};

/// A key that clients present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// Its id, for logs and metrics.
    pub id: Id,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Globs over the requested model; empty = every model.
    pub allowed_models: Vec<Glob>,
    /// Refused from this moment on, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// Whether it is refused.
    pub disabled: bool,
    /// What redirects are matched against.
    pub labels: BTreeMap<String, String>,
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
}
