//! Opens a database for this control plane alone, and founds its history where it has none.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use signalbox_proto::admin::v1 as admin;
use signalbox_routing::{Digest, Finding, InvalidName, Position, ResourceName, Revision, Runtime};
use sqlx::{Acquire as _, Connection as _};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{
    Edit, Entry, Error, Ledger, Options, QUEUE, Writer, commit,
    draft::Draft,
    held,
    load::{self, Loaded},
    past,
    prospect::{self, Moment},
    retention::Tidying,
    writer::now,
};
use crate::{
    fence::{self, Fence},
    history::History,
    message::{Message, Unreadable},
    migrate,
    seal::{self, DataKey, MasterKey},
    state::{Resources, State},
    store::{
        self, Store,
        revisions::{self, Record},
        secrets,
    },
};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its schema is not this build's.
    #[error(transparent)]
    Schema(#[from] migrate::Error),
    /// The file cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its secrets do not open.
    #[error(transparent)]
    Seal(#[from] seal::Error),
    /// It cannot be told whether data planes may hold something later.
    #[error(transparent)]
    Fence(#[from] fence::Error),
    /// Something without which there is no configuration is gone.
    #[error("the database has lost its {0}")]
    Incomplete(&'static str),
    /// A row's name is none.
    #[error("a resource in the database cannot be read")]
    Name(#[from] InvalidName),
    /// A row is no resource of its kind.
    #[error("`{name}` in the database cannot be read: was it written by a later build?")]
    Unreadable {
        /// The resource.
        name: ResourceName,
        /// What is wrong with it.
        #[source]
        source: Unreadable,
    },
    /// A new database cannot be given its first revision.
    #[error("the first revision cannot be made")]
    Founding(#[from] Error),
    /// Reading it came to a sudden end.
    #[error("the database was not read to its end")]
    Interrupted(#[from] tokio::task::JoinError),
    /// A row cannot be said in the data planes' terms.
    #[error("`{0}` in the database cannot be served")]
    Unservable(#[source] Finding),
    /// The tables hold something else than what was committed.
    #[error(
        "the database is not what its last revision made it: digest {recomputed:?} instead of {stored:?}; \
         was it changed by another program? Restore a backup: `signalbox-control-plane restore --from FILE`"
    )]
    StateDigestMismatch {
        /// The digest of the last revision.
        stored: Digest,
        /// The digest of what is in the tables.
        recomputed: Digest,
    },
}

impl From<held::Error> for OpenError {
    fn from(error: held::Error) -> Self {
        match error {
            held::Error::Seal(error) => Self::Seal(error),
            held::Error::Store(error) => Self::Store(error),
        }
    }
}

/// Opens it, and hands out the two ends of the ledger.
pub(super) async fn open(options: Options) -> Result<(Ledger, Writer), OpenError> {
    let Options { database, master_key, auto_migrate, retention, max_bytes } = options;
    let mut store = Store::open(&database, auto_migrate, max_bytes).await?;
    let key = match data_key(&store, &master_key).await? {
        Some(key) => key,
        None => found(&mut store, &master_key).await?,
    };
    let mut loaded = load(&store, &key).await?;
    let fence = fenced(&store, &database).await?.map(Arc::new);
    // A fork goes on when it is adopted, and not by itself.
    let is_fork = fence.as_deref().is_some_and(|fence| matches!(fence, Fence::Forked { .. }));
    if !is_fork && reword(&mut store, &loaded).await? {
        loaded = load(&store, &key).await?;
    }
    let state = loaded.state;
    let (sender, commands) = mpsc::channel(QUEUE);
    let (published, state) = watch::channel(Arc::new(state));
    let readers = store.readers().clone();
    let past = past::Reader::new(readers.clone());
    let tidying = Tidying::new(retention);
    let export_key = Arc::new(master_key.export_key());
    let ledger = Ledger { commands: sender, state, past, fence: fence.clone(), readers, export_key };
    Ok((ledger, Writer { store, key, commands, published, tidying, fence, doubtful: None }))
}

/// Whether data planes may hold something later, and says so once.
async fn fenced(store: &Store, database: &Path) -> Result<Option<Fence>, OpenError> {
    let mut reader = store.readers().acquire().await.map_err(store::Error::from)?;
    let fence = fence::standing(&mut reader, database).await?;
    match &fence {
        None => {}
        Some(Fence::Restored { cut }) => tracing::warn!(
            restored_from = cut.revision.get(),
            "restored from a backup: data planes that hold anything later keep it until `signalbox-control-plane adopt-history`"
        ),
        Some(Fence::Forked { published }) => tracing::error!(
            published = published.revision.get(),
            "the database is older than what was published from it: nothing is written before the right one is back, \
             or this one is adopted with `signalbox-control-plane adopt-history`"
        ),
    }
    Ok(fence)
}

async fn load(store: &Store, key: &DataKey) -> Result<Loaded, OpenError> {
    let mut reader = store.readers().acquire().await.map_err(store::Error::from)?;
    let mut snapshot = reader.begin().await.map_err(store::Error::from)?;
    load::state(&mut snapshot, key).await
}

/// Where this build tells data planes the same in other bytes than the one before: begins another history, so that each of them is
/// sent everything anew. Says whether anything was written.
async fn reword(store: &mut Store, Loaded { state, head }: &Loaded) -> Result<bool, OpenError> {
    let (digest, content) = (*state.position.digest.as_bytes(), *state.content().as_bytes());
    let same = digest == head.digest;
    if same && head.content.is_some() {
        return Ok(false);
    }
    let mut transaction = store.writer().await?.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
    if same {
        revisions::keep_content(&mut transaction, content).await?;
    } else {
        let record = Record::own("reword", "this build tells data planes the same in other bytes");
        let head = revisions::begin_epoch(&mut transaction, head, digest, &record).await?;
        tracing::info!(
            revision = head.revision,
            epoch = head.epoch,
            "another history begins: data planes are sent everything anew"
        );
    }
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(true)
}

/// The database's own key; `None` in one without a history.
async fn data_key(store: &Store, master: &MasterKey) -> Result<Option<DataKey>, OpenError> {
    let mut reader = store.readers().acquire().await.map_err(store::Error::from)?;
    let has_history = revisions::head(&mut reader).await?.is_some();
    match (secrets::data_key(&mut reader).await?, has_history) {
        (Some(stored), _) => Ok(Some(DataKey::unwrap(&stored, master)?)),
        (None, false) => Ok(None),
        (None, true) => Err(OpenError::Incomplete("data key")),
    }
}

/// Begins a history: its epoch, its data key, and revision 1 with the settings as they are where nobody says anything.
async fn found(store: &mut Store, master: &MasterKey) -> Result<DataKey, OpenError> {
    let (key, wrapped) = DataKey::generate(master);
    let moment = Moment { revision: Revision::FIRST, now: now() };
    let nothing = State {
        position: Position {
            epoch: Uuid::new_v4().to_string().into(),
            revision: moment.revision,
            digest: Digest::default(),
        },
        commit_time: moment.now,
        runtime: Runtime::default(),
        history: History::default(),
        resources: Resources::default(),
    };
    let held = BTreeMap::new();
    let mut settings = Message::from(admin::Settings::default());
    settings.set_name(&ResourceName::settings());
    let draft = Draft::new(&nothing, &held, vec![Edit::Put(settings)])?;
    let prospect = prospect::judge(&nothing, &held, draft, moment)?.ok_or(OpenError::Incomplete("settings"))?;
    let entry = Entry {
        actor: "signalbox".to_owned(),
        source_ip: None,
        method: "found",
        comment: String::new(),
        validate_only: false,
        request: None,
        rollback_of: None,
    };
    let mut transaction = store.writer().await?.begin_with("BEGIN IMMEDIATE").await.map_err(store::Error::from)?;
    secrets::keep_data_key(&mut transaction, &wrapped, moment.now).await?;
    commit::write(&mut transaction, &key, &entry, &prospect).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(key)
}
