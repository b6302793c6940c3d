//! An operator's connection to the admin port: the generated clients with the token put in.

use std::net::SocketAddr;

use signalbox_proto::admin::v1::{
    ApplyConfigRequest, Config, ListReplicasRequest, Replica, client_key_service_client::ClientKeyServiceClient,
    config_service_client::ConfigServiceClient, credential_service_client::CredentialServiceClient,
    provider_service_client::ProviderServiceClient, redirect_service_client::RedirectServiceClient,
    replica_service_client::ReplicaServiceClient, route_service_client::RouteServiceClient,
    settings_service_client::SettingsServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// A connection that carries the token.
pub type Authorized = InterceptedService<Channel, Bearer>;

/// Puts a token into each call.
#[derive(Debug, Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The admin API as one operator reaches it.
#[derive(Debug, Clone)]
pub struct Admin {
    channel: Channel,
    bearer: Bearer,
}

impl Admin {
    /// An operator with this token. The connection is made with the first call, and again whenever it is lost.
    ///
    /// # Panics
    /// Where the token cannot be sent.
    pub fn new(addr: SocketAddr, token: &str) -> Self {
        let channel = Endpoint::try_from(format!("http://{addr}")).expect("an address makes a URL").connect_lazy();
        Self { channel, bearer: Bearer(format!("Bearer {token}").parse().expect("a token is ASCII")) }
    }

    /// The bare connection, for services that need no token.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// `ProviderService`.
    pub fn providers(&self) -> ProviderServiceClient<Authorized> {
        ProviderServiceClient::new(self.authorized())
    }

    /// `CredentialService`.
    pub fn credentials(&self) -> CredentialServiceClient<Authorized> {
        CredentialServiceClient::new(self.authorized())
    }

    /// `ClientKeyService`.
    pub fn client_keys(&self) -> ClientKeyServiceClient<Authorized> {
        ClientKeyServiceClient::new(self.authorized())
    }

    /// `RedirectService`.
    pub fn redirects(&self) -> RedirectServiceClient<Authorized> {
        RedirectServiceClient::new(self.authorized())
    }

    /// `RouteService`.
    pub fn routes(&self) -> RouteServiceClient<Authorized> {
        RouteServiceClient::new(self.authorized())
    }

    /// `SettingsService`.
    pub fn settings(&self) -> SettingsServiceClient<Authorized> {
        SettingsServiceClient::new(self.authorized())
    }

    /// `ConfigService`.
    pub fn configs(&self) -> ConfigServiceClient<Authorized> {
        ConfigServiceClient::new(self.authorized())
    }

    /// `ReplicaService`.
    pub fn replicas(&self) -> ReplicaServiceClient<Authorized> {
        ReplicaServiceClient::new(self.authorized())
    }

    /// Merges a configuration; returns the revision.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn apply(&self, config: Config) -> u64 {
        let request = ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() };
        let applied = self.configs().apply_config(request).await;
        applied.expect("the configuration is good").into_inner().revision
    }

    /// The newest committed revision.
    ///
    /// # Panics
    /// Where the control plane does not say.
    pub async fn revision(&self) -> u64 {
        self.apply(Config::default()).await
    }

    /// The data planes, as the control plane sees them; an error while it is away.
    ///
    /// # Errors
    /// What the call came to instead.
    pub async fn list_replicas(&self) -> Result<Vec<Replica>, Status> {
        Ok(self.replicas().list_replicas(ListReplicasRequest::default()).await?.into_inner().replicas)
    }

    fn authorized(&self) -> Authorized {
        InterceptedService::new(self.channel(), self.bearer.clone())
    }
}
