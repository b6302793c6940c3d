//! The rows of what each revision changed: both sides of every resource that it touched.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{
    Error,
    resources::{self, from_micros, to_micros, unsigned},
};

/// A change to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewChange<'a> {
    /// The resource.
    pub(crate) name: &'a str,
    /// Its row until now; `None` = it is new.
    pub(crate) before: Option<&'a resources::Row>,
    /// How often its secret had been set until now.
    pub(crate) secret_version: u64,
    /// What is said of it from now on; `None` = it goes.
    pub(crate) spec: Option<&'a str>,
    /// The fields of the secrets that are set or dropped, as a JSON array.
    pub(crate) secret_fields: &'a str,
}

/// One resource's change.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    /// The resource.
    pub(crate) name: String,
    /// What was said of it before; `None` = it was not there.
    pub(crate) before_spec: Option<String>,
    /// What was said of it afterwards; `None` = it went.
    pub(crate) spec: Option<String>,
    /// The fields of the secrets that were set or dropped, as a JSON array; `None` = that was not kept.
    pub(crate) secret_fields: Option<String>,
}

/// A resource as it was.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Past {
    /// Its name.
    pub(crate) name: String,
    /// What was said of it; `None` = it was not there.
    pub(crate) before_spec: Option<String>,
    before_revision: Option<i64>,
    before_update_time_us: Option<i64>,
    before_create_time_us: Option<i64>,
    before_secret_version: Option<i64>,
}

impl Past {
    /// The revision that had last changed it.
    pub(crate) fn revision(&self) -> Result<u64, Error> {
        unsigned("before_revision", &self.name, self.before_revision.unwrap_or_default())
    }

    /// When it was made.
    pub(crate) fn create_time(&self) -> SystemTime {
        from_micros(self.before_create_time_us.unwrap_or_default())
    }

    /// When it had last been changed.
    pub(crate) fn update_time(&self) -> SystemTime {
        from_micros(self.before_update_time_us.unwrap_or_default())
    }

    /// How often its secret had been set; 0 where that was not kept.
    pub(crate) fn secret_version(&self) -> Result<u64, Error> {
        unsigned("before_secret_version", &self.name, self.before_secret_version.unwrap_or_default())
    }
}

/// Keeps what a revision makes of a resource.
pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    revision: u64,
    change: &NewChange<'_>,
) -> Result<(), Error> {
    let NewChange { name, before, secret_version, spec, secret_fields } = *change;
    let stamped = before.map(resources::Row::revision).transpose()?;
    sqlx::query(
        "INSERT INTO changes (revision, name, spec, secret_fields, before_spec, before_revision,
             before_update_time_us, before_create_time_us, before_secret_version)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(revision.cast_signed())
    .bind(name)
    .bind(spec)
    .bind(secret_fields)
    .bind(before.map(|row| row.spec.as_str()))
    .bind(stamped.map(u64::cast_signed))
    .bind(before.map(|row| to_micros(row.update_time())))
    .bind(before.map(|row| to_micros(row.create_time())))
    .bind(before.map(|_| secret_version.cast_signed()))
    .execute(connection)
    .await?;
    Ok(())
}

/// What a revision changed, by name.
pub(crate) async fn of(connection: &mut SqliteConnection, revision: u64) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as("SELECT name, before_spec, spec, secret_fields FROM changes WHERE revision = ? ORDER BY name")
        .bind(revision.cast_signed())
        .fetch_all(connection)
        .await?)
}

/// The names that the revisions from one to another touched, each with its revision.
pub(crate) async fn names(connection: &mut SqliteConnection, from: u64, to: u64) -> Result<Vec<(u64, String)>, Error> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT revision, name FROM changes WHERE revision BETWEEN ? AND ? ORDER BY revision, name")
            .bind(from.cast_signed())
            .bind(to.cast_signed())
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(revision, name)| (revision.cast_unsigned(), name)).collect())
}

/// Everything that was touched after one revision and up to another, as it was at the first.
pub(crate) async fn undone(connection: &mut SqliteConnection, at: u64, from: u64) -> Result<Vec<Past>, Error> {
    // Beside min(), bare columns are those of the row that has the minimum (https://www.sqlite.org/lang_select.html#bareagg).
    Ok(sqlx::query_as(
        "SELECT min(revision), name, before_spec, before_revision, before_update_time_us,
             before_create_time_us, before_secret_version
         FROM changes WHERE revision > ? AND revision <= ? GROUP BY name",
    )
    .bind(at.cast_signed())
    .bind(from.cast_signed())
    .fetch_all(connection)
    .await?)
}
