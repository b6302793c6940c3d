//! The header that carries a provider's key, in the place where its dialect looks for it. It never shows the key.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, InvalidHeaderValue},
};
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_routing::Dialect;
use zeroize::Zeroizing;

use crate::headers::{API_KEY, X_API_KEY};

/// A key as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    name: HeaderName,
    /// Marked sensitive.
    value: HeaderValue,
}

impl Key {
    /// Writes the header once, to be sent often.
    ///
    /// # Errors
    /// Where the secret holds what no header may hold.
    pub(crate) fn new(dialect: Dialect, secret: &SecretString) -> Result<Self, InvalidHeaderValue> {
        let secret = secret.expose_secret();
        let (name, mut value) = match dialect {
            Dialect::OpenAi | Dialect::Gemini | Dialect::Conversation => {
                let token = Zeroizing::new(format!("Bearer {secret}"));
                (AUTHORIZATION, HeaderValue::from_str(&token)?)
            }
            Dialect::AzureOpenAi => (API_KEY, HeaderValue::from_str(secret)?),
            Dialect::Anthropic => (X_API_KEY, HeaderValue::from_str(secret)?),
        };
        value.set_sensitive(true);
        Ok(Self { name, value })
    }

    /// Puts the key into a request, in place of whatever is there.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_has_its_place_for_the_key() {
        for (dialect, name, value) in [
            (Dialect::OpenAi, "authorization", "Bearer sk-1"),
            (Dialect::Gemini, "authorization", "Bearer sk-1"),
            (Dialect::Conversation, "authorization", "Bearer sk-1"),
            (Dialect::AzureOpenAi, "api-key", "sk-1"),
            (Dialect::Anthropic, "x-api-key", "sk-1"),
        ] {
            let key = Key::new(dialect, &SecretString::from("sk-1")).unwrap();
            assert_eq!((key.name.as_str(), key.value.to_str().unwrap()), (name, value), "{dialect:?}");
            assert!(!format!("{key:?}").contains("sk-1"), "{dialect:?}");
        }
        assert!(Key::new(Dialect::AzureOpenAi, &SecretString::from("a\nb")).is_err());
    }
}
