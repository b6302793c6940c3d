//! The rows of history: where it stands, each revision, and what each made of what it touched.

use std::time::SystemTime;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Error,
    resources::{from_micros, to_micros, unsigned},
};

/// Where history stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Which history.
    pub(crate) epoch: String,
    /// How far along it.
    pub(crate) revision: u64,
    /// The digest of what data planes hold there.
    pub(crate) digest: [u8; 32],
    /// The digest of what the tables hold; `None` = it was last moved by a build that kept none.
    pub(crate) content: Option<[u8; 32]>,
    /// When it got there.
    pub(crate) commit_time: SystemTime,
}

/// What a revision says about itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Who made it.
    pub(crate) actor: &'a str,
    /// Where from.
    pub(crate) source_ip: Option<&'a str>,
    /// By which call.
    pub(crate) method: &'a str,
    /// The caller's id of that call.
    pub(crate) request_id: Option<&'a str>,
    /// The revision whose content it brings back.
    pub(crate) rollback_of: Option<u64>,
    /// How many resources it touches.
    pub(crate) change_count: usize,
    /// For people.
    pub(crate) comment: &'a str,
}

/// Who does what a control plane does by itself, or at its operator's console.
pub(crate) const ITSELF: &str = "signalbox";

impl<'a> Record<'a> {
    /// What a control plane says of what it does by itself, or at its operator's console.
    pub(crate) const fn own(method: &'a str, comment: &'a str) -> Self {
        Self { actor: ITSELF, source_ip: None, method, request_id: None, rollback_of: None, change_count: 0, comment }
    }
}

/// A revision as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    revision: i64,
    /// The history that it belongs to.
    pub(crate) epoch: String,
    digest: Vec<u8>,
    commit_time_us: i64,
    /// Who made it.
    pub(crate) actor: String,
    /// Where from.
    pub(crate) source_ip: Option<String>,
    /// By which call.
    pub(crate) method: String,
    /// The caller's id of that call.
    pub(crate) request_id: Option<String>,
    rollback_of: Option<i64>,
    change_count: i64,
    /// For people.
    pub(crate) comment: String,
}

impl Row {
    /// Its number.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision.cast_unsigned()
    }

    /// Over what data planes hold at it.
    pub(crate) fn digest(&self) -> Result<[u8; 32], Error> {
        digest(&self.digest)
    }

    /// When it was committed.
    pub(crate) fn commit_time(&self) -> SystemTime {
        from_micros(self.commit_time_us)
    }

    /// The revision whose content it brought back.
    pub(crate) fn rollback_of(&self) -> Option<u64> {
        self.rollback_of.map(i64::cast_unsigned)
    }

    /// How many resources it touched.
    pub(crate) fn change_count(&self) -> u32 {
        u32::try_from(self.change_count).unwrap_or(u32::MAX)
    }
}

/// A name that a revision touched.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Touched {
    revision: i64,
    digest: Vec<u8>,
    /// The resource; a revision that touched none has one row without.
    pub(crate) name: Option<String>,
}

impl Touched {
    /// The revision.
    pub(crate) fn revision(&self) -> Result<u64, Error> {
        unsigned("revision", "revisions", self.revision)
    }

    /// Whether it is of that revision.
    pub(crate) fn is_of(&self, revision: u64) -> bool {
        self.revision.cast_unsigned() == revision
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> Result<[u8; 32], Error> {
        digest(&self.digest)
    }
}

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Digest(bytes.len()))
}

/// Epoch, revision, digest, digest of the tables, and the commit time.
type HeadRow = (String, i64, Vec<u8>, Option<Vec<u8>>, i64);

/// Where history stands; `None` in a database that has none yet.
pub(crate) async fn head(connection: &mut SqliteConnection) -> Result<Option<Head>, Error> {
    let row: Option<HeadRow> = sqlx::query_as(
        "SELECT head.epoch, revision, head.digest, content, commit_time_us FROM head JOIN revisions USING (revision)",
    )
    .fetch_optional(connection)
    .await?;
    let Some((epoch, revision, bytes, content, commit_time_us)) = row else { return Ok(None) };
    Ok(Some(Head {
        epoch,
        revision: unsigned("revision", "head", revision)?,
        digest: digest(&bytes)?,
        content: content.as_deref().map(digest).transpose()?,
        commit_time: from_micros(commit_time_us),
    }))
}

