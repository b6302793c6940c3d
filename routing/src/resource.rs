//! A resource as both planes hold it: a name and the bytes that travel. Decoding is the compiler's business.

use std::fmt;

use bytes::Bytes;
use signalbox_proto::sync::v1 as sync;

use crate::{
    name::{InvalidName, Kind, ResourceName},
    position::Digest,
};

/// One resource at one revision.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is called; its kind says what `body` is.
    pub name: ResourceName,
    /// The revision that last changed it.
    pub revision: u64,
    /// Capabilities without which a data plane must reject it.
    pub required_features: Vec<String>,
    /// A serialized `signalbox.config.v1` message. It may hold a secret.
    pub body: Bytes,
}

/// Why a resource from the wire is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResource {
    /// A kind that this build does not know.
    #[error("resource `{name}` is of the unknown kind `{kind}`")]
    Kind {
        /// The kind's word.
        kind: String,
        /// The resource's name.
        name: String,
    },
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Its name belongs to another kind.
    #[error("resource `{name}` is said to be a {kind}")]
    Mismatch {
        /// The kind's word.
        kind: Kind,
        /// The resource's name.
        name: ResourceName,
    },
}

impl Resource {
    /// Reads a resource from the wire.
    ///
    /// # Errors
    /// [`InvalidResource`] where kind and name are unknown or do not agree.
    pub fn from_wire(wire: sync::Resource) -> Result<Self, InvalidResource> {
        let sync::Resource { kind, name, revision, required_features, body } = wire;
        Ok(Self { name: name_from_wire(&kind, &name)?, revision, required_features, body })
    }

    /// The resource as it travels.
    #[must_use]
    pub fn to_wire(&self) -> sync::Resource {
        sync::Resource {
            kind: self.name.kind().as_str().to_owned(),
            name: self.name.as_str().to_owned(),
            revision: self.revision,
            required_features: self.required_features.clone(),
            body: self.body.clone(),
        }
    }

    /// Its share of the digest of everything held.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.name, &self.body)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.name, self.revision, self.body.len())
    }
}

/// Reads the name of a resource from the two words that carry it.
///
/// # Errors
/// [`InvalidResource`] where kind and name are unknown or do not agree.
pub fn name_from_wire(kind: &str, name: &str) -> Result<ResourceName, InvalidResource> {
    let Some(expected) = Kind::from_wire(kind) else {
        return Err(InvalidResource::Kind { kind: kind.to_owned(), name: name.to_owned() });
    };
    let name = ResourceName::parse(name)?;
    if name.kind() == expected { Ok(name) } else { Err(InvalidResource::Mismatch { kind: expected, name }) }
}

/// One step from one state to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The resource is made, or replaced as a whole.
    Upsert(Resource),
    /// The resource is removed.
    Remove(ResourceName),
}

impl Change {
    /// The resource it is about.
    #[must_use]
    pub const fn name(&self) -> &ResourceName {
        match self {
            Self::Upsert(resource) => &resource.name,
            Self::Remove(name) => name,
        }
    }

    /// The resource that it is about, and what becomes of it; `None` = it is removed.
    pub(crate) const fn step(&self) -> (&ResourceName, Option<&Resource>) {
        match self {
            Self::Upsert(resource) => (&resource.name, Some(resource)),
            Self::Remove(name) => (name, None),
        }
    }
}
