//! The row that says that this history must not take the place of what data planes hold.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{
    Error,
    resources::{to_micros, unsigned},
    revisions::{Head, digest},
};

/// Where a history was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Which history.
    pub(crate) epoch: String,
    /// The last revision that was kept of it.
    pub(crate) revision: u64,
    /// The digest of what data planes hold there.
    pub(crate) digest: [u8; 32],
}

impl From<&Head> for Cut {
    fn from(head: &Head) -> Self {
        Self { epoch: head.epoch.clone(), revision: head.revision, digest: head.digest }
    }
}

/// The fence; `None` = there is none.
pub(crate) async fn get(connection: &mut SqliteConnection) -> Result<Option<Cut>, Error> {
    let row: Option<(String, i64, Vec<u8>)> =
        sqlx::query_as("SELECT epoch, revision, digest FROM fences").fetch_optional(connection).await?;
    let Some((epoch, revision, bytes)) = row else { return Ok(None) };
    Ok(Some(Cut { epoch, revision: unsigned("revision", "fences", revision)?, digest: digest(&bytes)? }))
}

/// Sets the fence, in place of one that is there.
pub(crate) async fn set(connection: &mut SqliteConnection, cut: &Cut) -> Result<(), Error> {
    sqlx::query("INSERT OR REPLACE INTO fences (one, epoch, revision, digest, create_time_us) VALUES (1, ?, ?, ?, ?)")
        .bind(&cut.epoch)
        .bind(cut.revision.cast_signed())
        .bind(cut.digest.as_slice())
        .bind(to_micros(SystemTime::now()))
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the fence away.
pub(crate) async fn remove(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("DELETE FROM fences").execute(connection).await?;
    Ok(())
}
