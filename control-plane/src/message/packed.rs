//! A message as few bytes: its own encoding, for the many that are held and hardly ever looked at.

use bytes::Bytes;
use prost::Message as _;
use signalbox_proto::admin::v1::{self as admin, client_key::Imported};
use signalbox_routing::Kind;

use super::{ClientKey, Message};
use crate::key::Fingerprint;

/// A message of a kind that whoever holds it knows.
#[derive(Debug, Clone)]
pub(crate) struct Packed(Box<[u8]>);

impl Message {
    /// The message as few bytes.
    pub(crate) fn pack(&self) -> Packed {
        let bytes = match self {
            Self::Settings(said) => said.encode_to_vec(),
            Self::Provider(said) => said.encode_to_vec(),
            Self::Credential(said) => said.encode_to_vec(),
            Self::ClientKey(key) => {
                let digest = Bytes::copy_from_slice(key.sha256());
                let imported = Some(Imported::ImportSha256(digest));
                admin::ClientKey { imported, ..key.said().clone() }.encode_to_vec()
            }
            Self::Redirect(said) => said.encode_to_vec(),
            Self::Route(said) => said.encode_to_vec(),
        };
        Packed(bytes.into())
    }
}

impl Packed {
    /// The message again.
    pub(crate) fn unpack(&self, kind: Kind) -> Message {
        match kind {
            Kind::Settings => Message::Settings(self.decode()),
            Kind::Provider => Message::Provider(self.decode()),
            Kind::Credential => Message::Credential(self.decode()),
            Kind::ClientKey => Message::ClientKey(client_key(self.decode())),
            Kind::Redirect => Message::Redirect(self.decode()),
            Kind::Route => Message::Route(self.decode()),
        }
    }

    fn decode<M: prost::Message + Default>(&self) -> M {
        #[expect(clippy::expect_used, reason = "the bytes were made from a message of the same type")]
        M::decode(&*self.0).expect("what was packed is a message")
    }
}

fn client_key(said: admin::ClientKey) -> ClientKey {
    let sha256 = match &said.imported {
        Some(Imported::ImportSha256(digest)) => digest.as_ref().try_into().unwrap_or_default(),
        _ => [0; 32],
    };
    let fingerprint = Fingerprint { sha256, display_prefix: said.display_prefix.clone() };
    ClientKey::new(said, fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let key =
            admin::ClientKey { name: "clientKeys/a".to_owned(), etag: "\"7-00\"".to_owned(), ..Default::default() };
        let fingerprint = Fingerprint { sha256: [7; 32], display_prefix: "sb_abcde".to_owned() };
        let route =
            admin::Route { labels: [("a".to_owned(), String::new())].into(), revision: 3, ..Default::default() };
        let provider = admin::Provider { models: vec!["m".to_owned()], ..Default::default() };
        let redirect = admin::Redirect { from: "m".to_owned(), ..Default::default() };
        for message in [
            Message::from(admin::Settings { keyless_models: true, ..Default::default() }),
            provider.into(),
            admin::Credential { secret_version: 2, ..Default::default() }.into(),
            ClientKey::new(key, fingerprint).into(),
            redirect.into(),
            route.into(),
        ] {
            assert_eq!(message.pack().unpack(message.kind()), message);
        }
    }
}
