//! A resource as operators say it, whatever its kind: the one shape in which the rooms of the control plane hand resources to each
//! other. It knows the admin schema and nothing of tables, revisions being made, or what data planes are told.

use std::{collections::BTreeMap, time::SystemTime};

use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use signalbox_proto::admin::v1 as admin;
use signalbox_routing::{InvalidName, Kind, ResourceName};

use crate::key::Fingerprint;

mod difference;
mod rules;
mod spec;

pub(crate) use difference::fields as differing_fields;
pub(crate) use rules::findings as rule_findings;
pub use spec::{Unreadable, descriptor};
pub(crate) use spec::{dynamic, is_output_only, read as read_spec, write as write_spec};

/// One resource of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The settings.
    Settings(admin::Settings),
    /// A provider; boxed since it is by far the largest.
    Provider(Box<admin::Provider>),
    /// A credential.
    Credential(admin::Credential),
    /// A client key.
    ClientKey(ClientKey),
    /// A redirect.
    Redirect(admin::Redirect),
    /// A route; boxed for its size.
    Route(Box<admin::Route>),
}

/// A client key with the fingerprint it is known by. No plain key fits in.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientKey {
    said: admin::ClientKey,
    sha256: [u8; 32],
}

impl ClientKey {
    /// What an operator said about a key, without any key in it, and the fingerprint of the key.
    #[must_use]
    pub fn new(said: admin::ClientKey, fingerprint: Fingerprint) -> Self {
        let Fingerprint { sha256, display_prefix } = fingerprint;
        Self { said: admin::ClientKey { secret: String::new(), imported: None, display_prefix, ..said }, sha256 }
    }

    /// The key as operators see it.
    #[must_use]
    pub const fn said(&self) -> &admin::ClientKey {
        &self.said
    }

    /// The SHA-256 that data planes know it by.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What is kept of the key itself.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { sha256: self.sha256, display_prefix: self.said.display_prefix.clone() }
    }
}

/// What the ledger writes onto a resource: where in history this version of it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The revision that last changed it.
    pub revision: u64,
    /// When it was made.
    pub create_time: SystemTime,
    /// When it was last changed.
    pub update_time: SystemTime,
    /// How often its stored secret has been set; only credentials show it.
    pub secret_version: u64,
}

impl Stamp {
    /// The field whose changes `secret_version` counts.
    pub(crate) const SECRET: &'static str = "secret";
}

/// The same expression over every kind's message.
macro_rules! each {
    ($message:expr, $said:ident => $value:expr) => {
        match $message {
            Message::Settings($said) => $value,
            Message::Provider($said) => $value,
            Message::Credential($said) => $value,
            Message::ClientKey(ClientKey { said: $said, .. }) => $value,
            Message::Redirect($said) => $value,
            Message::Route($said) => $value,
        }
    };
}

