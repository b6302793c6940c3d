//! Takes a key out of what an upstream says. It knows one key, and nothing of what is said.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use memchr::memmem::Finder;

const REDACTED: &[u8] = b"[redacted]";

/// Shortest key that is looked for, in bytes. Shorter ones are place holders such as `none`, which any text may hold.
const MIN_KEY_BYTES: usize = 8;

/// The body without the key.
pub(super) fn body(body: Bytes, key: &str) -> Bytes {
    let finder = Finder::new(key);
    if key.len() < MIN_KEY_BYTES || finder.find(&body).is_none() {
        return body;
    }
    let mut out = BytesMut::with_capacity(body.len());
    let mut rest: &[u8] = &body;
    while let Some((before, after)) = finder.find(rest).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before);
        out.extend_from_slice(REDACTED);
        rest = after.get(key.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.freeze()
}

/// Removes each header that holds the key.
pub(super) fn headers(headers: &mut HeaderMap, key: &str) {
    let finder = Finder::new(key);
    let holds = |value: &[u8]| key.len() >= MIN_KEY_BYTES && finder.find(value).is_some();
    let named: Vec<_> =
        headers.iter().filter(|(_, value)| holds(value.as_bytes())).map(|(name, _)| name.clone()).collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::WWW_AUTHENTICATE};

    use super::*;

    #[test]
    fn every_occurrence_of_the_key_goes_and_nothing_else() {
        for (key, said, told) in [
            (
                "sk-12345",
                "bad key sk-12345, not sk-1234 or sk-12345.",
                "bad key [redacted], not sk-1234 or [redacted].",
            ),
            ("sk-12345", "sk-12345sk-12345", "[redacted][redacted]"),
            ("sk-12345", "nothing to see", "nothing to see"),
            ("none", "none of it", "none of it"),
            ("", "empty", "empty"),
        ] {
            assert_eq!(body(Bytes::from(said), key), told);
        }
    }

    #[test]
    fn a_header_that_holds_the_key_goes() {
        let mut said = HeaderMap::new();
        said.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"sk-12345 is unknown\""));
        said.insert("x-kept", HeaderValue::from_static("sk-1234"));
        headers(&mut said, "sk-12345");
        assert_eq!(said.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-kept"]);
    }
}
