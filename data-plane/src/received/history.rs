//! A control plane's history for tests: what was held at a revision, and the bundles that lead there.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use signalbox_proto::{config::v1 as config, sync::v1 as sync};
use signalbox_routing::{Digest, Position, Resource, ResourceName, Revision};

use super::Update;

/// Everything held at one revision. A clone stays behind as the past.
#[derive(Debug, Clone)]
pub(crate) struct History {
    epoch: &'static str,
    revision: u64,
    pub(crate) resources: BTreeMap<ResourceName, Resource>,
}

impl History {
    /// Revision 1: nothing is configured.
    pub(crate) fn new(epoch: &'static str) -> Self {
        Self { epoch, revision: 1, resources: BTreeMap::new() }
    }

    /// A revision that makes or replaces a client key.
    pub(crate) fn key(self, id: &str, secret: &str) -> Self {
        let body = config::ClientKey {
            id: id.to_owned(),
            sha256: Bytes::copy_from_slice(&sha256(secret)),
            ..config::ClientKey::default()
        };
        self.put(&format!("clientKeys/{id}"), body.encode_to_vec())
    }

    /// A revision that makes or replaces a resource.
    pub(crate) fn put(mut self, name: &str, body: impl Into<Bytes>) -> Self {
        self.revision += 1;
        let name = ResourceName::parse(name).unwrap();
        let resource =
            Resource { name: name.clone(), revision: self.revision, required_features: Vec::new(), body: body.into() };
        self.resources.insert(name, resource);
        self
    }

    /// A revision that removes a resource, if it is there.
    pub(crate) fn remove(mut self, name: &str) -> Self {
        self.revision += 1;
        self.resources.remove(&ResourceName::parse(name).unwrap());
        self
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.epoch.into(),
            revision: Revision::new(self.revision).unwrap(),
            digest: self.resources.values().map(Resource::digest).fold(Digest::default(), Digest::with),
        }
    }

    pub(crate) fn full(&self) -> sync::Bundle {
        sync::Bundle {
            base: None,
            target: Some(self.position().to_wire()),
            upserts: self.resources.values().map(Resource::to_wire).collect(),
            removes: Vec::new(),
        }
    }

    pub(crate) fn since(&self, base: &Self) -> sync::Bundle {
        let changed = self.resources.values().filter(|resource| base.resources.get(&resource.name) != Some(resource));
        let removed = base.resources.keys().filter(|name| !self.resources.contains_key(name));
        sync::Bundle {
            base: Some(base.position().to_wire()),
            target: Some(self.position().to_wire()),
            upserts: changed.map(Resource::to_wire).collect(),
            removes: removed
                .map(|name| sync::ResourceRef { kind: name.kind().as_str().into(), name: name.as_str().into() })
                .collect(),
        }
    }
}

/// A bundle as it is received.
pub(crate) fn update(bundle: &sync::Bundle) -> Update {
    let bytes = bundle.encode_to_vec();
    super::decode(&bytes, super::Encoding::Identity, bytes.len() as u64).unwrap()
}

pub(crate) fn sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}
