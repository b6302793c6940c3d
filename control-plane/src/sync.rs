//! The watch stream: tells each data plane what the configuration is, and hears what became of it. It reads the configuration and
//! never changes it.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use signalbox_proto::sync::v1::{
    WatchRequest, WatchResponse,
    config_sync_service_server::{ConfigSyncService, ConfigSyncServiceServer},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::{bearer::Token, fence::Fence, replicas::Replicas, source::Reloads, state::State};

mod encode;
mod hello;
mod refusal;
mod session;
#[cfg(test)]
mod tests;

use encode::Encoder;
use hello::Opened;
use refusal::Refusal;
use session::Session;

/// Between two HTTP/2 pings, and for their answer; for the server that carries the service.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Full snapshots under way at once. Further replicas wait their turn, which serves all of them sooner.
const MAX_FULL_TRANSFERS: usize = 32;

/// Messages under way to one replica: a quarter of a MiB in chunks.
const MAX_RESPONSES: usize = 4;

/// Largest message taken from a replica: an acknowledgement with all its rejections is far smaller.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

type Responses = ReceiverStream<Result<WatchResponse, Status>>;

/// The service that data planes watch.
#[derive(Debug, Clone)]
pub(crate) struct ConfigSync {
    hub: Arc<Hub>,
}

/// What replicas follow.
#[derive(Debug)]
pub(crate) struct Followed {
    /// The newest committed revision.
    pub(crate) head: watch::Receiver<Arc<State>>,
    /// Where the file is asked for that is the source, if there is one.
    pub(crate) reloads: Reloads,
    /// Why data planes that hold something later are sent nothing.
    pub(crate) fence: Option<Arc<Fence>>,
}

/// What all streams share.
#[derive(Debug)]
struct Hub {
    control_plane_id: String,
    join_token: Token,
    followed: Followed,
    replicas: Replicas,
    encoder: Encoder,
    full_transfers: Semaphore,
    timing: Timing,
    streams: TaskTracker,
    stop: CancellationToken,
}

/// Every clock of this room.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// From a stream's opening to its hello.
    hello: Duration,
    /// Between two heartbeats, give or take a fifth.
    heartbeat: Duration,
    /// Least time between two updates to one replica: what is committed meanwhile travels together.
    coalesce: Duration,
    /// For a replica to take a message, and to acknowledge an update; longer for one that was slow to apply the last.
    patience: Duration,
    /// What the replicas' return is spread over when this control plane goes away.
    return_spread: Duration,
    /// For the notice of that to be taken.
    farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            coalesce: Duration::from_millis(10),
            patience: Duration::from_secs(30),
            return_spread: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
        }
    }
}

impl ConfigSync {
    /// A service for replicas that present `join_token`. Every stream ends on `stop`.
    pub(crate) fn new(
        followed: Followed,
        join_token: &SecretString,
        replicas: Replicas,
        stop: CancellationToken,
    ) -> Self {
        Self::with_timing(followed, join_token, replicas, stop, Timing::default())
    }

    fn with_timing(
        followed: Followed,
        join_token: &SecretString,
        replicas: Replicas,
        stop: CancellationToken,
        timing: Timing,
    ) -> Self {
        let hub = Hub {
            control_plane_id: Uuid::new_v4().to_string(),
            join_token: Token::new(join_token),
            followed,
            replicas,
            encoder: Encoder::default(),
            full_transfers: Semaphore::new(MAX_FULL_TRANSFERS),
            timing,
            streams: TaskTracker::new(),
            stop,
        };
        Self { hub: Arc::new(hub) }
    }

    /// The service, ready to be added to a server.
    pub(crate) fn service(&self) -> ConfigSyncServiceServer<Self> {
        ConfigSyncServiceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    /// Waits until every stream has ended, which they do once `stop` is cancelled.
    pub(crate) async fn ended(&self) {
        self.hub.streams.close();
        self.hub.streams.wait().await;
    }

    async fn open(&self, request: Request<Streaming<WatchRequest>>) -> Result<Responses, Refusal> {
        let hub = &self.hub;
        hub.join_token.check(request.metadata().as_ref())?;
        let source_ip = request.remote_addr().map(|address| address.ip());
        let mut requests = request.into_inner();
        let first = hub.stop.run_until_cancelled(timeout(hub.timing.hello, requests.message())).await;
        let Ok(Ok(first)) = first.ok_or(Refusal::Stopping)? else { return Err(Refusal::NoHello) };
        let current = hub.followed.head.borrow().position.revision.get();
        let joining = hello::read(first, Opened { source_ip, current })?;
        let have = joining.have.clone();
        let membership = hub.replicas.join(joining)?;
        let (responses, stream) = mpsc::channel(MAX_RESPONSES);
        let session = Session::new(Arc::clone(hub), membership, have, responses);
        hub.streams.spawn(session.run(requests));
        Ok(ReceiverStream::new(stream))
    }
}

#[tonic::async_trait]
impl ConfigSyncService for ConfigSync {
    type WatchStream = Responses;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        match self.open(request).await {
            Ok(stream) => Ok(Response::new(stream)),
            Err(refusal) => {
                tracing::warn!(error = &refusal as &dyn std::error::Error, "watch stream refused");
                Err(refusal.into())
            }
        }
    }
}
