//! The kinds of resources as operators name them, and which of their fields a table shows. Everything else about them is asked of the
//! schemas.

use std::{fmt, str::FromStr};

use serde_json::Value;

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

/// How a value is said in a table.
#[derive(Clone, Copy)]
pub enum Cell {
    /// As it is; lists and maps joined by commas.
    Text,
    /// The name without its collections.
    Id,
    /// An enum's word without this in front.
    Word(&'static str),
    /// A time, to the second.
    Time,
    /// How many there are.
    Count,
    /// `yes`, or nothing.
    Flag,
    /// What redirects lead to.
    Targets,
}

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

const NAME: Column = Column("NAME", "name", Cell::Id);
const DISABLED: Column = Column("DISABLED", "disabled", Cell::Flag);
const LABELS: Column = Column("LABELS", "labels", Cell::Text);
const REVISION: Column = Column("REVISION", "revision", Cell::Text);

/// Every kind.
pub static KINDS: [Kind; 10] = [
    Kind {
        collection: "providers",
        singular: "Provider",
        plural: "Providers",
        service: "ProviderService",
        words: &["providers", "provider", "p"],
        columns: &[
            NAME,
            Column("DIALECT", "dialect", Cell::Word("DIALECT_")),
            Column("BASE URL", "baseUrl", Cell::Text),
            Column("MODELS", "models", Cell::Count),
            DISABLED,
            LABELS,
            REVISION,
        ],
    },
    Kind {
        collection: "credentials",
        singular: "Credential",
        plural: "Credentials",
        service: "CredentialService",
        words: &["credentials", "credential", "cred", "c"],
        columns: &[
            NAME,
            Column("SECRET VERSION", "secretVersion", Cell::Text),
            Column("FROM", "secretRef", Cell::Text),
            Column("WEIGHT", "weight", Cell::Text),
            DISABLED,
            LABELS,
            REVISION,
        ],
    },
    Kind {
        collection: "clientKeys",
        singular: "ClientKey",
        plural: "ClientKeys",
        service: "ClientKeyService",
        words: &["keys", "key", "k", "clientKeys", "clientKey", "client-keys", "client-key"],
        columns: &[
            NAME,
            Column("BEGINS", "displayPrefix", Cell::Text),
            Column("MODELS", "allowedModels", Cell::Text),
            Column("EXPIRES", "expireTime", Cell::Time),
            DISABLED,
            LABELS,
            REVISION,
        ],
    },
    Kind {
        collection: "redirects",
        singular: "Redirect",
        plural: "Redirects",
        service: "RedirectService",
        words: &["redirects", "redirect", "r"],
        columns: &[
            NAME,
            Column("FROM", "from", Cell::Text),
            Column("TARGETS", "targets", Cell::Targets),
            Column("KEYS WITH", "clientKeyLabels", Cell::Text),
            LABELS,
            REVISION,
        ],
    },
    Kind {
        collection: "routes",
        singular: "Route",
        plural: "Routes",
        service: "RouteService",
        words: &["routes", "route"],
        columns: &[
            NAME,
            Column("SEGMENT", "segment", Cell::Text),
            Column("TARGET", "targetUrl", Cell::Text),
            Column("NEEDS A KEY", "clientKeyRequired", Cell::Flag),
            DISABLED,
            LABELS,
            REVISION,
        ],
    },
    Kind {
        collection: "settings",
        singular: "Settings",
        plural: "Settings",
        service: "SettingsService",
        words: &["settings", "setting", "s"],
        columns: &[
            Column("BASE PATH", "basePath", Cell::Text),
            Column("DEFAULT PROVIDER", "defaultProvider", Cell::Text),
            Column("KEYLESS MODELS", "keylessModels", Cell::Flag),
            Column("LOG LEVEL", "logLevel", Cell::Word("LOG_LEVEL_")),
            REVISION,
        ],
    },
    Kind {
        collection: "replicas",
        singular: "Replica",
        plural: "Replicas",
        service: "ReplicaService",
        words: &["replicas", "replica", "dp"],
        columns: &[
            NAME,
            Column("STATE", "state", Cell::Word("STATE_")),
            Column("SERVES", "servingRevision", Cell::Text),
            Column("HOLDS", "heldRevision", Cell::Text),
            Column("REJECTS", "rejections", Cell::Count),
            Column("FROM", "configSource", Cell::Word("CONFIG_SOURCE_")),
            Column("SKEW", "clockSkew", Cell::Text),
            Column("IN FLIGHT", "inFlight", Cell::Text),
            Column("DRAINING", "draining", Cell::Flag),
            Column("VERSION", "version", Cell::Text),
            Column("LAST SEEN", "lastSeenTime", Cell::Time),
        ],
    },
    Kind {
        collection: "revisions",
        singular: "Revision",
        plural: "Revisions",
        service: "RevisionService",
        words: &["revisions", "revision", "rev"],
        columns: &[
            Column("REVISION", "revision", Cell::Text),
            Column("COMMITTED", "commitTime", Cell::Time),
            Column("BY", "actor", Cell::Text),
            Column("FROM", "sourceIp", Cell::Text),
            Column("CALL", "method", Cell::Text),
            Column("CHANGES", "changeCount", Cell::Text),
            Column("ROLLBACK OF", "rollbackOf", Cell::Text),
            Column("COMMENT", "comment", Cell::Text),
        ],
    },
    Kind {
        collection: "adminTokens",
        singular: "AdminToken",
        plural: "AdminTokens",
        service: "AdminTokenService",
        words: &["tokens", "token", "t", "adminTokens", "adminToken", "admin-tokens", "admin-token"],
        columns: &[
            NAME,
            Column("ROLE", "role", Cell::Word("ROLE_")),
            Column("BEGINS", "displayPrefix", Cell::Text),
            Column("CERTIFICATE", "certificateName", Cell::Text),
            Column("EXPIRES", "expireTime", Cell::Time),
            Column("LAST USED", "lastUseTime", Cell::Time),
            DISABLED,
        ],
    },
    Kind {
        collection: "auditEntries",
        singular: "AuditEntry",
        plural: "AuditEntries",
        service: "AuditService",
        words: &["audit", "auditEntries", "audit-entries", "a"],
        columns: &[
            Column("TIME", "time", Cell::Time),
            Column("WHO", "actor", Cell::Text),
            Column("FROM", "sourceIp", Cell::Text),
            Column("CALL", "method", Cell::Text),
            Column("RESOURCE", "resource", Cell::Text),
            Column("CODE", "code", Cell::Text),
            Column("REASON", "reason", Cell::Text),
            Column("REVISION", "revision", Cell::Text),
            Column("MORE LIKE IT", "repeatedCount", Cell::Text),
        ],
    },
];

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

impl Cell {
    fn say(self, value: &Value) -> String {
        match (self, value) {
            (Self::Flag, value) => if value == &Value::Bool(true) { "yes" } else { "" }.to_owned(),
            (Self::Count, Value::Array(list)) => list.len().to_string(),
            (Self::Targets, Value::Array(list)) => list.iter().map(target).collect::<Vec<_>>().join(", "),
            (Self::Id, Value::String(name)) => id(name),
            (Self::Word(prefix), Value::String(word)) => {
                word.strip_prefix(prefix).unwrap_or(word).to_ascii_lowercase().replace('_', "-")
            }
            (Self::Time, Value::String(time)) => match time.split_once('.') {
                Some((seconds, _)) => format!("{seconds}Z"),
                None => time.clone(),
            },
            (_, value) => text(value),
        }
    }
}

/// A full name without its collections.
pub(super) fn id(name: &str) -> String {
    name.split('/').skip(1).step_by(2).collect::<Vec<_>>().join("/")
}

fn target(target: &Value) -> String {
    let part = |key| target.get(key).and_then(Value::as_str).unwrap_or_default();
    match (part("provider"), part("model")) {
        (provider, "") => provider.to_owned(),
        (provider, model) => format!("{provider}/{model}"),
    }
}

/// A JSON value in one line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(", ")
        }
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
        assert_eq!(id("providers/openai/credentials/main"), "openai/main");
        assert_eq!((keys.several().as_str(), redirects.several().as_str()), ("client keys", "redirects"));
    }
}
