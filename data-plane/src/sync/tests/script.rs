//! A control plane that says what a test tells it to, and a replica that follows it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use signalbox_proto::sync::v1::{
    self as sync, WatchRequest, WatchResponse,
    config_sync_service_server::{ConfigSyncService, ConfigSyncServiceServer},
    update_begin::Encoding,
    watch_request,
    watch_response::Message,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use super::super::{ControlPlane, Replica, Timing, Vitals};
use crate::{
    cache::{Cache, CacheKey},
    live::Live,
    received::history::History,
};

/// Longest wait for anything: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that is to happen.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it did not happen")
}

/// A control plane under a test's control.
pub(super) struct Script {
    pub(super) addr: SocketAddr,
    visits: mpsc::Receiver<Visit>,
    server: JoinHandle<()>,
}

/// One stream that a replica has opened.
pub(super) struct Visit {
    pub(super) hello: sync::Hello,
    pub(super) authorization: String,
    requests: Streaming<WatchRequest>,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
}

struct Desk(mpsc::Sender<Visit>);

#[tonic::async_trait]
impl ConfigSyncService for Desk {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let authorization = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap().message;
        let Some(watch_request::Message::Hello(hello)) = first else { panic!("{first:?} is no hello") };
        let (responses, stream) = mpsc::channel(4);
        let visit = Visit { hello, authorization, requests, responses };
        self.0.send(visit).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Script {
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With TLS, if there is an identity.
    pub(super) async fn start_with(identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (desk, visits) = mpsc::channel(1);
        let mut server = Server::builder();
        if let Some(identity) = identity {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let server = server.add_service(ConfigSyncServiceServer::new(Desk(desk)));
        let server =
            tokio::spawn(async move { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
        Self { addr, visits, server }
    }

    /// The next stream that is opened.
    pub(super) async fn visit(&mut self) -> Visit {
        soon(self.visits.recv()).await.unwrap()
    }

    /// The next stream that is opened, welcomed.
    pub(super) async fn welcome(&mut self) -> Visit {
        let visit = self.visit().await;
        visit.say(Message::Welcome(sync::Welcome::default())).await;
        visit
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Visit {
    pub(super) async fn say(&self, message: Message) {
        soon(self.responses.send(Ok(WatchResponse { message: Some(message) }))).await.unwrap();
    }

    /// Sends all of an update.
    pub(super) async fn send(&self, id: &str, bundle: &sync::Bundle) {
        for message in parts(id, bundle) {
            self.say(message).await;
        }
    }

    /// Sends an update and returns what the replica makes of it.
    pub(super) async fn ask(&mut self, id: &str, bundle: &sync::Bundle) -> sync::Ack {
        self.send(id, bundle).await;
        self.ack(id).await
    }

    /// The acknowledgement of an update, whatever is said before it.
    pub(super) async fn ack(&mut self, id: &str) -> sync::Ack {
        loop {
            if let Some(watch_request::Message::Ack(ack)) = self.hear().await {
                assert_eq!(ack.update_id, id);
                return ack;
            }
        }
    }

    /// The next report for which this holds.
    pub(super) async fn status(&mut self, holds: impl Fn(&sync::ReplicaStatus) -> bool) -> sync::ReplicaStatus {
        loop {
            if let Some(watch_request::Message::Status(status)) = self.hear().await
                && holds(&status)
            {
                return status;
            }
        }
    }

    /// The replica leaves.
    pub(super) async fn left(mut self) {
        soon(async { while let Ok(Some(_)) = self.requests.message().await {} }).await;
    }

    async fn hear(&mut self) -> Option<watch_request::Message> {
        soon(self.requests.message()).await.unwrap().expect("the replica left").message
    }
}

/// An update cut into many parts.
pub(super) fn parts(id: &str, bundle: &sync::Bundle) -> Vec<Message> {
    let plain = bundle.encode_to_vec();
    let encoded = zstd::bulk::compress(&plain, 1).unwrap();
    let begin = sync::UpdateBegin {
        update_id: id.to_owned(),
        base: bundle.base.clone(),
        target: bundle.target.clone(),
        encoding: Encoding::Zstd.into(),
        encoded_bytes: encoded.len() as u64,
        decoded_bytes: plain.len() as u64,
        commit_time: None,
    };
    let chunks = encoded.chunks(40).map(|chunk| sync::UpdateChunk { data: Bytes::copy_from_slice(chunk) });
    let sha256 = Bytes::copy_from_slice(&Sha256::digest(&encoded));
    let end = sync::UpdateEnd { update_id: id.to_owned(), sha256 };
    [Message::Begin(begin)].into_iter().chain(chunks.map(Message::Chunk)).chain([Message::End(end)]).collect()
}

/// A replica that runs.
pub(super) struct Running {
    pub(super) live: Arc<Live>,
    pub(super) vitals: Vitals,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Follows the control plane at this address.
    pub(super) fn start(addr: SocketAddr, cache: Option<&Path>, timing: Timing) -> Self {
        let to =
            ControlPlane { url: format!("http://{addr}").parse().unwrap(), ca: None, join_token: "joining".into() };
        let cache = cache.map(|root| {
            let key = CacheKey::load_or_create(&root.join("cache.key")).unwrap();
            Cache::open(root.join("cache"), key).unwrap()
        });
        let live = Arc::new(Live::new());
        let vitals = Vitals::default();
        let mut replica = Replica::new("one".to_owned(), to, Arc::clone(&live), cache, vitals.clone());
        replica.timing = timing;
        let stop = CancellationToken::new();
        let task = tokio::spawn(replica.run(stop.clone()));
        Self { live, vitals, stop, task }
    }

    /// Waits until this is what requests are answered from.
    pub(super) async fn serves(&self, history: &History) {
        let position = history.position();
        soon(self.live.subscribe().wait_for(|serving| serving.as_ref() == Some(&position))).await.unwrap();
    }

    /// This is what requests are answered from, right now.
    pub(super) fn assert_serves(&self, history: &History) {
        assert_eq!(self.live.load().unwrap().position, history.position());
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap();
    }
}

/// Reconnects at once and waits for nothing.
pub(super) fn quick() -> Timing {
    Timing { backoff_min: Duration::from_millis(1), backoff_max: Duration::from_millis(5), ..Timing::default() }
}
