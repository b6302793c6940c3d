//! The rows of resources, a table a kind: how they are added, and whose a value is that must be unique.

use std::time::SystemTime;

use signalbox_proto::admin::v1 as admin;
use signalbox_routing::ResourceName;
use sqlx::{Sqlite, SqliteConnection, error::ErrorKind, query::Query, sqlite::SqliteArguments};

use super::{Error, resources::to_micros};
use crate::{
    convert,
    message::{ClientKey, Message},
};

/// A resource to be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRow<'a> {
    /// Its name.
    pub(crate) name: &'a ResourceName,
    /// What its columns are filled from.
    pub(crate) message: &'a Message,
    /// The rest of it.
    pub(crate) spec: &'a str,
    /// The revision that changes it.
    pub(crate) revision: u64,
    /// When it was made.
    pub(crate) create_time: SystemTime,
    /// When it was last changed.
    pub(crate) update_time: SystemTime,
}

/// Adds the row of a resource that has none.
pub(crate) async fn insert(connection: &mut SqliteConnection, row: &NewRow<'_>) -> Result<(), Error> {
    let statement = match row.message {
        Message::Settings(said) => settings(said),
        Message::Provider(said) => provider(row.name, said),
        Message::Credential(_) => credential(row.name),
        Message::ClientKey(key) => client_key(row.name, key),
        Message::Redirect(said) => redirect(row.name, said),
        Message::Route(said) => route(row.name, said),
    };
    let statement = statement.bind(row.spec).bind(row.revision.cast_signed()).bind(to_micros(row.update_time));
    let statement = match row.message {
        Message::Settings(_) => statement,
        _ => statement.bind(to_micros(row.create_time)),
    };
    if let Err(error) = statement.execute(&mut *connection).await {
        let unique = error.as_database_error().is_some_and(|database| database.kind() == ErrorKind::UniqueViolation);
        return Err(if unique { taken(connection, row, error).await } else { error.into() });
    }
    match row.message {
        Message::Redirect(said) => insert_targets(connection, row.name, said).await,
        _ => Ok(()),
    }
}

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

fn settings(said: &admin::Settings) -> Statement<'_> {
    let provider = convert::provider_id(&said.default_provider);
    sqlx::query("INSERT INTO settings (one, default_provider, spec, revision, update_time_us) VALUES (1, ?, ?, ?, ?)")
        .bind((!provider.is_empty()).then_some(provider))
}

