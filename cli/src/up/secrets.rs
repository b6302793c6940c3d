//! The secrets of the data folder: read, and made where there are none. It does not know what they open.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use signalbox_control_plane::{
    files::{self, ADMIN_TOKEN, DATABASE, DataDir, JOIN_TOKEN, MASTER_KEY},
    key,
    seal::{InvalidMasterKey, MasterKey},
};
use uuid::Uuid;

/// The file with the key that clients present.
const CLIENT_KEY: &str = "client-key";

/// The file with the name that the control plane knows the data plane by. No secret, but made and kept like one.
const REPLICA_ID: &str = "replica-id";

/// Why the secrets are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder cannot be used.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// What was given, or is in `master.key`, is something else.
    #[error("the master key, given or in the data folder's {MASTER_KEY}, is none")]
    MasterKey(#[from] InvalidMasterKey),
}

/// The key that stored secrets are sealed under: the one that was given, else the one in the data folder.
pub(super) fn master_key(dir: &DataDir, given: Option<&SecretString>) -> Result<MasterKey, Error> {
    let text = if let Some(given) = given {
        given.clone()
    } else if dir.join(DATABASE).exists() {
        // A new key would not open what is in the database.
        files::read_secret(&dir.join(MASTER_KEY))?
    } else {
        dir.secret(MASTER_KEY, || MasterKey::generate().to_text())?
    };
    Ok(MasterKey::parse(&text)?)
}

/// What the planes, their operator and their clients present to each other.
#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) admin_token: SecretString,
    pub(super) join_token: SecretString,
    pub(super) client_key: SecretString,
    /// Whether the client key has been here before this start.
    pub(super) client_key_is_old: bool,
    pub(super) replica_id: SecretString,
}

impl Secrets {
    pub(super) fn open(dir: &DataDir) -> Result<Self, Error> {
        let client_key_is_old = dir.join(CLIENT_KEY).exists();
        Ok(Self {
            admin_token: dir.secret(ADMIN_TOKEN, key::token)?,
            join_token: dir.secret(JOIN_TOKEN, key::token)?,
            client_key: dir.secret(CLIENT_KEY, key::generate)?,
            client_key_is_old,
            replica_id: dir.secret(REPLICA_ID, || format!("replica-{}", Uuid::new_v4().simple()).into())?,
        })
    }

    /// The demo upstream's key: the same at every start, so that a start changes nothing, and known to nobody else.
    pub(super) fn demo_key(&self) -> SecretString {
        let digest =
            Sha256::new().chain_update("signalbox demo\0").chain_update(self.join_token.expose_secret()).finalize();
        format!("demo-{digest:x}").into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_second_start_finds_the_secrets_of_the_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let (first, second) = (Secrets::open(&dir).unwrap(), Secrets::open(&dir).unwrap());
        assert_eq!((first.client_key_is_old, second.client_key_is_old), (false, true));
        assert_eq!(master_key(&dir, None).unwrap().id(), master_key(&dir, None).unwrap().id());
        assert_eq!(first.client_key.expose_secret(), second.client_key.expose_secret());
        assert_eq!(first.demo_key().expose_secret(), second.demo_key().expose_secret());
        assert_ne!(first.demo_key().expose_secret(), first.join_token.expose_secret());
        assert_eq!(fs::read_to_string(dir.join("client-key")).unwrap(), first.client_key.expose_secret());
    }

    #[test]
    fn a_database_without_its_master_key_is_not_given_another() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        fs::write(dir.join(DATABASE), "").unwrap();
        assert!(matches!(master_key(&dir, None), Err(Error::Files(files::Error::Read { .. }))));
        assert!(!dir.join(MASTER_KEY).exists());
    }

    #[test]
    fn a_master_key_that_is_given_goes_before_the_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let given = MasterKey::generate();
        assert_eq!(master_key(&dir, Some(&given.to_text())).unwrap().id(), given.id());
        assert!(!dir.join(MASTER_KEY).exists());
    }

    #[test]
    fn a_master_key_that_is_none_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        fs::write(dir.join(MASTER_KEY), "short").unwrap();
        assert!(matches!(master_key(&dir, None), Err(Error::MasterKey(_))));
    }
}
