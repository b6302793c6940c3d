//! What differs where an upstream is Gemini's OpenAI-compatible endpoint (<https://ai.google.dev/gemini-api/docs/openai>): the form of
//! its errors, and how it refuses a key.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An error object; in a list of one it is what clients of OpenAI cannot read.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow, default)]
    details: Vec<Detail<'a>>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow, default)]
    reason: Option<&'a str>,
}

/// An error without the list that it may be in; every other body as it is.
pub(super) fn refusal(body: &Bytes) -> Bytes {
    if !body.trim_ascii_start().starts_with(b"[") {
        return body.clone();
    }
    match serde_json::from_slice::<Vec<&RawValue>>(body).as_deref() {
        Ok([one]) if serde_json::from_str::<Outer<'_>>(one.get()).is_ok() => body.slice_ref(one.get().as_bytes()),
        _ => body.clone(),
    }
}

/// Whether a refusal of the request (400) is one of the key.
pub(super) fn refuses_the_key(body: &Bytes) -> bool {
    let body = refusal(body);
    let Ok(Outer { error }) = serde_json::from_slice(&body) else { return false };
    let details = serde_json::from_str(error.get()).map(|Inner { details }| details).unwrap_or_default();
    details.iter().any(|detail| detail.reason == Some("API_KEY_INVALID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_out_of_its_list() {
        for (body, told) in [
            (r#"[{"error":{"code":400,"message":"no"}}]"#, r#"{"error":{"code":400,"message":"no"}}"#),
            (" [\n {\"error\": {}}\n]\n", r#"{"error": {}}"#),
            (r#"{"error":{"message":"no"}}"#, r#"{"error":{"message":"no"}}"#),
            (r#"[{"error":{}},{"error":{}}]"#, r#"[{"error":{}},{"error":{}}]"#),
            ("[1]", "[1]"),
            ("[", "["),
            ("<html>", "<html>"),
        ] {
            assert_eq!(refusal(&Bytes::from(body)), told);
        }
    }

    #[test]
    fn a_refused_key_is_told_from_a_refused_request() {
        for (body, refused) in [
            (
                r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"@type":"x","reason":"API_KEY_INVALID"}]}}]"#,
                true,
            ),
            (r#"{"error":{"details":[{"@type":"y"},{"reason":"API_KEY_INVALID"}]}}"#, true),
            (r#"[{"error":{"code":400,"message":"API_KEY_INVALID"}}]"#, false),
            (r#"[{"error":{"details":[{"reason":"OTHER"}]}}]"#, false),
            ("no", false),
        ] {
            assert_eq!(refuses_the_key(&Bytes::from(body)), refused, "{body}");
        }
    }
}
