//! Rewrites a JSON answer while it goes by, however it is cut, and keeps what it says about its usage. It reads just enough to know
//! which values belong to the object itself, and leaves what is no JSON object alone.

use bytes::{Buf as _, Bytes};
use memchr::memchr3;

use crate::{json, usage::Usage};

/// Longest name of a member that matters: `previous_response_id`.
const MAX_NAME_BYTES: usize = 20;
/// Longest usage that is kept, in bytes. Those of any API are a tenth of it.
const MAX_USAGE_BYTES: usize = 8 * 1024;
/// As much as most usages take.
const USUAL_USAGE_BYTES: usize = 256;

/// How many bytes are looked at one by one before many are together: in most objects the next string is not far.
const NEAR: usize = 8;

/// What is said otherwise than the upstream says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The model's name in JSON, quotes included; `None` = as the upstream does.
    pub(crate) model: Option<Bytes>,
    /// What is added to the ids of the answer and of the one before it, as it is written in JSON.
    pub(crate) id_suffix: Option<Bytes>,
}

/// Makes the changes to the strings at the top level of an object. Nothing else changes, and nothing but the usage is held or copied.
#[derive(Debug)]
pub(crate) struct Rewriter {
    changes: Changes,
    place: Place,
    role: Role,
    /// How many objects and arrays are open; within a member's value, only those of the value's own kind are counted.
    depth: usize,
    /// What that value opened with. The brackets of the other kind are balanced within it and say nothing of where it ends.
    opening: u8,
    /// The member's name as far as it is read, where it does not come in one piece; its beginning where it is too long to matter.
    name: Vec<u8>,
    /// The member `usage` from its colon on, as far as it is read.
    kept: Vec<u8>,
    usage: Option<Usage>,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No string, or none yet.
    Between,
    /// A string.
    Within { escaped: bool },
    /// What no longer matters: the object is over, or there is none.
    Past,
}

/// What is read of the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A member's name.
    Name,
    /// The value of `model`.
    Model,
    /// The value of `id` or `previous_response_id`.
    Id,
    /// The value of `usage`.
    Usage,
    /// Another value.
    Other,
}

impl Role {
    /// What the member is that is called so. A name that is written with escapes is another one.
    fn of(name: &[u8]) -> Self {
        match name {
            b"model" => Self::Model,
            b"id" | b"previous_response_id" => Self::Id,
            b"usage" => Self::Usage,
            _ => Self::Other,
        }
    }
}

impl Changes {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.model.is_none() && self.id_suffix.is_none()
    }
}

impl Rewriter {
    pub(crate) fn new(changes: Changes) -> Self {
        Self {
            changes,
            place: Place::Between,
            role: Role::Other,
            depth: 0,
            opening: b'{',
            name: Vec::new(),
            kept: Vec::with_capacity(USUAL_USAGE_BYTES),
            usage: None,
        }
    }

    /// Whether the answer is as long as it was.
    pub(crate) fn keeps_length(&self) -> bool {
        self.changes.is_empty()
    }

    /// What the answer took, once it has said so.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes the next piece, and gives it as it is to go on.
    pub(crate) fn push(&mut self, mut text: Bytes, mut give: impl FnMut(Bytes)) {
        let mut at = 0;
        while self.place != Place::Past {
            let rest = text.get(at..).unwrap_or_default();
            let is_usage = self.role == Role::Usage;
            let passed = self.pass(rest);
            if is_usage {
                self.keep(rest.get(..passed).unwrap_or_default());
            }
            at += passed;
            let Some(byte) = text.get(at).copied() else { break };
            let replaced = self.replaces();
            let new = match self.place {
                Place::Within { escaped } => self.within(escaped, byte),
                Place::Between | Place::Past => self.between(byte),
            };
            if replaced && !self.replaces() {
                text.advance(at + 1);
                at = 0;
                continue;
            }
            if let Some(new) = new {
                let before = Some(text.split_to(at)).filter(|before| !before.is_empty());
                before.into_iter().chain([new]).for_each(&mut give);
                at = 0;
            }
            at += 1;
        }
        if !self.replaces() && !text.is_empty() {
            give(text);
        }
    }

    /// Whether what is read is a name that goes.
    fn replaces(&self) -> bool {
        self.changes.model.is_some()
            && matches!(self.place, Place::Within { .. })
            && self.is_top()
            && self.role == Role::Model
    }

    fn is_top(&self) -> bool {
        self.depth == 1
    }

