//! Bundles in and out of bytes: the form in which configuration travels and rests. Everything is bounded before it is believed.

use std::io::{self, Read};

use bytes::Bytes;
use prost::Message as _;
use signalbox_proto::sync::v1 as sync;
use signalbox_routing::{InvalidPosition, InvalidResource, Position, Resource, name_from_wire};

use super::Update;

/// Longest bundle that is decoded, in bytes after decompression: some two million client keys.
pub(crate) const MAX_DECODED_BYTES: u64 = 256 * 1024 * 1024;

/// How a bundle's bytes are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Identity,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Why bytes are no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecodable {
    /// Not of the announced length after decompression.
    #[error("the bundle has {found} bytes or more instead of {announced}")]
    Length {
        /// What was announced.
        announced: u64,
        /// Where counting stopped.
        found: u64,
    },
    /// Not readable as Zstandard.
    #[error("the bundle cannot be decompressed")]
    Compression(#[source] io::Error),
    /// No protobuf message of the kind.
    #[error("the bundle is not a message")]
    Message(#[from] prost::DecodeError),
    /// It states no target.
    #[error("the bundle has no target")]
    Target,
    /// A position in it is none.
    #[error(transparent)]
    Position(#[from] InvalidPosition),
    /// A resource in it is none.
    #[error(transparent)]
    Resource(#[from] InvalidResource),
}

/// Reads a bundle of exactly `length` bytes after decompression; the caller has checked that against [`MAX_DECODED_BYTES`].
///
/// # Errors
/// [`Undecodable`] where the bytes are anything else than a well-formed bundle of that length.
pub(crate) fn decode(encoded: &[u8], encoding: Encoding, length: u64) -> Result<Update, Undecodable> {
    let bytes = match encoding {
        Encoding::Identity => read_exactly(encoded, length)?,
        Encoding::Zstd => {
            read_exactly(zstd::stream::read::Decoder::new(encoded).map_err(Undecodable::Compression)?, length)?
        }
    };
    // Bodies are slices of this one buffer: a full snapshot costs one allocation instead of one for each resource.
    Update::from_wire(sync::Bundle::decode(bytes)?)
}

fn read_exactly(source: impl Read, length: u64) -> Result<Bytes, Undecodable> {
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(MAX_DECODED_BYTES)).unwrap_or_default());
    // One byte more than announced tells a bundle that is too long without reading on.
    source.take(length.saturating_add(1)).read_to_end(&mut bytes).map_err(Undecodable::Compression)?;
    let found = bytes.len() as u64;
    if found == length { Ok(bytes.into()) } else { Err(Undecodable::Length { announced: length, found }) }
}

impl Update {
    fn from_wire(wire: sync::Bundle) -> Result<Self, Undecodable> {
        let sync::Bundle { base, target, upserts, removes } = wire;
        Ok(Self {
            base: base.as_ref().map(Position::from_wire).transpose()?,
            target: Position::from_wire(target.as_ref().ok_or(Undecodable::Target)?)?,
            upserts: upserts.into_iter().map(Resource::from_wire).collect::<Result<_, _>>()?,
            removes: removes.iter().map(|gone| name_from_wire(&gone.kind, &gone.name)).collect::<Result<_, _>>()?,
        })
    }
}
