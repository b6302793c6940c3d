//! What the five verbs have to know of a kind of resource, and nothing that they do with it.

use prost_reflect::DynamicMessage;
use secrecy::SecretString;
use signalbox_proto::admin::v1::{ClientKey, Credential, Provider, Redirect, Route, Settings, client_key::Imported};
use signalbox_routing::{Effect, Fault, Finding, Kind, ResourceName};

use crate::{
    key::{self, Fingerprint},
    message::{self, Message},
};

/// A generated message that is a resource.
pub(crate) trait Resource: prost::Message + Default + Clone + 'static {
    /// Its kind.
    const KIND: Kind;
    /// What requests call the field that carries one.
    const FIELD: &'static str;

    /// Its name, as the caller gives it.
    fn name(&self) -> &str;

    /// The version that the caller means; empty = any.
    fn etag(&self) -> &str;

    /// The resource in a message of any kind; `None` where it is of another.
    fn of(message: &Message) -> Option<&Self>;

    /// The message of any kind, under that name, on top of the one that is stored under it, if there is one.
    ///
    /// # Errors
    /// Says why no message can be made.
    fn into_message(self, name: &ResourceName, stored: Option<&Message>) -> Result<Message, Finding>;
}

/// The resource as its generated type.
pub(crate) fn typed<R: Resource>(dynamic: &DynamicMessage) -> R {
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_to().expect("a generated type has the fields of its schema")
}

macro_rules! plain {
    ($($kind:ident, $field:literal);*) => {
        $(impl Resource for $kind {
            const KIND: Kind = Kind::$kind;
            const FIELD: &'static str = $field;

            fn name(&self) -> &str {
                &self.name
            }

            fn etag(&self) -> &str {
                &self.etag
            }

            fn of(message: &Message) -> Option<&Self> {
                match message {
                    Message::$kind(said) => Some(said),
                    _ => None,
                }
            }

            fn into_message(self, name: &ResourceName, _stored: Option<&Message>) -> Result<Message, Finding> {
                Ok(named(self.into(), name))
            }
        })*
    };
}
plain!(Settings, "settings"; Provider, "provider"; Credential, "credential"; Redirect, "redirect"; Route, "route");

impl Resource for ClientKey {
    const KIND: Kind = Kind::ClientKey;
    const FIELD: &'static str = "client_key";

    fn name(&self) -> &str {
        &self.name
    }

    fn etag(&self) -> &str {
        &self.etag
    }

    fn of(message: &Message) -> Option<&Self> {
        match message {
            Message::ClientKey(key) => Some(key.said()),
            _ => None,
        }
    }

    fn into_message(self, name: &ResourceName, stored: Option<&Message>) -> Result<Message, Finding> {
        let fingerprint = match (&self.imported, stored) {
            (Some(imported), stored) => fingerprint(imported).map(|given| recognised(given, stored)),
            (None, Some(Message::ClientKey(stored))) => Ok(stored.fingerprint()),
            (None, _) => Err(("import_secret", Fault::Missing)),
        };
        match fingerprint {
            Ok(fingerprint) => Ok(named(message::ClientKey::new(self, fingerprint).into(), name)),
            Err((field, fault)) => {
                Err(Finding { resource: name.clone(), field: field.to_owned(), fault, effect: Effect::Deny })
            }
        }
    }
}

fn named(mut message: Message, name: &ResourceName) -> Message {
    message.set_name(name);
    message
}

/// The digest of a key that is stored already says no less of it than what is stored.
fn recognised(given: Fingerprint, stored: Option<&Message>) -> Fingerprint {
    match stored {
        Some(Message::ClientKey(stored)) if *stored.sha256() == given.sha256 && given.display_prefix.is_empty() => {
            stored.fingerprint()
        }
        _ => given,
    }
}

fn fingerprint(imported: &Imported) -> Result<Fingerprint, (&'static str, Fault)> {
    match imported {
        Imported::ImportSecret(secret) if key::is_presentable(secret) => {
            Ok(Fingerprint::of(&SecretString::from(secret.as_str())))
        }
        Imported::ImportSecret(_) => {
            Err(("import_secret", Fault::OutOfRange("1 to 512 visible ASCII characters, none of them white space")))
        }
        Imported::ImportSha256(digest) => match digest.as_ref().try_into() {
            Ok(sha256) => Ok(Fingerprint { sha256, display_prefix: String::new() }),
            Err(_) => {
                Err(("import_sha256", Fault::OutOfRange("the 32 bytes of a SHA-256, which JSON writes as base64")))
            }
        },
    }
}
