//! A credential from the wire.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use signalbox_proto::config::v1::{self as config, credential::Source, secret_ref::At};

use super::{Sources, Written, decode, faults::Faults, header, value};
use crate::{
    finding::Fault,
    name::{Id, ResourceName},
    runtime::{Credential, SecretSource},
};

/// A credential and the provider that it belongs to.
pub(super) struct Owned {
    pub(super) provider: Id,
    pub(super) credential: Credential,
}

pub(super) fn compile(name: &ResourceName, body: &Bytes, sources: &Sources) -> Result<Written<Owned>, Faults> {
    let config::Credential { id, provider, source, weight, max_in_flight, disabled } = decode(body)?;
    let mut faults = Faults::default();
    let id = faults.take("id", value::own_id(&id, name));
    let provider = faults.take("provider", parent(&provider, name, sources));
    let source = secret(source, &mut faults);
    let weight = faults.take("weight", value::weight(weight));
    let max_in_flight = max_in_flight
        .map(|limit| value::number(Some(limit), 1, 1..=1_000_000, "1 to 1,000,000"))
        .and_then(|limit| faults.take("max_in_flight", limit));
    faults.finish(|| {
        let credential = Credential {
            id: id?,
            name: name.as_str().into(),
            source: source?,
            weight: weight?,
            max_in_flight,
            version: Sha256::digest(body).into(),
        };
        Some(Written { value: Owned { provider: provider?, credential }, disabled })
    })
}

fn parent(text: &str, name: &ResourceName, sources: &Sources) -> Result<Id, Fault> {
    let id = value::provider(text, |provider| sources.contains_key(provider))?;
    if name.parent() == Some(ResourceName::provider(&id)) {
        Ok(id)
    } else {
        Err(value::refused(text, "the provider in the credential's name"))
    }
}

fn secret(source: Option<Source>, faults: &mut Faults) -> Option<SecretSource> {
    let Some(source) = source else { return faults.take("secret", Err(Fault::Missing)) };
    match source {
        // It is sent in a header, so that what cannot stand in one is refused here rather than at each attempt.
        Source::Secret(text) => {
            faults.take("secret", header::secret(&text)).map(|_| SecretSource::Inline(SecretString::from(text)))
        }
        Source::SecretRef(config::SecretRef { at: Some(At::Env(variable)) }) => {
            let rule = "the name of an environment variable";
            faults.take("secret_ref.env", place(&variable, &['=', '\0'], rule)).map(SecretSource::Env)
        }
        Source::SecretRef(config::SecretRef { at: Some(At::File(path)) }) => {
            faults.take("secret_ref.file", place(&path, &['\0'], "the path of a file")).map(SecretSource::File)
        }
        Source::SecretRef(config::SecretRef { at: None }) => faults.take("secret_ref", Err(Fault::Missing)),
    }
}

fn place(text: &str, never: &[char], rule: &'static str) -> Result<Arc<str>, Fault> {
    match text {
        "" => Err(Fault::Missing),
        text if text.contains(never) => Err(value::refused(text, rule)),
        text => Ok(text.into()),
    }
}
