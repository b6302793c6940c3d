//! What a transaction costs on this disk with nothing around it: the measure that a write through the API is compared with. It knows
//! nothing of what is measured.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// About what a client key is stored as.
const ROW_BYTES: usize = 300;

/// How long each of so many transactions takes that add one row, one after another, written through to the disk.
///
/// # Errors
/// What SQLite says of a file in this folder.
pub async fn transactions(folder: &Path, count: usize) -> sqlx::Result<Vec<Duration>> {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await?;
    sqlx::query("CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT")
        .execute(&mut connection)
        .await?;
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO rows (row) VALUES (?)").bind(vec![7; ROW_BYTES]).execute(&mut *transaction).await?;
        transaction.commit().await?;
        took.push(start.elapsed());
    }
    connection.close().await?;
    Ok(took)
}
