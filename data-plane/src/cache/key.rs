//! The key that cached configurations are sealed under: 32 random bytes in a file of their own, made on first use.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chacha20poly1305::aead::{OsRng, rand_core::RngCore as _};
use zeroize::Zeroizing;

/// A sealing key. It is shown nowhere.
#[derive(Clone)]
pub struct CacheKey(Zeroizing<[u8; 32]>);

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    /// The file can be neither read nor made.
    #[error("the cache key file {} can be neither read nor made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the cache key file {} does not hold 32 bytes in base64: restore it, or remove it so that a new key is made", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
    },
}

impl CacheKey {
    /// The key in a file; a file that is missing is made with a new key and mode 0600.
    ///
    /// # Errors
    /// [`InvalidKey`] where the file holds something else, or can be neither read nor made.
    pub fn load_or_create(path: &Path) -> Result<Self, InvalidKey> {
        let text = fs::read_to_string(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => create(path).and_then(|()| fs::read_to_string(path)),
            _ => Err(error),
        });
        let text = Zeroizing::new(text.map_err(|source| InvalidKey::File { path: path.to_owned(), source })?);
        let mut key = Zeroizing::new([0; 32]);
        match BASE64_STANDARD.decode_slice(text.trim(), key.as_mut()) {
            Ok(32) => Ok(Self(key)),
            _ => Err(InvalidKey::Shape { path: path.to_owned() }),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey")
    }
}

/// Makes the file: whole under its name or not at all, and never over one that another process has made meanwhile.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(key.as_mut());
    let text = Zeroizing::new(BASE64_STANDARD.encode(key.as_ref()));
    let unfinished = folder.join(format!(".unfinished-{}", uuid::Uuid::new_v4()));
    let made = fill(&unfinished, &text).and_then(|()| fs::hard_link(&unfinished, path));
    fs::remove_file(&unfinished).or_else(|error| if made.is_err() { Ok(()) } else { Err(error) })?;
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

fn fill(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
