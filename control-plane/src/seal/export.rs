//! Secrets on their way from one database to another: one sealed blob that opens wherever the same master key is. What is in it is not
//! known here.

use chacha20poly1305::XChaCha20Poly1305;
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::{MasterKey, cipher, open, seal};

/// The layout: this byte, the id of the master key in hex, and what is sealed.
const VERSION: u8 = 1;
const ID_BYTES: usize = 12;

/// What an export is bound to, so that nothing else that is sealed under the master key passes for one.
const PURPOSE: &[u8] = b"signalbox export";

/// What exports are sealed under.
pub(crate) struct ExportKey {
    cipher: XChaCha20Poly1305,
    id: String,
}

/// Why a blob does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExportError {
    /// It was never an export, or one of a later build's.
    #[error("is no sealed export that this build can read: give `ExportConfigResponse.sealed` as it is")]
    Shape,
    /// Another control plane's.
    #[error("is sealed under the master key {sealed_under}, and this control plane has {given}")]
    WrongMasterKey {
        /// The id of the key that is needed.
        sealed_under: String,
        /// The id of the key that is there.
        given: String,
    },
    /// The key is the right one, and the content is not what was sealed.
    #[error("has been damaged: export it again")]
    Damaged,
}

impl MasterKey {
    /// What exports are sealed under.
    pub(crate) fn export_key(&self) -> ExportKey {
        ExportKey { cipher: cipher(self.0.expose_secret()), id: self.id() }
    }
}

impl ExportKey {
    /// Seals an export.
    pub(crate) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        [&[VERSION], self.id.as_bytes(), &seal(&self.cipher, plain, PURPOSE)].concat()
    }

    /// Opens an export.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ExportError> {
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(ExportError::Shape) };
        let (id, rest) = rest.split_at_checked(ID_BYTES).ok_or(ExportError::Shape)?;
        let id = str::from_utf8(id).ok().filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let sealed_under = id.ok_or(ExportError::Shape)?.to_owned();
        if sealed_under != self.id {
            return Err(ExportError::WrongMasterKey { sealed_under, given: self.id.clone() });
        }
        open(&self.cipher, rest, PURPOSE).ok_or(ExportError::Damaged)
    }
}

impl std::fmt::Debug for ExportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExportKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::DataKey;

    #[test]
    fn an_export_opens_under_its_own_master_key_only() {
        let (ours, theirs) = (MasterKey::generate(), MasterKey::generate());
        let sealed = ours.export_key().seal(b"secrets");
        assert_eq!(ours.export_key().open(&sealed).unwrap().as_slice(), b"secrets");
        let wrong = ExportError::WrongMasterKey { sealed_under: ours.id(), given: theirs.id() };
        assert_eq!(theirs.export_key().open(&sealed), Err(wrong));
    }

    #[test]
    fn no_byte_of_an_export_can_be_changed_and_none_left_out() {
        let key = MasterKey::generate().export_key();
        let sealed = key.seal(b"secrets");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(&damaged).is_err(), "byte {at}");
            assert!(key.open(&sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn nothing_else_that_the_master_key_seals_is_an_export() {
        let master = MasterKey::generate();
        let (_, wrapped) = DataKey::generate(&master);
        let forged = [&[VERSION], master.id().as_bytes(), &wrapped.wrapped].concat();
        assert_eq!(master.export_key().open(&forged), Err(ExportError::Damaged));
    }
}
