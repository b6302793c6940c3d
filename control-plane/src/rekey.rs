//! Another master key for a database, while no control plane is running. It is one transaction: whenever it is cut short, the database
//! opens under the old key or under the new one.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::{
    audit::Deed,
    migrate,
    seal::{self, DataKey, MasterKey},
    store::{self, audit, lock::Lock, sealed, secrets},
};

/// How deep the change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The data key is sealed under the new master key; the secrets stay as they are.
    MasterKey,
    /// There is a new data key too, and every secret is sealed anew: for when the old master key and a copy of the database may have
    /// got into the same hands.
    DataKey,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The database opens under the new key, and under no other.
    Rotated {
        /// What was sealed anew: secrets, those of kept revisions, and what tells repeated calls apart.
        secrets: usize,
    },
    /// It did so already.
    Already,
}

/// Why the database opens under the key that it did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no database.
    #[error("there is no database {}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It has no data key.
    #[error("{} holds no data key: no control plane has made it", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A secret, or the data key, does not open.
    #[error(transparent)]
    Seal(#[from] seal::Error),
    /// Its schema is not this build's.
    #[error(transparent)]
    Schema(#[from] migrate::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Has a database open under another master key.
///
/// # Errors
/// See [`Error`]; whichever it is, it opens under the old one.
pub async fn rotate(database: &Path, old: &MasterKey, new: &MasterKey, depth: Depth) -> Result<Done, Error> {
    let lock = Lock::take(database)?;
    if !database.exists() {
        return Err(Error::Missing { path: database.to_owned() });
    }
    migrate::require_current(database).await?;
    // What is written over must not be found in the file afterwards.
    let options = store::options(database).pragma("secure_delete", "ON");
    let mut connection = options.connect().await.map_err(|source| store::Error::open(database, source))?;
    let done = transact(&mut connection, database, Keys { old, new }, depth).await?;
    // Closing folds the write-ahead log in and removes it, and with it the last of the old.
    connection.close().await.map_err(store::Error::from)?;
    drop(lock);
    Ok(done)
}

#[derive(Clone, Copy)]
struct Keys<'a> {
    old: &'a MasterKey,
    new: &'a MasterKey,
}

async fn transact(
    connection: &mut SqliteConnection,
    database: &Path,
    keys: Keys<'_>,
    depth: Depth,
) -> Result<Done, Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
    let stored = secrets::data_key(&mut transaction).await?;
    let stored = stored.ok_or_else(|| Error::Empty { path: database.to_owned() })?;
    let is_done = stored.master_key_id == keys.new.id();
    let opener = if is_done { keys.new } else { keys.old };
    let (wrapped, secrets) = match depth {
        Depth::MasterKey if is_done => {
            DataKey::unwrap(&stored, opener)?;
            return Ok(Done::Already);
        }
        Depth::MasterKey => (DataKey::rewrap(&stored, opener, keys.new)?, 0),
        Depth::DataKey => {
            let before = DataKey::unwrap(&stored, opener)?;
            let (after, wrapped) = DataKey::generate(keys.new);
            (wrapped, reseal(&mut transaction, &before, &after).await?)
        }
    };
    let now = SystemTime::now();
    secrets::replace_data_key(&mut transaction, &wrapped, now).await?;
    audit::add(&mut transaction, &Deed::at_console("rotate-master-key", None, now)).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(Done::Rotated { secrets })
}

async fn reseal(connection: &mut SqliteConnection, before: &DataKey, after: &DataKey) -> Result<usize, Error> {
    let rows = sealed::all(connection).await?;
    for row in &rows {
        let place = row.place()?;
        let anew = after.seal(place, &before.open(place, &row.sealed)?);
        sealed::replace(connection, row, &anew).await?;
    }
    Ok(rows.len())
}
