//! Brings a database file to this build's schema, or says what it would take. It knows the schema's versions, not what is in it.

use std::path::{Path, PathBuf};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::SqliteConnectOptions,
};

use crate::{
    backup, files,
    store::{
        self,
        copy::{reader, require_whole},
        lock, secrets,
    },
};

#[cfg(test)]
mod tests;

/// The schema's steps, in order.
static STEPS: Migrator = sqlx::migrate!("../migrations");

/// How a database's schema relates to this build's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is this build's.
    Current,
    /// So many steps are missing; all of them where there is no database yet.
    Pending(usize),
    /// It has steps that this build does not know, up to this one.
    Newer(i64),
}

/// Why a database was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database was made by a later build.
    #[error(
        "{} has schema {found}, and this build knows only up to {known}: use the build that it was made by, or a later one",
        .path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The latest step in it.
        found: i64,
        /// The latest step known.
        known: i64,
    },
    /// Steps are missing, and nobody asked for them to be run.
    #[error(
        "{} lacks {steps} schema migrations: run `signalbox-control-plane migrate`, or serve with --auto-migrate",
        .path.display()
    )]
    Pending {
        /// The database file.
        path: PathBuf,
        /// How many.
        steps: usize,
    },
    /// A step failed.
    #[error("{} cannot be migrated, and is as it was{}", .path.display(), kept(.copy.as_deref()))]
    Step {
        /// The database file.
        path: PathBuf,
        /// The copy that was made before; `None` = there was nothing in it yet.
        copy: Option<PathBuf>,
        /// What failed.
        #[source]
        source: MigrateError,
    },
    /// After the steps the database would not be whole.
    #[error("{} would not be whole after its migration, and is as it was{}", .path.display(), kept(.copy.as_deref()))]
    NotWhole {
        /// The database file.
        path: PathBuf,
        /// The copy that was made before; `None` = there was nothing in it yet.
        copy: Option<PathBuf>,
        /// What is wrong.
        #[source]
        source: store::Error,
    },
    /// No copy can be made, and without one nothing is migrated.
    #[error("{} is not migrated, since no copy of it can be made first", .path.display())]
    Copy {
        /// The database file.
        path: PathBuf,
        /// Why.
        #[source]
        source: backup::Error,
    },
    /// The file cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// How the database's schema relates to this build's. Changes nothing.
///
/// # Errors
/// [`Error::Store`] where there is a file that cannot be read as a database.
pub async fn check(path: &Path) -> Result<Standing, Error> {
    if !path.exists() {
        return Ok(Standing::Pending(STEPS.iter().count()));
    }
    let mut connection = reader(path).await?;
    let standing = standing(&STEPS, &applied(&mut connection).await.map_err(store::Error::from)?);
    connection.close().await.map_err(store::Error::from)?;
    Ok(standing)
}

/// How a locked file's schema relates to this build's; `None` = nothing is in it yet: it may be there all the same, where a process
/// died before it had founded anything.
pub(crate) async fn found(path: &Path, _lock: &lock::Lock) -> Result<Option<Standing>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    // Not only to read: what a process left undone that died while it founded the file has to be undone first.
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.map_err(|source| store::Error::open(path, source))?;
    let made: Result<i64, _> =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut connection).await;
    let applied = match made.map_err(store::Error::from)? {
        0 => None,
        _ => Some(applied(&mut connection).await.map_err(store::Error::from)?),
    };
    connection.close().await.map_err(store::Error::from)?;
    Ok(applied.map(|applied| standing(&STEPS, &applied)))
}

/// Whether anything in the file is sealed under a master key. Where that cannot be told, it is taken to be.
pub async fn is_sealed(path: &Path) -> bool {
    let sealed = async {
        let mut connection = reader(path).await?;
        if applied(&mut connection).await?.is_empty() {
            return Ok(false);
        }
        Ok::<_, store::Error>(secrets::data_key(&mut connection).await?.is_some())
    };
    path.exists() && sealed.await.unwrap_or(true)
}

/// Runs the steps that are missing, on a file that no control plane has open, and says how it stood before.
///
/// # Errors
/// See [`Error`].
pub async fn run(path: &Path) -> Result<Standing, Error> {
    let lock = lock::Lock::take(path)?;
    let before = advance(path, &lock).await?;
    drop(lock);
    Ok(before)
}

