//! What resources are called: their kinds, their ids (RFC 1034 labels) and their full names (AIP-122).

use std::{fmt, sync::Arc};

/// The kinds of resource, in the order in which they are listed and travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `settings`
    Settings,
    /// `providers/{provider}`
    Provider,
    /// `providers/{provider}/credentials/{credential}`
    Credential,
    /// `clientKeys/{client_key}`
    ClientKey,
    /// `redirects/{redirect}`
    Redirect,
    /// `routes/{route}`
    Route,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 6] =
        [Self::Settings, Self::Provider, Self::Credential, Self::ClientKey, Self::Redirect, Self::Route];

    /// The word that stands for it on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Provider => "provider",
            Self::Credential => "credential",
            Self::ClientKey => "client_key",
            Self::Redirect => "redirect",
            Self::Route => "route",
        }
    }

    /// The kind that a wire word stands for.
    #[must_use]
    pub fn from_wire(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest id in bytes (RFC 1034, section 3.1).
pub const MAX_ID_BYTES: usize = 63;

/// A resource's id: a lower-case RFC 1034 label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an id: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending in a hyphen"
)]
pub struct InvalidId {
    /// The text, cut to a displayable length.
    pub text: String,
}

impl Id {
    /// Reads an id.
    ///
    /// # Errors
    /// [`InvalidId`] where the text is not a lower-case RFC 1034 label.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let bytes = text.as_bytes();
        let shape = bytes.len() <= MAX_ID_BYTES
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last().is_some_and(|last| *last != b'-')
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
        if shape { Ok(Self(text.into())) } else { Err(InvalidId { text: text.chars().take(80).collect() }) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A resource's full name. Ordered by kind, then by text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    kind: Kind,
    text: Arc<str>,
}

/// Why a text is no resource name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The collections are not those of any kind.
    #[error(
        "`{0}` is not a resource name: providers/ID, providers/ID/credentials/ID, clientKeys/ID, redirects/ID, routes/ID or settings"
    )]
    Shape(String),
    /// One of its ids is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl ResourceName {
    /// Reads a full name such as `providers/openai/credentials/main`.
    ///
    /// # Errors
    /// [`InvalidName`] where the collections or an id are not what a name is made of.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let kind = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("settings"), None, ..) => Kind::Settings,
            (Some("providers"), Some(id), None, ..) => Self::with_id(Kind::Provider, id)?,
            (Some("providers"), Some(provider), Some("credentials"), Some(id), None) => {
                Id::parse(provider)?;
                Self::with_id(Kind::Credential, id)?
            }
            (Some("clientKeys"), Some(id), None, ..) => Self::with_id(Kind::ClientKey, id)?,
            (Some("redirects"), Some(id), None, ..) => Self::with_id(Kind::Redirect, id)?,
            (Some("routes"), Some(id), None, ..) => Self::with_id(Kind::Route, id)?,
            _ => return Err(InvalidName::Shape(text.chars().take(160).collect())),
        };
        Ok(Self { kind, text: text.into() })
    }

    fn with_id(kind: Kind, id: &str) -> Result<Kind, InvalidId> {
        Id::parse(id).map(|_| kind)
    }

    /// The name of the settings.
    #[must_use]
    pub fn settings() -> Self {
        Self { kind: Kind::Settings, text: "settings".into() }
    }

    /// `providers/{id}`
    #[must_use]
    pub fn provider(id: &Id) -> Self {
        Self { kind: Kind::Provider, text: format!("providers/{id}").into() }
    }

    /// `providers/{provider}/credentials/{id}`
    #[must_use]
    pub fn credential(provider: &Id, id: &Id) -> Self {
        Self { kind: Kind::Credential, text: format!("providers/{provider}/credentials/{id}").into() }
    }

    /// `clientKeys/{id}`
    #[must_use]
    pub fn client_key(id: &Id) -> Self {
        Self { kind: Kind::ClientKey, text: format!("clientKeys/{id}").into() }
    }

    /// `redirects/{id}`
    #[must_use]
    pub fn redirect(id: &Id) -> Self {
        Self { kind: Kind::Redirect, text: format!("redirects/{id}").into() }
    }

    /// `routes/{id}`
    #[must_use]
    pub fn route(id: &Id) -> Self {
        Self { kind: Kind::Route, text: format!("routes/{id}").into() }
    }

    /// What kind of resource it names.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its last part: the resource's own id, or `settings`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or(&self.text)
    }

    /// The name of the provider that a credential belongs to; `None` for every other kind.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.text.split_once("/credentials/")?;
        Some(Self { kind: Kind::Provider, text: parent.into() })
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_rfc_1034_labels() {
        for good in ["a", "openai", "gpt-4o", "a1", &"a".repeat(63)] {
            assert_eq!(Id::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "1a", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", &"a".repeat(64)] {
            assert!(Id::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn names_know_their_kind_id_and_parent() {
        let name = ResourceName::parse("providers/openai/credentials/main").unwrap();
        assert_eq!((name.kind(), name.id()), (Kind::Credential, "main"));
        assert_eq!(name.parent().unwrap().as_str(), "providers/openai");
        assert_eq!(ResourceName::parse("settings").unwrap(), ResourceName::settings());
        for bad in ["", "providers", "providers/", "providers/a/b", "providers/a/credentials", "things/a", "settings/a"]
        {
            assert!(ResourceName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn wire_words_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_wire(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_wire("providers"), None);
    }
}
