//! Who is calling: the only room that reads a client's key. It reads neither body nor path.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};
use signalbox_routing::{ClientKey, Runtime};
use url::form_urlencoded;

use crate::headers::{API_KEY, X_API_KEY};

/// The query parameter that may hold a key.
const QUERY_KEY: &str = "api_key";

/// Somebody whose key was accepted. There is no other way to get one.
#[derive(Debug)]
pub(crate) struct Caller {
    key: Arc<ClientKey>,
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

impl Caller {
    /// Checks the key that a request presents, in whichever of the four places.
    ///
    /// The key is looked up by its SHA-256, so that the time it takes tells nothing about any other key.
    ///
    /// # Errors
    /// [`Refused`] where there is no key, more than one, or none that is accepted at `now_ms` (milliseconds since the Unix epoch).
    pub(crate) fn identify(
        runtime: &Runtime,
        headers: &HeaderMap,
        query: Option<&str>,
        now_ms: i64,
    ) -> Result<Self, Refused> {
        let digest = Sha256::digest(presented(headers, query)?);
        let key = runtime.client_key(&digest.into()).filter(|key| key.usable_at(now_ms)).ok_or(Refused::Invalid)?;
        Ok(Self { key: Arc::clone(key) })
    }

    /// The key that the caller holds.
    pub(crate) fn key(&self) -> &Arc<ClientKey> {
        &self.key
    }
}

/// The one key in a request's headers and query.
fn presented<'r>(headers: &'r HeaderMap, query: Option<&'r str>) -> Result<Cow<'r, [u8]>, Refused> {
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let bearer = authorizations.next().map(bearer).transpose()?;
    if authorizations.next().is_some() {
        return Err(Refused::Ambiguous);
    }
    let named = [X_API_KEY, API_KEY];
    let named = named.iter().flat_map(|name| headers.get_all(name)).map(HeaderValue::as_bytes);
    let queried = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == QUERY_KEY)
        .map(|(_, value)| Cow::Owned(value.into_owned().into_bytes()));
    let mut keys = bearer.into_iter().chain(named).map(Cow::Borrowed).chain(queried).filter(|key| !key.is_empty());
    let key = keys.next().ok_or(Refused::Missing)?;
    if keys.all(|other| other == key) { Ok(key) } else { Err(Refused::Ambiguous) }
}

/// The token of a bearer authorization (RFC 6750, section 2.1); the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Result<&[u8], Refused> {
    let value = value.as_bytes().trim_ascii();
    let (scheme, token) = value.split_at_checked("bearer".len()).ok_or(Refused::Invalid)?;
    let separated = token.is_empty() || token.starts_with(b" ");
    if separated && scheme.eq_ignore_ascii_case(b"bearer") { Ok(token.trim_ascii()) } else { Err(Refused::Invalid) }
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
        presented(&headers(pairs), query).map(|key| String::from_utf8(key.into_owned()).unwrap())
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
        for value in ["Basic c2JfMQ==", "sb_1", "Bearersb_1", "Bearer\tsb_1", "Token sb_1", ""] {
            assert_eq!(key(&[("authorization", value)], None), Err(Refused::Invalid), "{value}");
        }
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
