//! A watch service without a database, and replicas that say what a test tells them to; all on paused time.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use signalbox_proto::{
    admin::v1 as admin,
    sync::v1::{
        self as sync, WatchRequest, WatchResponse, ack::Outcome, config_sync_service_client::ConfigSyncServiceClient,
        update_begin::Encoding, watch_request, watch_response::Message,
    },
};
use signalbox_routing::{Digest, Position, Resource, ResourceName, Revision, Runtime};
use tokio::{
    io::DuplexStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, Streaming,
    transport::{Endpoint, Server},
};

use super::super::{ConfigSync, Followed, Timing, encode::MAX_CHUNK_BYTES};
use crate::{
    history::{History, Past},
    message,
    replicas::Replicas,
    source::Reloads,
    state::{Resources, State, Stored},
};

/// Longest wait for anything, in paused time: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Room of each connection.
const CONNECTION_BYTES: usize = 64 * 1024;

/// A control plane with nothing but a watch service.
pub(super) struct World {
    head: watch::Sender<Arc<State>>,
    pub(super) replicas: Replicas,
    pub(super) sync: ConfigSync,
    pub(super) stop: CancellationToken,
    connections: mpsc::Sender<io::Result<DuplexStream>>,
    pub(super) server: JoinHandle<()>,
}

impl World {
    /// At revision 1, with nothing configured.
    pub(super) fn new() -> Self {
        Self::with_timing(Timing::default())
    }

