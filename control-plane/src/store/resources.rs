//! The rows of resources, a table a kind: how they are read and removed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, TryStreamExt as _};
use signalbox_routing::{Kind, ResourceName};
use sqlx::SqliteConnection;

use super::Error;

/// A resource as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// What was said of it.
    pub(crate) spec: String,
    revision: i64,
    create_time_us: i64,
    update_time_us: i64,
}

impl Row {
    /// The revision that last changed it.
    pub(crate) fn revision(&self) -> Result<u64, Error> {
        unsigned("revision", &self.name, self.revision)
    }

    /// When it was made; the settings always were.
    pub(crate) fn create_time(&self) -> SystemTime {
        from_micros(self.create_time_us)
    }

    /// When it was last changed.
    pub(crate) fn update_time(&self) -> SystemTime {
        from_micros(self.update_time_us)
    }
}

/// A number that cannot be negative.
pub(crate) fn unsigned(column: &'static str, row: &str, value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Number { column, row: row.to_owned(), value })
}

/// Microseconds since the Unix epoch; a clock before 1970 counts as 1970.
pub(crate) fn to_micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The moment that is so many microseconds after the Unix epoch.
pub(crate) fn from_micros(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs())
}

macro_rules! taking {
    ($table:literal, $which:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ",
            $which,
            " RETURNING ? AS name, spec, revision, create_time_us, update_time_us"
        )
    };
}

/// Every resource there is.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>, Error> {
    stream(connection).try_collect().await
}

/// Every resource there is, one after the other.
pub(crate) fn stream(connection: &mut SqliteConnection) -> impl Stream<Item = Result<Row, Error>> + Send {
    sqlx::query_as(
        "SELECT 'settings' AS name, spec, revision, 0 AS create_time_us, update_time_us FROM settings
         UNION ALL SELECT 'providers/' || id, spec, revision, create_time_us, update_time_us FROM providers
         UNION ALL SELECT 'providers/' || provider || '/credentials/' || id, spec, revision, create_time_us, update_time_us
             FROM credentials
         UNION ALL SELECT 'clientKeys/' || id, spec, revision, create_time_us, update_time_us FROM client_keys
         UNION ALL SELECT 'redirects/' || id, spec, revision, create_time_us, update_time_us FROM redirects
         UNION ALL SELECT 'routes/' || id, spec, revision, create_time_us, update_time_us FROM routes",
    )
    .fetch(connection)
    .map_err(Error::from)
}

/// Removes the row of a resource, and hands it back; `None` where there was none.
pub(crate) async fn take(connection: &mut SqliteConnection, name: &ResourceName) -> Result<Option<Row>, Error> {
    let statement = match name.kind() {
        Kind::Settings => sqlx::query_as(
            "DELETE FROM settings RETURNING ? AS name, spec, revision, 0 AS create_time_us, update_time_us",
        ),
        Kind::Provider => sqlx::query_as(taking!("providers", "id = ?")),
        Kind::Credential => sqlx::query_as(taking!("credentials", "provider = ? AND id = ?")),
        Kind::ClientKey => sqlx::query_as(taking!("client_keys", "id = ?")),
        Kind::Redirect => sqlx::query_as(taking!("redirects", "id = ?")),
        Kind::Route => sqlx::query_as(taking!("routes", "id = ?")),
    };
    let parent = name.parent();
    let statement = match (name.kind(), &parent) {
        (Kind::Settings, _) => statement,
        (_, Some(parent)) => statement.bind(parent.id()).bind(name.id()),
        (_, None) => statement.bind(name.id()),
    };
    Ok(statement.bind(name.as_str()).fetch_optional(connection).await?)
}
