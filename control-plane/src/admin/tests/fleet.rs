//! What is known of data planes, and the wait for them.

use prost_types::Duration as Wire;
use signalbox_proto::{
    admin::v1::{
        DeleteClientKeyRequest, GetReplicaRequest, ListReplicasRequest, Replica, WaitForRevisionRequest,
        WaitForRevisionResponse, replica::State, replica_service_client::ReplicaServiceClient,
    },
    sync::v1 as sync,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    replica::{Puppet, hello, rejection},
    *,
};

fn fleet(app: &Running) -> ReplicaServiceClient<Authorized> {
    ReplicaServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN))
}

async fn replica(app: &Running, id: &str) -> Replica {
    let request = GetReplicaRequest { name: format!("replicas/{id}") };
    fleet(app).get_replica(request).await.unwrap().into_inner()
}

/// Waits until this is said of a data plane.
async fn until(app: &Running, id: &str, holds: impl Fn(&Replica) -> bool) -> Replica {
    let seen = async {
        loop {
            let replica = replica(app, id).await;
            if holds(&replica) {
                return replica;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, seen).await.expect("it is said in the end")
}

async fn wait(app: &Running, request: WaitForRevisionRequest) -> Result<WaitForRevisionResponse, Status> {
    let answer = timeout(PATIENCE, fleet(app).wait_for_revision(request)).await.expect("the wait ends in time");
    Ok(answer?.into_inner())
}

/// Looks once.
fn look() -> WaitForRevisionRequest {
    WaitForRevisionRequest { timeout: Some(Wire::default()), ..WaitForRevisionRequest::default() }
}

fn counts(answer: &WaitForRevisionResponse) -> (bool, u32, u32) {
    (answer.satisfied, answer.applied, answer.total)
}

fn pending(answer: &WaitForRevisionResponse) -> Vec<(&str, State)> {
    answer.pending.iter().map(|replica| (replica.name.as_str(), replica.state())).collect()
}

#[tokio::test]
async fn a_wait_ends_with_the_acknowledgement_that_was_missing() {
    let app = Running::start().await;
    let (mut a, mut b) = (Puppet::synced(&app, "a").await, Puppet::synced(&app, "b").await);
    assert_eq!(counts(&wait(&app, WaitForRevisionRequest::default()).await.unwrap()), (true, 2, 2));

    let revision = app.make_provider("openai").await.revision;
    a.take().await;
    until(&app, "a", |replica| replica.serving_revision == revision).await;
    let looked = wait(&app, look()).await.unwrap();
    assert_eq!((counts(&looked), looked.revision), ((false, 1, 2), revision));
    assert_eq!(pending(&looked), [("replicas/b", State::Lagging)]);
    let half = WaitForRevisionRequest { min_percent: 50, ..look() };
    assert_eq!(counts(&wait(&app, half).await.unwrap()), (true, 1, 2));
    let three = WaitForRevisionRequest { min_percent: 1, min_replicas: 3, ..look() };
    assert!(!wait(&app, three).await.unwrap().satisfied);

    let mut client = fleet(&app);
    let request = WaitForRevisionRequest { revision, ..WaitForRevisionRequest::default() };
    let waiting = tokio::spawn(async move { client.wait_for_revision(request).await });
    b.take().await;
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!((counts(&answer), answer.pending.len()), ((true, 2, 2), 0));
    app.stop().await;
}

#[tokio::test]
async fn a_later_revision_will_do_and_one_that_is_yet_to_come_will_not() {
    let app = Running::start().await;
    let first = app.make_provider("a").await.revision;
    let latest = app.make_provider("b").await.revision;
    let _a = Puppet::synced(&app, "a").await;
    let asked = WaitForRevisionRequest { revision: first, ..WaitForRevisionRequest::default() };
    assert_eq!(wait(&app, asked).await.unwrap().revision, first);

    let bad = |change: fn(&mut WaitForRevisionRequest)| {
        let mut request = look();
        change(&mut request);
        request
    };
    for (request, field) in [
        (WaitForRevisionRequest { revision: latest + 1, ..look() }, "revision"),
        (bad(|request| request.min_percent = 101), "min_percent"),
        (bad(|request| request.timeout = Some(Wire { seconds: -1, nanos: 0 })), "timeout"),
    ] {
        let status = wait(&app, request).await.unwrap_err();
        assert_eq!((refusal(&status).0, violations(&status)[0].0.as_str()), (Code::InvalidArgument, field));
    }
    app.stop().await;
}

#[tokio::test]
async fn what_nothing_serves_is_not_live() {
    let app = Running::start().await;
    assert_eq!(counts(&wait(&app, look()).await.unwrap()), (false, 0, 0));

    let a = Puppet::synced(&app, "a").await;
    until(&app, "a", |replica| replica.state() == State::Synced).await;
    a.report(true).await;
    until(&app, "a", |replica| replica.draining).await;
    assert_eq!(counts(&wait(&app, look()).await.unwrap()), (false, 0, 0), "it takes nothing new");

    drop(a);
    until(&app, "a", |replica| replica.state() == State::Disconnected).await;
    let answer = wait(&app, look()).await.unwrap();
    assert_eq!((counts(&answer), answer.disconnected), ((false, 0, 0), 1));
    app.stop().await;
}

#[tokio::test]
async fn a_rejection_ends_the_wait_of_whoever_asks_for_that() {
    let app = Running::start().await;
    let (mut a, mut b) = (Puppet::synced(&app, "a").await, Puppet::synced(&app, "b").await);
    app.make_provider("openai").await;
    a.take_in_part("providers/openai").await;
    b.take().await;
    until(&app, "b", |replica| replica.state() == State::Synced).await;
    until(&app, "a", |replica| replica.state() == State::Partial).await;
    let lenient = wait(&app, WaitForRevisionRequest::default()).await.unwrap();
    assert_eq!((counts(&lenient), pending(&lenient)), ((true, 2, 2), vec![("replicas/a", State::Partial)]));
    let strict = WaitForRevisionRequest { fail_on_rejection: true, ..WaitForRevisionRequest::default() };
    let answer = wait(&app, strict).await.unwrap();
    assert_eq!((answer.satisfied, answer.pending[0].rejections[0].reason.as_str()), (false, "UNKNOWN_FEATURE"));

    app.make_provider("other").await;
    a.take().await;
    b.refuse().await;
    let answer = wait(&app, strict).await.unwrap();
    assert_eq!((counts(&answer), pending(&answer)), ((false, 1, 2), vec![("replicas/b", State::Rejecting)]));
    assert!(!wait(&app, look()).await.unwrap().satisfied);
    app.stop().await;
}

#[tokio::test]
async fn a_control_plane_that_goes_away_keeps_nobody_waiting() {
    let app = Running::start().await;
    let a = Puppet::synced(&app, "a").await;
    until(&app, "a", |replica| replica.state() == State::Synced).await;
    app.make_provider("openai").await;
    let mut client = fleet(&app);
    let mut later = client.clone();
    let waiting = client.wait_for_revision(WaitForRevisionRequest::default());
    let stopping = async {
        // What is asked second on one connection is answered after the first has been heard.
        later.wait_for_revision(look()).await.unwrap();
        app.stop().await;
    };
    let (waited, ()) = tokio::join!(waiting, stopping);
    let status = waited.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert!(status.get_details_retry_info().is_some());
    drop(a);
}

#[tokio::test]
async fn who_hangs_up_waits_no_longer() {
    let app = Running::start().await;
    let waiting = async |count: usize| {
        let counted = async {
            while app.replicas.followers() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("{count} never waited"));
    };
    let mut client = fleet(&app);
    let grpc = tokio::spawn(async move { client.wait_for_revision(WaitForRevisionRequest::default()).await });
    let mut http = TcpStream::connect(app.admin).await.unwrap();
    let body = r#"{"timeout": "600s"}"#;
    let request = format!(
        "POST /v1/replicas:waitForRevision HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    http.write_all(request.as_bytes()).await.unwrap();
    waiting(2).await;
    grpc.abort();
    waiting(1).await;
    drop(http);
    waiting(0).await;
    app.stop().await;
}

#[tokio::test]
async fn a_key_is_deleted_however_the_wait_for_its_end_goes() {
    let app = Running::start().await;
    let mut a = Puppet::synced(&app, "a").await;
    for id in ["one", "two"] {
        app.make_key(id, ClientKey::default()).await.unwrap();
        a.take().await;
    }
    let delete = |id: &str, wait: Wire| DeleteClientKeyRequest {
        name: format!("clientKeys/{id}"),
        wait: Some(wait),
        ..DeleteClientKeyRequest::default()
    };
    let status = app.client_keys().delete_client_key(delete("one", Wire { seconds: -1, nanos: 0 })).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "wait");

    let mut client = app.client_keys();
    let request = delete("one", Wire { seconds: 600, nanos: 0 });
    let deleting = tokio::spawn(async move { client.delete_client_key(request).await });
    a.take().await;
    let deleted = timeout(PATIENCE, deleting).await.unwrap().unwrap().unwrap().into_inner();
    let rollout = deleted.rollout.unwrap();
    assert_eq!((counts(&rollout), rollout.revision), ((true, 1, 1), deleted.revision));

    let deleted = app.client_keys().delete_client_key(delete("two", Wire::default())).await.unwrap().into_inner();
    let rollout = deleted.rollout.unwrap();
    assert_eq!((counts(&rollout), pending(&rollout)), ((false, 0, 1), vec![("replicas/a", State::Lagging)]));
    let missing = app.client_keys().delete_client_key(delete("two", Wire::default())).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    app.stop().await;
}

#[tokio::test]
async fn what_a_data_plane_is_can_be_read_and_asked_for() {
    let app = Running::start().await;
    let a = Puppet::synced(&app, "a").await;
    let other = sync::Hello { version: "2.0.0".to_owned(), ..hello("b") };
    let _b = Puppet::join(&app, other).await;
    let seen = until(&app, "a", |replica| replica.state() == State::Synced).await;
    assert_eq!((seen.schema, seen.features.as_slice()), (1, ["a-feature".to_owned()].as_slice()));
    assert_eq!((seen.boot_id.as_str(), seen.source_ip.as_str()), ("boot-of-a", "127.0.0.1"));
    assert_eq!(seen.epoch, a.held().unwrap().epoch);

    let list = async |filter: &str, page_size, page_token: String| {
        let request = ListReplicasRequest { page_size, page_token, filter: filter.to_owned() };
        let list = fleet(&app).list_replicas(request).await.map(tonic::Response::into_inner)?;
        let names: Vec<_> = list.replicas.into_iter().map(|replica| replica.name).collect();
        Ok::<_, Status>((names, list.next_page_token))
    };
    for (filter, names) in [
        ("state = STATE_SYNCED", vec!["replicas/a"]),
        ("version = \"2.0.0\"", vec!["replicas/b"]),
        ("features:a-feature AND state != STATE_SYNCED", vec!["replicas/b"]),
        ("version:9", vec![]),
    ] {
        assert_eq!(list(filter, 0, String::new()).await.unwrap().0, names, "{filter}");
    }
    let (names, next) = list("features:*", 1, String::new()).await.unwrap();
    assert_eq!(names, ["replicas/a"]);
    assert_eq!(list("features:*", 1, next.clone()).await.unwrap(), (vec!["replicas/b".to_owned()], String::new()));
    let status = list("", 1, next).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_PAGE_TOKEN".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn a_data_plane_that_comes_back_with_its_cache_is_only_as_well_as_it_was() {
    let app = Running::start().await;
    let mut a = Puppet::join(&app, hello("a")).await;
    a.take_in_part("routes/docs").await;
    until(&app, "a", |replica| replica.state() == State::Partial).await;
    let have = a.held();
    drop(a);
    until(&app, "a", |replica| replica.state() == State::Disconnected).await;

    // Another process, which has read its cache and compiled it no better.
    let cached = sync::Hello {
        boot_id: "another".to_owned(),
        have,
        rejections: vec![rejection("routes/docs")],
        rejection_count: 1,
        ..hello("a")
    };
    let a = Puppet::join(&app, cached).await;
    a.report(false).await;
    let seen = until(&app, "a", |replica| replica.serving_revision > 0).await;
    assert_eq!((seen.state(), seen.rejections[0].name.as_str()), (State::Partial, "routes/docs"));
    let strict = WaitForRevisionRequest { fail_on_rejection: true, ..WaitForRevisionRequest::default() };
    assert!(!wait(&app, strict).await.unwrap().satisfied);
    app.stop().await;
}