impl Message {
    /// What kind of resource it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Settings(_) => Kind::Settings,
            Self::Provider(_) => Kind::Provider,
            Self::Credential(_) => Kind::Credential,
            Self::ClientKey(_) => Kind::ClientKey,
            Self::Redirect(_) => Kind::Redirect,
            Self::Route(_) => Kind::Route,
        }
    }

    /// Its full name.
    ///
    /// # Errors
    /// [`InvalidName`] where the text in it is no name of its kind.
    pub fn name(&self) -> Result<ResourceName, InvalidName> {
        let text = each!(self, said => &said.name);
        let name = ResourceName::parse(text)?;
        if name.kind() == self.kind() { Ok(name) } else { Err(InvalidName::Shape(text.clone())) }
    }

    /// Gives it a name.
    pub fn set_name(&mut self, name: &ResourceName) {
        each!(self, said => said.name = name.as_str().to_owned());
    }

    /// Its labels; `None` for the settings, which have none.
    #[must_use]
    pub const fn labels(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Settings(_) => None,
            Self::Provider(said) => Some(&said.labels),
            Self::Credential(said) => Some(&said.labels),
            Self::ClientKey(key) => Some(&key.said.labels),
            Self::Redirect(said) => Some(&said.labels),
            Self::Route(said) => Some(&said.labels),
        }
    }

    /// Its labels, to be changed; `None` for the settings.
    pub const fn labels_mut(&mut self) -> Option<&mut BTreeMap<String, String>> {
        match self {
            Self::Settings(_) => None,
            Self::Provider(said) => Some(&mut said.labels),
            Self::Credential(said) => Some(&mut said.labels),
            Self::ClientKey(key) => Some(&mut key.said.labels),
            Self::Redirect(said) => Some(&mut said.labels),
            Self::Route(said) => Some(&mut said.labels),
        }
    }

    /// What people call it; empty = nothing else than its name.
    #[must_use]
    pub fn display_name(&self) -> &str {
        match self {
            Self::Settings(_) => "",
            Self::Provider(said) => &said.display_name,
            Self::Credential(said) => &said.display_name,
            Self::ClientKey(key) => &key.said.display_name,
            Self::Redirect(said) => &said.display_name,
            Self::Route(said) => &said.display_name,
        }
    }

    /// Identifies this version of it (AIP-154), quotes included; empty before it is stored.
    #[must_use]
    pub fn etag(&self) -> &str {
        each!(self, said => &said.etag)
    }

    /// The revision that last changed it; 0 before it is stored.
    #[must_use]
    pub fn revision(&self) -> u64 {
        each!(self, said => said.revision)
    }

    /// When it was last changed.
    #[must_use]
    pub fn update_time(&self) -> Option<Timestamp> {
        each!(self, said => said.update_time)
    }

    /// When it was made; the settings were always there.
    #[must_use]
    pub fn create_time(&self) -> Option<Timestamp> {
        match self {
            Self::Settings(_) => None,
            Self::Provider(said) => said.create_time,
            Self::Credential(said) => said.create_time,
            Self::ClientKey(key) => key.said.create_time,
            Self::Redirect(said) => said.create_time,
            Self::Route(said) => said.create_time,
        }
    }

    /// The message without what only the control plane sets, as an operator would have said it.
    pub(crate) fn unstamped(mut self) -> Self {
        each!(&mut self, said => {
            said.revision = 0;
            said.etag = String::new();
            said.update_time = None;
        });
        match &mut self {
            Self::Settings(_) => {}
            Self::Provider(said) => said.create_time = None,
            Self::Credential(said) => (said.create_time, said.secret_version) = (None, 0),
            Self::ClientKey(key) => (key.said.create_time, key.said.display_prefix) = (None, String::new()),
            Self::Redirect(said) => said.create_time = None,
            Self::Route(said) => said.create_time = None,
        }
        self
    }

    /// Fills in what only the control plane sets. `spec` is the text that this version is stored as.
    pub(crate) fn stamp(&mut self, stamp: &Stamp, spec: &str) {
        let Stamp { revision, create_time, update_time, secret_version } = *stamp;
        each!(self, said => {
            said.revision = revision;
            said.etag = etag(revision, spec);
            said.update_time = Some(update_time.into());
        });
        let created = Some(create_time.into());
        match self {
            Self::Settings(_) => {}
            Self::Provider(said) => said.create_time = created,
            Self::Credential(said) => (said.create_time, said.secret_version) = (created, secret_version),
            Self::ClientKey(key) => key.said.create_time = created,
            Self::Redirect(said) => said.create_time = created,
            Self::Route(said) => said.create_time = created,
        }
    }
}

fn etag(revision: u64, spec: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(spec).into();
    let short: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{revision}-{short}\"")
}

