//! The single writer: turns an edit into a revision, or refuses it. Everything that may not be in the store is refused here, with
//! the code that data planes compile with; nothing here knows a wire.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use signalbox_routing::{Position, ResourceName, Revision};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, pool::PoolConnection};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    fence::Fence,
    history::Since,
    message::Message,
    seal::{ExportKey, MasterKey},
    state::State,
    store,
};

mod alone;
mod commit;
mod deed;
mod draft;
mod error;
mod held;
mod load;
mod maintenance;
mod once;
mod open;
mod past;
mod prospect;
mod references;
mod retention;
mod writer;

pub use error::{Error, Owned, Referenced, Refused};
use maintenance::Maintenance;
pub use open::OpenError;
pub use past::PastError;
pub(crate) use past::{PastChange, PastRevision};
pub(crate) use retention::length_of_time;
pub use retention::{Flags as RetentionFlags, Retention};
pub use writer::Writer;

#[cfg(test)]
mod tests;

/// Writes that may wait for their turn; the next one waits at its caller.
const QUEUE: usize = 64;

/// Where a ledger is kept.
#[derive(Debug)]
pub struct Options {
    /// The database file; made if it is not there.
    pub database: PathBuf,
    /// What stored secrets are sealed under.
    pub master_key: MasterKey,
    /// Whether pending migrations are run; else they are an error.
    pub auto_migrate: bool,
    /// How much of the past is kept.
    pub retention: Retention,
    /// Most that the file may grow to, its write-ahead log aside; `None` = as far as the disk goes.
    pub max_bytes: Option<u64>,
}

/// A handle on the configuration: read its present, follow it, change it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<Arc<State>>,
    past: past::Reader,
    fence: Option<Arc<Fence>>,
    readers: SqlitePool,
    export_key: Arc<ExportKey>,
}

/// What a write says about itself; kept with the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who writes.
    pub actor: String,
    /// Where from.
    pub source_ip: Option<IpAddr>,
    /// The call, such as `ProviderService/CreateProvider`.
    pub method: &'static str,
    /// For people; empty = none.
    pub comment: String,
    /// Do everything but commit.
    pub validate_only: bool,
    /// The caller's own id of the call; `None` = it may be done again.
    pub request: Option<RequestId>,
    /// The revision whose content it brings back; `None` = it is no rollback.
    pub rollback_of: Option<Revision>,
}

/// A call as its caller has named it, so that a repetition can be told from another call (AIP-155).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// The caller's id.
    pub id: Uuid,
    /// The SHA-256 of what was sent with it.
    pub sha256: [u8; 32],
}

impl RequestId {
    /// The id of a request that reads so.
    #[must_use]
    pub fn new(id: Uuid, request: &[u8]) -> Self {
        Self { id, sha256: Sha256::digest(request).into() }
    }
}

/// One step of a write. Later steps see what earlier ones did.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Make the resource, or replace it as a whole. A secret that is absent is kept as it is stored, as long as the place where it
    /// was is still there and holds nothing else.
    Put(Message),
    /// As `Put`, with the secrets that it had at that revision, and no others.
    Restore(Message, Revision),
    /// Remove the resource; nothing happens where there is none.
    Delete(ResourceName),
}

/// What came of a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The configuration that it was on top of.
    pub before: Arc<State>,
    /// The configuration after it; as it would be, where nothing was committed.
    pub state: Arc<State>,
    /// The revision that it made; the current one where nothing was committed.
    pub revision: Revision,
    /// What changed, or would, by name. Empty = everything was as wanted already.
    pub changes: Vec<Difference>,
    /// Whether a revision was made: not for `validate_only`, nor where nothing changed.
    pub committed: bool,
}

/// One resource's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The resource.
    pub name: ResourceName,
    /// What happened to it.
    pub kind: DifferenceKind,
    /// The names of its top-level fields that differ, in order; a secret counts when it is set anew. Empty unless updated.
    pub fields: Vec<String>,
    /// The paths of the secrets that are set anew or go, such as `headers["authorization"].secret`.
    pub secrets: Vec<String>,
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It was made.
    Create,
    /// It was changed.
    Update,
    /// It was removed.
    Delete,
}

type EditFn = Box<dyn FnOnce(&State) -> Result<Vec<Edit>, Refused> + Send>;
type AnswerFn = Box<dyn FnOnce(&Written) -> Bytes + Send>;

/// What came of a write that is done once.
#[derive(Debug, Clone)]
pub enum Once {
    /// It has just been done, and answered so.
    Done(Written, Bytes),
    /// It had been done before, and this is how it was answered.
    Repeated(Bytes),
}

/// Something on its way to the writer.
enum Command {
    /// A change of the configuration, which is a revision.
    Write {
        /// What it says about itself.
        entry: Entry,
        /// What it does.
        edit: EditFn,
        /// How it is answered.
        answer: AnswerFn,
        /// Who wants to know.
        reply: oneshot::Sender<Result<Once, Error>>,
    },
    /// A change of what is stored beside the configuration.
    Maintain(Maintenance),
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { entry, .. } => f.debug_struct("Write").field("entry", entry).finish_non_exhaustive(),
            Self::Maintain(_) => f.debug_tuple("Maintain").finish_non_exhaustive(),
        }
    }
}

