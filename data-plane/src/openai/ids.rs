//! Ids that know who keeps what they name: `file-abc~openai` is what the provider `openai` calls `file-abc`. Whoever holds such an id
//! needs nothing else to find it again, and so neither does the gateway.

use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::{memchr, memmem};
use serde_json::value::RawValue;

use crate::splice::{self, Edit};

/// Stands between an id and its provider's.
const MARK: char = '~';
/// The members of a request's body that hold ids.
const MEMBERS: [&str; 4] = ["file_id", "file_ids", "input_file_id", "previous_response_id"];
/// How deep they are looked for; those of a chat's files are in the sixth level.
const MAX_DEPTH: usize = 8;

/// Why it cannot be said who keeps what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// What is named is kept by more than one.
    #[error("the request's ids belong to different providers")]
    Mixed,
    /// No provider that the caller may use is called so.
    #[error("the provider does not exist or may not be used with this key")]
    Unknown,
    /// Nobody is named, and several could be meant.
    #[error("it is not said which provider is meant")]
    Unnamed,
}

/// Who keeps what a request names, by what its ids say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keeper(Option<Box<str>>);

impl Keeper {
    /// The provider's id; `None` = no id said so.
    pub(super) fn id(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The id as its keeper knows it.
    ///
    /// # Errors
    /// Where another id had another keeper.
    pub(super) fn take<'i>(&mut self, id: &'i str) -> Result<&'i str, Error> {
        let Some((id, keeper)) = id.rsplit_once(MARK) else { return Ok(id) };
        match &self.0 {
            Some(known) if **known != *keeper => return Err(Error::Mixed),
            Some(_) => {}
            None => self.0 = Some(keeper.into()),
        }
        Ok(id)
    }

    /// A JSON text with its ids as their keeper knows them.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn take_from(&mut self, text: Bytes) -> Result<Bytes, Error> {
        // Almost no body names anything that is kept, and looking closely costs a parse.
        let may_name = memchr(MARK as u8, &text).is_some()
            && MEMBERS.iter().any(|member| memmem::find(&text, member.as_bytes()).is_some());
        let Some(raw) = may_name.then(|| serde_json::from_slice::<&RawValue>(&text).ok()).flatten() else {
            return Ok(text);
        };
        let mut found = Vec::new();
        find(raw, 0, &mut found);
        let mut edits = Vec::with_capacity(found.len());
        for value in found {
            let span = splice::span(&text, value);
            let id = value.trim_matches('"');
            let kept = self.take(id)?;
            edits.push(Edit { span: span.start + 1 + kept.len()..span.end - 1, value: Bytes::new() });
        }
        Ok(splice::pieces(&text, edits).concat().into())
    }

    /// A query with its cursors as their keeper knows them; every other byte is as it was.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn take_from_query(&mut self, query: &str) -> Result<String, Error> {
        let mut pairs = Vec::new();
        for pair in query.split('&') {
            let is_cursor = pair.starts_with("after=") || pair.starts_with("before=");
            let kept = if is_cursor {
                self.take(&pair.replace("%7E", "~").replace("%7e", "~"))?.to_owned()
            } else {
                pair.to_owned()
            };
            pairs.push(kept);
        }
        Ok(pairs.join("&"))
    }
}

/// What the ids of a provider end in when they are handed out.
pub(crate) fn suffix(provider: &str) -> Bytes {
    format!("{MARK}{provider}").into()
}

/// The strings that are ids, quotes included.
fn find<'t>(raw: &'t RawValue, depth: usize, found: &mut Vec<&'t str>) {
    if depth >= MAX_DEPTH {
        return;
    }
    if let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()) {
        for (name, value) in members {
            if MEMBERS.contains(&name.as_str()) {
                find_ids(value, found);
            } else {
                find(value, depth + 1, found);
            }
        }
    } else if let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        values.into_iter().for_each(|value| find(value, depth + 1, found));
    }
}

fn find_ids<'t>(value: &'t RawValue, found: &mut Vec<&'t str>) {
    let text = value.get();
    if text.starts_with('"') {
        // What is written with escapes is none that was handed out.
        found.extend(Some(text).filter(|text| text.contains(MARK) && !text.contains('\\')));
    } else if let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) {
        values.into_iter().for_each(|value| find_ids(value, found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<(String, Keeper), Error> {
        let mut keeper = Keeper::default();
        let text = keeper.take_from(Bytes::copy_from_slice(text.as_bytes()))?;
        Ok((String::from_utf8(text.to_vec()).unwrap(), keeper))
    }

    #[test]
    fn ids_are_taken_from_where_the_api_has_them_and_nothing_else_changes() {
        for (text, expected, keeper) in [
            (r#"{"input_file_id":"file-1~a", "x" : 1.0}"#, r#"{"input_file_id":"file-1", "x" : 1.0}"#, Some("a")),
            (r#"{"previous_response_id":"resp_1~a-b"}"#, r#"{"previous_response_id":"resp_1"}"#, Some("a-b")),
            (
                r#"{"messages":[{"content":[{"file":{"file_id":"f~a"}},{"file":{"file_id":"g~a"}}]}]}"#,
                r#"{"messages":[{"content":[{"file":{"file_id":"f"}},{"file":{"file_id":"g"}}]}]}"#,
                Some("a"),
            ),
            (
                r#"{"tools":[{"container":{"file_ids":["f~a"]}}]}"#,
                r#"{"tools":[{"container":{"file_ids":["f"]}}]}"#,
                Some("a"),
            ),
            (r#"{"text":"~","file_id":"f"}"#, r#"{"text":"~","file_id":"f"}"#, None),
            (r#"{"content":"file_id: f~a"}"#, r#"{"content":"file_id: f~a"}"#, None),
            (r#"{"file_id":7,"x":"~"}"#, r#"{"file_id":7,"x":"~"}"#, None),
            ("~file_id", "~file_id", None),
        ] {
            let (told, found) = taken(text).unwrap();
            assert_eq!((told.as_str(), found.id()), (expected, keeper), "{text}");
        }
        assert_eq!(taken(r#"{"input":[{"file_id":"f~a"},{"file_id":"f~b"}]}"#), Err(Error::Mixed));
    }

    #[test]
    fn a_cursor_is_taken_from_the_query() {
        let mut keeper = Keeper::default();
        assert_eq!(
            keeper.take_from_query("limit=2&after=file-1%7ea&x=b~c").as_deref(),
            Ok("limit=2&after=file-1&x=b~c")
        );
        assert_eq!(keeper.id(), Some("a"));
        assert_eq!(keeper.take("file-2~b"), Err(Error::Mixed));
    }
}
