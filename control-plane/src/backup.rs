//! Copies of the database that an operator can go back to: one when asked for, one before each migration, and one every so often. What
//! is in them it does not know.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    files::{self, BACKUPS, DataDir},
    ledger::Ledger,
    store::{self, copy},
};

/// Copies that are kept of those made before migrations.
const KEPT_BEFORE_MIGRATIONS: usize = 5;

/// How often copies are made by themselves, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From one to the next.
    pub every: Duration,
    /// How many of them are kept; the oldest go.
    pub keep: usize,
}

/// What the names of copies that are made every so often go on with, after the database's.
const BY_THE_CLOCK: &str = "revision";

/// The latest copy of those that were made every so often, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// When it was made.
    pub made: Timestamp,
    /// The revision that it holds.
    pub revision: u64,
}

/// A copy, looked at from end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The file.
    pub path: PathBuf,
    /// The revision that it holds; `None` = none was committed yet.
    pub revision: Option<u64>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to copy.
    #[error("there is no database {}", .path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The folder for copies cannot be made or read.
    #[error("the folder for copies {} cannot be used", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder for copies cannot be made.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The copy cannot be made, or is not sound.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Copies a database, whether or not a control plane has it open. Never replaces a file.
///
/// # Errors
/// See [`Error`]; whichever it is, there is no file of that name that was not there before.
pub async fn make(database: &Path, to: &Path) -> Result<Copy, Error> {
    if !database.exists() {
        return Err(Error::Missing { path: database.to_owned() });
    }
    let head = copy::copy(database, to).await?;
    Ok(Copy { path: to.to_owned(), revision: head.map(|head| head.revision) })
}

/// Copies a database of an earlier schema before it is brought to this build's.
pub(crate) async fn before_migration(database: &Path, schema: i64) -> Result<PathBuf, Error> {
    let shelf = Shelf::open(database, "schema", KEPT_BEFORE_MIGRATIONS)?;
    Ok(shelf.add(database, schema.cast_unsigned()).await?.path)
}

/// Makes a copy every so often as long as something has changed, until told to stop. One that fails is logged and made at the next
/// turn.
pub(crate) async fn keep(schedule: Schedule, database: PathBuf, ledger: Ledger, stop: CancellationToken) {
    let mut turns = interval(schedule.every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        let position = ledger.state().position.clone();
        if last.as_ref() == Some(&position) {
            continue;
        }
        match scheduled(schedule, &database, position.revision.get()).await {
            Ok(copy) => {
                if let Some(copy) = copy {
                    tracing::info!(copy = %copy.path.display(), revision = copy.revision, "database copied");
                }
                last = Some(position);
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the database was not copied"),
        }
    }
}

/// The latest copy beside a database; `None` = there is none, or none can be seen. No file is opened.
#[must_use]
pub fn latest(database: &Path) -> Option<Latest> {
    let entries = fs::read_dir(files::folder(database).join(BACKUPS)).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let prefix = prefix(database, BY_THE_CLOCK);
    names.filter_map(|name| read(name.strip_prefix(&prefix)?)).max_by_key(|copy| copy.made)
}

/// What a copy's name says after its prefix.
fn read(rest: &str) -> Option<Latest> {
    let (revision, time) = rest.strip_suffix(".db")?.split_once('-')?;
    let made = DateTime::strptime("%Y%m%dT%H%M%S%.fZ", time).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Latest { made: made.timestamp(), revision: revision.parse().ok()? })
}

fn prefix(database: &Path, kind: &str) -> String {
    format!("{}-{kind}-", database.file_stem().unwrap_or_default().display())
}

/// `None` = there is one of this revision already, from before a restart.
async fn scheduled(schedule: Schedule, database: &Path, revision: u64) -> Result<Option<Copy>, Error> {
    let shelf = Shelf::open(database, BY_THE_CLOCK, schedule.keep)?;
    if shelf.names()?.iter().any(|name| name.starts_with(&format!("{}{revision}-", shelf.prefix))) {
        return Ok(None);
    }
    shelf.add(database, revision).await.map(Some)
}

/// Copies of one kind, of which the newest are kept.
struct Shelf {
    folder: DataDir,
    prefix: String,
    keep: usize,
}

impl Shelf {
    fn open(database: &Path, kind: &str, keep: usize) -> Result<Self, Error> {
        let folder = DataDir::open(files::folder(database).join(BACKUPS))?;
        files::clear_abandoned(&folder.join(""));
        Ok(Self { folder, prefix: prefix(database, kind), keep })
    }

    async fn add(&self, database: &Path, number: u64) -> Result<Copy, Error> {
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%S.%6fZ");
        let copy = make(database, &self.folder.join(&format!("{}{number}-{time}.db", self.prefix))).await?;
        self.thin_out()?;
        Ok(copy)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let path = self.folder.join("");
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|source| Error::Folder { path, source })?;
        let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with(&self.prefix)).collect())
    }

    fn thin_out(&self) -> Result<(), Error> {
        let mut ours = self.names()?;
        ours.sort_unstable_by(|one, other| made(other).cmp(made(one)));
        let removed = ours.iter().skip(self.keep).try_for_each(|name| fs::remove_file(self.folder.join(name)));
        removed.map_err(|source| Error::Folder { path: self.folder.join(""), source })
    }
}

/// The part of a copy's name that says when it was made.
fn made(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(_, time)| time)
}

#[cfg(test)]
mod tests;
