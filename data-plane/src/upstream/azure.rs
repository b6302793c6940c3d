//! What differs where an upstream is Azure OpenAI: the version of its API is the operator's to say, and not the client's.

use std::borrow::Cow;

use url::form_urlencoded;

const API_VERSION: &str = "api-version";

/// A client's query without a version of its own, where the target's URL states one.
pub(super) fn query<'q>(query: &'q str, own: Option<&str>) -> Cow<'q, str> {
    let states =
        |pair: &str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case(API_VERSION));
    if !own.is_some_and(states) || !states(query) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(|pair| !states(pair)).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_version_is_the_only_one() {
        let own = Some("api-version=2024-10-21");
        for (client, own, sent) in [
            ("api-version=2023-05-15", own, ""),
            ("a=1&api-version=x&API-Version=y&b=%20", own, "a=1&b=%20"),
            ("api%2Dversion=x", own, ""),
            ("a=1", own, "a=1"),
            ("api-version=preview", None, "api-version=preview"),
        ] {
            assert_eq!(query(client, own), sent, "{client}");
        }
    }
}
