//! The data planes, over gRPC, as the sync room has seen them. It only looks.

use signalbox_proto::admin::v1::{
    GetReplicaRequest, ListReplicasRequest, ListReplicasResponse, Replica, WaitForRevisionRequest,
    WaitForRevisionResponse, replica_service_server::ReplicaService,
};
use tonic::{Request, Response, Status};

use super::{
    error::{Error, Violation},
    page::{self, Page},
};
use crate::{ledger::Ledger, replicas::Replicas};

const COLLECTION: &str = "replicas";

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    ledger: Ledger,
    replicas: Replicas,
}

impl Fleet {
    /// These replicas, as they stand to what this ledger holds.
    pub(crate) const fn new(ledger: Ledger, replicas: Replicas) -> Self {
        Self { ledger, replicas }
    }

    fn get(&self, name: &str) -> Result<Replica, Error> {
        let id = match name.split_once('/') {
            Some((COLLECTION, id)) if !id.is_empty() => id,
            _ => return Err(Violation::new("name", "INVALID_NAME", format_args!("`{name}` is not replicas/ID")).into()),
        };
        let missing = || Error::NotFound { resource_type: "Replica", name: name.to_owned() };
        self.replicas.get(id, &self.ledger.state().position).ok_or_else(missing)
    }

    fn list(&self, size: i32, token: &str) -> Result<ListReplicasResponse, Error> {
        let Page { size, after } = Page::read(size, token, COLLECTION)?;
        // One more than is shown tells whether there is a further page.
        let mut replicas = self.replicas.list(&self.ledger.state().position, after.as_deref(), size + 1);
        let more = replicas.len() > size;
        replicas.truncate(size);
        let last = replicas.last().and_then(|replica| replica.name.split_once('/'));
        let next_page_token = match last {
            Some((_, id)) if more => page::token(COLLECTION, id),
            _ => String::new(),
        };
        Ok(ListReplicasResponse { replicas, next_page_token })
    }
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
        let ListReplicasRequest { page_size, page_token, filter: _ } = request.into_inner();
        Ok(Response::new(self.list(page_size, &page_token)?))
    }

    async fn wait_for_revision(
        &self,
        _request: Request<WaitForRevisionRequest>,
    ) -> Result<Response<WaitForRevisionResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}
