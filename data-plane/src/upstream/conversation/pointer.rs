//! What JSON pointers (RFC 6901) find in an upstream's answer. Of several, the first that finds a text, or another scalar, is taken.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

/// The scalar that the first pointer to find one finds, as text.
pub(super) fn text<'v>(value: &'v Value, pointers: &[Arc<str>]) -> Option<Cow<'v, str>> {
    found(value, pointers).find_map(|found| match found {
        Value::String(text) => Some(Cow::from(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::from(found.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

/// What says that the answer is complete: true, or a text that is not empty. Gives the text.
pub(super) fn end<'v>(value: &'v Value, pointers: &[Arc<str>]) -> Option<&'v str> {
    found(value, pointers).find_map(|found| match found {
        Value::Bool(true) => Some("true"),
        Value::String(text) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    })
}

/// What says that something went wrong: anything but null, false, zero and what is empty. Gives its text where it has one.
pub(super) fn error(value: &Value, pointers: &[Arc<str>]) -> Option<Option<String>> {
    let mut wrong = found(value, pointers).filter(|found| match found {
        Value::Null => false,
        Value::Bool(wrong) => *wrong,
        Value::Number(code) => code.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    });
    wrong.next().map(|found| found.as_str().map(str::to_owned))
}

fn found<'v>(value: &'v Value, pointers: &[Arc<str>]) -> impl Iterator<Item = &'v Value> {
    pointers.iter().filter_map(|pointer| value.pointer(pointer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(of: &[&str]) -> Vec<Arc<str>> {
        of.iter().map(|pointer| Arc::from(*pointer)).collect()
    }

    #[test]
    fn the_first_scalar_is_taken() {
        let at = pointers(&["/a/b", "/a", "/c~1d/0"]);
        for (value, found) in [
            (json!({"a": {"b": "deep"}, "c/d": ["x"]}), Some("deep")),
            (json!({"a": "flat"}), Some("flat")),
            (json!({"a": {"b": null}, "c/d": [7]}), Some("7")),
            (json!({"a": {"b": ""}}), Some("")),
            (json!({"a": [], "c/d": {}}), None),
        ] {
            assert_eq!(text(&value, &at).as_deref(), found, "{value}");
        }
    }

    #[test]
    fn an_end_is_true_or_a_reason() {
        let at = pointers(&["/finish", "/done"]);
        for (value, found) in [
            (json!({"finish": "stop"}), Some("stop")),
            (json!({"finish": null, "done": true}), Some("true")),
            (json!({"finish": "", "done": false}), None),
            (json!({"done": 1}), None),
        ] {
            assert_eq!(end(&value, &at), found, "{value}");
        }
    }

    #[test]
    fn an_error_is_anything_that_is_there() {
        let at = pointers(&["/error/message", "/error"]);
        for (value, found) in [
            (json!({"error": {"message": "no"}}), Some(Some("no"))),
            (json!({"error": "no"}), Some(Some("no"))),
            (json!({"error": {"code": 5}}), Some(None)),
            (json!({"error": true}), Some(None)),
            (json!({"error": 17}), Some(None)),
            (json!({"error": 0}), None),
            (json!({"error": false, "text": "fine"}), None),
            (json!({"error": ""}), None),
            (json!({"error": null}), None),
        ] {
            assert_eq!(error(&value, &at), found.map(|text| text.map(str::to_owned)), "{value}");
        }
    }
}
