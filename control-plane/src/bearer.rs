//! Tokens that callers present as `authorization: Bearer …`. It does not know what a token opens.

use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A token that is asked for.
///
/// Digests are kept and compared, so that the time it takes says nothing about the token, not even its length.
#[derive(Debug, Clone)]
pub(crate) struct Token([u8; 32]);

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// It presents no bearer token.
    #[error("no bearer token is presented")]
    Missing,
    /// It presents another.
    #[error("the token is wrong")]
    Wrong,
}

impl Token {
    pub(crate) fn new(token: &SecretString) -> Self {
        Self(digest(token.expose_secret().as_bytes()))
    }

    /// Lets in whoever presents this token.
    ///
    /// # Errors
    /// [`Denied`] for everybody else.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        if self.has(&presented(headers).ok_or(Denied::Missing)?) { Ok(()) } else { Err(Denied::Wrong) }
    }

    /// Whether it has this digest.
    pub(crate) fn has(&self, digest: &[u8; 32]) -> bool {
        digest.ct_eq(&self.0).into()
    }
}

/// The digest of the token that is presented.
pub(crate) fn presented(headers: &HeaderMap) -> Option<[u8; 32]> {
    bearer(headers).map(digest)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The credentials of a bearer `authorization` (RFC 6750, section 2.1; the scheme's case does not matter).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authorization: Option<&str>) -> Result<(), Denied> {
        let headers = authorization.map(|value| (AUTHORIZATION, value.parse().unwrap())).into_iter().collect();
        Token::new(&"right".into()).check(&headers)
    }

    #[test]
    fn only_the_right_token_is_let_in() {
        for good in ["Bearer right", "bearer right", "BEARER  right "] {
            assert_eq!(check(Some(good)), Ok(()), "{good:?}");
        }
        for wrong in ["Bearer wrong", "Bearer right2", "Bearer ", "Bearer righ"] {
            assert_eq!(check(Some(wrong)), Err(Denied::Wrong), "{wrong:?}");
        }
        for missing in [None, Some(""), Some("right"), Some("Basic right"), Some("Bearer")] {
            assert_eq!(check(missing), Err(Denied::Missing), "{missing:?}");
        }
    }
}