fn provider<'q>(name: &'q ResourceName, said: &'q admin::Provider) -> Statement<'q> {
    sqlx::query(
        "INSERT INTO providers (id, model_prefix, spec, revision, update_time_us, create_time_us)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(name.id())
    .bind(convert::model_prefix(name, said))
}

fn credential(name: &ResourceName) -> Statement<'_> {
    sqlx::query(
        "INSERT INTO credentials (provider, id, spec, revision, update_time_us, create_time_us)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(name.parent().map(|provider| provider.id().to_owned()))
    .bind(name.id())
}

fn client_key<'q>(name: &'q ResourceName, key: &'q ClientKey) -> Statement<'q> {
    sqlx::query(
        "INSERT INTO client_keys (id, sha256, display_prefix, spec, revision, update_time_us, create_time_us)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(name.id())
    .bind(key.sha256().as_slice())
    .bind(&key.said().display_prefix)
}

fn redirect<'q>(name: &'q ResourceName, said: &'q admin::Redirect) -> Statement<'q> {
    sqlx::query(
        "INSERT INTO redirects (id, source, client_key_labels, spec, revision, update_time_us, create_time_us)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(name.id())
    .bind(&said.from)
    .bind(labels(said))
}

fn route<'q>(name: &'q ResourceName, said: &'q admin::Route) -> Statement<'q> {
    sqlx::query(
        "INSERT INTO routes (id, segment, spec, revision, update_time_us, create_time_us)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(name.id())
    .bind(convert::segment(name, said))
}

/// In the order of their keys, so that equal labels are equal texts.
fn labels(said: &admin::Redirect) -> String {
    serde_json::json!(said.client_key_labels).to_string()
}

async fn insert_targets(
    connection: &mut SqliteConnection,
    name: &ResourceName,
    said: &admin::Redirect,
) -> Result<(), Error> {
    let providers = said.targets.iter().map(|target| convert::provider_id(&target.provider));
    for (position, provider) in (0_i64..).zip(providers).filter(|(_, provider)| !provider.is_empty()) {
        sqlx::query("INSERT INTO redirect_targets (redirect, position, provider) VALUES (?, ?, ?)")
            .bind(name.id())
            .bind(position)
            .bind(provider)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Whose the value is that made a row violate a UNIQUE constraint.
async fn taken(connection: &mut SqliteConnection, row: &NewRow<'_>, violation: sqlx::Error) -> Error {
    let (field, owner) = match row.message {
        Message::Provider(said) => (
            "model_prefix",
            sqlx::query_scalar("SELECT 'providers/' || id FROM providers WHERE model_prefix = ?")
                .bind(convert::model_prefix(row.name, said)),
        ),
        Message::ClientKey(key) => (
            "import_sha256",
            sqlx::query_scalar("SELECT 'clientKeys/' || id FROM client_keys WHERE sha256 = ?")
                .bind(key.sha256().as_slice()),
        ),
        Message::Redirect(said) => (
            "from",
            sqlx::query_scalar("SELECT 'redirects/' || id FROM redirects WHERE source = ? AND client_key_labels = ?")
                .bind(&said.from)
                .bind(labels(said)),
        ),
        Message::Route(said) => (
            "segment",
            sqlx::query_scalar("SELECT 'routes/' || id FROM routes WHERE segment = ?")
                .bind(convert::segment(row.name, said)),
        ),
        Message::Settings(_) | Message::Credential(_) => return violation.into(),
    };
    match owner.fetch_optional(connection).await {
        Ok(Some(by)) => Error::Taken { field, by },
        Ok(None) => violation.into(),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use signalbox_proto::config::v1 as config;
    use sqlx::ConnectOptions as _;

    use super::*;
    use crate::{key::Fingerprint, migrate, store};

    async fn add(connection: &mut SqliteConnection, name: &str, message: impl Into<Message>) -> Result<(), Error> {
        let name = ResourceName::parse(name).unwrap();
        let (message, create_time) = (message.into(), UNIX_EPOCH);
        let row =
            NewRow { name: &name, message: &message, spec: "{}", revision: 1, create_time, update_time: UNIX_EPOCH };
        insert(connection, &row).await
    }

    fn key() -> ClientKey {
        ClientKey::new(admin::ClientKey::default(), Fingerprint { sha256: [1; 32], display_prefix: String::new() })
    }

    fn redirect(labels: &[&str]) -> admin::Redirect {
        let client_key_labels = labels.iter().map(|label| ((*label).to_owned(), String::new())).collect();
        admin::Redirect { from: "m".to_owned(), client_key_labels, ..Default::default() }
    }

    #[tokio::test]
    async fn whose_a_unique_value_is_can_be_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        migrate::run(&path).await.unwrap();
        let mut connection = store::options(&path).connect().await.unwrap();

        let prefixed = || admin::Provider { model_prefix: "a".to_owned(), ..Default::default() };
        let at = || admin::Route { segment: "a".to_owned(), ..Default::default() };
        add(&mut connection, "providers/a", prefixed()).await.unwrap();
        add(&mut connection, "clientKeys/a", key()).await.unwrap();
        add(&mut connection, "redirects/a", redirect(&["x", "y"])).await.unwrap();
        add(&mut connection, "redirects/c", redirect(&["x"])).await.unwrap();
        add(&mut connection, "routes/a", at()).await.unwrap();

        let again: [(&str, &str, Message); 4] = [
            ("providers", "model_prefix", prefixed().into()),
            ("clientKeys", "import_sha256", key().into()),
            ("redirects", "from", redirect(&["y", "x"]).into()),
            ("routes", "segment", at().into()),
        ];
        for (collection, unique, message) in again {
            let error = add(&mut connection, &format!("{collection}/b"), message).await.unwrap_err();
            let owner = format!("{collection}/a");
            assert!(matches!(&error, Error::Taken { field, by } if *field == unique && *by == owner), "{error:?}");
        }
        let elsewhere = admin::Route { segment: "z".to_owned(), ..Default::default() };
        let twice = add(&mut connection, "routes/a", elsewhere).await.unwrap_err();
        assert!(matches!(twice, Error::Statement(_)), "no value is at fault: {twice:?}");
    }

    #[tokio::test]
    async fn a_redirects_providers_are_rows_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        migrate::run(&path).await.unwrap();
        let mut connection = store::options(&path).connect().await.unwrap();
        let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
        let target = |provider: &str| config::redirect::Target { provider: provider.to_owned(), ..Default::default() };
        let targets = vec![target("providers/b"), target(""), target("a")];
        add(&mut transaction, "redirects/r", admin::Redirect { targets, ..redirect(&[]) }).await.unwrap();
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT position, provider FROM redirect_targets WHERE redirect = 'r' ORDER BY position")
                .fetch_all(&mut *transaction)
                .await
                .unwrap();
        assert_eq!(rows, [(0, "b".to_owned()), (2, "a".to_owned())]);
    }
}
