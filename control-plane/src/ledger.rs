//! The single writer: turns an edit into a revision, or refuses it. Everything that may not be in the store is refused here, with
//! the code that data planes compile with; nothing here knows a wire.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use signalbox_routing::{Finding, InvalidName, Position, ResourceName, Revision};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    history::Since,
    message::{Message, Unreadable},
    seal::{self, MasterKey},
    state::State,
    store,
};

mod commit;
mod draft;
mod held;
mod load;
mod open;
mod prospect;
mod references;
mod writer;

pub use open::OpenError;
pub use writer::Writer;

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
}

/// A handle on the configuration: read its present, follow it, change it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<Arc<State>>,
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
}

/// One step of a write. Later steps see what earlier ones did.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Make the resource, or replace it as a whole. A secret that is absent is kept as it is stored, as long as the place where it
    /// was is still there and holds nothing else.
    Put(Message),
    /// Remove the resource; nothing happens where there is none.
    Delete(ResourceName),
}

/// What came of a write.
#[derive(Debug, Clone)]
pub struct Written {
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

/// Why whoever asked for a write does not want it after all, given the present state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing of that name.
    #[error("`{0}` does not exist")]
    NotFound(ResourceName),
    /// The name is taken.
    #[error("`{0}` exists already")]
    AlreadyExists(ResourceName),
    /// Somebody else was faster.
    #[error("the etag of `{name}` is {current}, not {given}")]
    Etag {
        /// The resource.
        name: ResourceName,
        /// The etag that the caller holds.
        given: String,
        /// The one of the current version.
        current: String,
    },
    /// The whole configuration has moved on.
    #[error("the current revision is {current}, not {expected}")]
    Revision {
        /// The revision that the caller expects.
        expected: u64,
        /// The current one.
        current: Revision,
    },
    /// More would be removed than is allowed.
    #[error("{} resources would be removed, and at most {allowed} may be", .names.len())]
    TooManyDeletes {
        /// What would be removed.
        names: Vec<ResourceName>,
        /// How many may be.
        allowed: u32,
    },
    /// Somebody else looks after these.
    #[error("{} resources have another owner", .0.len())]
    Owned(Vec<Owned>),
    /// What is asked for breaks rules that depend on the present state.
    #[error("{} fields break a rule", .0.len())]
    Invalid(Vec<Finding>),
}

/// A resource that carries an owner's label with another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` has the label {label}={current}, not {given}")]
pub struct Owned {
    /// The resource.
    pub name: ResourceName,
    /// The label's key.
    pub label: String,
    /// The value that the caller owns by.
    pub given: String,
    /// The value that is there.
    pub current: String,
}

/// A resource that cannot be removed, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is in use by {}", list(.by))]
pub struct Referenced {
    /// The resource.
    pub name: ResourceName,
    /// What refers to it or belongs to it, by name; never empty.
    pub by: Vec<ResourceName>,
}

fn list(names: &[ResourceName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Why a write made no revision.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's own conditions do not hold.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A resource's name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A message is not what its kind's schema says.
    #[error("`{name}` is no resource")]
    Unreadable {
        /// The resource.
        name: ResourceName,
        /// What is wrong with it.
        #[source]
        source: Unreadable,
    },
    /// Data planes could not serve it as written.
    #[error("{} fields break a rule", .0.len())]
    Invalid(Vec<Finding>),
    /// Something would be removed that is in use.
    #[error("{} resources are in use", .0.len())]
    Referenced(Vec<Referenced>),
    /// Another program has written to the database, so that what is in memory is not what is stored.
    #[error(
        "the database is at revision {file}, but this control plane at {memory}: another program writes to it; stop that one and start this one anew"
    )]
    ForeignWriter {
        /// The revision in the file.
        file: u64,
        /// The revision in memory.
        memory: u64,
    },
    /// The store failed; nothing has changed.
    #[error("the store failed")]
    Storage(#[from] store::Error),
    /// A stored secret does not open.
    #[error(transparent)]
    Seal(#[from] seal::Error),
    /// The writer has stopped.
    #[error("the control plane is shutting down")]
    Closed,
}

impl From<held::Error> for Error {
    fn from(error: held::Error) -> Self {
        match error {
            held::Error::Seal(error) => Self::Seal(error),
            held::Error::Store(error) => Self::Storage(error),
        }
    }
}

type EditFn = Box<dyn FnOnce(&State) -> Result<Vec<Edit>, Refused> + Send>;

/// A write on its way to the writer.
struct Command {
    entry: Entry,
    edit: EditFn,
    reply: oneshot::Sender<Result<Written, Error>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").field("entry", &self.entry).finish_non_exhaustive()
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

    /// What lies between a position and the present.
    #[must_use]
    pub fn since(&self, have: &Position) -> Since {
        self.state.borrow().since(have)
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
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command { entry, edit: Box::new(edit), reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}
