//! What happens to headers on the way upstream, beyond what the gateway always strips.

use http::{HeaderName, HeaderValue};

/// What happens to headers on the way upstream, beyond what the gateway always strips.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderPolicy {
    /// Headers to add.
    pub add: Vec<ConfiguredHeader>,
    /// Client headers not to pass on, those of Settings included.
    pub drop: Vec<HeaderName>,
}

/// A header to add.
#[derive(Debug, Clone)]
pub struct ConfiguredHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value, marked sensitive where it is a secret.
    pub value: HeaderValue,
    /// Whether it replaces a header of that name sent by the client, Settings and the resource's own default considered.
    pub overwrite: bool,
}

impl PartialEq for ConfiguredHeader {
    fn eq(&self, other: &Self) -> bool {
        // A value that has become a secret is another one, though its bytes are the same.
        self.name == other.name
            && self.value == other.value
            && self.value.is_sensitive() == other.value.is_sensitive()
            && self.overwrite == other.overwrite
    }
}

impl Eq for ConfiguredHeader {}
