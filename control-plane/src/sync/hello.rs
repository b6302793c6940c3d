//! Reads the first message of a stream: who joins, what it holds, and whether there is a schema level for both sides.

use std::net::IpAddr;

use signalbox_proto::sync::v1::{self as sync, WatchRequest, watch_request::Message};
use signalbox_routing::{InvalidPosition, Position, SCHEMA};

use super::refusal::Refusal;
use crate::replicas::Joining;

/// Longest text that a replica says of itself, in bytes.
const MAX_TEXT_BYTES: usize = 128;

/// Most features that a replica has.
const MAX_FEATURES: usize = 64;

/// Why a hello cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidHello {
    /// The id is empty, too long, or holds what no id holds.
    #[error("a replica id is 1 to {MAX_TEXT_BYTES} letters, digits, hyphens, underscores and dots")]
    ReplicaId,
    /// The boot id is empty or too long.
    #[error("a boot id has 1 to {MAX_TEXT_BYTES} bytes")]
    BootId,
    /// The version is too long.
    #[error("a version has at most {MAX_TEXT_BYTES} bytes")]
    Version,
    /// Its features are too many or too long.
    #[error("a replica has at most {MAX_FEATURES} features of 1 to {MAX_TEXT_BYTES} bytes each")]
    Features,
    /// What it holds is no position.
    #[error(transparent)]
    Have(#[from] InvalidPosition),
    /// Its schema levels are none.
    #[error("schema levels begin at 1 and end no lower than they begin")]
    Schema,
}

/// Where and when a stream was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    /// Where from.
    pub(super) source_ip: Option<IpAddr>,
    /// The revision that was current.
    pub(super) current: u64,
}

/// Reads the first message.
///
/// # Errors
/// [`Refusal`] where it is no usable hello, or no schema level is common to both sides.
pub(super) fn read(first: Option<WatchRequest>, opened: Opened) -> Result<Joining, Refusal> {
    let Some(Message::Hello(hello)) = first.and_then(|first| first.message) else { return Err(Refusal::NoHello) };
    let sync::Hello {
        replica_id,
        boot_id,
        have,
        min_schema,
        max_schema,
        features,
        version,
        rejections,
        rejection_count: _,
    } = hello;
    let is_id_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=MAX_TEXT_BYTES).contains(&replica_id.len()) || !replica_id.bytes().all(is_id_byte) {
        return Err(InvalidHello::ReplicaId.into());
    }
    if !(1..=MAX_TEXT_BYTES).contains(&boot_id.len()) {
        return Err(InvalidHello::BootId.into());
    }
    if version.len() > MAX_TEXT_BYTES {
        return Err(InvalidHello::Version.into());
    }
    // Which ones is its own affair: it rejects the resources that need one that it does not have.
    if features.len() > MAX_FEATURES || !features.iter().all(|feature| (1..=MAX_TEXT_BYTES).contains(&feature.len())) {
        return Err(InvalidHello::Features.into());
    }
    if min_schema == 0 || max_schema < min_schema {
        return Err(InvalidHello::Schema.into());
    }
    // One level so far; the highest common one as soon as there are more.
    if !(min_schema..=max_schema).contains(&SCHEMA) {
        return Err(Refusal::Schema { min: min_schema, max: max_schema });
    }
    let have = have.as_ref().map(Position::from_wire).transpose().map_err(InvalidHello::Have)?;
    let Opened { source_ip, current } = opened;
    let id = replica_id.into();
    Ok(Joining { id, boot_id, version, schema: max_schema, features, source_ip, have, rejections, current })
}
