//! Seals secrets at rest: XChaCha20-Poly1305 under a data key of the database's own, which is itself sealed under the master key.
//! It knows no tables and no messages.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chacha20poly1305::{
    AeadCore as _, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, OsRng, Payload},
};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

mod export;

pub(crate) use export::{ExportError, ExportKey};

/// The layout of everything sealed: this byte, the nonce, the ciphertext with its tag.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// The key that data keys are sealed under. It is never in the database.
pub struct MasterKey(SecretBox<[u8; KEY_BYTES]>);

/// Why a text is no master key. It says nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a master key is 32 bytes as base64 (44 characters) or hex (64 characters)")]
pub struct InvalidMasterKey;

impl MasterKey {
    /// Reads a key: 32 bytes as base64 or hex, white space around it ignored.
    ///
    /// # Errors
    /// [`InvalidMasterKey`] where it is neither.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidMasterKey> {
        let text = text.expose_secret().trim();
        let bytes = Zeroizing::new(match text.len() {
            64 => hex(text).ok_or(InvalidMasterKey)?,
            _ => BASE64.decode(text).map_err(|_| InvalidMasterKey)?,
        });
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| InvalidMasterKey)?;
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// A new key from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretBox::new(Box::new(XChaCha20Poly1305::generate_key(&mut OsRng).into())))
    }

    /// The key as base64, for the one file that keeps it.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        BASE64.encode(self.0.expose_secret()).into()
    }

    /// Tells keys apart without telling anything about them: the beginning of a hash, in hex.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"signalbox master key");
        hash.update(self.0.expose_secret());
        hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit).try_into().ok()).collect()
}

/// Why something sealed cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another master key than the one that the database was made under.
    #[error(
        "the database's secrets are sealed under the master key {sealed_under}, and {given} was given: \
         check SIGNALBOX_MASTER_KEY, --master-key-file or master.key"
    )]
    WrongMasterKey {
        /// The id of the key that is needed.
        sealed_under: String,
        /// The id of the key that is there.
        given: String,
    },
    /// The data key does not open although the master key is the right one.
    #[error("the database's data key has been damaged")]
    DamagedDataKey,
    /// A secret does not open: damaged, or moved here from another row.
    #[error("the secret `{field}` of {resource} has been damaged or moved")]
    Damaged {
        /// The resource's name.
        resource: String,
        /// The field's path.
        field: String,
    },
}

/// Where a sealed secret belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The resource's full name.
    pub(crate) resource: &'a str,
    /// The field's path.
    pub(crate) field: &'a str,
    /// How often that field has been set.
    pub(crate) version: u64,
}

impl Place<'_> {
    /// Length-prefixed, so that no two places read the same.
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + self.resource.len() + self.field.len());
        for part in [self.resource, self.field] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes
    }
}

/// The database's own key.
#[derive(Clone)]
pub(crate) struct DataKey(XChaCha20Poly1305);

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrapped {
    /// The id of the master key that opens it.
    pub(crate) master_key_id: String,
    /// The sealed key.
    pub(crate) wrapped: Vec<u8>,
}

impl DataKey {
    /// A new key, and the form in which it is stored.
    pub(crate) fn generate(master: &MasterKey) -> (Self, Wrapped) {
        let key = Zeroizing::new(<[u8; KEY_BYTES]>::from(XChaCha20Poly1305::generate_key(&mut OsRng)));
        let wrapped = seal(&cipher(master.0.expose_secret()), key.as_slice(), DATA_KEY);
        (Self(cipher(&key)), Wrapped { master_key_id: master.id(), wrapped })
    }

    /// The key from the form in which it is stored.
    pub(crate) fn unwrap(stored: &Wrapped, master: &MasterKey) -> Result<Self, Error> {
        let key = bare(stored, master)?;
        let key = <[u8; KEY_BYTES]>::try_from(key.as_slice()).map_err(|_| Error::DamagedDataKey)?;
        Ok(Self(cipher(&Zeroizing::new(key))))
    }

    /// The same key as it is stored under another master key.
    pub(crate) fn rewrap(stored: &Wrapped, from: &MasterKey, to: &MasterKey) -> Result<Wrapped, Error> {
        let wrapped = seal(&cipher(to.0.expose_secret()), &bare(stored, from)?, DATA_KEY);
        Ok(Wrapped { master_key_id: to.id(), wrapped })
    }

    /// Seals a secret for its place.
    pub(crate) fn seal(&self, place: Place<'_>, secret: &SecretString) -> Vec<u8> {
        seal(&self.0, secret.expose_secret().as_bytes(), &place.to_bytes())
    }

