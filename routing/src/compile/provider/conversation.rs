//! How an upstream holds a conversation, from the wire. Templates are read as JSON, not filled in.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderName;
use serde_json::value::RawValue;
use signalbox_proto::config::v1 as config;

use super::super::{
    address,
    faults::Faults,
    header,
    value::{refused, shown},
};
use crate::{
    finding::Fault,
    runtime::{Conversation, Create, Dialect},
};

/// Longest template in bytes: 64 KiB.
const MAX_TEMPLATE_BYTES: usize = 64 * 1024;

/// Most pointers of a kind, and most header templates.
const MAX_POINTERS: usize = 32;
const MAX_HEADERS: usize = 32;

const CREATE_BODY: &str = "{}";
const CHAT_BODY: &str =
    r#"{"message": "{message}", "model": "{model}", "conversation_id": "{conversation_id}", "stream": "{stream}"}"#;
const ID: &[&str] = &["/id", "/conversationId", "/conversation_id"];
const TEXT: &[&str] = &[
    "/choices/0/message/content",
    "/message/content",
    "/message",
    "/content",
    "/text",
    "/answer",
    "/response",
    "/output",
];
const DELTA: &[&str] =
    &["/choices/0/delta/content", "/delta/content", "/delta/text", "/delta", "/content", "/text", "/message"];
const END: &[&str] = &["/choices/0/finish_reason", "/done", "/finish_reason", "/is_end"];
const ERROR: &[&str] = &["/error/message", "/error"];

pub(super) fn compile(
    dialect: Option<Dialect>,
    wire: Option<config::Conversation>,
    faults: &mut Faults,
) -> Option<Arc<Conversation>> {
    match (dialect?, wire) {
        (Dialect::Conversation, wire) => conversation(wire.unwrap_or_default(), faults).map(Arc::new),
        (_, None) => None,
        (_, Some(_)) => {
            faults.add("conversation", Fault::Meaningless("the dialect is not DIALECT_CONVERSATION"));
            None
        }
    }
}

fn conversation(wire: config::Conversation, faults: &mut Faults) -> Option<Conversation> {
    let config::Conversation {
        create_url,
        create_body,
        id_pointers,
        headers,
        chat_body,
        text_pointers,
        delta_pointers,
        end_pointers,
        error_pointers,
    } = wire;
    let body = faults.take("conversation.create_body", template(&create_body, CREATE_BODY));
    let id = pointers("id_pointers", &id_pointers, ID, faults);
    let url = (!create_url.is_empty()).then(|| faults.take("conversation.create_url", address::whole(&create_url)));
    let headers = self::headers(&headers, faults);
    let chat_body = faults.take("conversation.chat_body", template(&chat_body, CHAT_BODY));
    let text = pointers("text_pointers", &text_pointers, TEXT, faults);
    let delta = pointers("delta_pointers", &delta_pointers, DELTA, faults);
    let end = pointers("end_pointers", &end_pointers, END, faults);
    let error = pointers("error_pointers", &error_pointers, ERROR, faults);
    let create = match url {
        Some(url) => Some(Create { url: url?, body: body?, id }),
        None => None,
    };
    Some(Conversation { create, headers, chat_body: chat_body?, text, delta, end, error })
}

fn template(text: &str, default: &str) -> Result<Arc<str>, Fault> {
    if text.is_empty() {
        return Ok(default.into());
    }
    if text.len() > MAX_TEMPLATE_BYTES {
        return Err(Fault::OutOfRange("at most 64 KiB"));
    }
    // What the parser says is where it stumbled, and never repeats what may be secret.
    serde_json::from_str::<&RawValue>(text).map_err(|error| Fault::Json(error.to_string()))?;
    Ok(text.into())
}

fn pointers(field: &str, wire: &[String], default: &[&str], faults: &mut Faults) -> Vec<Arc<str>> {
    if wire.is_empty() {
        return default.iter().map(|pointer| Arc::from(*pointer)).collect();
    }
    if wire.len() > MAX_POINTERS {
        faults.add(format_args!("conversation.{field}"), Fault::OutOfRange("at most 32 pointers"));
    }
    let written = wire.iter().enumerate();
    written.filter_map(|(at, text)| faults.take(format_args!("conversation.{field}[{at}]"), pointer(text))).collect()
}

/// A JSON pointer (RFC 6901): empty, or a slash before each step, in which `~` stands only in `~0` and `~1`.
fn pointer(text: &str) -> Result<Arc<str>, Fault> {
    let whole = text.is_empty() || text.starts_with('/');
    let escaped = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if whole && escaped && text.len() <= 256 {
        Ok(text.into())
    } else {
        Err(refused(text, "must be a JSON pointer of at most 256 bytes, such as /choices/0/message/content"))
    }
}

