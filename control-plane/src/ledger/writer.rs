//! The task that owns the one connection that writes: one write is one transaction is one revision, in the order in which they come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use signalbox_routing::{Kind, ResourceName};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, watch};

use super::{
    Command, Edit, EditFn, Entry, Error, Written, commit,
    draft::Draft,
    held::Held,
    prospect::{self, Moment},
};
use crate::{
    seal::DataKey,
    state::State,
    store::{self, Store, resources, revisions, secrets},
};

/// The single writer. Nothing is written unless it runs.
#[derive(Debug)]
pub struct Writer {
    pub(super) store: Store,
    pub(super) key: DataKey,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) published: watch::Sender<Arc<State>>,
}

impl Writer {
    /// Writes until every [`Ledger`](super::Ledger) is gone, then closes the database.
    pub async fn run(mut self) {
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::Write { entry, edit, reply } => {
                    let written = self.write(&entry, edit).await;
                    // Whoever asked may have gone; what was written stands.
                    let _ = reply.send(written);
                }
                Command::Maintain(maintenance) => maintenance.run(&mut self.store).await,
            }
        }
        if let Err(error) = self.store.close().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database was not closed cleanly");
        }
    }

    async fn write(&mut self, entry: &Entry, edit: EditFn) -> Result<Written, Error> {
        let base = Arc::clone(&self.published.borrow());
        let written = self.transact(&base, entry, edit).await;
        match &written {
            Ok(written) if written.committed => drop(self.published.send_replace(Arc::clone(&written.state))),
            Err(Error::Storage(_)) => self.store.give_up_writer(),
            _ => {}
        }
        written
    }

    /// One transaction; dropped before its commit, it never was.
    async fn transact(&mut self, base: &Arc<State>, entry: &Entry, edit: EditFn) -> Result<Written, Error> {
        let connection = self.store.writer().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
        require_unmoved(&mut transaction, base).await?;
        let edits = edit(base)?;
        let held = held(&mut transaction, &self.key, base, &edits).await?;
        let draft = Draft::new(base, &held, edits)?;
        let moment = Moment { revision: base.position.revision.next(), now: now() };
        let Some(prospect) = prospect::judge(base, &held, draft, moment)? else {
            transaction.rollback().await.map_err(store::Error::from)?;
            let (before, state, revision) = (Arc::clone(base), Arc::clone(base), base.position.revision);
            return Ok(Written { before, state, revision, changes: Vec::new(), committed: false });
        };
        commit::write(&mut transaction, &self.key, entry, &prospect).await?;
        let committed = !entry.validate_only;
        if committed {
            transaction.commit().await.map_err(store::Error::from)?;
        } else {
            transaction.rollback().await.map_err(store::Error::from)?;
        }
        let revision = if committed { moment.revision } else { base.position.revision };
        let changes = prospect.steps.into_iter().map(|step| step.difference).collect();
        Ok(Written { before: Arc::clone(base), state: Arc::new(prospect.state), revision, changes, committed })
    }
}

/// The current moment, as exactly as it is stored.
pub(super) fn now() -> SystemTime {
    resources::from_micros(resources::to_micros(SystemTime::now()))
}

/// Refuses to write on top of something that this process has not made or read.
async fn require_unmoved(connection: &mut SqliteConnection, base: &State) -> Result<(), Error> {
    let memory = &base.position;
    match revisions::head(connection).await? {
        Some(head)
            if head.revision == memory.revision.get()
                && head.digest == *memory.digest.as_bytes()
                && *head.epoch == *memory.epoch =>
        {
            Ok(())
        }
        head => Err(Error::ForeignWriter { file: head.map_or(0, |head| head.revision), memory: memory.revision.get() }),
    }
}

/// The stored secrets of everything that the edits touch.
async fn held(
    connection: &mut SqliteConnection,
    key: &DataKey,
    base: &State,
    edits: &[Edit],
) -> Result<BTreeMap<ResourceName, Held>, Error> {
    let mut held = BTreeMap::new();
    for name in touched(edits)?.into_iter().filter(|name| may_hold(name.kind()) && base.get(name).is_some()) {
        let mut secrets = Held::default();
        for row in secrets::of(connection, name.as_str()).await? {
            secrets.add(key, row)?;
        }
        held.insert(name, secrets);
    }
    Ok(held)
}

fn touched(edits: &[Edit]) -> Result<BTreeSet<ResourceName>, Error> {
    let name = |edit: &Edit| match edit {
        Edit::Put(message) => message.name(),
        Edit::Delete(name) => Ok(name.clone()),
    };
    Ok(edits.iter().map(name).collect::<Result<_, _>>()?)
}

/// Whether resources of the kind have anything that is sealed; of client keys only digests are kept.
const fn may_hold(kind: Kind) -> bool {
    match kind {
        Kind::Settings | Kind::Provider | Kind::Credential | Kind::Route => true,
        Kind::ClientKey | Kind::Redirect => false,
    }
}