    /// Opens a secret at its place.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretString, Error> {
        let damaged = || Error::Damaged { resource: place.resource.to_owned(), field: place.field.to_owned() };
        let bytes = open(&self.0, sealed, &place.to_bytes()).ok_or_else(damaged)?;
        std::str::from_utf8(&bytes).map(SecretString::from).map_err(|_| damaged())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// A data key out of its wrapping.
fn bare(stored: &Wrapped, master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let given = master.id();
    if stored.master_key_id != given {
        return Err(Error::WrongMasterKey { sealed_under: stored.master_key_id.clone(), given });
    }
    open(&cipher(master.0.expose_secret()), &stored.wrapped, DATA_KEY).ok_or(Error::DamagedDataKey)
}

/// What a wrapped data key is bound to.
const DATA_KEY: &[u8] = b"signalbox data key";

fn cipher(key: &[u8; KEY_BYTES]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

fn seal(cipher: &XChaCha20Poly1305, plain: &[u8], bound_to: &[u8]) -> Vec<u8> {
    let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
    #[expect(clippy::expect_used, reason = "only fails on more bytes than the cipher can count")]
    let sealed =
        cipher.encrypt(&nonce, Payload { msg: plain, aad: bound_to }).expect("a secret is shorter than 256 GiB");
    [&[VERSION], nonce.as_slice(), &sealed].concat()
}

fn open(cipher: &XChaCha20Poly1305, sealed: &[u8], bound_to: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&VERSION, rest) = sealed.split_first()? else { return None };
    let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
    cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: bound_to }).map(Zeroizing::new).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(field: &str) -> Place<'_> {
        Place { resource: "providers/a", field, version: 1 }
    }

    #[test]
    fn a_master_key_is_read_from_base64_and_from_hex() {
        let key = MasterKey::generate();
        let base64 = key.to_text();
        let bytes = BASE64.decode(base64.expose_secret()).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [base64.expose_secret().to_owned(), format!(" {hex}\n"), hex.to_lowercase()] {
            assert_eq!(MasterKey::parse(&text.into()).unwrap().id(), key.id());
        }
    }

    #[test]
    fn anything_but_32_bytes_is_no_master_key() {
        for bad in ["", "hello", "AAAA", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &BASE64.encode([0; 33])] {
            assert!(MasterKey::parse(&(*bad).into()).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_secret_opens_at_its_place_and_nowhere_else() {
        let (key, _) = DataKey::generate(&MasterKey::generate());
        let sealed = key.seal(place("secret"), &"s3cret".into());
        assert_eq!(key.open(place("secret"), &sealed).unwrap().expose_secret(), "s3cret");
        let elsewhere = [
            place("password"),
            Place { version: 2, ..place("secret") },
            Place { resource: "providers/b", ..place("secret") },
            Place { resource: "providers/as", ..place("ecret") },
        ];
        for place in elsewhere {
            assert!(matches!(key.open(place, &sealed), Err(Error::Damaged { .. })), "opened at {place:?}");
        }
    }

    #[test]
    fn a_damaged_secret_does_not_open() {
        let (key, _) = DataKey::generate(&MasterKey::generate());
        let sealed = key.seal(place("secret"), &"s3cret".into());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(key.open(place("secret"), &bad).is_err(), "byte {at} does not count");
            assert!(key.open(place("secret"), &sealed[..at]).is_err(), "the rest after {at} does not count");
        }
    }

    #[test]
    fn equal_secrets_do_not_look_equal() {
        let (key, _) = DataKey::generate(&MasterKey::generate());
        assert_ne!(key.seal(place("secret"), &"same".into()), key.seal(place("secret"), &"same".into()));
    }

    #[test]
    fn a_data_key_opens_under_its_master_key_only() {
        let master = MasterKey::generate();
        let (key, wrapped) = DataKey::generate(&master);
        let sealed = key.seal(place("secret"), &"s3cret".into());
        let again = DataKey::unwrap(&wrapped, &master).unwrap();
        assert_eq!(again.open(place("secret"), &sealed).unwrap().expose_secret(), "s3cret");

        let other = MasterKey::generate();
        let error = DataKey::unwrap(&wrapped, &other).unwrap_err();
        assert_eq!(error, Error::WrongMasterKey { sealed_under: master.id(), given: other.id() });
        let forged = Wrapped { master_key_id: other.id(), ..wrapped };
        assert_eq!(DataKey::unwrap(&forged, &other).unwrap_err(), Error::DamagedDataKey);
    }

    #[test]
    fn debug_shows_no_key() {
        let master = MasterKey::generate();
        let (key, _) = DataKey::generate(&master);
        let shown = format!("{master:?} {key:?}");
        assert_eq!(shown, format!("MasterKey({}) DataKey", master.id()));
    }
}
