//! Who is calling: the only room that reads a client's key, or a stranger's own. It reads neither body nor path.

use std::{borrow::Cow, str, sync::Arc};

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use signalbox_routing::{self as routing, ClientKey, CredentialSource, Provider, Runtime};
use url::form_urlencoded;

use crate::{
    headers::{API_KEY, X_API_KEY},
    upstream::{Key, OwnKeys},
};

/// The query parameter that may hold a key.
const QUERY_KEY: &str = "api_key";
/// What comes before a key among a handshake's subprotocols.
const PROTOCOL_KEY: &str = "openai-insecure-api-key.";
/// What comes there before the names of an account.
const PROTOCOL_ACCOUNTS: [&str; 2] = ["openai-organization.", "openai-project."];

/// Somebody who may ask. There is no other way to get one than to be identified.
#[derive(Debug)]
pub(crate) struct Caller(Who);

#[derive(Debug)]
enum Who {
    /// Somebody whose key was accepted.
    Known(Arc<ClientKey>),
    /// Somebody else, where some provider is for anyone.
    Stranger(Stranger),
}

#[derive(Debug)]
struct Stranger {
    /// Why no key was accepted, which is the answer if nothing is here for strangers.
    refused: Refused,
    /// What was presented, if anything was: no key of the gateway's, so perhaps one of the caller's own with a provider.
    token: Option<SecretString>,
}

/// Why a key was not accepted. It never holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// None was presented.
    #[error("no key was presented")]
    Missing,
    /// Malformed, unknown, disabled or expired: on purpose the same to the outside.
    #[error("the key is malformed, unknown, disabled or expired")]
    Invalid,
    /// Two that differ, or two `Authorization` headers: whoever judges one must not pass on the other.
    #[error("more than one key was presented")]
    Ambiguous,
}

/// What a request presents.
#[derive(Debug, PartialEq, Eq)]
struct Presented<'r> {
    token: Cow<'r, [u8]>,
    /// Whether it is an `Authorization` without a scheme. No key of the gateway's is presented like that.
    bare: bool,
}

impl Caller {
    /// Checks the key that a request presents, in whichever of the four places.
    ///
    /// The key is looked up by its SHA-256, so that the time it takes tells nothing about any other key.
    ///
    /// # Errors
    /// [`Refused`] where there is more than one key, where it is one of the gateway's that is not accepted at `now_ms` (milliseconds
    /// since the Unix epoch), and where there is none and no provider is for anyone.
    pub(crate) fn identify(
        runtime: &Runtime,
        headers: &HeaderMap,
        query: Option<&str>,
        now_ms: i64,
    ) -> Result<Self, Refused> {
        let presented = presented(headers, query)?;
        let known = presented.as_ref().and_then(|presented| known(runtime, &presented.token));
        match (presented, known) {
            (Some(Presented { bare: false, .. }), Some(key)) if key.usable_at(now_ms) => {
                Ok(Self(Who::Known(Arc::clone(key))))
            }
            (_, Some(_)) => Err(Refused::Invalid),
            (presented, None) => Stranger::admit(runtime, presented).map(Who::Stranger).map(Self),
        }
    }

    /// The key that the caller holds; `None` = a stranger.
    pub(crate) fn key(&self) -> Option<&Arc<ClientKey>> {
        match &self.0 {
            Who::Known(key) => Some(key),
            Who::Stranger(_) => None,
        }
    }

    /// The key that the caller holds, where nothing is here for strangers.
    ///
    /// # Errors
    /// Why no key was accepted.
    pub(crate) fn known(&self) -> Result<&Arc<ClientKey>, Refused> {
        match &self.0 {
            Who::Known(key) => Ok(key),
            Who::Stranger(stranger) => Err(stranger.refused),
        }
    }

    /// The caller as a plan is made for.
    pub(crate) fn planned(&self) -> routing::Caller<'_> {
        self.key().map_or(routing::Caller::Stranger, |key| routing::Caller::Key(key))
    }

    /// The key of the caller's own as each of these providers may see it: only those do that are set to be asked with it.
    ///
    /// # Errors
    /// Where nothing is left of it, or it cannot be sent, or what is left is a key of the gateway's.
    pub(crate) fn own_keys<'p>(
        &self,
        runtime: &Runtime,
        providers: impl Iterator<Item = &'p Arc<Provider>>,
    ) -> Result<OwnKeys, Refused> {
        let mut keys = OwnKeys::default();
        if let Who::Stranger(Stranger { token: Some(token), .. }) = &self.0 {
            for provider in providers.filter(|provider| provider.credential_source == CredentialSource::Client) {
                let text = stripped(runtime, token.expose_secret(), &provider.credential_prefixes)?;
                let key = Key::new(provider.dialect, &SecretString::from(text)).map_err(|_| Refused::Invalid)?;
                keys.insert(provider.id.clone(), key);
            }
        }
        Ok(keys)
    }
}

