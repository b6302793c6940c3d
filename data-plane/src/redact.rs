//! Masks a provider's key in what an upstream says, piece by piece and without changing its length. It knows one key, and nothing of
//! what is said.

use std::{fmt, mem, sync::Arc};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use memchr::{memchr_iter, memmem::Finder};

/// Shortest key that is looked for, in bytes. Shorter ones are place holders such as `none`, which any text may hold.
const MIN_KEY_BYTES: usize = 8;

/// A key to be masked, made ready once to be found often. The default masks nothing.
#[derive(Clone, Default)]
pub(crate) struct Mask(Option<Arc<Finder<'static>>>);

impl Mask {
    pub(crate) fn new(key: &str) -> Self {
        Self((key.len() >= MIN_KEY_BYTES).then(|| Arc::new(Finder::new(key).into_owned())))
    }

    /// Masks the key in every value.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        let Some(key) = self.0.as_deref() else { return };
        for value in headers.values_mut().filter(|value| key.find(value.as_bytes()).is_some()) {
            let mut text = Bytes::copy_from_slice(value.as_bytes());
            cover(key, &mut text);
            *value = HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("*"));
        }
    }

    /// Masks the key in a text that is there as a whole.
    pub(crate) fn whole(&self, mut text: Bytes) -> Bytes {
        if let Some(key) = self.0.as_deref() {
            cover(key, &mut text);
        }
        text
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").finish_non_exhaustive()
    }
}

/// Masks the key in a text that comes in pieces, wherever it is cut.
#[derive(Debug)]
pub(crate) struct Masking {
    mask: Mask,
    /// How many bytes are held back, which are the first ones of the key.
    held: usize,
}

impl Masking {
    pub(crate) fn new(mask: Mask) -> Self {
        Self { mask, held: 0 }
    }

    /// Takes the next piece, and gives what is known not to belong to a key that is not yet over.
    pub(crate) fn push(&mut self, mut text: Bytes, mut give: impl FnMut(Bytes)) {
        let Some(key) = self.mask.0.as_deref() else { return give(text) };
        self.held = across(key, self.held, &mut text, &mut give);
        if !text.is_empty() {
            let past = cover(key, &mut text);
            self.held = begun(key.needle(), text.get(past..).unwrap_or_default());
            text.truncate(text.len() - self.held);
            if !text.is_empty() {
                give(text);
            }
        }
    }

    /// What was held back, once there is no more to come.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let key = self.mask.0.as_deref()?.needle();
        let held = key.get(..mem::take(&mut self.held)).filter(|held| !held.is_empty())?;
        Some(Bytes::copy_from_slice(held))
    }

    /// How many bytes are held back.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

/// Settles what was held back by what follows it, and takes from that what completes the key. Returns how many bytes are still held,
/// in which case nothing else is left.
fn across(key: &Finder<'_>, mut held: usize, text: &mut Bytes, mut give: impl FnMut(Bytes)) -> usize {
    while let Some((begin, missing)) = key.needle().split_at_checked(held).filter(|(begin, _)| !begin.is_empty()) {
        if text.starts_with(missing) {
            text.advance(missing.len());
            give(vec![b'*'; key.needle().len()].into());
            return 0;
        }
        if missing.starts_with(text) {
            return held + mem::take(text).len();
        }
        // It was no key; but one may begin within what looked like one.
        held = begun(key.needle(), begin.get(1..).unwrap_or_default());
        begin.get(..begin.len() - held).map(Bytes::copy_from_slice).into_iter().for_each(&mut give);
    }
    0
}

/// Masks every occurrence, and returns where the last one ends. Copies only where there is one.
fn cover(key: &Finder<'_>, text: &mut Bytes) -> usize {
    let found: Vec<usize> = key.find_iter(text).collect();
    let Some(last) = found.last() else { return 0 };
    let mut masked = BytesMut::from(mem::take(text));
    for at in &found {
        if let Some(occurrence) = masked.get_mut(*at..at + key.needle().len()) {
            occurrence.fill(b'*');
        }
    }
    *text = masked.freeze();
    last + key.needle().len()
}

