//! Brings a backup back, and has its history accepted. Both are done while no control plane is running, and need no key.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use signalbox_routing::{Digest, Position};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::{
    audit::Deed,
    fence::{self, Fence},
    files, high_water, migrate,
    store::{
        self, audit, content, copy,
        fence::{self as fences, Cut},
        lock::{Lock, beside},
        revisions::{self, Head, Record},
    },
};

/// What the file that was replaced is called, before the time.
const REPLACED: &str = ".replaced-";

/// Whether data planes take a restored history at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// Those that hold anything later keep it, until the history is adopted.
    Fenced,
    /// All of them do: nothing that matters came after the backup.
    AtOnce,
}

/// A backup that is the database now.
#[derive(Debug)]
pub struct Restored {
    /// The revision that the backup held.
    pub from: u64,
    /// The one that was made of it, the first of another history.
    pub revision: u64,
    /// Where the file is that was replaced; `None` = there was none.
    pub replaced: Option<PathBuf>,
    /// What is not as it was; `None` = there is nothing to tell it by.
    pub differences: Option<Vec<Difference>>,
}

/// How a history stands to what data planes hold, as far as the files tell.
#[derive(Debug)]
pub struct Standing {
    /// Its revision.
    pub revision: u64,
    /// What it is fenced for; `None` = data planes take it already.
    pub fence: Option<Fence>,
    /// What is not as it was in the file that was replaced; `None` = there is no such file.
    pub differences: Option<Vec<Difference>>,
}

/// A resource or an admin token that is not as it was in the file that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// What has become of it.
    pub fate: Fate,
}

/// What becomes of a resource with an older file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was removed after the backup, and is there again.
    Back,
    /// It was made after the backup, and is not there.
    Gone,
    /// It was changed after the backup, and is as before.
    Older,
}