    pub(super) fn with_timing(timing: Timing) -> Self {
        let (replicas, stop) = (Replicas::default(), CancellationToken::new());
        let (head, following) = watch::channel(Arc::new(first("epoch")));
        let followed = Followed { head: following, reloads: Reloads::default(), fence: None };
        let sync = ConfigSync::with_timing(followed, &"joining".into(), replicas.clone(), stop.clone(), timing);
        let (connections, incoming) = mpsc::channel(1);
        let server = Server::builder().add_service(sync.service());
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            server.serve_with_incoming_shutdown(ReceiverStream::new(incoming), stopped).await.unwrap();
        });
        Self { head, replicas, sync, stop, connections, server }
    }

    pub(super) fn head(&self) -> Position {
        self.head.borrow().position.clone()
    }

    /// A revision that makes or replaces routes.
    pub(super) fn put(&self, bodies: &[(&str, &[u8])]) -> Position {
        self.commit(bodies.iter().map(|(id, body)| (*id, Some(Bytes::copy_from_slice(body)))).collect())
    }

    /// A revision that removes a route.
    pub(super) fn remove(&self, id: &str) -> Position {
        self.commit(vec![(id, None)])
    }

    /// A revision after which nothing is known of those before it.
    pub(super) fn forget(&self) -> Position {
        self.head.send_modify(|state| {
            let mut next = State::clone(state);
            next.history = History::default();
            *state = Arc::new(next);
        });
        self.put(&[("after", b"x")])
    }

    fn commit(&self, changes: Vec<(&str, Option<Bytes>)>) -> Position {
        self.head.send_modify(|state| *state = Arc::new(after(state, changes)));
        self.head()
    }

    /// What the state says of a replica.
    pub(super) fn replica(&self, id: &str) -> admin::Replica {
        self.replicas.get(id, &self.head()).unwrap()
    }

    /// Opens a stream as it is told to.
    pub(super) async fn open(
        &self,
        authorization: Option<&str>,
        first: Option<watch_request::Message>,
    ) -> Result<Wire, Status> {
        let (ours, theirs) = tokio::io::duplex(CONNECTION_BYTES);
        self.connections.send(Ok(theirs)).await.unwrap();
        let mut ours = Some(TokioIo::new(ours));
        let connector = tower::service_fn(move |_| {
            std::future::ready(ours.take().ok_or(io::Error::from(io::ErrorKind::NotConnected)))
        });
        let channel = Endpoint::from_static("http://world").connect_with_connector(connector).await.unwrap();
        let (requests, waiting) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(waiting));
        if let Some(authorization) = authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        if let Some(first) = first {
            requests.send(WatchRequest { message: Some(first) }).await.unwrap();
        }
        let responses = ConfigSyncServiceClient::new(channel).watch(request).await?.into_inner();
        Ok(Wire { requests, responses })
    }

    /// Joins and is welcomed.
    pub(super) async fn join(&self, hello: sync::Hello) -> (Wire, sync::Welcome) {
        let hello = watch_request::Message::Hello(hello);
        let mut wire = self.open(Some("Bearer joining"), Some(hello)).await.unwrap();
        match wire.hear().await {
            Message::Welcome(welcome) => (wire, welcome),
            other => panic!("{other:?} is no welcome"),
        }
    }

    /// Joins with nothing and takes everything.
    pub(super) async fn join_and_sync(&self, id: &str) -> Wire {
        let (mut wire, _) = self.join(hello(id, None)).await;
        let update = wire.update().await;
        wire.ack(&update, Outcome::Applied).await;
        self.until(id, |replica| replica.state() == admin::replica::State::Synced).await;
        wire
    }

    /// Waits until this is said of a replica.
    pub(super) async fn until(&self, id: &str, holds: impl Fn(&admin::Replica) -> bool) -> admin::Replica {
        soon(async {
            loop {
                let replica = self.replica(id);
                if holds(&replica) {
                    return replica;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }
}

/// The first state of a history.
pub(super) fn first(epoch: &str) -> State {
    let position = Position { epoch: epoch.into(), revision: Revision::new(1).unwrap(), digest: Digest::default() };
    let mut history = History::default();
    history.push(position.revision, Past { digest: position.digest, names: Vec::new() });
    State {
        position,
        commit_time: SystemTime::now(),
        runtime: Runtime::default(),
        history,
        resources: Resources::default(),
    }
}

/// The state after a revision that makes, replaces or removes routes.
pub(super) fn after(state: &State, changes: Vec<(&str, Option<Bytes>)>) -> State {
    let mut next = state.clone();
    let revision = Revision::new(state.position.revision.get() + 1).unwrap();
    next.position.revision = revision;
    let mut names = Vec::new();
    for (id, body) in changes {
        let name = ResourceName::parse(&format!("routes/{id}")).unwrap();
        let stored = body.map(|body| {
            let resource =
                Resource { name: name.clone(), revision: revision.get(), required_features: Vec::new(), body };
            Arc::new(Stored::new(&message::Message::Settings(admin::Settings::default()), resource))
        });
        next.replace(name.clone(), stored);
        names.push(name);
    }
    next.history.push(revision, Past { digest: next.position.digest, names });
    next
}

/// Waits for something that is to happen.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it did not happen")
}

pub(super) fn hello(id: &str, have: Option<&Position>) -> sync::Hello {
    sync::Hello {
        replica_id: id.to_owned(),
        boot_id: "boot".to_owned(),
        have: have.map(Position::to_wire),
        min_schema: 1,
        max_schema: 1,
        version: "1.0.0".to_owned(),
        ..sync::Hello::default()
    }
}

/// A replica's end of a stream.
pub(super) struct Wire {
    pub(super) requests: mpsc::Sender<WatchRequest>,
    pub(super) responses: Streaming<WatchResponse>,
}

/// An update that has arrived whole.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) id: String,
    pub(super) begin: sync::UpdateBegin,
    pub(super) bundle: sync::Bundle,
    pub(super) chunks: usize,
}

impl Wire {
    pub(super) async fn hear(&mut self) -> Message {
        soon(self.responses.message()).await.unwrap().expect("the stream has ended").message.unwrap()
    }

    /// The next message that is no heartbeat.
    pub(super) async fn hear_news(&mut self) -> Message {
        loop {
            match self.hear().await {
                Message::Heartbeat(_) => {}
                message => return message,
            }
        }
    }

    /// How the stream ends, whatever is said before.
    pub(super) async fn end(&mut self) -> Option<Status> {
        loop {
            match soon(self.responses.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// Nothing but heartbeats comes for so many of them.
    pub(super) async fn hears_only_heartbeats(&mut self, count: usize) {
        for _ in 0..count {
            let message = self.hear().await;
            assert!(matches!(message, Message::Heartbeat(_)), "{message:?}");
        }
    }

    /// The next update, checked in every way that a replica checks it.
    pub(super) async fn update(&mut self) -> Update {
        let begin = match self.hear_news().await {
            Message::Begin(begin) => begin,
            other => panic!("{other:?} is no begin"),
        };
        let (mut encoded, mut chunks) = (Vec::new(), 0);
        let end = loop {
            match self.hear().await {
                Message::Chunk(chunk) => {
                    assert!(chunk.data.len() <= MAX_CHUNK_BYTES);
                    encoded.extend_from_slice(&chunk.data);
                    chunks += 1;
                }
                Message::End(end) => break end,
                other => panic!("{other:?} inside an update"),
            }
        };
        assert_eq!(end.update_id, begin.update_id);
        assert_eq!(end.sha256, Sha256::digest(&encoded).as_slice());
        assert_eq!(begin.encoded_bytes, encoded.len() as u64);
        let plain = match begin.encoding() {
            Encoding::Zstd => zstd::bulk::decompress(&encoded, 1 << 28).unwrap(),
            Encoding::Identity => encoded,
            Encoding::Unspecified => panic!("an update says how it is encoded"),
        };
        assert_eq!(begin.decoded_bytes, plain.len() as u64);
        let bundle = sync::Bundle::decode(plain.as_slice()).unwrap();
        assert_eq!((&bundle.base, &bundle.target), (&begin.base, &begin.target));
        Update { id: end.update_id, begin, bundle, chunks }
    }

    pub(super) async fn say(&self, message: watch_request::Message) {
        soon(self.requests.send(WatchRequest { message: Some(message) })).await.unwrap();
    }

    /// Acknowledges an update, holding its target if it was taken and its base if not.
    pub(super) async fn ack(&self, update: &Update, outcome: Outcome) {
        let taken = matches!(outcome, Outcome::Applied | Outcome::AppliedPartially);
        let held = if taken { update.begin.target.clone() } else { update.begin.base.clone() };
        let serving_revision = held.as_ref().map_or(0, |held| held.revision);
        let update_id = update.id.clone();
        let ack = sync::Ack { update_id, outcome: outcome.into(), held, serving_revision, ..sync::Ack::default() };
        self.say(watch_request::Message::Ack(ack)).await;
    }
}

impl Update {
    /// What holds once it is applied to what held before; its digest must be the target's.
    pub(super) fn apply_to(&self, held: &mut BTreeMap<String, Bytes>) {
        if self.bundle.base.is_none() {
            held.clear();
        }
        held.extend(self.bundle.upserts.iter().map(|resource| (resource.name.clone(), resource.body.clone())));
        for gone in &self.bundle.removes {
            held.remove(&gone.name);
        }
        let digests = held.iter().map(|(name, body)| Digest::of(&ResourceName::parse(name).unwrap(), body));
        assert_eq!(digests.fold(Digest::default(), Digest::with), self.target().digest);
    }

    pub(super) fn target(&self) -> Position {
        Position::from_wire(self.begin.target.as_ref().unwrap()).unwrap()
    }

    pub(super) fn base(&self) -> Option<Position> {
        self.begin.base.as_ref().map(|base| Position::from_wire(base).unwrap())
    }
}
