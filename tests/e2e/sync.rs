//! The watch stream's door: who gets the configuration, and over what.

use std::net::SocketAddr;

use signalbox_control_plane::app as control_plane;
use signalbox_data_plane as data_plane;
use signalbox_proto::sync::v1::{
    Hello, WatchRequest, WatchResponse, config_sync_service_client::ConfigSyncServiceClient, watch_request,
    watch_response, welcome::Resume,
};
use signalbox_tests::{
    ADMIN_TOKEN, Admin, ControlPlane, DataPlane, Draft, JOIN_TOKEN, Setup, System, Upstream,
    draft::client_key,
    logs,
    wait::{eventually, soon},
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status, Streaming};

/// Opens a watch stream with these messages and this authorization.
async fn watch(
    system: &System,
    authorization: Option<&str>,
    messages: Vec<watch_request::Message>,
) -> Result<Streaming<WatchResponse>, Status> {
    let mut client = ConfigSyncServiceClient::connect(system.control_plane.joining().url).await.unwrap();
    let messages = messages.into_iter().map(|message| WatchRequest { message: Some(message) });
    // Open for good: the end of it would be a replica that leaves.
    let mut request = Request::new(tokio_stream::iter(messages).chain(tokio_stream::pending()));
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    soon("the stream to open", client.watch(request)).await.map(tonic::Response::into_inner)
}

fn hello() -> watch_request::Message {
    watch_request::Message::Hello(Hello {
        replica_id: "stranger".to_owned(),
        boot_id: "1".to_owned(),
        min_schema: 1,
        max_schema: 1,
        ..Hello::default()
    })
}

/// The status that a stream begins or ends with before anything was said on it.
async fn refusal(opened: Result<Streaming<WatchResponse>, Status>) -> Status {
    match opened {
        Err(status) => status,
        Ok(mut stream) => soon("the stream to end", stream.message()).await.expect_err("nothing may be said on it"),
    }
}

#[tokio::test]
async fn nobody_gets_the_configuration_without_the_join_token() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let shorter = format!("Bearer {}", &JOIN_TOKEN[..JOIN_TOKEN.len() - 1]);
    let admin = format!("Bearer {}", ADMIN_TOKEN);
    for authorization in
        [None, Some("Bearer wrong"), Some(shorter.as_str()), Some(admin.as_str()), Some(JOIN_TOKEN), Some("Bearer ")]
    {
        let status = refusal(watch(&system, authorization, vec![hello()]).await).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{authorization:?}");
    }
    let mut stream = watch(&system, Some(&format!("Bearer {JOIN_TOKEN}")), vec![hello()]).await.unwrap();
    let first = soon("a welcome", stream.message()).await.unwrap().unwrap();
    let Some(watch_response::Message::Welcome(welcome)) = first.message else { panic!("{first:?}") };
    assert_eq!(welcome.resume(), Resume::Full);
}

#[tokio::test]
async fn a_stream_begins_with_one_well_formed_hello() {
    let system = System::start().await;
    let authorization = format!("Bearer {JOIN_TOKEN}");
    let watch_request::Message::Hello(good) = hello() else { unreachable!() };
    let bad = [
        (watch_request::Message::Status(Default::default()), Code::InvalidArgument),
        (watch_request::Message::Hello(Hello { replica_id: String::new(), ..good.clone() }), Code::InvalidArgument),
        (
            watch_request::Message::Hello(Hello { replica_id: "../../etc".to_owned(), ..good.clone() }),
            Code::InvalidArgument,
        ),
        (watch_request::Message::Hello(Hello { min_schema: 0, ..good.clone() }), Code::InvalidArgument),
        (watch_request::Message::Hello(Hello { min_schema: 99, max_schema: 99, ..good }), Code::FailedPrecondition),
    ];
    for (message, code) in bad {
        let status = refusal(watch(&system, Some(&authorization), vec![message.clone()]).await).await;
        assert_eq!(status.code(), code, "{message:?}: {status}");
    }
}

#[tokio::test]
async fn a_data_plane_with_the_wrong_token_never_becomes_ready_and_says_why() {
    let mut system = Setup { data_planes: 0, ..Setup::default() }.start().await;
    system.add_data_plane().await;
    let stranger = system.data_planes.first_mut().unwrap();
    stranger.ready().await;
    stranger.kill().await;
    std::fs::remove_dir_all(stranger.cache_dir()).unwrap();
    stranger.joining.token = "not-the-join-token-7f3a".to_owned();
    let before = logs::holding("control plane refuses this replica").len();
    stranger.start().await;
    eventually("the refusal in the log", async || {
        (logs::holding("control plane refuses this replica").len() > before).then_some(())
    })
    .await;
    let reply = system.client().get("/readyz").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "gateway_not_ready"));
    assert!(logs::holding("not-the-join-token-7f3a").is_empty());
}

