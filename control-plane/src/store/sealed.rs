//! Everything in the tables that is sealed under the data key, wherever it is: for when that key is another one.

use sqlx::SqliteConnection;

use super::{Error, resources::unsigned};
use crate::seal::Place;

/// Something sealed, and where it is.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    table_name: String,
    resource: String,
    field: String,
    version: i64,
    until: i64,
    /// As it is stored.
    pub(crate) sealed: Vec<u8>,
}

impl Row {
    /// Where it opens.
    pub(crate) fn place(&self) -> Result<Place<'_>, Error> {
        let version = unsigned("version", &self.resource, self.version)?;
        Ok(Place { resource: &self.resource, field: &self.field, version })
    }
}

/// Everything there is.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as(
        "SELECT 'secrets' AS table_name, resource, field, version, 0 AS until, sealed FROM secrets
         UNION ALL SELECT 'past_secrets', resource, field, version, until, sealed FROM past_secrets
         UNION ALL SELECT 'requests', actor, id, 0, 0, digest FROM requests",
    )
    .fetch_all(connection)
    .await?)
}

/// Keeps something sealed anew in its place.
pub(crate) async fn replace(connection: &mut SqliteConnection, row: &Row, sealed: &[u8]) -> Result<(), Error> {
    let statement = match row.table_name.as_str() {
        "secrets" => "UPDATE secrets SET sealed = ? WHERE resource = ? AND field = ?",
        "past_secrets" => "UPDATE past_secrets SET sealed = ? WHERE resource = ? AND field = ? AND until = ?",
        _ => "UPDATE requests SET digest = ? WHERE actor = ? AND id = ?",
    };
    let statement = sqlx::query(statement).bind(sealed).bind(&row.resource).bind(&row.field);
    let statement = if row.table_name == "past_secrets" { statement.bind(row.until) } else { statement };
    statement.execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;

    use crate::{migrate, store};

    #[tokio::test]
    async fn every_table_with_something_sealed_is_in_here() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        migrate::run(&path).await.unwrap();
        let mut connection = store::options(&path).connect().await.unwrap();
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT tables.name FROM sqlite_schema AS tables JOIN pragma_foreign_key_list(tables.name) AS refers
             WHERE tables.type = 'table' AND refers.\"table\" = 'data_keys' ORDER BY 1",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(tables, ["past_secrets", "secrets"], "what refers to a data key is sealed under it");
    }
}
