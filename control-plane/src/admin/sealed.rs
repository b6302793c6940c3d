//! The secrets of a configuration as one sealed blob, out of one database and into another: an encoded `Config` of the resources that
//! have any, and of what client keys are known by.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use signalbox_proto::admin::v1::{ClientKey, Config, client_key::Imported};
use signalbox_routing::ResourceName;
use zeroize::Zeroizing;

use super::error::Violation;
use crate::{
    key::Fingerprint,
    message::{self, Message},
    seal::{ExportError, ExportKey},
    secrets,
    state::Stored,
};

/// Secrets that came sealed, by resource.
#[derive(Debug, Default)]
pub(crate) struct Sealed(BTreeMap<ResourceName, Message>);

impl Sealed {
    /// Opens what came with a request.
    ///
    /// # Errors
    /// Where it is no export, is sealed under another master key, or has been damaged.
    pub(crate) fn open(key: &ExportKey, sealed: &[u8]) -> Result<Self, Violation> {
        if sealed.is_empty() {
            return Ok(Self::default());
        }
        let config =
            key.open(sealed).and_then(|plain| Config::decode(plain.as_slice()).map_err(|_| ExportError::Damaged));
        let config = config.map_err(violation)?;
        let named = messages(config).into_iter().map(|message| Some((message.name().ok()?, message)));
        named.collect::<Option<_>>().map(Self).ok_or_else(|| violation(ExportError::Damaged))
    }

    /// What a client key is known by, as though it were stored.
    pub(super) fn client_key(&self, name: &ResourceName) -> Option<&Message> {
        self.0.get(name).filter(|message| matches!(message, Message::ClientKey(_)))
    }

    /// The resource with the secrets that it has room for and does not bring itself.
    pub(super) fn fill(&self, name: &ResourceName, message: Message) -> Message {
        let Some(sealed) = self.0.get(name).filter(|sealed| !matches!(sealed, Message::ClientKey(_))) else {
            return message;
        };
        let held = secrets::take(&mut sealed.dynamic());
        let mut whole = message.dynamic();
        let mut given = secrets::take(&mut whole);
        for path in secrets::vacancies(&mut whole) {
            if let (false, Some(secret)) = (given.contains_key(&path), held.get(&path)) {
                given.insert(path, secret.clone());
            }
        }
        secrets::put(&mut whole, &given);
        Message::from_kept(name, &whole).unwrap_or(message)
    }
}

fn violation(error: ExportError) -> Violation {
    let reason = match &error {
        ExportError::Shape => "NO_SEALED_EXPORT",
        ExportError::WrongMasterKey { .. } => "OTHER_MASTER_KEY",
        ExportError::Damaged => "SEALED_DAMAGED",
    };
    Violation::new("sealed", reason, error)
}

/// Seals the secrets of these resources, as they are at present.
pub(super) fn seal<'a>(key: &ExportKey, resources: impl Iterator<Item = &'a Stored>) -> Bytes {
    let mut config = Config::default();
    resources.filter_map(secret_part).for_each(|message| put(&mut config, message));
    let plain = Zeroizing::new(config.encode_to_vec());
    key.seal(&plain).into()
}

/// The resource with its secrets inside, if it has any.
fn secret_part(stored: &Stored) -> Option<Message> {
    let message = stored.message();
    if matches!(message, Message::ClientKey(_)) {
        return Some(message);
    }
    let secrets = secrets::of_body(&stored.resource);
    if secrets.is_empty() {
        return None;
    }
    let mut whole = message.unstamped().dynamic();
    secrets::put(&mut whole, &secrets);
    Message::from_kept(&stored.resource.name, &whole).ok()
}

/// Adds a resource to a document; of a client key, what it is known by too.
fn put(config: &mut Config, message: Message) {
    match message {
        Message::ClientKey(key) => {
            let imported = Some(Imported::ImportSha256(Bytes::copy_from_slice(key.sha256())));
            let ClientKey { name, display_prefix, .. } = key.said().clone();
            let known_by = ClientKey { name, display_prefix, imported, ..ClientKey::default() };
            config.client_keys.push(known_by);
        }
        message => super::export::add(config, message),
    }
}

/// The resources of a document that was made here.
fn messages(config: Config) -> Vec<Message> {
    let Config { providers, credentials, client_keys, redirects, routes, settings } = config;
    let keys = client_keys.into_iter().filter_map(|key| {
        let Some(Imported::ImportSha256(digest)) = &key.imported else { return None };
        let sha256 = digest.as_ref().try_into().ok()?;
        let fingerprint = Fingerprint { sha256, display_prefix: key.display_prefix.clone() };
        Some(message::ClientKey::new(key, fingerprint).into())
    });
    let mut messages: Vec<Message> = keys.collect();
    messages.extend(providers.into_iter().map(Message::from));
    messages.extend(credentials.into_iter().map(Message::from));
    messages.extend(redirects.into_iter().map(Message::from));
    messages.extend(routes.into_iter().map(Message::from));
    messages.extend(settings.map(Message::from));
    messages
}
