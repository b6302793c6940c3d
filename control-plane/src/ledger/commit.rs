//! Writes down what a write does: the rows, the secrets, the history, all in the transaction that it is given.

use signalbox_routing::{Effect, Fault, Finding, ResourceName, Revision};
use sqlx::SqliteConnection;

use super::{
    DifferenceKind, Entry, Error,
    held::SecretStep,
    prospect::{After, Prospect},
};
use crate::{
    seal::{DataKey, Place},
    store::{
        self,
        changes::{self, NewChange},
        insert::{self, NewRow},
        resources,
        revisions::{self, Head, Record},
        secrets,
    },
};

/// Writes down everything; nothing of it is there before the transaction commits.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    key: &DataKey,
    entry: &Entry,
    prospect: &Prospect,
) -> Result<(), Error> {
    let Prospect { state, steps } = prospect;
    let head = Head {
        epoch: state.position.epoch.as_ref().to_owned(),
        revision: state.position.revision.get(),
        digest: *state.position.digest.as_bytes(),
        content: Some(*state.content().as_bytes()),
        commit_time: state.commit_time,
    };
    // Every old row goes before a new one comes, so that two resources can trade what must be unique.
    let mut befores = Vec::with_capacity(steps.len());
    for step in steps {
        befores.push(match step.difference.kind {
            DifferenceKind::Create => None,
            DifferenceKind::Update | DifferenceKind::Delete => {
                resources::take(connection, &step.difference.name).await?
            }
        });
    }
    for (step, before) in steps.iter().zip(&befores) {
        let name = &step.difference.name;
        if let Some(after) = &step.after {
            insert(connection, name, after, &head).await?;
        }
        for secret in &step.secrets {
            keep_secret(connection, key, (name, head.revision), secret).await?;
        }
        let change = NewChange {
            name: name.as_str(),
            before: before.as_ref(),
            secret_version: step.secret_version,
            spec: step.after.as_ref().map(|after| after.spec.as_str()),
            secret_fields: &serde_json::json!(step.difference.secrets).to_string(),
        };
        changes::keep(connection, head.revision, &change).await?;
    }
    let source_ip = entry.source_ip.map(|ip| ip.to_string());
    let request_id = entry.request.as_ref().map(|request| request.id.to_string());
    let record = Record {
        actor: &entry.actor,
        source_ip: source_ip.as_deref(),
        method: entry.method,
        request_id: request_id.as_deref(),
        rollback_of: entry.rollback_of.map(Revision::get),
        change_count: steps.len(),
        comment: &entry.comment,
    };
    Ok(revisions::advance(connection, &head, &record).await?)
}

async fn insert(
    connection: &mut SqliteConnection,
    name: &ResourceName,
    after: &After,
    head: &Head,
) -> Result<(), Error> {
    let row = NewRow {
        name,
        message: &after.message,
        spec: &after.spec,
        revision: head.revision,
        create_time: after.create_time,
        update_time: head.commit_time,
    };
    insert::insert(connection, &row).await.map_err(|error| refusal(name, error))
}

/// A unique value that is taken is the operator's affair, not the store's.
fn refusal(name: &ResourceName, error: store::Error) -> Error {
    match error {
        store::Error::Taken { field, by } => match ResourceName::parse(&by) {
            Ok(by) => Error::Invalid(vec![Finding {
                resource: name.clone(),
                field: field.to_owned(),
                fault: Fault::Taken(by),
                effect: Effect::KeptPrevious,
            }]),
            Err(_) => Error::Storage(store::Error::Taken { field, by }),
        },
        error => Error::Storage(error),
    }
}

async fn keep_secret(
    connection: &mut SqliteConnection,
    key: &DataKey,
    (name, revision): (&ResourceName, u64),
    step: &SecretStep,
) -> Result<(), Error> {
    match step {
        SecretStep::Put { field, version, secret } => {
            let place = Place { resource: name.as_str(), field, version: *version };
            secrets::put(connection, place, &key.seal(place, secret), revision).await?;
        }
        SecretStep::Drop { field } => secrets::delete(connection, name.as_str(), field, revision).await?,
    }
    Ok(())
}
