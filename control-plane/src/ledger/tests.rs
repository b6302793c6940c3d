//! Stories of the ledger on real database files.

use std::path::{Path, PathBuf};

use signalbox_proto::{admin::v1 as admin, config::v1 as config};
use signalbox_routing::{Digest, Position, ResourceName};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{Edit, Entry, Error, Ledger, OpenError, Options, Refused, Retention, Written};
use crate::{
    key::Fingerprint,
    message::{ClientKey, Message},
    seal::MasterKey,
    state::State,
};

mod damage;
mod fixtures;
mod history;
mod maintenance;
mod random;
mod restoring;
mod secrets;
mod storage;
mod story;
mod writes;

/// A database in a folder of its own, and the key to it.
struct Place {
    folder: TempDir,
    master_key: String,
}

impl Place {
    fn new() -> Self {
        use ::secrecy::ExposeSecret as _;
        let master_key = MasterKey::generate().to_text().expose_secret().to_owned();
        Self { folder: tempfile::tempdir().unwrap(), master_key }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("control.db")
    }

    fn options(&self) -> Options {
        let master_key = MasterKey::parse(&self.master_key.as_str().into()).unwrap();
        let retention = Retention::default();
        Options { database: self.database(), master_key, auto_migrate: true, retention, max_bytes: None }
    }

    async fn open(&self) -> Bench {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Bench, OpenError> {
        let (ledger, writer) = Ledger::open(self.options()).await?;
        Ok(Bench { ledger, writing: tokio::spawn(writer.run()) })
    }

    /// A connection that is not the control plane's.
    async fn intrude(&self) -> SqliteConnection {
        connect(&self.database()).await
    }
}

async fn connect(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.unwrap()
}

/// A ledger at work.
struct Bench {
    ledger: Ledger,
    writing: JoinHandle<()>,
}

impl Bench {
    /// Ends as a control plane does: the file is whole and can be opened again.
    async fn close(self) {
        drop(self.ledger);
        self.writing.await.unwrap();
    }

    /// Ends as a killed process does, as far as the file is concerned.
    async fn kill(self) {
        self.writing.abort();
        assert!(self.writing.await.unwrap_err().is_cancelled());
    }

    async fn edit(&self, edits: Vec<Edit>) -> Result<Written, Error> {
        self.ledger.write(entry(), move |_| Ok(edits)).await
    }

    async fn put(&self, message: impl Into<Message>) -> Result<Written, Error> {
        self.edit(vec![Edit::Put(message.into())]).await
    }

    async fn delete(&self, text: &str) -> Result<Written, Error> {
        self.edit(vec![Edit::Delete(name(text))]).await
    }

    fn revision(&self) -> u64 {
        self.ledger.state().position.revision.get()
    }

    fn message(&self, text: &str) -> Message {
        self.ledger.state().get(&name(text)).unwrap().message()
    }

    /// A resource as data planes get it.
    fn served<M: prost::Message + Default>(&self, text: &str) -> M {
        M::decode(self.ledger.state().get(&name(text)).unwrap().resource.body.clone()).unwrap()
    }
}

fn entry() -> Entry {
    Entry {
        actor: "tester".to_owned(),
        source_ip: Some([127, 0, 0, 1].into()),
        method: "Test/Write",
        comment: "a comment".to_owned(),
        validate_only: false,
        request: None,
        rollback_of: None,
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn provider(id: &str) -> admin::Provider {
    admin::Provider {
        name: format!("providers/{id}"),
        dialect: config::Dialect::Openai.into(),
        base_url: format!("https://{id}.example/v1"),
        ..Default::default()
    }
}

fn credential(provider: &str, id: &str, secret: Option<&str>) -> admin::Credential {
    admin::Credential {
        name: format!("providers/{provider}/credentials/{id}"),
        source: secret.map(|secret| admin::credential::Source::Secret(secret.to_owned())),
        ..Default::default()
    }
}

fn client_key(id: &str, digest: u8) -> Message {
    let said = admin::ClientKey { name: format!("clientKeys/{id}"), ..Default::default() };
    ClientKey::new(said, Fingerprint { sha256: [digest; 32], display_prefix: "sb_12345".to_owned() }).into()
}

fn redirect(id: &str, from: &str, provider: &str) -> admin::Redirect {
    let target = config::redirect::Target { provider: provider.to_owned(), ..Default::default() };
    admin::Redirect {
        name: format!("redirects/{id}"),
        from: from.to_owned(),
        targets: vec![target],
        ..Default::default()
    }
}

fn route(id: &str, segment: &str) -> admin::Route {
    admin::Route {
        name: format!("routes/{id}"),
        segment: segment.to_owned(),
        destination: Some(admin::route::Destination::TargetUrl("https://docs.example/".to_owned())),
        ..Default::default()
    }
}

fn settings(default_provider: &str) -> admin::Settings {
    admin::Settings { name: "settings".to_owned(), default_provider: default_provider.to_owned(), ..Default::default() }
}

/// Everything that must be the same after a restart.
fn content(state: &State) -> (Position, Vec<(String, Message, Vec<u8>)>) {
    let resource = |stored: &std::sync::Arc<crate::state::Stored>| {
        let resource = &stored.resource;
        (
            resource.name.to_string(),
            stored.message(),
            [resource.body.as_ref(), &resource.revision.to_be_bytes()].concat(),
        )
    };
    (state.position.clone(), state.resources().map(resource).collect())
}

fn recomputed(state: &State) -> Digest {
    state.resources().fold(Digest::default(), |digest, stored| digest.with(stored.resource.digest()))
}
