//! Either plane goes away and comes back, and clients do not notice.

use std::{
    fs,
    path::{Path, PathBuf},
};

use signalbox_control_plane::files::{DATABASE, MASTER_KEY};
use signalbox_proto::{
    admin::v1::{DeleteClientKeyRequest, replica},
    sync::v1::ConfigSource,
};
use signalbox_tests::{
    Client, Draft, Setup, System, Upstream,
    draft::client_key,
    logs,
    upstream::{DONE, finish, text},
    wait::eventually,
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Clients that ask without a pause; each tells how often it was served, and dies of any other answer.
struct Traffic {
    stop: CancellationToken,
    clients: Vec<JoinHandle<u32>>,
}

impl Traffic {
    fn of(clients: impl IntoIterator<Item = Client>) -> Self {
        let stop = CancellationToken::new();
        let run = |client: Client| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut served = 0;
                while !stop.is_cancelled() {
                    let reply = client.chat("main/m").await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    served += 1;
                }
                served
            })
        };
        Self { clients: clients.into_iter().map(run).collect(), stop }
    }

    async fn end(self) {
        self.stop.cancel();
        for client in self.clients {
            assert!(client.await.expect("no request fails") > 0);
        }
    }
}

/// Waits until the upstream has seen so many more requests: the traffic flows.
async fn flows(upstream: &Upstream, more: usize) {
    upstream.request(upstream.seen().len() + more).await;
}

#[tokio::test]
async fn a_control_plane_killed_under_traffic_costs_no_request_and_takes_up_where_it_was() {
    let (mut system, upstream) = (System::with_data_planes(2).await, Upstream::start().await);
    let before = system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let live = upstream.stream_live();
    live.write(text("m", "before"));
    let mut events = system.client().chat_stream("main/m").await;
    assert_eq!(events.next().await, Some(text("m", "before")));
    let traffic = Traffic::of(system.data_planes.iter().map(signalbox_tests::DataPlane::client));
    flows(&upstream, 20).await;
    system.control_plane.kill().await;
    flows(&upstream, 100).await;
    live.write(text("m", "meanwhile"));
    assert_eq!(events.next().await, Some(text("m", "meanwhile")));
    system.control_plane.start().await;
    let after = system.apply(Draft::new().redirect("m", "m", &[("main", "m")])).await;
    assert_eq!(after, before + 1, "history goes on");
    flows(&upstream, 20).await;
    traffic.end().await;
    for data_plane in &system.data_planes {
        assert_eq!(data_plane.client().chat("m").await.header("x-signalbox-revision"), after.to_string());
        let joined: Vec<_> =
            logs::holding(data_plane.id()).into_iter().filter(|line| line["message"] == "replica joined").collect();
        let [first, .., again] = joined.as_slice() else { panic!("{joined:?}") };
        assert_eq!((&first["resume"], &first["have"]), (&"RESUME_FULL".into(), &0.into()));
        assert!(again["resume"] == "RESUME_CURRENT" || again["resume"] == "RESUME_DELTA", "{again}");
        assert_eq!(again["have"], before);
    }
    live.write(finish("m"));
    live.write(DONE);
    live.end();
    assert_eq!(events.rest().await, [finish("m"), DONE.to_owned()]);
}

