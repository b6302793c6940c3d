//! The data folder and the secret files in it: made once, readable by their owner only, and never shown. It does not know what the
//! secrets open.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// The file with the key that stored secrets are sealed under.
pub const MASTER_KEY: &str = "master.key";
/// The file with the token that admin calls carry.
pub const ADMIN_TOKEN: &str = "admin-token";
/// The file with the token that data planes join with.
pub const JOIN_TOKEN: &str = "join-token";
/// The database file.
pub const DATABASE: &str = "control.db";
/// The folder beside the database that copies of it are kept in.
pub const BACKUPS: &str = "backups";

/// What can be wrong with the data folder or a secret file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made.
    #[error("the folder {} cannot be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("the secret file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("the secret file {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, but holds nothing.
    #[error("the secret file {} is empty: put the secret into it, or remove it so that a new one is made where that is possible", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A folder that holds everything the process keeps.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Opens the folder; one that is missing is made, with access for its owner only.
    ///
    /// # Errors
    /// [`Error::Folder`] where it cannot be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(Error::Folder { path, source }),
        }
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The secret in a file of this folder; where there is no such file, it is made with what `make` returns.
    ///
    /// # Errors
    /// [`Error`] where the file is empty, or cannot be read or made.
    pub fn secret(&self, name: &str, make: impl FnOnce() -> SecretString) -> Result<SecretString, Error> {
        let path = self.join(name);
        if !path.exists() {
            match write_new(&path, &make()) {
                Ok(()) => tracing::info!(file = %path.display(), "secret file made"),
                // Another process was faster: its secret is the one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Write { path, source }),
            }
        }
        read_secret(&path)
    }
}

/// Reads the secret in a file, without the white space around it.
///
/// # Errors
/// [`Error::Read`] or [`Error::Empty`].
pub fn read_secret(path: &Path) -> Result<SecretString, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(read)?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %path.display(),
            mode = format_args!("{:04o}", mode & 0o7777),
            "others than the owner can read or write this secret file; mode 0600 would be right"
        );
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(read)?);
    let text = text.trim();
    if text.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(text.into()) }
}

/// Writes a new file with mode 0600. It appears under its name whole or not at all, and never replaces one that is there.
///
/// # Errors
/// Those of the file system; `AlreadyExists` where there is one.
pub(crate) fn write_new(path: &Path, secret: &SecretString) -> io::Result<()> {
    let unfinished = unfinished(path);
    match fill(&unfinished, secret.expose_secret().as_bytes()) {
        Ok(()) => settle_new(&unfinished, path),
        Err(error) => {
            // What cannot be removed either is told by its name.
            let _ = fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

/// Makes an empty file with mode 0600 where there is none. SQLite gives what it puts beside a database the rights of the database.
///
/// # Errors
/// Those of the file system.
pub(crate) fn reserve(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// Writes a file with mode 0600 in place of the one that is there. Whenever it is read, it is the old one or the new one.
///
/// # Errors
/// Those of the file system; the file is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    fill(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path)).inspect_err(|_| {
        // What cannot be removed either is told by its name.
        let _ = fs::remove_file(&unfinished);
    })?;
    sync(folder(path))
}

/// How the names begin of what is not finished.
const UNFINISHED: &str = ".unfinished-";

/// A name beside a file for what is to become it.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    folder(path).join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4()))
}

/// For how long nobody has written to what nobody will finish.
const ABANDONED: Duration = Duration::from_mins(1);

/// Removes what programs that were killed left unfinished in a folder. What takes its time is locked by whoever works on it.
pub(crate) fn clear_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && is_abandoned(&path) {
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(file = %path.display(), "removed what was left unfinished"),
                Err(error) => tracing::warn!(file = %path.display(), %error, "left unfinished, and cannot be removed"),
            }
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let written = file.metadata().and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > ABANDONED) && file.try_lock().is_ok()
}

/// Gives a finished file its name, which nothing may have yet.
///
/// # Errors
/// Those of the file system; `AlreadyExists` where there is a file of that name.
pub(crate) fn settle_new(unfinished: &Path, path: &Path) -> io::Result<()> {
    let linked = fs::hard_link(unfinished, path);
    fs::remove_file(unfinished).or_else(|error| if linked.is_err() { Ok(()) } else { Err(error) })?;
    linked?;
    sync(folder(path))
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Has the names in a folder survive a power cut.
///
/// # Errors
/// Those of the file system.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_secret_is_made_once_and_only_its_owner_can_read_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path().join("a/b")).unwrap();
        let first = dir.secret("admin-token", || "one".into()).unwrap();
        let second = dir.secret("admin-token", || "two".into()).unwrap();
        assert_eq!((first.expose_secret(), second.expose_secret()), ("one", "one"));
        assert_eq!(fs::read(dir.join("admin-token")).unwrap(), b"one", "scripts read just the secret");
        assert_eq!((mode(&dir.join("")), mode(&dir.join("admin-token"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(dir.join("")).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn an_empty_secret_file_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        fs::write(dir.join("join-token"), " \n").unwrap();
        assert!(matches!(dir.secret("join-token", || "new".into()), Err(Error::Empty { .. })));
        assert_eq!(fs::read(dir.join("join-token")).unwrap(), b" \n");
    }

    #[test]
    fn white_space_around_a_secret_is_not_part_of_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("token");
        fs::write(&path, "  secret\r\n").unwrap();
        assert_eq!(read_secret(&path).unwrap().expose_secret(), "secret");
    }

    #[test]
    fn what_nobody_works_on_any_more_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let [old, locked, new, other] =
            [".unfinished-1", ".unfinished-2", ".unfinished-3", "finished"].map(|name| root.path().join(name));
        let made = [&old, &locked, &new, &other].map(|path| File::create(path).unwrap());
        let long_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        [0, 1, 3].into_iter().for_each(|at| made[at].set_modified(long_ago).unwrap());
        made[1].try_lock().unwrap();
        clear_abandoned(root.path());
        assert_eq!([old, locked, new, other].map(|path| path.exists()), [false, true, true, true]);
        clear_abandoned(&root.path().join("no such folder"));
    }

    #[test]
    fn a_new_file_never_replaces_one_that_is_there() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("token");
        write_new(&path, &"one".into()).unwrap();
        assert_eq!(write_new(&path, &"two".into()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
