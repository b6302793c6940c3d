//! The admin port with TLS, and operators who have a certificate instead of a token.

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use signalbox_proto::admin::v1::{AdminToken, ListProvidersRequest, Role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{tokens::of, *};
use crate::{
    certificate::{self, ClientFiles, Files, Outcome},
    tls::{self, AdminTls},
};

/// A control plane with TLS on its admin port, and an operator's certificate.
struct Secured {
    app: Running,
    ca: PathBuf,
    _dir: TempDir,
}

impl Secured {
    async fn start(clients: &[&str]) -> (Self, Vec<ClientFiles>) {
        let dir = tempfile::tempdir().unwrap();
        let Outcome::Made(Files { ca, cert, key }) = certificate::make(dir.path(), &["localhost".to_owned()]).unwrap()
        else {
            panic!("the folder was empty");
        };
        let names: Vec<_> = clients.iter().map(|name| (*name).to_owned()).collect();
        let made = certificate::make_clients(dir.path(), &names).unwrap();
        let admin_tls = Some(AdminTls { cert, key, client_ca: Some(dir.path().join("operators-ca.pem")) });
        let app = Running::with(Options { admin_tls, ..options(dir.path()) }).await.unwrap();
        (Self { app, ca, _dir: dir }, made)
    }

    fn channel(&self, client: Option<&ClientFiles>) -> Channel {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(fs::read(&self.ca).unwrap()))
            .domain_name("localhost");
        if let Some(files) = client {
            tls = tls.identity(Identity::from_pem(fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap()));
        }
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", self.app.admin.port())).unwrap();
        endpoint.tls_config(tls).unwrap().connect_lazy()
    }

    /// Makes a token over TLS, as the admin.
    async fn make_token(&self, id: &str, token: AdminToken) -> AdminToken {
        use signalbox_proto::admin::v1::{
            CreateAdminTokenRequest, admin_token_service_client::AdminTokenServiceClient,
        };
        let mut client = AdminTokenServiceClient::with_interceptor(self.channel(None), Running::bearer(TOKEN));
        let admin_token_id = id.to_owned();
        let request = CreateAdminTokenRequest { admin_token_id, admin_token: Some(token), validate_only: false };
        client.create_admin_token(request).await.unwrap().into_inner()
    }
}

fn for_certificate(name: &str, role: Role) -> AdminToken {
    AdminToken { certificate_name: name.to_owned(), ..of(role) }
}

fn create(id: &str) -> CreateProviderRequest {
    CreateProviderRequest { provider_id: id.to_owned(), provider: Some(provider()), ..CreateProviderRequest::default() }
}

#[tokio::test]
async fn a_certificate_is_who_its_name_is_a_token_for() {
    let (secured, clients) = Secured::start(&["alice.test", "bob.test"]).await;
    let [alice, bob] = &clients[..] else { panic!("two were asked for") };
    secured.make_token("alice", for_certificate("Alice.test", Role::Operator)).await;

    let mut client = ProviderServiceClient::new(secured.channel(Some(alice)));
    client.create_provider(create("a")).await.unwrap();
    let mut stranger = ProviderServiceClient::new(secured.channel(Some(bob)));
    let status = stranger.list_providers(ListProvidersRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unauthenticated, "CERTIFICATE_UNKNOWN".to_owned()));
    assert!(status.message().contains("bob.test"), "{}", status.message());
    let mut nobody = ProviderServiceClient::new(secured.channel(None));
    let status = nobody.list_providers(ListProvidersRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unauthenticated, "ADMIN_TOKEN_MISSING".to_owned()));
    secured.app.stop().await;
}

#[tokio::test]
async fn a_bearer_token_counts_for_more_than_a_certificate() {
    let (secured, clients) = Secured::start(&["alice.test"]).await;
    secured.make_token("alice", for_certificate("alice.test", Role::Admin)).await;
    let viewer = secured.make_token("viewer", of(Role::Viewer)).await;

    let with = |secret: &str| {
        ProviderServiceClient::with_interceptor(secured.channel(clients.first()), Running::bearer(secret))
    };
    let status = with(&viewer.secret).create_provider(create("a")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::PermissionDenied, "ROLE_TOO_LOW".to_owned()));
    let status = with("wrong").list_providers(ListProvidersRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unauthenticated, "ADMIN_TOKEN_WRONG".to_owned()));
    secured.app.stop().await;
}

#[tokio::test]
async fn the_port_speaks_both_versions_of_http_and_a_silent_connection_holds_up_nobody() {
    let (secured, clients) = Secured::start(&["alice.test"]).await;
    secured.make_token("alice", for_certificate("alice.test", Role::Viewer)).await;
    let silent = TcpStream::connect(secured.app.admin).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&secured.ca).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_file(&clients[0].cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&clients[0].key).unwrap();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connection = TcpStream::connect(secured.app.admin).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut connection = connector.connect("localhost".try_into().unwrap(), connection).await.unwrap();
    let request = "GET /v1/providers HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it answers in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(silent);
    secured.app.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_makes_no_connection() {
    let (secured, _) = Secured::start(&["alice.test"]).await;
    secured.make_token("alice", for_certificate("alice.test", Role::Admin)).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let forged = certificate::make_clients(elsewhere.path(), &["alice.test".to_owned()]).unwrap();
    let mut client = ProviderServiceClient::new(secured.channel(forged.first()));
    let status = client.list_providers(ListProvidersRequest::default()).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    assert!(status.get_details_error_info().is_none(), "it came to no call: {status:?}");
    secured.app.stop().await;
}

#[tokio::test]
async fn files_that_are_none_are_named_with_their_flags() {
    let dir = tempfile::tempdir().unwrap();
    let Outcome::Made(Files { ca, cert, key }) = certificate::make(dir.path(), &["localhost".to_owned()]).unwrap()
    else {
        panic!("the folder was empty");
    };
    let try_with = async |cert: &PathBuf, key: &PathBuf, client_ca: &PathBuf| {
        let tls = AdminTls { cert: cert.clone(), key: key.clone(), client_ca: Some(client_ca.clone()) };
        Running::with(Options { admin_tls: Some(tls), ..options(dir.path()) }).await.err().unwrap()
    };
    let missing = dir.path().join("missing.pem");
    for (error, flag) in [
        (try_with(&missing, &key, &ca).await, "--admin-tls-cert"),
        (try_with(&cert, &cert, &ca).await, "--admin-tls-key"),
        (try_with(&cert, &key, &missing).await, "--admin-client-ca"),
        (try_with(&cert, &key, &key).await, "--admin-client-ca"),
    ] {
        assert!(error.is_configuration());
        assert!(error.to_string().contains(flag), "{error}");
        assert!(matches!(
            error,
            BuildError::Tls(tls::Error::Read { .. } | tls::Error::Unusable { .. } | tls::Error::Authority { .. })
        ));
    }
}
