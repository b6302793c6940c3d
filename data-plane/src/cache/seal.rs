//! The form of a cache file: a header in the clear, then the zstd-compressed bundle under XChaCha20-Poly1305 with the header as
//! associated data, so that neither can be changed or put with another.
//!
//! Header, big-endian: magic (8), format (4), schema level (4), sequence (8), revision (8), digest (32), length of the bundle before
//! compression (8), length of the epoch (1), epoch, nonce (24).

use bytes::{Buf as _, BufMut as _, TryGetError};
use chacha20poly1305::aead::{AeadCore as _, OsRng};
use chacha20poly1305::{AeadInPlace as _, KeyInit as _, XChaCha20Poly1305, XNonce};
use prost::Message as _;
use signalbox_proto::sync::v1 as sync;
use signalbox_routing::{Position, Revision, SCHEMA};

use super::{CacheKey, Corrupt, Unwritten};
use crate::received::{Encoding, MAX_DECODED_BYTES, Update, decode};

const MAGIC: &[u8; 8] = b"SBCONFIG";
const FORMAT: u32 = 1;
const NONCE_BYTES: usize = 24;

/// Hashes and sealed secrets do not compress, so that a higher level costs time and saves nothing.
const ZSTD_LEVEL: i32 = 1;

/// A cache file in memory.
pub(super) struct Sealed {
    bytes: Vec<u8>,
    header_bytes: usize,
    header: Header,
}

struct Header {
    sequence: u64,
    position: Position,
    decoded_bytes: u64,
    nonce: XNonce,
}

impl Sealed {
    /// Seals a full snapshot.
    pub(super) fn seal(snapshot: &sync::Bundle, sequence: u64, key: &CacheKey) -> Result<Self, Unwritten> {
        let position = snapshot.target.as_ref().and_then(|target| Position::from_wire(target).ok());
        let plain = snapshot.encode_to_vec();
        let header = Header {
            sequence,
            position: position.ok_or(Unwritten::Position)?,
            decoded_bytes: plain.len() as u64,
            nonce: XChaCha20Poly1305::generate_nonce(&mut OsRng),
        };
        let mut body = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(Unwritten::Compress)?;
        let mut bytes = header.write().ok_or(Unwritten::Position)?;
        let header_bytes = bytes.len();
        cipher(key).encrypt_in_place(&header.nonce, &bytes, &mut body).map_err(|_| Unwritten::Seal)?;
        bytes.append(&mut body);
        Ok(Self { bytes, header_bytes, header })
    }

    /// Reads the header of a file. Nothing in it is to be trusted before [`Sealed::open`].
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let mut rest = bytes.as_slice();
        let header = Header::read(&mut rest)?;
        let header_bytes = bytes.len() - rest.len();
        Ok(Self { bytes, header_bytes, header })
    }

    /// The file.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its place in the order in which files were written.
    pub(super) const fn sequence(&self) -> u64 {
        self.header.sequence
    }

    /// Unseals the snapshot.
    pub(super) fn open(mut self, key: &CacheKey) -> Result<Update, Corrupt> {
        let mut body = self.bytes.split_off(self.header_bytes);
        let Header { position, decoded_bytes, nonce, .. } = self.header;
        cipher(key).decrypt_in_place(&nonce, &self.bytes, &mut body).map_err(|_| Corrupt::Seal)?;
        if decoded_bytes > MAX_DECODED_BYTES {
            return Err(Corrupt::Size);
        }
        let update = decode(body.as_slice(), Encoding::Zstd, decoded_bytes)?;
        if update.base.is_none() && update.target == position { Ok(update) } else { Err(Corrupt::Mismatch) }
    }
}

impl Header {
    /// `None` where the epoch is too long.
    fn write(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(128);
        bytes.put_slice(MAGIC);
        bytes.put_u32(FORMAT);
        bytes.put_u32(SCHEMA);
        bytes.put_u64(self.sequence);
        bytes.put_u64(self.position.revision.get());
        bytes.put_slice(self.position.digest.as_bytes());
        bytes.put_u64(self.decoded_bytes);
        bytes.put_u8(self.position.epoch.len().try_into().ok()?);
        bytes.put_slice(self.position.epoch.as_bytes());
        bytes.put_slice(&self.nonce);
        Some(bytes)
    }

    fn read(rest: &mut &[u8]) -> Result<Self, Corrupt> {
        if take::<8>(rest)? != *MAGIC {
            return Err(Corrupt::Magic);
        }
        match rest.try_get_u32()? {
            FORMAT => {}
            other => return Err(Corrupt::Format(other)),
        }
        match rest.try_get_u32()? {
            SCHEMA => {}
            other => return Err(Corrupt::Schema(other)),
        }
        let sequence = rest.try_get_u64()?;
        let revision = Revision::new(rest.try_get_u64()?).ok_or(Corrupt::Position)?;
        let digest = take::<32>(rest)?.into();
        let decoded_bytes = rest.try_get_u64()?;
        let epoch_bytes = rest.try_get_u8()?.into();
        let (epoch, after) = rest.split_at_checked(epoch_bytes).ok_or(Corrupt::Truncated)?;
        *rest = after;
        let epoch = str::from_utf8(epoch).map_err(|_| Corrupt::Position)?.into();
        let nonce = take::<NONCE_BYTES>(rest)?.into();
        Ok(Self { sequence, position: Position { epoch, revision, digest }, decoded_bytes, nonce })
    }
}

impl From<TryGetError> for Corrupt {
    fn from(_: TryGetError) -> Self {
        Self::Truncated
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Corrupt> {
    let (taken, after) = rest.split_first_chunk().ok_or(Corrupt::Truncated)?;
    *rest = after;
    Ok(*taken)
}

fn cipher(key: &CacheKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.as_bytes().into())
}
