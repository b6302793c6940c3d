//! Backups that are brought back, and older files in the place of newer ones, while data planes serve: what was revoked stays revoked
//! until an operator says otherwise.

use std::fs;

use signalbox_control_plane::{
    backup,
    files::DATABASE,
    restore::{self, Taking},
};
use signalbox_proto::admin::v1::{DeleteClientKeyRequest, DeleteRouteRequest, replica};
use signalbox_tests::{
    Draft, System, Upstream,
    draft::{client_key, route},
    wait::eventually,
};
use tonic::Code;
use tonic_types::StatusExt as _;

/// A system in which a key was revoked after a backup was made; the backup's revision, and that of the revocation.
struct Revoked {
    system: System,
    /// Where the providers' requests go.
    _upstream: Upstream,
    backup: std::path::PathBuf,
    revision: u64,
}

impl Revoked {
    async fn start() -> Self {
        let (system, upstream) = (System::start().await, Upstream::start().await);
        let draft = Draft::new().upstream("main", &upstream.url()).client_key(client_key("leaked", "sb_leaked"));
        system.apply(draft).await;
        let backup = system.dir().join("backup.db");
        backup::make(&system.control_plane.dir().join(DATABASE), &backup).await.unwrap();
        let request =
            DeleteClientKeyRequest { name: "clientKeys/leaked".to_owned(), ..DeleteClientKeyRequest::default() };
        let revoked = system.admin().client_keys().delete_client_key(request).await.unwrap().into_inner();
        system.in_force(revoked.revision).await;
        Self { system, _upstream: upstream, backup, revision: revoked.revision }
    }

    fn database(&self) -> std::path::PathBuf {
        self.system.control_plane.dir().join(DATABASE)
    }

    async fn leaked_is(&self, status: u16) {
        let leaked = self.system.client().with_key("sb_leaked");
        eventually(&format!("the leaked key to be answered {status}"), async || {
            (leaked.get("/v1/models").await.status == status).then_some(())
        })
        .await;
    }

    /// The data plane goes on with what it holds, and the control plane knows that it does.
    async fn data_plane_is_ahead(&self) {
        eventually("the replica to be known as ahead", async || {
            let replicas = self.system.admin().list_replicas().await.ok()?;
            replicas.iter().any(|replica| replica.state() == replica::State::Ahead).then_some(())
        })
        .await;
        assert_eq!(self.system.client().with_key("sb_leaked").chat("main/m").await.code(), "invalid_api_key");
        let reply = self.system.client().chat("main/m").await;
        assert_eq!((reply.status, reply.header("x-signalbox-revision")), (200, self.revision.to_string().as_str()));
    }

    async fn adopt(&mut self) -> u64 {
        self.system.control_plane.stop().await;
        let adopted = restore::adopt(&self.database()).await.unwrap();
        self.system.control_plane.start().await;
        adopted
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_after_a_backup_stays_dead_until_the_restored_history_is_adopted() {
    let mut story = Revoked::start().await;
    story.system.control_plane.stop().await;
    restore::restore(&story.database(), &story.backup, Taking::Fenced).await.unwrap();
    story.system.control_plane.start().await;
    story.data_plane_is_ahead().await;
    // What knows of nothing is told of nothing: it would bring the key back.
    story.system.add_data_plane().await;
    let newcomer = story.system.data_planes.pop().unwrap();
    assert_eq!(newcomer.client().with_key("sb_leaked").chat("main/m").await.code(), "gateway_not_ready");
    // What is written meanwhile waits behind the fence too.
    story.system.admin().apply(Draft::new().route(route("meanwhile", "https://docs.example/")).0).await;
    story.data_plane_is_ahead().await;
    assert_eq!(newcomer.client().chat("main/m").await.code(), "gateway_not_ready");

    let adopted = story.adopt().await;
    story.leaked_is(200).await;
    assert_eq!(story.system.client().get("/v1/models").await.header("x-signalbox-revision"), adopted.to_string());
    newcomer.ready().await;
    let next = story.system.apply(Draft::new().redirect("m", "m", &[("main", "m")])).await;
    assert_eq!(next, adopted + 1);
    assert_eq!(story.system.client().chat("m").await.status, 200);
}

#[tokio::test]
async fn a_key_that_is_revoked_again_before_the_history_is_adopted_never_comes_back() {
    let mut story = Revoked::start().await;
    story.system.control_plane.stop().await;
    restore::restore(&story.database(), &story.backup, Taking::Fenced).await.unwrap();
    story.system.control_plane.start().await;
    let request = DeleteClientKeyRequest { name: "clientKeys/leaked".to_owned(), ..DeleteClientKeyRequest::default() };
    story.system.admin().client_keys().delete_client_key(request).await.unwrap();
    let adopted = story.adopt().await;
    eventually("the adopted history to be served", async || {
        let reply = story.system.client().get("/v1/models").await;
        (reply.header("x-signalbox-revision") == adopted.to_string()).then_some(())
    })
    .await;
    story.leaked_is(401).await;
}

#[tokio::test]
async fn an_older_file_put_back_by_hand_is_served_and_not_written_to() {
    let mut story = Revoked::start().await;
    story.system.control_plane.stop().await;
    fs::copy(&story.backup, story.database()).unwrap();
    story.system.control_plane.start().await;
    story.data_plane_is_ahead().await;
    let request =
        DeleteRouteRequest { name: "routes/none".to_owned(), allow_missing: true, ..DeleteRouteRequest::default() };
    let refused = story.system.admin().routes().delete_route(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "HISTORY_FORKED");
    assert!(refused.message().contains("adopt-history"), "{}", refused.message());
    story.adopt().await;
    story.leaked_is(200).await;
    story.system.apply(Draft::new().redirect("m", "m", &[("main", "m")])).await;
}

#[tokio::test]
async fn a_backup_of_the_last_revision_goes_to_data_planes_without_being_adopted() {
    let mut system = System::start().await;
    let last = system.admin().revision().await;
    let backup = system.dir().join("backup.db");
    let database = system.control_plane.dir().join(DATABASE);
    backup::make(&database, &backup).await.unwrap();
    system.control_plane.stop().await;
    restore::restore(&database, &backup, Taking::Fenced).await.unwrap();
    system.control_plane.start().await;
    system.in_force(last + 1).await;
    let next = system.apply(Draft::new().client_key(client_key("new", "sb_new"))).await;
    assert_eq!(next, last + 2);
    assert_eq!(system.client().with_key("sb_new").get("/v1/models").await.status, 200);
}
