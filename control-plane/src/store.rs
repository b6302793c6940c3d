//! The database file: who may open it, how, and every statement that is run on it. It knows rows and nothing of what they mean.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::migrate;

pub(crate) mod admin_tokens;
pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod content;
pub(crate) mod copy;
pub(crate) mod fence;
pub(crate) mod insert;
pub(crate) mod lock;
pub(crate) mod requests;
pub(crate) mod resources;
pub(crate) mod retention;
pub(crate) mod revisions;
pub(crate) mod sealed;
pub(crate) mod secrets;

/// How long a statement waits for another program's lock on the file.
const BUSY_TIMEOUT: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(5) };

/// SQLite's page, which every database here has (https://www.sqlite.org/pragma.html#pragma_page_size).
const PAGE_BYTES: u64 = 4096;

/// Connections that read at once.
const READERS: u32 = 4;

/// An open database: one connection that writes, several that read, and the lock that keeps others out.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    max_bytes: Option<u64>,
    writer: Option<SqliteConnection>,
    readers: SqlitePool,
    _lock: lock::Lock,
}

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("the database {} cannot be opened", .path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// Another control plane has it open.
    #[error("the database {} is in use by another control plane", .path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The lock file beside it cannot be made.
    #[error("the lock file {} cannot be used", .path.display())]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No room is left for a write.
    #[error("no room is left for the database: the disk is full, or the limit of --max-database-bytes is reached")]
    Full(#[source] sqlx::Error),
    /// The disk failed.
    #[error("the disk failed")]
    Disk(#[source] sqlx::Error),
    /// The file is not a sound database.
    #[error("the database is damaged")]
    Damaged(#[source] sqlx::Error),
    /// Another program holds its lock.
    #[error("the database is locked by another program")]
    Busy(#[source] sqlx::Error),
    /// A unique value of the resource is another resource's already.
    #[error("`{by}` has the same {field}")]
    Taken {
        /// The field that must be unique.
        field: &'static str,
        /// The other resource's name.
        by: String,
    },
    /// A statement failed in a way that it should not.
    #[error("a statement failed")]
    Statement(#[source] sqlx::Error),
    /// The file or its folder cannot be written.
    #[error("the database cannot be written: its file or folder is read-only")]
    ReadOnly(#[source] sqlx::Error),
    /// The database is on another machine's disk.
    #[error(
        "the database {} is on a network file system ({system}), where its locks and its write-ahead log do not hold: \
         put it on a local disk",
        .path.display()
    )]
    Network {
        /// The database file.
        path: PathBuf,
        /// Which kind.
        system: &'static str,
    },
    /// There is a file where one is to be made.
    #[error("{} is there already: choose another name, or move it away", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read, written or given its name.
    #[error("the file {} cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file's name is one that SQLite cannot be told.
    #[error("the name {} is not UTF-8", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A page or a reference is broken.
    #[error("{} is not whole: {finding}", .path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
        /// The first complaint.
        finding: String,
    },
    /// The tables hold something else than what was committed.
    #[error("{} does not hold what its last revision made of it: it was changed by another program", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A number in the database is outside the range of what it stands for.
    #[error("{column} of {row} is {value}, which cannot be")]
    Number {
        /// The column.
        column: &'static str,
        /// The row.
        row: String,
        /// What is there.
        value: i64,
    },
    /// A digest of the wrong size.
    #[error("a digest in the database has {0} bytes instead of 32")]
    Digest(usize),
}

impl Error {
    pub(crate) fn open(path: &Path, source: sqlx::Error) -> Self {
        Self::Open { path: path.to_owned(), source }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // The primary result code is the low byte (https://www.sqlite.org/rescode.html).
        let code = error.as_database_error().and_then(|database| database.code()?.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy(error),
            Some(8) => Self::ReadOnly(error),
            Some(10) => Self::Disk(error),
            Some(11 | 26) => Self::Damaged(error),
            Some(13) => Self::Full(error),
            _ => Self::Statement(error),
        }
    }
}

/// How every connection is made.
///
/// FULL, since a revision is out in the world the moment it is committed: losing it to a power cut would use its number again for
/// something else.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

impl Store {
    /// Opens the file for this control plane alone, with this build's schema. One with nothing in it is given that schema unasked.
    pub(crate) async fn open(path: &Path, auto_migrate: bool, max_bytes: Option<u64>) -> Result<Self, migrate::Error> {
        let lock = lock::Lock::take(path)?;
        let found = if auto_migrate { None } else { migrate::found(path, &lock).await? };
        match found {
            Some(standing) => migrate::require(standing, path)?,
            None => {
                migrate::advance(path, &lock).await?;
            }
        }
        let reading = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(reading);
        let mut store = Self { path: path.to_owned(), max_bytes, writer: None, readers, _lock: lock };
        store.writer().await?;
        Ok(store)
    }

    /// The connections that read.
    pub(crate) const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The connection that writes, made anew where the last one was given up.
    pub(crate) async fn writer(&mut self) -> Result<&mut SqliteConnection, Error> {
        let connection = match self.writer.take() {
            Some(connection) => connection,
            None => {
                let mut options = options(&self.path).optimize_on_close(true, None);
                if let Some(bytes) = self.max_bytes {
                    options = options.pragma("max_page_count", (bytes / PAGE_BYTES).max(1).to_string());
                }
                options.connect().await.map_err(|source| Error::open(&self.path, source))?
            }
        };
        Ok(self.writer.insert(connection))
    }

    /// Gives the writing connection up, and with it whatever it was in the middle of: after a failed statement SQLite may or may
    /// not have rolled back by itself.
    pub(crate) fn give_up_writer(&mut self) {
        self.writer = None;
    }

    /// Closes every connection, which folds the write-ahead log into the file.
    pub(crate) async fn close(self) -> Result<(), Error> {
        self.readers.close().await;
        if let Some(writer) = self.writer {
            writer.close().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_with_nothing_in_it_is_founded_and_no_other_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        std::fs::File::create(&path).unwrap();
        Store::open(&path, false, None).await.unwrap().close().await.unwrap();

        let path = folder.path().join("theirs.db");
        let mut theirs = options(&path).create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE theirs (id INTEGER)").execute(&mut theirs).await.unwrap();
        theirs.close().await.unwrap();
        let refused = Store::open(&path, false, None).await.unwrap_err();
        assert!(matches!(refused, migrate::Error::Pending { .. }), "{refused}");
    }

    #[tokio::test]
    async fn what_is_committed_survives_a_power_cut_and_refers_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("control.db"), true, None).await.unwrap();
        let writer = store.writer().await.unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *writer).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *writer).await.unwrap();
        let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(writer).await.unwrap();
        // 2 is FULL (https://www.sqlite.org/pragma.html#pragma_synchronous).
        assert_eq!((journal.as_str(), synchronous, foreign_keys), ("wal", 2, 1));
    }
}
