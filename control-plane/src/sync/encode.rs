//! Encodes updates: each full snapshot and each delta once, however many replicas get it.

use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use signalbox_proto::sync::v1::{self as sync, update_begin::Encoding};
use signalbox_routing::{Position, Resource, ResourceName};
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::refusal::Refusal;
use crate::state::State;

/// Largest chunk, in bytes. Small ones keep a thousand joining replicas from filling the memory.
pub(super) const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Deltas kept: replicas that differ by more revisions than that are rare, and each costs only an encoding.
const MAX_DELTAS: usize = 8;

/// Bundles below this are sent as they are.
const MIN_COMPRESSED_BYTES: usize = 512;

/// Hashes and keys do not compress, so that a higher level costs time and saves nothing.
const ZSTD_LEVEL: i32 = 1;

/// An update, ready to be cut into chunks.
#[derive(Debug)]
pub(super) struct Encoded {
    /// What a delta is relative to; `None` = a full snapshot.
    pub base: Option<Position>,
    /// What is held afterwards.
    pub target: Position,
    /// Everything that announces it but its id.
    pub begin: sync::UpdateBegin,
    /// The encoded bundle.
    pub bytes: Bytes,
    /// Over `bytes`.
    pub sha256: Bytes,
}

/// What has been encoded lately.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    full: Recent<1, Arc<Encoded>>,
    deltas: Recent<MAX_DELTAS, Option<Arc<Encoded>>>,
}

impl Encoder {
    /// Everything in the state.
    pub(super) async fn full(&self, state: &Arc<State>) -> Result<Arc<Encoded>, Refusal> {
        let key = (None, state.position.clone());
        let state = Arc::clone(state);
        self.full.get(key, move || Ok(Arc::new(encode(&state, None, full_bundle(&state))?))).await
    }

    /// What leads from `base` to the state, given the names that differ; `None` = a full snapshot is the better way.
    pub(super) async fn delta(
        &self,
        state: &Arc<State>,
        base: &Position,
        names: BTreeSet<ResourceName>,
    ) -> Result<Option<Arc<Encoded>>, Refusal> {
        let key = (Some(base.clone()), state.position.clone());
        let (state, base) = (Arc::clone(state), base.clone());
        self.deltas.get(key, move || delta(&state, base, names)).await
    }
}

/// The latest few results by what they lead from and to. Whoever asks while one is being made waits for it.
#[derive(Debug)]
struct Recent<const LIMIT: usize, T> {
    cells: Mutex<VecDeque<(Key, Arc<OnceCell<T>>)>>,
}

type Key = (Option<Position>, Position);

impl<const LIMIT: usize, T> Default for Recent<LIMIT, T> {
    fn default() -> Self {
        Self { cells: Mutex::default() }
    }
}

impl<const LIMIT: usize, T: Clone + Send + 'static> Recent<LIMIT, T> {
    fn get(
        &self,
        key: Key,
        make: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T, Refusal>> {
        let cell = self.cell(key);
        async move {
            let made = cell.get_or_try_init(|| async {
                let made = spawn_blocking(make).await?;
                made.map_err(Refusal::Encode)
            });
            made.await.cloned()
        }
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<T>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = cells.iter().find(|(made, _)| *made == key) {
            return Arc::clone(cell);
        }
        cells.truncate(LIMIT - 1);
        let cell = Arc::default();
        cells.push_front((key, Arc::clone(&cell)));
        cell
    }
}

fn full_bundle(state: &State) -> sync::Bundle {
    sync::Bundle {
        base: None,
        target: Some(state.position.to_wire()),
        upserts: state.resources().map(|stored| stored.resource.to_wire()).collect(),
        removes: Vec::new(),
    }
}

fn delta(state: &State, base: Position, names: BTreeSet<ResourceName>) -> io::Result<Option<Arc<Encoded>>> {
    let mut bundle =
        sync::Bundle { base: Some(base.to_wire()), target: Some(state.position.to_wire()), ..sync::Bundle::default() };
    let mut bytes = 0;
    for name in names {
        match state.get(&name) {
            Some(stored) => {
                bytes += weight(&stored.resource);
                bundle.upserts.push(stored.resource.to_wire());
            }
            None => bundle
                .removes
                .push(sync::ResourceRef { kind: name.kind().as_str().to_owned(), name: name.as_str().to_owned() }),
        }
    }
    // What fits one chunk is not worth weighing the whole configuration for.
    if bytes > MAX_CHUNK_BYTES && bytes * 2 >= state.resources().map(|stored| weight(&stored.resource)).sum() {
        return Ok(None);
    }
    Ok(Some(Arc::new(encode(state, Some(base), bundle)?)))
}

fn weight(resource: &Resource) -> usize {
    resource.name.as_str().len() + resource.body.len()
}

fn encode(state: &State, base: Option<Position>, bundle: sync::Bundle) -> io::Result<Encoded> {
    let plain = bundle.encode_to_vec();
    let decoded_bytes = plain.len() as u64;
    let (encoding, bytes) = if plain.len() < MIN_COMPRESSED_BYTES {
        (Encoding::Identity, plain)
    } else {
        (Encoding::Zstd, zstd::bulk::compress(&plain, ZSTD_LEVEL)?)
    };
    let begin = sync::UpdateBegin {
        update_id: String::new(),
        base: base.as_ref().map(Position::to_wire),
        target: Some(state.position.to_wire()),
        encoding: encoding.into(),
        encoded_bytes: bytes.len() as u64,
        decoded_bytes,
        commit_time: Some(state.commit_time.into()),
    };
    let sha256 = Bytes::copy_from_slice(&Sha256::digest(&bytes));
    Ok(Encoded { base, target: state.position.clone(), begin, bytes: bytes.into(), sha256 })
}
