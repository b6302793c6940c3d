//! A digest over what the tables hold, told in no other words than their own: it is the same whichever build reads them, and needs no
//! key. It says whether rows were lost or changed, and nothing of what data planes are sent.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use signalbox_routing::Digest;
use sqlx::SqliteConnection;

use super::{Error, resources, secrets};

/// What one resource adds: its row, and which of its secrets have been set how often. A secret opens only as the so many-th of its
/// place, so that its number stands for it.
pub(crate) fn of<'a>(name: &str, spec: &str, revision: u64, secrets: impl Iterator<Item = (&'a str, u64)>) -> Digest {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(name.as_bytes());
    part(spec.as_bytes());
    part(&revision.to_be_bytes());
    for (field, version) in secrets {
        part(field.as_bytes());
        part(&version.to_be_bytes());
    }
    Digest::from(<[u8; 32]>::from(hash.finalize()))
}

/// The digest of everything in the tables.
pub(crate) async fn recompute(connection: &mut SqliteConnection) -> Result<Digest, Error> {
    Ok(parts(connection).await?.into_values().fold(Digest::default(), Digest::with))
}

/// What each resource adds, by name.
pub(crate) async fn parts(connection: &mut SqliteConnection) -> Result<BTreeMap<String, Digest>, Error> {
    let mut held = BTreeMap::<String, BTreeMap<String, u64>>::new();
    for row in secrets::all(connection).await? {
        let version = row.version()?;
        held.entry(row.resource).or_default().insert(row.field, version);
    }
    let mut parts = BTreeMap::new();
    for row in resources::all(connection).await? {
        let secrets = held.remove(&row.name).unwrap_or_default();
        let secrets = secrets.iter().map(|(field, version)| (field.as_str(), *version));
        let part = of(&row.name, &row.spec, row.revision()?, secrets);
        parts.insert(row.name, part);
    }
    Ok(parts)
}

/// What an operator would miss or find again: every resource, and every admin token, which is in no revision.
pub(crate) async fn visible(connection: &mut SqliteConnection) -> Result<BTreeMap<String, Digest>, Error> {
    let mut visible = parts(connection).await?;
    let has_tokens: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'admin_tokens'")
        .fetch_one(&mut *connection)
        .await?;
    if has_tokens > 0 {
        let tokens: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT 'adminTokens/' || id, spec, version FROM admin_tokens")
                .fetch_all(connection)
                .await?;
        visible.extend(tokens.into_iter().map(|(name, spec, version)| {
            let part = of(&name, &spec, version.cast_unsigned(), std::iter::empty());
            (name, part)
        }));
    }
    Ok(visible)
}
