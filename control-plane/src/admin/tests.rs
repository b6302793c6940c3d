//! The admin API as an operator meets it: a whole control plane on a database of its own, called over loopback.

use std::{net::SocketAddr, path::Path, time::Duration};

use secrecy::SecretString;
use signalbox_proto::{
    admin::v1::{
        ApplyConfigRequest, ApplyConfigResponse, ClientKey, Config, CreateClientKeyRequest, CreateCredentialRequest,
        CreateProviderRequest, Credential, Provider, client_key_service_client::ClientKeyServiceClient,
        config_service_client::ConfigServiceClient, credential_service_client::CredentialServiceClient,
        provider_service_client::ProviderServiceClient, revision_service_client::RevisionServiceClient,
    },
    config::v1::Dialect,
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    app::{App, BuildError, Options, RunError},
    audit,
    ledger::Retention,
    replicas::Replicas,
    seal::MasterKey,
};

mod aip;
mod applying;
mod auditing;
mod changing;
mod documents;
mod door;
mod explaining;
mod exporting;
mod fleet;
mod foreign;
mod history;
mod hostile;
mod impact;
mod listing;
mod mutual_tls;
mod over_http;
mod planted;
mod raw_http;
mod replica;
mod roles;
mod rotation;
mod secrets;
mod serving;
mod tokens;
mod validating;

const TOKEN: &str = "the-admin-token";
const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A channel that carries the admin token.
type Authorized = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A control plane that serves.
struct Running {
    admin: SocketAddr,
    sync: SocketAddr,
    stop: CancellationToken,
    replicas: Replicas,
    task: JoinHandle<Result<(), RunError>>,
    dir: Option<TempDir>,
}

fn options(dir: &Path) -> Options {
    Options {
        database: dir.join("control.db"),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        sync_listen: "127.0.0.1:0".parse().unwrap(),
        sync_tls: None,
        admin_tls: None,
        audit: audit::Keep::default(),
        admin_token: TOKEN.into(),
        join_token: "the-join-token".into(),
        master_key: MasterKey::parse(&SecretString::from(MASTER_KEY)).unwrap(),
        source: None,
        auto_migrate: false,
        retention: Retention::default(),
        max_database_bytes: None,
        backups: None,
    }
}

impl Running {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let running = Self::with(options(dir.path())).await.unwrap();
        Self { dir: Some(dir), ..running }
    }

    async fn with(options: Options) -> Result<Self, BuildError> {
        let app = App::build(options).await?;
        let (admin, sync, stop) = (app.admin_addr(), app.sync_addr(), CancellationToken::new());
        let replicas = app.replicas().clone();
        let task = tokio::spawn(app.run(stop.clone()));
        Ok(Self { admin, sync, stop, replicas, task, dir: None })
    }

    /// Stops it, and hands back the folder with its database.
    async fn stop(self) -> Option<TempDir> {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("it stops in time").unwrap().unwrap();
        self.dir
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.admin)).unwrap().connect_lazy()
    }

    fn bearer(token: &str) -> Bearer {
        Bearer(format!("Bearer {token}").parse().unwrap())
    }

    fn providers(&self) -> ProviderServiceClient<Authorized> {
        ProviderServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN))
    }

    fn credentials(&self) -> CredentialServiceClient<Authorized> {
        CredentialServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN))
    }

    fn client_keys(&self) -> ClientKeyServiceClient<Authorized> {
        ClientKeyServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN))
    }

    fn revisions(&self) -> RevisionServiceClient<Authorized> {
        RevisionServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN))
    }

    fn config(&self) -> ConfigServiceClient<Authorized> {
        ConfigServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN))
    }

    async fn make_provider(&self, id: &str) -> Provider {
        let request = CreateProviderRequest {
            provider_id: id.to_owned(),
            provider: Some(provider()),
            validate_only: false,
            ..CreateProviderRequest::default()
        };
        self.providers().create_provider(request).await.unwrap().into_inner()
    }

    async fn make_credential(&self, provider: &str, id: &str) -> Credential {
        let request = CreateCredentialRequest {
            parent: format!("providers/{provider}"),
            credential_id: id.to_owned(),
            credential: Some(credential("sk-secret")),
            validate_only: false,
            ..CreateCredentialRequest::default()
        };
        self.credentials().create_credential(request).await.unwrap().into_inner()
    }

    async fn make_key(&self, id: &str, key: ClientKey) -> Result<ClientKey, Status> {
        let request = CreateClientKeyRequest {
            client_key_id: id.to_owned(),
            client_key: Some(key),
            validate_only: false,
            ..CreateClientKeyRequest::default()
        };
        Ok(self.client_keys().create_client_key(request).await?.into_inner())
    }

    async fn apply(&self, request: ApplyConfigRequest) -> Result<ApplyConfigResponse, Status> {
        Ok(self.config().apply_config(request).await?.into_inner())
    }

    async fn revision(&self) -> u64 {
        let nothing = ApplyConfigRequest { config: Some(Config::default()), ..ApplyConfigRequest::default() };
        let answer = self.apply(nothing).await.unwrap();
        assert!(answer.unchanged);
        answer.revision
    }
}

/// A provider that is as it should be, without a name.
fn provider() -> Provider {
    Provider { dialect: Dialect::Openai.into(), base_url: "https://upstream.test/v1".to_owned(), ..Provider::default() }
}

fn credential(secret: &str) -> Credential {
    use signalbox_proto::admin::v1::credential::Source;
    Credential { source: Some(Source::Secret(secret.to_owned())), ..Credential::default() }
}

/// The code, the reason, and that there is exactly one ErrorInfo of ours.
fn refusal(status: &Status) -> (Code, String) {
    let infos: Vec<_> = status
        .get_error_details_vec()
        .into_iter()
        .filter_map(|detail| match detail {
            tonic_types::ErrorDetail::ErrorInfo(info) => Some(info),
            _ => None,
        })
        .collect();
    assert_eq!(infos.len(), 1, "{status:?}");
    assert_eq!(infos[0].domain, "signalbox.dev");
    (status.code(), infos[0].reason.clone())
}

/// The fields that break a rule, and the rules.
fn violations(status: &Status) -> Vec<(String, String)> {
    let bad_request = status.get_details_bad_request().unwrap_or_else(|| panic!("no BadRequest: {status:?}"));
    bad_request.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

/// The type and subject of each condition that does not hold.
fn preconditions(status: &Status) -> Vec<(String, String)> {
    let failure =
        status.get_details_precondition_failure().unwrap_or_else(|| panic!("no PreconditionFailure: {status:?}"));
    failure.violations.into_iter().map(|violation| (violation.r#type, violation.subject)).collect()
}

fn resource(status: &Status) -> (String, String) {
    let info = status.get_details_resource_info().unwrap_or_else(|| panic!("no ResourceInfo: {status:?}"));
    (info.resource_type, info.resource_name)
}
