//! Pages of a list (AIP-158): how long one may be and how the next is asked for. It does not know what is listed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 1000;

/// Changes when tokens of the old form can no longer be continued.
const VERSION: &str = "1";

/// A page that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// At most this many.
    pub(crate) size: usize,
    /// The last name of the page before; `None` for the first page.
    pub(crate) after: Option<String>,
}

/// Why a page cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A negative size.
    #[error("{0} is negative: 0 means {DEFAULT_SIZE}, and at most {MAX_SIZE} are returned")]
    Size(i32),
    /// A token that a list of this collection did not give out.
    #[error(
        "is not a token that a list of `{0}` returned: pass `next_page_token` on as it is, or leave it empty to begin anew"
    )]
    Token(String),
}

impl Page {
    /// Reads what a request asks for; `collection` is the one that it lists, such as `providers/openai/credentials`.
    ///
    /// # Errors
    /// [`Fault`] for a negative size or a token of another collection.
    pub(crate) fn read(size: i32, token: &str, collection: &str) -> Result<Self, Fault> {
        let size = match usize::try_from(size) {
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
            Err(_) => return Err(Fault::Size(size)),
        };
        if token.is_empty() {
            return Ok(Self { size, after: None });
        }
        let after = decode(token, collection).ok_or_else(|| Fault::Token(collection.to_owned()))?;
        Ok(Self { size, after: Some(after) })
    }
}

/// The token for the page after this name.
pub(crate) fn token(collection: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}\n{collection}\n{last}"))
}

fn decode(token: &str, collection: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let mut parts = text.splitn(3, '\n');
    match (parts.next()?, parts.next()?, parts.next()?) {
        (VERSION, of, last) if of == collection && !last.is_empty() => Some(last.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_default_a_ceiling_and_a_floor() {
        for (asked, given) in [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (i32::MAX, 1000)] {
            assert_eq!(Page::read(asked, "", "providers").unwrap(), Page { size: given, after: None });
        }
        assert_eq!(Page::read(-1, "", "providers"), Err(Fault::Size(-1)));
    }

    #[test]
    fn a_token_continues_its_own_collection_and_no_other() {
        let token = token("providers/a/credentials", "providers/a/credentials/x");
        let page = Page::read(1, &token, "providers/a/credentials").unwrap();
        assert_eq!(page.after.as_deref(), Some("providers/a/credentials/x"));
        for other in ["providers/b/credentials", "providers/-/credentials", "providers"] {
            assert_eq!(Page::read(1, &token, other), Err(Fault::Token(other.to_owned())));
        }
        for none in ["x", "!", "AAAA", &URL_SAFE_NO_PAD.encode("2\nproviders\nproviders/a")] {
            assert!(Page::read(1, none, "providers").is_err());
        }
    }
}
