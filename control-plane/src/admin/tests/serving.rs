//! What a control plane needs to serve, and what becomes of its work when it stops.

use signalbox_proto::{
    admin::v1::GetProviderRequest,
    sync::v1::{WatchRequest, config_sync_service_client::ConfigSyncServiceClient},
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::net::TcpListener;
use tonic::transport::{Certificate, ClientTlsConfig};

use super::*;
use crate::{certificate, tls::SyncTls};

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let app = Running::start().await;
    let made = app.make_provider("a").await;
    let dir = app.stop().await.unwrap();
    let app = Running::with(options(dir.path())).await.unwrap();
    let again = app.providers().get_provider(GetProviderRequest { name: made.name.clone() }).await.unwrap();
    assert_eq!(again.into_inner(), made);
    app.stop().await;
}

#[tokio::test]
async fn the_history_keeps_who_did_what_from_where() {
    let app = Running::start().await;
    let request = ApplyConfigRequest {
        config: Some(Config {
            providers: vec![Provider { name: "providers/a".to_owned(), ..provider() }],
            ..Config::default()
        }),
        comment: "because".to_owned(),
        ..ApplyConfigRequest::default()
    };
    app.apply(request).await.unwrap();
    let dir = app.stop().await.unwrap();
    let file = SqliteConnectOptions::new().filename(dir.path().join("control.db"));
    let mut connection = file.connect().await.unwrap();
    let last = "SELECT actor, source_ip, method, comment FROM revisions ORDER BY revision DESC LIMIT 1";
    let kept: (String, String, String, String) = sqlx::query_as(last).fetch_one(&mut connection).await.unwrap();
    let expected = ["admin", "127.0.0.1", "ConfigService/ApplyConfig", "because"].map(str::to_owned);
    assert_eq!(<[String; 4]>::from(kept), expected);
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let admin = App::build(Options { admin_listen: address, ..options(dir.path()) }).await.unwrap_err();
    assert_eq!(admin.to_string(), format!("{address} is in use: choose another with --admin-listen"));
    let sync = App::build(Options { sync_listen: address, ..options(dir.path()) }).await.unwrap_err();
    assert_eq!(sync.to_string(), format!("{address} is in use: choose another with --sync-listen"));
    assert!(!sync.is_configuration());
}

#[tokio::test]
async fn provider_keys_never_leave_the_machine_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let open = Options { sync_listen: "0.0.0.0:0".parse().unwrap(), ..options(dir.path()) };
    let error = App::build(open).await.unwrap_err();
    assert!(error.is_configuration());
    for flag in ["--sync-tls-cert", "--sync-tls-key", "--sync-listen"] {
        assert!(error.to_string().contains(flag), "{error}");
    }
    let guessable = App::build(Options { join_token: " ".into(), ..options(dir.path()) }).await.unwrap_err();
    assert!(guessable.to_string().contains("--join-token-file"), "{guessable}");
    assert!(!dir.path().join("control.db").exists(), "nothing was made");
}

#[tokio::test]
async fn the_sync_port_speaks_tls_with_a_certificate_of_our_own() {
    let dir = tempfile::tempdir().unwrap();
    let certificate::Outcome::Made(files) = certificate::make(dir.path(), &["localhost".to_owned()]).unwrap() else {
        panic!("the folder was empty");
    };
    let sync_tls = Some(SyncTls { cert: files.cert, key: files.key });
    let app = Running::with(Options { sync_tls, ..options(dir.path()) }).await.unwrap();
    let ca = Certificate::from_pem(std::fs::read(files.ca).unwrap());
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", app.sync.port())).unwrap();
    let endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let watch = ConfigSyncServiceClient::new(channel).watch(tokio_stream::iter([WatchRequest::default()])).await;
    assert_eq!(watch.unwrap_err().code(), Code::Unauthenticated);
    app.stop().await;
}

#[tokio::test]
async fn a_second_control_plane_on_the_same_database_is_refused() {
    let app = Running::start().await;
    let path = app.dir.as_ref().unwrap().path().to_owned();
    let error = Running::with(options(&path)).await.err().unwrap();
    assert!(error.to_string().contains("in use by another control plane"), "{error}");
    app.stop().await;
}
