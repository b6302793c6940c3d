//! The configuration as it was: the present with everything undone that came after. What it rebuilds has placeholders where secrets
//! were, and is never for data planes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use signalbox_routing::{Change, Digest, Finding, InvalidName, Position, ResourceName, Revision};
use sqlx::{Acquire as _, SqliteConnection, SqlitePool};

use super::prospect;
use crate::{
    convert,
    history::History,
    message::{Message, Stamp, Unreadable, read_spec},
    secrets::{self, Secrets},
    state::{State, Stored},
    store::{
        self,
        changes::{self, Past},
        revisions,
    },
};

pub(crate) use crate::store::revisions::Row as PastRevision;

/// States that are held on to at most; they share what they have in common with the present.
const CACHED: usize = 4;

/// Where a secret was. It is no secret.
const PLACEHOLDER: &str = "not-kept";

/// Why the past cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// It has not been yet, or has been forgotten.
    #[error("revision {revision} is not kept: those from {oldest} to {current} are")]
    NotKept {
        /// What was asked for.
        revision: u64,
        /// The earliest that there is.
        oldest: u64,
        /// The latest that there is.
        current: Revision,
    },
    /// The store failed.
    #[error("the store failed")]
    Storage(#[from] store::Error),
    /// A name in the history is none.
    #[error("a resource in the history cannot be read")]
    Name(#[from] InvalidName),
    /// A resource in the history is none of its kind.
    #[error("`{name}` in the history cannot be read: was it written by a later build?")]
    Unreadable {
        /// The resource.
        name: ResourceName,
        /// What is wrong with it.
        #[source]
        source: Unreadable,
    },
    /// A resource in the history cannot be said in the data planes' terms.
    #[error("`{0}` in the history cannot be served")]
    Unservable(#[source] Finding),
    /// The list of the secrets that a change was about is none.
    #[error("the history of `{name}` is damaged")]
    Damaged {
        /// The resource.
        name: ResourceName,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be put together because the control plane is going away.
    #[error("the control plane is shutting down")]
    Closed,
}

/// One resource's change, both sides of it.
#[derive(Debug)]
pub(crate) struct PastChange {
    /// The resource.
    pub(crate) name: ResourceName,
    /// Before; `None` = it was not there.
    pub(crate) before: Option<Message>,
    /// Afterwards; `None` = it went.
    pub(crate) after: Option<Message>,
    /// The paths of the secrets that were set or dropped.
    pub(crate) secrets: Vec<String>,
}

/// Reads the past.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    store: SqlitePool,
    cache: Arc<Mutex<VecDeque<Arc<State>>>>,
}

impl Reader {
    /// Reads it by these connections.
    pub(super) fn new(store: SqlitePool) -> Self {
        Self { store, cache: Arc::default() }
    }

    /// The state at a revision.
    pub(super) async fn at(&self, present: Arc<State>, revision: u64) -> Result<Arc<State>, PastError> {
        let current = present.position.revision.get();
        if revision == current {
            return Ok(present);
        }
        let mut connection = self.store.acquire().await.map_err(store::Error::from)?;
        // One snapshot, so that nothing is forgotten in between.
        let mut snapshot = connection.begin().await.map_err(store::Error::from)?;
        let row = kept(&mut snapshot, &present, revision).await?;
        if let Some(state) = self.cached(revision) {
            return Ok(state);
        }
        let undone = changes::undone(&mut snapshot, revision, current).await?;
        drop(snapshot);
        drop(connection);
        let rebuilt = tokio::task::spawn_blocking(move || rebuild(&present, &row, undone));
        let state = Arc::new(rebuilt.await.map_err(|_| PastError::Closed)??);
        self.remember(&state);
        Ok(state)
    }

    /// A revision, and what it changed.
    pub(super) async fn revision(
        &self,
        present: &State,
        revision: u64,
    ) -> Result<(PastRevision, Vec<PastChange>), PastError> {
        let mut connection = self.store.acquire().await.map_err(store::Error::from)?;
        let mut snapshot = connection.begin().await.map_err(store::Error::from)?;
        let row = kept(&mut snapshot, present, revision).await?;
        let changes = changes::of(&mut snapshot, revision).await?;
        Ok((row, changes.into_iter().map(change).collect::<Result<_, _>>()?))
    }

    /// Revisions before that one, latest first.
    pub(super) async fn revisions(&self, before: u64, limit: usize) -> Result<Vec<PastRevision>, PastError> {
        let mut connection = self.store.acquire().await.map_err(store::Error::from)?;
        Ok(revisions::before(&mut connection, before, limit).await?)
    }

    /// What the revisions from one to another touched.
    pub(super) async fn touched(&self, from: u64, to: u64) -> Result<Vec<(u64, String)>, PastError> {
        let mut connection = self.store.acquire().await.map_err(store::Error::from)?;
        Ok(changes::names(&mut connection, from, to).await?)
    }

    /// The secrets that were in force at a revision and no longer are.
    pub(super) async fn secrets_replaced_since(&self, revision: Revision) -> Result<Vec<(String, String)>, PastError> {
        let mut connection = self.store.acquire().await.map_err(store::Error::from)?;
        Ok(store::secrets::replaced_since(&mut connection, revision.get()).await?)
    }

    fn cached(&self, revision: u64) -> Option<Arc<State>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.iter().find(|state| state.position.revision.get() == revision).cloned()
    }

    fn remember(&self, state: &Arc<State>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_front(Arc::clone(state));
        cache.truncate(CACHED);
    }
}

/// The row of a revision, or that it is not kept.
async fn kept(connection: &mut SqliteConnection, present: &State, revision: u64) -> Result<PastRevision, PastError> {
    let current = present.position.revision;
    if revision <= current.get()
        && let Some(row) = revisions::get(connection, revision).await?
    {
        return Ok(row);
    }
    let oldest = revisions::oldest(connection).await?.unwrap_or(current.get());
    Err(PastError::NotKept { revision, oldest, current })
}

fn rebuild(present: &State, row: &PastRevision, undone: Vec<Past>) -> Result<State, PastError> {
    let mut state = State { history: History::default(), ..present.clone() };
    let mut changes = Vec::with_capacity(undone.len());
    for past in undone {
        let name = ResourceName::parse(&past.name)?;
        let stored = stored(&name, &past)?;
        changes.push(match &stored {
            Some(stored) => Change::Upsert(stored.resource.clone()),
            None => Change::Remove(name.clone()),
        });
        state.replace(name, stored.map(Arc::new));
    }
    state.runtime = present.runtime.apply(&changes).runtime;
    state.commit_time = row.commit_time();
    let revision = Revision::new(row.revision()).unwrap_or(Revision::FIRST);
    // Over what data planes held, which had no placeholders in it.
    state.position = Position { epoch: row.epoch.as_str().into(), revision, digest: Digest::from(row.digest()?) };
    Ok(state)
}

/// A resource as it was; `None` where it was not there.
fn stored(name: &ResourceName, past: &Past) -> Result<Option<Stored>, PastError> {
    let Some(spec) = &past.before_spec else { return Ok(None) };
    let unreadable = |source| PastError::Unreadable { name: name.clone(), source };
    let kept = read_spec(name.kind(), spec).map_err(unreadable)?;
    let mut message = Message::from_kept(name, &kept).map_err(unreadable)?;
    let vacant = secrets::vacancies(&mut kept.clone()).into_iter();
    let secrets: Secrets = vacant.map(|field| (field, PLACEHOLDER.into())).collect();
    let whole = prospect::whole(name, &message, &kept, &secrets).map_err(unreadable)?;
    let body = convert::body(name, &whole).map_err(PastError::Unservable)?;
    drop(whole);
    let stamp = Stamp {
        revision: past.revision()?,
        create_time: past.create_time(),
        update_time: past.update_time(),
        secret_version: past.secret_version()?,
    };
    message.stamp(&stamp, spec);
    Ok(Some(Stored::new(&message, prospect::resource(name.clone(), body, stamp.revision))))
}

fn change(row: changes::Row) -> Result<PastChange, PastError> {
    let name = ResourceName::parse(&row.name)?;
    let message = |spec: Option<String>| {
        let read = |spec: String| Message::from_kept(&name, &read_spec(name.kind(), &spec)?);
        spec.map(read).transpose().map_err(|source| PastError::Unreadable { name: name.clone(), source })
    };
    let (before, after) = (message(row.before_spec)?, message(row.spec)?);
    let secrets = row.secret_fields.as_deref().map(serde_json::from_str).transpose();
    let secrets = secrets.map_err(|source| PastError::Damaged { name: name.clone(), source })?.unwrap_or_default();
    Ok(PastChange { name, before, after, secrets })
}
