//! The state from the tables. What does not add up to the stored digest is refused: data planes would be told something that nobody
//! committed.

use std::{collections::BTreeMap, sync::Arc, thread};

use futures_util::TryStreamExt as _;
use signalbox_routing::{Digest, Position, ResourceName, Revision, Runtime};
use sqlx::SqliteConnection;
use tokio::task::spawn_blocking;

use super::{OpenError, held::Held, prospect};
use crate::{
    convert,
    history::{History, Past},
    message::{Message, Stamp, read_spec},
    seal::DataKey,
    state::{Bulk, Resources, State, Stored},
    store::{
        content, resources,
        revisions::{self, Head},
        secrets,
    },
};

/// What the database holds, and what it says of itself.
pub(super) struct Loaded {
    /// The state, in the bytes that this build makes of it.
    pub(super) state: State,
    /// Where history stands, as it was written down.
    pub(super) head: Head,
}

/// The state that the database is in. Its digest is what this build makes of it.
pub(super) async fn state(connection: &mut SqliteConnection, key: &DataKey) -> Result<Loaded, OpenError> {
    let head = revisions::head(connection).await?.ok_or(OpenError::Incomplete("history"))?;
    let revision = Revision::new(head.revision).ok_or(OpenError::Incomplete("history"))?;
    let position = Position { epoch: head.epoch.as_str().into(), revision, digest: Digest::default() };
    let (runtime, resources) = (Runtime::default(), Resources::default());
    let mut state = State { position, commit_time: head.commit_time, runtime, history: History::default(), resources };

    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let held = Arc::new(all_held(connection, key).await?);
    let blocks = resources::blocks(connection).map_err(OpenError::from);
    let read = blocks.map_ok(|block| read(block, &held)).try_buffered(at_once);
    state.fill(read.try_fold(Bulk::default(), async |all, block| Ok(all.with(block))).await?);
    require_whole(&state, &head)?;
    state.history = history(connection, &state).await?;
    state.runtime = compile(&state);
    Ok(Loaded { state, head })
}

/// Reads a block of rows beside whatever else is being done.
async fn read(block: resources::Block, held: &Arc<BTreeMap<String, Held>>) -> Result<Bulk, OpenError> {
    let held = Arc::clone(held);
    spawn_blocking(move || {
        let none = Held::default();
        block.rows()?.iter().map(|row| stored(row, held.get(&row.name).unwrap_or(&none))).collect()
    })
    .await?
}

/// The tables must hold what was committed: by their own digest, which no build makes otherwise; where none was kept, by that of what
/// data planes hold.
fn require_whole(state: &State, head: &Head) -> Result<(), OpenError> {
    let (stored, recomputed) = match head.content {
        Some(content) => (content.into(), state.content()),
        None => (Digest::from(head.digest), state.position.digest),
    };
    if stored == recomputed { Ok(()) } else { Err(OpenError::StateDigestMismatch { stored, recomputed }) }
}

fn compile(state: &State) -> Runtime {
    let compiled = Runtime::of(state.resources().map(|stored| &stored.resource));
    for finding in &compiled.findings {
        tracing::warn!(%finding, "a stored resource is not in force as written");
    }
    compiled.runtime
}

fn stored(row: &resources::Row, held: &Held) -> Result<Stored, OpenError> {
    let name = ResourceName::parse(&row.name)?;
    let unreadable = |source| OpenError::Unreadable { name: name.clone(), source };
    let kept = read_spec(name.kind(), &row.spec).map_err(unreadable)?;
    let mut message = Message::from_kept(&name, &kept).map_err(unreadable)?;
    let whole = prospect::whole(&name, &message, &kept, &held.secrets).map_err(unreadable)?;
    let body = convert::body(&name, &whole).map_err(OpenError::Unservable)?;
    drop(whole);
    let stamp = Stamp {
        revision: row.revision()?,
        create_time: row.create_time(),
        update_time: row.update_time(),
        secret_version: held.version(Stamp::SECRET),
    };
    message.stamp(&stamp, &row.spec);
    let content = content::of(&row.name, &row.spec, stamp.revision, held.versions());
    Ok(Stored::new(&message, prospect::resource(name, body, stamp.revision)).stored_as(content))
}

async fn all_held(connection: &mut SqliteConnection, key: &DataKey) -> Result<BTreeMap<String, Held>, OpenError> {
    let mut all = BTreeMap::<String, Held>::new();
    for row in secrets::all(connection).await? {
        all.entry(row.resource.clone()).or_default().add(key, row)?;
    }
    Ok(all)
}

/// Names that are read of what came before. Whoever has missed more than that is sent everything, and the start does not wait for it.
const MAX_NAMES: usize = 8192;

/// What came before the state. Of the oldest revision the names may not all be there: they are what led to it, and nobody is told those.
async fn history(connection: &mut SqliteConnection, state: &State) -> Result<History, OpenError> {
    let epoch = &state.position.epoch;
    // What is still there has its name in memory already.
    let shared = |name: ResourceName| state.get(&name).map(|stored| stored.resource.name.clone()).unwrap_or(name);
    let mut history = History::default();
    let mut rows = revisions::recent(connection, epoch, MAX_NAMES).await?.into_iter().peekable();
    while let Some(first) = rows.next() {
        let number = first.revision()?;
        let digest = Digest::from(first.digest()?);
        let mut names: Vec<String> = first.name.into_iter().collect();
        while let Some(next) = rows.next_if(|next| next.is_of(number)) {
            names.extend(next.name);
        }
        let names = names.iter().map(|name| ResourceName::parse(name).map(shared)).collect::<Result<_, _>>()?;
        let revision = Revision::new(number).ok_or(OpenError::Incomplete("history"))?;
        history.push(revision, Past { digest, names });
    }
    Ok(history)
}
