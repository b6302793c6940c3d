//! Adds a suffix to the ids of a JSON answer while it goes by, however it is cut: to those of the object itself, and of the objects
//! that it lists. Nothing else changes, and nothing is held or copied.

use bytes::Bytes;

/// Longest name of a member that matters: `previous_response_id`.
const MAX_NAME_BYTES: usize = 20;

/// What is tagged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    /// What is added to each id, as it is written in JSON.
    pub(crate) suffix: Bytes,
    /// Whether a list's ids are meant too, and not only those of an object that stands alone.
    pub(crate) lists: bool,
}

/// Adds a suffix to ids.
#[derive(Debug)]
pub(crate) struct Tagger {
    tag: Tag,
    /// How many objects and arrays are open.
    depth: usize,
    string: Text,
    /// The next string is a member's name, where names matter.
    is_name: bool,
    name: Vec<u8>,
    /// The member that is being read, where members matter.
    member: Member,
    /// The whole is an object.
    is_object: bool,
    /// It is within the list.
    in_list: bool,
    /// It is within an object of the list.
    in_entry: bool,
}

/// Where it is in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside { escaped: bool, empty: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Id,
    List,
    Other,
}

impl Tagger {
    pub(crate) fn new(tag: Tag) -> Self {
        Self {
            tag,
            depth: 0,
            string: Text::Outside,
            is_name: false,
            name: Vec::with_capacity(MAX_NAME_BYTES + 1),
            member: Member::Other,
            is_object: false,
            in_list: false,
            in_entry: false,
        }
    }

    /// Takes the next piece, and gives it as it is to go on.
    pub(crate) fn push(&mut self, mut text: Bytes, mut give: impl FnMut(Bytes)) {
        let mut at = 0;
        while let Some(byte) = text.get(at).copied() {
            if self.read(byte) {
                let before = Some(text.split_to(at)).filter(|before| !before.is_empty());
                before.into_iter().chain([self.tag.suffix.clone()]).for_each(&mut give);
                at = 0;
            }
            at += 1;
        }
        if !text.is_empty() {
            give(text);
        }
    }

    /// Whether members matter here.
    fn is_watched(&self) -> bool {
        (self.depth == 1 && self.is_object) || (self.depth == 3 && self.in_entry)
    }

    /// Reads a byte. True = it is the quote that ends an id.
    fn read(&mut self, byte: u8) -> bool {
        let Text::Inside { escaped, empty } = self.string else {
            self.between(byte);
            return false;
        };
        if byte != b'"' || escaped {
            self.string = Text::Inside { escaped: byte == b'\\' && !escaped, empty: false };
            if self.is_name && self.is_watched() && self.name.len() <= MAX_NAME_BYTES {
                self.name.push(byte);
            }
            return false;
        }
        self.string = Text::Outside;
        if !self.is_watched() {
            return false;
        }
        if std::mem::take(&mut self.is_name) {
            self.member = self.member_of(&self.name);
            self.name.clear();
            return false;
        }
        self.member == Member::Id && !empty
    }

    fn member_of(&self, name: &[u8]) -> Member {
        match name {
            b"data" if self.depth == 1 && self.tag.lists => Member::List,
            b"first_id" | b"last_id" if self.depth == 1 && self.tag.lists => Member::Id,
            b"id" | b"previous_response_id" | b"input_file_id" | b"output_file_id" | b"error_file_id" => Member::Id,
            _ => Member::Other,
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'"' => self.string = Text::Inside { escaped: false, empty: true },
            b'{' | b'[' => {
                self.depth += 1;
                match self.depth {
                    1 => self.is_object = byte == b'{',
                    2 => self.in_list = self.is_object && self.member == Member::List && byte == b'[',
                    3 => self.in_entry = self.in_list && byte == b'{',
                    _ => {}
                }
                self.is_name = self.is_watched();
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.is_name = false;
            }
            b',' => self.is_name = self.is_watched(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(text: &str, size: usize, lists: bool) -> String {
        let (mut tagger, mut out) = (Tagger::new(Tag { suffix: Bytes::from_static(b"~a"), lists }), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            tagger.push(Bytes::copy_from_slice(piece), |piece| out.extend_from_slice(&piece));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_ids_of_an_object_and_of_a_list_say_who_keeps_them() {
        for (text, expected) in [
            (r#"{"id":"file-1","object":"file"}"#, r#"{"id":"file-1~a","object":"file"}"#),
            (
                r#"{ "id" : "b" , "input_file_id":"f","output_file_id":null,"error_file_id":""}"#,
                r#"{ "id" : "b~a" , "input_file_id":"f~a","output_file_id":null,"error_file_id":""}"#,
            ),
            (
                r#"{"object":"list","data":[{"id":"f1","x":{"id":"y"}},{"id":"f2"}],"first_id":"f1","last_id":"f2"}"#,
                r#"{"object":"list","data":[{"id":"f1~a","x":{"id":"y"}},{"id":"f2~a"}],"first_id":"f1~a","last_id":"f2~a"}"#,
            ),
            (
                r#"{"metadata":{"id":"x","data":[{"id":"y"}]},"id":"r"}"#,
                r#"{"metadata":{"id":"x","data":[{"id":"y"}]},"id":"r~a"}"#,
            ),
            (r#"{"a":["id","x"],"b":"id","id":["x"]}"#, r#"{"a":["id","x"],"b":"id","id":["x"]}"#),
            (r#"{"\"id":"a\"","x\\":"id","id":"q\"r"}"#, r#"{"\"id":"a\"","x\\":"id","id":"q\"r~a"}"#),
            (r#"[{"id":"x"}]"#, r#"[{"id":"x"}]"#),
            (r#""id""#, r#""id""#),
            ("}}]]", "}}]]"),
            ("", ""),
        ] {
            for size in [1, 3, 7, 1000] {
                assert_eq!(tagged(text, size, true), expected);
            }
        }
    }

    #[test]
    fn the_items_of_a_response_keep_their_ids() {
        let text = r#"{"object":"list","data":[{"id":"msg_1"}],"first_id":"msg_1"}"#;
        assert_eq!(tagged(text, 5, false), text);
    }
}
