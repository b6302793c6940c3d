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
    let create = match url {
        Some(url) => Some(Create { url: url?, body: body?, id }),
        None => None,
    };
    Some(Conversation {
        create,
        headers,
        chat_body: chat_body?,
        text: pointers("text_pointers", &text_pointers, TEXT, faults),
        delta: pointers("delta_pointers", &delta_pointers, DELTA, faults),
        end: pointers("end_pointers", &end_pointers, END, faults),
        error: pointers("error_pointers", &error_pointers, ERROR, faults),
    })
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