macro_rules! from_admin {
    ($($kind:ident($said:ty)),*) => {
        $(impl From<$said> for Message {
            fn from(said: $said) -> Self {
                Self::$kind(said.into())
            }
        })*
    };
}
from_admin!(
    Settings(admin::Settings),
    Provider(admin::Provider),
    Credential(admin::Credential),
    ClientKey(ClientKey),
    Redirect(admin::Redirect),
    Route(admin::Route)
);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn stamp() -> Stamp {
        let create_time = UNIX_EPOCH + Duration::from_secs(1);
        Stamp { revision: 7, create_time, update_time: create_time + Duration::from_secs(1), secret_version: 3 }
    }

    fn client_key() -> Message {
        let said = admin::ClientKey {
            name: "clientKeys/ci".to_owned(),
            secret: "sb_shown_once".to_owned(),
            imported: Some(admin::client_key::Imported::ImportSecret("sb_shown_once".to_owned())),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            ..Default::default()
        };
        ClientKey::new(said, Fingerprint { sha256: [7; 32], display_prefix: "sb_shown".to_owned() }).into()
    }

    #[test]
    fn a_name_must_be_of_the_messages_kind() {
        let named = |name: &str| Message::from(admin::Route { name: name.to_owned(), ..Default::default() }).name();
        assert_eq!(named("routes/a").unwrap().as_str(), "routes/a");
        assert!(named("providers/a").is_err());
        assert!(named("").is_err());
    }

    #[test]
    fn what_is_kept_leads_back_to_the_message() {
        let mut key = client_key();
        let name = key.name().unwrap();
        let spec = write_spec(&key.kept()).unwrap();
        assert_eq!(
            spec,
            r#"{"displayPrefix":"sb_shown","importSha256":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=","labels":{"team":"a"}}"#
        );
        assert_eq!(Message::from_kept(&name, &read_spec(Kind::ClientKey, &spec).unwrap()).unwrap(), key);

        key.stamp(&stamp(), &spec);
        assert_eq!(
            write_spec(&key.kept()).unwrap(),
            spec,
            "what the control plane sets is not kept with what was said"
        );
    }

    #[test]
    fn a_stamp_fills_in_what_operators_cannot_set() {
        let mut credential = Message::from(admin::Credential::default());
        credential.stamp(&stamp(), "{}");
        assert_eq!((credential.revision(), credential.etag()), (7, "\"7-44136fa3\""));
        assert_eq!(credential.create_time().map(|time| time.seconds), Some(1));
        assert_eq!(credential.update_time().map(|time| time.seconds), Some(2));
        assert!(matches!(credential, Message::Credential(said) if said.secret_version == 3));
    }

    #[test]
    fn a_stored_text_that_is_no_message_is_said_to_be_none() {
        for bad in ["", "[]", "{} x", r#"{"nonsense":1}"#, r#"{"baseUrl":7}"#] {
            assert!(matches!(read_spec(Kind::Provider, bad), Err(Unreadable::Json { .. })), "{bad}");
        }
        let short = read_spec(Kind::ClientKey, r#"{"importSha256":"AAAA"}"#).unwrap();
        let name = client_key().name().unwrap();
        assert!(matches!(Message::from_kept(&name, &short), Err(Unreadable::Digest(3))));
    }

    #[test]
    fn equal_messages_are_equal_texts_whatever_the_order_of_their_maps() {
        let labels = |order: [&str; 3]| order.map(|label| (label.to_owned(), label.to_owned())).into();
        let route = |order| Message::from(admin::Route { labels: labels(order), ..Default::default() });
        let texts = [route(["a", "b", "c"]), route(["c", "a", "b"])].map(|route| write_spec(&route.kept()).unwrap());
        assert_eq!(texts[0], texts[1]);
    }

    #[test]
    fn differing_fields_are_named_in_the_schemas_words() {
        let before = admin::Provider { base_url: "http://a".to_owned(), revision: 1, ..Default::default() };
        let after = admin::Provider {
            base_url: "http://b".to_owned(),
            model_prefix: "x".to_owned(),
            revision: 2,
            ..Default::default()
        };
        let [before, after] = [before, after].map(|said| Message::from(said).kept());
        assert_eq!(differing_fields(&before, &after).into_iter().collect::<Vec<_>>(), ["base_url", "model_prefix"]);
        assert!(differing_fields(&after, &after).is_empty());
    }

    #[test]
    fn a_rotated_client_key_differs_in_its_digest() {
        let Message::ClientKey(key) = client_key() else { unreachable!() };
        let other =
            ClientKey::new(key.said().clone(), Fingerprint { sha256: [8; 32], display_prefix: "sb_other".to_owned() });
        let fields = differing_fields(&Message::from(key).kept(), &Message::from(other).kept());
        assert_eq!(fields.into_iter().collect::<Vec<_>>(), ["import_sha256"]);
    }
}