#[tokio::test]
async fn a_control_plane_that_stops_in_order_keeps_everything() {
    let (mut system, upstream) = (System::start().await, Upstream::start().await);
    let before = system.apply(Draft::new().upstream("main", &upstream.url())).await;
    system.control_plane.stop().await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    system.control_plane.start().await;
    assert_eq!(system.admin().revision().await, before);
    // What was sealed can still be opened: a new data plane gets the provider's key.
    system.add_data_plane().await;
    let newcomer = system.data_planes.last().unwrap();
    newcomer.ready().await;
    assert_eq!(newcomer.client().chat("main/m").await.status, 200);
    assert!(upstream.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer sk-main")));
}

#[tokio::test]
async fn many_short_lives_of_a_control_plane_lose_no_revision() {
    let mut system = System::start().await;
    let mut last = system.admin().revision().await;
    for number in 0..3 {
        let revision = system.admin().apply(Draft::new().client_key(client_key("k", &format!("sb_{number}"))).0).await;
        assert_eq!(revision, last + 1);
        last = revision;
        system.control_plane.kill().await;
        system.control_plane.start().await;
        assert_eq!(system.admin().revision().await, last);
    }
    system.in_force(last).await;
    assert_eq!(system.client().with_key("sb_2").get("/v1/models").await.status, 200);
    assert_eq!(system.client().with_key("sb_1").get("/v1/models").await.status, 401);
}

/// A data plane that has cached a configuration with a provider, and whose control plane is dead.
async fn orphaned() -> (System, Upstream, u64) {
    let (mut system, upstream) = (Setup { data_planes: 0, ..Setup::default() }.start().await, Upstream::start().await);
    let revision = system.apply(Draft::new().upstream("main", &upstream.url())).await;
    system.add_data_plane().await;
    let cached = system.data_plane().cache_dir().join(format!("config-{revision}.bin"));
    eventually("the configuration to be cached", async || cached.exists().then_some(())).await;
    system.control_plane.kill().await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.kill().await;
    (system, upstream, revision)
}

fn files(system: &System, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(system.data_plane().cache_dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// It says that it is not ready, and serves as soon as its control plane is back.
async fn waits_for_the_control_plane(mut system: System, upstream: &Upstream) {
    let client = system.client();
    let alive = client.get("/healthz").await;
    assert_eq!(alive.status, 200);
    for reply in [client.get("/readyz").await, client.chat("main/m").await, client.get("/v1/models").await] {
        assert_eq!((reply.status, reply.code().as_str()), (503, "gateway_not_ready"));
        assert_eq!(reply.json().pointer("/error/type"), Some(&"server_error".into()));
    }
    system.control_plane.start().await;
    system.data_plane().ready().await;
    assert_eq!(client.chat("main/m").await.status, 200);
    assert_eq!(upstream.only().header("authorization"), Some("Bearer sk-main"));
}

#[tokio::test]
async fn a_data_plane_starts_from_its_cache_and_serves_without_a_control_plane() {
    let (mut system, upstream, revision) = orphaned().await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.start().await;
    data_plane.ready().await;
    let reply = data_plane.client().chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-signalbox-revision")), (200, revision.to_string().as_str()));
    assert_eq!(upstream.only().header("authorization"), Some("Bearer sk-main"));
    system.control_plane.start().await;
    let replica = eventually("the replica to say where its configuration is from", async || {
        let mut replicas = system.admin().list_replicas().await.ok()?;
        replicas.pop().filter(|replica| {
            replica.serving_revision == revision && replica.config_source() == ConfigSource::DiskCache
        })
    })
    .await;
    assert_eq!(replica.held_revision, revision);
    system.apply(Draft::new().redirect("m", "m", &[("main", "m")])).await;
    assert_eq!(system.client().chat("m").await.status, 200);
}

#[tokio::test]
async fn a_corrupt_cache_is_set_aside_and_the_control_plane_waited_for() {
    let (mut system, upstream, _) = orphaned().await;
    for path in files(&system, ".bin") {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    system.data_planes.first_mut().unwrap().start().await;
    eventually("the file to be set aside", async || (!files(&system, ".corrupt").is_empty()).then_some(())).await;
    assert!(files(&system, ".bin").is_empty());
    waits_for_the_control_plane(system, &upstream).await;
}

#[tokio::test]
async fn a_cache_under_another_key_is_set_aside_and_the_control_plane_waited_for() {
    let (mut system, upstream, _) = orphaned().await;
    fs::remove_file(system.data_plane().cache_key()).unwrap();
    system.data_planes.first_mut().unwrap().start().await;
    eventually("the file to be set aside", async || (!files(&system, ".corrupt").is_empty()).then_some(())).await;
    waits_for_the_control_plane(system, &upstream).await;
}

#[tokio::test]
async fn without_a_cache_a_data_plane_is_not_ready_until_the_control_plane_is_there() {
    let (mut system, upstream, _) = orphaned().await;
    fs::remove_dir_all(system.data_plane().cache_dir()).unwrap();
    system.data_planes.first_mut().unwrap().start().await;
    waits_for_the_control_plane(system, &upstream).await;
}

#[tokio::test]
async fn of_two_cached_configurations_the_older_one_serves_where_the_newer_is_corrupt() {
    let (mut system, upstream, first) = orphaned().await;
    system.control_plane.start().await;
    system.data_planes.first_mut().unwrap().start().await;
    let second = system.apply(Draft::new().redirect("m", "m", &[("main", "m")])).await;
    let newer = system.data_plane().cache_dir().join(format!("config-{second}.bin"));
    eventually("the newer configuration to be cached", async || newer.exists().then_some(())).await;
    system.control_plane.kill().await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.kill().await;
    fs::write(&newer, b"torn").unwrap();
    data_plane.start().await;
    data_plane.ready().await;
    assert_eq!(data_plane.client().chat("main/m").await.header("x-signalbox-revision"), first.to_string());
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_data_plane_that_is_stopped_caches_what_it_holds() {
    let (mut system, upstream) = (System::start().await, Upstream::start().await);
    let revision = system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.ask_to_stop();
    data_plane.ended().await;
    assert!(data_plane.cache_dir().join(format!("config-{revision}.bin")).exists());
    system.control_plane.kill().await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.start().await;
    data_plane.ready().await;
    assert_eq!(data_plane.client().chat("main/m").await.status, 200);
}

#[tokio::test]
async fn a_key_that_was_revoked_does_not_come_back_with_the_cache() {
    let (mut system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url()).client_key(client_key("leaked", "sb_leaked"))).await;
    let request = DeleteClientKeyRequest { name: "clientKeys/leaked".to_owned(), ..DeleteClientKeyRequest::default() };
    let revoked = system.admin().client_keys().delete_client_key(request).await.unwrap().into_inner();
    system.in_force(revoked.revision).await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.ask_to_stop();
    data_plane.ended().await;
    system.control_plane.kill().await;
    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.start().await;
    data_plane.ready().await;
    assert_eq!(data_plane.client().chat("main/m").await.status, 200);
    assert_eq!(data_plane.client().with_key("sb_leaked").chat("main/m").await.code(), "invalid_api_key");
}

/// Copies a database that is in use.
async fn back_up(database: &Path, to: &Path) {
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
    sqlx::query("VACUUM INTO ?").bind(to.to_str().unwrap()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_old_database_that_was_put_back_revives_nothing() {
    let (mut system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url()).client_key(client_key("leaked", "sb_leaked"))).await;
    let (old, new) = (system.control_plane.dir().to_owned(), system.dir().join("restored"));
    fs::create_dir(&new).unwrap();
    fs::copy(old.join(MASTER_KEY), new.join(MASTER_KEY)).unwrap();
    back_up(&old.join(DATABASE), &new.join(DATABASE)).await;
    let request = DeleteClientKeyRequest { name: "clientKeys/leaked".to_owned(), ..DeleteClientKeyRequest::default() };
    let revoked = system.admin().client_keys().delete_client_key(request).await.unwrap().into_inner();
    system.in_force(revoked.revision).await;
    system.control_plane.kill().await;
    system.control_plane.move_to(new);
    system.control_plane.start().await;
    eventually("the replica to be known as ahead", async || {
        let replicas = system.admin().list_replicas().await.ok()?;
        replicas.iter().any(|replica| replica.state() == replica::State::Ahead).then_some(())
    })
    .await;
    let client = system.client();
    assert_eq!(client.with_key("sb_leaked").chat("main/m").await.code(), "invalid_api_key", "it was revoked");
    let reply = client.chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-signalbox-revision")), (200, revoked.revision.to_string().as_str()));
}
