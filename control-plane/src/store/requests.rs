//! The rows of calls that are done once. What their answers say is not known here.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{Error, resources::to_micros};

/// A call that was done.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    /// Which call it was.
    pub(crate) method: String,
    /// The sealed digest of what was sent.
    pub(crate) digest: Vec<u8>,
    /// How it was answered.
    pub(crate) answer: Vec<u8>,
}

/// Which call, by whose account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    /// Who made it.
    pub(crate) actor: &'a str,
    /// The caller's id of it.
    pub(crate) id: &'a str,
}

/// The call, if it was done after that moment.
pub(crate) async fn get(
    connection: &mut SqliteConnection,
    key: Key<'_>,
    after: SystemTime,
) -> Result<Option<Row>, Error> {
    let statement = "SELECT method, digest, answer FROM requests WHERE actor = ? AND id = ? AND commit_time_us > ?";
    Ok(sqlx::query_as(statement).bind(key.actor).bind(key.id).bind(to_micros(after)).fetch_optional(connection).await?)
}

/// Keeps a call, in place of one of that id that is too old to count.
pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    key: Key<'_>,
    row: &Row,
    now: SystemTime,
) -> Result<(), Error> {
    let Row { method, digest, answer } = row;
    sqlx::query(
        "INSERT OR REPLACE INTO requests (actor, id, method, digest, answer, commit_time_us) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(key.actor)
    .bind(key.id)
    .bind(method)
    .bind(digest)
    .bind(answer)
    .bind(to_micros(now))
    .execute(connection)
    .await?;
    Ok(())
}
