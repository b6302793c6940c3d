//! Copies of a database file: taken while others read and write it, looked at, and only then given their name.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    BUSY_TIMEOUT, Error, content,
    revisions::{self, Head},
};
use crate::files;

/// A connection that reads a file and cannot change it.
pub(crate) async fn reader(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    options.connect().await.map_err(|source| Error::open(path, source))
}

/// Copies a database to where there is no file yet, and says where its history stands; `None` = it has none, or is of a schema from
/// before there was a digest of its tables.
///
/// # Errors
/// See [`Error`]; whichever it is, no file of that name has come to be.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<Option<Head>, Error> {
    if to.exists() {
        return Err(Error::Exists { path: to.to_owned() });
    }
    let unfinished = files::unfinished(to);
    let failed = |source| Error::File { path: to.to_owned(), source };
    // Empty and its owner's alone before anything is in it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(failed)?;
    // Locked, so that nobody takes it for abandoned. A file system without locks is no reason to have no copy.
    let _ = file.lock();
    match fill(from, &unfinished, &file).await {
        Ok(head) => {
            files::settle_new(&unfinished, to).map_err(failed)?;
            Ok(head)
        }
        Err(error) => {
            // What cannot be removed either is told by its name.
            let _ = std::fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

async fn fill(from: &Path, to: &Path, file: &File) -> Result<Option<Head>, Error> {
    let failed = |source| Error::File { path: to.to_owned(), source };
    let text = to.to_str().ok_or_else(|| Error::NotText { path: to.to_owned() })?;
    let mut connection = reader(from).await?;
    sqlx::query("VACUUM INTO ?").bind(text).execute(&mut connection).await?;
    connection.close().await?;
    file.sync_all().map_err(failed)?;
    verify(to).await
}

/// Looks at a file as nobody does who only opens it: every page, every reference, and whether the tables hold what was committed.
///
/// # Errors
/// [`Error::NotWhole`] and [`Error::Changed`] say what is wrong with it.
pub(crate) async fn verify(path: &Path) -> Result<Option<Head>, Error> {
    // Else a file that is not there is said to be no database.
    File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let mut connection = reader(path).await?;
    require_whole(path, &mut connection).await?;
    let head = committed(path, &mut connection).await?;
    connection.close().await?;
    Ok(head)
}

async fn committed(path: &Path, connection: &mut SqliteConnection) -> Result<Option<Head>, Error> {
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM pragma_table_info('head') WHERE name = 'content'")
        .fetch_one(&mut *connection)
        .await?;
    if told == 0 {
        return Ok(None);
    }
    let head = revisions::head(connection).await?;
    if let Some(content) = head.as_ref().and_then(|head| head.content)
        && content::recompute(connection).await?.as_bytes() != &content
    {
        return Err(Error::Changed { path: path.to_owned() });
    }
    Ok(head)
}

/// Every page must be sound, and every reference lead somewhere.
pub(crate) async fn require_whole(path: &Path, connection: &mut SqliteConnection) -> Result<(), Error> {
    let not_whole = |finding| Error::NotWhole { path: path.to_owned(), finding };
    let integrity: String = sqlx::query_scalar("SELECT integrity_check FROM pragma_integrity_check LIMIT 1")
        .fetch_one(&mut *connection)
        .await?;
    if integrity != "ok" {
        return Err(not_whole(integrity));
    }
    let dangling: Option<(String, String)> =
        sqlx::query_as("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1")
            .fetch_optional(connection)
            .await?;
    match dangling {
        None => Ok(()),
        Some((table, parent)) => Err(not_whole(format!("a row of {table} refers to nothing in {parent}"))),
    }
}
