//! The admin API, `signalbox.admin.v1` over gRPC and HTTP/JSON: what operators can ask for and change. It decides nothing about configurations
//! itself: the ledger does.

use signalbox_proto::admin::v1::{
    admin_token_service_server::{self, AdminTokenServiceServer},
    audit_service_server::{self, AuditServiceServer},
    client_key_service_server::{self, ClientKeyServiceServer},
    config_service_server::{self, ConfigServiceServer},
    credential_service_server::{self, CredentialServiceServer},
    provider_service_server::{self, ProviderServiceServer},
    redirect_service_server::{self, RedirectServiceServer},
    replica_service_server::{self, ReplicaServiceServer},
    revision_service_server::{self, RevisionServiceServer},
    route_service_server::{self, RouteServiceServer},
    settings_service_server::{self, SettingsServiceServer},
};
use tonic::service::Routes;
use tonic_health::{
    pb::health_server::{self, HealthServer},
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::{Builder, Error as ReflectionError};

use crate::{ledger::Ledger, tokens::Tokens};

mod admin_token;
mod apply;
mod audit;
mod auth;
mod client_key;
mod credential;
mod error;
mod explain;
mod export;
mod filter;
mod foreign;
mod http;
mod mask;
mod page;
mod provider;
mod redirect;
mod replica;
mod resource;
mod revision;
mod rights;
mod route;
mod sealed;
mod settings;
mod verbs;

#[cfg(test)]
mod tests;

pub(crate) use self::http::Front;
use admin_token::AdminTokens;
pub use apply::InvalidDocument;
pub(crate) use apply::Whole;
use audit::AuditTrail;
pub(crate) use auth::Auth;
pub(crate) use foreign::Informed;
pub(crate) use replica::Fleet;
use verbs::Verbs;

/// What the reflection service lists, besides itself.
const SERVICES: [&str; 12] = [
    admin_token_service_server::SERVICE_NAME,
    audit_service_server::SERVICE_NAME,
    client_key_service_server::SERVICE_NAME,
    config_service_server::SERVICE_NAME,
    credential_service_server::SERVICE_NAME,
    provider_service_server::SERVICE_NAME,
    redirect_service_server::SERVICE_NAME,
    replica_service_server::SERVICE_NAME,
    revision_service_server::SERVICE_NAME,
    route_service_server::SERVICE_NAME,
    settings_service_server::SERVICE_NAME,
    health_server::SERVICE_NAME,
];

/// Every service of the admin port.
pub(crate) fn routes(ledger: Ledger, tokens: Tokens, fleet: Fleet, health: HealthReporter) -> Routes {
    let verbs = Verbs::new(ledger.clone(), fleet.clone());
    Routes::default()
        .add_service(AdminTokenServiceServer::new(AdminTokens::new(ledger.clone(), tokens)))
        .add_service(AuditServiceServer::new(AuditTrail::new(ledger)))
        .add_service(ClientKeyServiceServer::new(verbs.clone()))
        .add_service(CredentialServiceServer::new(verbs.clone()))
        .add_service(ProviderServiceServer::new(verbs.clone()))
        .add_service(RedirectServiceServer::new(verbs.clone()))
        .add_service(RevisionServiceServer::new(verbs.clone()))
        .add_service(RouteServiceServer::new(verbs.clone()))
        .add_service(SettingsServiceServer::new(verbs.clone()))
        .add_service(ConfigServiceServer::new(verbs).max_decoding_message_size(apply::MAX_REQUEST_BYTES))
        .add_service(ReplicaServiceServer::new(fleet))
        .add_service(HealthServer::new(HealthService::from_health_reporter(health)))
        .add_service(reflected(reflection().build_v1()))
        .add_service(reflected(reflection().build_v1alpha()))
}

/// The schemas of what is served here, and of the details that its errors carry.
fn reflection() -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(signalbox_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    SERVICES.into_iter().fold(builder, Builder::with_service_name)
}

fn reflected<S>(service: Result<S, ReflectionError>) -> S {
    #[expect(clippy::expect_used, reason = "the descriptors are compiled in, and a test asks for them")]
    service.expect("the embedded descriptors decode")
}