impl Stranger {
    fn admit(runtime: &Runtime, presented: Option<Presented<'_>>) -> Result<Self, Refused> {
        let refused = if presented.is_some() { Refused::Invalid } else { Refused::Missing };
        if !runtime.is_open() {
            return Err(refused);
        }
        let text = |presented: Presented<'_>| str::from_utf8(&presented.token).map(SecretString::from).ok();
        let token = presented.map(|presented| text(presented).ok_or(refused)).transpose()?;
        Ok(Self { refused, token })
    }
}

/// A key of the gateway's, accepted or not.
fn known<'r>(runtime: &'r Runtime, token: &[u8]) -> Option<&'r Arc<ClientKey>> {
    runtime.client_key(&Sha256::digest(token).into())
}

/// A token without these prefixes, taken off in order and each at most once. A key of the gateway's may not hide behind any of them.
fn stripped<'t>(runtime: &Runtime, token: &'t str, prefixes: &[Arc<str>]) -> Result<&'t str, Refused> {
    let left = prefixes.iter().try_fold(token, |token, prefix| {
        let left = token.strip_prefix(&**prefix).unwrap_or(token).trim();
        known(runtime, left.as_bytes()).is_none().then_some(left)
    });
    left.filter(|left| !left.is_empty()).ok_or(Refused::Invalid)
}

/// The one key in a request's headers and query.
fn presented<'r>(headers: &'r HeaderMap, query: Option<&'r str>) -> Result<Option<Presented<'r>>, Refused> {
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let authorized = authorizations.next().map(authorization).transpose()?;
    if authorizations.next().is_some() {
        return Err(Refused::Ambiguous);
    }
    let named = [X_API_KEY, API_KEY];
    let named = named.iter().flat_map(|name| headers.get_all(name)).map(HeaderValue::as_bytes).map(Cow::Borrowed);
    let queried = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == QUERY_KEY)
        .map(|(_, value)| Cow::Owned(value.into_owned().into_bytes()));
    let plain = named.chain(queried).map(|token| Presented { token, bare: false });
    let mut keys = authorized.into_iter().chain(plain).filter(|presented| !presented.token.is_empty());
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.all(|other| other.token == key.token) { Ok(Some(key)) } else { Err(Refused::Ambiguous) }
}

/// The token of a bearer authorization (RFC 6750, section 2.1); the scheme's case does not matter (RFC 9110, section 11.1).
fn authorization(value: &HeaderValue) -> Result<Presented<'_>, Refused> {
    let value = value.as_bytes().trim_ascii();
    let bearer = value.split_at_checked("bearer".len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"));
    let (token, bare) = match bearer {
        Some((_, token)) if token.is_empty() || token.starts_with(b" ") => (token.trim_ascii(), false),
        None if !value.iter().any(u8::is_ascii_whitespace) => (value, true),
        Some(_) | None => return Err(Refused::Invalid),
    };
    Ok(Presented { token: token.into(), bare })
}

/// Moves a key from among a handshake's subprotocols, where a browser's script must put it, to the header where it belongs. Whose
/// account is meant stays here too.
pub(crate) fn take_from_protocols(headers: &mut HeaderMap) {
    let offered: Vec<HeaderValue> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
    let mut kept = Vec::new();
    for protocol in offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let protocol = protocol.trim();
        if let Some(key) = protocol.strip_prefix(PROTOCOL_KEY) {
            if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {key}")) {
                value.set_sensitive(true);
                headers.append(AUTHORIZATION, value);
            }
        } else if !PROTOCOL_ACCOUNTS.iter().any(|account| protocol.starts_with(account)) {
            kept.push(protocol);
        }
    }
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Ok(kept) = HeaderValue::try_from(kept.join(", "))
        && !kept.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