#[tokio::test]
async fn off_loopback_there_is_tls_or_no_start() {
    let system = System::start().await;
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let dir = system.dir().join("another");
    let options = control_plane::Options {
        sync_listen: everywhere,
        database: dir.join("control.db"),
        ..system.control_plane.options()
    };
    let refused = ControlPlane::refusal(options).await;
    assert!(refused.to_string().contains("TLS") && refused.to_string().contains("--sync-tls-cert"), "{refused}");
    for url in ["http://192.0.2.1:9091", "http://control.internal:9091"] {
        let options = data_plane::Options { control_plane: url.parse().unwrap(), ..system.data_plane().options() };
        let refused = DataPlane::refusal(options).await;
        assert!(refused.to_string().contains("https://"), "{refused}");
    }
}

#[tokio::test]
async fn empty_secrets_are_refused_at_the_start() {
    let system = System::start().await;
    for blank in ["", "  "] {
        let options = control_plane::Options { admin_token: blank.into(), ..system.control_plane.options() };
        assert!(ControlPlane::refusal(options).await.to_string().contains("--admin-token-file"));
        let options = control_plane::Options { join_token: blank.into(), ..system.control_plane.options() };
        assert!(ControlPlane::refusal(options).await.to_string().contains("--join-token-file"));
    }
}

#[tokio::test]
async fn the_planes_find_each_other_over_tls_with_the_certificates_made_here() {
    let (mut system, upstream) = (Setup { tls: true, ..Setup::default() }.start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    system.control_plane.kill().await;
    system.control_plane.start().await;
    system.apply(Draft::new().redirect("m", "m", &[("main", "m")])).await;
    assert_eq!(system.client().chat("m").await.status, 200);
}

#[tokio::test]
async fn an_authority_that_did_not_sign_is_not_trusted() {
    let mut system = Setup { tls: true, ..Setup::default() }.start().await;
    let other = system.dir().join("other");
    let signalbox_control_plane::certificate::Outcome::Made(files) =
        signalbox_control_plane::certificate::make(&other, &["127.0.0.1".to_owned()]).unwrap()
    else {
        panic!("the folder was not there");
    };
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.kill().await;
    std::fs::remove_dir_all(data_plane.cache_dir()).unwrap();
    data_plane.joining.ca = Some(files.ca);
    let before = logs::holding("control plane lost").len();
    data_plane.start().await;
    eventually("the failure in the log", async || (logs::holding("control plane lost").len() > before).then_some(()))
        .await;
    assert_eq!(system.client().get("/readyz").await.status, 503);
}

#[tokio::test]
async fn a_taken_port_is_named_together_with_its_flag() {
    let system = System::start().await;
    let taken = system.control_plane.admin_addr();
    let refused = ControlPlane::refusal(system.control_plane.options()).await.to_string();
    assert!(refused.contains(&taken.to_string()) && refused.contains("--admin-listen"), "{refused}");
    let refused = DataPlane::refusal(system.data_plane().options()).await.to_string();
    assert!(refused.contains(&system.data_plane().addr().to_string()), "{refused}");
}

#[tokio::test]
async fn a_second_control_plane_on_the_same_database_is_refused() {
    let system = System::start().await;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = control_plane::Options { admin_listen: free, sync_listen: free, ..system.control_plane.options() };
    ControlPlane::refusal(options).await;
    assert!(system.admin().revision().await > 0, "the first one goes on");
}

#[tokio::test]
async fn each_port_serves_its_own_side_only() {
    let system = System::start().await;
    let sync =
        system.control_plane.joining().url.parse::<http::Uri>().unwrap().authority().unwrap().as_str().parse().unwrap();
    for token in [ADMIN_TOKEN, JOIN_TOKEN] {
        let status = Admin::new(sync, token).list_replicas().await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
    }
    let admin = format!("http://{}", system.control_plane.admin_addr());
    let mut client = ConfigSyncServiceClient::connect(admin).await.unwrap();
    let mut request = Request::new(tokio_stream::iter([WatchRequest { message: Some(hello()) }]));
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse().unwrap());
    assert_eq!(client.watch(request).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_configuration_of_many_chunks_arrives_whole() {
    let mut system = Setup { data_planes: 0, ..Setup::default() }.start().await;
    for batch in 0..4 {
        let ids = (0..1000).map(|number| format!("k-{batch}-{number}"));
        let draft = ids.fold(Draft::new(), |draft, id| draft.client_key(client_key(&id, &format!("sb_{id}"))));
        system.admin().apply(draft.0).await;
    }
    system.add_data_plane().await;
    system.data_plane().ready().await;
    let client = system.client();
    for key in ["sb_k-0-0", "sb_k-1-999", "sb_k-3-500"] {
        assert_eq!(client.with_key(key).get("/v1/models").await.status, 200, "{key}");
    }
    assert_eq!(client.with_key("sb_k-4-0").get("/v1/models").await.status, 401);
}
