//! The rows of resources, a table a kind: how they are read and removed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, TryStreamExt as _, stream};
use serde::Deserialize;
use signalbox_routing::{Kind, ResourceName};
use sqlx::SqliteConnection;

use super::Error;

/// A resource as it is stored.
#[derive(Debug, sqlx::FromRow, Deserialize)]
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

/// Rows that are handed over at once.
const BLOCK: i64 = 1024;

/// The rowid before all that SQLite gives.
const BEFORE_ALL: i64 = i64::MIN;

/// Many rows as one text: to be handed each of them takes longer than all that is done with it.
#[derive(Debug)]
pub(crate) struct Block(String);

impl Block {
    /// The rows in it.
    pub(crate) fn rows(&self) -> Result<Vec<Row>, Error> {
        serde_json::from_str(&self.0).map_err(|error| sqlx::Error::Decode(error.into()).into())
    }
}

macro_rules! block {
    ($table:literal, $name:literal, $create_time:literal) => {
        concat!(
            "SELECT json_group_array(json_array(",
            $name,
            ", spec, revision, ",
            $create_time,
            ", update_time_us)), max(row) FROM (SELECT rowid AS row, * FROM ",
            $table,
            " WHERE rowid > ? ORDER BY rowid LIMIT ?)"
        )
    };
}

/// The rows of a kind after one, as a JSON array with an array for each, in the order of [`Row`]'s fields; and the last of them.
const fn block(kind: Kind) -> &'static str {
    match kind {
        Kind::Settings => block!("settings", "'settings'", "0"),
        Kind::Provider => block!("providers", "'providers/' || id", "create_time_us"),
        Kind::Credential => {
            block!("credentials", "'providers/' || provider || '/credentials/' || id", "create_time_us")
        }
        Kind::ClientKey => block!("client_keys", "'clientKeys/' || id", "create_time_us"),
        Kind::Redirect => block!("redirects", "'redirects/' || id", "create_time_us"),
        Kind::Route => block!("routes", "'routes/' || id", "create_time_us"),
    }
}

/// Every resource there is, as it was while nothing is written in between.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>, Error> {
    blocks(connection)
        .try_fold(Vec::new(), async |mut all, block| {
            all.extend(block.rows()?);
            Ok(all)
        })
        .await
}

/// Every resource there is, a kind after the other. Only in a transaction are they all of one moment.
pub(crate) fn blocks(connection: &mut SqliteConnection) -> impl Stream<Item = Result<Block, Error>> + Send {
    let start = (connection, Kind::ALL.as_slice(), BEFORE_ALL);
    stream::try_unfold(start, async |(connection, mut kinds, mut after)| {
        while let [kind, others @ ..] = kinds {
            let read = sqlx::query_as(block(*kind)).bind(after).bind(BLOCK).fetch_one(&mut *connection);
            let (rows, last): (String, Option<i64>) = read.await?;
            if let Some(last) = last {
                return Ok(Some((Block(rows), (connection, kinds, last))));
            }
            (kinds, after) = (others, BEFORE_ALL);
        }
        Ok(None)
    })
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
