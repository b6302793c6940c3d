//! Upstream accounts, over gRPC: which verb each call is.

use signalbox_proto::admin::v1::{
    CreateProviderRequest, DeleteProviderRequest, DeleteResponse, GetProviderRequest, ListProvidersRequest,
    ListProvidersResponse, Provider, UpdateProviderRequest, provider_service_server::ProviderService,
};
use signalbox_routing::ResourceName;
use tonic::{Request, Response, Status};

use super::verbs::{Asked, Call, Create, Delete, Update, Verbs, parse_id};

#[tonic::async_trait]
impl ProviderService for Verbs {
    async fn get_provider(&self, request: Request<GetProviderRequest>) -> Result<Response<Provider>, Status> {
        let GetProviderRequest { name } = request.into_inner();
        Ok(Response::new(self.get(&name)?))
    }

    async fn list_providers(
        &self,
        request: Request<ListProvidersRequest>,
    ) -> Result<Response<ListProvidersResponse>, Status> {
        let ListProvidersRequest { page_size, page_token, filter, at_revision } = request.into_inner();
        let (providers, next_page_token) =
            self.list(None, &Asked { size: page_size, token: page_token, filter, at_revision }).await?;
        Ok(Response::new(ListProvidersResponse { providers, next_page_token }))
    }

    async fn create_provider(&self, request: Request<CreateProviderRequest>) -> Result<Response<Provider>, Status> {
        let call = Call::of(&request, "ProviderService/CreateProvider");
        let CreateProviderRequest { provider_id, provider, validate_only, request_id: _ } = request.into_inner();
        let name = ResourceName::provider(&parse_id(&provider_id, "provider_id")?);
        let provider = self.create(call, Create { name, resource: provider, validate_only }).await?.message;
        Ok(Response::new(provider))
    }

    async fn update_provider(&self, request: Request<UpdateProviderRequest>) -> Result<Response<Provider>, Status> {
        let call = Call::of(&request, "ProviderService/UpdateProvider");
        let UpdateProviderRequest { provider, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request.into_inner();
        Ok(Response::new(self.update(call, Update { resource: provider, mask, allow_missing, validate_only }).await?))
    }

    async fn delete_provider(
        &self,
        request: Request<DeleteProviderRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let call = Call::of(&request, "ProviderService/DeleteProvider");
        let DeleteProviderRequest { name, etag, allow_missing, validate_only, force, request_id: _ } =
            request.into_inner();
        let delete = Delete { name, etag, allow_missing, validate_only, force };
        Ok(Response::new(self.delete::<Provider>(call, delete).await?))
    }
}