/// Why nothing was restored or adopted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no database.
    #[error("there is no database {}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It holds no history.
    #[error("{} holds no revision", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The new file cannot be put in its place.
    #[error("{} cannot be put in place", .path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its schema is not this build's, or cannot be made so.
    #[error(transparent)]
    Schema(#[from] migrate::Error),
    /// How far history was published cannot be kept.
    #[error(transparent)]
    Mark(#[from] high_water::Error),
    /// It cannot be told how the history stands to what was published.
    #[error(transparent)]
    Fence(#[from] fence::Error),
}

/// Puts a backup in the place of the database, as the beginning of another history. The file that was there is kept.
///
/// # Errors
/// See [`Error`]; short of [`Error::Mark`], the database is as it was.
pub async fn restore(database: &Path, from: &Path, taking: Taking) -> Result<Restored, Error> {
    let lock = Lock::take(database)?;
    copy::verify(from).await?;
    let unfinished = files::unfinished(database);
    let begun = begin(from, &unfinished, taking).await;
    let placed = match begun {
        Ok((old, new)) => place(database, &unfinished).await.map(|replaced| (old, new, replaced)),
        Err(error) => Err(error),
    };
    let (old, new, replaced) = placed.inspect_err(|_| {
        // What cannot be removed either is told by its name.
        let _ = fs::remove_file(&unfinished);
    })?;
    high_water::write(database, &position(&new)?, new.commit_time)?;
    let differences = match &replaced {
        Some(replaced) => compare(replaced, database).await,
        None => None,
    };
    drop(lock);
    Ok(Restored { from: old.revision, revision: new.revision, replaced, differences })
}

/// A copy of the backup, of this build's schema, with its own history begun.
async fn begin(from: &Path, to: &Path, taking: Taking) -> Result<(Head, Head), Error> {
    copy::copy(from, to).await?;
    migrate::advance_copy(to).await?;
    let mut connection = connect(to).await?;
    let begun = go_on(&mut connection, from, taking).await;
    // Whatever came of it, nothing but the file itself stays behind.
    connection.close().await.map_err(store::Error::from)?;
    begun
}

/// The history of a backup goes on as another one; returns where the two stand.
async fn go_on(connection: &mut SqliteConnection, from: &Path, taking: Taking) -> Result<(Head, Head), Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
    let old = revisions::head(&mut transaction).await?.ok_or_else(|| Error::Empty { path: from.to_owned() })?;
    let comment = format!("restored from {}", from.file_name().unwrap_or_default().display());
    let new = begin_epoch(&mut transaction, &old, &Record::own("restore", &comment)).await?;
    match taking {
        Taking::Fenced => fences::set(&mut transaction, &Cut::from(&old)).await?,
        Taking::AtOnce => fences::remove(&mut transaction).await?,
    }
    transaction.commit().await.map_err(store::Error::from)?;
    Ok((old, new))
}

/// One revision that changes nothing begins another history, and the audit says by which command.
async fn begin_epoch(connection: &mut SqliteConnection, from: &Head, record: &Record<'_>) -> Result<Head, Error> {
    let new = revisions::begin_epoch(connection, from, from.digest, record).await?;
    audit::add(connection, &Deed::at_console(record.method, Some(new.revision), new.commit_time)).await?;
    Ok(new)
}

/// Keeps the file that is there under another name, and puts the new one in its place. At no moment there is none.
async fn place(database: &Path, unfinished: &Path) -> Result<Option<PathBuf>, Error> {
    let failed = |source| Error::Place { path: database.to_owned(), source };
    fs::File::open(unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
    let replaced = if database.exists() { Some(set_aside(database).await.map_err(failed)?) } else { None };
    fs::rename(unfinished, database).map_err(failed)?;
    files::sync(files::folder(database)).map_err(failed)?;
    Ok(replaced)
}

async fn set_aside(database: &Path) -> io::Result<PathBuf> {
    fold(database).await;
    let replaced = beside(database, &format!("{REPLACED}{}", Timestamp::now().strftime("%Y%m%dT%H%M%S.%6fZ")));
    fs::hard_link(database, &replaced)?;
    // A log that could not be folded in belongs to the old file, and would be taken for the new one's.
    for ending in ["-wal", "-shm"] {
        match fs::rename(beside(database, ending), beside(&replaced, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(replaced)
}

/// Folds the write-ahead log in, where the file is still sound enough for that.
async fn fold(database: &Path) {
    let folded = async {
        let connection = store::options(database).connect().await?;
        connection.close().await
    };
    if let Err(error) = folded.await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the replaced database is kept as it is found");
    }
}

/// Says how the history stands to what data planes hold. Changes nothing.
///
/// # Errors
/// See [`Error`].
pub async fn standing(database: &Path) -> Result<Standing, Error> {
    if !database.exists() {
        return Err(Error::Missing { path: database.to_owned() });
    }
    migrate::require_current(database).await?;
    let mut connection = copy::reader(database).await?;
    let head = revisions::head(&mut connection).await?.ok_or_else(|| Error::Empty { path: database.to_owned() })?;
    let fence = fence::standing(&mut connection, database).await?;
    connection.close().await.map_err(store::Error::from)?;
    let differences = match newest_replaced(database) {
        Some(replaced) if fence.is_some() => compare(&replaced, database).await,
        _ => None,
    };
    Ok(Standing { revision: head.revision, fence, differences })
}

/// Accepts the history that is in the database: it goes on as another one, which every data plane takes whatever it holds. Returns its
/// first revision.
///
/// # Errors
/// See [`Error`]; short of [`Error::Mark`], nothing has changed.
pub async fn adopt(database: &Path) -> Result<u64, Error> {
    let lock = Lock::take(database)?;
    if !database.exists() {
        return Err(Error::Missing { path: database.to_owned() });
    }
    migrate::require_current(database).await?;
    let mut connection = connect(database).await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
    let old = revisions::head(&mut transaction).await?.ok_or_else(|| Error::Empty { path: database.to_owned() })?;
    let new = begin_epoch(&mut transaction, &old, &Record::own("adopt-history", "")).await?;
    fences::remove(&mut transaction).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    connection.close().await.map_err(store::Error::from)?;
    high_water::write(database, &position(&new)?, new.commit_time)?;
    drop(lock);
    Ok(new.revision)
}

fn position(head: &Head) -> Result<Position, store::Error> {
    let Head { epoch, revision, digest, .. } = head;
    Ok(Position { epoch: epoch.as_str().into(), revision: fence::numbered(*revision)?, digest: Digest::from(*digest) })
}

async fn connect(database: &Path) -> Result<SqliteConnection, store::Error> {
    store::options(database).connect().await.map_err(|source| store::Error::open(database, source))
}

fn newest_replaced(database: &Path) -> Option<PathBuf> {
    let prefix = format!("{}{REPLACED}", database.file_name()?.to_str()?);
    let names =
        fs::read_dir(files::folder(database)).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let ours = names.filter(|name| name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm"));
    ours.max().map(|name| files::folder(database).join(name))
}

/// What is not in the new file as it is in the old one, by name; `None` where one of them cannot be read.
async fn compare(old: &Path, new: &Path) -> Option<Vec<Difference>> {
    let before = visible(old).await?;
    let mut after = visible(new).await?;
    let mut differences = Vec::new();
    for (name, part) in before {
        match after.remove(&name) {
            None => differences.push(Difference { name, fate: Fate::Gone }),
            Some(now) if now != part => differences.push(Difference { name, fate: Fate::Older }),
            Some(_) => {}
        }
    }
    differences.extend(after.into_keys().map(|name| Difference { name, fate: Fate::Back }));
    differences.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Some(differences)
}

async fn visible(database: &Path) -> Option<BTreeMap<String, Digest>> {
    let read = async {
        let mut connection = copy::reader(database).await?;
        content::visible(&mut connection).await
    };
    match read.await {
        Ok(visible) => Some(visible),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, file = %database.display(), "it cannot be compared");
            None
        }
    }
}
