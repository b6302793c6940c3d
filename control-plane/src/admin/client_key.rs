//! The keys that clients present, over gRPC: which verb each call is. A key that is made up here is in one answer and nowhere else.

use std::{sync::Arc, time::SystemTime};

use secrecy::ExposeSecret as _;
use signalbox_proto::admin::v1::{
    ClientKey, CreateClientKeyRequest, DeleteClientKeyRequest, DeleteResponse, GetClientKeyRequest,
    ListClientKeysRequest, ListClientKeysResponse, RotateClientKeyRequest, RotateClientKeyResponse,
    UpdateClientKeyRequest, client_key::Imported, client_key_service_server::ClientKeyService,
};
use signalbox_routing::ResourceName;
use tonic::{Request, Response, Status};

use super::{
    error::Places,
    replica::Wait,
    verbs::{Answered, Asked, Call, Create, Delete, Update, Verbs, parse_id},
};
use crate::{key, ledger::Written, state::State};

mod rotation;

use rotation::Rotation;

#[tonic::async_trait]
impl ClientKeyService for Verbs {
    async fn get_client_key(&self, request: Request<GetClientKeyRequest>) -> Result<Response<ClientKey>, Status> {
        let GetClientKeyRequest { name } = request.into_inner();
        Ok(Response::new(self.get(&name)?))
    }

    async fn list_client_keys(
        &self,
        request: Request<ListClientKeysRequest>,
    ) -> Result<Response<ListClientKeysResponse>, Status> {
        let ListClientKeysRequest { page_size, page_token, filter, at_revision } = request.into_inner();
        let (client_keys, next_page_token) =
            self.list(None, &Asked { size: page_size, token: page_token, filter, at_revision }).await?;
        Ok(Response::new(ListClientKeysResponse { client_keys, next_page_token }))
    }

    async fn create_client_key(&self, request: Request<CreateClientKeyRequest>) -> Result<Response<ClientKey>, Status> {
        let call = Call::of(&request, "ClientKeyService/CreateClientKey");
        let CreateClientKeyRequest { client_key_id, mut client_key, validate_only, request_id: _ } =
            request.into_inner();
        let name = ResourceName::client_key(&parse_id(&client_key_id, "client_key_id")?);
        let made_up = client_key.as_ref().is_some_and(|key| key.imported.is_none()).then(key::generate);
        if let (Some(key), Some(secret)) = (&mut client_key, &made_up) {
            key.imported = Some(Imported::ImportSecret(secret.expose_secret().to_owned()));
        }
        let Answered { message: mut client_key, committed } =
            self.create(call, Create { name, resource: client_key, validate_only }).await?;
        if let (Some(secret), true) = (made_up, committed) {
            client_key.secret = secret.expose_secret().to_owned();
        }
        Ok(Response::new(client_key))
    }

    async fn update_client_key(&self, request: Request<UpdateClientKeyRequest>) -> Result<Response<ClientKey>, Status> {
        let call = Call::of(&request, "ClientKeyService/UpdateClientKey");
        let UpdateClientKeyRequest { client_key, update_mask: mask, allow_missing, validate_only, request_id: _ } =
            request.into_inner();
        let update = Update { resource: client_key, mask, allow_missing, validate_only };
        Ok(Response::new(self.update(call, update).await?))
    }

    async fn delete_client_key(
        &self,
        request: Request<DeleteClientKeyRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let call = Call::of(&request, "ClientKeyService/DeleteClientKey");
        let DeleteClientKeyRequest { name, etag, allow_missing, validate_only, request_id: _, wait } =
            request.into_inner();
        let wait = wait.map(|wait| Wait::for_all(wait, "wait")).transpose()?;
        let delete = Delete { name, etag, allow_missing, validate_only, force: false };
        let mut deleted = self.delete::<ClientKey>(call, delete).await?;
        if let (Some(wait), false) = (wait, validate_only) {
            let wait = wait.until(deleted.revision);
            // The key is gone however the wait ends, so that what has become of it is no error.
            let waited = self.fleet().wait(&wait).await;
            deleted.rollout = Some(waited.unwrap_or_else(|_| self.fleet().look(&wait).0));
        }
        Ok(Response::new(deleted))
    }

    async fn rotate_client_key(
        &self,
        request: Request<RotateClientKeyRequest>,
    ) -> Result<Response<RotateClientKeyResponse>, Status> {
        let call = Call::of(&request, "ClientKeyService/RotateClientKey");
        let request = request.into_inner();
        let entry = call.entry(request.validate_only)?;
        let rotation = Rotation::read(request)?;
        let name = rotation.name.clone();
        let places = Places::one(name.clone(), "client_key");
        let secret = Arc::new(key::generate());
        let made_up = Arc::clone(&secret);
        let edit = move |state: &State| rotation.edits(state, &made_up, SystemTime::now());
        let answer = move |written: &Written| rotation::response(written, &name);
        let Answered { message: mut rotated, committed } = self.answer(entry, places, edit, answer).await?;
        if let (Some(successor), true) = (&mut rotated.successor, committed) {
            successor.secret = secret.expose_secret().to_owned();
        }
        Ok(Response::new(rotated))
    }
}