/// Moves history on by one revision.
pub(crate) async fn advance(connection: &mut SqliteConnection, to: &Head, record: &Record<'_>) -> Result<(), Error> {
    let Head { epoch, revision, digest, content, commit_time } = to;
    let Record { actor, source_ip, method, request_id, rollback_of, change_count, comment } = record;
    sqlx::query(
        "INSERT INTO revisions (revision, epoch, digest, commit_time_us, actor, source_ip, method, request_id,
             rollback_of, change_count, comment)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(revision.cast_signed())
    .bind(epoch)
    .bind(digest.as_slice())
    .bind(to_micros(*commit_time))
    .bind(actor)
    .bind(source_ip)
    .bind(method)
    .bind(request_id)
    .bind(rollback_of.map(u64::cast_signed))
    .bind(i64::try_from(*change_count).unwrap_or(i64::MAX))
    .bind(comment)
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT OR REPLACE INTO head (one, epoch, revision, digest, content) VALUES (1, ?, ?, ?, ?)")
        .bind(epoch)
        .bind(revision.cast_signed())
        .bind(digest.as_slice())
        .bind(content.as_ref().map(<[u8; 32]>::as_slice))
        .execute(connection)
        .await?;
    Ok(())
}

/// Goes on as another history: with one revision that changes nothing, and after which no position of before means anything.
/// `digest` is what data planes hold from there on.
pub(crate) async fn begin_epoch(
    connection: &mut SqliteConnection,
    from: &Head,
    digest: [u8; 32],
    record: &Record<'_>,
) -> Result<Head, Error> {
    let head = Head {
        epoch: Uuid::new_v4().to_string(),
        revision: from.revision + 1,
        digest,
        content: from.content,
        commit_time: from_micros(to_micros(SystemTime::now())),
    };
    advance(connection, &head, record).await?;
    Ok(head)
}

/// Whether a position is of this history's past, as far as that is kept.
pub(crate) async fn knows(
    connection: &mut SqliteConnection,
    epoch: &str,
    revision: u64,
    digest: &[u8; 32],
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM revisions WHERE revision = ? AND epoch = ? AND digest = ?)
             OR ? < (SELECT min(revision) FROM revisions)",
    )
    .bind(revision.cast_signed())
    .bind(epoch)
    .bind(digest.as_slice())
    .bind(revision.cast_signed())
    .fetch_one(connection)
    .await?)
}

/// Fills in the digest of the tables where no build has kept it.
pub(crate) async fn keep_content(connection: &mut SqliteConnection, content: [u8; 32]) -> Result<(), Error> {
    sqlx::query("UPDATE head SET content = ?").bind(content.as_slice()).execute(connection).await?;
    Ok(())
}

/// A revision that is kept.
pub(crate) async fn get(connection: &mut SqliteConnection, revision: u64) -> Result<Option<Row>, Error> {
    Ok(sqlx::query_as("SELECT * FROM revisions WHERE revision = ? AND forgotten = 0")
        .bind(revision.cast_signed())
        .fetch_optional(connection)
        .await?)
}

/// The revisions that are kept before that one, latest first.
pub(crate) async fn before(connection: &mut SqliteConnection, revision: u64, limit: usize) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as("SELECT * FROM revisions WHERE revision < ? AND forgotten = 0 ORDER BY revision DESC LIMIT ?")
        .bind(i64::try_from(revision).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?)
}

/// The earliest revision that is kept.
pub(crate) async fn oldest(connection: &mut SqliteConnection) -> Result<Option<u64>, Error> {
    let oldest: Option<i64> =
        sqlx::query_scalar("SELECT min(revision) FROM revisions WHERE forgotten = 0").fetch_one(connection).await?;
    Ok(oldest.map(i64::cast_unsigned))
}

/// What the latest revisions of an epoch touched, oldest first: so many names at most, so that of the oldest some may be missing.
pub(crate) async fn recent(
    connection: &mut SqliteConnection,
    epoch: &str,
    names: usize,
) -> Result<Vec<Touched>, Error> {
    Ok(sqlx::query_as(
        "SELECT * FROM (
             SELECT revisions.revision, digest, name FROM revisions LEFT JOIN changes USING (revision)
             WHERE epoch = ? AND forgotten = 0 ORDER BY revisions.revision DESC LIMIT ?
         ) ORDER BY revision",
    )
    .bind(epoch)
    .bind(i64::try_from(names).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?)
}
