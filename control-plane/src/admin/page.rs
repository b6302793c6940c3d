//! Pages of a list (AIP-158): how long one may be and how the next is asked for. A token holds the revision that the first page was
//! of, so that all pages of a list are of one; it carries no authority. Nothing here knows what is listed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 1000;

/// Changes when tokens of the old form can no longer be continued.
const VERSION: &str = "2";

/// What a list call asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// At most this many.
    pub(crate) size: i32,
    /// Where to go on; empty = at the beginning.
    pub(crate) token: String,
    /// Which of them; empty = all.
    pub(crate) filter: String,
    /// As it was at that revision; 0 = the current one.
    pub(crate) at_revision: u64,
}

/// What is listed: a token of another list is none of this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    /// The collection, such as `providers/openai/credentials`.
    pub(crate) collection: &'a str,
    /// The history that it is in.
    pub(crate) epoch: &'a str,
}

/// A page that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// At most this many.
    pub(crate) size: usize,
    /// The last name of the page before; `None` for the first page.
    pub(crate) after: Option<String>,
    /// The revision that the list is of; 0 = the current one.
    pub(crate) revision: u64,
}

/// Why a page cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A negative size.
    #[error("{0} is negative: 0 means {DEFAULT_SIZE}, and at most {MAX_SIZE} are returned")]
    Size(i32),
    /// A token that this list did not give out.
    #[error(
        "is not a token that this list of `{0}` returned: pass `next_page_token` on as it is, with the same parent, filter and \
         at_revision, or leave it empty to begin anew"
    )]
    Token(String),
}

impl Page {
    /// Reads what a request asks for.
    ///
    /// # Errors
    /// [`Fault`] for a negative size, or a token of another list or of one that was filtered otherwise.
    pub(crate) fn read(asked: &Asked, listing: Listing<'_>) -> Result<Self, Fault> {
        let size = match usize::try_from(asked.size) {
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
            Err(_) => return Err(Fault::Size(asked.size)),
        };
        if asked.token.is_empty() {
            return Ok(Self { size, after: None, revision: asked.at_revision });
        }
        let (revision, last) = decode(asked, listing).ok_or_else(|| Fault::Token(listing.collection.to_owned()))?;
        Ok(Self { size, after: Some(last), revision })
    }
}

/// The token for the page after this name, of the list at that revision; 0 = where the list has no past.
pub(crate) fn token(asked: &Asked, listing: Listing<'_>, revision: u64, last: &str) -> String {
    let Listing { collection, epoch } = listing;
    let filter = fingerprint(&asked.filter);
    URL_SAFE_NO_PAD.encode(format!("{VERSION}\n{collection}\n{epoch}\n{filter}\n{revision}\n{last}"))
}

fn decode(asked: &Asked, Listing { collection, epoch }: Listing<'_>) -> Option<(u64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&asked.token).ok()?).ok()?;
    let parts: Vec<&str> = text.splitn(6, '\n').collect();
    let [version, of, in_epoch, filter, revision, last] = parts.as_slice() else { return None };
    let revision: u64 = revision.parse().ok()?;
    let same_list = (*version, *of, *in_epoch) == (VERSION, collection, epoch) && *filter == fingerprint(&asked.filter);
    let same_revision = asked.at_revision == 0 || asked.at_revision == revision;
    (same_list && same_revision && !last.is_empty()).then(|| (revision, (*last).to_owned()))
}

/// Enough of a digest to tell one filter from another.
fn fingerprint(filter: &str) -> String {
    Sha256::digest(filter).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDERS: Listing<'static> = Listing { collection: "providers", epoch: "e" };

    fn asked(size: i32, token: &str) -> Asked {
        Asked { size, token: token.to_owned(), ..Asked::default() }
    }

    #[test]
    fn sizes_have_a_default_a_ceiling_and_a_floor() {
        for (size, given) in [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (i32::MAX, 1000)] {
            let page = Page::read(&asked(size, ""), PROVIDERS).unwrap();
            assert_eq!(page, Page { size: given, after: None, revision: 0 });
        }
        assert_eq!(Page::read(&asked(-1, ""), PROVIDERS), Err(Fault::Size(-1)));
    }

    #[test]
    fn a_token_continues_its_own_list_and_no_other() {
        let of_a = Listing { collection: "providers/a/credentials", epoch: "e" };
        let first = Asked { size: 1, filter: "disabled = true".to_owned(), ..Asked::default() };
        let next = Asked { token: token(&first, of_a, 7, "providers/a/credentials/x"), ..first };
        let page = Page { size: 1, after: Some("providers/a/credentials/x".to_owned()), revision: 7 };
        assert_eq!(Page::read(&next, of_a), Ok(page.clone()));
        assert_eq!(Page::read(&Asked { at_revision: 7, ..next.clone() }, of_a), Ok(page));

        let refused = |asked: Asked, listing: Listing<'_>| {
            assert_eq!(Page::read(&asked, listing), Err(Fault::Token(listing.collection.to_owned())));
        };
        for other in ["providers/b/credentials", "providers/-/credentials", "providers"] {
            refused(next.clone(), Listing { collection: other, ..of_a });
        }
        refused(next.clone(), Listing { epoch: "another history", ..of_a });
        refused(Asked { filter: String::new(), ..next.clone() }, of_a);
        refused(Asked { at_revision: 6, ..next }, of_a);
        for none in ["x", "!", "AAAA", &URL_SAFE_NO_PAD.encode("1\nproviders\nproviders/a")] {
            refused(asked(1, none), PROVIDERS);
        }
    }
}