impl Ledger {
    /// Opens the database, makes it where there is none, and loads what is in it. Nothing is written until the [`Writer`] runs.
    ///
    /// # Errors
    /// Where the file cannot be opened, is another control plane's, has a schema that is not this build's, or holds something
    /// that was not written by its control plane or under this master key.
    pub async fn open(options: Options) -> Result<(Self, Writer), OpenError> {
        open::open(options).await
    }

    /// The present.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// Follows the present: wakes with each revision, newest first and only.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Why data planes that hold something later are not sent the present; `None` = they are.
    #[must_use]
    pub fn fence(&self) -> Option<&Arc<Fence>> {
        self.fence.as_ref()
    }

    /// What lies between a position and the present.
    #[must_use]
    pub fn since(&self, have: &Position) -> Since {
        self.state.borrow().since(have)
    }

    /// The configuration as it was at a revision that is kept. It is for looking at and never for data planes: what changed since has
    /// placeholders where its secrets were.
    ///
    /// # Errors
    /// [`PastError::NotKept`] for a revision that is yet to come or has been forgotten; else where the store fails.
    pub async fn at(&self, revision: u64) -> Result<Arc<State>, PastError> {
        self.past.at(self.state(), revision).await
    }

    /// What is kept of a revision, and what it changed.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub(crate) async fn revision(&self, revision: u64) -> Result<(PastRevision, Vec<PastChange>), PastError> {
        self.past.revision(&self.state(), revision).await
    }

    /// Revisions before that one, latest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn revisions(&self, before: u64, limit: usize) -> Result<Vec<PastRevision>, PastError> {
        self.past.revisions(before, limit).await
    }

    /// What the revisions from one to another touched, each name with its revision.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn touched(&self, from: u64, to: u64) -> Result<Vec<(u64, String)>, PastError> {
        self.past.touched(from, to).await
    }

    /// The resource and field of every secret that was in force at a revision and no longer is.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn secrets_replaced_since(&self, revision: Revision) -> Result<Vec<(String, String)>, PastError> {
        self.past.secrets_replaced_since(revision).await
    }

    /// Makes one revision of an edit. `edit` sees the state that it is on top of; no other write comes between.
    ///
    /// The write happens even if the caller stops waiting for it.
    ///
    /// # Errors
    /// See [`Error`]; whichever it is, nothing has changed.
    pub async fn write<F>(&self, entry: Entry, edit: F) -> Result<Written, Error>
    where
        F: FnOnce(&State) -> Result<Vec<Edit>, Refused> + Send + 'static,
    {
        match self.write_once(Entry { request: None, ..entry }, edit, |_| Bytes::new()).await? {
            Once::Done(written, _) => Ok(written),
            // Without an id nothing is a repetition.
            Once::Repeated(_) => Err(Error::Closed),
        }
    }

    /// As [`write`](Self::write), but done once where the entry has a request id: the answer, which must hold no secret, is kept with
    /// the revision, and is what a repetition gets.
    ///
    /// # Errors
    /// See [`Error`]; whichever it is, nothing has changed.
    pub async fn write_once<F, A>(&self, entry: Entry, edit: F, answer: A) -> Result<Once, Error>
    where
        F: FnOnce(&State) -> Result<Vec<Edit>, Refused> + Send + 'static,
        A: FnOnce(&Written) -> Bytes + Send + 'static,
    {
        let (reply, answered) = oneshot::channel();
        let command = Command::Write { entry, edit: Box::new(edit), answer: Box::new(answer), reply };
        self.commands.send(command).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Changes what is stored beside the configuration, in one transaction between two writes. It is no revision.
    ///
    /// `committed` runs right after the commit, on the writer: what it puts into memory follows the order of the database, whether
    /// or not the caller still waits.
    ///
    /// # Errors
    /// Whatever `work` says, or [`Error::Storage`] and [`Error::Closed`]; whichever it is, nothing has changed.
    pub(crate) async fn maintain<T, E, W, C>(&self, work: W, committed: C) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        C: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let maintenance = Maintenance::new(work, committed, reply);
        self.commands.send(Command::Maintain(maintenance)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// What the secrets of an export are sealed under.
    pub(crate) fn export_key(&self) -> &ExportKey {
        &self.export_key
    }

    /// What a configuration of nothing but these edits would be, without a database.
    ///
    /// # Errors
    /// As [`write`](Self::write), but for what only a database can say.
    pub(crate) fn alone<F>(edit: F) -> Result<Written, Error>
    where
        F: FnOnce(&State) -> Result<Vec<Edit>, Refused>,
    {
        alone::written(edit)
    }

    /// A connection that only reads.
    ///
    /// # Errors
    /// [`store::Error`] where the file cannot be read, or too many read at once for too long.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Sqlite>, store::Error> {
        Ok(self.readers.acquire().await?)
    }
}
