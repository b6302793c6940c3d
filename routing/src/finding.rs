//! What is wrong with a resource: where, why, and what stands in for it.

use crate::name::{InvalidId, ResourceName};

/// One fault in one field of one resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {field}: {fault}")]
pub struct Finding {
    /// The resource that is not in force as written.
    pub resource: ResourceName,
    /// The field's path in proto JSON's snake case, such as `targets[1].provider`; empty for the resource as a whole.
    pub field: String,
    /// What is wrong.
    pub fault: Fault,
    /// What a data plane does instead.
    pub effect: Effect,
}

/// What is wrong with a field. The text says what would be right; it never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no message of the kind.
    #[error("cannot be decoded")]
    Undecodable,
    /// It needs a capability that this build does not have.
    #[error("needs the feature `{0}`, which this build does not have")]
    UnknownFeature(String),
    /// Required, but absent or unspecified.
    #[error("is required")]
    Missing,
    /// An id, or a reference by id, is no RFC 1034 label.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// Not a URL that can be used here.
    #[error("`{url}` is not usable here: {rule}")]
    Url {
        /// What was given, without user information.
        url: String,
        /// The rule, such as "must be an http or https URL with a host".
        rule: &'static str,
    },
    /// Not a header name or value.
    #[error("is not a header that can be sent: {0}")]
    Header(&'static str),
    /// A number or duration outside its limits.
    #[error("is outside its limits: {0}")]
    OutOfRange(&'static str),
    /// A text that breaks a rule of its field.
    #[error("`{text}` is not allowed: {rule}")]
    Text {
        /// What was given.
        text: String,
        /// The rule.
        rule: &'static str,
    },
    /// Not a regular expression that can be used.
    #[error("`{text}` is no regular expression that can be used: {cause}")]
    Expression {
        /// What was given.
        text: String,
        /// What the parser says.
        cause: String,
    },
    /// A template that is not JSON.
    #[error("is not JSON: {0}")]
    Json(String),
    /// It says something about what the resource, as it is otherwise, does not have.
    #[error("has no meaning here: {0}")]
    Meaningless(&'static str),
    /// It refers to something that is not there.
    #[error("`{0}` does not exist")]
    Dangling(ResourceName),
    /// Another resource has it already.
    #[error("is taken by {0}")]
    Taken(ResourceName),
    /// Following it leads back to itself.
    #[error("leads back to itself: {0}")]
    Loop(String),
}

impl Fault {
    /// The stable word for it, in upper snake case.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable => "UNDECODABLE",
            Self::UnknownFeature(_) => "UNKNOWN_FEATURE",
            Self::Missing => "FIELD_REQUIRED",
            Self::Id(_) => "INVALID_ID",
            Self::Url { .. } => "INVALID_URL",
            Self::Header(_) => "INVALID_HEADER",
            Self::OutOfRange(_) => "OUT_OF_RANGE",
            Self::Text { .. } => "INVALID_TEXT",
            Self::Expression { .. } => "INVALID_EXPRESSION",
            Self::Json(_) => "INVALID_JSON",
            Self::Meaningless(_) => "MEANINGLESS",
            Self::Dangling(_) => "DANGLING_REFERENCE",
            Self::Taken(_) => "ALREADY_TAKEN",
            Self::Loop(_) => "LOOP",
        }
    }
}

/// What stands in for a resource that does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The last version that compiled goes on serving.
    KeptPrevious,
    /// It is as though it did not exist.
    Absent,
    /// Whoever presents it is refused.
    Deny,
}
