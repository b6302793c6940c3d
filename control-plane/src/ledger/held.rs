//! The stored secrets of a resource, opened, with how often each has been set; and what it takes to get from them to others.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    seal::{self, DataKey, Place},
    secrets::Secrets,
    store,
};

/// What is held of one resource's secrets.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The secrets by field.
    pub(super) secrets: Secrets,
    /// Those that are to be in force again, where that was asked for.
    pub(super) restored: Secrets,
    versions: BTreeMap<String, u64>,
}

/// What happens to one secret.
#[derive(Debug)]
pub(super) enum SecretStep {
    /// It is set, for the so many-th time.
    Put { field: String, version: u64, secret: SecretString },
    /// It goes.
    Drop { field: String },
}

/// Why a stored secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Seal(#[from] seal::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Held {
    /// Opens one more secret.
    pub(super) fn add(&mut self, key: &DataKey, row: store::secrets::Row) -> Result<(), Error> {
        let (version, secret) = opened(key, &row)?;
        self.secrets.insert(row.field.clone(), secret);
        self.versions.insert(row.field, version);
        Ok(())
    }

    /// Opens one that is to be in force again.
    pub(super) fn restore(&mut self, key: &DataKey, row: store::secrets::Row) -> Result<(), Error> {
        let (_, secret) = opened(key, &row)?;
        self.restored.insert(row.field, secret);
        Ok(())
    }

    /// How often a field has been set; 0 = it is not there.
    pub(super) fn version(&self, field: &str) -> u64 {
        self.versions.get(field).copied().unwrap_or(0)
    }

    /// How often each field has been set.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.versions.iter().map(|(field, version)| (field.as_str(), *version))
    }

    /// The same, once these are the secrets.
    pub(super) fn version_after(&self, wanted: &Secrets, field: &str) -> u64 {
        match wanted.get(field) {
            None => 0,
            Some(secret) if self.holds(field, secret) => self.version(field),
            Some(_) => self.version(field) + 1,
        }
    }

    /// Whether a field holds just this.
    pub(super) fn holds(&self, field: &str, secret: &SecretString) -> bool {
        self.secrets.get(field).is_some_and(|held| held.expose_secret() == secret.expose_secret())
    }

    /// What has to happen for these to be the secrets.
    pub(super) fn steps_to(&self, wanted: &Secrets) -> Vec<SecretStep> {
        let gone = self.secrets.keys().filter(|field| !wanted.contains_key(*field));
        let gone = gone.map(|field| SecretStep::Drop { field: field.clone() });
        let new = wanted.iter().filter(|(field, secret)| !self.holds(field, secret));
        let new = new.map(|(field, secret)| SecretStep::Put {
            field: field.clone(),
            version: self.version(field) + 1,
            secret: secret.clone(),
        });
        gone.chain(new).collect()
    }
}

fn opened(key: &DataKey, row: &store::secrets::Row) -> Result<(u64, SecretString), Error> {
    let version = row.version()?;
    let secret = key.open(Place { resource: &row.resource, field: &row.field, version }, &row.sealed)?;
    Ok((version, secret))
}

impl SecretStep {
    /// The field that it is about.
    pub(super) fn field(&self) -> &str {
        match self {
            Self::Put { field, .. } | Self::Drop { field } => field,
        }
    }
}
