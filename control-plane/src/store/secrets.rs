//! The rows of sealed secrets and of the key that they are sealed under. What is inside them is not known here.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{
    Error,
    resources::{to_micros, unsigned},
};
use crate::seal::{Place, Wrapped};

/// The one data key that a database has.
const DATA_KEY: i64 = 1;

/// A sealed secret as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    /// The name of the resource that it belongs to.
    pub(crate) resource: String,
    /// The path of its field.
    pub(crate) field: String,
    version: i64,
    /// The secret, sealed.
    pub(crate) sealed: Vec<u8>,
}

impl Row {
    /// How often it has been set.
    pub(crate) fn version(&self) -> Result<u64, Error> {
        unsigned("version", &self.resource, self.version)
    }
}

/// The data key; `None` in a new database.
pub(crate) async fn data_key(connection: &mut SqliteConnection) -> Result<Option<Wrapped>, Error> {
    let row: Option<(String, Vec<u8>)> = sqlx::query_as("SELECT master_key_id, wrapped FROM data_keys WHERE id = ?")
        .bind(DATA_KEY)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(master_key_id, wrapped)| Wrapped { master_key_id, wrapped }))
}

/// Keeps the data key of a new database.
pub(crate) async fn keep_data_key(
    connection: &mut SqliteConnection,
    key: &Wrapped,
    now: SystemTime,
) -> Result<(), Error> {
    sqlx::query("INSERT INTO data_keys (id, master_key_id, wrapped, create_time_us) VALUES (?, ?, ?, ?)")
        .bind(DATA_KEY)
        .bind(&key.master_key_id)
        .bind(&key.wrapped)
        .bind(to_micros(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps another data key, or the same one wrapped anew, in place of the one that was there.
pub(crate) async fn replace_data_key(
    connection: &mut SqliteConnection,
    key: &Wrapped,
    now: SystemTime,
) -> Result<(), Error> {
    sqlx::query("UPDATE data_keys SET master_key_id = ?, wrapped = ?, create_time_us = ? WHERE id = ?")
        .bind(&key.master_key_id)
        .bind(&key.wrapped)
        .bind(to_micros(now))
        .bind(DATA_KEY)
        .execute(connection)
        .await?;
    Ok(())
}

/// Every secret there is.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as("SELECT resource, field, version, sealed FROM secrets").fetch_all(connection).await?)
}

/// The secrets of a resource.
pub(crate) async fn of(connection: &mut SqliteConnection, resource: &str) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as("SELECT resource, field, version, sealed FROM secrets WHERE resource = ?")
        .bind(resource)
        .fetch_all(connection)
        .await?)
}

/// The secrets of a resource that were in force at a revision.
pub(crate) async fn of_past(connection: &mut SqliteConnection, resource: &str, at: u64) -> Result<Vec<Row>, Error> {
    // What has no revision was set before that was kept, and so before every revision of which more is known.
    Ok(sqlx::query_as(
        "SELECT resource, field, version, sealed FROM secrets WHERE resource = ?1 AND coalesce(revision, 0) <= ?2
         UNION ALL
         SELECT resource, field, version, sealed FROM past_secrets
         WHERE resource = ?1 AND coalesce(revision, 0) <= ?2 AND until > ?2",
    )
    .bind(resource)
    .bind(at.cast_signed())
    .fetch_all(connection)
    .await?)
}

/// The resource and field of every secret that was in force at a revision and no longer is.
pub(crate) async fn replaced_since(connection: &mut SqliteConnection, at: u64) -> Result<Vec<(String, String)>, Error> {
    Ok(sqlx::query_as(
        "SELECT DISTINCT resource, field FROM past_secrets WHERE coalesce(revision, 0) <= ?1 AND until > ?1
         ORDER BY resource, field",
    )
    .bind(at.cast_signed())
    .fetch_all(connection)
    .await?)
}

/// Keeps a secret, set by that revision, in place of the one that was there.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    place: Place<'_>,
    sealed: &[u8],
    revision: u64,
) -> Result<(), Error> {
    retire(connection, place.resource, place.field, revision).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO secrets (resource, field, version, data_key, sealed, revision) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(place.resource)
    .bind(place.field)
    .bind(place.version.cast_signed())
    .bind(DATA_KEY)
    .bind(sealed)
    .bind(revision.cast_signed())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a secret out of use; it is kept as long as the revisions that it was in force at.
pub(crate) async fn delete(
    connection: &mut SqliteConnection,
    resource: &str,
    field: &str,
    revision: u64,
) -> Result<(), Error> {
    retire(connection, resource, field, revision).await?;
    sqlx::query("DELETE FROM secrets WHERE resource = ? AND field = ?")
        .bind(resource)
        .bind(field)
        .execute(connection)
        .await?;
    Ok(())
}

async fn retire(connection: &mut SqliteConnection, resource: &str, field: &str, revision: u64) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO past_secrets (resource, field, until, revision, version, data_key, sealed)
         SELECT resource, field, ?, revision, version, data_key, sealed FROM secrets WHERE resource = ? AND field = ?",
    )
    .bind(revision.cast_signed())
    .bind(resource)
    .bind(field)
    .execute(connection)
    .await?;
    Ok(())
}
