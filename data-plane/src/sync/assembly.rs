//! Puts an update together from begin, chunks and end, under its limits. It decodes nothing.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use signalbox_proto::sync::v1 as sync;
use signalbox_routing::{InvalidPosition, Position};

use crate::received::{Encoding, MAX_DECODED_BYTES};

/// Largest chunk, in bytes.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The update that is arriving, if one is.
#[derive(Debug, Default)]
pub(super) struct Inbox(Option<Arriving>);

#[derive(Debug)]
struct Arriving {
    id: String,
    update: Result<Partial, Defect>,
}

#[derive(Debug)]
struct Partial {
    base: Option<Position>,
    target: Position,
    encoding: Encoding,
    encoded_bytes: u64,
    decoded_bytes: u64,
    bytes: BytesMut,
    hash: Sha256,
}

/// An update that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// What it is acknowledged under.
    pub id: String,
    /// The update, or why it cannot be one.
    pub update: Result<Encoded, Defect>,
}

/// A whole update, still encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    /// What a delta is relative to; `None` = a full snapshot.
    pub base: Option<Position>,
    /// What is held afterwards.
    pub target: Position,
    /// How `bytes` are encoded.
    pub encoding: Encoding,
    /// Length after decompression.
    pub decoded_bytes: u64,
    /// The encoded bundle.
    pub bytes: Bytes,
}

/// What is wrong with one update. The stream is in order, so that the update can be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Defect {
    /// It states no target.
    #[error("the update states no target")]
    Target,
    /// A position that it states is none.
    #[error(transparent)]
    Position(#[from] InvalidPosition),
    /// An encoding that this build does not know.
    #[error("the update is encoded in an unknown way")]
    Encoding,
    /// It is larger than what is taken.
    #[error("the update has {bytes} bytes, and at most {MAX_DECODED_BYTES} are taken")]
    TooLarge {
        /// Its announced length.
        bytes: u64,
    },
    /// More or fewer bytes than announced.
    #[error("the update has {found} bytes instead of {announced}")]
    Length {
        /// What was announced.
        announced: u64,
        /// What came.
        found: u64,
    },
    /// The hash is another.
    #[error("the update was damaged on the way")]
    Hash,
}

/// What no control plane may send at that moment. Nothing that follows on the stream can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// A begin before the last update ended.
    #[error("an update began inside another")]
    Nested,
    /// A chunk or an end without a begin.
    #[error("a part of an update came without its beginning")]
    Stray,
    /// An end with another id than its begin.
    #[error("an update ended under another id than it began")]
    Id,
    /// A chunk that is too large.
    #[error("a chunk is larger than {MAX_CHUNK_BYTES} bytes")]
    Chunk,
    /// A further update before the last was acknowledged.
    #[error("an update came before the last was acknowledged")]
    Unacknowledged,
    /// A message out of its place, or of no known kind.
    #[error("a message came that has no place here")]
    Message,
}

impl Inbox {
    /// Opens an update.
    pub(super) fn begin(&mut self, begin: sync::UpdateBegin) -> Result<(), Violation> {
        if self.0.is_some() {
            return Err(Violation::Nested);
        }
        self.0 = Some(Arriving { id: begin.update_id.clone(), update: Partial::announced(&begin) });
        Ok(())
    }

    /// Takes a chunk.
    pub(super) fn chunk(&mut self, data: &[u8]) -> Result<(), Violation> {
        let arriving = self.0.as_mut().ok_or(Violation::Stray)?;
        if data.len() > MAX_CHUNK_BYTES {
            return Err(Violation::Chunk);
        }
        if let Ok(partial) = &mut arriving.update
            && let Err(defect) = partial.push(data)
        {
            arriving.update = Err(defect);
        }
        Ok(())
    }

    /// Closes the update.
    pub(super) fn end(&mut self, end: &sync::UpdateEnd) -> Result<Finished, Violation> {
        let Arriving { id, update } = self.0.take().ok_or(Violation::Stray)?;
        if id != end.update_id {
            return Err(Violation::Id);
        }
        Ok(Finished { id, update: update.and_then(|partial| partial.finish(&end.sha256)) })
    }
}

impl Partial {
    fn announced(begin: &sync::UpdateBegin) -> Result<Self, Defect> {
        let encoding = match begin.encoding() {
            sync::update_begin::Encoding::Identity => Encoding::Identity,
            sync::update_begin::Encoding::Zstd => Encoding::Zstd,
            sync::update_begin::Encoding::Unspecified => return Err(Defect::Encoding),
        };
        let bytes = begin.encoded_bytes.max(begin.decoded_bytes);
        if bytes > MAX_DECODED_BYTES {
            return Err(Defect::TooLarge { bytes });
        }
        let target = begin.target.as_ref().ok_or(Defect::Target)?;
        Ok(Self {
            base: begin.base.as_ref().map(Position::from_wire).transpose()?,
            target: Position::from_wire(target)?,
            encoding,
            encoded_bytes: begin.encoded_bytes,
            decoded_bytes: begin.decoded_bytes,
            // Grows with what arrives, not with what is announced.
            bytes: BytesMut::new(),
            hash: Sha256::new(),
        })
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Defect> {
        let found = self.bytes.len() as u64 + data.len() as u64;
        if found > self.encoded_bytes {
            return Err(Defect::Length { announced: self.encoded_bytes, found });
        }
        self.hash.update(data);
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn finish(self, sha256: &[u8]) -> Result<Encoded, Defect> {
        let Self { base, target, encoding, encoded_bytes, decoded_bytes, bytes, hash } = self;
        if bytes.len() as u64 != encoded_bytes {
            return Err(Defect::Length { announced: encoded_bytes, found: bytes.len() as u64 });
        }
        if hash.finalize().as_slice() != sha256 {
            return Err(Defect::Hash);
        }
        Ok(Encoded { base, target, encoding, decoded_bytes, bytes: bytes.freeze() })
    }
}
