//! What a change came to, or would come to, in words: which resources, field by field, and what that means. It never knows a secret: the
//! control plane sends none.

use std::fmt::Write as _;

use serde_json::Value;

/// Colours for terminals.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    /// A text in one of the sixteen colours.
    #[must_use]
    pub fn with(self, color: anstyle::AnsiColor, text: &str) -> String {
        if self.0 {
            let style = color.on_default();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

fn list<'v>(answer: &'v Value, key: &str) -> &'v [Value] {
    answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The full names of what changed.
pub fn names(answer: &Value) -> Vec<String> {
    list(answer, "changes").iter().map(|change| word(change, "resource").to_owned()).collect()
}

/// Whether something changed, or would.
pub fn changes(answer: &Value) -> bool {
    !list(answer, "changes").is_empty()
}

/// Whether something stands in the way.
pub fn blocked(answer: &Value) -> bool {
    list(answer, "findings").iter().any(blocks)
}

fn blocks(finding: &Value) -> bool {
    finding.get("blocking") == Some(&Value::Bool(true))
}

/// The changes and the findings of an answer.
pub fn describe(answer: &Value, paint: Paint) -> String {
    let mut text = String::new();
    for change in list(answer, "changes") {
        describe_change(&mut text, change, paint);
    }
    for (heading, blocking) in [("\nIn the way of it:\n", true), ("\nWhat that means:\n", false)] {
        let findings: Vec<&Value> =
            list(answer, "findings").iter().filter(|finding| blocks(finding) == blocking).collect();
        if !findings.is_empty() {
            text.push_str(heading);
        }
        for finding in findings {
            text.push_str(&describe_finding(finding, paint));
        }
    }
    text
}

fn describe_change(text: &mut String, change: &Value, paint: Paint) {
    use anstyle::AnsiColor::{Green, Red, Yellow};
    let (sign, color) = match word(change, "kind") {
        "KIND_CREATE" => ("+", Green),
        "KIND_DELETE" => ("-", Red),
        _ => ("~", Yellow),
    };
    let resource = word(change, "resource");
    let fields = list(change, "fieldChanges");
    let mask = word(change, "fields");
    let mask =
        if fields.is_empty() && !mask.is_empty() { format!(": {}", mask.replace(',', ", ")) } else { String::new() };
    // Writing to a text does not fail.
    _ = writeln!(text, "{}{mask}", paint.with(color, &format!("{sign} {resource}")));
    let secret = match word(change, "kind") {
        "KIND_CREATE" => "set",
        "KIND_DELETE" => "gone",
        _ => "set anew or gone",
    };
    for field in fields {
        let path = word(field, "path");
        let said = if field.get("sensitive") == Some(&Value::Bool(true)) {
            format!("{secret} (a secret is not shown)")
        } else {
            match (field.get("before"), field.get("after")) {
                (None, Some(after)) => after.to_string(),
                (Some(before), None) => format!("{before} -> nothing"),
                (before, after) => {
                    let said = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
                    format!("{} -> {}", said(before), said(after))
                }
            }
        };
        _ = writeln!(text, "    {path}: {said}");
    }
}

fn describe_finding(finding: &Value, paint: Paint) -> String {
    let place: Vec<&str> =
        ["resource", "field"].iter().map(|key| word(finding, key)).filter(|part| !part.is_empty()).collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(" ")) };
    let color = if blocks(finding) { anstyle::AnsiColor::Red } else { anstyle::AnsiColor::Yellow };
    format!("  {}{} [{}]\n", paint.with(color, &place), word(finding, "message"), word(finding, "code"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "changes": [
                {"resource": "providers/a", "kind": "KIND_CREATE"},
                {"resource": "providers/b", "kind": "KIND_UPDATE", "fields": "baseUrl,headers", "fieldChanges": [
                    {"path": "base_url", "before": "http://x", "after": "http://y"},
                    {"path": "models", "after": ["m"]},
                    {"path": "priority", "before": 1},
                    {"path": "headers.x", "sensitive": true},
                ]},
                {"resource": "redirects/c", "kind": "KIND_DELETE"},
                {"resource": "providers/e/credentials/main", "kind": "KIND_DELETE", "fieldChanges": [
                    {"path": "secret", "sensitive": true},
                ]},
                {"resource": "settings", "kind": "KIND_UPDATE", "fields": "cors,basePath"},
            ],
            "findings": [
                {"resource": "clientKeys/ci", "code": "MODEL_LOST", "message": "loses gpt-4o"},
                {"resource": "redirects/d", "field": "targets[0].provider", "code": "DANGLING_REFERENCE", "message": "is not there", "blocking": true},
            ],
        })
    }

    #[test]
    fn changes_are_said_field_by_field_and_findings_after_them() {
        let text = describe(&answer(), Paint(false));
        assert_eq!(
            text,
            "+ providers/a\n\
             ~ providers/b\n    base_url: \"http://x\" -> \"http://y\"\n    models: [\"m\"]\n    priority: 1 -> nothing\n    headers.x: set anew or gone (a secret is not shown)\n\
             - redirects/c\n\
             - providers/e/credentials/main\n    secret: gone (a secret is not shown)\n\
             ~ settings: cors, basePath\n\
             \nIn the way of it:\n  redirects/d targets[0].provider: is not there [DANGLING_REFERENCE]\n\
             \nWhat that means:\n  clientKeys/ci: loses gpt-4o [MODEL_LOST]\n"
        );
        assert!(blocked(&answer()) && changes(&answer()));
        assert_eq!(
            names(&answer()),
            ["providers/a", "providers/b", "redirects/c", "providers/e/credentials/main", "settings"]
        );
    }

    #[test]
    fn colours_are_for_terminals_only() {
        assert!(describe(&answer(), Paint(true)).contains("\u{1b}["));
        assert!(!describe(&answer(), Paint(false)).contains('\u{1b}'));
        assert_eq!(describe(&json!({}), Paint(true)), "");
    }
}
