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
        Err(value::refused(text, "must be the provider in the credential's name"))
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
            let rule = "must be the name of an environment variable";
            faults.take("secret_ref.env", place(&variable, &['=', '\0'], rule)).map(SecretSource::Env)
        }
        Source::SecretRef(config::SecretRef { at: Some(At::File(path)) }) => {
            faults.take("secret_ref.file", place(&path, &['\0'], "must be the path of a file")).map(SecretSource::File)
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

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::{
        fixture::{credential, faults, provider, runtime},
        resource::Change,
    };

    fn reference(at: Option<At>) -> Option<Source> {
        Some(Source::SecretRef(config::SecretRef { at }))
    }

    #[test]
    fn a_provider_has_its_credentials_in_use_by_id() {
        let runtime = runtime(&[
            provider("p", |_| {}),
            provider("q", |_| {}),
            credential("p", "c", |c| c.source = reference(Some(At::File("/run/key".into())))),
            credential("p", "b", |c| c.disabled = true),
            credential("p", "a", |c| c.max_in_flight = Some(4)),
            credential("q", "d", |c| {
                c.source = reference(Some(At::Env("KEY".into())));
                c.weight = Some(0);
            }),
        ]);
        let found: Vec<_> = runtime.providers().flat_map(|provider| &provider.credentials).collect();
        let facts: Vec<_> = found.iter().map(|c| (&*c.name, c.weight, c.max_in_flight)).collect();
        assert_eq!(
            facts,
            [
                ("providers/p/credentials/a", 1, Some(4)),
                ("providers/p/credentials/c", 1, None),
                ("providers/q/credentials/d", 0, None),
            ]
        );
        assert!(matches!(&found[0].source, SecretSource::Inline(secret) if secret.expose_secret() == "sk-p-a"));
        assert!(matches!(&found[1].source, SecretSource::File(path) if &**path == "/run/key"));
        assert!(matches!(&found[2].source, SecretSource::Env(name) if &**name == "KEY"));
    }

    #[test]
    fn its_version_is_the_digest_of_its_body() {
        let change = credential("p", "a", |_| {});
        let Change::Upsert(resource) = &change else { panic!("an upsert") };
        let expected: [u8; 32] = Sha256::digest(&resource.body).into();
        let runtime = runtime(&[provider("p", |_| {}), change.clone()]);
        assert_eq!(runtime.providers().next().unwrap().credentials[0].version, expected);
    }

    #[test]
    fn every_fault_is_found() {
        let faults = faults(&[
            provider("p", |_| {}),
            provider("q", |_| {}),
            credential("p", "a", |c| {
                c.id = "b".into();
                c.provider = "q".into();
                c.source = None;
                c.weight = Some(1_000_001);
                c.max_in_flight = Some(0);
            }),
            credential("p", "b", |c| c.source = Some(Source::Secret(String::new()))),
            credential("p", "c", |c| c.source = Some(Source::Secret("sk\r\n".into()))),
            credential("p", "d", |c| c.source = reference(None)),
            credential("p", "e", |c| c.source = reference(Some(At::Env("A=B".into())))),
            credential("p", "f", |c| c.source = reference(Some(At::File(String::new())))),
            credential("gone", "g", |_| {}),
        ]);
        assert_eq!(
            faults,
            [
                "providers/gone/credentials/g provider DANGLING_REFERENCE",
                "providers/p/credentials/a id INVALID_TEXT",
                "providers/p/credentials/a provider INVALID_TEXT",
                "providers/p/credentials/a secret FIELD_REQUIRED",
                "providers/p/credentials/a weight OUT_OF_RANGE",
                "providers/p/credentials/a max_in_flight OUT_OF_RANGE",
                "providers/p/credentials/b secret FIELD_REQUIRED",
                "providers/p/credentials/c secret INVALID_HEADER",
                "providers/p/credentials/d secret_ref FIELD_REQUIRED",
                "providers/p/credentials/e secret_ref.env INVALID_TEXT",
                "providers/p/credentials/f secret_ref.file FIELD_REQUIRED",
            ]
        );
    }
}
