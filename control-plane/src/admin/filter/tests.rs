//! What a filter lets through, and what is said of one that cannot be read.

use signalbox_proto::{DESCRIPTORS, admin::v1 as admin, config::v1 as config, sync::v1 as sync};

use super::*;

fn descriptor(name: &str) -> MessageDescriptor {
    DESCRIPTORS.get_message_by_name(&format!("signalbox.admin.v1.{name}")).unwrap()
}

fn matches(name: &str, message: &impl prost::Message, filter: &str) -> bool {
    let descriptor = descriptor(name);
    let mut dynamic = DynamicMessage::new(descriptor.clone());
    dynamic.transcode_from(message).unwrap();
    Filter::parse(filter, &descriptor).unwrap_or_else(|fault| panic!("{filter}: {fault}")).matches(&dynamic)
}

fn key() -> admin::ClientKey {
    let labels = [("team", "platform"), ("a.b/c", "x y"), ("empty", "")];
    admin::ClientKey {
        name: "clientKeys/ci".to_owned(),
        display_name: "Build server \"one\"".to_owned(),
        allowed_models: vec!["gpt-4o".to_owned(), "claude-*".to_owned()],
        limits: Some(config::Limits { requests_per_minute: Some(60), ..config::Limits::default() }),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        create_time: Some("2026-01-31T12:00:00Z".parse().unwrap()),
        revision: 41,
        ..admin::ClientKey::default()
    }
}

#[test]
fn a_key_is_found_by_what_it_is() {
    for filter in [
        "",
        "   ",
        "name = clientKeys/ci",
        "name=\"clientKeys/ci\"",
        "disabled = false",
        "disabled != true",
        "display_name:server AND revision = 41",
        "displayName:'\"one\"'",
        r#"display_name = "Build server \"one\"""#,
        "labels.team = platform",
        "labels.team:plat",
        "labels.team != other",
        "labels.none != other",
        "labels.empty:*",
        "labels:team",
        "labels:*",
        "labels.\"a.b/c\" = 'x y'",
        "allowed_models:gpt-4o",
        "allowed_models:*",
        "limits.requests_per_minute >= 60",
        "limits:*",
        "revision > 40 AND revision <= 41 AND revision:41",
        "create_time < 2026-02-01T00:00:00Z",
        "create_time >= \"2026-01-31T13:00:00+01:00\"",
        "name > clientKeys/a  AND  name < clientKeys/d",
    ] {
        assert!(matches("ClientKey", &key(), filter), "{filter}");
    }
}

#[test]
fn a_key_is_not_found_by_what_it_is_not() {
    for filter in [
        "name = clientKeys/c",
        "disabled = true",
        "display_name:Server",
        "display_name != 'Build server \"one\"'",
        "labels.team = plat",
        "labels.none:*",
        "labels.none = \"\"",
        "labels:none",
        "allowed_models:gpt",
        "limits.requests_per_minute < 60",
        "limits.tokens_per_minute < 60",
        "expire_time:*",
        "expire_time < 2100-01-01T00:00:00Z",
        "create_time > 2026-01-31T12:00:00Z",
        "disabled = false AND revision = 42",
    ] {
        assert!(!matches("ClientKey", &key(), filter), "{filter}");
    }
}

#[test]
fn enums_go_by_name_and_lists_of_messages_by_any_of_them() {
    let rejection = |reason: &str| sync::Rejection { reason: reason.to_owned(), ..sync::Rejection::default() };
    let replica = admin::Replica {
        state: admin::replica::State::Partial.into(),
        rejections: vec![rejection("UNKNOWN_FEATURE"), rejection("DANGLING_REFERENCE")],
        clock_skew: Some(prost_types::Duration { seconds: -2, nanos: 0 }),
        ..admin::Replica::default()
    };
    for filter in [
        "state = STATE_PARTIAL",
        "state != STATE_SYNCED",
        "rejections.reason:DANGLING",
        "rejections:*",
        "clock_skew < -1.5s",
    ] {
        assert!(matches("Replica", &replica, filter), "{filter}");
    }
    for filter in ["state = STATE_SYNCED", "rejections.reason:NONE", "clock_skew > 0s", "rejections.kind:provider"] {
        assert!(!matches("Replica", &replica, filter), "{filter}");
    }
}

#[test]
fn a_bad_filter_says_what_is_wrong_and_where() {
    for (filter, at, words) in [
        ("colour = red", 1, "`colour` is not in ClientKey"),
        ("displayname = x", 1, "did you mean `display_name`?"),
        ("disabled", 9, "one of = != < <= > >= : is expected"),
        ("disabled ~ true", 10, "is expected after a field"),
        ("disabled = ", 11, "a value is expected"),
        ("disabled = yes", 12, "`yes` is not `true` or `false`"),
        ("disabled > false", 10, "without an order"),
        ("revision = 1.5", 12, "is not a whole number"),
        ("create_time > yesterday", 15, "is not a time such as"),
        ("name = a OR name = b", 10, "`OR` cannot be used"),
        ("name = a name = b", 10, "AND is expected between two conditions"),
        ("name = a and name = b", 10, "AND is expected"),
        ("name = a AND", 13, "the name of a field is expected"),
        ("NOT disabled = true", 1, "`NOT` cannot be used"),
        ("(name = a)", 1, "`(` cannot be used"),
        ("name = 'a", 8, "never closed"),
        ("= a", 1, "the name of a field is expected"),
        ("name. = a", 6, "the name of a field is expected"),
        ("name.first = a", 6, "`name` has no fields"),
        ("limits = 5", 8, "takes `:*` only"),
        ("labels = x", 8, "takes `:` and the name of an entry only"),
        ("allowed_models = x", 16, "takes `:` only"),
        ("import_sha256 = x", 15, "takes `:*` only"),
        ("secret = x", 1, "`secret` is a secret"),
        ("import_secret:*", 1, "is a secret"),
        ("ключ = x", 1, "`ключ` is not in ClientKey"),
    ] {
        let fault = Filter::parse(filter, &descriptor("ClientKey")).expect_err(filter);
        assert_eq!(fault.at, at, "{filter}: {fault}");
        assert!(fault.to_string().contains(words), "{filter}: {fault}");
    }
    let fault = Filter::parse("dialect = OPENAI", &descriptor("Provider")).unwrap_err();
    assert!(fault.to_string().contains("`DIALECT_OPENAI`"), "{fault}");
    let long = format!("name = {}", "x".repeat(MAX_CHARS));
    assert_eq!(Filter::parse(&long, &descriptor("ClientKey")).unwrap_err().at, MAX_CHARS + 1);
}

#[test]
fn no_secret_of_any_resource_can_be_asked_for() {
    for (message, path) in [
        ("Credential", "secret"),
        ("Provider", "headers.authorization.secret"),
        ("Provider", "forward_proxy.password"),
        ("Settings", "forward_proxy.password"),
    ] {
        for filter in [format!("{path} = x"), format!("{path}:x"), format!("{path}:*")] {
            let fault = Filter::parse(&filter, &descriptor(message)).expect_err(&filter);
            assert!(fault.to_string().contains("is a secret"), "{filter}: {fault}");
        }
    }
}