    /// Reads a byte outside of strings. Returns what stands in place of the string that it opens.
    fn between(&mut self, byte: u8) -> Option<Bytes> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => {}
            b'{' if self.depth == 0 => (self.depth, self.role) = (1, Role::Name),
            _ if self.depth == 0 => self.place = Place::Past,
            b'"' => {
                self.place = Place::Within { escaped: false };
                self.keep(b"\"");
                return if self.replaces() { self.changes.model.clone() } else { None };
            }
            b',' if self.is_top() => {
                self.close_member();
                self.role = Role::Name;
            }
            b'}' | b']' if self.is_top() => {
                self.close_member();
                self.place = Place::Past;
            }
            b'{' | b'[' => {
                (self.depth, self.opening) = (self.depth + 1, byte);
                self.keep(&[byte]);
            }
            _ => self.keep(&[byte]),
        }
        None
    }

    /// How many of the next bytes are passed over together, since nothing changes there: whole strings and what is between them, what is
    /// within a value, and what is in a string before it ends.
    fn pass(&mut self, rest: &[u8]) -> usize {
        match self.place {
            _ if self.depth > 1 => self.pass_nested(rest),
            Place::Between if self.is_top() => self.pass_strings(rest),
            Place::Within { escaped: false } => {
                let length = json::plain(rest);
                if self.is_in_name() {
                    let room = (MAX_NAME_BYTES + 1).saturating_sub(self.name.len());
                    self.name.extend_from_slice(rest.get(..length.min(room)).unwrap_or_default());
                }
                length
            }
            Place::Between | Place::Within { escaped: true } | Place::Past => 0,
        }
    }

    /// How many of the next bytes of the object itself are passed over, up to a member that matters, a comma or a bracket.
    fn pass_strings(&mut self, rest: &[u8]) -> usize {
        let mut passed = 0;
        while matches!(self.role, Role::Name | Role::Usage | Role::Other) {
            let ahead = rest.get(passed..).unwrap_or_default();
            let next = ahead.iter().position(|byte| *byte == b',' || is_mark(*byte));
            let Some((before, [b'"', inner @ ..])) = next.and_then(|next| ahead.split_at_checked(next)) else {
                return next.map_or(rest.len(), |next| passed + next);
            };
            let length = json::plain(inner);
            if inner.get(length) != Some(&b'"') {
                return passed + before.len();
            }
            passed += before.len() + 1 + length + 1;
            if self.role == Role::Name {
                self.role = Role::of(inner.get(..length).unwrap_or_default());
                if self.role != Role::Other {
                    break;
                }
            }
        }
        passed
    }

    /// How many of the next bytes are within an object or array that is a value, or an element of one.
    fn pass_nested(&mut self, rest: &[u8]) -> usize {
        let mut passed = 0;
        while self.depth > 1 {
            let ahead = rest.get(passed..).unwrap_or_default();
            let next = match self.place {
                Place::Within { escaped: true } => Some(0),
                Place::Within { escaped: false } => Some(json::plain(ahead)),
                Place::Between | Place::Past => next_mark(ahead, self.opening),
            };
            let Some((next, byte)) = next.and_then(|next| Some((next, *ahead.get(next)?))) else { return rest.len() };
            passed += next + 1;
            match (self.place, byte) {
                (Place::Within { escaped: false }, b'"') => self.place = Place::Between,
                (Place::Within { escaped }, byte) => {
                    self.place = Place::Within { escaped: byte == b'\\' && !escaped };
                }
                (Place::Between | Place::Past, b'"') => self.place = Place::Within { escaped: false },
                (Place::Between | Place::Past, byte) if byte == self.opening => self.depth += 1,
                (Place::Between | Place::Past, _) => self.depth -= 1,
            }
        }
        passed
    }

    fn is_in_name(&self) -> bool {
        self.is_top() && self.role == Role::Name
    }

    /// Reads a byte of a string. Returns what is said before the quote that closes it.
    fn within(&mut self, escaped: bool, byte: u8) -> Option<Bytes> {
        let closes = byte == b'"' && !escaped;
        self.place = if closes { Place::Between } else { Place::Within { escaped: byte == b'\\' && !escaped } };
        self.keep(&[byte]);
        match self.role {
            Role::Name if closes => {
                self.role = Role::of(&self.name);
                self.name.clear();
            }
            Role::Name if self.name.len() <= MAX_NAME_BYTES => self.name.push(byte),
            Role::Id if closes => return self.changes.id_suffix.clone(),
            Role::Name | Role::Model | Role::Id | Role::Usage | Role::Other => {}
        }
        None
    }

    fn keep(&mut self, part: &[u8]) {
        if self.role != Role::Usage {
            return;
        }
        if self.kept.len() + part.len() > MAX_USAGE_BYTES {
            (self.role, self.kept) = (Role::Other, Vec::new());
            return;
        }
        self.kept.extend_from_slice(part);
    }

    fn close_member(&mut self) {
        if self.role == Role::Usage {
            let kept = std::mem::take(&mut self.kept);
            self.usage = kept.trim_ascii_start().strip_prefix(b":").and_then(Usage::read);
        }
    }
}

