//! Where in the configuration's history something is: epoch, revision, and a digest of everything held there.

use std::{fmt, num::NonZeroU64, sync::Arc};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use signalbox_proto::sync::v1 as sync;

use crate::name::ResourceName;

/// One committed state of the configuration. Grows by one with each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(NonZeroU64);

impl Revision {
    /// The one that every history begins with.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// `None` for zero, which stands for "none" on the wire.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sum, modulo 2^256, of the SHA-256 of each resource: independent of order, and kept up to date in the time a change takes.
///
/// It detects divergence, not malice: the stream's TLS and join token do that.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of one resource, over length-prefixed kind, name and body.
    #[must_use]
    pub fn of(name: &ResourceName, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [name.kind().as_str().as_bytes(), name.as_str().as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The digest with one more resource.
    #[must_use]
    pub fn with(self, resource: Self) -> Self {
        let mut carry = 0_u16;
        let mut sum = self.0;
        for (byte, other) in sum.iter_mut().zip(resource.0).rev() {
            let total = u16::from(*byte) + u16::from(other) + carry;
            *byte = total.to_be_bytes()[1];
            carry = total >> 8;
        }
        Self(sum)
    }

    /// The digest with one resource fewer.
    #[must_use]
    pub fn without(self, resource: Self) -> Self {
        // Two's complement: subtracting is adding the inverse plus one.
        let mut one = [0; 32];
        one[31] = 1;
        self.with(Self(resource.0.map(|byte| !byte))).with(Self(one))
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A place in history. Two positions are the same only if all three parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Identifies the history; revisions of different epochs say nothing about each other.
    pub epoch: Arc<str>,
    /// How far along that history.
    pub revision: Revision,
    /// What is held there.
    pub digest: Digest,
}

/// Why a position from the wire is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPosition {
    /// The epoch is empty.
    #[error("a position has no epoch")]
    Epoch,
    /// The revision is zero.
    #[error("a position has revision 0")]
    Revision,
    /// The digest is not 32 bytes.
    #[error("a position's digest has {0} bytes instead of 32")]
    Digest(usize),
}

impl Position {
    /// Reads a position from the wire.
    ///
    /// # Errors
    /// [`InvalidPosition`] where one of the three parts is missing or of the wrong size.
    pub fn from_wire(wire: &sync::Position) -> Result<Self, InvalidPosition> {
        let sync::Position { epoch, revision, digest } = wire;
        if epoch.is_empty() {
            return Err(InvalidPosition::Epoch);
        }
        let revision = Revision::new(*revision).ok_or(InvalidPosition::Revision)?;
        let bytes: [u8; 32] = digest.as_ref().try_into().map_err(|_| InvalidPosition::Digest(digest.len()))?;
        Ok(Self { epoch: epoch.as_str().into(), revision, digest: Digest(bytes) })
    }

    /// The position as it travels.
    #[must_use]
    pub fn to_wire(&self) -> sync::Position {
        sync::Position {
            epoch: self.epoch.as_ref().to_owned(),
            revision: self.revision.get(),
            digest: Bytes::copy_from_slice(&self.digest.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(&ResourceName::parse("routes/a").unwrap(), text.as_bytes())
    }

    #[test]
    fn a_digest_forgets_order_and_what_was_taken_out() {
        let (a, b, c) = (digest("a"), digest("b"), digest("c"));
        assert_eq!(a.with(b).with(c), c.with(a).with(b));
        assert_eq!(a.with(b).without(a), b);
        assert_eq!(a.without(a), Digest::default());
        assert_eq!(Digest::default().without(a).with(a), Digest::default());
    }

    #[test]
    fn a_digest_tells_where_one_part_ends_and_the_next_begins() {
        let one = Digest::of(&ResourceName::parse("routes/a").unwrap(), b"bc");
        let other = Digest::of(&ResourceName::parse("routes/ab").unwrap(), b"c");
        assert_ne!(one, other);
    }

    #[test]
    fn a_position_survives_the_wire_and_refuses_what_is_none() {
        let position = Position { epoch: "e".into(), revision: Revision::new(7).unwrap(), digest: digest("a") };
        assert_eq!(Position::from_wire(&position.to_wire()), Ok(position.clone()));
        let wire = position.to_wire();
        let short = sync::Position { digest: Bytes::from_static(b"abc"), ..wire.clone() };
        assert_eq!(Position::from_wire(&short), Err(InvalidPosition::Digest(3)));
        assert_eq!(
            Position::from_wire(&sync::Position { revision: 0, ..wire.clone() }),
            Err(InvalidPosition::Revision)
        );
        assert_eq!(Position::from_wire(&sync::Position { epoch: String::new(), ..wire }), Err(InvalidPosition::Epoch));
    }
}
