//! The rows of the audit: one for each change and each refusal.

use std::{borrow::Cow, net::IpAddr, time::SystemTime};

use sqlx::SqliteConnection;

use super::{
    Error,
    resources::{from_micros, to_micros, unsigned},
};
use crate::audit::{Deed, What};

/// Entries that go in one transaction at most, so that no write waits long for it.
const MAX_PRUNED: i64 = 2_000;

/// An entry as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    sequence: i64,
    time_us: i64,
    actor: String,
    source_ip: Option<String>,
    method: String,
    resource: String,
    code: String,
    reason: String,
    revision: Option<i64>,
    request_id: String,
    repeated_count: i64,
}

impl Row {
    /// Its number, and what it says.
    pub(crate) fn read(self) -> Result<(u64, Deed), Error> {
        let sequence = unsigned("sequence", "audit_entries", self.sequence)?;
        let revision = self.revision.map(|revision| unsigned("revision", "audit_entries", revision)).transpose()?;
        let repeated = unsigned("repeated_count", "audit_entries", self.repeated_count)?;
        let what = What {
            actor: self.actor.into(),
            source_ip: self.source_ip.and_then(|ip| ip.parse::<IpAddr>().ok()),
            method: Cow::Owned(self.method),
            resource: self.resource,
            code: Cow::Owned(self.code),
            reason: Cow::Owned(self.reason),
            request_id: self.request_id,
        };
        let repeated = u32::try_from(repeated).unwrap_or(u32::MAX);
        Ok((sequence, Deed { time: from_micros(self.time_us), what, revision, repeated }))
    }
}

/// Adds an entry after all others.
pub(crate) async fn add(connection: &mut SqliteConnection, deed: &Deed) -> Result<(), Error> {
    let Deed { time, what, revision, repeated } = deed;
    let What { actor, source_ip, method, resource, code, reason, request_id } = what;
    sqlx::query(
        "INSERT INTO audit_entries
             (time_us, actor, source_ip, method, resource, code, reason, revision, request_id, repeated_count)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(to_micros(*time))
    .bind(actor.as_ref())
    .bind(source_ip.map(|ip| ip.to_string()))
    .bind(method.as_ref())
    .bind(resource)
    .bind(code.as_ref())
    .bind(reason.as_ref())
    .bind(revision.map(u64::cast_signed))
    .bind(request_id)
    .bind(i64::from(*repeated))
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest entries before a number, newest first.
pub(crate) async fn before(connection: &mut SqliteConnection, sequence: u64, limit: usize) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as(
        "SELECT sequence, time_us, actor, source_ip, method, resource, code, reason, revision, request_id, repeated_count
         FROM audit_entries WHERE sequence < ? ORDER BY sequence DESC LIMIT ?",
    )
    .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?)
}

/// Removes entries, oldest first, that are from before a moment or are more than so many. Says how many went; there may be more.
pub(crate) async fn prune(connection: &mut SqliteConnection, entries: u64, since: SystemTime) -> Result<u64, Error> {
    // By the latest number rather than by a count, which would read the whole table: numbers that a dry run took are gaps.
    let pruned = sqlx::query(
        "DELETE FROM audit_entries WHERE sequence IN (
             SELECT sequence FROM audit_entries
             WHERE time_us < ? OR sequence <= (SELECT max(sequence) FROM audit_entries) - ?
             ORDER BY sequence LIMIT ?)",
    )
    .bind(to_micros(since))
    .bind(i64::try_from(entries).unwrap_or(i64::MAX))
    .bind(MAX_PRUNED)
    .execute(connection)
    .await?;
    Ok(pruned.rows_affected())
}
