//! The kinds of resources as operators name them, and which of their fields a table shows. Everything else about them is asked of the
//! schemas.

use std::{fmt, str::FromStr};

use serde_json::Value;

mod cell;
mod known;

pub use cell::Cell;
pub use known::KINDS;

/// A kind of resource.
pub struct Kind {
    /// Its collection, as in names and in lists.
    pub collection: &'static str,
    /// The word for one of them in the schemas.
    pub singular: &'static str,
    /// The word for several of them in the schemas.
    pub plural: &'static str,
    /// The service that keeps them.
    pub service: &'static str,
    /// What people call it; the first is what it is called in help and errors.
    pub words: &'static [&'static str],
    /// What a table shows.
    pub columns: &'static [Column],
}

/// A column of a table: its heading, where in the JSON of a resource its text is, and how that is said.
pub struct Column(pub &'static str, pub &'static str, pub Cell);

/// Why a text names no kind, or nothing of a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKind {
    /// No kind is called so.
    #[error("{text:?} is no kind of resource: there are {}", known())]
    Unknown {
        /// What was said.
        text: String,
    },
    /// It is no name of that kind.
    #[error("{text:?} is no name of {kind}: {shape}")]
    Name {
        /// What was said.
        text: String,
        /// The kind's name.
        kind: &'static str,
        /// What would be one.
        shape: &'static str,
    },
}

fn known() -> String {
    let words: Vec<&str> = KINDS.iter().filter_map(|kind| kind.words.first().copied()).collect();
    words.join(", ")
}

/// A kind that somebody named.
#[derive(Clone, Copy)]
pub struct KindRef(pub &'static Kind);

impl fmt::Debug for KindRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.collection)
    }
}

impl FromStr for KindRef {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        let called = |kind: &&Kind| kind.words.iter().any(|word| word.eq_ignore_ascii_case(text));
        KINDS.iter().find(called).map(Self).ok_or_else(|| InvalidKind::Unknown { text: text.to_owned() })
    }
}

/// A kind, and one of it or all of them: `keys`, `keys ci`, `clientKeys/ci`.
#[derive(Debug, Clone)]
pub struct Named {
    /// The kind.
    pub kind: KindRef,
    /// The full name; `None` = all of them.
    pub name: Option<String>,
}

impl Named {
    /// Reads the one or two words.
    ///
    /// # Errors
    /// [`InvalidKind`]
    pub fn read(kind: &str, name: Option<&str>) -> Result<Self, InvalidKind> {
        let (word, within) = kind.split_once('/').map_or((kind, None), |(word, _)| (word, Some(kind)));
        let word = if within.is_some_and(|full| full.contains("/credentials/")) { "credentials" } else { word };
        let kind: KindRef = word.parse()?;
        let name = name.or(within).map(|name| kind.0.full_name(name)).transpose()?;
        Ok(Self { kind, name })
    }
}

impl Kind {
    /// What it is called in help and errors.
    pub fn word(&self) -> &'static str {
        self.words.first().copied().unwrap_or(self.collection)
    }

    /// Several of them, in a sentence.
    pub fn several(&self) -> String {
        let mut words = String::new();
        for letter in self.plural.chars() {
            if letter.is_ascii_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.push(letter.to_ascii_lowercase());
        }
        words
    }

    /// The full name of one of them, from a full name or from its id.
    ///
    /// # Errors
    /// [`InvalidKind::Name`]
    pub fn full_name(&self, text: &str) -> Result<String, InvalidKind> {
        let parts: Vec<&str> = text.split('/').collect();
        let wrong = |shape| Err(InvalidKind::Name { text: text.to_owned(), kind: self.word(), shape });
        if parts.contains(&"") {
            return wrong("a part of it is empty");
        }
        match (self.collection, parts.as_slice()) {
            ("settings", ["settings"]) => Ok(text.to_owned()),
            ("settings", _) => wrong("there is one, called settings"),
            ("credentials", ["providers", provider, "credentials", credential] | [provider, credential]) => {
                Ok(format!("providers/{provider}/credentials/{credential}"))
            }
            ("credentials", _) => wrong("PROVIDER/CREDENTIAL"),
            (collection, [id]) => Ok(format!("{collection}/{id}")),
            (collection, [first, _]) if *first == collection => Ok(text.to_owned()),
            _ => wrong("its id, or its full name"),
        }
    }

    /// The row of a resource in a table.
    pub fn row(&self, resource: &Value) -> Vec<String> {
        self.columns.iter().map(|Column(_, path, cell)| cell.say(resource.get(path).unwrap_or(&Value::Null))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operate::control::find;

    #[test]
    fn every_kind_has_its_calls_and_every_column_its_field() {
        for kind in &KINDS {
            let verb = if kind.collection == "settings" { "Get" } else { "List" };
            let method = find(&format!("{}/{verb}{}", kind.service, kind.plural)).unwrap();
            let resource = signalbox_proto::DESCRIPTORS
                .get_message_by_name(&format!("signalbox.admin.v1.{}", kind.singular))
                .unwrap();
            for Column(_, path, _) in kind.columns {
                assert!(resource.get_field_by_json_name(path).is_some(), "{}.{path}", kind.singular);
            }
            let listed = method.output().get_field_by_json_name(kind.collection);
            assert!(kind.collection == "settings" || listed.is_some(), "{}", kind.collection);
        }
    }

    #[test]
    fn a_kind_has_several_words_and_a_name_two_forms() {
        for (kind, name, is) in [
            ("keys", Some("ci"), Some("clientKeys/ci")),
            ("key", Some("clientKeys/ci"), Some("clientKeys/ci")),
            ("clientKeys/ci", None, Some("clientKeys/ci")),
            ("ClientKeys", None, None),
            ("credential", Some("openai/main"), Some("providers/openai/credentials/main")),
            ("providers/openai/credentials/main", None, Some("providers/openai/credentials/main")),
            ("settings", None, None),
            ("rev", Some("7"), Some("revisions/7")),
        ] {
            let named = Named::read(kind, name).unwrap();
            assert_eq!(named.name.as_deref(), is, "{kind} {name:?}");
        }
        for (kind, name) in
            [("nonsense", None), ("keys", Some("a/b/c")), ("credentials", Some("main")), ("keys", Some(""))]
        {
            assert!(Named::read(kind, name).is_err(), "{kind} {name:?}");
        }
    }

    #[test]
    fn a_row_says_what_people_look_for() {
        let [_, _, keys, redirects, ..] = &KINDS;
        let key = json!({
            "name": "clientKeys/ci", "allowedModels": ["a", "b"], "expireTime": "2027-01-01T00:00:00.123Z",
            "disabled": true, "labels": {"team": "a"}, "revision": "7",
        });
        assert_eq!(keys.row(&key), ["ci", "", "a, b", "2027-01-01T00:00:00Z", "yes", "team=a", "7"]);
        let redirect = json!({"name": "redirects/fast", "from": "fast", "targets": [{"provider": "a", "model": "m"}, {"provider": "b"}]});
        assert_eq!(redirects.row(&redirect)[2], "a/m, b");
        for (skew, said) in [("-0.000073982s", "0.000s"), ("-1.5s", "-1.500s"), ("90s", "90.000s")] {
            assert_eq!(Cell::Length.say(&json!(skew)), said);
        }
        assert_eq!(cell::id("providers/openai/credentials/main"), "openai/main");
        assert_eq!((keys.several().as_str(), redirects.several().as_str()), ("client keys", "redirects"));
    }
}
