//! One control plane a database: a lock on a file beside it, which the system lets go of when the process ends, however it ends.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use super::Error;
use crate::files;

/// Held as long as the database is open.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a database, or says that somebody else has it.
    pub(crate) fn take(database: &Path) -> Result<Self, Error> {
        if let Some(system) = network(files::folder(database)) {
            return Err(Error::Network { path: database.to_owned(), system });
        }
        let path = beside(database, ".lock");
        let failed = |source| Error::LockFile { path: path.clone(), source };
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // A restore works beside the database, and only under this lock.
                files::clear_abandoned(files::folder(database));
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: database.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// A file that belongs to a database and is named after it.
pub(crate) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(ending);
    name.into()
}

/// Which network file system a folder is on; `None` = none that is known.
#[cfg(target_os = "linux")]
fn network(folder: &Path) -> Option<&'static str> {
    kind(rustix::fs::statfs(folder).ok()?.f_type)
}

/// Only Linux tells by a number.
#[cfg(not(target_os = "linux"))]
fn network(_folder: &Path) -> Option<&'static str> {
    None
}

/// What a file system's number stands for (`linux/magic.h`, and the sources of those that are not in there).
#[cfg(target_os = "linux")]
const fn kind(number: rustix::fs::FsWord) -> Option<&'static str> {
    // The numbers have 32 bits, and the word is signed on some machines.
    match number as u32 {
        0x6969 => Some("NFS"),
        0x517b => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0xfe53_4d42 => Some("SMB2"),
        0x0102_1997 => Some("9P"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636f => Some("OCFS2"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_told_by_its_number() {
        assert_eq!((kind(0x6969), kind(0xff53_4d42_u32 as _)), (Some("NFS"), Some("CIFS")));
        // ext4, XFS, Btrfs, tmpfs, overlayfs.
        for local in [0xef53, 0x5846_5342, 0x9123_683e_u32 as _, 0x0102_1994, 0x794c_7630] {
            assert_eq!(kind(local), None, "{local:x}");
        }
    }

    #[test]
    fn a_database_on_a_local_disk_can_be_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("control.db");
        let lock = Lock::take(&database).unwrap();
        assert!(matches!(Lock::take(&database), Err(Error::InUse { .. })));
        drop(lock);
        assert!(Lock::take(&database).is_ok());
    }
}
