//! What was said of an admin token as text: proto JSON, so that a new field is no migration.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde::de::Error as _;
use sha2::{Digest as _, Sha256};
use signalbox_proto::{DESCRIPTORS, admin::v1::AdminToken};

use crate::message::is_output_only;

/// Why a stored text is no token.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not the proto JSON of one.
    #[error("its spec is not the JSON of an AdminToken")]
    Json(#[from] serde_json::Error),
    /// It expires at no time that there is.
    #[error("it expires at no time")]
    Time(#[source] prost_types::TimestampError),
}

/// The schema of a token.
pub(crate) fn descriptor() -> MessageDescriptor {
    #[expect(clippy::expect_used, reason = "the schemas are compiled in, and every test of tokens asks for it")]
    DESCRIPTORS.get_message_by_name("signalbox.admin.v1.AdminToken").expect("tokens have a schema")
}

/// A token by its schema.
pub(crate) fn dynamic(said: &AdminToken) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor());
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_from(said).expect("a generated type has the fields of its schema");
    dynamic
}

/// A token as its generated type.
pub(crate) fn typed(dynamic: &DynamicMessage) -> AdminToken {
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_to().expect("a generated type has the fields of its schema")
}

/// What is kept of it as text, its keys in order. What is in columns, and what only the control plane sets, is left out.
pub(super) fn write(said: &AdminToken) -> String {
    let mut kept = dynamic(said);
    for field in descriptor().fields() {
        if is_output_only(&field) || matches!(field.name(), "name" | "etag" | "certificate_name") {
            kept.clear_field(&field);
        }
    }
    #[expect(clippy::expect_used, reason = "of its fields only a time could have no JSON, and that was judged before")]
    serde_json::to_value(&kept).expect("a token has a JSON").to_string()
}

/// What was kept of a token.
pub(super) fn read(text: &str) -> Result<AdminToken, Unreadable> {
    let mut json = serde_json::Deserializer::from_str(text);
    let kept = DynamicMessage::deserialize(descriptor(), &mut json)?;
    json.end()?;
    Ok(kept.transcode_to().map_err(serde_json::Error::custom)?)
}

/// What identifies a version (AIP-154), quotes included.
pub(super) fn etag(version: u64, spec: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(spec).into();
    let short: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{version}-{short}\"")
}

#[cfg(test)]
mod tests {
    use signalbox_proto::admin::v1::Role;

    use super::*;

    #[test]
    fn what_is_kept_is_what_was_said_and_no_secret() {
        let said = AdminToken {
            name: "adminTokens/a".to_owned(),
            secret: "sb_admin_secret".to_owned(),
            role: Role::KeyIssuer.into(),
            display_name: "CI".to_owned(),
            certificate_name: "ci.test".to_owned(),
            ..AdminToken::default()
        };
        let text = write(&said);
        assert_eq!(text, r#"{"displayName":"CI","role":"ROLE_KEY_ISSUER"}"#);
        let kept = AdminToken { name: String::new(), secret: String::new(), certificate_name: String::new(), ..said };
        assert_eq!(read(&text).unwrap(), kept);
    }

    #[test]
    fn a_text_that_is_no_token_is_said_to_be_none() {
        for bad in ["", "[]", "{} x", r#"{"nonsense":1}"#, r#"{"role":"ROLE_KING"}"#] {
            assert!(matches!(read(bad), Err(Unreadable::Json(_))), "{bad}");
        }
    }
}