/// Whether a string, an object or an array begins or ends here.
fn is_mark(byte: u8) -> bool {
    // With this bit set, a bracket is a brace.
    matches!(byte | 0x20, b'{' | b'}') | (byte == b'"')
}

/// Where the next string begins, or an object or array that opens like this one, or one of these ends.
fn next_mark(text: &[u8], opening: u8) -> Option<usize> {
    // Two further on in ASCII, both for braces and for brackets.
    let closing = opening + 2;
    let near = text.get(..NEAR).unwrap_or(text);
    let at = near.iter().position(|byte| [b'"', opening, closing].contains(byte));
    at.or_else(|| Some(near.len() + memchr3(b'"', opening, closing, text.get(near.len()..)?)?))
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::{hash_map, vec},
        prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
        sample::Index,
    };
    use serde_json::{Map, Value};

    use super::{super::json_string, *};

    fn renamed(pieces: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
        rewritten(Changes { model: Some(Bytes::from_static(b"\"new\"")), id_suffix: None }, pieces).0
    }

    fn rewritten(changes: Changes, pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Bytes>, Option<Usage>) {
        let (mut rewriter, mut out) = (Rewriter::new(changes), Vec::new());
        for piece in pieces {
            rewriter.push(piece, |piece| out.push(piece));
        }
        (out, rewriter.usage())
    }

    fn bytewise(text: &str) -> impl Iterator<Item = Bytes> {
        text.bytes().map(|byte| Bytes::copy_from_slice(&[byte]))
    }

    fn cut(text: &Bytes, cuts: &[Index]) -> Vec<Bytes> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|cut| text.slice(cut[0]..cut[1])).collect()
    }

    #[test]
    fn only_the_top_level_string_is_renamed() {
        for (said, told) in [
            (r#"{"model":"old"}"#, r#"{"model":"new"}"#),
            (" {\n\"a\" : 1 , \"model\" :\t\"o\\\"l\\\\\" }\n", " {\n\"a\" : 1 , \"model\" :\t\"new\" }\n"),
            (r#"{"model":""}"#, r#"{"model":"new"}"#),
            (r#"{"x":{"model":"old"},"model":"old"}"#, r#"{"x":{"model":"old"},"model":"new"}"#),
            (r#"{"x":[{"model":"old"},"model"],"y":"model"}"#, r#"{"x":[{"model":"old"},"model"],"y":"model"}"#),
            (
                r#"{"x":[{"]":[1,{"z":"}]\\\"["}]}],"y":{"[":[{"}":{}}],"a":"]"},"model":"old"}"#,
                r#"{"x":[{"]":[1,{"z":"}]\\\"["}]}],"y":{"[":[{"}":{}}],"a":"]"},"model":"new"}"#,
            ),
            (r#"{"x":"model","model":"old"}"#, r#"{"x":"model","model":"new"}"#),
            (r#"{"models":"a","mode":"b","a model":"c"}"#, r#"{"models":"a","mode":"b","a model":"c"}"#),
            (r#"{"\"model":"a","\\":"model","model":"b"}"#, r#"{"\"model":"a","\\":"model","model":"new"}"#),
            (r#"{"model":["old"],"x":"y"}"#, r#"{"model":["old"],"x":"y"}"#),
            (r#"{"model":null,"x":"y"}"#, r#"{"model":null,"x":"y"}"#),
            (r#"{} {"model":"old"}"#, r#"{} {"model":"old"}"#),
            (r#"["model","old"]"#, r#"["model","old"]"#),
            (r#""model""#, r#""model""#),
            ("sorry, \"model\": {\"model\":\"old\"}", "sorry, \"model\": {\"model\":\"old\"}"),
            ("}]", "}]"),
            ("", ""),
        ] {
            assert_eq!(renamed([Bytes::from(said)]).concat(), told.as_bytes(), "{said}");
            assert_eq!(renamed(bytewise(said)).concat(), told.as_bytes(), "{said}, byte by byte");
        }
    }

    #[test]
    fn only_the_ids_of_the_answer_itself_are_added_to() {
        let changes = Changes { model: None, id_suffix: Some(Bytes::from_static(b"~a")) };
        for (said, told) in [
            (r#"{"id":"r","x":{"id":"y"}}"#, r#"{"id":"r~a","x":{"id":"y"}}"#),
            (r#"{"previous_response_id" : "p\"q" , "id":"r"}"#, r#"{"previous_response_id" : "p\"q~a" , "id":"r~a"}"#),
            (r#"{"previous_response_id":null,"idx":"r"}"#, r#"{"previous_response_id":null,"idx":"r"}"#),
            (r#"{"id":["r"],"output":[{"id":"m"}]}"#, r#"{"id":["r"],"output":[{"id":"m"}]}"#),
            (
                r#"{"a_previous_response_id":"p","previous_response_idx":"p"}"#,
                r#"{"a_previous_response_id":"p","previous_response_idx":"p"}"#,
            ),
        ] {
            assert_eq!(rewritten(changes.clone(), [Bytes::from(said)]).0.concat(), told.as_bytes(), "{said}");
            assert_eq!(rewritten(changes.clone(), bytewise(said)).0.concat(), told.as_bytes(), "{said}, byte by byte");
        }
    }

    #[test]
    fn the_usage_of_the_answer_itself_is_kept() {
        let long = format!(r#"{{"usage":{{"x":"{}","prompt_tokens":1}}}}"#, "a".repeat(MAX_USAGE_BYTES));
        for (said, usage) in [
            (r#"{"usage":{"prompt_tokens":1,"completion_tokens":2}}"#, Some((1, 2))),
            (
                r#"{"x":[{"usage":{"prompt_tokens":9}}], "usage" : { "input_tokens" : 1, "d":{"a":["b"]} } , "y":1}"#,
                Some((1, 0)),
            ),
            (r#"{"usage":null,"x":{"usage":{"prompt_tokens":9}}}"#, None),
            (r#"{"usage":"prompt_tokens"}"#, None),
            (r#"{"usage":{"prompt_tokens":1"#, None),
            (long.as_str(), None),
        ] {
            let usage = usage.map(|(prompt, completion)| Usage { prompt, completion });
            let whole = Bytes::from(said.to_owned());
            assert_eq!(rewritten(Changes::default(), [whole.clone()]), (vec![whole], usage), "{said}");
            let (told, kept) = rewritten(Changes::default(), bytewise(said));
            assert_eq!((told.concat(), kept), (said.as_bytes().to_vec(), usage), "{said}, byte by byte");
        }
    }

    #[test]
    fn what_is_not_the_model_is_not_copied() {
        let said = Bytes::from(r#"{"model":"old","x":[1.5,"a"]}"#);
        let out = renamed([said.clone()]);
        assert_eq!(out, [&br#"{"model":"#[..], br#""new""#, br#","x":[1.5,"a"]}"#]);
        assert_eq!((out[0].as_ptr(), out[2].as_ptr()), (said.as_ptr(), said[14..].as_ptr()));
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just("model".to_owned()), "[a\"\\\\{}\\[\\],:\u{e9}\n]{0,6}", any::<String>()]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text().prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner).prop_map(Value::from)]
        })
    }

    fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        hash_map(text(), values, 0..5).prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        #[test]
        fn the_answer_reads_as_before_but_for_the_model(
            mut answer in object(value()),
            pretty in any::<bool>(),
            cuts in vec(any::<Index>(), 0..12),
        ) {
            let write = |answer: &Map<String, Value>| {
                if pretty { serde_json::to_vec_pretty(answer) } else { serde_json::to_vec(answer) }.unwrap()
            };
            let said = Bytes::from(write(&answer));
            let told = renamed(cut(&said, &cuts)).concat();
            if let Some(Value::String(model)) = answer.get_mut("model") {
                "new".clone_into(model);
            }
            prop_assert_eq!(String::from_utf8(told), String::from_utf8(write(&answer)));
        }

        #[test]
        fn any_other_text_passes(said in "[^{]{0,3}[ a{}\\[\\]\",:\\\\]{0,40}", cuts in vec(any::<Index>(), 0..12)) {
            let said = Bytes::from(said);
            prop_assert_eq!(renamed(cut(&said, &cuts)).concat(), said);
        }

        #[test]
        fn any_name_is_written_as_json(name in any::<String>()) {
            let mut out = Vec::new();
            let mut rewriter = Rewriter::new(Changes { model: Some(json_string(&name)), id_suffix: None });
            rewriter.push(Bytes::from_static(br#"{"model":"old"}"#), |piece| out.push(piece));
            let answer: Value = serde_json::from_slice(&out.concat()).unwrap();
            prop_assert_eq!(&answer["model"], &name);
        }
    }
}
