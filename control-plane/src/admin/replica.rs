//! The data planes, over gRPC, as the sync room has seen them: what each serves, and the wait until enough of them serve a revision.
//! It changes nothing.

use std::time::SystemTime;

use prost_reflect::{DynamicMessage, MessageDescriptor};
use signalbox_proto::{
    DESCRIPTORS,
    admin::v1::{
        GetReplicaRequest, ListReplicasRequest, ListReplicasResponse, Replica, WaitForRevisionRequest,
        WaitForRevisionResponse, replica_service_server::ReplicaService, revision::Rollout,
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    error::{Error, Violation},
    filter::Filter,
    page::{self, Asked, Listing, Page},
};
use crate::{ledger::Ledger, replicas::Replicas};

mod wait;

pub(crate) use wait::Wait;

const COLLECTION: &str = "replicas";

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    ledger: Ledger,
    replicas: Replicas,
    /// Ends every wait.
    stop: CancellationToken,
}

impl Fleet {
    /// These replicas, as they stand to what this ledger holds; nobody waits for them any longer once `stop` is cancelled.
    pub(crate) const fn new(ledger: Ledger, replicas: Replicas, stop: CancellationToken) -> Self {
        Self { ledger, replicas, stop }
    }

    fn get(&self, name: &str) -> Result<Replica, Error> {
        let id = match name.split_once('/') {
            Some((COLLECTION, id)) if !id.is_empty() => id,
            _ => return Err(Violation::new("name", "INVALID_NAME", format_args!("`{name}` is not replicas/ID")).into()),
        };
        let missing = || Error::NotFound { resource_type: "Replica", name: name.to_owned() };
        self.replicas.get(id, &self.ledger.state().position).ok_or_else(missing)
    }

    /// How far a revision of the current history has come.
    pub(crate) fn rollout(&self, revision: u64, commit_time: SystemTime) -> Rollout {
        self.replicas.rollout(revision, commit_time, &self.ledger.state().position)
    }

    fn list(&self, asked: &Asked) -> Result<ListReplicasResponse, Error> {
        let schema = descriptor();
        let filter = Filter::parse(&asked.filter, &schema)?;
        let head = self.ledger.state().position.clone();
        let listing = Listing { collection: COLLECTION, epoch: &head.epoch };
        let Page { size, after, revision: _ } = Page::read(asked, listing)?;
        let rest = self.replicas.list(&head, after.as_deref()).into_iter();
        let mut wanted = rest.filter(|replica| filter.is_empty() || filter.matches(&dynamic(&schema, replica)));
        let replicas: Vec<_> = wanted.by_ref().take(size).collect();
        let last = replicas.last().and_then(|replica| replica.name.split_once('/'));
        let next_page_token = match (last, wanted.next()) {
            (Some((_, id)), Some(_)) => page::token(asked, listing, 0, id),
            _ => String::new(),
        };
        Ok(ListReplicasResponse { replicas, next_page_token })
    }
}

fn descriptor() -> MessageDescriptor {
    #[expect(clippy::expect_used, reason = "the schemas are compiled in")]
    DESCRIPTORS.get_message_by_name("signalbox.admin.v1.Replica").expect("there is a schema of replicas")
}

fn dynamic(schema: &MessageDescriptor, replica: &Replica) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(schema.clone());
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_from(replica).expect("a generated type has the fields of its schema");
    dynamic
}

#[tonic::async_trait]
impl ReplicaService for Fleet {
    async fn get_replica(&self, request: Request<GetReplicaRequest>) -> Result<Response<Replica>, Status> {
        let GetReplicaRequest { name } = request.into_inner();
        Ok(Response::new(self.get(&name)?))
    }

    async fn list_replicas(
        &self,
        request: Request<ListReplicasRequest>,
    ) -> Result<Response<ListReplicasResponse>, Status> {
        let ListReplicasRequest { page_size, page_token, filter } = request.into_inner();
        Ok(Response::new(self.list(&Asked { size: page_size, token: page_token, filter, at_revision: 0 })?))
    }

    async fn wait_for_revision(
        &self,
        request: Request<WaitForRevisionRequest>,
    ) -> Result<Response<WaitForRevisionResponse>, Status> {
        let wait = Wait::read(request.into_inner(), self.ledger.state().position.revision)?;
        Ok(Response::new(self.wait(&wait).await?))
    }
}
