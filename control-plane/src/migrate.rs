//! Brings a database file to this build's schema, or says what it would take. It knows the schema's versions, not what is in it.

use std::path::{Path, PathBuf};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::SqliteConnectOptions,
};

use crate::store::{self, lock};

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
    /// A step failed; the ones before it stand.
    #[error("{} cannot be migrated", .path.display())]
    Step {
        /// The database file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: MigrateError,
    },
    /// After the steps the database is not whole.
    #[error("{} is not whole after its migration: {finding}", .path.display())]
    NotWhole {
        /// The database file.
        path: PathBuf,
        /// SQLite's first complaint.
        finding: String,
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
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.connect().await.map_err(|source| store::Error::open(path, source))?;
    let standing = standing(&mut connection).await.map_err(store::Error::from)?;
    connection.close().await.map_err(store::Error::from)?;
    Ok(standing)
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
    // Steps that rebuild a table need foreign keys off, which has no effect once their transaction has begun.
    let options = store::options(path).create_if_missing(true).foreign_keys(false);
    let mut connection = options.connect().await.map_err(|source| store::Error::open(path, source))?;
    let before = standing(&mut connection).await.map_err(store::Error::from)?;
    match before {
        Standing::Current => {}
        Standing::Newer(found) => return Err(newer(path, found)),
        Standing::Pending(_) => {
            STEPS.run(&mut connection).await.map_err(|source| Error::Step { path: path.to_owned(), source })?;
            verify(path, &mut connection).await?;
        }
    }
    connection.close().await.map_err(store::Error::from)?;
    Ok(before)
}

/// Refuses a schema that is not this build's.
pub(crate) async fn require_current(path: &Path) -> Result<(), Error> {
    match check(path).await? {
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

async fn standing(connection: &mut SqliteConnection) -> Result<Standing, sqlx::Error> {
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<i64> = if made == 0 {
        Vec::new()
    } else {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(connection)
            .await?
    };
    if let Some(unknown) = applied.iter().rfind(|version| !STEPS.version_exists(**version)) {
        return Ok(Standing::Newer(*unknown));
    }
    let missing = STEPS.iter().filter(|step| !applied.contains(&step.version)).count();
    Ok(if missing == 0 { Standing::Current } else { Standing::Pending(missing) })
}

/// What `foreign_keys=OFF` let through must not stay.
pub(crate) async fn verify(path: &Path, connection: &mut SqliteConnection) -> Result<(), Error> {
    let not_whole = |finding| Error::NotWhole { path: path.to_owned(), finding };
    let dangling: Option<(String, String)> =
        sqlx::query_as("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(store::Error::from)?;
    if let Some((table, parent)) = dangling {
        return Err(not_whole(format!("a row of {table} refers to nothing in {parent}")));
    }
    let integrity: String = sqlx::query_scalar("SELECT integrity_check FROM pragma_integrity_check LIMIT 1")
        .fetch_one(connection)
        .await
        .map_err(store::Error::from)?;
    if integrity == "ok" { Ok(()) } else { Err(not_whole(integrity)) }
}
