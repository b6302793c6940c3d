//! The upstream keys of providers, over gRPC: which verb each call is. No answer ever holds a secret, since nothing that is stored
//! in a message does.

use signalbox_proto::admin::v1::{
    CreateCredentialRequest, Credential, DeleteCredentialRequest, DeleteResponse, GetCredentialRequest,
    ListCredentialsRequest, ListCredentialsResponse, UpdateCredentialRequest,
    credential_service_server::CredentialService,
};
use signalbox_routing::{Id, Kind, ResourceName};
use tonic::{Request, Response, Status};

use super::{
    error::Violation,
    verbs::{Asked, Call, Create, Delete, Update, Verbs, parse_id, parse_name},
};

#[tonic::async_trait]
impl CredentialService for Verbs {
    async fn get_credential(&self, request: Request<GetCredentialRequest>) -> Result<Response<Credential>, Status> {
        let GetCredentialRequest { name } = request.into_inner();
        Ok(Response::new(self.get(&name)?))
    }

    async fn list_credentials(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let ListCredentialsRequest { parent, page_size, page_token, filter, at_revision } = request.into_inner();
        let provider = if parent == "providers/-" { None } else { Some(provider(&parent)?) };
        let (credentials, next_page_token) =
            self.list(provider.as_ref(), &Asked { size: page_size, token: page_token, filter, at_revision }).await?;
        Ok(Response::new(ListCredentialsResponse { credentials, next_page_token }))
    }

    async fn create_credential(
        &self,
        request: Request<CreateCredentialRequest>,
    ) -> Result<Response<Credential>, Status> {
        let call = Call::of(&request, "CredentialService/CreateCredential");
        let CreateCredentialRequest { parent, credential_id, credential, validate_only, request_id: _ } =
            request.into_inner();
        let name = ResourceName::credential(&provider(&parent)?, &parse_id(&credential_id, "credential_id")?);
        let credential = self.create(call, Create { name, resource: credential, validate_only }).await?.message;
        Ok(Response::new(credential))
    }

    async fn update_credential(
        &self,
        request: Request<UpdateCredentialRequest>,
    ) -> Result<Response<Credential>, Status> {
        let call = Call::of(&request, "CredentialService/UpdateCredential");
        let UpdateCredentialRequest { credential, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request.into_inner();
        let update = Update { resource: credential, mask, allow_missing, validate_only };
        Ok(Response::new(self.update(call, update).await?))
    }

    async fn delete_credential(
        &self,
        request: Request<DeleteCredentialRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let call = Call::of(&request, "CredentialService/DeleteCredential");
        let DeleteCredentialRequest { name, etag, allow_missing, validate_only, request_id: _ } = request.into_inner();
        let delete = Delete { name, etag, allow_missing, validate_only, force: false };
        Ok(Response::new(self.delete::<Credential>(call, delete).await?))
    }
}

fn provider(parent: &str) -> Result<Id, Violation> {
    let name = parse_name(parent, Kind::Provider, "parent")?;
    parse_id(name.id(), "parent")
}
