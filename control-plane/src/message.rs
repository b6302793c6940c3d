//! A resource as operators say it, whatever its kind: the one shape in which the rooms of the control plane hand resources to each
//! other. It knows the admin schema and nothing of tables, revisions being made, or what data planes are told.

use std::{collections::BTreeMap, time::SystemTime};

use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use signalbox_proto::admin::v1 as admin;
use signalbox_routing::{InvalidName, Kind, ResourceName};

use crate::key::Fingerprint;

mod difference;
mod spec;

pub(crate) use difference::fields as differing_fields;
pub use spec::{Unreadable, descriptor};
pub(crate) use spec::{is_output_only, read as read_spec, write as write_spec};

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
