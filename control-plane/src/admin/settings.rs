//! The settings, over gRPC: which verb each call is. There is always one, so that they are neither made nor removed.

use signalbox_proto::admin::v1::{
    GetSettingsRequest, Settings, UpdateSettingsRequest, settings_service_server::SettingsService,
};
use tonic::{Request, Response, Status};

use super::verbs::{Call, Update, Verbs};

const NAME: &str = "settings";

#[tonic::async_trait]
impl SettingsService for Verbs {
    async fn get_settings(&self, request: Request<GetSettingsRequest>) -> Result<Response<Settings>, Status> {
        let GetSettingsRequest { name } = request.into_inner();
        Ok(Response::new(self.get(if name.is_empty() { NAME } else { &name })?))
    }

    async fn update_settings(&self, request: Request<UpdateSettingsRequest>) -> Result<Response<Settings>, Status> {
        let call = Call::of(&request, "SettingsService/UpdateSettings");
        let UpdateSettingsRequest { mut settings, update_mask: mask, validate_only, request_id: _ } =
            request.into_inner();
        if let Some(settings) = settings.as_mut().filter(|settings| settings.name.is_empty()) {
            settings.name = NAME.to_owned();
        }
        let update = Update { resource: settings, mask, allow_missing: false, validate_only };
        Ok(Response::new(self.update(call, update).await?))
    }
}
