//! Removes what is past its time, in pieces that are small enough for a write to wait for. When that is, it is told.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{Error, resources::to_micros};

/// The rows of one piece at most.
pub(crate) const PIECE: u32 = 500;

/// The first revision of all, in order, that was committed at that moment or later.
pub(crate) async fn first_since(connection: &mut SqliteConnection, moment: SystemTime) -> Result<Option<u64>, Error> {
    let first: Option<i64> = sqlx::query_scalar("SELECT min(revision) FROM revisions WHERE commit_time_us >= ?")
        .bind(to_micros(moment))
        .fetch_one(connection)
        .await?;
    Ok(first.map(i64::cast_unsigned))
}

/// Takes the revisions before that one from everybody's sight.
pub(crate) async fn hide(connection: &mut SqliteConnection, before: u64) -> Result<(), Error> {
    sqlx::query("UPDATE revisions SET forgotten = 1 WHERE revision < ? AND forgotten = 0")
        .bind(before.cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes a piece of what is out of sight, and says whether there is more.
pub(crate) async fn forget(connection: &mut SqliteConnection, requests_until: SystemTime) -> Result<bool, Error> {
    let changes = sqlx::query(
        "DELETE FROM changes WHERE (revision, name) IN (
             SELECT changes.revision, name FROM revisions JOIN changes USING (revision) WHERE forgotten = 1
             ORDER BY changes.revision LIMIT ?
         )",
    )
    .bind(PIECE)
    .execute(&mut *connection)
    .await?;
    let revisions = sqlx::query(
        "DELETE FROM revisions WHERE revision IN (
             SELECT revision FROM revisions WHERE forgotten = 1
                 AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.revision = revisions.revision)
             ORDER BY revision LIMIT ?
         )",
    )
    .bind(PIECE)
    .execute(&mut *connection)
    .await?;
    // What went out of use by the oldest kept revision was in force at none of them.
    let secrets = sqlx::query(
        "DELETE FROM past_secrets WHERE (resource, field, until) IN (
             SELECT resource, field, until FROM past_secrets
             WHERE until <= (SELECT min(revision) FROM revisions WHERE forgotten = 0) LIMIT ?
         )",
    )
    .bind(PIECE)
    .execute(&mut *connection)
    .await?;
    let requests = sqlx::query(
        "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE commit_time_us <= ? LIMIT ?)",
    )
    .bind(to_micros(requests_until))
    .bind(PIECE)
    .execute(connection)
    .await?;
    let removed = [changes, revisions, secrets, requests];
    Ok(removed.iter().any(|removed| removed.rows_affected() >= u64::from(PIECE)))
}
