//! The last good configuration, sealed on disk, so that a data plane starts and serves while the control plane is away. Whatever is
//! wrong with a file sets that file aside and nothing else: the process never dies of its cache.

use std::{
    cmp::Reverse,
    error::Error,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use signalbox_proto::sync::v1 as sync;

use crate::received::{MAX_DECODED_BYTES, Refused, Undecodable, Update};

mod key;
mod seal;
#[cfg(test)]
mod tests;

pub use key::{CacheKey, InvalidKey};
use seal::Sealed;

/// Files kept that were set aside, for whoever looks into why. Of good ones there are two: the newest and the one before it.
const SET_ASIDE_KEPT: usize = 2;

/// Largest file that is read: a bundle that does not compress, and its header.
const MAX_FILE_BYTES: u64 = MAX_DECODED_BYTES + 64 * 1024;

/// The folder of sealed snapshots.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    key: CacheKey,
    /// Grows with each file written. Neither clocks nor revisions tell which file is newer: clocks are set back, and revisions
    /// begin again with each history.
    sequence: u64,
    /// The newest good file.
    newest: Option<PathBuf>,
}

/// Why the folder cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("the cache folder {} cannot be used", path.display())]
pub struct Unusable {
    path: PathBuf,
    source: io::Error,
}

/// Why one file is set aside.
#[derive(Debug, thiserror::Error)]
enum Corrupt {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error("it is larger than {MAX_FILE_BYTES} bytes")]
    Size,
    #[error("it is not a cached configuration")]
    Magic,
    #[error("it is of format {0}, which this build does not read")]
    Format(u32),
    #[error("it is of schema level {0}, which this build does not read")]
    Schema(u32),
    #[error("it ends too early")]
    Truncated,
    #[error("it states no position")]
    Position,
    #[error("it was sealed under another key, or has been altered since")]
    Seal,
    #[error("what is sealed in it cannot be decoded")]
    Bundle(#[from] Undecodable),
    #[error("what is sealed in it is not what its header says")]
    Mismatch,
    #[error("what is sealed in it is not whole")]
    Refused(#[from] Refused),
}

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritten {
    /// The file system refused.
    #[error("the cache file {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The snapshot could not be compressed.
    #[error("the snapshot cannot be compressed")]
    Compress(#[source] io::Error),
    /// The snapshot has no position, or one that does not fit a header.
    #[error("the snapshot has no position")]
    Position,
    /// The snapshot is too long to be sealed.
    #[error("the snapshot cannot be sealed")]
    Seal,
}

impl Cache {
    /// Opens the folder; one that is missing is made, with access for its owner only.
    ///
    /// # Errors
    /// [`Unusable`] where it cannot be made.
    pub fn open(dir: impl Into<PathBuf>, key: CacheKey) -> Result<Self, Unusable> {
        let dir = dir.into();
        match DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Ok(()) => Ok(Self { dir, key, sequence: 0, newest: None }),
            Err(source) => Err(Unusable { path: dir, source }),
        }
    }

    /// Offers the cached configurations, newest first, until one is accepted. Those that are not are set aside.
    pub(crate) fn restore<T>(&mut self, mut accept: impl FnMut(Update) -> Result<T, Refused>) -> Option<T> {
        let mut readable = Vec::new();
        for path in list(&self.dir, ".bin") {
            match read(&path) {
                Ok(sealed) => readable.push((path, sealed)),
                Err(reason) => self.set_aside(&path, &reason),
            }
        }
        readable.sort_by_key(|(_, sealed)| sealed.sequence());
        self.sequence = readable.last().map_or(0, |(_, sealed)| sealed.sequence());
        while let Some((path, sealed)) = readable.pop() {
            match sealed.open(&self.key).and_then(|update| Ok(accept(update)?)) {
                Ok(accepted) => {
                    self.newest = Some(path);
                    return Some(accepted);
                }
                Err(reason) => self.set_aside(&path, &reason),
            }
        }
        None
    }

    /// Seals a full snapshot into a file of its own: whole under its name, or not at all.
    ///
    /// # Errors
    /// [`Unwritten`], after which the files from before are still there.
    pub(crate) fn store(&mut self, snapshot: &sync::Bundle) -> Result<(), Unwritten> {
        let revision = snapshot.target.as_ref().ok_or(Unwritten::Position)?.revision;
        let sealed = Sealed::seal(snapshot, self.sequence + 1, &self.key)?;
        let path = self.dir.join(format!("config-{revision}.bin"));
        self.write(&path, sealed.as_bytes()).map_err(|source| Unwritten::Write { path: path.clone(), source })?;
        self.sequence = sealed.sequence();
        let before = self.newest.replace(path);
        for path in list(&self.dir, ".bin") {
            if Some(&path) != self.newest.as_ref() && Some(&path) != before.as_ref() {
                remove(&path);
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.dir.join("unfinished");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(&self.dir)?.sync_all()
    }

    fn set_aside(&self, path: &Path, reason: &Corrupt) {
        let moved = fs::rename(path, path.with_extension("bin.corrupt")).is_ok();
        let reason: &dyn Error = reason;
        tracing::warn!(file = %path.display(), reason, moved, "cached configuration set aside");
        let mut aside = list(&self.dir, ".bin.corrupt");
        aside.sort_by_cached_key(|path| Reverse(fs::metadata(path).and_then(|metadata| metadata.modified()).ok()));
        aside.iter().skip(SET_ASIDE_KEPT).for_each(|path| remove(path));
    }
}

/// The files in the folder that are named as cached configurations are, with this ending.
fn list(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with("config-") && name.ends_with(ending))
    };
    match fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).filter(named).collect(),
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "cache folder not read");
            Vec::new()
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "old cache file not removed");
    }
}

fn read(path: &Path) -> Result<Sealed, Corrupt> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(Corrupt::Size) } else { Sealed::parse(bytes) }
}
