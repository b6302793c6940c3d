//! The rows of admin tokens. Whose they are and what they may do is not known here.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{
    Error,
    resources::{from_micros, to_micros, unsigned},
};

/// An admin token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    /// Its id.
    pub(crate) id: String,
    /// The digest of its secret; `None` = it is a certificate.
    pub(crate) sha256: Option<Vec<u8>>,
    /// The name in its certificate; `None` = it has a secret.
    pub(crate) certificate_name: Option<String>,
    /// How its secret begins.
    pub(crate) display_prefix: String,
    /// What was said of it.
    pub(crate) spec: String,
    version: i64,
    update_time_us: i64,
    create_time_us: i64,
}

/// When a row was made and changed, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// How often it was changed, its making included.
    pub(crate) version: u64,
    /// When it was made.
    pub(crate) create_time: SystemTime,
    /// When it was last changed.
    pub(crate) update_time: SystemTime,
}

impl Row {
    /// A token that is new; nobody would be recognised by it yet.
    pub(crate) fn new(id: String, spec: String, now: SystemTime) -> Self {
        Self {
            id,
            sha256: None,
            certificate_name: None,
            display_prefix: String::new(),
            spec,
            version: 1,
            update_time_us: to_micros(now),
            create_time_us: to_micros(now),
        }
    }

    /// The same token with something else said of it, one version on.
    pub(crate) fn rewritten(mut self, spec: String, now: SystemTime) -> Self {
        self.spec = spec;
        self.version = self.version.saturating_add(1);
        self.update_time_us = to_micros(now);
        self
    }

    /// When it was made and changed.
    pub(crate) fn stamp(&self) -> Result<Stamp, Error> {
        Ok(Stamp {
            version: unsigned("version", &self.id, self.version)?,
            create_time: from_micros(self.create_time_us),
            update_time: from_micros(self.update_time_us),
        })
    }
}

/// Every token there is.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as(
        "SELECT id, sha256, certificate_name, display_prefix, spec, version, update_time_us, create_time_us
         FROM admin_tokens",
    )
    .fetch_all(connection)
    .await?)
}

/// Keeps a token in place of the one of its id.
pub(crate) async fn put(connection: &mut SqliteConnection, row: &Row) -> Result<(), Error> {
    delete(connection, &row.id).await?;
    sqlx::query(
        "INSERT INTO admin_tokens
             (id, sha256, certificate_name, display_prefix, spec, version, update_time_us, create_time_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.id)
    .bind(&row.sha256)
    .bind(&row.certificate_name)
    .bind(&row.display_prefix)
    .bind(&row.spec)
    .bind(row.version)
    .bind(row.update_time_us)
    .bind(row.create_time_us)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a token.
pub(crate) async fn delete(connection: &mut SqliteConnection, id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM admin_tokens WHERE id = ?").bind(id).execute(connection).await?;
    Ok(())
}
