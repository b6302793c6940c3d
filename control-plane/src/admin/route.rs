//! HTTP mounts outside `/v1`, over gRPC: which verb each call is.

use signalbox_proto::admin::v1::{
    CreateRouteRequest, DeleteResponse, DeleteRouteRequest, GetRouteRequest, ListRoutesRequest, ListRoutesResponse,
    Route, UpdateRouteRequest, route_service_server::RouteService,
};
use signalbox_routing::ResourceName;
use tonic::{Request, Response, Status};

use super::verbs::{Asked, Call, Create, Delete, Update, Verbs, parse_id};

#[tonic::async_trait]
impl RouteService for Verbs {
    async fn get_route(&self, request: Request<GetRouteRequest>) -> Result<Response<Route>, Status> {
        let GetRouteRequest { name } = request.into_inner();
        Ok(Response::new(self.get(&name)?))
    }

    async fn list_routes(&self, request: Request<ListRoutesRequest>) -> Result<Response<ListRoutesResponse>, Status> {
        let ListRoutesRequest { page_size, page_token, filter, at_revision } = request.into_inner();
        let (routes, next_page_token) =
            self.list(None, &Asked { size: page_size, token: page_token, filter, at_revision }).await?;
        Ok(Response::new(ListRoutesResponse { routes, next_page_token }))
    }

    async fn create_route(&self, request: Request<CreateRouteRequest>) -> Result<Response<Route>, Status> {
        let call = Call::of(&request, "RouteService/CreateRoute");
        let CreateRouteRequest { route_id, route, validate_only, request_id: _ } = request.into_inner();
        let name = ResourceName::route(&parse_id(&route_id, "route_id")?);
        let route = self.create(call, Create { name, resource: route, validate_only }).await?.message;
        Ok(Response::new(route))
    }

    async fn update_route(&self, request: Request<UpdateRouteRequest>) -> Result<Response<Route>, Status> {
        let call = Call::of(&request, "RouteService/UpdateRoute");
        let UpdateRouteRequest { route, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request.into_inner();
        Ok(Response::new(self.update(call, Update { resource: route, mask, allow_missing, validate_only }).await?))
    }

    async fn delete_route(&self, request: Request<DeleteRouteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let call = Call::of(&request, "RouteService/DeleteRoute");
        let DeleteRouteRequest { name, etag, allow_missing, validate_only, request_id: _ } = request.into_inner();
        let delete = Delete { name, etag, allow_missing, validate_only, force: false };
        Ok(Response::new(self.delete::<Route>(call, delete).await?))
    }
}