/// The query without keys, every other byte as it was; `None` = nothing is left.
pub(crate) fn strip_query(query: Option<&str>) -> Option<Cow<'_, str>> {
    let query = query.filter(|query| !query.is_empty())?;
    let holds_key = |pair: &str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == QUERY_KEY);
    if !holds_key(query) {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !holds_key(pair)).collect();
    if kept.is_empty() { None } else { Some(Cow::Owned(kept.join("&"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::tests::headers;

    fn key(pairs: &[(&'static str, &'static str)], query: Option<&str>) -> Result<String, Refused> {
        let headers = headers(pairs);
        let presented = presented(&headers, query)?.filter(|presented| !presented.bare);
        presented.map(|key| String::from_utf8(key.token.into_owned()).unwrap()).ok_or(Refused::Missing)
    }

    #[test]
    fn a_key_is_found_in_each_of_its_four_places() {
        for (pairs, query) in [
            (&[("authorization", "Bearer sb_1")][..], None),
            (&[("authorization", "bearer  sb_1")], None),
            (&[("authorization", "BEARER sb_1 ")], Some("stream=1")),
            (&[("x-api-key", "sb_1")], None),
            (&[("api-key", "sb_1")], None),
            (&[], Some("api_key=sb_1")),
            (&[], Some("a=b&api%5Fkey=sb%5F1&c=d")),
        ] {
            assert_eq!(key(pairs, query).as_deref(), Ok("sb_1"), "{pairs:?} {query:?}");
        }
    }

    #[test]
    fn the_same_key_in_several_places_is_one_key() {
        let pairs = [("authorization", "Bearer sb_1"), ("x-api-key", "sb_1"), ("api-key", "sb_1")];
        assert_eq!(key(&pairs, Some("api_key=sb_1")).as_deref(), Ok("sb_1"));
    }

    #[test]
    fn no_key_is_missing() {
        for (pairs, query) in [
            (&[][..], None),
            (&[], Some("")),
            (&[], Some("api_key=")),
            (&[("authorization", "Bearer")], None),
            (&[("authorization", "Bearer ")], None),
            (&[("x-api-key", "")], None),
        ] {
            assert_eq!(key(pairs, query), Err(Refused::Missing), "{pairs:?} {query:?}");
        }
    }

    #[test]
    fn another_scheme_is_invalid() {
        for value in ["Basic c2JfMQ==", "Bearersb_1", "Bearer\tsb_1", "Token sb_1"] {
            assert_eq!(key(&[("authorization", value)], None), Err(Refused::Invalid), "{value}");
        }
    }

    #[test]
    fn a_token_without_a_scheme_is_none_of_the_gateways_keys() {
        let headers = headers(&[("authorization", "sb_1")]);
        assert_eq!(
            presented(&headers, None).unwrap(),
            Some(Presented { token: b"sb_1".as_slice().into(), bare: true })
        );
    }

    #[test]
    fn two_keys_are_ambiguous() {
        for (pairs, query) in [
            (&[("authorization", "Bearer sb_1"), ("x-api-key", "sb_2")][..], None),
            (&[("authorization", "Bearer sb_1"), ("authorization", "Bearer sb_1")], None),
            (&[("x-api-key", "sb_1"), ("x-api-key", "sb_2")], None),
            (&[("api-key", "sb_1")], Some("api_key=sb_2")),
            (&[], Some("api_key=sb_1&api_key=sb_2")),
        ] {
            assert_eq!(key(pairs, query), Err(Refused::Ambiguous), "{pairs:?} {query:?}");
        }
    }

    #[test]
    fn a_key_among_subprotocols_becomes_a_bearers_and_goes_no_further() {
        let mut handshake =
            headers(&[("sec-websocket-protocol", "realtime, openai-insecure-api-key.sb_1,openai-project.p, beta.v1")]);
        take_from_protocols(&mut handshake);
        assert_eq!(handshake.get("authorization").unwrap(), "Bearer sb_1");
        assert_eq!(handshake.get("sec-websocket-protocol").unwrap(), "realtime, beta.v1");
        let mut only = headers(&[("sec-websocket-protocol", "openai-insecure-api-key.sb_1")]);
        take_from_protocols(&mut only);
        assert!(!only.contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn a_query_goes_on_without_its_keys_and_otherwise_as_it_was() {
        for (query, expected) in [
            (None, None),
            (Some(""), None),
            (Some("api_key=sb_1"), None),
            (Some("a=%7e&&b"), Some("a=%7e&&b")),
            (Some("a=%7e&api_key=sb_1&b=+"), Some("a=%7e&b=+")),
            (Some("api%5fkey=x&api_key=y&my_api_key=z"), Some("my_api_key=z")),
        ] {
            assert_eq!(strip_query(query).as_deref(), expected, "{query:?}");
        }
    }
}
