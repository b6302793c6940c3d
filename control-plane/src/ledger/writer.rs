//! The task that owns the one connection that writes: one write is one transaction is one revision, in the order in which they come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use signalbox_routing::{Kind, Position, ResourceName};
use sqlx::{Connection as _, SqliteConnection};
use tokio::{
    sync::{mpsc, watch},
    time::timeout_at,
};

use super::{
    AnswerFn, Command, Edit, EditFn, Entry, Error, Once, Written, commit, deed,
    draft::Draft,
    held::Held,
    once::Call,
    prospect::{self, Moment, Prospect},
    retention::Tidying,
};
use crate::{
    fence::Fence,
    seal::DataKey,
    state::State,
    store::{
        self, Store, audit, resources,
        revisions::{self, Head},
        secrets,
    },
};

/// The single writer. Nothing is written unless it runs.
#[derive(Debug)]
pub struct Writer {
    pub(super) store: Store,
    pub(super) key: DataKey,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) published: watch::Sender<Arc<State>>,
    pub(super) tidying: Tidying,
    pub(super) fence: Option<Arc<Fence>>,
    /// What the last write led to, where its commit failed and it has not been seen since whether it is there.
    pub(super) doubtful: Option<Arc<State>>,
}

impl Writer {
    /// Writes until every [`Ledger`](super::Ledger) is gone, then closes the database. Between writes it forgets what is past its time.
    pub async fn run(mut self) {
        loop {
            let current = self.published.borrow().position.revision;
            self.tidying.step(&mut self.store, current).await;
            match timeout_at(self.tidying.due(), self.commands.recv()).await {
                Ok(Some(Command::Write { entry, edit, answer, reply })) => {
                    let done = self.write(&entry, edit, answer).await;
                    // Whoever asked may have gone; what was written stands.
                    let _ = reply.send(done);
                }
                Ok(Some(Command::Maintain(maintenance))) => maintenance.run(&mut self.store).await,
                Ok(None) => break,
                Err(_) => {}
            }
        }
        if let Err(error) = self.store.close().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database was not closed cleanly");
        }
    }

    async fn write(&mut self, entry: &Entry, edit: EditFn, answer: AnswerFn) -> Result<Once, Error> {
        if let Some(Fence::Forked { published }) = self.fence.as_deref() {
            return Err(Error::HistoryForked { published: published.revision });
        }
        self.settle().await?;
        let base = Arc::clone(&self.published.borrow());
        let done = self.transact(&base, entry, edit, answer).await;
        match &done {
            Ok(Once::Done(written, _)) if written.committed => {
                drop(self.published.send_replace(Arc::clone(&written.state)));
            }
            Err(Error::Storage(_)) => self.store.give_up_writer(),
            _ => {}
        }
        done
    }

    /// A commit that failed may be on the disk all the same: what the file says counts.
    pub(super) async fn decide(&mut self, error: store::Error, written: &Written) -> Result<(), Error> {
        self.store.give_up_writer();
        let state = &written.state;
        match self.is_stored(state).await {
            Ok(true) if written.committed => Ok(()),
            Ok(_) => Err(Error::Storage(error)),
            Err(_) => {
                self.doubtful = Some(Arc::clone(state));
                Err(Error::Undecided { revision: state.position.revision, source: error })
            }
        }
    }

    /// Finds out what became of the last write, where that is not known yet.
    async fn settle(&mut self) -> Result<(), Error> {
        let Some(state) = self.doubtful.clone() else { return Ok(()) };
        if self.is_stored(&state).await? {
            self.published.send_replace(state);
        }
        self.doubtful = None;
        Ok(())
    }

    async fn is_stored(&mut self, state: &State) -> Result<bool, store::Error> {
        let head = revisions::head(self.store.writer().await?).await?;
        Ok(head.is_some_and(|head| is_at(&head, &state.position) && head.content == Some(*state.content().as_bytes())))
    }

    /// One transaction; dropped before its commit, it never was.
    pub(super) async fn transact(
        &mut self,
        base: &Arc<State>,
        entry: &Entry,
        edit: EditFn,
        answer: AnswerFn,
    ) -> Result<Once, Error> {
        let connection = self.store.writer().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
        require_unmoved(&mut transaction, base).await?;
        let moment = Moment { revision: base.position.revision.next(), now: now() };
        let once = Call::of(entry, moment.now);
        if let Some(call) = &once
            && let Some(answer) = call.answered(&mut transaction, &self.key).await?
        {
            transaction.rollback().await.map_err(store::Error::from)?;
            return Ok(Once::Repeated(answer));
        }
        let edits = edit(base)?;
        let subject = deed::subject(&edits)?;
        let held = held(&mut transaction, &self.key, base, &edits).await?;
        let draft = Draft::new(base, &held, edits)?;
        let prospect = prospect::judge(base, &held, draft, moment)?;
        if let Some(prospect) = &prospect {
            commit::write(&mut transaction, &self.key, entry, prospect).await?;
        }
        let written = written(base, prospect, entry);
        let answer = answer(&written);
        if let Some(call) = &once {
            call.keep(&mut transaction, &self.key, &answer).await?;
        }
        if entry.validate_only {
            transaction.rollback().await.map_err(store::Error::from)?;
        } else {
            let done = entry.done(subject, written.committed.then_some(written.revision), moment.now);
            audit::add(&mut transaction, &done).await?;
            if let Err(error) = transaction.commit().await {
                self.decide(error.into(), &written).await?;
            }
            done.log();
        }
        Ok(Once::Done(written, answer))
    }
}

/// What the write has come to, once its transaction has.
fn written(base: &Arc<State>, prospect: Option<Prospect>, entry: &Entry) -> Written {
    let (before, current) = (Arc::clone(base), base.position.revision);
    let Some(Prospect { state, steps }) = prospect else {
        return Written { state: Arc::clone(base), before, revision: current, changes: Vec::new(), committed: false };
    };
    let committed = !entry.validate_only;
    let revision = if committed { state.position.revision } else { current };
    let changes = steps.into_iter().map(|step| step.difference).collect();
    Written { before, state: Arc::new(state), revision, changes, committed }
}

/// The current moment, as exactly as it is stored.
pub(super) fn now() -> SystemTime {
    resources::from_micros(resources::to_micros(SystemTime::now()))
}

fn is_at(head: &Head, position: &Position) -> bool {
    head.revision == position.revision.get()
        && head.digest == *position.digest.as_bytes()
        && *head.epoch == *position.epoch
}

/// Refuses to write on top of something that this process has not made or read.
async fn require_unmoved(connection: &mut SqliteConnection, base: &State) -> Result<(), Error> {
    let memory = &base.position;
    match revisions::head(connection).await? {
        Some(head) if is_at(&head, memory) => Ok(()),
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
    for edit in edits {
        let Edit::Restore(message, at) = edit else { continue };
        let name = message.name()?;
        let held = held.entry(name.clone()).or_default();
        for row in secrets::of_past(connection, name.as_str(), at.get()).await? {
            held.restore(key, row)?;
        }
    }
    Ok(held)
}

fn touched(edits: &[Edit]) -> Result<BTreeSet<ResourceName>, Error> {
    let name = |edit: &Edit| match edit {
        Edit::Put(message) | Edit::Restore(message, _) => message.name(),
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
