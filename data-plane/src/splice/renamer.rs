//! Names the model of a JSON answer otherwise while the answer goes by, however it is cut. It reads just enough to know which string
//! is the value of the top-level `model`, and leaves what is no JSON object alone.

use bytes::{Buf as _, Bytes};
use memchr::memchr2;

const MODEL: &[u8] = b"model";

/// Renames the first top-level `model` that is a string. Nothing else changes, and nothing is held or copied.
#[derive(Debug)]
pub(crate) struct Renamer {
    /// The name in JSON; `None` once it is said.
    wanted: Option<Bytes>,
    place: Place,
    /// What a string is that belongs to the object itself.
    role: Role,
    /// How many objects and arrays are open.
    depth: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No string, or none yet.
    Between,
    /// A string.
    Within { escaped: bool },
    /// What no longer matters: the model is renamed, or the object is over, or there is none.
    Past,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A member's name. So far this much of `model`; `None` = another name, and so is one written with escapes.
    Name(Option<usize>),
    /// The value of `model`.
    Model,
    /// Another value.
    Value,
}

impl Renamer {
    /// `wanted` is the model's name in JSON, quotes included.
    pub(crate) fn new(wanted: Bytes) -> Self {
        Self { wanted: Some(wanted), place: Place::Between, role: Role::Value, depth: 0 }
    }

    /// Takes the next piece, and gives it as it is to go on.
    pub(crate) fn push(&mut self, mut text: Bytes, mut give: impl FnMut(Bytes)) {
        let mut at = 0;
        while self.place != Place::Past {
            at += self.idle(text.get(at..).unwrap_or_default());
            let Some(byte) = text.get(at).copied() else { break };
            if let Place::Within { escaped } = self.place {
                self.within(escaped, byte);
                if self.place == Place::Past {
                    text.advance(at + 1);
                }
            } else {
                self.between(byte);
                if self.replaces() {
                    let before = Some(text.split_to(at)).filter(|before| !before.is_empty());
                    before.into_iter().chain(self.wanted.take()).for_each(&mut give);
                    at = 0;
                }
            }
            at += 1;
        }
        if !self.replaces() && !text.is_empty() {
            give(text);
        }
    }

    /// Whether what is read is the name that goes.
    fn replaces(&self) -> bool {
        matches!(self.place, Place::Within { .. }) && self.is_top() && self.role == Role::Model
    }

    fn is_top(&self) -> bool {
        self.depth == 1
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'{' if self.depth == 0 => (self.depth, self.role) = (1, Role::Name(Some(0))),
            _ if self.depth == 0 => self.place = Place::Past,
            b'"' => self.place = Place::Within { escaped: false },
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.place = Place::Past;
                }
            }
            b',' if self.is_top() => self.role = Role::Name(Some(0)),
            _ => {}
        }
    }

    /// How many of the next bytes change nothing, which is most of them in a long text or an array of numbers.
    fn idle(&self, rest: &[u8]) -> usize {
        let next = match self.place {
            Place::Between if self.depth > 1 => {
                rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
            }
            Place::Within { escaped: false } if !self.is_in_name() => memchr2(b'"', b'\\', rest),
            Place::Between | Place::Within { .. } | Place::Past => return 0,
        };
        next.unwrap_or(rest.len())
    }

    fn is_in_name(&self) -> bool {
        self.is_top() && matches!(self.role, Role::Name(_))
    }

    fn within(&mut self, escaped: bool, byte: u8) {
        let closes = byte == b'"' && !escaped;
        self.place = match (closes, self.replaces()) {
            (true, true) => Place::Past,
            (true, false) => Place::Between,
            (false, _) => Place::Within { escaped: byte == b'\\' && !escaped },
        };
        if let Role::Name(so_far) = self.role
            && self.is_top()
        {
            self.role = match so_far {
                Some(length) if closes && length == MODEL.len() => Role::Model,
                _ if closes => Role::Value,
                Some(length) if MODEL.get(length) == Some(&byte) => Role::Name(Some(length + 1)),
                _ => Role::Name(None),
            };
        }
    }
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
        let (mut renamer, mut out) = (Renamer::new(Bytes::from_static(b"\"new\"")), Vec::new());
        for piece in pieces {
            renamer.push(piece, |piece| out.push(piece));
        }
        out
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
            let bytes = said.bytes().map(|byte| Bytes::copy_from_slice(&[byte]));
            assert_eq!(renamed(bytes).concat(), told.as_bytes(), "{said}, byte by byte");
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
            Renamer::new(json_string(&name)).push(Bytes::from_static(br#"{"model":"old"}"#), |piece| out.push(piece));
            let answer: Value = serde_json::from_slice(&out.concat()).unwrap();
            prop_assert_eq!(&answer["model"], &name);
        }
    }
}
