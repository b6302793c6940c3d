//! A message as few bytes, for the many that are held and hardly ever looked at: its own encoding; of a client key, of which there may
//! be very many, only what data planes are not told of it.

use prost::Message as _;
use signalbox_proto::{admin::v1 as admin, config::v1 as config};
use signalbox_routing::{Kind, Resource};

use crate::{
    key::Fingerprint,
    message::{ClientKey, Message},
};

/// What has to be kept of a message beside the resource that was made of it.
#[derive(Debug, Clone)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Of this message.
    pub(super) fn of(message: &Message) -> Self {
        let bytes = match message {
            Message::Settings(said) => said.encode_to_vec(),
            Message::Provider(said) => said.encode_to_vec(),
            Message::Credential(said) => said.encode_to_vec(),
            Message::ClientKey(key) => untold(key.said()).encode_to_vec(),
            Message::Redirect(said) => said.encode_to_vec(),
            Message::Route(said) => said.encode_to_vec(),
        };
        Self(bytes.into())
    }

    /// The message again, from the resource that was made of it.
    pub(super) fn unpack(&self, resource: &Resource) -> Message {
        match resource.name.kind() {
            Kind::Settings => Message::Settings(decode(&self.0)),
            Kind::Provider => Message::Provider(decode(&self.0)),
            Kind::Credential => Message::Credential(decode(&self.0)),
            Kind::ClientKey => Message::ClientKey(client_key(decode(&self.0), resource)),
            Kind::Redirect => Message::Redirect(decode(&self.0)),
            Kind::Route => Message::Route(decode(&self.0)),
        }
    }
}

fn decode<M: prost::Message + Default>(bytes: &[u8]) -> M {
    #[expect(clippy::expect_used, reason = "the bytes were made from a message of the same type")]
    M::decode(bytes).expect("what was packed is a message")
}

/// What data planes are not told of a client key.
fn untold(said: &admin::ClientKey) -> admin::ClientKey {
    let admin::ClientKey {
        name: _,
        secret: _,
        imported: _,
        display_prefix,
        allowed_models: _,
        expire_time: _,
        disabled: _,
        display_name,
        limits: _,
        labels: _,
        create_time,
        update_time,
        revision: _,
        etag,
    } = said;
    admin::ClientKey {
        display_prefix: display_prefix.clone(),
        display_name: display_name.clone(),
        create_time: *create_time,
        update_time: *update_time,
        etag: etag.clone(),
        ..admin::ClientKey::default()
    }
}

fn client_key(untold: admin::ClientKey, resource: &Resource) -> ClientKey {
    let config::ClientKey { id: _, sha256, allowed_models, expire_time, disabled, labels, limits } =
        decode(&resource.body);
    let sha256 = sha256.as_ref().try_into().unwrap_or_default();
    let fingerprint = Fingerprint { sha256, display_prefix: untold.display_prefix.clone() };
    let (name, revision) = (resource.name.as_str().to_owned(), resource.revision);
    let said = admin::ClientKey { name, revision, allowed_models, expire_time, disabled, labels, limits, ..untold };
    ClientKey::new(said, fingerprint)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use signalbox_routing::ResourceName;

    use super::*;
    use crate::{convert, message::Stamp};

    /// Every field that an operator can set.
    fn whole_client_key() -> ClientKey {
        let said = admin::ClientKey {
            allowed_models: vec!["a/*".to_owned(), "b".to_owned()],
            expire_time: Some(prost_types::Timestamp { seconds: 7, nanos: 8 }),
            disabled: true,
            display_name: "somebody's".to_owned(),
            limits: Some(config::Limits { requests_per_minute: Some(1), ..Default::default() }),
            labels: [("a".to_owned(), String::new())].into(),
            ..Default::default()
        };
        ClientKey::new(said, Fingerprint { sha256: [7; 32], display_prefix: "sb_abcde".to_owned() })
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let route = admin::Route { labels: [("a".to_owned(), String::new())].into(), ..Default::default() };
        let redirect = admin::Redirect { from: "m".to_owned(), ..Default::default() };
        for (name, message) in [
            ("settings", Message::from(admin::Settings { keyless_models: true, ..Default::default() })),
            ("providers/a", admin::Provider { models: vec!["m".to_owned()], ..Default::default() }.into()),
            ("providers/a/credentials/b", admin::Credential { weight: Some(2), ..Default::default() }.into()),
            ("clientKeys/a", whole_client_key().into()),
            ("redirects/a", redirect.into()),
            ("routes/a", route.into()),
        ] {
            let (name, mut message) = (ResourceName::parse(name).unwrap(), message);
            let at = UNIX_EPOCH + Duration::new(3, 4);
            message.set_name(&name);
            message.stamp(&Stamp { revision: 5, create_time: at, update_time: at, secret_version: 6 }, "{}");
            let body = convert::body(&name, &message).unwrap();
            let resource = Resource { name, revision: 5, required_features: Vec::new(), body };
            assert_eq!(Packed::of(&message).unpack(&resource), message);
        }
    }
}
