//! A data plane in a test's hands: it joins over loopback and says what the test tells it to.

use signalbox_proto::sync::v1::{
    self as sync, WatchRequest, WatchResponse, ack::Outcome, config_sync_service_client::ConfigSyncServiceClient,
    watch_request, watch_response::Message,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::*;

/// A data plane's end of its stream.
pub(super) struct Puppet {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    held: Option<sync::Position>,
}

/// What a data plane says as it comes.
pub(super) fn hello(id: &str) -> sync::Hello {
    sync::Hello {
        replica_id: id.to_owned(),
        boot_id: format!("boot-of-{id}"),
        min_schema: 1,
        max_schema: 1,
        features: vec!["a-feature".to_owned()],
        version: "1.2.3".to_owned(),
        ..sync::Hello::default()
    }
}

impl Puppet {
    /// Joins and takes everything that there is.
    pub(super) async fn synced(app: &Running, id: &str) -> Self {
        let mut puppet = Self::join(app, hello(id)).await;
        puppet.take().await;
        puppet
    }

    pub(super) async fn join(app: &Running, hello: sync::Hello) -> Self {
        let channel = Endpoint::from_shared(format!("http://{}", app.sync)).unwrap().connect_lazy();
        let mut client = ConfigSyncServiceClient::with_interceptor(channel, Running::bearer("the-join-token"));
        let (requests, waiting) = mpsc::channel(4);
        let held = hello.have.clone();
        let said = WatchRequest { message: Some(watch_request::Message::Hello(hello)) };
        requests.send(said).await.unwrap();
        let responses = client.watch(ReceiverStream::new(waiting)).await.unwrap().into_inner();
        let mut puppet = Self { requests, responses, held };
        assert!(matches!(puppet.hear().await, Message::Welcome(_)));
        puppet
    }

    async fn hear(&mut self) -> Message {
        let said = timeout(PATIENCE, self.responses.message()).await.expect("the control plane says something");
        said.unwrap().expect("the stream goes on").message.unwrap()
    }

    /// The id and the target of the next update.
    async fn update(&mut self) -> (String, sync::Position) {
        let mut target = None;
        loop {
            match self.hear().await {
                Message::Begin(begin) => target = begin.target,
                Message::End(end) => return (end.update_id, target.unwrap()),
                _ => {}
            }
        }
    }

    /// Takes the next update as a whole.
    pub(super) async fn take(&mut self) {
        self.answer(Outcome::Applied, Vec::new()).await;
    }

    /// Takes the next update but for this resource.
    pub(super) async fn take_in_part(&mut self, resource: &str) {
        self.answer(Outcome::AppliedPartially, vec![rejection(resource)]).await;
    }

    /// Refuses the next update.
    pub(super) async fn refuse(&mut self) {
        self.answer(Outcome::Rejected, vec![rejection("")]).await;
    }

    async fn answer(&mut self, outcome: Outcome, rejections: Vec<sync::Rejection>) {
        let (update_id, target) = self.update().await;
        if outcome != Outcome::Rejected {
            self.held = Some(target);
        }
        let serving_revision = self.held.as_ref().map_or(0, |held| held.revision);
        let rejection_count = u32::try_from(rejections.len()).unwrap();
        let outcome = outcome.into();
        let held = self.held.clone();
        let ack = sync::Ack {
            update_id,
            outcome,
            held,
            serving_revision,
            rejections,
            rejection_count,
            ..sync::Ack::default()
        };
        self.say(watch_request::Message::Ack(ack)).await;
    }

    /// Says how it is.
    pub(super) async fn report(&self, draining: bool) {
        let serving_revision = self.held.as_ref().map_or(0, |held| held.revision);
        let held = self.held.clone();
        let status = sync::ReplicaStatus { held, serving_revision, draining, ..sync::ReplicaStatus::default() };
        self.say(watch_request::Message::Status(status)).await;
    }

    async fn say(&self, message: watch_request::Message) {
        self.requests.send(WatchRequest { message: Some(message) }).await.unwrap();
    }

    /// What it holds.
    pub(super) fn held(&self) -> Option<sync::Position> {
        self.held.clone()
    }
}

pub(super) fn rejection(resource: &str) -> sync::Rejection {
    sync::Rejection { name: resource.to_owned(), reason: "UNKNOWN_FEATURE".to_owned(), ..sync::Rejection::default() }
}