/// Runs the steps that are missing on a file that is locked.
pub(crate) async fn advance(path: &Path, _lock: &lock::Lock) -> Result<Standing, Error> {
    advance_by(&STEPS, path).await
}

/// Runs the steps that are missing on a copy, which nobody else knows of and of which no further copy is made.
pub(crate) async fn advance_copy(path: &Path) -> Result<(), Error> {
    let options = store::options(path).foreign_keys(false);
    let mut connection = options.connect().await.map_err(|source| store::Error::open(path, source))?;
    match standing(&STEPS, &applied(&mut connection).await.map_err(store::Error::from)?) {
        Standing::Current => {}
        Standing::Newer(found) => return Err(newer(path, found)),
        Standing::Pending(_) => step(&STEPS, path, &mut connection, None).await?,
    }
    Ok(connection.close().await.map_err(store::Error::from)?)
}

async fn advance_by(steps: &Migrator, path: &Path) -> Result<Standing, Error> {
    files::reserve(path).map_err(|source| store::Error::open(path, source.into()))?;
    // Steps that rebuild a table need foreign keys off, which has no effect once their transaction has begun.
    let options = store::options(path).create_if_missing(true).foreign_keys(false);
    let mut connection = options.connect().await.map_err(|source| store::Error::open(path, source))?;
    let applied = applied(&mut connection).await.map_err(store::Error::from)?;
    let before = standing(steps, &applied);
    match before {
        Standing::Current => {}
        Standing::Newer(found) => return Err(newer(path, found)),
        Standing::Pending(_) => {
            let copy = match applied.last() {
                None => None,
                Some(schema) => Some(copy(path, *schema).await?),
            };
            step(steps, path, &mut connection, copy).await?;
        }
    }
    connection.close().await.map_err(store::Error::from)?;
    Ok(before)
}

async fn copy(path: &Path, schema: i64) -> Result<PathBuf, Error> {
    let copied = backup::before_migration(path, schema).await;
    let copy = copied.map_err(|source| Error::Copy { path: path.to_owned(), source })?;
    tracing::info!(copy = %copy.display(), "copied before its migration");
    Ok(copy)
}

/// All steps are one transaction: whatever happens in it, the file is as before or as after.
async fn step(
    steps: &Migrator,
    path: &Path,
    connection: &mut SqliteConnection,
    copy: Option<PathBuf>,
) -> Result<(), Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
    if let Err(source) = steps.run(&mut *transaction).await {
        return Err(Error::Step { path: path.to_owned(), copy, source });
    }
    // What `foreign_keys=OFF` let through must not stay.
    if let Err(source) = require_whole(path, &mut transaction).await {
        return Err(Error::NotWhole { path: path.to_owned(), copy, source });
    }
    Ok(transaction.commit().await.map_err(store::Error::from)?)
}

/// The end of a sentence about a failed migration.
fn kept(copy: Option<&Path>) -> String {
    copy.map_or_else(String::new, |copy| format!("; a copy from before is {}", copy.display()))
}

/// Refuses a schema that is not this build's.
pub(crate) async fn require_current(path: &Path) -> Result<(), Error> {
    require(check(path).await?, path)
}

/// Refuses what is not this build's.
pub(crate) fn require(standing: Standing, path: &Path) -> Result<(), Error> {
    match standing {
        Standing::Current => Ok(()),
        Standing::Pending(steps) => Err(Error::Pending { path: path.to_owned(), steps }),
        Standing::Newer(found) => Err(newer(path, found)),
    }
}

fn newer(path: &Path, found: i64) -> Error {
    Error::Newer { path: path.to_owned(), found, known: known() }
}

fn known() -> i64 {
    STEPS.iter().map(|step| step.version).max().unwrap_or(0)
}

/// The steps that a database has seen, in order; none in an empty file.
async fn applied(connection: &mut SqliteConnection) -> Result<Vec<i64>, sqlx::Error> {
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await?;
    if made == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(connection)
        .await
}

fn standing(steps: &Migrator, applied: &[i64]) -> Standing {
    if let Some(unknown) = applied.iter().rfind(|version| !steps.version_exists(**version)) {
        return Standing::Newer(*unknown);
    }
    let missing = steps.iter().filter(|step| !applied.contains(&step.version)).count();
    if missing == 0 { Standing::Current } else { Standing::Pending(missing) }
}