fn headers(wire: &BTreeMap<String, String>, faults: &mut Faults) -> Vec<(HeaderName, Arc<str>)> {
    if wire.len() > MAX_HEADERS {
        faults.add("conversation.headers", Fault::OutOfRange("at most 32 headers"));
    }
    let mut headers: Vec<(HeaderName, Arc<str>)> = Vec::new();
    for (written, template) in wire {
        let field = format!("conversation.headers[{:?}]", shown(written));
        let name = faults.take(&field, header::settable(written));
        let value = faults.take(&field, header::value(template));
        let (Some(name), Some(_)) = (name, value) else { continue };
        if headers.iter().any(|(known, _)| *known == name) {
            faults.add(&field, Fault::Header("it is there in another spelling too"));
        }
        headers.push((name, template.as_str().into()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{faults, provider, runtime},
        resource::Change,
    };

    fn talking(wire: Option<config::Conversation>) -> Change {
        provider("p", |p| {
            p.dialect = config::Dialect::Conversation.into();
            p.base_url.clear();
            p.chat_url = "https://up.example/chat".into();
            p.conversation = wire;
        })
    }

    fn compiled(wire: Option<config::Conversation>) -> Arc<Conversation> {
        let runtime = runtime(&[talking(wire)]);
        Arc::clone(runtime.providers().next().unwrap().conversation.as_ref().unwrap())
    }

    fn list(pointers: &[&str]) -> Vec<Arc<str>> {
        pointers.iter().map(|pointer| Arc::from(*pointer)).collect()
    }

    #[test]
    fn a_conversation_that_says_nothing_has_the_stated_defaults() {
        let expected = Conversation {
            create: None,
            headers: Vec::new(),
            chat_body: CHAT_BODY.into(),
            text: list(TEXT),
            delta: list(DELTA),
            end: list(END),
            error: list(ERROR),
        };
        assert_eq!(*compiled(None), expected);
        let create_url = "https://up.example/new?a=b".to_owned();
        let made = compiled(Some(config::Conversation { create_url, ..config::Conversation::default() }));
        let create = Create { url: "https://up.example/new?a=b".parse().unwrap(), body: "{}".into(), id: list(ID) };
        assert_eq!(*made, Conversation { create: Some(create), ..expected });
    }

    #[test]
    fn a_conversation_is_taken_over_field_by_field() {
        let headers = [("Referer".to_owned(), "https://up.example/c/{conversation_id}".to_owned())];
        let found = compiled(Some(config::Conversation {
            create_url: "https://up.example/new".into(),
            create_body: r#"{"title": "{unix_time_ms}"}"#.into(),
            id_pointers: vec!["/a".into()],
            headers: headers.into(),
            chat_body: r#"["{message}"]"#.into(),
            text_pointers: vec![String::new(), "/b/0/c~1d".into()],
            delta_pointers: vec!["/d".into()],
            end_pointers: vec!["/e".into()],
            error_pointers: vec!["/f".into()],
        }));
        let create = Create {
            url: "https://up.example/new".parse().unwrap(),
            body: r#"{"title": "{unix_time_ms}"}"#.into(),
            id: list(&["/a"]),
        };
        let expected = Conversation {
            create: Some(create),
            headers: vec![(http::header::REFERER, "https://up.example/c/{conversation_id}".into())],
            chat_body: r#"["{message}"]"#.into(),
            text: list(&["", "/b/0/c~1d"]),
            delta: list(&["/d"]),
            end: list(&["/e"]),
            error: list(&["/f"]),
        };
        assert_eq!(*found, expected);
    }

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        for good in ["", "/", "/a/0/b", "/~0/~1", "/a b"] {
            assert!(pointer(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["a", "$.a", "/~", "/~2", "/a~", &"/a".repeat(129)] {
            assert!(pointer(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn every_fault_is_found() {
        let headers = [("Host", "a"), ("x-a", "line\nbreak"), ("x-b", "1"), ("X-B", "2")];
        let bad = talking(Some(config::Conversation {
            create_url: "up.example".into(),
            create_body: "{".into(),
            id_pointers: vec!["id".into()],
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            chat_body: format!("\"{}\"", "a".repeat(MAX_TEMPLATE_BYTES)),
            text_pointers: vec!["text".into()],
            delta_pointers: vec!["/ok".into(), "delta".into()],
            end_pointers: vec!["end".into()],
            error_pointers: vec!["/ok".into(); 33],
        }));
        let expected = [
            "conversation.create_body INVALID_JSON",
            "conversation.id_pointers[0] INVALID_TEXT",
            "conversation.create_url INVALID_URL",
            "conversation.headers[\"Host\"] INVALID_HEADER",
            "conversation.headers[\"x-a\"] INVALID_HEADER",
            "conversation.headers[\"x-b\"] INVALID_HEADER",
            "conversation.chat_body OUT_OF_RANGE",
            "conversation.text_pointers[0] INVALID_TEXT",
            "conversation.delta_pointers[1] INVALID_TEXT",
            "conversation.end_pointers[0] INVALID_TEXT",
            "conversation.error_pointers OUT_OF_RANGE",
        ];
        assert_eq!(faults(&[bad]), expected.map(|fault| format!("providers/p {fault}")));
        let elsewhere = provider("p", |p| p.conversation = Some(config::Conversation::default()));
        assert_eq!(faults(&[elsewhere]), ["providers/p conversation MEANINGLESS"]);
    }
}