/// How much of the key, but never all of it, the text ends with.
fn begun(key: &[u8], text: &[u8]) -> usize {
    let Some(first) = key.first() else { return 0 };
    let end = text.get(text.len().saturating_sub(key.len() - 1)..).unwrap_or_default();
    let mut begins = memchr_iter(*first, end).filter_map(|at| end.get(at..));
    begins.find(|begun| key.starts_with(begun)).map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;
    use proptest::{
        collection::vec,
        prelude::{any, prop_assert_eq, proptest},
        sample::Index,
    };

    use super::*;

    fn piecewise(mask: &Mask, pieces: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
        let (mut masking, mut out) = (Masking::new(mask.clone()), Vec::new());
        for piece in pieces {
            masking.push(piece, |piece| out.push(piece));
        }
        out.extend(masking.finish());
        out
    }

    #[test]
    fn every_occurrence_of_the_key_is_masked_and_nothing_else() {
        for (key, said, told) in [
            ("sk-12345", "bad sk-12345, not sk-1234 or sk-12345.", "bad ********, not sk-1234 or ********."),
            ("sk-12345", "sk-12345sk-12345", "****************"),
            ("sk-12345", "it ends in sk-1234", "it ends in sk-1234"),
            ("sk-12345", "nothing to see", "nothing to see"),
            ("none", "none of it", "none of it"),
            ("", "empty", "empty"),
        ] {
            let mask = Mask::new(key);
            assert_eq!(mask.whole(Bytes::from(said)), told);
            let bytes = said.bytes().map(|byte| Bytes::copy_from_slice(&[byte]));
            assert_eq!(piecewise(&mask, bytes).concat(), told.as_bytes());
        }
    }

    #[test]
    fn a_header_s_value_is_masked() {
        let mut said = HeaderMap::new();
        said.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"sk-12345 is unknown\""));
        said.append("x-echo", HeaderValue::from_static("sk-1234"));
        said.append("x-echo", HeaderValue::from_static("sk-12345"));
        Mask::new("sk-12345").headers(&mut said);
        assert_eq!(said[WWW_AUTHENTICATE], "Bearer error=\"******** is unknown\"");
        assert_eq!(said.get_all("x-echo").iter().collect::<Vec<_>>(), ["sk-1234", "********"]);
    }

    #[test]
    fn what_cannot_be_the_key_is_neither_copied_nor_held() {
        let said = Bytes::from("nothing to see");
        let mut out = Vec::new();
        Masking::new(Mask::new("sk-12345")).push(said.clone(), |piece| out.push(piece));
        assert_eq!(out.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>(), [said.as_ptr()]);
        assert_eq!(out, [said]);
    }

    #[test]
    fn the_key_is_not_shown() {
        assert!(!format!("{:?}", Masking::new(Mask::new("sk-12345"))).contains("12345"));
    }

    proptest! {
        #[test]
        fn the_cuts_make_no_difference(
            key in "[ab*]{8,10}",
            words in vec((any::<bool>(), "[ab*]{0,12}"), 0..12),
            cuts in vec(any::<Index>(), 0..12),
        ) {
            let said: String = words.iter().flat_map(|(keyed, word)| [if *keyed { &*key } else { "" }, word]).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(said.len() + 1)).collect();
            cuts.extend([0, said.len()]);
            cuts.sort_unstable();
            let whole = Bytes::from(said.clone());
            let pieces = cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1]));
            let mask = Mask::new(&key);
            let told = piecewise(&mask, pieces).concat();
            prop_assert_eq!(&told, &said.replace(&key, &"*".repeat(key.len())).into_bytes());
            prop_assert_eq!(told, mask.whole(whole));
        }
    }
}
