//! What a requested model becomes, over gRPC: which verb each call is.

use signalbox_proto::admin::v1::{
    CreateRedirectRequest, DeleteRedirectRequest, DeleteResponse, GetRedirectRequest, ListRedirectsRequest,
    ListRedirectsResponse, Redirect, UpdateRedirectRequest, redirect_service_server::RedirectService,
};
use signalbox_routing::ResourceName;
use tonic::{Request, Response, Status};

use super::verbs::{Asked, Call, Create, Delete, Update, Verbs, parse_id};

#[tonic::async_trait]
impl RedirectService for Verbs {
    async fn get_redirect(&self, request: Request<GetRedirectRequest>) -> Result<Response<Redirect>, Status> {
        let GetRedirectRequest { name } = request.into_inner();
        Ok(Response::new(self.get(&name)?))
    }

    async fn list_redirects(
        &self,
        request: Request<ListRedirectsRequest>,
    ) -> Result<Response<ListRedirectsResponse>, Status> {
        let ListRedirectsRequest { page_size, page_token, filter, at_revision } = request.into_inner();
        let (redirects, next_page_token) =
            self.list(None, &Asked { size: page_size, token: page_token, filter, at_revision }).await?;
        Ok(Response::new(ListRedirectsResponse { redirects, next_page_token }))
    }

    async fn create_redirect(&self, request: Request<CreateRedirectRequest>) -> Result<Response<Redirect>, Status> {
        let call = Call::of(&request, "RedirectService/CreateRedirect");
        let CreateRedirectRequest { redirect_id, redirect, validate_only, request_id: _ } = request.into_inner();
        let name = ResourceName::redirect(&parse_id(&redirect_id, "redirect_id")?);
        let redirect = self.create(call, Create { name, resource: redirect, validate_only }).await?.message;
        Ok(Response::new(redirect))
    }

    async fn update_redirect(&self, request: Request<UpdateRedirectRequest>) -> Result<Response<Redirect>, Status> {
        let call = Call::of(&request, "RedirectService/UpdateRedirect");
        let UpdateRedirectRequest { redirect, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request.into_inner();
        Ok(Response::new(self.update(call, Update { resource: redirect, mask, allow_missing, validate_only }).await?))
    }

    async fn delete_redirect(
        &self,
        request: Request<DeleteRedirectRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let call = Call::of(&request, "RedirectService/DeleteRedirect");
        let DeleteRedirectRequest { name, etag, allow_missing, validate_only, request_id: _ } = request.into_inner();
        let delete = Delete { name, etag, allow_missing, validate_only, force: false };
        Ok(Response::new(self.delete::<Redirect>(call, delete).await?))
    }
}
