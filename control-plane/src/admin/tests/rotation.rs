//! A client key and its successors.

use prost_types::{Duration as Wire, Timestamp};
use signalbox_proto::{
    admin::v1::{GetClientKeyRequest, RotateClientKeyRequest, RotateClientKeyResponse},
    config::v1::Limits,
};

use super::*;

async fn rotate(app: &Running, request: RotateClientKeyRequest) -> Result<RotateClientKeyResponse, Status> {
    Ok(app.client_keys().rotate_client_key(request).await?.into_inner())
}

fn of(name: &str) -> RotateClientKeyRequest {
    RotateClientKeyRequest { name: name.to_owned(), ..RotateClientKeyRequest::default() }
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

/// How many seconds from now.
fn seconds_ahead(time: Option<Timestamp>) -> i64 {
    let now = Timestamp::from(std::time::SystemTime::now());
    time.unwrap().seconds - now.seconds
}

#[tokio::test]
async fn the_successor_may_do_the_same_and_the_old_key_ends_after_the_overlap() {
    let app = Running::start().await;
    let policy = ClientKey {
        allowed_models: vec!["gpt-*".to_owned()],
        display_name: "Build server".to_owned(),
        limits: Some(Limits { requests_per_minute: Some(60), ..Limits::default() }),
        labels: [("team".to_owned(), "platform".to_owned())].into(),
        expire_time: at("2100-01-01T00:00:00Z"),
        ..ClientKey::default()
    };
    let old = app.make_key("ci", policy).await.unwrap();
    let RotateClientKeyResponse { successor, predecessor } = rotate(&app, of("clientKeys/ci")).await.unwrap();
    let (new, ending) = (successor.unwrap(), predecessor.unwrap());
    assert_eq!(new.name, "clientKeys/ci-2");
    assert!(new.secret.starts_with("sb_") && new.secret != old.secret && ending.secret.is_empty());
    assert_eq!(
        (&new.allowed_models, &new.display_name, &new.limits),
        (&old.allowed_models, &old.display_name, &old.limits)
    );
    assert_eq!((&new.labels, new.expire_time), (&old.labels, old.expire_time));
    assert_eq!((new.revision, ending.revision, app.revision().await), (old.revision + 1, new.revision, new.revision));
    assert_eq!(ending.display_prefix, old.display_prefix);
    assert!((86_380..=86_400).contains(&seconds_ahead(ending.expire_time)));

    let request = GetClientKeyRequest { name: new.name.clone() };
    assert_eq!(app.client_keys().get_client_key(request).await.unwrap().into_inner().secret, "", "it is shown once");
    app.stop().await;
}

#[tokio::test]
async fn successors_are_counted_and_may_be_named() {
    let app = Running::start().await;
    for id in ["ci", "ci-3", "team-2026"] {
        app.make_key(id, ClientKey::default()).await.unwrap();
    }
    let long = "x".repeat(63);
    app.make_key(&long, ClientKey::default()).await.unwrap();
    let named = |name: &str, id: &str| RotateClientKeyRequest { successor_id: id.to_owned(), ..of(name) };
    for (request, successor) in [
        (of("clientKeys/ci"), "clientKeys/ci-2".to_owned()),
        (of("clientKeys/ci-2"), "clientKeys/ci-4".to_owned()),
        (of("clientKeys/ci"), "clientKeys/ci-5".to_owned()),
        (of("clientKeys/team-2026"), "clientKeys/team-2026-2".to_owned()),
        (of(&format!("clientKeys/{long}")), format!("clientKeys/{}-2", "x".repeat(61))),
        (named("clientKeys/ci", "fresh"), "clientKeys/fresh".to_owned()),
    ] {
        assert_eq!(rotate(&app, request).await.unwrap().successor.unwrap().name, successor);
    }
    let status = rotate(&app, named("clientKeys/ci", "fresh")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn an_old_key_never_lasts_longer_for_being_rotated() {
    let app = Running::start().await;
    let soon = Timestamp::from(std::time::SystemTime::now() + Duration::from_secs(60));
    let ending = ClientKey { expire_time: Some(soon), disabled: true, ..ClientKey::default() };
    app.make_key("ci", ending).await.unwrap();
    let fresh = RotateClientKeyRequest { expire_time: at("2100-01-01T00:00:00Z"), ..of("clientKeys/ci") };
    let rotated = rotate(&app, fresh).await.unwrap();
    assert!((0..=60).contains(&seconds_ahead(rotated.predecessor.unwrap().expire_time)));
    let successor = rotated.successor.unwrap();
    assert_eq!((successor.expire_time, successor.disabled), (at("2100-01-01T00:00:00Z"), true));

    let at_once = RotateClientKeyRequest { overlap: Some(Wire::default()), ..of("clientKeys/ci-2") };
    let rotated = rotate(&app, at_once).await.unwrap();
    assert!(seconds_ahead(rotated.predecessor.unwrap().expire_time) <= 0);
    for (seconds, nanos) in [(-1, 0), (90 * 86_400, 1)] {
        let overlap = Some(Wire { seconds, nanos });
        let status = rotate(&app, RotateClientKeyRequest { overlap, ..of("clientKeys/ci") }).await.unwrap_err();
        assert_eq!(violations(&status)[0].0, "overlap");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_dry_run_of_a_rotation_shows_everything_but_a_key() {
    let app = Running::start().await;
    let old = app.make_key("ci", ClientKey::default()).await.unwrap();
    let dry = RotateClientKeyRequest { validate_only: true, etag: old.etag.clone(), ..of("clientKeys/ci") };
    let rotated = rotate(&app, dry).await.unwrap();
    let (successor, predecessor) = (rotated.successor.unwrap(), rotated.predecessor.unwrap());
    assert_eq!((successor.name.as_str(), successor.secret.as_str()), ("clientKeys/ci-2", ""));
    assert!(predecessor.expire_time.is_some());
    assert_eq!(app.revision().await, old.revision);
    app.stop().await;
}

#[tokio::test]
async fn a_rotation_that_is_repeated_makes_no_third_key_and_shows_none() {
    let app = Running::start().await;
    app.make_key("ci", ClientKey::default()).await.unwrap();
    let request_id = uuid::Uuid::new_v4().to_string();
    let request = RotateClientKeyRequest { request_id, ..of("clientKeys/ci") };
    let first = rotate(&app, request.clone()).await.unwrap();
    let revision = app.revision().await;
    let again = rotate(&app, request).await.unwrap();
    assert_eq!((app.revision().await, &again.predecessor), (revision, &first.predecessor));
    let shown = first.successor.unwrap();
    assert_ne!(shown.secret, "");
    assert_eq!(again.successor.unwrap(), ClientKey { secret: String::new(), ..shown });
    app.stop().await;
}
