//! A message as text: proto JSON of what the operator said, without what only the control plane sets. Driven by the schema, so
//! that a new field needs nothing here.

use std::{
    collections::{BTreeMap, HashSet},
    sync::LazyLock,
};

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use signalbox_proto::{DESCRIPTORS, admin::v1 as admin};
use signalbox_routing::{Kind, ResourceName};

use super::{ClientKey, Message};
use crate::key::Fingerprint;

/// Why a stored text is no message of its kind.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The text is not the proto JSON of the kind.
    #[error("its spec is not the JSON of a {kind}")]
    Json {
        /// The kind that was expected.
        kind: Kind,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The fields do not fit the generated type.
    #[error("its spec is not a {kind}")]
    Fields {
        /// The kind that was expected.
        kind: Kind,
        /// What the decoder says.
        #[source]
        source: prost::DecodeError,
    },
    /// A client key without the digest it is known by.
    #[error("a client key's digest has {0} bytes instead of 32")]
    Digest(usize),
}

/// The schema of a kind's message.
#[must_use]
pub fn descriptor(kind: Kind) -> MessageDescriptor {
    let name = match kind {
        Kind::Settings => "signalbox.admin.v1.Settings",
        Kind::Provider => "signalbox.admin.v1.Provider",
        Kind::Credential => "signalbox.admin.v1.Credential",
        Kind::ClientKey => "signalbox.admin.v1.ClientKey",
        Kind::Redirect => "signalbox.admin.v1.Redirect",
        Kind::Route => "signalbox.admin.v1.Route",
    };
    #[expect(clippy::expect_used, reason = "the schemas are compiled in, and a test asks for every kind")]
    DESCRIPTORS.get_message_by_name(name).expect("every kind has a message")
}

/// Fields that a spec leaves out: they are in columns, or in the place that a version has in history.
static LEFT_OUT: LazyLock<BTreeMap<Kind, Vec<FieldDescriptor>>> = LazyLock::new(|| {
    let left_out = |kind| (kind, descriptor(kind).fields().filter(is_left_out).collect());
    Kind::ALL.into_iter().map(left_out).collect()
});

fn is_left_out(field: &FieldDescriptor) -> bool {
    // Nobody can compute a key's prefix again once the key is gone.
    let kept = field.full_name() == "signalbox.admin.v1.ClientKey.display_prefix";
    !kept && (field.name() == "etag" || is_output_only(field) || has_behavior(field, IDENTIFIER))
}

const OUTPUT_ONLY: i32 = 3;
const IDENTIFIER: i32 = 8;

/// Whether `google.api.field_behavior` says this of a field.
fn has_behavior(field: &FieldDescriptor, behavior: i32) -> bool {
    let Some(extension) = DESCRIPTORS.get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let behaviors = options.get_extension(&extension);
    behaviors.as_list().is_some_and(|list| list.contains(&Value::EnumNumber(behavior)))
}

/// The fields that only the control plane sets, by full name. Options are decoded each time that they are looked at, so that is
/// done once.
static OUTPUT: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let fields = DESCRIPTORS.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(|field| has_behavior(field, OUTPUT_ONLY)).map(|field| field.full_name().to_owned()).collect()
});

/// Whether only the control plane sets it.
pub(crate) fn is_output_only(field: &FieldDescriptor) -> bool {
    OUTPUT.contains(field.full_name())
}

impl Message {
    /// The message by its schema, as operators see it.
    #[must_use]
    pub fn dynamic(&self) -> DynamicMessage {
        match self {
            Self::Settings(said) => dynamic(Kind::Settings, said),
            Self::Provider(said) => dynamic(Kind::Provider, said.as_ref()),
            Self::Credential(said) => dynamic(Kind::Credential, said),
            Self::ClientKey(key) => dynamic(Kind::ClientKey, key.said()),
            Self::Redirect(said) => dynamic(Kind::Redirect, said),
            Self::Route(said) => dynamic(Kind::Route, said.as_ref()),
        }
    }

    /// What is kept of it: what the operator said, and for a client key the digest it is known by.
    pub(crate) fn kept(&self) -> DynamicMessage {
        let mut kept = self.dynamic();
        if let Self::ClientKey(key) = self {
            kept.set_field_by_name(DIGEST, Value::Bytes(key.sha256.to_vec().into()));
        }
        for field in LEFT_OUT.get(&self.kind()).into_iter().flatten() {
            kept.clear_field(field);
        }
        kept
    }

    /// The message again, from its name and what was kept of it.
    pub(crate) fn from_kept(name: &ResourceName, kept: &DynamicMessage) -> Result<Self, Unreadable> {
        let kind = name.kind();
        let unreadable = |source| Unreadable::Fields { kind, source };
        let mut message = match kind {
            Kind::Settings => Self::Settings(kept.transcode_to().map_err(unreadable)?),
            Kind::Provider => Self::Provider(kept.transcode_to().map_err(unreadable)?),
            Kind::Credential => Self::Credential(kept.transcode_to().map_err(unreadable)?),
            Kind::ClientKey => Self::ClientKey(client_key(kept.transcode_to().map_err(unreadable)?)?),
            Kind::Redirect => Self::Redirect(kept.transcode_to().map_err(unreadable)?),
            Kind::Route => Self::Route(kept.transcode_to().map_err(unreadable)?),
        };
        message.set_name(name);
        Ok(message)
    }
}

/// The field that carries a client key's digest in what is kept of it.
const DIGEST: &str = "import_sha256";

fn client_key(kept: admin::ClientKey) -> Result<ClientKey, Unreadable> {
    let digest = match &kept.imported {
        Some(admin::client_key::Imported::ImportSha256(digest)) => digest.clone(),
        _ => Bytes::new(),
    };
    let sha256 = digest.as_ref().try_into().map_err(|_| Unreadable::Digest(digest.len()))?;
    let fingerprint = Fingerprint { sha256, display_prefix: kept.display_prefix.clone() };
    Ok(ClientKey::new(kept, fingerprint))
}

/// A generated message of a kind by its schema.
pub(crate) fn dynamic(kind: Kind, said: &impl prost::Message) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor(kind));
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_from(said).expect("a generated type has the fields of its schema");
    dynamic
}

/// What is kept, as the text that is stored: proto JSON with its keys in order, so that equal messages are equal texts.
pub(crate) fn write(kept: &DynamicMessage) -> Result<String, serde_json::Error> {
    // A value's objects are sorted; a message's maps are not.
    serde_json::to_value(kept).map(|value| value.to_string())
}

/// What is kept, from the text that is stored.
pub(crate) fn read(kind: Kind, text: &str) -> Result<DynamicMessage, Unreadable> {
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(descriptor(kind), &mut json)
        .and_then(|kept| json.end().map(|()| kept))
        .map_err(|source| Unreadable::Json { kind, source })
}
